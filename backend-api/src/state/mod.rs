//! Views: one state at one key and namespace, or all timers of one state.
//!
//! A view borrows its backend, so only one exists at a time. A call that fails, or whose closure panics,
//! changes nothing.

mod aggregating;
mod list;
mod map;
mod reducing;
mod timer;
mod value;

pub use aggregating::{Aggregate, AggregatingState};
pub use list::ListState;
pub use map::{MapCursor, MapEntry, MapState};
pub use reducing::ReducingState;
pub use timer::{Timer, TimerState};
pub use value::ValueState;

/// A type that state can hold.
///
/// A clone must equal the original, because heap backends clone a value at its first change after a snapshot.
pub trait StateValue: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> StateValue for T {}
