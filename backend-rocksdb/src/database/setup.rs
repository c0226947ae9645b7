//! The options of a database, and the memory that the databases of one backend share.

use std::path::Path;

use backend_api::Result;
use rocksdb::{
    Cache, ColumnFamilyDescriptor, DB, DBCompressionType, LruCacheOptions, Options, WriteBufferManager,
};

use super::Family;
use super::expiry::Expiries;
use crate::error::failed;
use crate::{Profile, RocksDbOptions, Tuned, ffi};

/// The block cache has 2 to the power of this many shards, which reduces contention. Filter and index of a
/// large file take some megabytes. If they exceeded a shard, every access would read them again.
const SHARD_BITS: i32 = 2;

/// Below this budget the filter of a large file does not fit into a shard of the block cache together with others.
const SMALL_BUDGET: usize = 64 << 20;

/// Dirty cache entries are flushed to files of up to this size, or of a sixteenth of a smaller budget. The cache keeps
/// them until the file is ingested.
const FLUSH_FILE_MAX: usize = 16 << 20;
const FLUSH_FILE_MIN: usize = 256 << 10;

/// Bytes by which a write buffer grows; the maximum is RocksDB's default.
const ARENA_MIN: usize = 8 << 10;
const ARENA_MAX: usize = 1 << 20;

/// Options and shared memory.
pub(crate) struct Setup {
    database: Options,
    families: [Options; 3],
    /// For files that are written outside of a database.
    files: [Options; 3],
    /// True if the user may have changed options.
    is_tuned: bool,
    /// Which entries compactions remove.
    pub expiries: Expiries,
    cache: Cache,
    write_buffers: WriteBufferManager,
    /// Size at which a file of flushed cache entries is ingested.
    pub flush_file_bytes: u64,
    /// Files that are copied, or ranges that are read, at once.
    pub transfer_threads: usize,
}

impl Setup {
    pub fn new(options: &RocksDbOptions) -> Self {
        // Flink's division of managed memory with a write buffer ratio of 0.5: a full manager lets half of its size more be
        // taken while it flushes; together that is the budget.
        let budget = options.memory_budget - options.cache_bytes();
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
        database.create_if_missing(true);
        database.create_missing_column_families(true);
        database.set_error_if_exists(false);
        database.set_write_buffer_manager(&write_buffers);
        ffi::avoid_flush_during_shutdown(&mut database);
        if let Some(threads) = options.background_threads {
            database.set_max_background_jobs(threads.into());
        }
        if options.statistics {
            database.enable_statistics();
        }
        let memory_is_small = options.memory_budget < SMALL_BUDGET;
        let families = [Tuned::Values, Tuned::Lists, Tuned::Maps].map(|tuned| {
            let mut family = options.profile.family(tuned, &cache, memory_is_small);
            // With large blocks a write buffer would be full while it holds hardly anything.
            family.set_arena_block_size((write_buffer_bytes / 64).clamp(ARENA_MIN, ARENA_MAX));
            tune(tuned, &mut family);
            family
        });
        let files = families.clone().map(|mut family| {
            // A file writer compresses like the last level. That is slow with zstd; a compaction can do it later.
            if options.profile == Profile::SpinningDisk {
                family.set_bottommost_compression_type(DBCompressionType::Lz4);
            }
            family
        });
        let flush_file_bytes = (options.memory_budget / 16).clamp(FLUSH_FILE_MIN, FLUSH_FILE_MAX) as u64;
        let transfer_threads = options.transfer_threads.into();
        let is_tuned = options.tune.is_some();
        Self {
            database,
            families,
            files,
            is_tuned,
            expiries: Expiries::default(),
            cache,
            write_buffers,
            flush_file_bytes,
            transfer_threads,
        }
    }

    /// Options for files of a family that are written outside of a database.
    pub fn files(&self, family: Family) -> &Options {
        family.of_each(&self.files)
    }

    fn descriptors(&self) -> [ColumnFamilyDescriptor; 3] {
        Family::ALL
            .map(|family| ColumnFamilyDescriptor::new(family.name(), family.of_each(&self.families).clone()))
    }

    /// Opens the database in `path`, or creates it. Its compactions remove [expired](Self::expiries) entries.
    pub fn open(&self, path: &Path) -> Result<DB> {
        let families = Family::ALL.map(|family| {
            let mut options = family.of_each(&self.families).clone();
            options.set_compaction_filter_factory(self.expiries.clone());
            ColumnFamilyDescriptor::new(family.name(), options)
        });
        DB::open_cf_descriptors(&self.database, path, families).map_err(failed)
    }

    /// Opens a database with the user's options alone, and with RocksDB's error.
    pub(super) fn open_raw(&self, path: &Path) -> Result<DB, rocksdb::Error> {
        DB::open_cf_descriptors(&self.database, path, self.descriptors())
    }

    /// True if the user may have changed options.
    pub(super) fn is_tuned(&self) -> bool {
        self.is_tuned
    }

    /// True if the log has a folder of its own.
    pub(super) fn has_wal_dir(&self) -> bool {
        ffi::has_wal_dir(&self.database)
    }

    /// Opens an existing database for reading.
    pub fn open_read_only(&self, path: &Path) -> Result<DB> {
        DB::open_cf_descriptors_read_only(&self.database, path, self.descriptors(), false).map_err(failed)
    }

    /// Bytes in the block cache, write buffers included, and bytes of write buffers.
    pub fn memory(&self) -> (usize, usize) {
        (self.cache.get_usage(), self.write_buffers.get_usage())
    }

    /// RocksDB's counters as text, if they are enabled.
    pub fn statistics(&self) -> Option<String> {
        self.database.get_statistics()
    }
}
