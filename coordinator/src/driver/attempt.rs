//! One attempt: runs the tasks, and carries out the coordinator's outputs.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use backend_api::{Cancel, Checkpoint, Error, ErrorKind, Result, TaskState};
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::context::{Control, TaskContext};
use super::events::{Answer, Event};
use super::pool::Pool;
use super::{Clock, Task, report, too_many_failures, with_causes};
use crate::{
    CheckpointCoordinator, CheckpointStore, Completed, JobEnd, Output, Refusal, RequestId, Reserved,
    SavepointWriter, Statistics, StoreAs,
};

/// How an attempt ended.
pub enum AttemptEnd {
    Finished,
    /// By a savepoint.
    Stopped(Completed),
    Cancelled,
    Failed(Error),
}

/// A running job.
pub struct Running<'a> {
    pub job: &'a str,
    pub coordinator: &'a mut CheckpointCoordinator<TaskState>,
    pub store: &'a mut CheckpointStore,
    pub savepoints: Option<&'a mut SavepointWriter>,
    pub statistics: &'a mut Statistics,
    pub events: &'a (Sender<Event>, Receiver<Event>),
    pub pool: &'a Pool,
    pub clock: Clock,
}

/// The tasks of an attempt.
struct Tasks {
    number: u64,
    /// Sources first.
    controls: Vec<Sender<Control>>,
    sources: usize,
    running: usize,
    errors: Vec<Error>,
    /// Set once all tasks have the signal to stop.
    end: Option<Ending>,
    answers: HashMap<RequestId, Answer>,
}

/// Why the tasks stop.
enum Ending {
    Savepoint(Completed),
    Cancelled,
    Failure,
}

impl Running<'_> {
    /// Runs the tasks until all of them have ended.
    pub fn attempt(&mut self, mut tasks: Vec<Task<'_>>) -> AttemptEnd {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        tasks.sort_by_key(|task| !task.is_source);
        let snapshots: Arc<Mutex<Vec<Cancel>>> = Arc::default();
        let mut state = Tasks {
            number,
            controls: Vec::new(),
            sources: tasks.iter().filter(|task| task.is_source).count(),
            running: 0,
            errors: Vec::new(),
            end: None,
            answers: HashMap::new(),
        };
        thread::scope(|scope| {
            for Task { id, work, .. } in tasks {
                let (control, controlled) = unbounded();
                let context = TaskContext {
                    job: self.job.into(),
                    task: id.clone(),
                    control: controlled,
                    events: self.events.0.clone(),
                    pool: self.pool.clone(),
                    savepoints: self.savepoints.as_ref().map(|writer| Arc::clone(writer.storage())),
                    running: Arc::clone(&snapshots),
                    waiting: VecDeque::new(),
                };
                let events = self.events.0.clone();
                let run = move || {
                    let result = catch_unwind(AssertUnwindSafe(|| work(context)));
                    let result =
                        result.unwrap_or_else(|_| Err(Error::new(ErrorKind::Function, "a task panicked")));
                    // The driver listens until every task has ended.
                    let _ = events.send(Event::Ended { attempt: number, result });
                };
                let name = format!("{}-{}", id.operator, id.subtask);
                match thread::Builder::new().name(name).spawn_scoped(scope, run) {
                    Ok(_) => {
                        state.controls.push(control);
                        state.running += 1;
                    }
                    Err(error) => {
                        state.errors.push(error.into());
                        self.stop_tasks(&mut state, Ending::Failure);
                        break;
                    }
                }
            }
            if state.end.is_none() {
                self.coordinator.start(self.clock.now());
            }
            while state.running > 0 {
                self.carry_out(&mut state);
                match self.receive() {
                    Some(event) => self.handle(event, &mut state),
                    None => self.coordinator.tick(self.clock.now()),
                }
            }
        });
        if matches!(state.end, Some(Ending::Failure)) {
            let running = snapshots.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().for_each(Cancel::cancel);
            self.coordinator.task_failed(self.clock.now());
        }
        self.carry_out(&mut state);
        match state.end {
            None => AttemptEnd::Finished,
            Some(Ending::Savepoint(savepoint)) => AttemptEnd::Stopped(savepoint),
            Some(Ending::Cancelled) => AttemptEnd::Cancelled,
            Some(Ending::Failure) => AttemptEnd::Failed(root_cause(state.errors)),
        }
    }

    /// Waits before the next attempt. Returns false if the job is cancelled meanwhile.
    pub fn pause(&mut self, delay: Duration) -> bool {
        let end = self.clock.now().saturating_add(crate::config::millis(delay));
        loop {
            let left = self.clock.until(end);
            if left.is_zero() {
                return true;
            }
            match self.events.1.recv_timeout(left) {
                Ok(Event::Cancel) => return false,
                Ok(Event::Acknowledged(ack)) => {
                    self.coordinator.acknowledge(*ack);
                    self.carry_out_alone();
                }
                Ok(
                    Event::Trigger(answer)
                    | Event::Savepoint { answer, .. }
                    | Event::StopWithSavepoint { answer, .. },
                ) => {
                    // The requester may have dropped its receiver.
                    let _ = answer.send(Err(Refusal::TasksNotReady));
                }
                Ok(Event::Declined { .. } | Event::Ended { .. }) => {}
                Err(_) => return true,
            }
        }
    }

    /// Ends the job. The retention decides about completed checkpoints.
    pub fn end(&mut self, end: JobEnd) {
        self.coordinator.end(self.clock.now(), end);
        self.carry_out_alone();
    }

    /// The next event. `None` if a tick is due.
    fn receive(&self) -> Option<Event> {
        let Some(deadline) = self.coordinator.next_deadline() else { return self.events.1.recv().ok() };
        self.events.1.recv_timeout(self.clock.until(deadline)).ok()
    }

    fn handle(&mut self, event: Event, tasks: &mut Tasks) {
        let now = self.clock.now();
        match event {
            Event::Acknowledged(ack) => _ = self.coordinator.acknowledge(*ack),
            Event::Declined { id, task, reason } => self.coordinator.decline(now, id, task, reason),
            Event::Trigger(answer) => _ = tasks.answers.insert(self.coordinator.trigger(now), answer),
            Event::Savepoint { target, format, answer } => {
                let request = self.coordinator.savepoint(now, target.as_deref(), format);
                tasks.answers.insert(request, answer);
            }
            Event::StopWithSavepoint { target, format, drain, answer } => {
                let request = self.coordinator.stop_with_savepoint(now, target.as_deref(), format, drain);
                tasks.answers.insert(request, answer);
            }
            Event::Cancel => self.stop_tasks(tasks, Ending::Cancelled),
            Event::Ended { attempt, result } if attempt == tasks.number => {
                tasks.running -= 1;
                match result {
                    Ok(()) => self.coordinator.stop(now),
                    Err(error) => {
                        tasks.errors.push(error);
                        self.stop_tasks(tasks, Ending::Failure);
                    }
                }
            }
            Event::Ended { .. } => {}
        }
    }

    fn stop_tasks(&mut self, tasks: &mut Tasks, end: Ending) {
        if tasks.end.is_none() {
            tasks.end = Some(end);
            tasks.tell(&Control::Stop);
            self.coordinator.stop(self.clock.now());
        }
    }

    /// Carries out the coordinator's outputs until there are none.
    fn carry_out(&mut self, tasks: &mut Tasks) {
        loop {
            let outputs = self.coordinator.outputs();
            if outputs.is_empty() {
                return;
            }
            outputs.into_iter().for_each(|output| self.carry_out_one(output, tasks));
        }
    }

    /// The same without running tasks.
    fn carry_out_alone(&mut self) {
        let mut none = Tasks {
            number: 0,
            controls: Vec::new(),
            sources: 0,
            running: 0,
            errors: Vec::new(),
            end: Some(Ending::Cancelled),
            answers: HashMap::new(),
        };
        self.carry_out(&mut none);
    }

    fn carry_out_one(&mut self, output: Output<TaskState>, tasks: &mut Tasks) {
        let now = self.clock.now();
        match output {
            Output::ReserveId { savepoint_in } => {
                let reserved = self.reserve(savepoint_in.as_deref());
                self.coordinator.id_reserved(now, reserved.map_err(|error| with_causes(&error)));
            }
            Output::SendBarrier(barrier) => tasks.tell_sources(&Control::Barrier(barrier)),
            Output::Store { id, target, states } => {
                let result = self.store(Checkpoint::new(id, states), target);
                self.coordinator.stored(self.clock.now(), id, result.map_err(|error| with_causes(&error)));
            }
            Output::NotifyComplete { id } => tasks.tell(&Control::Complete(id)),
            Output::NotifyAborted { id, .. } => {
                if let Some(savepoints) = &self.savepoints {
                    savepoints.abort(id);
                }
                // Even if no task has acknowledged it, because its id has ended.
                self.store.discard(id, &[]);
                tasks.tell(&Control::Aborted(id));
            }
            Output::Discard { id, states } => {
                let is_savepoint =
                    self.savepoints.as_ref().is_some_and(|savepoints| savepoints.discard(id, &states));
                if !is_savepoint {
                    self.store.discard(id, &states);
                }
            }
            Output::Answer { request, result } => {
                if let Some(answer) = tasks.answers.remove(&request) {
                    // The requester may have dropped its receiver.
                    let _ = answer.send(result);
                }
            }
            Output::FailJob { reason } => {
                tasks.errors.push(too_many_failures(&reason));
                self.stop_tasks(tasks, Ending::Failure);
            }
            Output::StopJob(savepoint) => self.stop_tasks(tasks, Ending::Savepoint(savepoint)),
            Output::DeleteCompleted => self.store.remove_all(),
            Output::Report(done) => {
                report::tell(self.job, &done);
                self.statistics.add(done);
                self.store.retry_deletions();
            }
        }
    }

    /// Reserves an id, and a folder for a savepoint.
    fn reserve(&mut self, savepoint_in: Option<&str>) -> Result<Reserved> {
        let id = self.store.begin()?;
        let Some(target) = savepoint_in else { return Ok(id.into()) };
        let folder = match &mut self.savepoints {
            Some(savepoints) => savepoints.begin(id, target),
            None => Err(Error::new(ErrorKind::InvalidArgument, "the job has no storage for savepoints")),
        };
        if folder.is_err() {
            self.store.discard(id, &[]);
        }
        Ok(Reserved { id, folder: Some(folder?) })
    }

    fn store(&mut self, checkpoint: Checkpoint, target: StoreAs) -> Result<()> {
        match (target, &mut self.savepoints) {
            (StoreAs::Savepoint { folder, format }, Some(savepoints)) => {
                // Its id has ended for the store.
                self.store.discard(checkpoint.id, &[]);
                savepoints.complete(checkpoint, &folder, format).map(|_| ())
            }
            _ => self.store.complete(checkpoint),
        }
    }
}

impl Tasks {
    /// Sends a control to all tasks. Ended ones do not receive it.
    fn tell(&self, control: &Control) {
        self.controls.iter().for_each(|task| _ = task.send(control.clone()));
    }

    fn tell_sources(&self, control: &Control) {
        self.controls.iter().take(self.sources).for_each(|task| _ = task.send(control.clone()));
    }
}

/// The error that caused the others. A task whose neighbour has ended only reports that.
fn root_cause(errors: Vec<Error>) -> Error {
    let is_cause = |error: &Error| !matches!(error.kind(), ErrorKind::Closed | ErrorKind::Cancelled);
    let at = errors.iter().position(is_cause).unwrap_or(0);
    let none = || Error::new(ErrorKind::IllegalState, "the job failed without an error");
    errors.into_iter().nth(at).unwrap_or_else(none)
}
