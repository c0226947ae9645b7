//! A subtask: one thread that owns a backend.

use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use state_backends::prelude::*;

use crate::batch::{Batch, Event};
use crate::page_stats::{Page, PageStats, Path};
use crate::window::Minute;

/// What a subtask receives, in order. The end of the channel is the end of the input.
#[derive(Debug)]
pub enum Message {
    /// Events to count.
    Batch(Batch),
    /// A checkpoint: everything before this message belongs to it, nothing after it does.
    Barrier(u64),
    /// The checkpoint is complete.
    Complete(u64),
    /// The checkpoint failed.
    Aborted(u64),
}

/// The answer to a barrier.
#[derive(Debug)]
pub struct Ack {
    /// How long the subtask stood still: the synchronous part of the snapshot.
    pub sync: Duration,
    /// The written state.
    pub state: Result<TaskState>,
}

/// Opens the backend, restores it from `restore`, and works until the input ends. Returns what the state then holds.
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

/// Takes a snapshot. Another thread writes and acknowledges it while the subtask goes on. The coordinator deals with a
/// snapshot that fails.
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
        // If the job has ended meanwhile, the next start removes what was written.
        let _ = acks.send(Ack { sync, state });
    };
    thread::Builder::new().name(format!("checkpoint-{id}-{index}")).spawn(write)?;
    Ok(())
}
