use backend_api::{Result, StateValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{OperatorListDescriptor, OperatorListToken, OperatorState};

/// A user function with operator state, as Flink's `CheckpointedFunction`.
///
/// Keyed state needs no such calls: it is written where it is used, and the backend snapshots it.
pub trait CheckpointedFunction {
    /// Called once before the first record: registers states, and reads what was restored.
    ///
    /// # Errors
    /// Those of registering; what else the function cannot do. The task does not start then.
    fn initialize_state(&mut self, context: &mut InitializationContext<'_>) -> Result<()>;

    /// Called at each snapshot, before the synchronous part: brings the states up to date.
    ///
    /// # Errors
    /// What the function cannot do. The checkpoint is declined then.
    fn snapshot_state(&mut self, context: &mut SnapshotContext<'_>) -> Result<()>;
}

/// What a function gets when it is initialized.
#[derive(Debug)]
pub struct InitializationContext<'a> {
    state: &'a mut OperatorState,
    restored: Option<u64>,
}

impl<'a> InitializationContext<'a> {
    /// The context of a start from checkpoint `restored`, or of a start without one; see
    /// [`TaskRestore::checkpoint_id`](backend_api::TaskRestore::checkpoint_id).
    pub fn new(state: &'a mut OperatorState, restored: Option<u64>) -> Self {
        Self { state, restored }
    }

    /// The operator state.
    pub fn operator(&mut self) -> &mut OperatorState {
        self.state
    }

    /// True if the task starts from a checkpoint. The state may be empty all the same: the operator may be new.
    pub fn is_restored(&self) -> bool {
        self.restored.is_some()
    }

    /// The checkpoint that the task starts from.
    pub fn restored_checkpoint_id(&self) -> Option<u64> {
        self.restored
    }
}

/// What a function gets at a snapshot.
#[derive(Debug)]
pub struct SnapshotContext<'a> {
    state: &'a mut OperatorState,
    checkpoint_id: u64,
}

impl<'a> SnapshotContext<'a> {
    /// The context of the snapshot for checkpoint `checkpoint_id`.
    pub fn new(state: &'a mut OperatorState, checkpoint_id: u64) -> Self {
        Self { state, checkpoint_id }
    }

    /// The operator state.
    pub fn operator(&mut self) -> &mut OperatorState {
        self.state
    }

    /// The checkpoint.
    pub fn checkpoint_id(&self) -> u64 {
        self.checkpoint_id
    }
}

/// A user function whose operator state is one even-split list, as Flink's `ListCheckpointed`. [`Listed`] makes a
/// [`CheckpointedFunction`] of it.
pub trait ListCheckpointed<T> {
    /// The elements that belong to the snapshot for checkpoint `checkpoint_id`. Each may go to another subtask.
    ///
    /// # Errors
    /// What the function cannot do. The checkpoint is declined then.
    fn snapshot_state(&mut self, checkpoint_id: u64) -> Result<Vec<T>>;

    /// Takes the restored elements, before the first record; is not called if the task starts without a checkpoint.
    ///
    /// # Errors
    /// What the function cannot do. The task does not start then.
    fn restore_state(&mut self, state: Vec<T>) -> Result<()>;
}

/// A [`ListCheckpointed`] function with its list.
#[derive(Debug)]
pub struct Listed<F, T> {
    /// The function.
    pub function: F,
    token: Option<OperatorListToken<T>>,
}

impl<F, T> Listed<F, T> {
    /// Name of the list.
    pub const STATE: &'static str = "list-checkpointed";

    /// The function with its list, not initialized yet.
    pub fn new(function: F) -> Self {
        Self { function, token: None }
    }
}

impl<F, T> CheckpointedFunction for Listed<F, T>
where
    F: ListCheckpointed<T>,
    T: StateValue + Serialize + DeserializeOwned,
{
    fn initialize_state(&mut self, context: &mut InitializationContext<'_>) -> Result<()> {
        let token = context.operator().register(OperatorListDescriptor::even_split(Self::STATE))?;
        self.token = Some(token);
        if context.is_restored() {
            let elements = context.operator().list(token)?.iter().cloned().collect();
            self.function.restore_state(elements)?;
        }
        Ok(())
    }

    fn snapshot_state(&mut self, context: &mut SnapshotContext<'_>) -> Result<()> {
        let token = match self.token {
            Some(token) => token,
            None => context.operator().register(OperatorListDescriptor::even_split(Self::STATE))?,
        };
        let elements = self.function.snapshot_state(context.checkpoint_id())?;
        context.operator().list(token)?.set(elements);
        Ok(())
    }
}
