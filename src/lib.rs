//! State backends for stream processors.

pub use backend_api as api;
pub use backend_fs as fs;
pub use backend_memory as memory;
#[cfg(feature = "rocksdb")]
pub use backend_rocksdb as rocksdb;

mod any;
pub mod prelude;

pub use any::{AnyBackend, AnyOptions};
