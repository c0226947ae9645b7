//! backend-memory

pub mod chunked_list;
pub mod ordered_map;
