//! State handles: where the state of one subtask is, small enough to send around.

use serde::{Deserialize, Serialize};

use crate::format::CheckpointReader;
use crate::storage::{Bytes, Storage, StorageFile};
use crate::{Error, ErrorKind, KeyGroupRange, Result};

/// Where the bytes of one state file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateData {
    /// In the handle itself, and so in the checkpoint's metadata.
    Inline(Vec<u8>),
    /// In a file of the storage.
    File {
        /// Path within the storage.
        path: String,
        /// Length in bytes.
        length: u64,
    },
}

impl StateData {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Name that no other file of the job has, whether its bytes are in a file or inline.
    pub name: String,
    /// Format of its bytes, such as [`row::FORMAT`](crate::row::FORMAT).
    pub format: String,
    /// The checkpoint that wrote it.
    pub created_by: u64,
    /// True if later checkpoints may use it too; if not, it goes with its checkpoint.
    pub shared: bool,
    /// Where it is.
    pub data: StateData,
}

/// The keyed state of one subtask at one checkpoint: what a [`SnapshotTask`](crate::SnapshotTask) gives and
/// [`StateBackend::open`](crate::StateBackend::open) takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedStateHandle {
    /// Format that a backend must know to restore from it. Backends that can read one another's checkpoints have the
    /// same. The files may be of other formats too.
    pub format: String,
    /// The checkpoint.
    pub checkpoint_id: u64,
    /// The operator's name.
    pub operator: String,
    /// The key groups that a restore takes from it.
    pub range: KeyGroupRange,
    /// Number of key groups of the operator.
    pub max_parallelism: u16,
    /// Identity of the mapping from keys to groups.
    pub key_group_mapping: String,
    /// Schema of the keys.
    pub key_schema: String,
    /// The files, in the order in which they apply: the oldest first.
    pub files: Vec<StateFile>,
}

impl KeyedStateHandle {
    /// The same files with only those key groups that lie in `range`; `None` if there are none.
    pub fn cut(&self, range: KeyGroupRange) -> Option<Self> {
        let range = self.range.intersection(range)?;
        Some(Self { range, ..self.clone() })
    }

    /// Bytes that a restore needs: all files, whoever wrote them.
    pub fn full_size(&self) -> u64 {
        total(self.files.iter())
    }

    /// Bytes that this checkpoint wrote itself.
    pub fn delta_size(&self) -> u64 {
        let own = |file: &&StateFile| file.created_by == self.checkpoint_id;
        total(self.files.iter().filter(own))
    }

    /// Bytes of state that the handle itself carries.
    pub fn inline_size(&self) -> u64 {
        let inline = |file: &&StateFile| matches!(file.data, StateData::Inline(_));
        total(self.files.iter().filter(inline))
    }

    /// Deletes the files that this checkpoint wrote, shared ones too: for a handle that never became part of a
    /// completed checkpoint. Files of earlier checkpoints stay. Safe to call again.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io): the first one; the other files are tried all the same.
    pub fn discard(&self, storage: &dyn Storage) -> Result<()> {
        let mut result = Ok(());
        for file in self.files.iter().filter(|file| file.created_by == self.checkpoint_id) {
            if let StateData::File { path, .. } = &file.data {
                result = result.and(storage.delete(path));
            }
        }
        result
    }
}

/// Bytes of all files; lengths out of a file may add up to anything.
fn total<'f>(files: impl Iterator<Item = &'f StateFile>) -> u64 {
    files.fold(0, |sum: u64, file| sum.saturating_add(file.data.length()))
}

impl StateFile {
    /// Opens the file and checks its two ends; its rows are checked as they are read.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io); [`Corrupt`](ErrorKind::Corrupt), also if the file has
    /// another length than it was written with; [`InvalidArgument`](ErrorKind::InvalidArgument) if it lies in a
    /// storage and none is given.
    pub fn open(&self, storage: Option<&dyn Storage>) -> Result<CheckpointReader> {
        CheckpointReader::open(self.open_bytes(storage)?)
    }

    /// Opens the file as what bytes it has, of which none is checked, but for their number.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_bytes(&self, storage: Option<&dyn Storage>) -> Result<Box<dyn StorageFile>> {
        Ok(match &self.data {
            StateData::Inline(bytes) => Box::new(Bytes::new(&self.name, bytes.clone())),
            StateData::File { path, length } => {
                let storage = storage.ok_or_else(|| {
                    let message = "the state is in a file, and the backend was given no storage";
                    Error::new(ErrorKind::InvalidArgument, message).in_file(path, None)
                })?;
                let file = storage.open(path)?;
                if file.len() != *length {
                    let message = format!("the file has {} bytes, {length} were written", file.len());
                    return Err(Error::new(ErrorKind::Corrupt, message).in_file(path, Some(file.len())));
                }
                file
            }
        })
    }
}
