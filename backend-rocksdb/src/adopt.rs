//! Taking files of another database as they are.
#![expect(unsafe_code, reason = "the binding does not offer the options for files that a database has made")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use backend_api::Result;
use librocksdb_sys as ffi;
use rocksdb::{AsColumnFamilyRef, AsRawPtr, ColumnFamily, DB};

use crate::error::io_failed;

/// The end of the name of a property that only files have that were made outside of any database. Names are not compressed, but
/// what they begin with is left out if the name before begins so too.
const EXTERNAL: &[u8] = b"sst_file.global_seqno";

/// At the end of a file, with what is behind them, they take less.
const TAIL_BYTES: u64 = 64 << 10;

/// Links files of another database into this one, where nothing is between their first and last keys; the older ones of
/// those that overlap come first. Whether that was possible: if not, nothing has changed.
pub(crate) fn adopt(db: &DB, family: &ColumnFamily, files: &[PathBuf]) -> bool {
    let paths: std::result::Result<Vec<_>, _> =
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

/// The lowest and the highest number of the entries of each file, by its name. The higher the number, the newer the entry; with
/// 0 it is older than all others.
pub(crate) fn numbers_of_files(db: &DB) -> BTreeMap<String, RangeInclusive<u64>> {
    let mut numbers = BTreeMap::new();
    // SAFETY: the database outlives the call. The list is made here and ends here; it has as many files as it says, and lends
    // the name of each as a string that ends with a zero.
    unsafe {
        let files = ffi::rocksdb_livefiles(db.as_raw_ptr());
        for at in 0..ffi::rocksdb_livefiles_count(files) {
            let name = CStr::from_ptr(ffi::rocksdb_livefiles_name(files, at));
            let lowest = ffi::rocksdb_livefiles_smallest_seqno(files, at);
            let highest = ffi::rocksdb_livefiles_largest_seqno(files, at);
            numbers.insert(name.to_string_lossy().into_owned(), lowest..=highest);
        }
        ffi::rocksdb_livefiles_destroy(files);
    }
    numbers
}

/// Whether a file was made outside of any database. Its entries have no numbers then: the database that took it has given them
/// one, which only that database knows.
pub(crate) fn is_external(path: &Path) -> Result<bool> {
    let tail = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        Ok(tail)
    };
    let tail = tail().map_err(|error| io_failed(error, path))?;
    Ok(tail.windows(EXTERNAL.len()).any(|bytes| bytes == EXTERNAL))
}
