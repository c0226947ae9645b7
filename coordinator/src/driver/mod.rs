//! A job in one process: tasks on threads, with checkpoints, restarts and rescaling.

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

use std::sync::Arc;

use backend_api::{
    Checkpoint, Error, ErrorKind, RestoreRules, Result, StateKey, Storage, Subtask, TaskRestore, TaskState,
};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::{
    CheckpointConfig, CheckpointCoordinator, CheckpointStore, ClaimMode, Completed, JobEnd, Refusal,
    RestartStrategy, Restarts, Savepoint, SavepointWriter, Statistics, TaskId,
};
use attempt::{AttemptEnd, Running};
use events::Event;
use pool::Pool;

/// One start of a job.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Number of earlier failures of the job.
    pub failures: u32,
    /// The checkpoint that the tasks start from.
    pub checkpoint: Option<&'a Checkpoint>,
    /// Exceptions for the restore. A task [checks](RestoreRules::check_states) its states with them.
    pub rules: &'a RestoreRules,
}

impl Attempt<'_> {
    /// The restore of `subtask`. Empty if its operator is new. State of operators that the job lacks is
    /// refused before any task runs, so a renamed operator is not treated as a new one.
    ///
    /// # Errors
    /// Errors of [`Checkpoint::restore`].
    pub fn restore<K: StateKey>(&self, subtask: &Subtask<K>) -> Result<TaskRestore> {
        match self.checkpoint.filter(|checkpoint| checkpoint.operators().contains(subtask.operator())) {
            Some(checkpoint) => checkpoint.restore(subtask),
            None => Ok(TaskRestore::empty()),
        }
    }
}

/// One subtask, which runs on its own thread.
pub struct Task<'env> {
    id: TaskId,
    is_source: bool,
    work: Box<dyn FnOnce(TaskContext) -> Result<()> + Send + 'env>,
}

impl<'env> Task<'env> {
    /// A task that reads a source. It receives barriers as [`Control::Barrier`].
    pub fn source(id: TaskId, work: impl FnOnce(TaskContext) -> Result<()> + Send + 'env) -> Self {
        Self { id, is_source: true, work: Box::new(work) }
    }

    /// A task that receives barriers from other tasks, through [`Inputs`].
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

/// The result of a job.
#[derive(Debug)]
pub struct JobOutcome {
    /// How it ended.
    pub end: JobEnd,
    /// The savepoint with which it was stopped.
    pub savepoint: Option<Completed>,
    /// Number of restarts.
    pub restarts: u32,
    /// Statistics of its checkpoints.
    pub statistics: Statistics,
    /// The retained checkpoints.
    pub store: CheckpointStore,
}

/// Runs a job on threads: sends barriers, writes snapshots on a pool of threads, stores checkpoints, notifies
/// tasks, and restarts the job from the last checkpoint when it fails.
///
/// It reads the clock, and blocks the calling thread until the job has ended.
///
/// Subsumed checkpoints are deleted before the next one begins. What cannot be deleted is retried after each checkpoint and
/// holds none back.
#[derive(Debug)]
pub struct JobDriver {
    job: String,
    config: CheckpointConfig,
    restart: RestartStrategy,
    snapshot_threads: usize,
    end: JobEnd,
    store: CheckpointStore,
    savepoints: Option<Arc<dyn Storage>>,
    start: Option<(Savepoint, ClaimMode)>,
    rules: RestoreRules,
    events: (Sender<Event>, Receiver<Event>),
}

impl JobDriver {
    /// A job with that name, whose checkpoints go to `store`.
    pub fn new(
        job: impl Into<String>,
        config: CheckpointConfig,
        restart: RestartStrategy,
        store: CheckpointStore,
    ) -> Self {
        Self {
            job: job.into(),
            config,
            restart,
            snapshot_threads: 4,
            end: JobEnd::Finished,
            savepoints: store.storage().cloned(),
            store,
            start: None,
            rules: RestoreRules::default(),
            events: unbounded(),
        }
    }

    /// Sets the storage of savepoints. By default it is that of the checkpoints.
    pub fn savepoints_in(mut self, storage: Arc<dyn Storage>) -> Self {
        self.savepoints = Some(storage);
        self
    }

    /// Starts the job from `savepoint`, unless the store already has a checkpoint of the job. The backends
    /// must be able to read its files from their storage. With [`ClaimMode::Claim`] the store must use the
    /// same storage.
    pub fn start_from(mut self, savepoint: Savepoint, claim: ClaimMode) -> Self {
        self.start = Some((savepoint, claim));
        self
    }

    /// Sets the exceptions for the restore.
    pub fn restore_rules(mut self, rules: RestoreRules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets the number of threads that write snapshots (4 by default, at least 1).
    pub fn snapshot_threads(mut self, threads: usize) -> Self {
        self.snapshot_threads = threads.max(1);
        self
    }

    /// [Suspends](JobEnd::Suspended) the job when all tasks have ended, instead of finishing it. For input
    /// that may grow, so that another job can continue from the last checkpoint.
    pub fn suspend_at_end(mut self) -> Self {
        self.end = JobEnd::Suspended;
        self
    }

    /// Controls the job from other threads.
    pub fn handle(&self) -> JobHandle {
        JobHandle::new(self.events.0.clone())
    }

    /// Runs the job to its end. `build` makes the tasks for each start, and connects them, usually with
    /// bounded channels whose receiving ends are [`Inputs`].
    ///
    /// An error or panic of a task ends the attempt. The channels of other tasks close, and they receive
    /// [`Control::Stop`].
    ///
    /// # Errors
    /// The error of the last attempt, if the restart strategy allows no other. Errors of `build`.
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a configuration out of range.
    pub fn run<'env>(
        self,
        mut build: impl FnMut(Attempt<'_>) -> Result<Vec<Task<'env>>>,
    ) -> Result<JobOutcome> {
        let Self { job, config, restart, snapshot_threads, end: end_of_input, mut store, .. } = self;
        let Self { start, rules, events, .. } = self;
        let clock = Clock(Instant::now());
        let pool = Pool::start(snapshot_threads)?;
        let mut savepoints = self.savepoints.map(|storage| SavepointWriter::new(storage, job.clone()));
        let not_owned = begin_from(start, &mut store)?;
        let mut restarts = Restarts::new(restart);
        let mut statistics = Statistics::default();
        let mut coordinator: Option<CheckpointCoordinator<TaskState>> = None;
        loop {
            let checkpoint = store.latest().or(not_owned.as_ref().map(Savepoint::checkpoint));
            let attempt = Attempt { failures: restarts.failures(), checkpoint, rules: &rules };
            let tasks = build(attempt)?;
            if let Some(checkpoint) = checkpoint {
                rules.check_left_out(checkpoint, tasks.iter().map(|task| &*task.id.operator))?;
            }
            let coordinator = match &mut coordinator {
                Some(coordinator) => coordinator,
                none => {
                    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
                    let latest = store.latest().map(|checkpoint| checkpoint.id);
                    let new = CheckpointCoordinator::new(config.clone(), job.clone(), &ids, latest)?;
                    none.insert(if not_owned.is_some() { new.without_claim() } else { new })
                }
            };
            let mut running = Running {
                job: &job,
                coordinator,
                store: &mut store,
                savepoints: savepoints.as_mut(),
                statistics: &mut statistics,
                events: &events,
                pool: &pool,
                clock,
            };
            let (end, savepoint) = match running.attempt(tasks) {
                AttemptEnd::Finished => (end_of_input, None),
                AttemptEnd::Stopped(savepoint) => (JobEnd::Finished, Some(savepoint)),
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

/// Milliseconds since the job started.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        crate::config::millis(self.0.elapsed())
    }

    /// Time until `deadline`.
    fn until(self, deadline: u64) -> Duration {
        Duration::from_millis(deadline.saturating_sub(self.now()))
    }
}

/// A neighbour has ended, so this task ends too.
#[cold]
fn neighbour_ended() -> Error {
    Error::new(ErrorKind::Closed, "a task that this one is connected to has ended")
}

/// Adopts the checkpoint that the job starts from, and returns it if the job does not own it.
fn begin_from(
    start: Option<(Savepoint, ClaimMode)>,
    store: &mut CheckpointStore,
) -> Result<Option<Savepoint>> {
    let Some((savepoint, claim)) = start.filter(|_| store.latest().is_none()) else { return Ok(None) };
    match claim {
        ClaimMode::Claim => store.claim(&savepoint).map(|()| None),
        ClaimMode::NoClaim => {
            store.start_from(savepoint.checkpoint());
            Ok(Some(savepoint))
        }
    }
}

/// The error of a job with too many failed checkpoints.
fn too_many_failures(reason: &Refusal) -> Error {
    Error::new(ErrorKind::IllegalState, format!("the job fails with its checkpoints: {reason}"))
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
