//! The open database with its column families and its folder.

mod check;
mod cursor;
mod expiry;
mod family;
mod setup;
mod sst_file;
mod stall;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use backend_api::Result;
use rocksdb::{ColumnFamily, DB, IngestExternalFileOptions, ReadOptions, WriteOptions};

pub(crate) use cursor::{Cursor, EmptyCursor};
pub(crate) use family::Family;
pub(crate) use setup::Setup;
pub(crate) use sst_file::{SstFile, SstWriter};

use crate::error::failed;
use crate::working_folder::WorkingFolder;

/// A database and its folder. The last user closes it and removes the folder: the backend, or a snapshot that
/// outlives the backend.
pub(crate) struct Database {
    db: DB,
    pub setup: Setup,
    pub reads: ReadOptions,
    writes: WriteOptions,
    /// Number of the next file that is written beside the database.
    next_file: AtomicU64,
    /// True once background work has ended: no buffer is flushed any more.
    is_closed: AtomicBool,
    /// Declared after `db`, which must be closed before the folder is removed.
    folder: WorkingFolder,
}

impl Database {
    /// Where the database lies in its folder.
    pub fn path_in(folder: &WorkingFolder) -> PathBuf {
        folder.path().join("db")
    }

    /// Opens the database in the folder, or creates it.
    pub fn open(setup: Setup, folder: WorkingFolder) -> Result<Arc<Self>> {
        Ok(Self::of(setup.open(&Self::path_in(&folder))?, setup, folder))
    }

    /// Takes over a database that was opened in the folder.
    pub fn of(db: DB, setup: Setup, folder: WorkingFolder) -> Arc<Self> {
        let (reads, writes) = (ReadOptions::default(), stall::write_options());
        let (next_file, is_closed) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { db, setup, reads, writes, next_file, is_closed, folder })
    }

    pub fn db(&self) -> &DB {
        &self.db
    }

    pub fn family(&self, family: Family) -> Result<&ColumnFamily> {
        family.handle(&self.db)
    }

    /// A path in the working folder that nothing else uses.
    pub fn fresh_path(&self, what: &str) -> PathBuf {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{what}-{number}"))
    }

    /// Moves sorted files into the database. Of files that overlap, the newer ones come last.
    pub fn ingest(&self, family: Family, files: &[SstFile]) -> Result<()> {
        let paths: Vec<_> = files.iter().map(SstFile::path).collect();
        self.ingest_paths(family, &paths)
    }

    /// [`ingest`](Self::ingest) of files that may not be external ones, which RocksDB refuses. Nothing has changed then.
    pub fn ingest_paths(&self, family: Family, files: &[impl AsRef<Path>]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let files = files.iter().map(AsRef::as_ref).collect();
        self.db.ingest_external_file_cf_opts(self.family(family)?, &options, files).map_err(failed)
    }

    /// Ends background work. Snapshots may still read; the folder stays until the last of them is dropped.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.db.cancel_all_background_work(true);
    }
}

#[cfg(test)]
mod tests;
