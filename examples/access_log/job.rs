//! The job: a source, subtasks on threads, and checkpoints across them.

use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use state_backends::api::{Storage, resolve_max_parallelism};
use state_backends::prelude::*;

use crate::args::Args;
use crate::coordinator::{CheckpointStats, Coordinator};
use crate::failure::Failure;
use crate::log_line;
use crate::page_stats::{Page, Path};
use crate::progress::Progress;
use crate::router::Router;
use crate::source::{Position, Source};
use crate::subtask;
use crate::window::minute_of;

/// The operator whose state it is.
const OPERATOR: &str = "page-stats";

/// Batches that may wait for a subtask.
const WAITING_BATCHES: usize = 8;

/// What came of a run.
pub struct Outcome {
    /// Every path, in no order.
    pub pages: Vec<Page>,
    /// The end of the log.
    pub position: Position,
    /// Checkpoint and position at which this run began.
    pub resumed: Option<(u64, Position)>,
    pub max_parallelism: u16,
    pub checkpoints: CheckpointStats,
    pub elapsed: Duration,
}

/// The folder of the job within the storage of its checkpoints. Nobody else may keep anything there.
pub fn folder() -> Result<JobFolder> {
    JobFolder::new("access-log-job")
}

/// Reads the log, from its beginning or where the last checkpoint was taken, to its end.
pub fn run<B: StateBackend<Key = Path>>(
    args: &Args,
    options: &B::Options,
    storage: Option<Arc<dyn Storage>>,
) -> Result<Outcome, Failure> {
    // A log that cannot be read must not cost the checkpoints of an earlier run.
    let open_at = |position: Position| Ok::<_, Failure>((Source::open(&args.input(), &position)?, position));
    let fresh = if args.resume { None } else { Some(open_at(Position::start(&args.input()))?) };
    let store = open_store(args, storage)?;
    let checkpoint = store.latest().cloned();
    let resumed = match &checkpoint {
        Some(checkpoint) => Some((checkpoint.id, Position::of(checkpoint)?)),
        None => None,
    };
    let (source, mut position) = match (fresh, resumed) {
        (Some(fresh), _) => fresh,
        (None, Some((_, position))) => open_at(position)?,
        (None, None) => {
            return Err(Failure::Usage("there is no complete checkpoint to resume from".to_owned()));
        }
    };

    let parallelism = args.parallelism as u16;
    let explicit = args.max_parallelism.map(|max| max as u16);
    let restored = checkpoint.as_ref().and_then(|checkpoint| checkpoint.max_parallelism(OPERATOR));
    let max_parallelism = resolve_max_parallelism(explicit, parallelism, restored)
        .map_err(|error| Failure::Usage(error.message().to_owned()))?;
    let key_space = KeySpace::new(max_parallelism)?;

    let start = Instant::now();
    thread::scope(|scope| {
        let (mut inboxes, mut acks, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..parallelism {
            let subtask = Subtask::new(OPERATOR, key_space.clone(), parallelism, index)?;
            let restore = match &checkpoint {
                Some(checkpoint) => checkpoint.handles_for(OPERATOR, subtask.range()),
                None => Vec::new(),
            };
            let (inbox, messages) = sync_channel(WAITING_BATCHES);
            let (answers, answered) = channel();
            let work = move || subtask::run::<B>(options, subtask, &restore, messages, answers);
            let thread = thread::Builder::new().name(format!("subtask-{index}"));
            let thread = thread.spawn_scoped(scope, work).map_err(|error| Failure::Job(error.to_string()))?;
            inboxes.push(inbox);
            acks.push(answered);
            threads.push(thread);
        }
        let mut coordinator = Coordinator::new(store, acks);
        let fed = feed(args, source, &mut position, Router::new(key_space, inboxes), &mut coordinator);

        // A subtask that ended early knows why better than whoever noticed it.
        let mut pages = Vec::new();
        for thread in threads {
            let found = thread.join().map_err(|_| Failure::Job("a subtask panicked".to_owned()))?;
            pages.extend(found?);
        }
        fed?;
        let (checkpoints, elapsed) = (coordinator.stats, start.elapsed());
        Ok(Outcome { pages, position, resumed, max_parallelism, checkpoints, elapsed })
    })
}

/// Sends what the source has, with barriers in between. The subtasks end when it returns.
fn feed(
    args: &Args,
    mut source: Source,
    position: &mut Position,
    mut router: Router,
    coordinator: &mut Coordinator,
) -> Result<(), Failure> {
    let progress = Progress::new(source.total());
    // If there was a crash, the subtasks have forgotten.
    router.minute(position.newest);
    while let Some(line) = source.next(position)? {
        match log_line::parse(line) {
            Some(visit) => {
                let minute = visit.time.map_or(0, minute_of);
                if minute > position.newest {
                    position.newest = minute;
                    router.minute(minute);
                }
                if router.visit(visit)? {
                    coordinator.poll(&mut router)?;
                    progress.at(source.done(position));
                }
            }
            None => position.malformed += 1,
        }
        if args.checkpoint_every > 0 && position.lines.is_multiple_of(args.checkpoint_every) {
            coordinator.start(&mut router, *position)?;
        }
        if args.crash_at == Some(position.lines) {
            crash();
        }
    }
    coordinator.finish(&mut router)?;
    router.finish()
}

/// Opens the store of the checkpoints. A run that starts anew removes those of the one before.
fn open_store(args: &Args, storage: Option<Arc<dyn Storage>>) -> Result<CheckpointStore, Failure> {
    let job = folder()?;
    let options = match &storage {
        Some(storage) => CheckpointStoreOptions::in_storage(job.clone(), Arc::clone(storage)),
        None => CheckpointStoreOptions::in_memory(job.clone()),
    };
    let options = options.retained(args.retained);
    if let (Some(storage), false) = (&storage, args.resume) {
        // Metadata first: what has lost some of its files must not look complete if this is interrupted.
        for file in storage.list(job.path())?.iter().filter(|file| file.path.ends_with("/_metadata")) {
            storage.delete(&file.path)?;
        }
        storage.delete_folder(job.path())?;
    }
    Ok(CheckpointStore::open(options)?)
}

/// Ends the process as a loss of power would: nothing is flushed, nobody is told.
fn crash() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        thread::park();
    }
}
