//! Taking files of another database as they are.
#![expect(unsafe_code, reason = "the binding does not offer the options for files that a database has made")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use librocksdb_sys as ffi;
use rocksdb::{AsColumnFamilyRef, AsRawPtr, ColumnFamily, DB};

/// Links files of another database into this one, where nothing is between their first and last keys; the older ones of
/// those that overlap come first. Whether that was possible: if not, nothing has changed.
pub(crate) fn adopt(db: &DB, family: &ColumnFamily, files: &[PathBuf]) -> bool {
    let paths: Result<Vec<_>, _> =
        files.iter().map(|path| CString::new(path.as_os_str().as_bytes())).collect();
    let Ok(paths) = paths else { return false };
    let pointers: Vec<_> = paths.iter().map(|path| path.as_ptr()).collect();
    let mut error = ptr::null_mut();
    // SAFETY: database and column family outlive the call, the column family is one of this database's, and there are as
    // many paths as is said, each of which ends with a zero. The options are made here and end here. An error is a string
    // that RocksDB has allocated for the caller to free.
    unsafe {
        let options = ffi::rocksdb_ingestexternalfileoptions_create();
        ffi::rocksdb_ingestexternalfileoptions_set_allow_db_generated_files(options, 1);
        ffi::rocksdb_ingestexternalfileoptions_set_link_files(options, 1);
        ffi::rocksdb_ingestexternalfileoptions_set_snapshot_consistency(options, 0);
        ffi::rocksdb_ingestexternalfileoptions_set_allow_blocking_flush(options, 0);
        ffi::rocksdb_ingest_external_file_cf(
            db.as_raw_ptr(),
            family.inner(),
            pointers.as_ptr(),
            pointers.len(),
            options,
            &raw mut error,
        );
        ffi::rocksdb_ingestexternalfileoptions_destroy(options);
        if error.is_null() {
            return true;
        }
        ffi::rocksdb_free(error.cast());
    }
    false
}
