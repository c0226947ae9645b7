//! State as objects on the heap, checkpoints in the coordinator's memory.

pub mod chunked_list;
pub mod heap;
mod memory;
pub mod ordered_map;
pub mod table;

pub use memory::{DEFAULT_MAX_STATE_BYTES, InMemory, MemoryBackend, MemoryOptions};
