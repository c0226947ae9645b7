//! State as objects on the heap.

pub mod chunked_list;
pub mod heap;
pub mod ordered_map;
pub mod table;
