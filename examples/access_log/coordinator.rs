//! Triggers checkpoints, collects the acknowledgements of the subtasks, and completes the checkpoints.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use state_backends::prelude::*;

use crate::failure::{Failure, with_causes};
use crate::router::Router;
use crate::source::Position;
use crate::subtask::{Ack, Message};

/// Statistics of the checkpoints of a run.
#[derive(Clone, Debug, Default)]
pub struct CheckpointStats {
    pub completed: u64,
    pub failed: u64,
    /// Why the first failed checkpoint failed.
    pub first_failure: Option<String>,
    /// Synchronous part of each checkpoint, the longest of its subtasks.
    pub sync: Vec<Duration>,
    /// Time of each checkpoint from its barrier to its completion.
    pub total: Vec<Duration>,
    /// Bytes that all checkpoints wrote.
    pub delta_bytes: u64,
    /// Bytes that a restore from the last checkpoint reads.
    pub full_bytes: u64,
}

/// At most one checkpoint is under way: the next one waits for it.
pub struct Coordinator {
    store: CheckpointStore,
    /// One for each subtask. A subtask that dies drops its end, so waiting for it ends.
    acks: Vec<Receiver<Ack>>,
    pending: Option<Pending>,
    pub stats: CheckpointStats,
}

struct Pending {
    id: u64,
    start: Instant,
    position: Position,
    /// By subtask; `None` until it acknowledges.
    acks: Vec<Option<Ack>>,
}

impl Coordinator {
    /// A coordinator of the subtasks that acknowledge through `acks`.
    pub fn new(store: CheckpointStore, acks: Vec<Receiver<Ack>>) -> Self {
        Self { store, acks, pending: None, stats: CheckpointStats::default() }
    }

    /// Starts a checkpoint of everything before `position`. Waits for the checkpoint before it.
    pub fn start(&mut self, router: &mut Router, position: Position) -> Result<(), Failure> {
        self.finish(router)?;
        let id = self.store.begin()?;
        let acks = self.acks.iter().map(|_| None).collect();
        self.pending = Some(Pending { id, start: Instant::now(), position, acks });
        router.broadcast(|| Message::Barrier(id))
    }

    /// Goes on with the checkpoint under way without waiting.
    pub fn poll(&mut self, router: &mut Router) -> Result<(), Failure> {
        self.advance(router, |acks| match acks.try_recv() {
            Ok(ack) => Ok(Some(ack)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(subtask_died()),
        })
    }

    /// Waits for the checkpoint under way, if there is one.
    pub fn finish(&mut self, router: &mut Router) -> Result<(), Failure> {
        self.advance(router, |acks| acks.recv().map(Some).map_err(|_| subtask_died()))
    }

    /// The last completed checkpoint.
    pub fn latest(&self) -> Option<&Checkpoint> {
        self.store.latest()
    }

    fn advance(
        &mut self,
        router: &mut Router,
        next_ack: impl Fn(&Receiver<Ack>) -> Result<Option<Ack>, Failure>,
    ) -> Result<(), Failure> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        for (ack, acks) in pending.acks.iter_mut().zip(&self.acks).filter(|(ack, _)| ack.is_none()) {
            *ack = next_ack(acks)?;
        }
        match self.pending.take_if(|pending| pending.acks.iter().all(Option::is_some)) {
            Some(pending) => self.complete(router, pending),
            None => Ok(()),
        }
    }

    /// Ends a checkpoint that all subtasks acknowledged. If it failed, the job goes on without it.
    fn complete(&mut self, router: &mut Router, pending: Pending) -> Result<(), Failure> {
        let Pending { id, start, position, acks } = pending;
        let acks: Vec<Ack> = acks.into_iter().flatten().collect();
        let sync = acks.iter().map(|ack| ack.sync).max().unwrap_or_default();
        let (tasks, errors): (Vec<_>, Vec<_>) =
            acks.into_iter().map(|ack| ack.state).partition(Result::is_ok);
        let tasks: Vec<TaskState> = tasks.into_iter().flatten().collect();

        let result = match errors.into_iter().find_map(Result::err) {
            Some(error) => {
                self.store.discard(id, &tasks);
                Err(error)
            }
            None => {
                let mut checkpoint = Checkpoint::new(id, tasks);
                position.store(&mut checkpoint)?;
                self.store.complete(checkpoint)
            }
        };
        match result {
            Ok(()) => {
                self.stats.completed += 1;
                self.stats.sync.push(sync);
                self.stats.total.push(start.elapsed());
                if let Some(checkpoint) = self.store.latest() {
                    self.stats.delta_bytes += checkpoint.delta_size();
                    self.stats.full_bytes = checkpoint.full_size();
                }
                router.broadcast(|| Message::Complete(id))
            }
            Err(error) => {
                self.stats.failed += 1;
                self.stats.first_failure.get_or_insert_with(|| with_causes(&error));
                router.broadcast(|| Message::Aborted(id))
            }
        }
    }
}

/// The subtask's thread knows the reason.
fn subtask_died() -> Failure {
    Failure::Job("a subtask ended early".to_owned())
}
