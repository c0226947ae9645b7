//! Errors of RocksDB and of files.

use std::io;
use std::path::Path;

use backend_api::{Error, ErrorKind};

/// An error of RocksDB.
#[cold]
pub(crate) fn failed(error: rocksdb::Error) -> Error {
    let kind = match error.kind() {
        rocksdb::ErrorKind::Corruption => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    };
    Error::new(kind, "RocksDB failed").with_source(error)
}

/// An error of the file system.
#[cold]
pub(crate) fn io_failed(error: io::Error, path: &Path) -> Error {
    Error::new(ErrorKind::Io, error.to_string()).with_source(error).in_file(&path.to_string_lossy(), None)
}
