//! Savepoints: checkpoints that belong to the user, each in its own folder, which can be moved.

mod writer;

use std::sync::Arc;

use backend_api::storage::{check_folder, check_path, parent};
use backend_api::{Checkpoint, Error, ErrorKind, METADATA_FILE, Result, StateData, Storage, TaskState};

use crate::check::{list_folders_of, missing_file, path_of};

pub use writer::SavepointWriter;

/// The owner of the checkpoint that a job starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClaimMode {
    /// The user (Flink: `NO_CLAIM`). The job deletes nothing of it, and does not need it once its own first
    /// checkpoint is complete.
    #[default]
    NoClaim,
    /// The job (Flink: `CLAIM`). It may build on it, and deletes it like its own checkpoints.
    Claim,
}

/// A savepoint or retained checkpoint at a place named by a user.
#[derive(Clone, Debug)]
pub struct Savepoint {
    storage: Arc<dyn Storage>,
    metadata: String,
    checkpoint: Checkpoint,
}

impl Savepoint {
    /// Opens the one at `pointer`, a path within `storage`: its folder, or its metadata under any name. All
    /// its files must exist.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), with the path, if it does not exist or the folder has no metadata.
    /// [`Corrupt`](ErrorKind::Corrupt) if the metadata is damaged, or a file is missing or has another
    /// length. [`InvalidArgument`](ErrorKind::InvalidArgument) for an invalid path. [`Io`](ErrorKind::Io).
    pub fn open(storage: Arc<dyn Storage>, pointer: &str) -> Result<Self> {
        let pointer = pointer.trim_end_matches('/');
        check_folder(pointer)?;
        let metadata = find_metadata(&*storage, pointer)?;
        let file = storage.open(&metadata)?;
        let length = usize::try_from(file.len()).map_err(|_| {
            Error::new(ErrorKind::Size, "the metadata is larger than memory").in_file(&metadata, None)
        })?;
        let mut checkpoint = Checkpoint::decode(&file.read(0, length)?, &metadata)?;
        if checkpoint.savepoint.is_some() {
            let folder = parent(&metadata).to_owned();
            for path in paths_mut(&mut checkpoint) {
                // Paths from a file must not lead out of the folder.
                check_path(path).map_err(|error| {
                    Error::new(ErrorKind::Corrupt, error.message()).in_file(&metadata, None)
                })?;
                *path = join(&folder, path);
            }
        }
        let there = list_folders_of(&*storage, &checkpoint)?;
        if let Some(missing) = missing_file(checkpoint.files(), &there) {
            let message = format!("{metadata} names a file that is not there as it was written");
            return Err(Error::new(ErrorKind::Corrupt, message).in_file(missing, None));
        }
        Ok(Self { storage, metadata, checkpoint })
    }

    /// The checkpoint that a job starts from. Paths of its files are within the storage.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Path of the metadata.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The folder, `""` for the root of the storage.
    pub fn folder(&self) -> &str {
        parent(&self.metadata)
    }

    /// The storage that it is in.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Deletes the savepoint: first its metadata, so that it never looks complete without its files, then its
    /// files. Other files in the folder stay.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState), and nothing is deleted, for a checkpoint of a job, whose
    /// files other checkpoints may use. [`Io`](ErrorKind::Io): the first error. The other files are still
    /// deleted.
    pub fn dispose(self) -> Result<()> {
        let Self { storage, metadata, checkpoint } = self;
        if checkpoint.savepoint.is_none() {
            let message = "this is a checkpoint of a job and no savepoint: its store deletes it";
            return Err(Error::new(ErrorKind::IllegalState, message).in_file(&metadata, None));
        }
        let mut result = Ok(());
        for path in std::iter::once(&*metadata).chain(checkpoint.files().filter_map(path_of)) {
            result = result.and(storage.delete(path));
        }
        result
    }
}

/// The metadata at `pointer`, or in the folder `pointer`.
fn find_metadata(storage: &dyn Storage, pointer: &str) -> Result<String> {
    let within = join(pointer, METADATA_FILE);
    let siblings = storage.list(pointer)?;
    if siblings.iter().any(|entry| entry.path == within) {
        return Ok(within);
    }
    let is_file =
        || -> Result<bool> { Ok(storage.list(parent(pointer))?.iter().any(|entry| entry.path == pointer)) };
    if siblings.is_empty() && !pointer.is_empty() && is_file()? {
        return Ok(pointer.to_owned());
    }
    let message = match siblings.is_empty() {
        true => format!("there is no savepoint at {pointer:?}: no such file or folder"),
        false => {
            format!("the folder {pointer:?} has no file {METADATA_FILE}: it is no savepoint or checkpoint")
        }
    };
    Err(Error::new(ErrorKind::NotFound, message).in_file(pointer, None))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The paths of all files that are not inline.
fn paths_mut(checkpoint: &mut Checkpoint) -> impl Iterator<Item = &mut String> {
    checkpoint.tasks.iter_mut().flat_map(TaskState::files_mut).filter_map(|file| match &mut file.data {
        StateData::File { path, .. } => Some(path),
        StateData::Inline(_) => None,
    })
}
