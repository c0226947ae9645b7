use backend_api::{Error, SavepointFormat, TaskState};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{Ack, Completed, DeclineReason, Refusal, TaskId};

/// Receives the answer to a request: the complete checkpoint, or why there is none.
pub type Answer = Sender<Result<Completed, Refusal>>;

/// An event of a job.
pub enum Event {
    Acknowledged(Box<Ack<TaskState>>),
    Declined {
        id: u64,
        task: TaskId,
        reason: DeclineReason,
    },
    Trigger(Answer),
    Savepoint {
        target: Option<String>,
        format: SavepointFormat,
        answer: Answer,
    },
    StopWithSavepoint {
        target: Option<String>,
        format: SavepointFormat,
        drain: bool,
        answer: Answer,
    },
    Cancel,
    /// A task of that attempt has ended.
    Ended {
        attempt: u64,
        result: Result<(), Error>,
    },
}

/// Controls a job from other threads.
#[derive(Clone, Debug)]
pub struct JobHandle(Sender<Event>);

impl JobHandle {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self(events)
    }

    /// Requests a checkpoint. The answer arrives when it is complete or has failed.
    pub fn trigger(&self) -> Receiver<Result<Completed, Refusal>> {
        self.ask(Event::Trigger)
    }

    /// Requests a savepoint in a new folder within `target` or the default folder.
    pub fn savepoint(
        &self,
        target: Option<&str>,
        format: SavepointFormat,
    ) -> Receiver<Result<Completed, Refusal>> {
        let target = target.map(str::to_owned);
        self.ask(|answer| Event::Savepoint { target, format, answer })
    }

    /// Requests a savepoint after which the job ends. With `drain`, open windows and timers fire before it.
    pub fn stop_with_savepoint(
        &self,
        target: Option<&str>,
        format: SavepointFormat,
        drain: bool,
    ) -> Receiver<Result<Completed, Refusal>> {
        let target = target.map(str::to_owned);
        self.ask(|answer| Event::StopWithSavepoint { target, format, drain, answer })
    }

    /// Ends the job.
    pub fn cancel(&self) {
        // A job that has ended need not be cancelled.
        let _ = self.0.send(Event::Cancel);
    }

    fn ask(&self, event: impl FnOnce(Answer) -> Event) -> Receiver<Result<Completed, Refusal>> {
        let (answer, answered) = bounded(1);
        // If the job has ended, the answer's sender is dropped, which the receiver notices.
        let _ = self.0.send(event(answer));
        answered
    }
}
