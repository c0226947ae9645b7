use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{CheckpointTarget, Error, ErrorKind, JobFolder, Result, Storage};
use backend_bytes::ByteOptions;
use storage_local::LocalStorage;

use crate::{Profile, Tuned};

/// Bytes of memory of a backend, unless configured.
const DEFAULT_MEMORY_BUDGET: usize = 256 << 20;

/// The least budget: below it RocksDB would do little but flush.
const MIN_MEMORY_BUDGET: usize = 1 << 20;

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
    pub(crate) statistics: bool,
}

impl RocksDbOptions {
    /// Checkpoints in `storage`, below the folder of `job`: full ones, not compressed, files of at most 20,480 bytes
    /// inline in the checkpoint's metadata.
    ///
    /// Each backend makes a folder of its own in `working_folder`, which should be on a fast local disk, and removes it when
    /// it is closed or dropped. What a crash left there is removed by the next backend that is opened.
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
            statistics: false,
        }
    }

    /// [`new`](Self::new) with checkpoints in a folder of this machine, which is made if it is not there.
    ///
    /// # Errors
    /// As [`LocalStorage::open`].
    pub fn in_folder(
        folder: impl Into<PathBuf>,
        job: JobFolder,
        working_folder: impl Into<PathBuf>,
    ) -> Result<Self> {
        Ok(Self::new(Arc::new(LocalStorage::open(folder)?), job, working_folder))
    }

    /// Whether a checkpoint consists of RocksDB's files, of which those are not written again that the last confirmed
    /// one has (no by default).
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    /// Whether the checkpoint that a backend is restored from is the job's own from then on (Flink's restore mode
    /// CLAIM). If so, and if it is incremental and restored from one handle, its first increment builds on the files of
    /// that, which must stay as long as a checkpoint names them: the checkpoint must come from the
    /// checkpoint store that the next ones go to, which sees to that. If not (the
    /// default, NO_CLAIM), the first checkpoint is full, and what was restored from may be deleted at any time.
    pub fn claim_restored(mut self, claim: bool) -> Self {
        self.claims_restored = claim;
        self
    }

    /// Sets up to how many bytes a file goes into the checkpoint's metadata: 0 to 1,048,576; 20,480 by default.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn inline_max(mut self, bytes: usize) -> Result<Self> {
        self.target = self.target.with_inline_max(bytes)?;
        Ok(self)
    }

    /// Sets how files of rows are compressed (not at all by default). The files of an incremental checkpoint are
    /// RocksDB's, which compresses them as [`tune`](Self::tune) and [`profile`](Self::profile) tell.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.target = self.target.with_compression(compression);
        self
    }

    /// Sets how many bytes of memory a backend may hold, however many states it has: write buffers, blocks of files,
    /// their indexes and filters, decoded values (268,435,456 by default; at least 1,048,576).
    ///
    /// The [cache](Self::cache_bytes) of decoded values has its part of it. Of the rest, write buffers take up to a third,
    /// and may exceed that by half while one is flushed; the block cache has what is left and lends them their part
    /// (Flink's division of managed memory).
    ///
    /// What the process holds depends on its allocator too. That of glibc begins to put large buffers among small objects once
    /// it has seen some freed, and cannot give back the holes that they leave: a program that runs for long sets
    /// `MALLOC_MMAP_THRESHOLD_=131072` in its environment (or `mallopt`), or takes another allocator.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) below the least.
    pub fn memory_budget(mut self, bytes: usize) -> Result<Self> {
        if bytes < MIN_MEMORY_BUDGET {
            let message = format!("a memory budget of {bytes} bytes is less than {MIN_MEMORY_BUDGET} bytes");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.memory_budget = bytes;
        Ok(self)
    }

    /// Sets how many bytes of the memory budget decoded values may take: a third of it by default, at most three quarters;
    /// 0 for none.
    ///
    /// What is used often is then not read from RocksDB and written to it at each access: values, accumulators, elements
    /// and entries of up to 4,096 bytes each, and of lists and maps up to 16,384 bytes at a time. What changed is written
    /// back in sorted batches when room is needed, and in the background of a snapshot. Where few reads find what they look
    /// for, only what is written is kept.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Bytes for decoded values.
    pub(crate) fn value_cache_bytes(&self) -> usize {
        let most = self.memory_budget / 4 * 3;
        self.cache_bytes.unwrap_or(self.memory_budget / 3).min(most)
    }

    /// Sets the most bytes that key and value of one entry may have together: 1 to 2,147,483,647, the limit of RocksDB
    /// under Flink and the default. An entry is a value, an accumulator, one element of a list or one entry of a map. The
    /// elements of one list, and the keys and values of one map, may not have more together, either; which is found
    /// when they are added.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn entry_bytes_max(mut self, bytes: u64) -> Result<Self> {
        ByteOptions::check_entry_bytes_max(bytes)?;
        self.entry_bytes_max = bytes;
        Ok(self)
    }

    /// Sets the options of RocksDB to begin with.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Changes options of RocksDB: `tune` is called with those of the database and of each column family, when one is
    /// opened; twice with those of a family, since they are other ones for the files that are made outside of the
    /// database and loaded into it. It should make the same changes each time. Comparators, merge operators and column
    /// family names are the backend's own, and the memory budget and the number of threads are set afterwards.
    pub fn tune(mut self, tune: impl Fn(Tuned, &mut rocksdb::Options) + Send + Sync + 'static) -> Self {
        self.tune = Some(Arc::new(tune));
        self
    }

    /// Sets how many flushes and compactions may run at once (as the [profile](Self::profile) has it by default); at
    /// least 1.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn background_threads(mut self, threads: u16) -> Result<Self> {
        if threads == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "there must be at least 1 background thread"));
        }
        self.background_threads = Some(threads);
        Ok(self)
    }

    /// Whether RocksDB counts what it does (no by default); [`statistics`](crate::RocksDbStore::statistics) tells.
    pub fn statistics(mut self, statistics: bool) -> Self {
        self.statistics = statistics;
        self
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
