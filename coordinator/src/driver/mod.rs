//! A job of one process: tasks on threads, with checkpoints, restarts and rescaling.

mod attempt;
mod context;
mod events;
mod inputs;
mod pool;
mod report;

pub use context::{AlignmentTime, Control, TaskContext};
pub use events::JobHandle;
pub use inputs::{Input, Inputs};

use std::time::{Duration, Instant};

use backend_api::{Checkpoint, Error, ErrorKind, Result, StateKey, Subtask, TaskRestore, TaskState};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{
    AbortReason, CheckpointConfig, CheckpointCoordinator, CheckpointStore, JobEnd, RestartStrategy, Restarts,
    Statistics, TaskId,
};
use attempt::{AttemptEnd, Running};
use events::Event;
use pool::Pool;

/// One start of a job.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// How often the job has failed before.
    pub failures: u32,
    /// What the tasks start from.
    pub checkpoint: Option<&'a Checkpoint>,
}

impl Attempt<'_> {
    /// What `subtask` starts from.
    ///
    /// # Errors
    /// Those of [`Checkpoint::restore`].
    pub fn restore<K: StateKey>(&self, subtask: &Subtask<K>) -> Result<TaskRestore> {
        self.checkpoint.map_or_else(|| Ok(TaskRestore::empty()), |checkpoint| checkpoint.restore(subtask))
    }
}

/// One subtask that the driver gives a thread.
pub struct Task<'env> {
    id: TaskId,
    is_source: bool,
    work: Box<dyn FnOnce(TaskContext) -> Result<()> + Send + 'env>,
}

impl<'env> Task<'env> {
    /// A task that reads a source: barriers come to it as [`Control::Barrier`].
    pub fn source(id: TaskId, work: impl FnOnce(TaskContext) -> Result<()> + Send + 'env) -> Self {
        Self { id, is_source: true, work: Box::new(work) }
    }

    /// A task that gets its barriers from other tasks, through [`Inputs`].
    pub fn operator(id: TaskId, work: impl FnOnce(TaskContext) -> Result<()> + Send + 'env) -> Self {
        Self { id, is_source: false, work: Box::new(work) }
    }
}

impl std::fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id)
            .field("is_source", &self.is_source)
            .finish_non_exhaustive()
    }
}

/// How a job went.
#[derive(Debug)]
pub struct JobOutcome {
    /// How it ended.
    pub end: JobEnd,
    /// The savepoint with which it was stopped.
    pub savepoint: Option<u64>,
    /// How often it was started again.
    pub restarts: u32,
    /// What its checkpoints took.
    pub statistics: Statistics,
    /// The completed checkpoints, as far as they are kept.
    pub store: CheckpointStore,
}

/// Runs a job on threads: sends barriers, has snapshots written by a pool of threads, stores checkpoints, tells tasks,
/// and starts the job again from the last checkpoint when it fails.
///
/// It reads the clock and blocks the calling thread until the job has ended.
#[derive(Debug)]
pub struct JobDriver {
    job: String,
    config: CheckpointConfig,
    restart: RestartStrategy,
    snapshot_threads: usize,
    end: JobEnd,
    store: CheckpointStore,
    events: (Sender<Event>, Receiver<Event>),
}

impl JobDriver {
    /// A job of that name, whose checkpoints go to `store`.
    pub fn new(
        job: impl Into<String>,
        config: CheckpointConfig,
        restart: RestartStrategy,
        store: CheckpointStore,
    ) -> Self {
        let (snapshot_threads, end, events) = (4, JobEnd::Finished, unbounded());
        Self { job: job.into(), config, restart, snapshot_threads, end, store, events }
    }

    /// Sets how many snapshots are written at once (4 by default; at least 1).
    pub fn snapshot_threads(mut self, threads: usize) -> Self {
        self.snapshot_threads = threads.max(1);
        self
    }

    /// The job is [suspended](JobEnd::Suspended) when all tasks have ended, and not finished: for input that may grow,
    /// so that another job may go on from the last checkpoint.
    pub fn suspend_at_end(mut self) -> Self {
        self.end = JobEnd::Suspended;
        self
    }

    /// What controls the job from other threads.
    pub fn handle(&self) -> JobHandle {
        JobHandle::new(self.events.0.clone())
    }

    /// Runs the job to its end. `build` makes the tasks for each start; it connects them as it likes, usually with
    /// bounded channels whose receiving ends are [`Inputs`].
    ///
    /// A task ends a failed attempt by its error, or by a panic. The others see their channels close and get
    /// [`Control::Stop`].
    ///
    /// # Errors
    /// The error of the last attempt, if the restart strategy allows no other; those of `build`;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a configuration out of range.
    pub fn run<'env>(
        self,
        mut build: impl FnMut(Attempt<'_>) -> Result<Vec<Task<'env>>>,
    ) -> Result<JobOutcome> {
        let Self { job, config, restart, snapshot_threads, end: end_of_input, mut store, events } = self;
        let clock = Clock(Instant::now());
        let pool = Pool::start(snapshot_threads)?;
        let mut restarts = Restarts::new(restart);
        let mut statistics = Statistics::default();
        let mut coordinator: Option<CheckpointCoordinator<TaskState>> = None;
        loop {
            let attempt = Attempt { failures: restarts.failures(), checkpoint: store.latest() };
            let tasks = build(attempt)?;
            let coordinator = match &mut coordinator {
                Some(coordinator) => coordinator,
                none => {
                    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
                    let latest = store.latest().map(|checkpoint| checkpoint.id);
                    none.insert(CheckpointCoordinator::new(config.clone(), job.clone(), &ids, latest)?)
                }
            };
            let mut running = Running {
                job: &job,
                coordinator,
                store: &mut store,
                statistics: &mut statistics,
                events: &events,
                pool: &pool,
                clock,
            };
            let (end, savepoint) = match running.attempt(tasks) {
                AttemptEnd::Finished => (end_of_input, None),
                AttemptEnd::Stopped(id) => (JobEnd::Finished, Some(id)),
                AttemptEnd::Cancelled => (JobEnd::Cancelled, None),
                AttemptEnd::Failed(error) => match restarts.failed(clock.now()) {
                    Some(delay) => {
                        tracing::warn!(%error, ?delay, "the job failed and starts again");
                        if running.pause(delay) {
                            continue;
                        }
                        (JobEnd::Cancelled, None)
                    }
                    None => {
                        running.end(JobEnd::Failed);
                        return Err(error);
                    }
                },
            };
            running.end(end);
            return Ok(JobOutcome { end, savepoint, restarts: restarts.failures(), statistics, store });
        }
    }
}

/// Milliseconds since the job began.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        crate::config::millis(self.0.elapsed())
    }

    /// How long it is until `deadline`.
    fn until(self, deadline: u64) -> Duration {
        Duration::from_millis(deadline.saturating_sub(self.now()))
    }
}

/// A neighbour has ended, so this task ends too.
#[cold]
fn neighbour_ended() -> Error {
    Error::new(ErrorKind::Closed, "a task that this one is connected to has ended")
}

/// Why a job failed of which too many checkpoints have failed.
fn too_many_failures(reason: &AbortReason) -> Error {
    Error::new(
        ErrorKind::IllegalState,
        format!("more checkpoints have failed than may; the last one {reason}"),
    )
}
