use std::collections::BTreeSet;

use super::{Checkpoint, TaskRestore};
use crate::restore::check_covered;
use crate::{
    Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Result, StateBackend, StateKey, Subtask, row,
};

/// Exceptions for a restore, by name. Without rules every operator and state of the checkpoint must be
/// restored, and every operator of the program must be in the checkpoint.
///
/// ```
/// use backend_api::RestoreRules;
///
/// let rules = RestoreRules::default()
///     .leave_out_operator("old-filter")
///     .leave_out_state("counts", "hits per day")
///     .start_empty("new-alerts");
/// ```
#[derive(Clone, Debug, Default)]
pub struct RestoreRules {
    allows_all: bool,
    operators: BTreeSet<String>,
    states: BTreeSet<(String, String)>,
    empty: BTreeSet<String>,
}

impl RestoreRules {
    /// All operators and states may be left out (Flink: `allowNonRestoredState`).
    pub fn allow_non_restored_state(mut self) -> Self {
        self.allows_all = true;
        self
    }

    /// Allows the program to lack this operator. Its state is lost with the next checkpoint.
    pub fn leave_out_operator(mut self, operator: impl Into<String>) -> Self {
        self.operators.insert(operator.into());
        self
    }

    /// Allows the operator to lack this state. The state is lost with the next checkpoint.
    pub fn leave_out_state(mut self, operator: impl Into<String>, state: impl Into<String>) -> Self {
        self.states.insert((operator.into(), state.into()));
        self
    }

    /// Allows this new operator to start without state.
    pub fn start_empty(mut self, operator: impl Into<String>) -> Self {
        self.empty.insert(operator.into());
        self
    }

    /// Checks the operators of a program against those of `checkpoint`. A coordinator calls it before it
    /// starts any of them.
    ///
    /// # Errors
    /// Unless the rules name it: [`IllegalState`](ErrorKind::IllegalState) for an operator that the program
    /// lacks, [`NotFound`](ErrorKind::NotFound) for one that the checkpoint lacks.
    pub fn check_operators<'o>(
        &self,
        checkpoint: &Checkpoint,
        program: impl IntoIterator<Item = &'o str>,
    ) -> Result<()> {
        let program: BTreeSet<_> = program.into_iter().collect();
        self.check_left_out(checkpoint, program.iter().copied())?;
        match program.difference(&checkpoint.operators()).find(|name| !self.empty.contains(**name)) {
            Some(name) => Err(checkpoint.unknown_operator(name)),
            None => Ok(()),
        }
    }

    /// Checks only that no operator is left out. One without any state may be.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the checkpoint has state of an operator that the program lacks, unless
    /// the rules allow it.
    pub fn check_left_out<'o>(
        &self,
        checkpoint: &Checkpoint,
        program: impl IntoIterator<Item = &'o str>,
    ) -> Result<()> {
        let program: BTreeSet<_> = program.into_iter().collect();
        let with_state = checkpoint.tasks.iter().filter(|task| task.has_state()).map(|task| &*task.operator);
        let may_go = |name: &&str| program.contains(name) || self.operators.contains(*name);
        let left: BTreeSet<_> = with_state.filter(|name| !self.allows_all && !may_go(name)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let message = format!(
            "checkpoint {} has state of operators {left:?}, which the program lacks; rename them back, or leave them out by name",
            checkpoint.id
        );
        Err(Error::new(ErrorKind::IllegalState, message))
    }

    /// The restore of a subtask. Empty if its operator is new and may start empty.
    ///
    /// # Errors
    /// Same as [`Checkpoint::restore`].
    pub fn restore<K: StateKey>(&self, checkpoint: &Checkpoint, subtask: &Subtask<K>) -> Result<TaskRestore> {
        let operator = subtask.operator();
        if self.empty.contains(operator) && !checkpoint.operators().contains(operator) {
            return Ok(TaskRestore::empty());
        }
        checkpoint.restore(subtask)
    }

    /// Drops restored states that may be left out, and checks that all others are registered. Call it once
    /// all states are registered.
    ///
    /// # Errors
    /// Same as [`StateBackend::check_restored`] and [`StateBackend::drop_restored`].
    pub fn check_states<B: StateBackend>(&self, backend: &mut B) -> Result<()> {
        let operator = backend.subtask().operator().to_owned();
        for state in backend.states().into_iter().filter(|state| !state.registered) {
            if self.may_leave_out(&operator, &state.name) {
                backend.drop_restored(&state.name)?;
            }
        }
        backend.check_restored()
    }

    /// True if the operator may lack this state.
    pub fn may_leave_out(&self, operator: &str, state: &str) -> bool {
        self.allows_all || self.states.contains(&(operator.to_owned(), state.to_owned()))
    }
}

impl Checkpoint {
    /// The ids of all operators.
    pub fn operators(&self) -> BTreeSet<&str> {
        self.tasks.iter().map(|task| &*task.operator).collect()
    }

    /// The handles of keyed state for a subtask of `operator` with these key groups, cut to them. They cover
    /// all of the groups, or there are none because no subtask had registered state.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an operator that the checkpoint lacks.
    /// [`IllegalState`](ErrorKind::IllegalState) if key groups are missing.
    pub fn handles_for(&self, operator: &str, range: KeyGroupRange) -> Result<Vec<KeyedStateHandle>> {
        let tasks: Vec<_> = self.tasks.iter().filter(|task| task.operator == operator).collect();
        if tasks.is_empty() {
            return Err(self.unknown_operator(operator));
        }
        let Some(sample) = tasks.iter().find_map(|task| task.keyed.as_ref()) else { return Ok(Vec::new()) };
        let mut handles = Vec::new();
        for task in tasks {
            match &task.keyed {
                Some(handle) => handles.extend(handle.cut(range)),
                // It had no registered state, so its key groups are empty.
                None => {
                    let own =
                        KeyGroupRange::of_subtask(sample.max_parallelism, task.parallelism, task.subtask)?;
                    let empty = |range| {
                        let format = row::FORMAT.to_owned();
                        KeyedStateHandle { format, range, files: Vec::new(), ..sample.clone() }
                    };
                    handles.extend(own.intersection(range).map(empty));
                }
            }
        }
        check_covered(range, handles.iter().map(|handle| handle.range))?;
        Ok(handles)
    }

    #[cold]
    fn unknown_operator(&self, operator: &str) -> Error {
        let known = self.operators();
        let message = format!(
            "checkpoint {} has no operator {operator:?}, but {known:?}; is it renamed, or new and to start empty?",
            self.id
        );
        Error::new(ErrorKind::NotFound, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskState;

    fn range(start: u16, end: u16) -> KeyGroupRange {
        KeyGroupRange::new(start, end).unwrap()
    }

    fn handle(range: KeyGroupRange) -> KeyedStateHandle {
        KeyedStateHandle {
            format: "rows/1".to_owned(),
            checkpoint_id: 3,
            operator: "counts".to_owned(),
            range,
            max_parallelism: 10,
            key_group_mapping: "xxh3".to_owned(),
            key_schema: "u8".to_owned(),
            files: Vec::new(),
        }
    }

    fn checkpoint(keyed: [Option<KeyedStateHandle>; 2]) -> Checkpoint {
        let [first, second] = keyed;
        let tasks = [TaskState::new("counts", 0, 2, first), TaskState::new("counts", 1, 2, second)];
        Checkpoint::new(3, tasks.into())
    }

    fn ranges(checkpoint: &Checkpoint, of: KeyGroupRange) -> Vec<KeyGroupRange> {
        let handles = checkpoint.handles_for("counts", of).unwrap();
        handles.into_iter().map(|handle| handle.range).collect()
    }

    #[test]
    fn an_operator_that_the_checkpoint_lacks_is_not_found() {
        let checkpoint = checkpoint([Some(handle(range(0, 4))), Some(handle(range(5, 9)))]);
        let error = checkpoint.handles_for("count", range(0, 9)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("\"counts\""), "{error}");
        let rules = RestoreRules::default().start_empty("count");
        let restore = |operator| {
            let subtask = Subtask::single(operator, crate::KeySpace::<u8>::new(10).unwrap()).unwrap();
            rules.restore(&checkpoint, &subtask).unwrap()
        };
        assert_eq!(restore("count"), TaskRestore::empty());
        assert_eq!(restore("counts").keyed().len(), 2);
    }

    #[test]
    fn handles_cover_all_key_groups() {
        let whole = checkpoint([Some(handle(range(0, 4))), Some(handle(range(5, 9)))]);
        assert_eq!(ranges(&whole, range(3, 6)), [range(3, 4), range(5, 6)]);
        let gap = checkpoint([Some(handle(range(0, 4))), Some(handle(range(6, 9)))]);
        let error = gap.handles_for("counts", range(0, 9)).unwrap_err();
        assert_eq!((error.kind(), error.key_group()), (ErrorKind::IllegalState, Some(5)));
        // A subtask without state leaves no gap.
        let half = checkpoint([None, Some(handle(range(5, 9)))]);
        assert_eq!(ranges(&half, range(0, 9)), [range(0, 4), range(5, 9)]);
        assert_eq!(ranges(&checkpoint([None, None]), range(0, 9)), []);
    }

    #[test]
    fn operators_are_left_out_and_added_only_by_name() {
        let checkpoint = checkpoint([None, Some(handle(range(5, 9)))]);
        let check = |rules: RestoreRules, program: &[&str]| {
            rules.check_operators(&checkpoint, program.iter().copied()).map_err(|error| error.kind())
        };
        let rules = RestoreRules::default;
        assert_eq!(check(rules(), &["counts"]), Ok(()));
        assert_eq!(check(rules(), &[]), Err(ErrorKind::IllegalState));
        assert_eq!(check(rules().leave_out_operator("counts"), &[]), Ok(()));
        assert_eq!(check(rules().allow_non_restored_state(), &[]), Ok(()));
        assert_eq!(check(rules(), &["counts", "new"]), Err(ErrorKind::NotFound));
        assert_eq!(check(rules().allow_non_restored_state(), &["new"]), Err(ErrorKind::NotFound));
        assert_eq!(check(rules().start_empty("new"), &["counts", "new"]), Ok(()));
        assert_eq!(rules().check_left_out(&checkpoint, ["counts", "new"]).map_err(|_| ()), Ok(()));
    }

    /// M193.
    #[test]
    fn an_operator_without_state_may_be_left_out() {
        let mut empty = checkpoint([None, None]);
        RestoreRules::default().check_operators(&empty, []).unwrap();
        // Bytes of the engine are state.
        empty.tasks[1].properties.insert("position".to_owned(), vec![1]);
        let error = RestoreRules::default().check_operators(&empty, []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
        assert!(error.message().contains("\"counts\""), "{error}");
    }
}
