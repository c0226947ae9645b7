//! backend-memory

pub mod chunked_list;
