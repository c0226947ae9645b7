//! Taking files of another database as they are.
#![expect(unsafe_code, reason = "the binding does not offer the options for files that a database has made")]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
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

/// The names of those files of which all entries have one and the same number. It may be that only this database knows it:
/// files that were made outside of it have no numbers of their own, and got one when they were added.
pub(crate) fn files_of_one_number(db: &DB) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // SAFETY: the database outlives the call. The list is made here and ends here; it has as many files as it says, and lends
    // the name of each as a string that ends with a zero.
    unsafe {
        let files = ffi::rocksdb_livefiles(db.as_raw_ptr());
        for at in 0..ffi::rocksdb_livefiles_count(files) {
            let last = ffi::rocksdb_livefiles_largest_seqno(files, at);
            if last > 0 && ffi::rocksdb_livefiles_smallest_seqno(files, at) == last {
                let name = CStr::from_ptr(ffi::rocksdb_livefiles_name(files, at));
                names.insert(name.to_string_lossy().into_owned());
            }
        }
        ffi::rocksdb_livefiles_destroy(files);
    }
    names
}
