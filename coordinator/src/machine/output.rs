use std::fmt;
use std::sync::Arc;

use backend_api::{SavepointFormat, SnapshotKind, SnapshotRequest};

use crate::config::CheckpointingMode;

/// One subtask of one operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The operator's name.
    pub operator: Arc<str>,
    /// The subtask's number, from 0.
    pub subtask: u16,
}

impl TaskId {
    /// That subtask.
    pub fn new(operator: impl Into<Arc<str>>, subtask: u16) -> Self {
        Self { operator: operator.into(), subtask }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subtask {} of {:?}", self.subtask, self.operator)
    }
}

/// The purpose of a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarrierKind {
    /// A checkpoint of the coordinator.
    Checkpoint,
    /// A savepoint, which belongs to the user.
    Savepoint(SavepointFormat),
    /// A savepoint after which the job stops: a source sends no more records behind this barrier.
    StopWithSavepoint {
        /// Format of the savepoint.
        format: SavepointFormat,
        /// True if open windows and timers fire first. The job cannot continue after such a savepoint as if nothing
        /// had happened.
        drain: bool,
    },
}

impl BarrierKind {
    /// The format of a savepoint; `None` for a checkpoint.
    pub fn savepoint(self) -> Option<SavepointFormat> {
        match self {
            Self::Checkpoint => None,
            Self::Savepoint(format) | Self::StopWithSavepoint { format, .. } => Some(format),
        }
    }

    /// True if it is a savepoint of either kind.
    pub fn is_savepoint(self) -> bool {
        self.savepoint().is_some()
    }

    /// True if the job stops after it.
    pub fn is_stop(self) -> bool {
        matches!(self, Self::StopWithSavepoint { .. })
    }
}

/// Separates the records before a checkpoint from those after it. Flows through the streams.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The checkpoint.
    pub id: u64,
    /// Its purpose.
    pub kind: BarrierKind,
    /// Decides if operators with several inputs align.
    pub mode: CheckpointingMode,
    /// The last completed checkpoint. A backend may build on it even if its notification was lost.
    pub latest: Option<u64>,
    /// True if a checkpoint must depend on no earlier one.
    pub is_full: bool,
    /// The folder that the files of a savepoint go to.
    pub folder: Option<Arc<str>>,
}

impl Barrier {
    /// The request to the backends. For a savepoint the engine [adds](SnapshotRequest::to) the target of its folder.
    pub fn request(&self) -> SnapshotRequest {
        let kind = match self.kind.savepoint() {
            Some(format) => SnapshotKind::Savepoint(format),
            None if self.is_full => SnapshotKind::Full,
            None => SnapshotKind::Checkpoint,
        };
        let request = SnapshotRequest::new(self.id).with_kind(kind);
        match self.latest {
            Some(latest) => request.after(latest),
            None => request,
        }
    }
}

/// Identifies a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// Why a request produced no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 1,000 requests are waiting.
    TooManyRequests,
    /// The pause since the last completion is not over.
    MinimumPause,
    /// The scheduler is stopped.
    Stopped,
    /// The tasks are not running.
    TasksNotReady,
    /// The job has ended.
    Shutdown,
    /// No folder is named for the savepoint, and there is no default.
    NoTarget,
    /// No id could be reserved.
    NoId(String),
    /// Its checkpoint was aborted.
    Aborted(u64, AbortReason),
}

/// Why a checkpoint will never complete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AbortReason {
    /// It took longer than the timeout.
    Expired,
    /// A task did not take or write its snapshot.
    Declined(TaskId, DeclineReason),
    /// A newer one completed first.
    Subsumed,
    /// The scheduler was stopped.
    Stopped,
    /// A task failed.
    TaskFailed,
    /// The job has ended.
    Shutdown,
    /// It could not be stored.
    NotStored(String),
}

/// Why a task does not acknowledge a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeclineReason {
    /// Its snapshot failed.
    Failed(String),
    /// It does not run yet, or is about to end. This does not count as a failure.
    NotReady,
    /// A newer barrier has overtaken this one. This does not count as a failure.
    Overtaken,
}

impl From<String> for DeclineReason {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl From<&str> for DeclineReason {
    fn from(reason: &str) -> Self {
        Self::Failed(reason.to_owned())
    }
}

impl fmt::Display for DeclineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::NotReady => f.write_str("it is not ready"),
            Self::Overtaken => f.write_str("a newer barrier has come first"),
        }
    }
}

impl AbortReason {
    /// True if it counts as a failure of a checkpoint or savepoint, as in Flink's `CheckpointFailureManager`.
    pub(super) fn counts(&self, kind: BarrierKind) -> bool {
        match self {
            Self::Expired => !kind.is_savepoint(),
            Self::Declined(_, DeclineReason::Failed(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("expired before it was complete"),
            Self::Declined(task, reason) => write!(f, "declined by {task}: {reason}"),
            Self::Subsumed => f.write_str("subsumed by a newer one"),
            Self::Stopped => f.write_str("the scheduler was stopped"),
            Self::TaskFailed => f.write_str("a task failed"),
            Self::Shutdown => f.write_str("the job has ended"),
            Self::NotStored(reason) => write!(f, "could not be stored: {reason}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRequests => f.write_str("too many checkpoint requests are waiting"),
            Self::MinimumPause => f.write_str("the minimum pause between checkpoints is not over"),
            Self::Stopped => f.write_str("the checkpoint scheduler is stopped"),
            Self::TasksNotReady => f.write_str("the tasks are not running"),
            Self::Shutdown => f.write_str("the job has ended"),
            Self::NoTarget => {
                f.write_str("no folder is named for the savepoint, and there is no default one")
            }
            Self::NoId(reason) => write!(f, "no checkpoint id could be reserved: {reason}"),
            Self::Aborted(id, reason) => write!(f, "checkpoint {id} was aborted: {reason}"),
        }
    }
}

/// What was reserved for a checkpoint: the answer to [`Output::ReserveId`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reserved {
    /// An id that was never used before.
    pub id: u64,
    /// An empty folder, for a savepoint.
    pub folder: Option<Arc<str>>,
}

impl From<u64> for Reserved {
    fn from(id: u64) -> Self {
        Self { id, folder: None }
    }
}

/// A complete checkpoint or savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Completed {
    /// Its id.
    pub id: u64,
    /// The folder of a savepoint.
    pub folder: Option<Arc<str>>,
}

/// The place of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreAs {
    /// Among the job's completed checkpoints, which subsumes the oldest.
    Checkpoint,
    /// As a savepoint.
    Savepoint {
        /// Its folder. The tasks have written their files there.
        folder: Arc<str>,
        /// Its format.
        format: SavepointFormat,
    },
}

/// Figures of one task's part of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskMetrics {
    /// Duration of the synchronous part, in microseconds.
    pub sync_us: u64,
    /// Duration of the asynchronous part, in microseconds.
    pub async_us: u64,
    /// Duration of the alignment, in microseconds.
    pub alignment_us: u64,
    /// Bytes held back during the alignment.
    pub alignment_bytes: u64,
    /// Bytes written.
    pub delta_bytes: u64,
    /// Bytes that a restore needs.
    pub full_bytes: u64,
}

/// A task's part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack<S> {
    /// The job.
    pub job: Arc<str>,
    /// The checkpoint.
    pub checkpoint_id: u64,
    /// The task.
    pub task: TaskId,
    /// Its state.
    pub state: S,
    /// Its figures.
    pub metrics: TaskMetrics,
}

/// The result of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledged {
    /// It counts.
    Accepted,
    /// The task acknowledged before. The state is the same and must be kept.
    Duplicate,
    /// The task or checkpoint is unknown or gone. The state must be discarded.
    Discarded {
        /// True if the checkpoint was aborted recently.
        was_pending: bool,
    },
    /// It belongs to another job, and nothing is done.
    OtherJob,
}

/// The result and figures of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointReport {
    /// The checkpoint.
    pub id: u64,
    /// Its purpose.
    pub kind: BarrierKind,
    /// Time of the trigger, in milliseconds.
    pub started: u64,
    /// Time of the end, in milliseconds.
    pub ended: u64,
    /// `None` if it completed.
    pub failure: Option<AbortReason>,
    /// The figures of the tasks that have acknowledged.
    pub tasks: Vec<TaskMetrics>,
}

/// An action for the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<S> {
    /// Reserve the next checkpoint id durably, and a new folder for a savepoint. Answer with
    /// [`id_reserved`](super::CheckpointCoordinator::id_reserved).
    ReserveId {
        /// The parent folder of the savepoint's folder.
        savepoint_in: Option<Arc<str>>,
    },
    /// Send this barrier from all sources.
    SendBarrier(Barrier),
    /// Store this checkpoint, and answer with [`stored`](super::CheckpointCoordinator::stored). Several are
    /// stored in the order of the outputs. If storing fails, delete the state.
    Store {
        /// The checkpoint.
        id: u64,
        /// Its place.
        target: StoreAs,
        /// The states of all tasks, in the order of the tasks.
        states: Vec<S>,
    },
    /// Notify all tasks that this checkpoint is complete.
    NotifyComplete {
        /// The checkpoint.
        id: u64,
    },
    /// Notify all tasks that this checkpoint will never complete.
    NotifyAborted {
        /// The checkpoint.
        id: u64,
        /// The last completed one.
        latest: Option<u64>,
    },
    /// Delete state that belongs to no checkpoint. There may be none: then only the id has ended.
    Discard {
        /// The checkpoint that it was written for.
        id: u64,
        /// The state.
        states: Vec<S>,
    },
    /// Answer a request.
    Answer {
        /// The request.
        request: RequestId,
        /// The complete checkpoint, or the reason of the refusal.
        result: Result<Completed, Refusal>,
    },
    /// Fail the job, because too many checkpoints failed.
    FailJob {
        /// Why the last one failed.
        reason: Refusal,
    },
    /// End all tasks, because the savepoint of a stop is complete.
    StopJob(Completed),
    /// Delete all completed checkpoints, because the job has ended and none is retained.
    DeleteCompleted,
    /// A checkpoint ended.
    Report(CheckpointReport),
}
