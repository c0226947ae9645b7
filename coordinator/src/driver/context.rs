use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backend_api::{Cancel, CheckpointTarget, Result, SnapshotRequest, SnapshotTask, Storage, TaskState};
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded, select};

use super::events::Event;
use super::pool::Pool;
use super::{neighbour_ended, with_causes};
use crate::{Ack, Barrier, DeclineReason, TaskId, TaskMetrics};

/// A control of the driver for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// For a source: take a snapshot and send the barrier. After a barrier of a
    /// [stop](crate::BarrierKind::is_stop), the source [waits](TaskContext::wait_for) for its end before it
    /// sends more.
    Barrier(Barrier),
    /// The checkpoint is complete.
    Complete(u64),
    /// The checkpoint will never complete.
    Aborted(u64),
    /// End, because the job ends or restarts.
    Stop,
}

/// A task's connection to the driver.
#[derive(Debug)]
pub struct TaskContext {
    pub(super) job: Arc<str>,
    pub(super) task: TaskId,
    pub(super) control: Receiver<Control>,
    pub(super) events: Sender<Event>,
    pub(super) pool: Pool,
    /// The storage of savepoints.
    pub(super) savepoints: Option<Arc<dyn Storage>>,
    pub(super) running: Arc<Mutex<Vec<Cancel>>>,
    /// Controls that arrived while the task waited for another one.
    pub(super) waiting: VecDeque<Control>,
}

impl TaskContext {
    /// The task.
    pub fn task(&self) -> &TaskId {
        &self.task
    }

    /// The next control, if there is one.
    ///
    /// # Errors
    /// [`Closed`](backend_api::ErrorKind::Closed) if the job has ended.
    pub fn poll(&mut self) -> Result<Option<Control>> {
        if let Some(control) = self.waiting.pop_front() {
            return Ok(Some(control));
        }
        match self.control.try_recv() {
            Ok(control) => Ok(Some(control)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(neighbour_ended()),
        }
    }

    /// Waits for the next control.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn wait(&mut self) -> Result<Control> {
        match self.waiting.pop_front() {
            Some(control) => Ok(control),
            None => self.control.recv().map_err(|_| neighbour_ended()),
        }
    }

    /// Waits for the next control. Returns `None` if `done` receives something first, or all its senders are
    /// gone.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn wait_unless<T>(&mut self, done: &Receiver<T>) -> Result<Option<Control>> {
        if let Some(control) = self.waiting.pop_front() {
            return Ok(Some(control));
        }
        let mut select = Select::new();
        let control = select.recv(&self.control);
        select.recv(done);
        if select.ready() == control {
            self.control.recv().map(Some).map_err(|_| neighbour_ended())
        } else {
            Ok(None)
        }
    }

    /// For a source: requests a checkpoint and waits for its barrier, so that it is exactly here. `None` if
    /// there will be none.
    ///
    /// # Errors
    /// As [`poll`](Self::poll), also if the job ends.
    pub fn checkpoint_here(&mut self) -> Result<Option<Barrier>> {
        let (answer, answered) = bounded(1);
        self.events.send(Event::Trigger(answer)).map_err(|_| neighbour_ended())?;
        loop {
            select! {
                recv(self.control) -> control => match control.map_err(|_| neighbour_ended())? {
                    Control::Barrier(barrier) => return Ok(Some(barrier)),
                    Control::Stop => return Err(neighbour_ended()),
                    control => self.waiting.push_back(control),
                },
                recv(answered) -> _ => return Ok(None),
            }
        }
    }

    /// Waits until checkpoint `id` is complete or aborted. Returns true if it is complete. Other controls are
    /// kept.
    ///
    /// # Errors
    /// As [`poll`](Self::poll), also if the job ends.
    pub fn wait_for(&mut self, id: u64) -> Result<bool> {
        let end = |control: &Control| match *control {
            Control::Complete(end) if end == id => Some(true),
            Control::Aborted(end) if end == id => Some(false),
            _ => None,
        };
        loop {
            if let Some(is_complete) = self.waiting.iter().find_map(end) {
                return Ok(is_complete);
            }
            match self.control.recv().map_err(|_| neighbour_ended())? {
                Control::Stop => return Err(neighbour_ended()),
                control => self.waiting.push_back(control),
            }
        }
    }

    /// Takes the task's snapshot. `freeze` is the synchronous part. The driver's pool writes its result and
    /// acknowledges. If it fails, the checkpoint is declined, and the task continues.
    pub fn snapshot(
        &mut self,
        barrier: &Barrier,
        alignment: AlignmentTime,
        freeze: impl FnOnce(SnapshotRequest) -> Result<SnapshotTask<TaskState>>,
    ) {
        let id = barrier.id;
        let start = Instant::now();
        let frozen = self.request(barrier).and_then(freeze);
        let sync = start.elapsed();
        let snapshot = match frozen {
            Ok(snapshot) => snapshot,
            Err(error) => return self.decline(id, with_causes(&error)),
        };
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.push(snapshot.cancel_token());
        }
        let (job, task, events) = (Arc::clone(&self.job), self.task.clone(), self.events.clone());
        self.pool.run(move || {
            let start = Instant::now();
            let event = match snapshot.run() {
                Ok(state) => {
                    let metrics = TaskMetrics {
                        sync_us: micros(sync),
                        async_us: micros(start.elapsed()),
                        alignment_us: micros(alignment.waited),
                        alignment_bytes: alignment.held_bytes,
                        delta_bytes: state.delta_size(id),
                        full_bytes: state.full_size(),
                    };
                    Event::Acknowledged(Box::new(Ack { job, checkpoint_id: id, task, state, metrics }))
                }
                Err(error) => Event::Declined { id, task, reason: with_causes(&error).into() },
            };
            // If the job has ended, the files are removed when its checkpoints are opened again.
            let _ = events.send(event);
        });
    }

    /// Declines a checkpoint.
    pub fn decline(&self, id: u64, reason: impl Into<DeclineReason>) {
        let _ = self.events.send(Event::Declined { id, task: self.task.clone(), reason: reason.into() });
    }

    /// The request of a barrier to the backends.
    fn request(&self, barrier: &Barrier) -> Result<SnapshotRequest> {
        let request = barrier.request();
        Ok(match (&barrier.folder, &self.savepoints) {
            (Some(folder), Some(storage)) => {
                request.to(CheckpointTarget::savepoint(Arc::clone(storage), &**folder)?)
            }
            _ => request,
        })
    }
}

/// Figures of an alignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlignmentTime {
    /// Time from the first barrier to the last.
    pub waited: Duration,
    /// Bytes that were held back.
    pub held_bytes: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
