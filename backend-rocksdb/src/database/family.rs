//! Column families.

use backend_api::{Error, ErrorKind, Result, StateKind};
use rocksdb::{ColumnFamily, DB};

/// A column family: all states with one pattern of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// One entry per key and namespace.
    Values,
    /// Elements that are appended, and read in order.
    Lists,
    /// Entries that are read one by one and in order, and timers.
    Maps,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::Values, Self::Lists, Self::Maps];

    /// The family of states of a kind.
    pub fn of(kind: StateKind) -> Self {
        match kind {
            StateKind::Value | StateKind::Reducing | StateKind::Aggregating => Self::Values,
            StateKind::List => Self::Lists,
            StateKind::Map | StateKind::Timer => Self::Maps,
        }
    }

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Lists => "lists",
            Self::Maps => "maps",
        }
    }

    /// This family's item of an array in the order of [`ALL`](Self::ALL).
    pub fn of_each<T>(self, [values, lists, maps]: &[T; 3]) -> &T {
        match self {
            Self::Values => values,
            Self::Lists => lists,
            Self::Maps => maps,
        }
    }

    /// Its handle in a database.
    pub fn handle(self, db: &DB) -> Result<&ColumnFamily> {
        db.cf_handle(self.name()).ok_or_else(|| {
            let message = format!("the database has no column family {:?}", self.name());
            Error::new(ErrorKind::Corrupt, message)
        })
    }
}
