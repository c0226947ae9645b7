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
use crate::interrupt::Interrupt;
use crate::log_line;
use crate::page_stats::{Page, Path};
use crate::progress::Progress;
use crate::router::Router;
use crate::source::{Position, Source};
use crate::subtask;
use crate::window::minute_of;

/// The operator whose state it is.
const OPERATOR: &str = "page-stats";

/// Lines after which a log must have shown one that is well-formed.
const ENOUGH_LINES: u64 = 1000;

/// A line in the combined format, for error messages.
const SAMPLE: &str = r#"`192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl"`"#;

/// Number of batches that may wait for a subtask.
const WAITING_BATCHES: usize = 8;

/// Result of a run.
pub struct Outcome {
    /// All paths, unordered.
    pub pages: Vec<Page>,
    /// The end of the log.
    pub position: Position,
    /// Checkpoint and position from which this run started.
    pub resumed: Option<(u64, Position)>,
    pub max_parallelism: u16,
    pub checkpoints: CheckpointStats,
    pub elapsed: Duration,
}

/// The folder of the job within the storage of its checkpoints.
pub fn folder() -> Result<JobFolder> {
    JobFolder::new("access-log-job")
}

/// Reads the log, from its beginning or where the last checkpoint was taken, to its end.
pub fn run<B: StateBackend<Key = Path>>(
    args: &Args,
    options: &B::Options,
    storage: Option<Arc<dyn Storage>>,
    interrupt: &Interrupt,
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
            let none = "--checkpoint-dir has no completed checkpoint of this job to resume from";
            return Err(Failure::Job(none.to_owned()));
        }
    };

    let parallelism = args.parallelism;
    let restored = checkpoint.as_ref().and_then(|checkpoint| checkpoint.max_parallelism(OPERATOR));
    let max_parallelism = resolve_max_parallelism(args.max_parallelism, parallelism, restored)
        .map_err(|error| Failure::Job(error.message().to_owned()))?;
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
            let thread = thread.spawn_scoped(scope, work)?;
            inboxes.push(inbox);
            acks.push(answered);
            threads.push(thread);
        }
        let mut coordinator = Coordinator::new(store, acks);
        let router = Router::new(key_space, inboxes);
        let fed = feed(args, source, &mut position, router, &mut coordinator, interrupt);

        // If a subtask failed, its error tells more than that of the source.
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

/// Sends the lines of the source, with barriers in between. The subtasks end when it returns.
fn feed(
    args: &Args,
    mut source: Source,
    position: &mut Position,
    mut router: Router,
    coordinator: &mut Coordinator,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let progress = Progress::new(source.done(position), source.total(), source.unit());
    // After a restore, the subtasks do not know it.
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
                    progress.at(source.done(position), coordinator.stats.completed);
                }
            }
            None => position.malformed += 1,
        }
        if interrupt.is_pressed() {
            return Err(interrupted(position.lines, coordinator));
        }
        if position.lines == ENOUGH_LINES {
            check_is_log(&source, position)?;
        }
        if args.checkpoint_every > 0 && position.lines.is_multiple_of(args.checkpoint_every) {
            coordinator.start(&mut router, *position)?;
        }
        if args.crash_at == Some(position.lines) {
            crash();
        }
    }
    if interrupt.is_pressed() {
        return Err(interrupted(position.lines, coordinator));
    }
    check_is_log(&source, position)?;
    coordinator.finish(&mut router)?;
    router.finish()
}

/// Refuses a file that has lines, but none in the format.
fn check_is_log(source: &Source, position: &Position) -> Result<(), Failure> {
    match position.lines {
        0 => Ok(()),
        lines if lines > position.malformed => Ok(()),
        lines => {
            let name = source.name();
            Err(Failure::Job(format!(
                "{name} is no access log: none of its first {lines} lines is like {SAMPLE}"
            )))
        }
    }
}

/// The user ended the job: says where it was, and where it can go on.
fn interrupted(lines: u64, coordinator: &Coordinator) -> Failure {
    let resumable =
        coordinator.latest().and_then(|latest| Some((latest.id, Position::of(latest).ok()?.lines)));
    let message = match resumable {
        None => format!("interrupted at line {lines}, before a checkpoint was complete"),
        Some((id, line)) => format!("interrupted at line {lines}; checkpoint {id} is at line {line}"),
    };
    Failure::Interrupted { message, can_resume: resumable.is_some() }
}

/// Opens the store of the checkpoints. A run that starts anew deletes those of an earlier run, if it is allowed to.
fn open_store(args: &Args, storage: Option<Arc<dyn Storage>>) -> Result<CheckpointStore, Failure> {
    let job = folder()?;
    let options = match &storage {
        Some(storage) => CheckpointStoreOptions::in_storage(job.clone(), Arc::clone(storage)),
        None => CheckpointStoreOptions::in_memory(job.clone()),
    };
    let options = options.retained(args.retained);
    if let (Some(storage), false) = (&storage, args.resume) {
        let files = storage.list(job.path())?;
        let completed = files.iter().filter(|file| file.path.ends_with("/_metadata"));
        if !args.overwrite && completed.clone().count() > 0 {
            let earlier = "--checkpoint-dir has checkpoints of an earlier run: --resume goes on from them, \
                           --overwrite deletes them";
            return Err(Failure::Job(earlier.to_owned()));
        }
        // Metadata first: a checkpoint that has lost some of its files must not look complete if this is interrupted.
        for file in completed {
            storage.delete(&file.path)?;
        }
        storage.delete_folder(job.path())?;
    }
    Ok(CheckpointStore::open(options)?)
}

/// Ends the process like `kill -9`: nothing is flushed or cleaned up.
fn crash() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        thread::park();
    }
}
