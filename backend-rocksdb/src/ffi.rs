//! Calls of RocksDB's C interface that the binding does not offer.
#![expect(unsafe_code, reason = "the binding lacks these calls")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use backend_api::{Error, ErrorKind, Result};
use librocksdb_sys as ffi;
use rocksdb::{AsColumnFamilyRef, AsRawPtr, ColumnFamily, DB, Options};

/// True if the log has a folder of its own.
pub(crate) fn has_wal_dir(options: &Options) -> bool {
    let mut length = 0;
    // SAFETY: the options are alive. The text that they lend is not read, only its length.
    unsafe { ffi::rocksdb_options_get_wal_dir(options.as_raw_ptr(), &raw mut length) };
    length > 0
}

/// How RocksDB's errors of the kind "try again" begin.
const TRY_AGAIN: &str = "Operation failed. Try again.";

/// Makes closing a database drop its write buffers. Its files are deleted next.
pub(crate) fn avoid_flush_during_shutdown(options: &mut Options) {
    // SAFETY: the options are alive, and borrowed by this call alone.
    unsafe { ffi::rocksdb_options_set_avoid_flush_during_shutdown(options.as_raw_ptr(), 1) }
}

/// Begins to flush the write buffer of a column family. False if writes are stopped; it must be tried again then.
pub(crate) fn start_flush(db: &DB, family: &ColumnFamily) -> Result<bool> {
    let mut error = ptr::null_mut();
    // SAFETY: database and column family outlive the call, and the column family belongs to the database. The options are
    // created and destroyed here.
    unsafe {
        let options = ffi::rocksdb_flushoptions_create();
        ffi::rocksdb_flushoptions_set_wait(options, 0);
        ffi::rocksdb_flushoptions_set_allow_write_stall(options, 1);
        ffi::rocksdb_flush_cf(db.as_raw_ptr(), options, family.inner(), &raw mut error);
        ffi::rocksdb_flushoptions_destroy(options);
    }
    match take_error(error) {
        None => Ok(true),
        Some(message) if message.starts_with(TRY_AGAIN) => Ok(false),
        Some(message) => Err(Error::new(ErrorKind::Io, message)),
    }
}

/// Links files that another database wrote into this one, with the sequence numbers of their entries. Nothing may lie
/// between the first and last keys of the files here. Of files that overlap, the older ones come first.
///
/// False if RocksDB refuses; then nothing has changed.
pub(crate) fn ingest_linked(db: &DB, family: &ColumnFamily, files: &[PathBuf]) -> bool {
    let paths: std::result::Result<Vec<_>, _> =
        files.iter().map(|path| CString::new(path.as_os_str().as_bytes())).collect();
    let Ok(paths) = paths else { return false };
    let pointers: Vec<_> = paths.iter().map(|path| path.as_ptr()).collect();
    let mut error = ptr::null_mut();
    // SAFETY: database and column family outlive the call, and the column family belongs to the database. `pointers` has as
    // many paths as the length says, each ended by a zero. The options are created and destroyed here.
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
    }
    let refused = take_error(error);
    if let Some(error) = &refused {
        tracing::debug!(%error, "RocksDB does not take the files as they are");
    }
    refused.is_none()
}

/// The text of an error that the C interface has returned.
fn take_error(error: *mut c_char) -> Option<String> {
    if error.is_null() {
        return None;
    }
    // SAFETY: an error is a string ended by a zero, which RocksDB allocated and the caller frees. It is not used after that.
    unsafe {
        let message = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        Some(message)
    }
}

/// The paths of all files with entries.
pub(crate) fn live_file_paths(db: &DB) -> Vec<PathBuf> {
    // SAFETY: the database outlives the call. The list is created and destroyed here. It has as many files as its count says,
    // and lends folder and name of each as strings ended by a zero.
    unsafe {
        let files = ffi::rocksdb_livefiles(db.as_raw_ptr());
        let path = |at| {
            let folder = CStr::from_ptr(ffi::rocksdb_livefiles_directory(files, at));
            let name = CStr::from_ptr(ffi::rocksdb_livefiles_name(files, at));
            // The name begins with a slash.
            let name = name.to_bytes().strip_prefix(b"/").unwrap_or(name.to_bytes());
            Path::new(OsStr::from_bytes(folder.to_bytes())).join(OsStr::from_bytes(name))
        };
        let paths = (0..ffi::rocksdb_livefiles_count(files)).map(path).collect();
        ffi::rocksdb_livefiles_destroy(files);
        paths
    }
}

/// The lowest and the highest sequence number in each file, by file name. A higher number is newer; 0 is older than all
/// others.
pub(crate) fn sequence_numbers(db: &DB) -> BTreeMap<String, RangeInclusive<u64>> {
    let mut numbers = BTreeMap::new();
    // SAFETY: the database outlives the call. The list is created and destroyed here. It has as many files as its count says,
    // and lends each name as a string ended by a zero.
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
