//! The job: sources, subtasks on threads, and checkpoints across them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use state_backends::api::{Storage, resolve_max_parallelism};
use state_backends::prelude::*;
use state_backends::task::OperatorState;

use crate::args::Args;
use crate::batch::Batch;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::interrupt::Interrupt;
use crate::page_stats::{Page, Path};
use crate::progress::Progress;
use crate::reading::{self, Reading, Shared};
use crate::router::Router;
use crate::source::{Position, Source};
use crate::subtask;

/// The operator that counts.
const OPERATOR: &str = "page-stats";

/// Maximum number of batches of one source that wait for a subtask.
const WAITING_BATCHES: usize = 8;

/// Maximum of bytes of batches that a subtask holds back during alignment.
const HELD_BYTES: u64 = 16 << 20;

/// Result of a run.
pub struct Outcome {
    /// All paths, unordered.
    pub pages: Vec<Page>,
    /// The end of the log.
    pub position: Position,
    /// Checkpoint and position from which this run started.
    pub resumed: Option<(u64, Position)>,
    pub max_parallelism: u16,
    pub checkpoints: Statistics,
    pub elapsed: Duration,
}

/// The end of a run.
pub enum Ended {
    /// The log was read completely.
    Whole(Box<Outcome>),
    /// The job was stopped with a savepoint in this folder.
    WithSavepoint(PathBuf),
}

/// The folder of the job within the storage of its checkpoints.
pub fn folder() -> Result<JobFolder> {
    JobFolder::new("access-log-job")
}

/// Reads the log to its end, from its beginning or from the last checkpoint.
pub fn run<B: StateBackend<Key = Path>>(
    args: &Args,
    options: &B::Options,
    folders: &Folder,
    interrupt: &Interrupt,
) -> Result<Ended, Failure> {
    // If the log cannot be read, the checkpoints of an earlier run must stay.
    let input = args.input();
    let is_fresh = !args.resume && folders.start().is_none();
    let fresh = if is_fresh { Position::split(&input, args.sources.into())? } else { Vec::new() };
    fresh.iter().try_for_each(|part| Source::check(&input, part).map(|_| ()))?;
    let store = open_store(args, folders.storage())?;
    let target = B::checkpoint_target(options)?;
    let start = store.latest().or(folders.start().map(Savepoint::checkpoint)).cloned();
    let resumed =
        start.as_ref().map(|checkpoint| Ok::<_, Failure>((checkpoint.id, parts(checkpoint, &target)?)));
    let resumed = resumed.transpose()?;
    if args.resume && resumed.is_none() {
        let none = "--checkpoint-dir has no completed checkpoint of this job to resume from";
        return Err(Failure::Job(none.to_owned()));
    }
    let begin = resumed.as_ref().map_or(&fresh, |(_, parts)| parts);
    let mut total = (None, "lines");
    for part in begin {
        total = Source::check(&input, part)?;
    }

    let (parallelism, sources) = (args.parallelism, args.sources);
    let restored = start.as_ref().and_then(|checkpoint| checkpoint.max_parallelism(OPERATOR));
    let max_parallelism = resolve_max_parallelism(args.max_parallelism, parallelism, restored)
        .map_err(|error| Failure::Job(error.message().to_owned()))?;
    let key_space = KeySpace::new(max_parallelism)?;
    let log_space = KeySpace::<()>::new(1 << 15)?;

    let unattended = CheckpointConfig {
        retained: args.retained,
        retention: Retention::RetainOnCancellation,
        // A failed checkpoint does not fail the job.
        tolerable_failures: u32::MAX,
        timeout: Duration::MAX,
        ..CheckpointConfig::default()
    };
    let (config, restart) = match &args.job {
        Some(job) => (job.checkpoints.clone(), job.restart),
        None => (unattended, RestartStrategy::None),
    };
    // The log may grow, and the job continue from its last checkpoint.
    let mut driver = JobDriver::new(folder()?.path(), config, restart, store).suspend_at_end();
    if let Some(savepoint) = folders.start() {
        driver = driver.start_from(savepoint.clone(), ClaimMode::NoClaim);
    }
    if let Some(storage) = folders.savepoints() {
        driver = driver.savepoints_in(storage);
    }
    let position = Position::sum(begin);
    let shared = Shared {
        args,
        interrupt,
        job: driver.handle(),
        progress: Progress::new(position.done(), total.0, total.1),
        failure: Mutex::new(None),
        interrupted_at: AtomicU64::new(0),
        ends: Mutex::new(Vec::new()),
    };
    let (begun, pages) = (Instant::now(), Mutex::new(Vec::new()));
    let ended = driver.run(|attempt| {
        let mut tasks = Vec::new();
        let (mut inboxes, mut outlets) = (Vec::new(), vec![Vec::new(); usize::from(sources)]);
        for _ in 0..parallelism {
            let (senders, receivers): (Vec<_>, Vec<_>) =
                (0..sources).map(|_| bounded(WAITING_BATCHES)).unzip();
            outlets.iter_mut().zip(senders).for_each(|(outlet, sender)| outlet.push(sender));
            inboxes.push(receivers);
        }
        let (done, all_done) = unbounded();
        for (index, outlet) in (0..).zip(outlets) {
            let subtask = Subtask::new(reading::OPERATOR, log_space.clone(), sources, index)?;
            let restore = attempt.restore(&subtask)?;
            let router = Router::new(key_space.clone(), outlet);
            let (done, all_done, target) = (done.clone(), all_done.clone(), target.clone());
            let (shared, fresh) = (&shared, &fresh);
            tasks.push(Task::source(TaskId::new(reading::OPERATOR, index), move |context| {
                let opened = Reading::open(shared, target, subtask, &restore, fresh, router);
                shared.noted(opened)?.run(context, done, all_done)
            }));
        }
        for (index, inbox) in (0..).zip(inboxes) {
            let subtask = Subtask::new(OPERATOR, key_space.clone(), parallelism, index)?;
            let restore = attempt.restore(&subtask)?;
            let pages = &pages;
            tasks.push(Task::operator(TaskId::new(OPERATOR, index), move |context| {
                let inputs = Inputs::new(inbox, HELD_BYTES, Batch::bytes);
                let found = subtask::run::<B>(options, subtask, &restore, inputs, context)?;
                pages.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                Ok(())
            }));
        }
        Ok(tasks)
    });

    if let Some(failure) = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let JobOutcome { statistics: checkpoints, store, savepoint, .. } = ended?;
    if let Some((savepoint, folder)) = savepoint.zip(args.savepoint.as_ref()) {
        return Ok(Ended::WithSavepoint(folder.join(savepoint.folder.as_deref().unwrap_or_default())));
    }
    let interrupted_at = shared.interrupted_at.load(Ordering::Relaxed);
    if interrupted_at > 0 {
        return Err(interrupted(interrupted_at, &store, &target));
    }
    let position = Position::sum(&shared.ends.into_inner().unwrap_or_else(PoisonError::into_inner));
    let pages = pages.into_inner().unwrap_or_else(PoisonError::into_inner);
    let resumed = resumed.map(|(id, parts)| (id, Position::sum(&parts)));
    let elapsed = begun.elapsed();
    let outcome = Outcome { pages, position, resumed, max_parallelism, checkpoints, elapsed };
    Ok(Ended::Whole(Box::new(outcome)))
}

/// The positions of all parts in a checkpoint.
fn parts(checkpoint: &Checkpoint, target: &CheckpointTarget) -> Result<Vec<Position>, Failure> {
    let all = Subtask::single(reading::OPERATOR, KeySpace::<()>::new(1)?)?;
    let mut state = OperatorState::open(target, &all, checkpoint.restore(&all)?.operator())?;
    let token = state.register(reading::positions())?;
    Ok(state.list(token)?.iter().copied().collect())
}

/// Handles an interrupt by the user: reports the position, and where the job can continue.
fn interrupted(lines: u64, store: &CheckpointStore, target: &CheckpointTarget) -> Failure {
    let resumable = store.latest().and_then(|latest| {
        let parts = parts(latest, target).ok()?;
        Some((latest.id, Position::sum(&parts).lines))
    });
    let message = match resumable {
        None => format!("interrupted at line {lines}, before a checkpoint was complete"),
        Some((id, line)) => format!("interrupted at line {lines}; checkpoint {id} is at line {line}"),
    };
    Failure::Interrupted { message, can_resume: resumable.is_some() }
}

/// Opens the store of the checkpoints. A new run deletes those of an earlier run, if allowed.
fn open_store(args: &Args, storage: Option<Arc<dyn Storage>>) -> Result<CheckpointStore, Failure> {
    let job = folder()?;
    let options = match &storage {
        Some(storage) => CheckpointStoreOptions::in_storage(job.clone(), Arc::clone(storage)),
        None => CheckpointStoreOptions::in_memory(job.clone()),
    };
    let options = options.with_retained(args.retained)?;
    if let (Some(storage), false) = (&storage, args.resume) {
        let files = storage.list(job.path())?;
        let completed = files.iter().filter(|file| file.path.ends_with("/_metadata"));
        if !args.overwrite && completed.clone().count() > 0 {
            let earlier = "--checkpoint-dir has checkpoints of an earlier run: --resume goes on from them, \
                           --overwrite deletes them";
            return Err(Failure::Job(earlier.to_owned()));
        }
        // Metadata first: if this is interrupted, a checkpoint without some of its files must not look
        // complete.
        for file in completed {
            storage.delete(&file.path)?;
        }
        storage.delete_folder(job.path())?;
    }
    Ok(CheckpointStore::open(options)?)
}
