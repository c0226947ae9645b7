//! Snapshots: a short synchronous part, then a task that any thread may run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::catch_panic;
use crate::format::Compression;
use crate::{AttemptTarget, Cancel, CheckpointTarget, Error, ErrorKind, KeyedStateHandle, Result};

/// Format of a savepoint. The order of the variants is part of the metadata's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SavepointFormat {
    /// The same bytes from every backend, apart from ids, and restored by every backend.
    Canonical,
    /// The backend's own format, which is written and read faster. Only backends of the same family restore it.
    Native,
}

/// The kind of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SnapshotKind {
    /// A checkpoint. It is incremental if the backend is configured so and has a confirmed checkpoint to
    /// build on.
    #[default]
    Checkpoint,
    /// A checkpoint that depends on no earlier one. Every backend can restore it.
    Full,
    /// A savepoint in this format. It depends on no checkpoint, and no checkpoint builds on it.
    Savepoint(SavepointFormat),
}

/// A request to [`StateBackend::snapshot`](crate::StateBackend::snapshot).
#[derive(Clone, Debug)]
pub struct SnapshotRequest {
    checkpoint_id: u64,
    kind: SnapshotKind,
    last_completed: Option<u64>,
    target: Option<CheckpointTarget>,
}

impl SnapshotRequest {
    /// A request for a [`Checkpoint`](SnapshotKind::Checkpoint). Ids increase from one request to the next.
    pub fn new(checkpoint_id: u64) -> Self {
        Self { checkpoint_id, kind: SnapshotKind::Checkpoint, last_completed: None, target: None }
    }

    /// Sets the kind.
    pub fn with_kind(self, kind: SnapshotKind) -> Self {
        Self { kind, ..self }
    }

    /// Sets the kind [`Full`](SnapshotKind::Full).
    pub fn full(self) -> Self {
        self.with_kind(SnapshotKind::Full)
    }

    /// Names the last completed checkpoint of the job, which is not a savepoint. The backend treats it as
    /// confirmed, so a lost [`notify_complete`](crate::StateBackend::notify_complete) does no harm.
    pub fn after(self, checkpoint_id: u64) -> Self {
        Self { last_completed: Some(checkpoint_id), ..self }
    }

    /// Names the target of the files, in place of the backend's own target: the folder of a savepoint. A
    /// backend with checkpoints in the coordinator's memory ignores it.
    pub fn to(self, target: CheckpointTarget) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The checkpoint's id.
    pub fn checkpoint_id(&self) -> u64 {
        self.checkpoint_id
    }

    /// The target of the files, if the request [names](Self::to) one.
    pub fn target(&self) -> Option<&CheckpointTarget> {
        self.target.as_ref()
    }

    /// The last completed checkpoint, if the request [names](Self::after) one.
    pub fn last_completed(&self) -> Option<u64> {
        self.last_completed
    }

    /// The kind.
    pub fn kind(&self) -> SnapshotKind {
        self.kind
    }

    /// True if the snapshot must not depend on an earlier checkpoint.
    pub fn is_full(&self) -> bool {
        self.kind != SnapshotKind::Checkpoint
    }

    /// True for a canonical savepoint.
    pub fn is_canonical(&self) -> bool {
        self.savepoint() == Some(SavepointFormat::Canonical)
    }

    /// The format of the savepoint, if it is one.
    pub fn savepoint(&self) -> Option<SavepointFormat> {
        match self.kind {
            SnapshotKind::Checkpoint | SnapshotKind::Full => None,
            SnapshotKind::Savepoint(format) => Some(format),
        }
    }

    /// Refuses a request for a savepoint. For backends that write none.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported).
    pub fn refuse_savepoint(&self) -> Result<()> {
        let format = match self.savepoint() {
            None => return Ok(()),
            Some(SavepointFormat::Canonical) => "canonical",
            Some(SavepointFormat::Native) => "native",
        };
        let message = format!("this backend writes no {format} savepoints");
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

impl AttemptTarget {
    /// The target of a requested snapshot. If the request [names](SnapshotRequest::to) a target, files go there, under the
    /// names of this attempt. Files in handles stay there. The blocks of a canonical savepoint are compressed with zstd,
    /// unless one of the targets names another compression.
    pub fn for_request(&self, request: &SnapshotRequest) -> Self {
        let compression = if request.is_canonical() { Compression::Zstd(1) } else { Compression::None };
        self.redirected(request.target(), compression)
    }
}

/// Progress of a running snapshot. Any thread may read it.
#[derive(Debug, Default)]
pub struct Progress {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Adds what was written. For backends.
    pub fn add(&self, entries: u64, bytes: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Entries written so far.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

type Work<T> = dyn FnOnce(&Cancel, &Progress) -> Result<T> + Send;

/// The asynchronous part of a snapshot. It writes what [`snapshot`](crate::StateBackend::snapshot) froze.
///
/// Any thread may run it while the backend continues. It can be cancelled at any time, or dropped. Then it
/// leaves no file and releases all it holds.
///
/// `T` is its result: by default the handle of keyed state.
pub struct SnapshotTask<T = Option<KeyedStateHandle>> {
    checkpoint_id: u64,
    cancel: Cancel,
    progress: Arc<Progress>,
    work: Box<Work<T>>,
}

impl<T> SnapshotTask<T> {
    /// A task that runs `work`. For authors of backends: the backend keeps a clone of `cancel`, so that
    /// closing it ends the task. `work` must leave no file behind if it fails or is cancelled.
    pub fn new(
        checkpoint_id: u64,
        cancel: Cancel,
        work: impl FnOnce(&Cancel, &Progress) -> Result<T> + Send + 'static,
    ) -> Self {
        Self { checkpoint_id, cancel, progress: Arc::default(), work: Box::new(work) }
    }

    /// The checkpoint's id.
    pub fn checkpoint_id(&self) -> u64 {
        self.checkpoint_id
    }

    /// Cancels the task, from any thread and at any time.
    pub fn cancel_token(&self) -> Cancel {
        self.cancel.clone()
    }

    /// The progress of the task.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Writes the snapshot and blocks until it is durable. A backend without a registered state has no
    /// handle.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled), [`Io`](ErrorKind::Io), [`Size`](ErrorKind::Size),
    /// [`Codec`](ErrorKind::Codec). Then there is no handle, and no file is left behind. The backend
    /// continues, and its next snapshot includes everything this one would have had.
    pub fn run(self) -> Result<T> {
        let Self { checkpoint_id, cancel, progress, work } = self;
        let _span = tracing::info_span!("snapshot", checkpoint_id).entered();
        cancel.check()?;
        // A codec is user code: its panic ends this task, not the thread that runs it.
        let done = "the snapshot was written";
        let result = catch_panic(ErrorKind::Codec, done, || work(&cancel, &progress));
        match &result {
            Ok(_) => {
                tracing::info!(entries = progress.entries(), bytes = progress.bytes(), "snapshot written")
            }
            Err(error) => tracing::warn!(%error, "snapshot failed"),
        }
        result
    }
}

impl<T> std::fmt::Debug for SnapshotTask<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotTask").field("checkpoint_id", &self.checkpoint_id).finish_non_exhaustive()
    }
}
