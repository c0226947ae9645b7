//! The checkpoints in a job's folder, for reading only.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::storage::parent;
use backend_api::{Checkpoint, Error, ErrorKind, JobFile, JobFolder, Result, Storage};

use super::claims;
use crate::check::{list_folders_of, missing_file, path_of};

/// How often reading is retried if a checkpoint is deleted meanwhile.
const LOOKS: usize = 8;

/// The checkpoints in a job's folder, read without changing anything. For tools, and for jobs that start from another job's
/// checkpoint. The job may be running.
#[derive(Clone, Debug)]
pub struct JobContents {
    complete: Vec<Checkpoint>,
    partly_deleted: Vec<Checkpoint>,
    /// Paths of all checkpoint files, including metadata.
    files: Vec<String>,
    /// The files that complete checkpoints need, including their metadata.
    needed: BTreeSet<String>,
    highest_id: u64,
}

impl JobContents {
    /// Reads the metadata of all checkpoints, and lists the files.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the metadata of a checkpoint is damaged, or if a file of the newest one is missing;
    /// [`Io`](ErrorKind::Io).
    pub fn read(storage: &dyn Storage, job: &JobFolder) -> Result<Self> {
        for _ in 1..LOOKS {
            match Self::look(storage, job) {
                // A running job subsumed a checkpoint between listing and reading.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Self::look(storage, job)
    }

    fn look(storage: &dyn Storage, job: &JobFolder) -> Result<Self> {
        let own = storage.list(job.path())?.into_iter().map(|entry| (entry.path, entry.len));
        let mut all: BTreeMap<String, u64> = own.collect();
        let ours = || all.keys().filter_map(|path| job.file_of(path));
        let highest_id = ours().map(|file| file.id()).max().unwrap_or(0);
        let places = ours().filter_map(|file| match file {
            JobFile::Metadata(id) => Some((id, job.metadata(id))),
            JobFile::Claimed(id) => Some((id, job.claimed(id))),
            _ => None,
        });
        let places: BTreeMap<u64, String> = places.collect();
        let files = all.keys().filter(|path| is_of_a_checkpoint(job, path)).cloned().collect();
        let (mut complete, mut partly_deleted) = (Vec::new(), Vec::new());
        // Newest first. An older checkpoint with missing files was partly restored by a crash during its
        // deletion.
        for (id, path) in places.into_iter().rev() {
            let checkpoint = read_metadata(storage, &path, id)?;
            if checkpoint.files().filter_map(path_of).any(|path| !all.contains_key(path)) {
                all.extend(list_folders_of(storage, &checkpoint)?);
            }
            if let Some(metadata) = claims::metadata_of(&checkpoint) {
                let there = storage.list(parent(metadata))?;
                if there.iter().all(|entry| entry.path != metadata) {
                    partly_deleted.push(checkpoint);
                    continue;
                }
            }
            match missing_file(checkpoint.files(), &all) {
                None => complete.push(checkpoint),
                Some(missing) if complete.is_empty() => {
                    let message = format!("checkpoint {id} names a file that is not there as it was written");
                    return Err(Error::new(ErrorKind::Corrupt, message).in_file(missing, None));
                }
                Some(_) => partly_deleted.push(checkpoint),
            }
        }
        complete.reverse();
        let named = complete.iter().flat_map(Checkpoint::files).filter_map(path_of).map(str::to_owned);
        let needed = named.chain(complete.iter().map(|checkpoint| job.metadata(checkpoint.id))).collect();
        Ok(Self { complete, partly_deleted, files, needed, highest_id })
    }

    /// The complete checkpoints, oldest first.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.complete
    }

    /// The newest complete checkpoint.
    pub fn latest(&self) -> Option<&Checkpoint> {
        self.complete.last()
    }

    /// The highest id that was used or reserved, or 0.
    pub fn highest_id(&self) -> u64 {
        self.highest_id
    }

    /// Checkpoint files that no complete checkpoint needs: from failed checkpoints, or from those that a running job is writing.
    pub fn unneeded(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|path| !self.needed.contains(*path)).map(String::as_str)
    }

    /// Older checkpoints that exist only in part, newest first. A crash undid part of their deletion.
    pub(super) fn partly_deleted(&self) -> &[Checkpoint] {
        &self.partly_deleted
    }

    pub(super) fn into_complete(self) -> Vec<Checkpoint> {
        self.complete
    }
}

fn is_of_a_checkpoint(job: &JobFolder, path: &str) -> bool {
    matches!(job.file_of(path), Some(JobFile::Metadata(_) | JobFile::Private(_) | JobFile::Shared(_)))
}

fn read_metadata(storage: &dyn Storage, path: &str, id: u64) -> Result<Checkpoint> {
    let file = storage.open(path)?;
    let length = usize::try_from(file.len())
        .map_err(|_| Error::new(ErrorKind::Size, "the metadata is larger than memory").in_file(path, None))?;
    let checkpoint = Checkpoint::decode(&file.read(0, length)?, path)?;
    if checkpoint.id == id {
        return Ok(checkpoint);
    }
    let message = format!("the metadata is that of checkpoint {}", checkpoint.id);
    Err(Error::new(ErrorKind::Corrupt, message).in_file(path, None))
}
