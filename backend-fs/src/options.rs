use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{CheckpointTarget, Error, ErrorKind, JobFolder, Result, Storage};

use storage_local::LocalStorage;

/// Options of an [`FsBackend`](crate::FsBackend).
#[derive(Clone, Debug)]
pub struct FsOptions {
    pub(crate) target: CheckpointTarget,
    pub(crate) incremental: bool,
    pub(crate) claims_restored: bool,
    pub(crate) memory_budget: Option<u64>,
    pub(crate) restore_threads: NonZeroUsize,
}

impl FsOptions {
    /// Checkpoints in `storage`, below the folder of `job`: full ones, not compressed, files of at most 20,480 bytes
    /// inline in the checkpoint's metadata.
    pub fn new(storage: Arc<dyn Storage>, job: JobFolder) -> Self {
        let target = CheckpointTarget::files(storage, job);
        Self {
            target,
            incremental: false,
            claims_restored: false,
            memory_budget: None,
            restore_threads: NonZeroUsize::MIN,
        }
    }

    /// [`new`](Self::new) with a folder of this machine, which is made if it is not there.
    ///
    /// # Errors
    /// As [`LocalStorage::open`].
    pub fn in_folder(folder: impl Into<PathBuf>, job: JobFolder) -> Result<Self> {
        Ok(Self::new(Arc::new(LocalStorage::open(folder)?), job))
    }

    /// Whether a checkpoint writes only what changed since the last confirmed one (no by default).
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    /// Whether the checkpoint that a backend is restored from is the job's own from then on (Flink's restore mode
    /// CLAIM). If so, and if it is restored from one handle, its first increment builds on the files of that, which must
    /// stay as long as a checkpoint names them: the checkpoint must come from the
    /// checkpoint store that the next ones go to, which sees to that. If not (the
    /// default, NO_CLAIM), or after several handles were joined, the first checkpoint is full, and what was restored
    /// from may be deleted at any time.
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

    /// Sets how files are compressed (not at all by default: a local disk is faster than most codecs). Checkpoints
    /// with and without can be restored whatever is set.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.target = self.target.with_compression(compression);
        self
    }

    /// Sets how many bytes all states together may hold in memory. A write that would exceed it is refused with
    /// [`Size`](ErrorKind::Size), and nothing is changed.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn memory_budget(mut self, bytes: u64) -> Result<Self> {
        if bytes == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "the memory budget must be at least 1 byte"));
        }
        self.memory_budget = Some(bytes);
        Ok(self)
    }

    /// Sets how many threads share the work of reading a state back when it is registered after a restore: 1 by default,
    /// for a process has as many subtasks as cores as a rule, and all of them are restored at once.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn restore_threads(mut self, threads: usize) -> Result<Self> {
        self.restore_threads = NonZeroUsize::new(threads)
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "a restore needs at least 1 thread"))?;
        Ok(self)
    }
}
