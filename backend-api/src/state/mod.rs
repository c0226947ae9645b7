//! Views: one state at one key and namespace.
//!
//! A view borrows its backend, so only one exists at a time. A call that fails, or whose closure panics,
//! changes nothing.

mod aggregating;
mod list;
mod map;
mod reducing;
mod value;

pub use aggregating::AggregatingState;
pub use list::ListState;
pub use map::{MapCursor, MapEntry, MapState};
pub use reducing::ReducingState;
pub use value::ValueState;
