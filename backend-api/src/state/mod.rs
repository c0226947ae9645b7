//! Views: one state at one key and namespace.
//!
//! A view borrows its backend, so only one is alive at a time and the compiler sees to it. A call that fails,
//! or whose closure panics, leaves the state as it was before.

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
