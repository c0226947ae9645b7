//! Checkpoints: asks for them, gathers what the subtasks acknowledge, makes them complete.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use state_backends::prelude::*;

use crate::failure::{Failure, with_causes};
use crate::router::Router;
use crate::source::Position;
use crate::subtask::{Ack, Message};

/// What came of the checkpoints of a run.
#[derive(Clone, Debug, Default)]
pub struct CheckpointStats {
    pub completed: u64,
    pub failed: u64,
    /// Why the first of the failed ones failed.
    pub first_failure: Option<String>,
    /// How long subtasks stood still, the longest of each checkpoint.
    pub sync: Vec<Duration>,
    /// From the barrier until a checkpoint was complete.
    pub total: Vec<Duration>,
    /// Bytes that the checkpoints wrote, all together.
    pub delta_bytes: u64,
    /// Bytes that a restore from the last one needs.
    pub full_bytes: u64,
}

/// At most one checkpoint is under way: the next one waits for it.
pub struct Coordinator {
    store: CheckpointStore,
    next_id: u64,
    /// From each subtask. Its end of the channel goes with the subtask, so waiting for one that has died ends.
    acks: Vec<Receiver<Ack>>,
    pending: Option<Pending>,
    pub stats: CheckpointStats,
}

struct Pending {
    id: u64,
    start: Instant,
    position: Position,
    /// By subtask, as far as they have come.
    acks: Vec<Option<Ack>>,
}

impl Coordinator {
    /// For the subtasks that acknowledge through `acks`.
    pub fn new(store: CheckpointStore, acks: Vec<Receiver<Ack>>) -> Self {
        let next_id = store.next_id();
        Self { store, next_id, acks, pending: None, stats: CheckpointStats::default() }
    }

    /// Starts a checkpoint of everything before `position`, once the one before is done with.
    pub fn start(&mut self, router: &mut Router, position: Position) -> Result<(), Failure> {
        self.finish(router)?;
        let id = self.next_id;
        self.next_id += 1;
        let acks = self.acks.iter().map(|_| None).collect();
        self.pending = Some(Pending { id, start: Instant::now(), position, acks });
        router.broadcast(|| Message::Barrier(id))
    }

    /// Goes on with the checkpoint under way as far as that is possible without waiting.
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

    /// All have answered. A checkpoint that fails costs nothing but itself: the job goes on.
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

/// Why it died is what its thread answers.
fn subtask_died() -> Failure {
    Failure::Job("a subtask ended early".to_owned())
}
