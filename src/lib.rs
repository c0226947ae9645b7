//! State backends for stream processors.

pub use backend_api as api;
pub use backend_bytes as bytes;
pub use backend_fs as fs;
pub use backend_memory as memory;
#[cfg(feature = "rocksdb")]
pub use backend_rocksdb as rocksdb;
pub use coordinator;
pub use storage_local as local;

mod any;
pub mod prelude;

pub use any::{AnyBackend, AnyOptions};
