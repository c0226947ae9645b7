//! State handles: small, serializable descriptions of where the state of one subtask is.

use serde::{Deserialize, Serialize};

use crate::format::CheckpointReader;
use crate::storage::{Bytes, Storage, StorageFile};
use crate::{Error, ErrorKind, KeyGroupRange, Result};

/// Location of the bytes of one state file.
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

    /// Bytes that are in the handle itself.
    pub fn inline_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File { .. } => 0,
        }
    }
}

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Name that no other file of the job has, inline or not.
    pub name: String,
    /// Format of its bytes, such as [`row::FORMAT`](crate::row::FORMAT).
    pub format: String,
    /// The checkpoint that wrote it.
    pub created_by: u64,
    /// True if later checkpoints may use it too. Otherwise it is deleted with its checkpoint.
    pub shared: bool,
    /// Its bytes, or the file that has them.
    pub data: StateData,
}

/// The keyed state of one subtask at one checkpoint. A [`SnapshotTask`](crate::SnapshotTask) returns it, and
/// [`StateBackend::open`](crate::StateBackend::open) takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedStateHandle {
    /// Format that a backend must know to restore from it. Backends that can read each other's checkpoints
    /// share it. The files may have other formats too.
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
    /// The files, in the order in which they apply, oldest first.
    pub files: Vec<StateFile>,
}

impl KeyedStateHandle {
    /// The same files restricted to the key groups in `range`. `None` if there are none.
    pub fn cut(&self, range: KeyGroupRange) -> Option<Self> {
        let range = self.range.intersection(range)?;
        Some(Self { range, ..self.clone() })
    }

    /// Bytes that a restore reads: all files, including those of earlier checkpoints.
    pub fn full_size(&self) -> u64 {
        total(self.files.iter())
    }

    /// Bytes that this checkpoint wrote itself.
    pub fn delta_size(&self) -> u64 {
        let own = |file: &&StateFile| file.created_by == self.checkpoint_id;
        total(self.files.iter().filter(own))
    }

    /// Bytes of inline state.
    pub fn inline_size(&self) -> u64 {
        self.files.iter().map(|file| file.data.inline_bytes()).fold(0, u64::saturating_add)
    }

    /// Deletes the files that this checkpoint wrote, including shared ones. For a handle that did not become
    /// part of a completed checkpoint. Files of earlier checkpoints stay. Idempotent.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io): the first error. The other files are still deleted.
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

/// Bytes of all files. Saturating, since lengths from a file can have any sum.
pub(crate) fn total<'f>(files: impl Iterator<Item = &'f StateFile>) -> u64 {
    files.fold(0, |sum: u64, file| sum.saturating_add(file.data.length()))
}

impl StateFile {
    /// Opens the file and checks its header and index. Rows are checked when they are read.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io). [`Corrupt`](ErrorKind::Corrupt), also for a
    /// file of the wrong length. [`InvalidArgument`](ErrorKind::InvalidArgument) if it is in a storage and
    /// none is given.
    pub fn open(&self, storage: Option<&dyn Storage>) -> Result<CheckpointReader> {
        CheckpointReader::open(self.open_bytes(storage)?)
    }

    /// Opens the file without checking its contents, except for its length.
    ///
    /// # Errors
    /// Same as [`open`](Self::open).
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
