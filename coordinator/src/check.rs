//! Checks that a checkpoint can be restored, and that its files exist.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::storage::parent;
use backend_api::{
    Checkpoint, Error, ErrorKind, KeyGroupRange, Result, StateData, StateFile, Storage, TaskState,
};

/// Checks that each operator has each of its subtasks exactly once, with its key groups.
pub(crate) fn check_tasks(checkpoint: &Checkpoint) -> Result<()> {
    let mut operators: BTreeMap<&str, Vec<&TaskState>> = BTreeMap::new();
    for task in &checkpoint.tasks {
        operators.entry(&task.operator).or_default().push(task);
    }
    operators.into_iter().try_for_each(|(operator, tasks)| check_operator(checkpoint.id, operator, &tasks))
}

/// Checks that `tasks` are all subtasks of an operator, each once, with its key groups and with state of this
/// checkpoint.
///
/// # Errors
/// [`IllegalState`](ErrorKind::IllegalState), naming checkpoint, operator and subtask.
pub fn check_operator(checkpoint_id: u64, operator: &str, tasks: &[&TaskState]) -> Result<()> {
    match subtasks_fault(tasks).or_else(|| handles_fault(checkpoint_id, tasks)) {
        None => Ok(()),
        Some(fault) => {
            let message = format!("checkpoint {checkpoint_id} of operator {operator:?}: {fault}");
            Err(Error::new(ErrorKind::IllegalState, message))
        }
    }
}

fn subtasks_fault(tasks: &[&TaskState]) -> Option<String> {
    let parallelism = tasks.first()?.parallelism;
    if let Some(other) = tasks.iter().find(|task| task.parallelism != parallelism) {
        return Some(format!("subtasks of parallelism {parallelism} and {}", other.parallelism));
    }
    let subtasks: BTreeSet<u16> = tasks.iter().map(|task| task.subtask).collect();
    if subtasks.len() < tasks.len() {
        return Some("a subtask is there twice".to_owned());
    }
    if let Some(beyond) = subtasks.range(parallelism..).next() {
        return Some(format!("subtask {beyond} of {parallelism}"));
    }
    let missing = (0..parallelism).find(|subtask| !subtasks.contains(subtask));
    missing.map(|missing| format!("subtask {missing} of {parallelism} is missing"))
}

/// Properties shared by all handles of an operator.
#[derive(Clone, Copy, PartialEq)]
struct Keys<'h> {
    max_parallelism: u16,
    /// Mapping to key groups, and key schema, of keyed state.
    of_keyed: Option<(&'h str, &'h str)>,
}

fn handles_fault(checkpoint_id: u64, tasks: &[&TaskState]) -> Option<String> {
    let mut common: [Option<Keys<'_>>; 2] = [None, None];
    for task in tasks {
        let keyed = task.keyed.as_ref().map(|handle| {
            let of_keyed = Some((&*handle.key_group_mapping, &*handle.key_schema));
            let keys = Keys { max_parallelism: handle.max_parallelism, of_keyed };
            (0, handle.checkpoint_id, handle.range, keys)
        });
        let raw = task.raw_keyed.as_ref().map(|handle| {
            let keys = Keys { max_parallelism: handle.max_parallelism, of_keyed: None };
            (1, handle.checkpoint_id, handle.range, keys)
        });
        let unkeyed = [
            task.operator_state.as_ref().map(|handle| handle.checkpoint_id),
            task.raw_operator.as_ref().map(|handle| handle.checkpoint_id),
        ];
        let ids = keyed.iter().chain(&raw).map(|(_, id, ..)| *id).chain(unkeyed.into_iter().flatten());
        if let Some(other) = ids.into_iter().find(|id| *id != checkpoint_id) {
            return Some(format!("the state of subtask {} is that of checkpoint {other}", task.subtask));
        }
        if let Some(other) = task.keyed.as_ref().filter(|handle| handle.operator != task.operator) {
            return Some(format!(
                "the state of subtask {} is that of operator {:?}",
                task.subtask, other.operator
            ));
        }
        for (kind, _, range, keys) in keyed.into_iter().chain(raw) {
            let own = KeyGroupRange::of_subtask(keys.max_parallelism, task.parallelism, task.subtask);
            match own {
                Ok(own) if own == range => {}
                Ok(own) => {
                    return Some(format!(
                        "the state of subtask {} has the key groups {range}, its own are {own}",
                        task.subtask
                    ));
                }
                Err(error) => return Some(error.message().to_owned()),
            }
            if *common[kind].get_or_insert(keys) != keys {
                return Some(
                    "its subtasks have different keys, mappings or numbers of key groups".to_owned(),
                );
            }
        }
    }
    None
}

/// Checks that all files of the checkpoint exist. Files of earlier checkpoints must also be shared and
/// registered.
pub(crate) fn check_files(
    checkpoint: &Checkpoint,
    storage: Option<&dyn Storage>,
    is_known: impl Fn(&str) -> bool,
) -> Result<()> {
    let fault = |message: String, file: &StateFile| {
        let message = format!("checkpoint {} {message}", checkpoint.id);
        Err(Error::new(ErrorKind::IllegalState, message).in_file(&file.name, None))
    };
    let mut own = BTreeSet::new();
    for file in checkpoint.files() {
        let StateData::File { path, .. } = &file.data else { continue };
        if file.created_by == checkpoint.id {
            if !own.insert(path) {
                return fault("names a file twice that belongs to one subtask".to_owned(), file);
            }
        } else if file.created_by > checkpoint.id || !file.shared {
            return fault(format!("names a file that belongs to checkpoint {} alone", file.created_by), file);
        } else if !is_known(path) {
            let message =
                format!("refers to a shared file of checkpoint {} that is not registered", file.created_by);
            return fault(message, file);
        }
    }
    let Some(storage) = storage else { return Ok(()) };
    match missing_file(checkpoint.files(), &list_folders_of(storage, checkpoint)?) {
        None => Ok(()),
        Some(missing) => {
            let message =
                format!("checkpoint {} names a file that is not there as it was written", checkpoint.id);
            Err(Error::new(ErrorKind::IllegalState, message).in_file(missing, None))
        }
    }
}

/// The files in all folders in which the checkpoint has files, with their lengths.
pub(crate) fn list_folders_of(
    storage: &dyn Storage,
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<String, u64>> {
    let folders: BTreeSet<&str> = checkpoint.files().filter_map(path_of).map(parent).collect();
    let mut there = BTreeMap::new();
    for folder in folders {
        there.extend(storage.list(folder)?.into_iter().map(|entry| (entry.path, entry.len)));
    }
    Ok(there)
}

/// The path of the file in the storage; `None` if its bytes are inline.
pub(crate) fn path_of(file: &StateFile) -> Option<&str> {
    match &file.data {
        StateData::File { path, .. } => Some(path),
        StateData::Inline(_) => None,
    }
}

/// The first of these files that does not exist with its length in `there`.
pub(crate) fn missing_file<'f>(
    mut files: impl Iterator<Item = &'f StateFile>,
    there: &BTreeMap<String, u64>,
) -> Option<&'f str> {
    files.find_map(|file| match &file.data {
        StateData::File { path, length } if there.get(path) != Some(length) => Some(&**path),
        _ => None,
    })
}
