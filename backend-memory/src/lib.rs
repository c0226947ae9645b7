//! State as objects on the heap.

pub mod table;
