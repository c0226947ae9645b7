//! Copy-on-write containers: the lists and maps of list and map state.

mod block;
mod chunked_list;
mod list_cell;
mod ordered_map;
mod shared_array;
mod short_list;

pub(crate) use chunked_list::Iter;
pub(crate) use list_cell::ListCell;
pub(crate) use ordered_map::{Delta, OrderedMap, Range};
pub use shared_array::SharedArray;
