use super::redistribute::{OperatorStatePart, RawPartitions, Rescale, redistribute, redistribute_raw};
use super::{Checkpoint, RawKeyedHandle, TaskState};
use crate::{Error, ErrorKind, KeyedStateHandle, Result, StateKey, Subtask};

/// The restore of one subtask: its share of the state of all old subtasks of its operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRestore {
    checkpoint_id: Option<u64>,
    keyed: Vec<KeyedStateHandle>,
    operator: Vec<OperatorStatePart>,
    raw_keyed: Vec<RawKeyedHandle>,
    raw_operator: Vec<RawPartitions>,
}

impl TaskRestore {
    /// A restore without state.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The checkpoint, if there is one.
    pub fn checkpoint_id(&self) -> Option<u64> {
        self.checkpoint_id
    }

    /// The handles of the keyed state, cut to the subtask's key groups.
    pub fn keyed(&self) -> &[KeyedStateHandle] {
        &self.keyed
    }

    /// The operator state, in the order of names.
    pub fn operator(&self) -> &[OperatorStatePart] {
        &self.operator
    }

    /// The raw keyed state, cut to the subtask's key groups.
    pub fn raw_keyed(&self) -> &[RawKeyedHandle] {
        &self.raw_keyed
    }

    /// The partitions of raw operator state.
    pub fn raw_operator(&self) -> &[RawPartitions] {
        &self.raw_operator
    }
}

impl Checkpoint {
    /// The restore of `subtask`, at any parallelism. [`RestoreRules::restore`](super::RestoreRules::restore)
    /// lets a new operator start empty.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an operator that the checkpoint lacks.
    /// [`IllegalState`](ErrorKind::IllegalState) if the checkpoint lacks subtasks of the operator, has one
    /// twice, lacks key groups, or has operator states of one name with different redistributions.
    pub fn restore<K: StateKey>(&self, subtask: &Subtask<K>) -> Result<TaskRestore> {
        let range = subtask.range();
        let keyed = self.handles_for(subtask.operator(), range)?;
        let tasks = self.tasks_of(subtask.operator())?;
        let rescale = Rescale { from: tasks.len() as u16, to: subtask.parallelism(), index: subtask.index() };
        let raw_keyed = tasks.iter().filter_map(|task| {
            let handle = task.raw_keyed.as_ref()?;
            Some(RawKeyedHandle { range: handle.range.intersection(range)?, ..handle.clone() })
        });
        let operator: Vec<_> = tasks.iter().map(|task| task.operator_state.as_ref()).collect();
        let raw_operator: Vec<_> = tasks.iter().map(|task| task.raw_operator.as_ref()).collect();
        Ok(TaskRestore {
            checkpoint_id: Some(self.id),
            keyed,
            operator: redistribute(&operator, rescale)?,
            raw_keyed: raw_keyed.collect(),
            raw_operator: redistribute_raw(&raw_operator, rescale)?,
        })
    }

    /// The acknowledgements of an operator, by subtask.
    fn tasks_of(&self, operator: &str) -> Result<Vec<&TaskState>> {
        let mut tasks: Vec<_> = self.tasks.iter().filter(|task| task.operator == operator).collect();
        tasks.sort_by_key(|task| task.subtask);
        let parallelism = tasks.first().map_or(0, |task| task.parallelism);
        let numbers = tasks.iter().map(|task| (task.subtask, task.parallelism));
        if numbers.eq((0..parallelism).map(|subtask| (subtask, parallelism))) {
            return Ok(tasks);
        }
        let message = format!(
            "checkpoint {} does not have each of the {parallelism} subtasks of {operator:?} once",
            self.id
        );
        Err(Error::new(ErrorKind::IllegalState, message))
    }
}
