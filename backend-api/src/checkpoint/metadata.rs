use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{OperatorStateHandle, RawKeyedHandle, RawOperatorHandle};
use crate::format::{seal, unseal};
use crate::handle::total;
use crate::{Error, ErrorKind, KeyedStateHandle, Result, SavepointFormat, StateFile, StateKey, Subtask};

/// Kind of the sealed container. `docs/formats.md` describes it.
const CONTAINER: u16 = 1;

/// One subtask's part of a checkpoint: everything it acknowledges to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// The operator's id: its name in [`Subtask`](crate::Subtask). A restore finds state by it, so it must be
    /// the same in all versions of a program (Flink's `uid`).
    pub operator: String,
    /// The subtask's number, from 0.
    pub subtask: u16,
    /// Number of subtasks of the operator.
    pub parallelism: u16,
    /// The keyed state; `None` if the subtask has none registered.
    pub keyed: Option<KeyedStateHandle>,
    /// The operator state: lists and broadcast maps.
    pub operator_state: Option<OperatorStateHandle>,
    /// Raw bytes per key group.
    pub raw_keyed: Option<RawKeyedHandle>,
    /// Raw bytes in partitions.
    pub raw_operator: Option<RawOperatorHandle>,
    /// Bytes that the engine lays out itself, such as the position of a source.
    pub properties: BTreeMap<String, Vec<u8>>,
}

impl TaskState {
    /// The acknowledgement of `subtask` with this keyed state.
    pub fn of<K: StateKey>(subtask: &Subtask<K>, keyed: Option<KeyedStateHandle>) -> Self {
        Self::new(subtask.operator(), subtask.index(), subtask.parallelism(), keyed)
    }

    /// As [`of`](Self::of), without a [`Subtask`].
    pub fn new(
        operator: impl Into<String>,
        subtask: u16,
        parallelism: u16,
        keyed: Option<KeyedStateHandle>,
    ) -> Self {
        Self {
            operator: operator.into(),
            subtask,
            parallelism,
            keyed,
            operator_state: None,
            raw_keyed: None,
            raw_operator: None,
            properties: BTreeMap::new(),
        }
    }

    /// True if there is state of any kind, even if it has no entries.
    pub fn has_state(&self) -> bool {
        self.keyed.is_some()
            || self.operator_state.is_some()
            || self.raw_keyed.is_some()
            || self.raw_operator.is_some()
            || !self.properties.is_empty()
    }

    /// All files of the task.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        let keyed = self.keyed.iter().flat_map(|handle| &handle.files);
        let operator = self.operator_state.iter().map(|handle| &handle.file);
        let raw_keyed = self.raw_keyed.iter().map(|handle| &handle.file);
        let raw_operator = self.raw_operator.iter().map(|handle| &handle.file);
        keyed.chain(operator).chain(raw_keyed).chain(raw_operator)
    }

    /// The same files, to change them.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut StateFile> {
        let keyed = self.keyed.iter_mut().flat_map(|handle| &mut handle.files);
        let operator = self.operator_state.iter_mut().map(|handle| &mut handle.file);
        let raw_keyed = self.raw_keyed.iter_mut().map(|handle| &mut handle.file);
        let raw_operator = self.raw_operator.iter_mut().map(|handle| &mut handle.file);
        keyed.chain(operator).chain(raw_keyed).chain(raw_operator)
    }

    /// Bytes of all files that a restore of the task needs.
    pub fn full_size(&self) -> u64 {
        total(self.files())
    }

    /// Bytes that checkpoint `id` wrote itself.
    pub fn delta_size(&self, id: u64) -> u64 {
        total(self.files().filter(|file| file.created_by == id))
    }

    /// Checks that the encoded acknowledgement has at most `limit` bytes.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size), naming both sizes.
    pub fn check_message_size(&self, limit: u64) -> Result<()> {
        let size = postcard::experimental::serialized_size(self).map_err(encoding)? as u64;
        if size <= limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Size,
            format!(
                "the acknowledgement of subtask {} of {:?} has {size} bytes, the limit of a message is {limit} bytes",
                self.subtask, self.operator
            ),
        ))
    }
}

/// A checkpoint: the acknowledgements of all subtasks. It exists once its metadata is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its id; ids increase.
    pub id: u64,
    /// The format, if it is a savepoint.
    pub savepoint: Option<SavepointFormat>,
    /// The acknowledgement of each subtask.
    pub tasks: Vec<TaskState>,
    /// Display names of operators, by their ids. They may change, and an operator may have none.
    pub operator_names: BTreeMap<String, String>,
    /// Bytes that the engine lays out itself.
    pub properties: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    /// A checkpoint of these acknowledgements.
    pub fn new(id: u64, tasks: Vec<TaskState>) -> Self {
        Self { id, savepoint: None, tasks, operator_names: BTreeMap::new(), properties: BTreeMap::new() }
    }

    /// All files that the checkpoint needs.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        self.tasks.iter().flat_map(TaskState::files)
    }

    /// The handles of all keyed state.
    pub fn handles(&self) -> impl Iterator<Item = &KeyedStateHandle> {
        self.tasks.iter().filter_map(|task| task.keyed.as_ref())
    }

    /// The max parallelism of the state of `operator`, if it has any.
    pub fn max_parallelism(&self, operator: &str) -> Option<u16> {
        self.handles().find(|handle| handle.operator == operator).map(|handle| handle.max_parallelism)
    }

    /// Bytes of all files that a restore needs, including those of earlier checkpoints.
    pub fn full_size(&self) -> u64 {
        total(self.files())
    }

    /// Bytes that this checkpoint wrote.
    pub fn delta_size(&self) -> u64 {
        total(self.files().filter(|file| file.created_by == self.id))
    }

    /// Bytes of state within the metadata.
    pub fn inline_size(&self) -> u64 {
        self.files().map(|file| file.data.inline_bytes()).fold(0, u64::saturating_add)
    }

    /// The bytes of a `_metadata` file.
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec), which does not occur.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let payload = postcard::to_allocvec(self).map_err(encoding)?;
        Ok(seal(CONTAINER, &payload))
    }

    /// Reads the bytes of a `_metadata` file. `path` is for the error.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the bytes are damaged;
    /// [`Unsupported`](ErrorKind::Unsupported) for a later version.
    pub fn decode(bytes: &[u8], path: &str) -> Result<Self> {
        let payload = unseal(CONTAINER, bytes, path)?;
        let damaged = |message: String| Error::new(ErrorKind::Corrupt, message).in_file(path, None);
        match postcard::take_from_bytes(payload) {
            Ok((checkpoint, [])) => Ok(checkpoint),
            Ok(_) => Err(damaged("bytes after the end of the checkpoint metadata".to_owned())),
            Err(error) => Err(damaged(format!("checkpoint metadata does not decode: {error}"))),
        }
    }
}

#[cold]
fn encoding(error: postcard::Error) -> Error {
    Error::new(ErrorKind::Codec, "checkpoint metadata does not encode").with_source(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{OperatorStateMeta, Redistribution};
    use super::*;
    use crate::{KeyGroupRange, StateData};

    fn file(name: &str, format: &str, data: StateData) -> StateFile {
        StateFile { name: name.to_owned(), format: format.to_owned(), created_by: 7, shared: false, data }
    }

    fn example() -> Checkpoint {
        let in_file = StateData::File { path: "j/chk-7/op-0-7".to_owned(), length: 300 };
        let keyed = KeyedStateHandle {
            format: "rows/1".to_owned(),
            checkpoint_id: 7,
            operator: "op".to_owned(),
            range: KeyGroupRange::new(0, 127).unwrap(),
            max_parallelism: 128,
            key_group_mapping: "xxh3".to_owned(),
            key_schema: "u8".to_owned(),
            files: vec![file("op-0-7", "rows/1", in_file)],
        };
        let state = OperatorStateMeta {
            name: "l".to_owned(),
            redistribution: Redistribution::Union,
            codecs: vec!["c".to_owned()],
            elements: 2,
            options: BTreeMap::new(),
        };
        let inline = |name| file(name, "f", StateData::Inline(vec![0xaa, 0xbb]));
        let task = TaskState {
            operator_state: Some(OperatorStateHandle {
                checkpoint_id: 7,
                states: vec![state],
                file: inline("o"),
            }),
            raw_keyed: Some(RawKeyedHandle {
                checkpoint_id: 7,
                range: keyed.range,
                max_parallelism: 128,
                file: inline("k"),
            }),
            raw_operator: Some(RawOperatorHandle { checkpoint_id: 7, partitions: 1, file: inline("p") }),
            properties: [("t".to_owned(), vec![1])].into(),
            ..TaskState::new("op", 0, 1, Some(keyed))
        };
        let operator_names = [("op".to_owned(), "Op!".to_owned())].into();
        Checkpoint { operator_names, ..Checkpoint::new(7, vec![task]) }
    }

    #[test]
    fn the_format_is_the_documented_one() {
        let bytes = example().encode().unwrap();
        assert_eq!(bytes, crate::documented_example(2));
        assert_eq!(Checkpoint::decode(&bytes, "m").unwrap(), example());
    }

    #[test]
    fn sizes_are_those_of_all_parts() {
        let mut checkpoint = example();
        let sizes = |of: &Checkpoint| (of.full_size(), of.delta_size(), of.inline_size());
        assert_eq!(sizes(&checkpoint), (306, 306, 6));
        checkpoint.id = 8;
        assert_eq!(sizes(&checkpoint), (306, 0, 6));
    }

    #[test]
    fn files_of_all_parts_of_a_task_are_listed() {
        let names: Vec<_> = example().files().map(|file| file.name.clone()).collect();
        assert_eq!(names, ["op-0-7", "o", "k", "p"]);
    }
}
