use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::{seal, unseal};
use crate::{Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Result};

/// Kind of the sealed container; see `docs/formats.md`.
const CONTAINER: u16 = 1;

/// All that one subtask acknowledges to the coordinator: its part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// The operator's name.
    pub operator: String,
    /// The subtask's number, from 0.
    pub subtask: u16,
    /// Number of subtasks of the operator.
    pub parallelism: u16,
    /// The keyed state; `None` if the subtask has none registered.
    pub keyed: Option<KeyedStateHandle>,
    /// Bytes that the engine lays out itself, such as the position of a source.
    pub properties: BTreeMap<String, Vec<u8>>,
}

impl TaskState {
    /// The acknowledgement of a subtask with that keyed state.
    pub fn new(
        operator: impl Into<String>,
        subtask: u16,
        parallelism: u16,
        keyed: Option<KeyedStateHandle>,
    ) -> Self {
        Self { operator: operator.into(), subtask, parallelism, keyed, properties: BTreeMap::new() }
    }

    /// Checks that the whole acknowledgement, as it is sent, has at most `limit` bytes.
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

/// A checkpoint: what all subtasks acknowledged. It exists once its metadata is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its id; ids increase.
    pub id: u64,
    /// What each subtask acknowledged.
    pub tasks: Vec<TaskState>,
    /// Bytes that the engine lays out itself.
    pub properties: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    /// A checkpoint of these acknowledgements.
    pub fn new(id: u64, tasks: Vec<TaskState>) -> Self {
        Self { id, tasks, properties: BTreeMap::new() }
    }

    /// The handles of all keyed state.
    pub fn handles(&self) -> impl Iterator<Item = &KeyedStateHandle> {
        self.tasks.iter().filter_map(|task| task.keyed.as_ref())
    }

    /// What a subtask of `operator` with those key groups starts from: every handle that has some of them, cut to
    /// them.
    pub fn handles_for(&self, operator: &str, range: KeyGroupRange) -> Vec<KeyedStateHandle> {
        self.handles()
            .filter(|handle| handle.operator == operator)
            .filter_map(|handle| handle.cut(range))
            .collect()
    }

    /// The max parallelism that the state of `operator` was written with, if it has any.
    pub fn max_parallelism(&self, operator: &str) -> Option<u16> {
        self.handles().find(|handle| handle.operator == operator).map(|handle| handle.max_parallelism)
    }

    /// Bytes that a restore needs.
    pub fn full_size(&self) -> u64 {
        self.handles().fold(0, |sum: u64, handle| sum.saturating_add(handle.full_size()))
    }

    /// Bytes that this checkpoint wrote itself.
    pub fn delta_size(&self) -> u64 {
        self.handles().fold(0, |sum: u64, handle| sum.saturating_add(handle.delta_size()))
    }

    /// Bytes of state within the metadata.
    pub fn inline_size(&self) -> u64 {
        self.handles().fold(0, |sum: u64, handle| sum.saturating_add(handle.inline_size()))
    }

    /// The bytes of a `_metadata` file.
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec), which does not occur.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let payload = postcard::to_allocvec(self).map_err(encoding)?;
        Ok(seal(CONTAINER, &payload))
    }

    /// Reads the bytes of a `_metadata` file; `path` is for the error.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if a single bit is not what was written;
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
