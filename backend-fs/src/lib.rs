//! State as objects on the heap, checkpoints in files.

mod local_storage;

pub use local_storage::LocalStorage;
