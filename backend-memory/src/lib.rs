//! State as objects on the heap, with checkpoints kept in the coordinator's memory.

mod containers;
pub mod heap;
mod memory;
mod prefetch;
mod table;

pub use memory::{InMemory, MemoryBackend, MemoryOptions};
