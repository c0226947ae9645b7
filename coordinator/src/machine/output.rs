use std::fmt;
use std::sync::Arc;

use backend_api::{SnapshotKind, SnapshotRequest};

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
    Savepoint,
    /// A savepoint after which the job stops.
    StopWithSavepoint {
        /// True if open windows and timers fire first.
        drain: bool,
    },
}

impl BarrierKind {
    /// True if it is a savepoint of either kind.
    pub fn is_savepoint(self) -> bool {
        self != Self::Checkpoint
    }
}

/// Separates the records before a checkpoint from those after it. Flows through the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The checkpoint.
    pub id: u64,
    /// What it asks for.
    pub kind: BarrierKind,
    /// Decides if operators with several inputs align.
    pub mode: CheckpointingMode,
    /// The last completed checkpoint. A backend may build on it even if its notification was lost.
    pub latest: Option<u64>,
}

impl Barrier {
    /// The request to the backends.
    pub fn request(&self) -> SnapshotRequest {
        let kind = if self.kind.is_savepoint() { SnapshotKind::Full } else { SnapshotKind::Checkpoint };
        let request = SnapshotRequest::new(self.id).with_kind(kind);
        self.latest.map_or(request, |latest| request.after(latest))
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
    /// A task could not take its snapshot.
    Declined(TaskId, String),
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

impl AbortReason {
    /// True if it counts as a failure of a checkpoint or savepoint, as in Flink's `CheckpointFailureManager`.
    pub(super) fn counts(&self, kind: BarrierKind) -> bool {
        match self {
            Self::Expired => !kind.is_savepoint(),
            Self::Declined(..) => true,
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

/// Where a checkpoint is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreAs {
    /// Among the job's completed checkpoints, which subsumes the oldest.
    Checkpoint,
    /// As a savepoint in this new folder.
    Savepoint(String),
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
    /// Reserve the next checkpoint id durably, and answer with
    /// [`id_reserved`](super::CheckpointCoordinator::id_reserved).
    ReserveId,
    /// Send this barrier from all sources.
    SendBarrier(Barrier),
    /// Store this checkpoint, and answer with [`stored`](super::CheckpointCoordinator::stored). Several are
    /// stored in the order of the outputs. If storing fails, delete the state.
    Store {
        /// The checkpoint.
        id: u64,
        /// Where.
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
    /// Delete state that belongs to no checkpoint.
    Discard {
        /// The checkpoint that it was written for.
        id: u64,
        /// The state.
        states: Vec<S>,
    },
    /// Answer a request with the id of its complete checkpoint.
    Answer {
        /// The request.
        request: RequestId,
        /// The checkpoint, or why there is none.
        result: Result<u64, Refusal>,
    },
    /// Fail the job, because too many checkpoints failed.
    FailJob {
        /// Why the last one failed.
        reason: AbortReason,
    },
    /// End all tasks, because the savepoint of a stop is complete.
    StopJob {
        /// The savepoint.
        id: u64,
    },
    /// Delete all completed checkpoints, because the job has ended and none is retained.
    DeleteCompleted,
    /// A checkpoint ended.
    Report(CheckpointReport),
}
