//! The coordinator of a job's checkpoints, as a state machine without I/O, clock and threads.

mod failures;
mod output;
mod pending;
mod requests;
#[cfg(test)]
mod tests;

pub use output::{
    AbortReason, Ack, Acknowledged, Barrier, BarrierKind, CheckpointReport, Completed, DeclineReason, Output,
    Refusal, RequestId, Reserved, StoreAs, TaskId, TaskMetrics,
};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use backend_api::{Result, SavepointFormat};

use crate::config::{CheckpointConfig, JobEnd};
use failures::Failures;
use pending::Pending;
use requests::{Request, Requests};

/// Ids of ended checkpoints that are kept to recognize late acknowledgements.
const REMEMBERED: usize = 1024;

/// Decides when checkpoints of one job begin, complete and fail. `S` is what a task acknowledges.
///
/// An engine passes it every event with its time, in milliseconds of a monotonic clock, and carries out its
/// [`outputs`](Self::outputs) in order. It does no I/O and never blocks, so a model checker can test it. The rules and their names are those of Flink's `CheckpointCoordinator`.
///
/// ```
/// use coordinator::{Ack, CheckpointConfig, CheckpointCoordinator, Output, TaskId, TaskMetrics};
///
/// let tasks = [TaskId::new("count", 0), TaskId::new("count", 1)];
/// let mut coordinator = CheckpointCoordinator::new(CheckpointConfig::default(), "job", &tasks, None)?;
/// coordinator.start(0);
/// coordinator.trigger(5);
/// assert!(matches!(coordinator.outputs()[..], [Output::ReserveId { savepoint_in: None }]));
/// coordinator.id_reserved(5, Ok(1.into()));
/// assert!(matches!(&coordinator.outputs()[..], [Output::SendBarrier(barrier)] if barrier.id == 1));
/// for task in tasks {
///     let (job, state) = ("job".into(), "its state");
///     coordinator.acknowledge(Ack { job, checkpoint_id: 1, task, state, metrics: TaskMetrics::default() });
/// }
/// assert!(matches!(&coordinator.outputs()[..], [Output::Store { id: 1, states, .. }] if states.len() == 2));
/// coordinator.stored(12, 1, Ok(()));
/// assert!(coordinator.outputs().iter().any(|output| matches!(output, Output::NotifyComplete { id: 1 })));
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointCoordinator<S> {
    config: CheckpointConfig,
    job: Arc<str>,
    tasks: Arc<BTreeMap<TaskId, usize>>,
    phase: Phase,
    next_request: u64,
    requests: Requests,
    /// The request for which an id is being reserved.
    triggering: Option<Request>,
    pending: BTreeMap<u64, Pending<S>>,
    latest: Option<u64>,
    last_completion: Option<u64>,
    /// Time of the next periodic request.
    due: Option<u64>,
    /// True if the job started from a checkpoint that it does not own, until one of its own completes.
    is_full: bool,
    /// Old checkpoints whose deletion is pending.
    cleaning: usize,
    /// True if the job has ended and completed checkpoints must be deleted.
    deletes: bool,
    failures: Failures,
    aborted: VecDeque<u64>,
    completed: VecDeque<u64>,
    outputs: Vec<Output<S>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Before the tasks run, or after one of them failed.
    NotReady,
    Running,
    Stopped,
    Ended,
}

impl<S> CheckpointCoordinator<S> {
    /// A coordinator of `job` that waits for acknowledgements of all `tasks`. `latest` is the completed
    /// checkpoint that the job starts from. Call [`start`](Self::start) once the tasks run.
    ///
    /// # Errors
    /// Errors of [`CheckpointConfig::check`].
    pub fn new(
        config: CheckpointConfig,
        job: impl Into<Arc<str>>,
        tasks: &[TaskId],
        latest: Option<u64>,
    ) -> Result<Self> {
        config.check()?;
        Ok(Self {
            failures: Failures::new(config.tolerable_failures),
            config,
            job: job.into(),
            tasks: Arc::new(tasks.iter().cloned().zip(0..).collect()),
            phase: Phase::NotReady,
            next_request: 0,
            requests: Requests::default(),
            triggering: None,
            pending: BTreeMap::new(),
            latest,
            last_completion: None,
            due: None,
            is_full: false,
            cleaning: 0,
            deletes: false,
            aborted: VecDeque::new(),
            completed: VecDeque::new(),
            outputs: Vec::new(),
        })
    }

    /// Starts the job from a checkpoint or savepoint that it does not own (Flink: `NO_CLAIM`). Checkpoints are full until one
    /// is complete. Then the job no longer depends on where it started.
    pub fn without_claim(mut self) -> Self {
        self.is_full = true;
        self
    }

    /// The actions that the engine must carry out, in order. Each is returned once.
    pub fn outputs(&mut self) -> Vec<Output<S>> {
        std::mem::take(&mut self.outputs)
    }

    /// The time at which [`tick`](Self::tick) must be called next.
    pub fn next_deadline(&self) -> Option<u64> {
        let expiries = self.pending.values().filter(|pending| !pending.is_storing);
        let expiry = expiries.map(|pending| self.expiry(pending)).min();
        expiry.into_iter().chain(self.due).min()
    }

    /// The last completed checkpoint.
    pub fn latest(&self) -> Option<u64> {
        self.latest
    }

    /// The running checkpoints, ascending.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = u64> {
        self.pending.keys().copied()
    }

    /// Number of waiting requests.
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// All tasks run. Periodic checkpoints begin after one interval.
    pub fn start(&mut self, now: u64) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Running;
            self.schedule(now);
        }
    }

    /// Stops triggering, and aborts running checkpoints, until [`start`](Self::start).
    pub fn stop(&mut self, now: u64) {
        self.halt(now, Phase::Stopped, AbortReason::Stopped, Refusal::Stopped);
    }

    /// A task failed. Running checkpoints are aborted, and none begins until [`start`](Self::start).
    pub fn task_failed(&mut self, now: u64) {
        self.halt(now, Phase::NotReady, AbortReason::TaskFailed, Refusal::TasksNotReady);
    }

    /// The job ended. Nothing is accepted any more. The retention decides about completed checkpoints.
    pub fn end(&mut self, now: u64, end: JobEnd) {
        if self.phase == Phase::Ended {
            return;
        }
        self.halt(now, Phase::Ended, AbortReason::Shutdown, Refusal::Shutdown);
        self.deletes = !self.config.retention.keeps_after(end);
        self.delete_completed();
    }

    /// The time is `now`.
    pub fn tick(&mut self, now: u64) {
        let is_expired =
            |(_, pending): &(&u64, &Pending<S>)| !pending.is_storing && self.expiry(pending) <= now;
        let expired: Vec<u64> = self.pending.iter().filter(is_expired).map(|(id, _)| *id).collect();
        for id in expired {
            self.abort(now, id, AbortReason::Expired);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.schedule(now);
            self.request(now, BarrierKind::Checkpoint, true, None);
        } else {
            self.begin_next(now);
        }
    }

    /// Requests a checkpoint for a user.
    pub fn trigger(&mut self, now: u64) -> RequestId {
        self.request(now, BarrierKind::Checkpoint, false, None)
    }

    /// Requests a savepoint in a new folder within `target` or the default folder.
    pub fn savepoint(&mut self, now: u64, target: Option<&str>, format: SavepointFormat) -> RequestId {
        self.request_savepoint(now, BarrierKind::Savepoint(format), target)
    }

    /// Requests a savepoint after which the job stops. Running checkpoints are aborted and periodic requests dropped, as in
    /// Flink. Periodic checkpoints go on if it fails.
    pub fn stop_with_savepoint(
        &mut self,
        now: u64,
        target: Option<&str>,
        format: SavepointFormat,
        drain: bool,
    ) -> RequestId {
        let kind = BarrierKind::StopWithSavepoint { format, drain };
        let request = self.request_savepoint(now, kind, target);
        if self.is_stopping() {
            self.due = None;
            for periodic in self.requests.take_periodic() {
                self.answer(periodic.id, Err(Refusal::Stopped));
            }
            let is_open = |pending: &Pending<S>| !pending.is_storing && !pending.barrier.kind.is_savepoint();
            let open = self.pending.iter().filter(|(_, pending)| is_open(pending)).map(|(id, _)| *id);
            for id in open.collect::<Vec<_>>() {
                self.abort(now, id, AbortReason::Stopped);
            }
            self.begin_next(now);
        }
        request
    }

    /// The answer to [`Output::ReserveId`]: what was reserved, or why nothing was.
    pub fn id_reserved(&mut self, now: u64, reserved: Result<Reserved, String>) {
        let request = self.triggering.take();
        match (request, reserved) {
            (Some(request), Ok(Reserved { id, folder })) => {
                let (mode, latest, is_full) = (self.config.mode, self.latest, self.is_full);
                let barrier = Barrier { id, kind: request.kind, mode, latest, is_full, folder };
                self.pending.insert(id, Pending::new(barrier.clone(), request.id, now, self.tasks.len()));
                self.outputs.push(Output::SendBarrier(barrier));
                self.store_whole();
            }
            (Some(request), Err(reason)) => {
                let refusal = Refusal::NoId(reason);
                self.answer(request.id, Err(refusal.clone()));
                self.resume(now, request.kind);
                if !request.kind.is_savepoint() && self.failures.failed_without_id() {
                    self.outputs.push(Output::FailJob { reason: refusal });
                }
            }
            // The request was refused meanwhile.
            (None, Ok(Reserved { id, .. })) => self.outputs.push(Output::Discard { id, states: Vec::new() }),
            (None, Err(_)) => {}
        }
        self.begin_next(now);
    }

    /// A task has written its part of a checkpoint.
    pub fn acknowledge(&mut self, ack: Ack<S>) -> Acknowledged {
        let Ack { job, checkpoint_id: id, task, state, metrics } = ack;
        if job != self.job {
            return Acknowledged::OtherJob;
        }
        let Some(&task) = self.tasks.get(&task) else {
            self.outputs.push(Output::Discard { id, states: vec![state] });
            return Acknowledged::Discarded { was_pending: false };
        };
        if let Some(pending) = self.pending.get_mut(&id) {
            if !pending.acknowledge(task, state, metrics) {
                return Acknowledged::Duplicate;
            }
            if pending.is_whole() {
                self.store_whole();
            }
            return Acknowledged::Accepted;
        }
        // All tasks of a complete checkpoint have acknowledged, so this repeats the same state.
        if self.completed.contains(&id) || self.latest == Some(id) {
            return Acknowledged::Duplicate;
        }
        self.outputs.push(Output::Discard { id, states: vec![state] });
        Acknowledged::Discarded { was_pending: self.aborted.contains(&id) }
    }

    /// A task could not take or write its snapshot.
    pub fn decline(&mut self, now: u64, checkpoint_id: u64, task: TaskId, reason: impl Into<DeclineReason>) {
        let is_open = self.pending.get(&checkpoint_id).is_some_and(|pending| !pending.is_storing);
        if is_open && self.tasks.contains_key(&task) {
            self.abort(now, checkpoint_id, AbortReason::Declined(task, reason.into()));
            self.begin_next(now);
        }
    }

    /// The answer to [`Output::Store`].
    pub fn stored(&mut self, now: u64, id: u64, result: Result<(), String>) {
        if self.pending.get(&id).is_none_or(|pending| !pending.is_storing) {
            return;
        }
        match result {
            Ok(()) => self.complete(now, id),
            Err(reason) => self.abort(now, id, AbortReason::NotStored(reason)),
        }
        self.store_whole();
        self.begin_next(now);
        self.delete_completed();
    }

    /// Reports how many old checkpoints are still being deleted. None begins while they exceed the limit of
    /// concurrent checkpoints. For engines that delete in the background. As in Flink, a deletion that has failed does
    /// not count: a file that cannot be deleted must not stop the checkpoints.
    pub fn cleaning(&mut self, now: u64, checkpoints: usize) {
        self.cleaning = checkpoints;
        self.begin_next(now);
    }

    /// If completed checkpoints must be deleted, does so once none is being stored.
    fn delete_completed(&mut self) {
        if self.deletes && self.pending.is_empty() {
            self.deletes = false;
            self.outputs.push(Output::DeleteCompleted);
        }
    }

    fn expiry(&self, pending: &Pending<S>) -> u64 {
        pending.started.saturating_add(self.config.timeout_ms())
    }

    /// Sets the time of the next periodic request.
    fn schedule(&mut self, now: u64) {
        let is_periodic = self.phase == Phase::Running && !self.is_stopping();
        self.due =
            self.config.interval_ms().filter(|_| is_periodic).map(|interval| now.saturating_add(interval));
    }

    fn halt(&mut self, now: u64, phase: Phase, reason: AbortReason, refusal: Refusal) {
        if self.phase == Phase::Ended {
            return;
        }
        self.phase = phase;
        self.due = None;
        let requests = self.triggering.take().into_iter().chain(self.requests.take_all());
        for request in requests.collect::<Vec<_>>() {
            self.answer(request.id, Err(refusal.clone()));
        }
        // Only the storage knows the result of checkpoints that are being stored.
        let open = self.pending.iter().filter(|(_, pending)| !pending.is_storing).map(|(id, _)| *id);
        for id in open.collect::<Vec<_>>() {
            self.abort(now, id, reason.clone());
        }
    }

    /// True if a stop with a savepoint is under way.
    fn is_stopping(&self) -> bool {
        let waiting = self.requests.iter().chain(&self.triggering).map(|request| request.kind);
        waiting.chain(self.pending.values().map(|pending| pending.barrier.kind)).any(BarrierKind::is_stop)
    }

    /// Goes on with periodic checkpoints after a stop has failed.
    fn resume(&mut self, now: u64, failed: BarrierKind) {
        if failed.is_stop() {
            self.schedule(now);
        }
    }

    fn request_savepoint(&mut self, now: u64, kind: BarrierKind, target: Option<&str>) -> RequestId {
        match target.or(self.config.savepoint_dir.as_deref()).map(Arc::from) {
            Some(target) => self.request(now, kind, false, Some(target)),
            None => {
                let id = self.new_request();
                self.answer(id, Err(Refusal::NoTarget));
                id
            }
        }
    }

    fn request(
        &mut self,
        now: u64,
        kind: BarrierKind,
        periodic: bool,
        savepoint_in: Option<Arc<str>>,
    ) -> RequestId {
        let id = self.new_request();
        let refusal = match self.phase {
            Phase::Running => None,
            Phase::NotReady => Some(Refusal::TasksNotReady),
            Phase::Stopped => Some(Refusal::Stopped),
            Phase::Ended => Some(Refusal::Shutdown),
        };
        if let Some(refusal) = refusal {
            self.answer(id, Err(refusal));
            return id;
        }
        if let Some(dropped) = self.requests.add(Request { id, kind, periodic, savepoint_in }) {
            self.answer(dropped.id, Err(Refusal::TooManyRequests));
        }
        self.begin_next(now);
        id
    }

    fn new_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Begins the first request, if it may begin now.
    fn begin_next(&mut self, now: u64) {
        if self.phase != Phase::Running || self.triggering.is_some() {
            return;
        }
        let (most, under_way) = (self.config.concurrent(), self.pending.len());
        let Some(first) = self.requests.first() else { return };
        let is_forced = first.kind.is_savepoint();
        if self.cleaning > most || (under_way >= most && !is_forced) {
            return;
        }
        if first.periodic {
            let earliest = self.last_completion.map_or(0, |last| last.saturating_add(self.config.pause_ms()));
            if now < earliest {
                if let Some(request) = self.requests.take_first() {
                    self.answer(request.id, Err(Refusal::MinimumPause));
                }
                self.due = Some(earliest);
                return;
            }
        }
        self.triggering = self.requests.take_first();
        let savepoint_in = self.triggering.as_ref().and_then(|request| request.savepoint_in.clone());
        self.outputs.push(Output::ReserveId { savepoint_in });
    }

    /// Outputs the checkpoints that all tasks have acknowledged. An older one waits while a newer one is
    /// being stored, which will subsume it.
    fn store_whole(&mut self) {
        let is_subsuming = |pending: &Pending<S>| pending.is_storing && !pending.barrier.kind.is_savepoint();
        let newest = self.pending.iter().rfind(|(_, pending)| is_subsuming(pending)).map(|(id, _)| *id);
        for (&id, pending) in &mut self.pending {
            let is_savepoint = pending.barrier.kind.is_savepoint();
            if pending.is_whole() && (is_savepoint || Some(id) > newest) {
                pending.is_storing = true;
                let target = match (pending.barrier.kind.savepoint(), pending.barrier.folder.clone()) {
                    (Some(format), Some(folder)) => StoreAs::Savepoint { folder, format },
                    _ => StoreAs::Checkpoint,
                };
                self.outputs.push(Output::Store { id, target, states: pending.take_states() });
            }
        }
    }

    /// A checkpoint is stored.
    fn complete(&mut self, now: u64, id: u64) {
        let Some(pending) = self.pending.remove(&id) else { return };
        remember(&mut self.completed, id);
        self.last_completion = Some(now);
        self.failures.succeeded(id);
        let kind = pending.barrier.kind;
        if kind == BarrierKind::Checkpoint {
            (self.latest, self.is_full) = (Some(id), false);
        }
        if !matches!(kind, BarrierKind::Savepoint(_)) {
            let is_subsumed =
                |pending: &Pending<S>| !pending.is_storing && !pending.barrier.kind.is_savepoint();
            let older = self.pending.range(..id).filter(|(_, pending)| is_subsumed(pending));
            for older in older.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.abort(now, older, AbortReason::Subsumed);
            }
            self.outputs.push(Output::NotifyComplete { id });
        }
        let completed = Completed { id, folder: pending.barrier.folder.clone() };
        self.answer(pending.request, Ok(completed.clone()));
        self.report(now, &pending, None);
        if kind.is_stop() && self.phase == Phase::Running {
            self.stop(now);
            self.outputs.push(Output::StopJob(completed));
        }
    }

    fn abort(&mut self, now: u64, id: u64, reason: AbortReason) {
        let Some(mut pending) = self.pending.remove(&id) else { return };
        remember(&mut self.aborted, id);
        let states = pending.take_states();
        if !states.is_empty() {
            self.outputs.push(Output::Discard { id, states });
        }
        self.outputs.push(Output::NotifyAborted { id, latest: self.latest });
        self.answer(pending.request, Err(Refusal::Aborted(id, reason.clone())));
        self.report(now, &pending, Some(reason.clone()));
        let kind = pending.barrier.kind;
        self.resume(now, kind);
        // The tasks may have stopped already, so a failed stop fails the job.
        let is_fatal = kind.is_stop() && matches!(reason, AbortReason::Declined(..));
        if is_fatal || (reason.counts(kind) && self.failures.failed(id)) {
            self.outputs.push(Output::FailJob { reason: Refusal::Aborted(id, reason) });
        }
    }

    fn report(&mut self, now: u64, pending: &Pending<S>, failure: Option<AbortReason>) {
        self.outputs.push(Output::Report(CheckpointReport {
            id: pending.barrier.id,
            kind: pending.barrier.kind,
            started: pending.started,
            ended: now,
            failure,
            tasks: pending.metrics(),
        }));
    }

    fn answer(&mut self, request: RequestId, result: Result<Completed, Refusal>) {
        self.outputs.push(Output::Answer { request, result });
    }
}

fn remember(ids: &mut VecDeque<u64>, id: u64) {
    if ids.len() == REMEMBERED {
        ids.pop_front();
    }
    ids.push_back(id);
}
