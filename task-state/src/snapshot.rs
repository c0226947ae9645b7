use backend_api::{
    Cancel, CheckpointTarget, OperatorStateHandle, Result, SnapshotRequest, SnapshotTask, StateBackend,
    StateFile, StateKey, Subtask, TaskState,
};

use crate::raw_keyed::raw_keyed_meta;
use crate::raw_operator::{self, raw_operator_meta};
use crate::{CheckpointedFunction, OperatorState, RawKeyedWriter, RawOperatorWriter, SnapshotContext};

/// One snapshot of all state of a task. Each call takes the snapshot of one kind of state at once. One
/// [`SnapshotTask`] then writes all of it, and returns the task's acknowledgement.
///
/// ```
/// use backend_api::*;
/// use task_state::*;
///
/// fn at_a_barrier<B: StateBackend>(
///     options: &B::Options,
///     request: SnapshotRequest,
///     keyed: &mut B,
///     operator: &mut OperatorState,
///     cache: Vec<(u16, Vec<u8>)>,
/// ) -> Result<SnapshotTask<TaskState>> {
///     let target = B::checkpoint_target(options)?;
///     let subtask = keyed.subtask().clone();
///     let snapshot = TaskSnapshot::new(&target, &subtask, request).keyed(keyed)?.operator(operator)?;
///     // The writer runs with the task, so it owns its data.
///     let snapshot = snapshot.raw_keyed(move |groups| {
///         cache.iter().try_for_each(|(group, bytes)| {
///             groups.start_group(*group)?;
///             Ok(std::io::Write::write_all(groups, bytes)?)
///         })
///     });
///     Ok(snapshot.into_task())
/// }
/// # use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
/// # let options = ByteOptions::new(CheckpointTarget::memory(1 << 20)?, |_, _| Ok(Box::<BTreeStore>::default()));
/// # let subtask = Subtask::single("counts", KeySpace::<u64>::new(4)?)?;
/// # let mut keyed = ByteBackend::open(&options, subtask.clone(), &[])?;
/// # let target = ByteBackend::<u64>::checkpoint_target(&options)?;
/// # let mut operator = OperatorState::open(&target, &subtask, &[])?;
/// # let cache = vec![(2, b"two".to_vec())];
/// # let state = at_a_barrier(&options, SnapshotRequest::new(1), &mut keyed, &mut operator, cache)?.run()?;
/// # assert!(state.raw_keyed.is_some() && state.operator_state.is_none());
/// # Ok::<(), Error>(())
/// ```
#[must_use = "nothing is written before the task is run"]
pub struct TaskSnapshot<K: StateKey> {
    target: CheckpointTarget,
    subtask: Subtask<K>,
    request: SnapshotRequest,
    keyed: Option<SnapshotTask>,
    operator: Option<SnapshotTask<Option<OperatorStateHandle>>>,
    raw_keyed: Option<Box<WriteRawKeyed>>,
    raw_operator: Option<Box<WriteRawOperator>>,
}

type WriteRawKeyed = dyn FnOnce(&mut RawKeyedWriter) -> Result<()> + Send;
type WriteRawOperator = dyn FnOnce(&mut RawOperatorWriter<'_, '_>) -> Result<()> + Send;

impl<K: StateKey> TaskSnapshot<K> {
    /// An empty snapshot of `subtask`. Raw state goes to `target`.
    pub fn new(target: &CheckpointTarget, subtask: &Subtask<K>, request: SnapshotRequest) -> Self {
        Self {
            target: target.clone(),
            subtask: subtask.clone(),
            request,
            keyed: None,
            operator: None,
            raw_keyed: None,
            raw_operator: None,
        }
    }

    /// Adds the keyed state.
    ///
    /// # Errors
    /// Same as [`StateBackend::snapshot`].
    pub fn keyed<B: StateBackend>(mut self, backend: &mut B) -> Result<Self> {
        self.keyed = Some(backend.snapshot(self.request.clone())?);
        Ok(self)
    }

    /// Adds the operator state.
    ///
    /// # Errors
    /// Same as [`OperatorState::snapshot`].
    pub fn operator(mut self, state: &mut OperatorState) -> Result<Self> {
        self.operator = Some(state.snapshot(self.request.clone())?);
        Ok(self)
    }

    /// Calls `function` to bring its state up to date, and adds the operator state.
    ///
    /// # Errors
    /// Same as [`CheckpointedFunction::snapshot_state`] and [`OperatorState::snapshot`].
    pub fn function(
        self,
        function: &mut impl CheckpointedFunction,
        state: &mut OperatorState,
    ) -> Result<Self> {
        function.snapshot_state(&mut SnapshotContext::new(state, self.request.checkpoint_id()))?;
        self.operator(state)
    }

    /// Adds raw keyed state. `write` runs with the task.
    pub fn raw_keyed(
        mut self,
        write: impl FnOnce(&mut RawKeyedWriter) -> Result<()> + Send + 'static,
    ) -> Self {
        self.raw_keyed = Some(Box::new(write));
        self
    }

    /// Adds raw operator state. `write` runs with the task.
    pub fn raw_operator(
        mut self,
        write: impl FnOnce(&mut RawOperatorWriter<'_, '_>) -> Result<()> + Send + 'static,
    ) -> Self {
        self.raw_operator = Some(Box::new(write));
        self
    }

    /// The asynchronous part: writes all state, and returns the task's acknowledgement. If one part fails,
    /// the files of the others are deleted.
    pub fn into_task(self) -> SnapshotTask<TaskState> {
        let cancel = Cancel::new();
        SnapshotTask::new(self.request.checkpoint_id(), cancel, move |cancel, _| self.write(cancel))
    }

    fn write(self, cancel: &Cancel) -> Result<TaskState> {
        let Self { target, subtask, request, keyed, operator, raw_keyed, raw_operator } = self;
        let mut state = TaskState::of(&subtask, None);
        let id = request.checkpoint_id();
        // A separate attempt per file, so that their names differ.
        let [groups_target, partitions_target] =
            [target.for_attempt()?, target.for_attempt()?].map(|target| target.for_request(&request));
        let written = (|| {
            if let Some(task) = keyed {
                state.keyed = run(task, cancel)?;
            }
            if let Some(task) = operator {
                state.operator_state = run(task, cancel)?;
            }
            if let Some(fill) = raw_keyed {
                let mut writer = RawKeyedWriter::new(subtask.range());
                fill(&mut writer)?;
                state.raw_keyed = writer.finish(&groups_target, raw_keyed_meta(&subtask, id), cancel)?;
            }
            if let Some(fill) = raw_operator {
                let meta = raw_operator_meta(&subtask, id);
                state.raw_operator = raw_operator::write(&partitions_target, &meta, cancel, fill)?;
            }
            cancel.check()
        })();
        match written {
            Ok(()) => Ok(state),
            Err(error) => {
                let is_own = |file: &&StateFile| file.created_by == id;
                state.files().filter(is_own).for_each(|file| groups_target.delete(file));
                Err(error)
            }
        }
    }
}

/// Runs a part of the snapshot. Cancelling the whole cancels the part.
fn run<T>(task: SnapshotTask<T>, cancel: &Cancel) -> Result<T> {
    let part = task.cancel_token();
    let _guard = cancel.on_cancel(move || part.cancel());
    task.run()
}

impl<K: StateKey> std::fmt::Debug for TaskSnapshot<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSnapshot").field("request", &self.request).finish_non_exhaustive()
    }
}
