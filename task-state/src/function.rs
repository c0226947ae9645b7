use backend_api::{Result, StateValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{OperatorListDescriptor, OperatorListToken, OperatorState};

/// A user function with operator state, like Flink's `CheckpointedFunction`.
///
/// Keyed state needs no such calls: the function writes it directly, and the backend snapshots it.
pub trait CheckpointedFunction {
    /// Called once before the first record. Registers states and reads restored elements.
    ///
    /// # Errors
    /// Errors of registration, and the function's own. The task then does not start.
    fn initialize_state(&mut self, context: &mut InitializationContext<'_>) -> Result<()>;

    /// Called at each snapshot, before the synchronous part. Brings the states up to date.
    ///
    /// # Errors
    /// The function's own. The checkpoint is then declined.
    fn snapshot_state(&mut self, context: &mut SnapshotContext<'_>) -> Result<()>;
}

/// The context in which a function is initialized.
#[derive(Debug)]
pub struct InitializationContext<'a> {
    state: &'a mut OperatorState,
    restored: Option<u64>,
}

impl<'a> InitializationContext<'a> {
    /// The context of a start from checkpoint `restored`, or from none. See
    /// [`TaskRestore::checkpoint_id`](backend_api::TaskRestore::checkpoint_id).
    pub fn new(state: &'a mut OperatorState, restored: Option<u64>) -> Self {
        Self { state, restored }
    }

    /// The operator state.
    pub fn operator(&mut self) -> &mut OperatorState {
        self.state
    }

    /// True if the task starts from a checkpoint. The state can still be empty, for example if the operator
    /// is new.
    pub fn is_restored(&self) -> bool {
        self.restored.is_some()
    }

    /// The checkpoint that the task starts from.
    pub fn restored_checkpoint_id(&self) -> Option<u64> {
        self.restored
    }
}

/// The context of a snapshot.
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

    /// The id of the checkpoint.
    pub fn checkpoint_id(&self) -> u64 {
        self.checkpoint_id
    }
}

/// A user function whose operator state is one even-split list, like Flink's `ListCheckpointed`. [`Listed`]
/// turns it into a [`CheckpointedFunction`].
pub trait ListCheckpointed<T> {
    /// Returns the elements for checkpoint `checkpoint_id`. Each may go to a different subtask at a restore.
    ///
    /// # Errors
    /// The function's own. The checkpoint is then declined.
    fn snapshot_state(&mut self, checkpoint_id: u64) -> Result<Vec<T>>;

    /// Takes the restored elements before the first record. Not called if the task starts without a
    /// checkpoint.
    ///
    /// # Errors
    /// The function's own. The task then does not start.
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

    /// Wraps a function. Its list is registered by `initialize_state`.
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
