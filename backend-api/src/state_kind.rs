//! The kinds of keyed state.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a keyed state. The order of the variants is part of the checkpoint format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateKind {
    /// One value per key and namespace.
    Value,
    /// A list per key and namespace.
    List,
    /// A map per key and namespace.
    Map,
    /// A value that new elements of the same type are folded into.
    Reducing,
    /// An accumulator of new elements, from which the result is computed.
    Aggregating,
}

/// The contents of a state's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateShape {
    /// One value.
    Single,
    /// A list of elements.
    List,
    /// Entries of a map.
    Map,
}

impl StateKind {
    /// The contents of the rows of this kind.
    pub fn shape(self) -> StateShape {
        match self {
            Self::Value | Self::Reducing | Self::Aggregating => StateShape::Single,
            Self::List => StateShape::List,
            Self::Map => StateShape::Map,
        }
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
        })
    }
}
