//! The open database with its column families and its folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{Error, ErrorKind, Result, StateKind};
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    IngestExternalFileOptions, LruCacheOptions, Options, ReadOptions, SstFileWriter, WriteBufferManager,
    WriteOptions,
};

use crate::error::failed;
use crate::working_folder::WorkingFolder;
use crate::{RocksDbOptions, Tuned};

/// A column family: states that are read in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// One entry for each key and namespace.
    Values,
    /// Elements that are appended, and read in their order.
    Lists,
    /// Entries that are read alone and in their order.
    Maps,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::Values, Self::Lists, Self::Maps];

    /// Where a state of that kind lies.
    pub fn of(kind: StateKind) -> Self {
        match kind {
            StateKind::Value | StateKind::Reducing | StateKind::Aggregating => Self::Values,
            StateKind::List => Self::Lists,
            StateKind::Map => Self::Maps,
        }
    }

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Lists => "lists",
            Self::Maps => "maps",
        }
    }

    fn of_each<T>(self, [values, lists, maps]: &[T; 3]) -> &T {
        match self {
            Self::Values => values,
            Self::Lists => lists,
            Self::Maps => maps,
        }
    }

    fn tuned(self) -> Tuned {
        match self {
            Self::Values => Tuned::Values,
            Self::Lists => Tuned::Lists,
            Self::Maps => Tuned::Maps,
        }
    }
}

/// The block cache is divided into 2 to the power of this, so that few threads wait for one another. A filter or an index
/// of a large file has some megabytes; one that is larger than its part of the cache would be read again for each access.
const SHARD_BITS: i32 = 2;

/// Below this budget the filter of a large file does not fit into its part of the block cache with others.
const SMALL_BUDGET: usize = 64 << 20;

/// What caches have goes into files that grow to so many bytes, or a sixteenth of a smaller budget, before all that is in them
/// becomes part of the database: only then caches may let go of it.
const LATE_FILE_MAX: usize = 16 << 20;
const LATE_FILE_MIN: usize = 256 << 10;

/// Bytes by which a write buffer grows; the most are what RocksDB has by default.
const ARENA_MIN: usize = 8 << 10;
const ARENA_MAX: usize = 1 << 20;

/// Memory that several databases of one backend share, and the options that they are opened with.
pub(crate) struct Setup {
    database: Options,
    families: [Options; 3],
    /// Those of files that are made outside of a database.
    files: [Options; 3],
    cache: Cache,
    write_buffers: WriteBufferManager,
    /// Bytes that files of what caches have grow to.
    pub late_file_bytes: u64,
}

impl Setup {
    pub fn new(options: &RocksDbOptions) -> Self {
        // As Flink divides its managed memory with a write buffer ratio of 0.5: a manager that is full lets half of its
        // size more be taken while it flushes, and then all together is the budget.
        let budget = options.memory_budget - options.value_cache_bytes();
        let mut shards = LruCacheOptions::default();
        shards.set_capacity(budget / 6 * 5);
        shards.set_num_shard_bits(SHARD_BITS);
        let cache = Cache::new_lru_cache_opts(&shards);
        let write_buffer_bytes = budget / 3;
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(write_buffer_bytes, false, cache.clone());
        let tune = |what, changed: &mut Options| {
            if let Some(tune) = &options.tune {
                tune(what, changed);
            }
        };
        let mut database = options.profile.database();
        tune(Tuned::Database, &mut database);
        database.set_write_buffer_manager(&write_buffers);
        if let Some(threads) = options.background_threads {
            database.set_max_background_jobs(threads.into());
        }
        if options.statistics {
            database.enable_statistics();
        }
        let memory_is_small = options.memory_budget < SMALL_BUDGET;
        let tuned = |change: fn(&mut Options)| {
            Family::ALL.map(|family| {
                let mut made = options.profile.family(family, &cache, memory_is_small);
                // Write buffers grow by such blocks: by large ones they would be full when they have hardly anything.
                made.set_arena_block_size((write_buffer_bytes / 64).clamp(ARENA_MIN, ARENA_MAX));
                change(&mut made);
                tune(family.tuned(), &mut made);
                made
            })
        };
        let families = tuned(|_| {});
        // A writer of files would compress them as those of the last level, which takes its time; a compaction may do so.
        let files = tuned(|options| options.set_bottommost_compression_type(DBCompressionType::Lz4));
        let late_file_bytes = (options.memory_budget / 16).clamp(LATE_FILE_MIN, LATE_FILE_MAX) as u64;
        Self { database, families, files, cache, write_buffers, late_file_bytes }
    }

    fn family(&self, family: Family) -> &Options {
        family.of_each(&self.families)
    }

    fn files(&self, family: Family) -> &Options {
        family.of_each(&self.files)
    }

    fn descriptors(&self) -> [ColumnFamilyDescriptor; 3] {
        Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), self.family(family).clone()))
    }

    /// Opens the database in `path`, or makes it.
    pub fn open(&self, path: &Path) -> Result<DB> {
        DB::open_cf_descriptors(&self.database, path, self.descriptors()).map_err(failed)
    }

    /// Opens a database that nobody writes to.
    pub fn open_read_only(&self, path: &Path) -> Result<DB> {
        DB::open_cf_descriptors_read_only(&self.database, path, self.descriptors(), false).map_err(failed)
    }
}

/// A database, its folder, and how it is used. Goes with its last user.
pub(crate) struct Database {
    db: DB,
    pub setup: Setup,
    pub reads: ReadOptions,
    pub writes: WriteOptions,
    /// Number of the next file that is made beside the database.
    next_file: AtomicU64,
    /// Behind `db`: it is removed after the database was closed.
    folder: WorkingFolder,
}

impl Database {
    /// Where the database lies in the folder.
    pub fn path_in(folder: &WorkingFolder) -> PathBuf {
        folder.path().join("db")
    }

    /// Opens the database in the folder, or makes it.
    pub fn open(setup: Setup, folder: WorkingFolder) -> Result<Arc<Self>> {
        Ok(Self::of(setup.open(&Self::path_in(&folder))?, setup, folder))
    }

    /// One that was opened.
    pub fn of(db: DB, setup: Setup, folder: WorkingFolder) -> Arc<Self> {
        let mut writes = WriteOptions::default();
        writes.disable_wal(true);
        let (reads, next_file) = (ReadOptions::default(), AtomicU64::new(0));
        Arc::new(Self { db, setup, reads, writes, next_file, folder })
    }

    pub fn db(&self) -> &DB {
        &self.db
    }

    pub fn family(&self, family: Family) -> Result<&ColumnFamily> {
        family_of(&self.db, family)
    }

    /// A path for a file or folder that nobody else uses.
    pub fn fresh_path(&self, what: &str) -> PathBuf {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{what}-{number}"))
    }

    /// Makes sorted files parts of the database, and takes them away. Of those that overlap the newer ones come last.
    pub fn ingest(&self, family: Family, files: &[LoadFile]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let files = files.iter().map(|file| &file.0).collect();
        self.db.ingest_external_file_cf_opts(self.family(family)?, &options, files).map_err(failed)
    }

    /// Bytes in the block cache, write buffers included, and bytes of write buffers.
    pub fn memory(&self) -> (usize, usize) {
        (self.setup.cache.get_usage(), self.setup.write_buffers.get_usage())
    }

    pub fn statistics(&self) -> Option<String> {
        self.setup.database.get_statistics()
    }

    /// Ends background work and removes the folder, though others may still read.
    pub fn close(&self) -> Result<()> {
        self.db.cancel_all_background_work(true);
        self.folder.remove()
    }
}

/// The column family of a database that has all of them.
pub(crate) fn family_of(db: &DB, family: Family) -> Result<&ColumnFamily> {
    db.cf_handle(family.name()).ok_or_else(|| {
        let message = format!("the database has no column family {:?}", family.name());
        Error::new(ErrorKind::Corrupt, message)
    })
}

/// A sorted file for [`Database::ingest`], which is removed at the end, if it did not become part of the database.
pub(crate) struct LoadFile(pub PathBuf);

impl Drop for LoadFile {
    fn drop(&mut self) {
        // What stays goes with the working folder.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes a [`LoadFile`].
pub(crate) struct SstFile<'d> {
    writer: SstFileWriter<'d>,
    /// Behind `writer`: it is removed after the writer has closed it.
    file: LoadFile,
}

impl<'d> SstFile<'d> {
    pub fn create(database: &'d Database, family: Family) -> Result<Self> {
        let file = LoadFile(database.fresh_path("load"));
        let writer = SstFileWriter::create(database.setup.files(family));
        writer.open(&file.0).map_err(failed)?;
        Ok(Self { writer, file })
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value).map_err(failed)
    }

    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.writer.delete(key).map_err(failed)
    }

    /// Bytes written so far.
    pub fn size(&mut self) -> u64 {
        self.writer.file_size()
    }

    /// Ends the file, of at least one entry.
    pub fn finish(mut self) -> Result<LoadFile> {
        self.writer.finish().map_err(failed)?;
        Ok(self.file)
    }
}

/// Steps through the entries of a range.
pub(crate) struct Cursor<'d> {
    entries: DBRawIterator<'d>,
    started: bool,
}

impl<'d> Cursor<'d> {
    /// `reads` may name a snapshot; bounds are set here.
    pub fn new(db: &'d DB, family: &ColumnFamily, mut reads: ReadOptions, from: &[u8], to: &[u8]) -> Self {
        reads.set_iterate_upper_bound(to);
        let mut entries = db.raw_iterator_cf_opt(family, reads);
        entries.seek(from);
        Self { entries, started: false }
    }

    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.started && self.entries.valid() {
            self.entries.next();
        }
        self.started = true;
        if !self.entries.valid() {
            return self.entries.status().map(|()| None).map_err(failed);
        }
        Ok(self.entries.item())
    }
}

#[cfg(test)]
mod tests;
