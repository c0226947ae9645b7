//! The heap backend: states as objects in copy-on-write tables, with one owner that writes. A snapshot takes
//! microseconds.
//!
//! A [`Checkpointing`] stores the snapshot. [`MemoryBackend`](crate::MemoryBackend) puts it into the
//! coordinator's memory, other crates put it into files.

mod accounting;
mod backend;
mod budget;
mod checkpointing;
mod content;
mod entry_rows;
mod registered;
mod restore;
mod row_key;
mod rows;
mod snapshot;
mod state;
mod timers;
mod views;

pub use crate::containers::SharedArray;
pub use backend::HeapBackend;
pub use checkpointing::Checkpointing;
pub use rows::{Extent, StateSnapshot};
pub use snapshot::{HeapSnapshot, WriteHeap};
pub use views::{HeapAggregating, HeapList, HeapMap, HeapReducing, HeapTimers, HeapValue};
