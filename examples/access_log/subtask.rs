//! One parallel instance of the job: a thread with a backend of its own, which nobody else touches.

use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use state_backends::prelude::*;

use crate::batch::{Batch, Event};
use crate::page_stats::{Page, PageStats, Path};
use crate::window::Minute;

/// What a subtask is sent, in order. The end of the channel is the end of the input.
#[derive(Debug)]
pub enum Message {
    /// Work.
    Batch(Batch),
    /// All work before it belongs to this checkpoint, none after it does.
    Barrier(u64),
    /// The checkpoint is complete.
    Complete(u64),
    /// The checkpoint will never be complete.
    Aborted(u64),
}

/// The answer to a barrier.
#[derive(Debug)]
pub struct Ack {
    /// How long the subtask stood still.
    pub sync: Duration,
    /// The state, or why there is none.
    pub state: Result<TaskState>,
}

/// Opens the backend, with what `restore` holds for it, and works until the input ends. Answers what the state tells
/// then.
pub fn run<B: StateBackend<Key = Path>>(
    options: &B::Options,
    subtask: Subtask<Path>,
    restore: &[KeyedStateHandle],
    messages: Receiver<Message>,
    acks: Sender<Ack>,
) -> Result<Vec<Page>> {
    let mut backend = B::open(options, subtask, restore)?;
    let mut stats = PageStats::register(&mut backend)?;
    for message in messages {
        match message {
            Message::Batch(batch) => {
                for event in batch.events() {
                    match event {
                        Event::Visit(visit) => stats.visit(&mut backend, &visit)?,
                        Event::Minute(newest) => stats.advance(&mut backend, newest)?,
                    }
                }
            }
            Message::Barrier(id) => snapshot(&mut backend, id, acks.clone())?,
            Message::Complete(id) => backend.notify_complete(id)?,
            Message::Aborted(id) => backend.notify_aborted(id)?,
        }
    }
    stats.advance(&mut backend, Minute::MAX)?;
    let pages = stats.pages(&mut backend)?;
    backend.close()?;
    Ok(pages)
}

/// Takes a snapshot, and has a thread write and acknowledge it while the subtask goes on. A snapshot that fails is
/// the coordinator's to deal with; only a thread that cannot be had ends the subtask.
fn snapshot<B: StateBackend<Key = Path>>(backend: &mut B, id: u64, acks: Sender<Ack>) -> Result<()> {
    let start = Instant::now();
    let task = backend.snapshot(SnapshotRequest::new(id));
    let sync = start.elapsed();
    let subtask = backend.subtask();
    let (operator, index, parallelism) =
        (subtask.operator().to_owned(), subtask.index(), subtask.parallelism());
    let write = move || {
        let keyed = task.and_then(SnapshotTask::run);
        let state = keyed.map(|keyed| TaskState::new(operator, index, parallelism, keyed));
        // Nobody listens any more if the job has failed meanwhile; what was written is removed at the next start.
        let _ = acks.send(Ack { sync, state });
    };
    thread::Builder::new().name(format!("checkpoint-{id}-{index}")).spawn(write)?;
    Ok(())
}
