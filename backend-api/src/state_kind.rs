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
    /// Timers: a queue of keys and namespaces by time.
    Timer,
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
    /// A timer.
    Timer,
}

impl StateKind {
    /// The contents of the rows of this kind.
    pub fn shape(self) -> StateShape {
        match self {
            Self::Value | Self::Reducing | Self::Aggregating => StateShape::Single,
            Self::List => StateShape::List,
            Self::Map => StateShape::Map,
            Self::Timer => StateShape::Timer,
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
            Self::Timer => "timer",
        })
    }
}

/// What the times of a timer state are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// The watermark, which follows the times in the records.
    Event,
    /// The clock.
    Processing,
}

impl TimeDomain {
    /// Its name in the metadata of a state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Processing => "processing",
        }
    }

    /// The domain of that name.
    pub(crate) fn of_name(name: &[u8]) -> Option<Self> {
        [Self::Event, Self::Processing].into_iter().find(|domain| domain.name().as_bytes() == name)
    }
}

impl fmt::Display for TimeDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} time", self.name())
    }
}
