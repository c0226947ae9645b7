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
    /// Checkpoints in `storage`, in the folder of `job`. By default they are full and not compressed, and
    /// files of at most 20,480 bytes are inline in the checkpoint's metadata.
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

    /// [`new`](Self::new) with a local folder, which is created if it is missing.
    ///
    /// # Errors
    /// Same as [`LocalStorage::open`].
    pub fn in_folder(folder: impl Into<PathBuf>, job: JobFolder) -> Result<Self> {
        Ok(Self::new(Arc::new(LocalStorage::open(folder)?), job))
    }

    /// Enables incremental checkpoints, which write only changes since the last confirmed checkpoint. Off by
    /// default.
    pub fn with_incremental(mut self, incremental: bool) -> Self {
        self.incremental = incremental;
        self
    }

    /// Takes ownership of the checkpoint that the backend is restored from (Flink's restore mode CLAIM). Off
    /// by default (NO_CLAIM).
    ///
    /// If on, and the restore is from one handle, the first increment builds on the restored files. These
    /// must exist as long as a checkpoint names them. That holds if the checkpoint comes from the checkpoint
    /// store that the next ones go to, because the store keeps such files.
    ///
    /// If off, or if several handles are joined, the first checkpoint is full. The restored files may then be
    /// deleted at any time.
    pub fn with_claim_restored(mut self, claim: bool) -> Self {
        self.claims_restored = claim;
        self
    }

    /// Sets the largest file, in bytes, that is inline in the checkpoint's metadata: 0 to 1,048,576. 20,480
    /// by default.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn with_inline_max(mut self, bytes: usize) -> Result<Self> {
        self.target = self.target.with_inline_max(bytes)?;
        Ok(self)
    }

    /// Sets the compression of files. None by default, since a local disk is faster than most codecs.
    /// Restores read compressed and uncompressed files with any setting.
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.target = self.target.with_compression(compression);
        self
    }

    /// Sets the limit, in bytes, of all states in memory. A write beyond it fails with
    /// [`Size`](ErrorKind::Size) and changes nothing.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_memory_budget(mut self, bytes: u64) -> Result<Self> {
        if bytes == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "the memory budget must be at least 1 byte"));
        }
        self.memory_budget = Some(bytes);
        Ok(self)
    }

    /// Sets how many threads read a state when it is registered after a restore. 1 by default, since a
    /// process usually has as many subtasks as cores, and all restore at once.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_restore_threads(mut self, threads: usize) -> Result<Self> {
        self.restore_threads = NonZeroUsize::new(threads)
            .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "a restore needs at least 1 thread"))?;
        Ok(self)
    }

    /// The target of checkpoints, with the inline limit and the compression.
    pub fn target(&self) -> &CheckpointTarget {
        &self.target
    }

    /// True for incremental checkpoints.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// True if the restored checkpoint becomes the job's own.
    pub fn claims_restored(&self) -> bool {
        self.claims_restored
    }

    /// The limit of all states in memory, in bytes, if set.
    pub fn memory_budget(&self) -> Option<u64> {
        self.memory_budget
    }

    /// The threads that restore one state.
    pub fn restore_threads(&self) -> NonZeroUsize {
        self.restore_threads
    }
}
