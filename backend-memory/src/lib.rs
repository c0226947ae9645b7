//! State as objects on the heap, checkpoints in the coordinator's memory.

mod block;
pub mod chunked_list;
pub mod heap;
mod memory;
pub mod ordered_map;
mod prefetch;
mod short_list;
pub mod table;

pub use memory::{DEFAULT_MAX_STATE_BYTES, InMemory, MemoryBackend, MemoryOptions};
