//! Taking a snapshot: a short synchronous part, then a task that any thread may run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Cancel, CheckpointTarget, Error, ErrorKind, KeyedStateHandle, Result};

/// Format of a savepoint. The order of the variants is part of the metadata's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SavepointFormat {
    /// The same bytes from every backend, readable by every backend.
    Canonical,
    /// The backend's own format, which is written and read faster.
    Native,
}

/// What kind of snapshot is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SnapshotKind {
    /// A checkpoint: incremental if the backend is set up so and has a confirmed checkpoint to build on.
    #[default]
    Checkpoint,
    /// A checkpoint that depends on no earlier one. Every backend can restore it.
    Full,
    /// A savepoint: it depends on no checkpoint, and none depends on it. No backend writes them yet; they answer
    /// [`Unsupported`](ErrorKind::Unsupported).
    Savepoint(SavepointFormat),
}

/// What is asked of [`StateBackend::snapshot`](crate::StateBackend::snapshot).
#[derive(Clone, Debug)]
pub struct SnapshotRequest {
    checkpoint_id: u64,
    kind: SnapshotKind,
    last_completed: Option<u64>,
    target: Option<CheckpointTarget>,
}

impl SnapshotRequest {
    /// A snapshot of kind [`Checkpoint`](SnapshotKind::Checkpoint). Ids must increase from one request to the next.
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

    /// Names the last completed checkpoint of the job, savepoints left out. The backend takes it as confirmed, so that a
    /// lost [`notify_complete`](crate::StateBackend::notify_complete) does no harm.
    pub fn after(self, checkpoint_id: u64) -> Self {
        Self { last_completed: Some(checkpoint_id), ..self }
    }

    /// Names where the files go, in place of the backend's own target: the folder of a savepoint. A backend whose
    /// checkpoints are in the coordinator's memory keeps to that.
    pub fn to(self, target: CheckpointTarget) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The checkpoint's id.
    pub fn checkpoint_id(&self) -> u64 {
        self.checkpoint_id
    }

    /// Where the files go, if the request [names](Self::to) it.
    pub fn target(&self) -> Option<&CheckpointTarget> {
        self.target.as_ref()
    }

    /// The last completed checkpoint, if the request [names](Self::after) one.
    pub fn last_completed(&self) -> Option<u64> {
        self.last_completed
    }

    /// The kind of snapshot.
    pub fn kind(&self) -> SnapshotKind {
        self.kind
    }

    /// True if it must not depend on an earlier checkpoint.
    pub fn is_full(&self) -> bool {
        self.kind != SnapshotKind::Checkpoint
    }

    /// For backends that write no savepoints: refuses a request for one.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported).
    pub fn refuse_savepoint(&self) -> Result<()> {
        let format = match self.kind {
            SnapshotKind::Checkpoint | SnapshotKind::Full => return Ok(()),
            SnapshotKind::Savepoint(SavepointFormat::Canonical) => "canonical",
            SnapshotKind::Savepoint(SavepointFormat::Native) => "native",
        };
        let message = format!("this backend writes no {format} savepoints");
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// How far a running snapshot is; may be read from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Notes what was written, for backends.
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

/// The asynchronous part of a snapshot: writes what [`snapshot`](crate::StateBackend::snapshot) froze.
///
/// It may be run on any thread while the backend goes on, be cancelled before or while it runs, or be dropped: then
/// no file was made and all it held is released.
///
/// It answers the handle of keyed state, unless another type is named.
pub struct SnapshotTask<T = Option<KeyedStateHandle>> {
    checkpoint_id: u64,
    cancel: Cancel,
    progress: Arc<Progress>,
    work: Box<Work<T>>,
}

impl<T> SnapshotTask<T> {
    /// For authors of backends: a task that does `work`. The backend keeps a clone of `cancel`, so that closing it
    /// ends the task. `work` must leave no file behind if it fails or finds itself cancelled.
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

    /// What cancels the task, from any thread and at any time.
    pub fn cancel_token(&self) -> Cancel {
        self.cancel.clone()
    }

    /// How far the task is.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Writes the snapshot; blocks until it is durable. Of a backend without a registered state there is no handle.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled), [`Io`](ErrorKind::Io), [`Size`](ErrorKind::Size),
    /// [`Codec`](ErrorKind::Codec). No handle exists then and no file is left behind; the backend goes on, and the
    /// next snapshot has all that this one would have had.
    pub fn run(self) -> Result<T> {
        let Self { checkpoint_id, cancel, progress, work } = self;
        let _span = tracing::info_span!("snapshot", checkpoint_id).entered();
        cancel.check()?;
        // A codec is the user's code: its panic ends this task, not the thread that happens to run it.
        let result = catch_unwind(AssertUnwindSafe(|| work(&cancel, &progress))).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(Error::new(ErrorKind::Codec, format!("panic while the snapshot was written: {text}")))
        });
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
