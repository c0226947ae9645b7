use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{CheckpointTarget, Error, ErrorKind, JobFolder, Result, Storage};
use backend_bytes::ByteOptions;
use storage_local::LocalStorage;

use crate::{Profile, Tuned};

/// Memory budget in bytes, unless set.
const DEFAULT_MEMORY_BUDGET: usize = 256 << 20;

/// Smallest memory budget. Below it RocksDB would do little but flush.
const MIN_MEMORY_BUDGET: usize = 1 << 20;

/// Files that are uploaded or downloaded at once, unless set.
const TRANSFER_THREADS: u16 = 4;

pub(crate) type Tune = dyn Fn(Tuned, &mut rocksdb::Options) + Send + Sync;

/// Options of a [`RocksDbBackend`](crate::RocksDbBackend).
#[derive(Clone)]
pub struct RocksDbOptions {
    pub(crate) target: CheckpointTarget,
    pub(crate) working_folder: PathBuf,
    pub(crate) incremental: bool,
    pub(crate) claims_restored: bool,
    pub(crate) memory_budget: usize,
    cache_bytes: Option<usize>,
    pub(crate) entry_bytes_max: u64,
    pub(crate) profile: Profile,
    pub(crate) tune: Option<Arc<Tune>>,
    pub(crate) background_threads: Option<u16>,
    pub(crate) transfer_threads: u16,
    pub(crate) statistics: bool,
}

impl RocksDbOptions {
    /// Checkpoints in `storage`, below the folder of `job`: full ones, not compressed, with files of up to 20,480 bytes
    /// inline in the checkpoint's metadata.
    ///
    /// Each backend makes a folder in `working_folder`, which should be on a fast local disk. The folder has a name that is
    /// never used again, and only its owner can read it. It is removed when the backend and its last snapshot task are
    /// dropped. After a crash, the next backend that opens in the same `working_folder` removes it. Nothing else in
    /// `working_folder` is touched, so it may be shared by jobs and users.
    pub fn new(storage: Arc<dyn Storage>, job: JobFolder, working_folder: impl Into<PathBuf>) -> Self {
        Self {
            target: CheckpointTarget::files(storage, job),
            working_folder: working_folder.into(),
            incremental: false,
            claims_restored: false,
            memory_budget: DEFAULT_MEMORY_BUDGET,
            cache_bytes: None,
            entry_bytes_max: ByteOptions::ENTRY_BYTES_MAX,
            profile: Profile::Default,
            tune: None,
            background_threads: None,
            transfer_threads: TRANSFER_THREADS,
            statistics: false,
        }
    }

    /// [`new`](Self::new) with checkpoints in a local folder, which is created if it is missing.
    ///
    /// # Errors
    /// Same as [`LocalStorage::open`].
    pub fn in_folder(
        folder: impl Into<PathBuf>,
        job: JobFolder,
        working_folder: impl Into<PathBuf>,
    ) -> Result<Self> {
        Ok(Self::new(Arc::new(LocalStorage::open(folder)?), job, working_folder))
    }

    /// Enables incremental checkpoints: upload only SST files that the last confirmed checkpoint lacks. Off by default.
    pub fn with_incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    /// Makes the restored checkpoint the job's own (Flink's restore mode CLAIM). Off by default (NO_CLAIM).
    ///
    /// With it, the first increment after a restore from one handle builds on the files of that handle. They must stay as
    /// long as a checkpoint names them, so the restored checkpoint must be in the checkpoint store that the next ones go
    /// to. Without it the first checkpoint uploads every file, and the restored one may be deleted at any time.
    pub fn with_claim_restored(mut self, claim: bool) -> Self {
        self.claims_restored = claim;
        self
    }

    /// Sets the size up to which a file is stored in the checkpoint's metadata: 0 to 1,048,576 bytes, 20,480 by default.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn with_inline_max(mut self, bytes: usize) -> Result<Self> {
        self.target = self.target.with_inline_max(bytes)?;
        Ok(self)
    }

    /// Sets the compression of full checkpoints; none by default. The files of incremental checkpoints are RocksDB's, with
    /// the compression of the [profile](Self::with_profile) or of [`tune`](Self::with_tune).
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.target = self.target.with_compression(compression);
        self
    }

    /// Sets the memory budget of a backend in bytes, for all its states together: write buffers, blocks of files, their
    /// indexes and filters, and decoded values. 268,435,456 by default; at least 1,048,576.
    ///
    /// The [cache](Self::with_cache_bytes) of decoded values takes its share first. Of the rest, write buffers take up to a third,
    /// and half more while one is flushed. The block cache has what is left, and write buffers are charged to it (Flink's
    /// division of managed memory).
    ///
    /// Large values exceed the budget: reading, writing and flushing a value of 8 MB takes several copies of it at once.
    ///
    /// The memory of the process also depends on its allocator. glibc's keeps large freed buffers among small objects and
    /// cannot return the holes. A process that runs for long should set `MALLOC_MMAP_THRESHOLD_=131072` in its environment
    /// (or `mallopt`), or use another allocator.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) below the minimum.
    pub fn with_memory_budget(mut self, bytes: usize) -> Result<Self> {
        if bytes < MIN_MEMORY_BUDGET {
            let message = format!("a memory budget of {bytes} bytes is less than {MIN_MEMORY_BUDGET} bytes");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.memory_budget = bytes;
        Ok(self)
    }

    /// Sets the share of the memory budget for decoded values, in bytes: a third by default, at most three quarters; 0 for
    /// no cache.
    ///
    /// The cache holds values, accumulators, elements and entries of up to 4,096 bytes each, and up to 16,384 bytes of a list
    /// or map. Dirty entries are flushed to RocksDB in sorted batches when they are evicted and while a snapshot is written.
    /// While few reads hit, only written entries are cached.
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// The share of the memory budget for decoded values, in bytes.
    pub fn cache_bytes(&self) -> usize {
        let max = self.memory_budget / 4 * 3;
        self.cache_bytes.unwrap_or(self.memory_budget / 3).min(max)
    }

    /// Sets the limit of key and value of one entry together: 1 to 2,147,483,647 bytes. The maximum is the default, and the
    /// limit of RocksDB under Flink. An entry is a value, an accumulator, one element of a list or one entry of a map. The
    /// limit also applies to all elements of one list together, and to all entries of one map. A write beyond it fails.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn with_entry_bytes_max(mut self, bytes: u64) -> Result<Self> {
        ByteOptions::check_entry_bytes_max(bytes)?;
        self.entry_bytes_max = bytes;
        Ok(self)
    }

    /// Sets the base options of RocksDB.
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Changes options of RocksDB. When a backend is opened, `tune` is called with the options of the database and of each
    /// column family. The memory budget and the number of threads are set afterwards.
    ///
    /// Options that would lose entries or break a restore are refused when the backend is opened: comparators, merge
    /// operators, prefix extractors, compaction filters and their factories, user-defined timestamps, FIFO compaction,
    /// table formats other than the block-based one, in-place updates, unordered writes, row caches, and paths or
    /// environments that put files outside of the working folder. Blob files are allowed; a restore that joins them
    /// copies their values.
    ///
    /// A later run with other options must still be able to open the files of an incremental checkpoint. With fewer levels,
    /// for example, RocksDB may refuse them.
    pub fn with_tune(mut self, tune: impl Fn(Tuned, &mut rocksdb::Options) + Send + Sync + 'static) -> Self {
        self.tune = Some(Arc::new(tune));
        self
    }

    /// Sets how many flushes and compactions may run at once; at least 1. The [profile](Self::with_profile) has the default.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_background_threads(mut self, threads: u16) -> Result<Self> {
        if threads == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "there must be at least 1 background thread"));
        }
        self.background_threads = Some(threads);
        Ok(self)
    }

    /// Sets how many files a checkpoint uploads, or a restore downloads, at once; 4 by default, at least 1 (Flink's
    /// `state.backend.rocksdb.checkpoint.transfer.thread.num`).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_transfer_threads(mut self, threads: u16) -> Result<Self> {
        if threads == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "there must be at least 1 transfer thread"));
        }
        self.transfer_threads = threads;
        Ok(self)
    }

    /// Enables RocksDB's counters, which [`statistics`](crate::RocksDbStore::statistics) returns. Off by default.
    pub fn with_statistics(mut self, statistics: bool) -> Self {
        self.statistics = statistics;
        self
    }

    /// The target of checkpoints, with the inline limit and the compression of full ones.
    pub fn target(&self) -> &CheckpointTarget {
        &self.target
    }

    /// The folder in which each backend makes its working folder.
    pub fn working_folder(&self) -> &Path {
        &self.working_folder
    }

    /// True for incremental checkpoints.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// True if the restored checkpoint becomes the job's own.
    pub fn claims_restored(&self) -> bool {
        self.claims_restored
    }

    /// The memory budget, in bytes.
    pub fn memory_budget(&self) -> usize {
        self.memory_budget
    }

    /// The limit of key and value of one entry together, in bytes.
    pub fn entry_bytes_max(&self) -> u64 {
        self.entry_bytes_max
    }

    /// The base options of RocksDB.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The flushes and compactions that run at once, if set.
    pub fn background_threads(&self) -> Option<u16> {
        self.background_threads
    }

    /// The files that are transferred at once.
    pub fn transfer_threads(&self) -> u16 {
        self.transfer_threads
    }

    /// True if RocksDB's counters are on.
    pub fn has_statistics(&self) -> bool {
        self.statistics
    }
}

impl fmt::Debug for RocksDbOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RocksDbOptions");
        debug.field("target", &self.target).field("working_folder", &self.working_folder);
        debug.field("incremental", &self.incremental).field("claims_restored", &self.claims_restored);
        debug.field("memory_budget", &self.memory_budget).field("profile", &self.profile);
        debug.finish_non_exhaustive()
    }
}
