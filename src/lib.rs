//! State backends for stream processors.

pub use backend_api as api;
pub use backend_bytes as bytes;
pub use backend_fs as fs;
pub use backend_memory as memory;
#[cfg(feature = "rocksdb")]
pub use backend_rocksdb as rocksdb;
pub use coordinator;
pub use storage_local as local;
pub use task_state as task;

mod any;
mod configured;
pub mod prelude;

pub use any::{AnyBackend, AnyOptions};
