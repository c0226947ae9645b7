//! The measurements of the `report` program.

mod checkpoint;
mod facade;
mod snapshot;
mod table;

pub use checkpoint::{checkpoint, incremental};
pub use facade::facade;
#[cfg(feature = "rocksdb")]
pub use facade::facade_rocksdb;
pub use snapshot::snapshot;
pub use table::{TableScale, table};

/// Receives each figure when it is measured.
pub type Figures<'a> = dyn FnMut(crate::report::Figure) + 'a;
