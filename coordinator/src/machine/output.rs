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

/// What a barrier asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarrierKind {
    /// A checkpoint of the coordinator's own.
    Checkpoint,
    /// A savepoint, which belongs to the user.
    Savepoint,
    /// A savepoint after which the job stops.
    StopWithSavepoint {
        /// True if windows and timers that are open fire first.
        drain: bool,
    },
}

impl BarrierKind {
    /// True if it is a savepoint of either kind.
    pub fn is_savepoint(self) -> bool {
        self != Self::Checkpoint
    }
}

/// What flows through the streams between the records before a checkpoint and those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The checkpoint.
    pub id: u64,
    /// What it asks for.
    pub kind: BarrierKind,
    /// Decides if operators with several inputs align.
    pub mode: CheckpointingMode,
    /// The last completed checkpoint: a backend may build on it even if it has not been told.
    pub latest: Option<u64>,
}

impl Barrier {
    /// What is asked of the backends.
    pub fn request(&self) -> SnapshotRequest {
        let kind = if self.kind.is_savepoint() { SnapshotKind::Full } else { SnapshotKind::Checkpoint };
        let request = SnapshotRequest::new(self.id).with_kind(kind);
        self.latest.map_or(request, |latest| request.after(latest))
    }
}

/// Names a request, so that its answer can be told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// Why a request did not become a checkpoint.
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
    /// It became a checkpoint, which was aborted.
    Aborted(u64, AbortReason),
}

/// Why a checkpoint will never be complete.
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
    /// True if it counts as a failure of a checkpoint, or of a savepoint, as in Flink's `CheckpointFailureManager`.
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
    /// Among the job's completed checkpoints, of which the oldest go.
    Checkpoint,
    /// As a savepoint in this folder, where there is nothing yet.
    Savepoint(String),
}

/// What one task tells of its part of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskMetrics {
    /// How long the task stood still for the snapshot, in microseconds.
    pub sync_us: u64,
    /// How long writing took, in microseconds.
    pub async_us: u64,
    /// How long the first input waited for the last one, in microseconds.
    pub alignment_us: u64,
    /// Bytes that were held back meanwhile.
    pub alignment_bytes: u64,
    /// Bytes that were written.
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
    /// What it took.
    pub metrics: TaskMetrics,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledged {
    /// It counts.
    Accepted,
    /// The task has acknowledged before. The state is the same and must stay.
    Duplicate,
    /// No such task, or the checkpoint is gone: the state is to be discarded.
    Discarded {
        /// True if the checkpoint was one of the last that were aborted.
        was_pending: bool,
    },
    /// It is another job's: nothing is done.
    OtherJob,
}

/// How a checkpoint ended, and what it took.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointReport {
    /// The checkpoint.
    pub id: u64,
    /// What it was.
    pub kind: BarrierKind,
    /// When it was triggered, in milliseconds.
    pub started: u64,
    /// When it ended.
    pub ended: u64,
    /// `None` if it completed.
    pub failure: Option<AbortReason>,
    /// What the tasks tell that have acknowledged.
    pub tasks: Vec<TaskMetrics>,
}

/// What an engine has to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<S> {
    /// Reserve the next checkpoint id, durably, and answer with
    /// [`id_reserved`](super::CheckpointCoordinator::id_reserved).
    ReserveId,
    /// Send this barrier from all sources.
    SendBarrier(Barrier),
    /// Store this checkpoint and answer with [`stored`](super::CheckpointCoordinator::stored). Several are stored in
    /// the order in which they are given out. If it cannot be stored, its state is deleted.
    Store {
        /// The checkpoint.
        id: u64,
        /// Where.
        target: StoreAs,
        /// The state of all tasks, in their order.
        states: Vec<S>,
    },
    /// Tell all tasks that this checkpoint is complete.
    NotifyComplete {
        /// The checkpoint.
        id: u64,
    },
    /// Tell all tasks that this checkpoint will never be complete.
    NotifyAborted {
        /// The checkpoint.
        id: u64,
        /// The last completed one.
        latest: Option<u64>,
    },
    /// Delete state that is part of no checkpoint.
    Discard {
        /// The checkpoint that it was written for.
        id: u64,
        /// The state.
        states: Vec<S>,
    },
    /// Answer a request: with the id of its checkpoint, which is complete.
    Answer {
        /// The request.
        request: RequestId,
        /// The checkpoint, or why there is none.
        result: Result<u64, Refusal>,
    },
    /// Too many checkpoints have failed: fail the job.
    FailJob {
        /// Why the last one failed.
        reason: AbortReason,
    },
    /// The savepoint of a stop is complete: end all tasks.
    StopJob {
        /// The savepoint.
        id: u64,
    },
    /// The job has ended and no checkpoint of it is kept: delete all completed ones.
    DeleteCompleted,
    /// A checkpoint has ended, well or not.
    Report(CheckpointReport),
}
