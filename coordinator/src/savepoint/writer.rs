use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::storage::parent;
use backend_api::{
    Cancel, Checkpoint, CheckpointTarget, Error, ErrorKind, METADATA_FILE, Result, SavepointFormat, Storage,
    TaskState,
};

use super::{Savepoint, join, paths_mut};
use crate::check::{check_files, check_tasks, path_of};

/// Names tried for a new folder, as in Flink.
const TRIES: usize = 10;

/// Running savepoints of a job: creates their folders, writes their metadata, and removes those that fail.
#[derive(Debug)]
pub struct SavepointWriter {
    storage: Arc<dyn Storage>,
    job: String,
    /// The folders of all incomplete savepoints, by id. Failed ones are kept, so that late files can be
    /// deleted.
    folders: BTreeMap<u64, Arc<str>>,
}

impl SavepointWriter {
    /// Writes the savepoints of `job` to `storage`, from which other jobs restore them.
    pub fn new(storage: Arc<dyn Storage>, job: impl Into<String>) -> Self {
        Self { storage, job: job.into(), folders: BTreeMap::new() }
    }

    /// The storage that savepoints go to.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Begins savepoint `id`, and returns a new folder within `target`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an invalid `target`.
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if no name is free. [`Io`](ErrorKind::Io).
    pub fn begin(&mut self, id: u64, target: &str) -> Result<Arc<str>> {
        let target = target.trim_end_matches('/');
        for _ in 0..TRIES {
            let folder = join(target, &self.new_name()?);
            if self.storage.list(&folder)?.is_empty() {
                let folder: Arc<str> = folder.into();
                self.folders.insert(id, Arc::clone(&folder));
                return Ok(folder);
            }
        }
        let message = format!("{TRIES} names of folders were tried for a savepoint, and all are taken");
        Err(Error::new(ErrorKind::AlreadyExists, message).in_file(target, None))
    }

    /// The target of tasks for the savepoint in `folder`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an invalid path.
    pub fn target(&self, folder: &str) -> Result<CheckpointTarget> {
        CheckpointTarget::savepoint(Arc::clone(&self.storage), folder)
    }

    /// Completes the savepoint by writing its metadata. Nothing in this crate deletes it afterwards.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if it cannot be restored, because a subtask is missing or a
    /// file is not in the folder. [`Io`](ErrorKind::Io). The savepoint is [aborted](Self::abort) then.
    pub fn complete(
        &mut self,
        mut savepoint: Checkpoint,
        folder: &str,
        format: SavepointFormat,
    ) -> Result<Savepoint> {
        let written = self.write(&mut savepoint, folder, format);
        match written {
            Ok(()) => {
                self.folders.remove(&savepoint.id);
                Savepoint::open(Arc::clone(&self.storage), folder)
            }
            Err(error) => {
                self.abort(savepoint.id);
                Err(error)
            }
        }
    }

    fn write(&self, savepoint: &mut Checkpoint, folder: &str, format: SavepointFormat) -> Result<()> {
        savepoint.savepoint = Some(format);
        check_tasks(savepoint)?;
        check_files(savepoint, Some(&*self.storage), |_| false)?;
        for path in paths_mut(savepoint) {
            if parent(path) != folder {
                let message = format!("the savepoint in {folder:?} names a file that is elsewhere");
                return Err(Error::new(ErrorKind::IllegalState, message).in_file(&*path, None));
            }
        }
        let mut movable = savepoint.clone();
        // The root of a storage has no separator behind it.
        let above = if folder.is_empty() { 0 } else { folder.len() + 1 };
        for path in paths_mut(&mut movable) {
            path.drain(..above);
        }
        let mut file = self.storage.create(&join(folder, METADATA_FILE), &Cancel::new())?;
        file.write(&movable.encode()?)?;
        file.finish()
    }

    /// Aborts savepoint `id`, and deletes its folder. Returns false if it was not begun or is complete.
    pub fn abort(&self, id: u64) -> bool {
        let Some(folder) = self.folders.get(&id) else { return false };
        if let Err(error) = self.storage.delete_folder(folder) {
            tracing::warn!(%error, folder = &**folder, "a failed savepoint was not deleted");
        }
        true
    }

    /// Deletes state that was written for savepoint `id` and belongs to none, by a late or foreign task.
    /// Returns the same as [`abort`](Self::abort).
    pub fn discard(&self, id: u64, states: &[TaskState]) -> bool {
        let Some(folder) = self.folders.get(&id) else { return false };
        let files = states.iter().flat_map(TaskState::files).filter_map(path_of);
        for path in files.filter(|path| parent(path) == &**folder) {
            if let Err(error) = self.storage.delete(path) {
                tracing::warn!(%error, path, "a file of a failed savepoint was not deleted");
            }
        }
        true
    }

    /// `savepoint-<first 6 of the job>-<random>`, as in Flink.
    fn new_name(&self) -> Result<String> {
        let random = getrandom::u64().map_err(|error| {
            Error::new(ErrorKind::Io, "the system has no random numbers").with_source(error.to_string())
        })?;
        let job: String = self.job.chars().take(6).collect();
        Ok(format!("savepoint-{job}-{:012x}", random >> 16))
    }
}
