//! Deletes files in an order that is safe against crashes.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{JobFile, JobFolder, Result, Storage};

use super::ids::Ids;
use crate::SharedStateRegistry;

/// Pending deletions. A failed one holds back only those that must come after it. The metadata of a
/// checkpoint is deleted before its files, so a checkpoint without its files never looks complete.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Checkpoints whose metadata may exist, with the files that only they need.
    metadata: BTreeMap<u64, BTreeSet<String>>,
    /// Claimed checkpoints, which lie elsewhere.
    claimed: BTreeMap<u64, Claimed>,
    /// Checkpoints without metadata whose shared files are still registered.
    registered: BTreeSet<u64>,
    /// Failed checkpoints, which may have files that no handle names.
    unnamed: BTreeSet<u64>,
    files: BTreeSet<String>,
}

/// The copy of its metadata goes last, so that a crash does not forget what is left.
#[derive(Debug)]
struct Claimed {
    metadata: String,
    private: BTreeSet<String>,
    is_released: bool,
}

impl Deletions {
    /// Deletes checkpoint `id`, whose metadata may exist.
    pub fn add_checkpoint(&mut self, id: u64, private_files: impl IntoIterator<Item = String>) {
        self.metadata.entry(id).or_default().extend(private_files);
    }

    /// Deletes the claimed checkpoint `id`, whose metadata is the file `metadata`.
    pub fn add_claimed(&mut self, id: u64, metadata: &str, private_files: impl IntoIterator<Item = String>) {
        let (metadata, private) = (metadata.to_owned(), private_files.into_iter().collect());
        self.claimed.insert(id, Claimed { metadata, private, is_released: false });
    }

    /// Deletes checkpoint `id`, which failed before its metadata was written.
    pub fn add_failed(&mut self, id: u64, private_files: impl IntoIterator<Item = String>) {
        self.files.extend(private_files);
        self.registered.insert(id);
    }

    /// Deletes files of checkpoint `id` that the store does not know.
    pub fn add_unnamed(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.unnamed.extend(ids);
    }

    /// Deletes files that no checkpoint needs.
    pub fn add_files(&mut self, files: impl IntoIterator<Item = String>) {
        self.files.extend(files);
    }

    /// Forgets all deletions.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// True if nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.registered.is_empty()
    }

    /// Number of files and checkpoints to delete.
    pub fn len(&self) -> usize {
        self.metadata.len() + self.claimed.len() + self.unnamed.len() + self.files.len()
    }

    /// Deletes as much as possible.
    pub fn run(
        &mut self,
        storage: Option<&dyn Storage>,
        job: &JobFolder,
        ids: &Ids,
        registry: &mut SharedStateRegistry,
    ) {
        let delete = |path: &str| storage.is_none_or(|storage| succeeded(path, storage.delete(path)));
        self.metadata.retain(|&id, private| {
            let gone = delete(&job.metadata(id));
            if gone {
                self.files.append(private);
                self.registered.insert(id);
            }
            !gone
        });
        for (&id, claimed) in &mut self.claimed {
            if delete(&claimed.metadata) {
                claimed.private.retain(|path| !delete(path));
                // Once: a later checkpoint has no other of its id.
                if !std::mem::replace(&mut claimed.is_released, true) {
                    self.registered.insert(id);
                }
            }
        }
        self.registered.retain(|&id| {
            let held = ids.is_held(id);
            if !held {
                self.files.extend(registry.release(id));
            }
            held
        });
        self.unnamed.retain(|&id| {
            match storage.map_or_else(|| Ok(Vec::new()), |storage| unnamed(storage, job, id)) {
                Ok(found) => {
                    self.files.extend(found);
                    false
                }
                Err(error) => !succeeded(&job.checkpoint(id), Err(error)),
            }
        });
        self.files.retain(|path| !registry.is_used(path) && !delete(path));
        self.claimed.retain(|&id, claimed| {
            let is_gone = claimed.is_released && claimed.private.is_empty() && !self.registered.contains(&id);
            !(is_gone && delete(&job.claimed(id)))
        });
    }
}

/// The files of checkpoint `id`. Removes unfinished ones.
fn unnamed(storage: &dyn Storage, job: &JobFolder, id: u64) -> Result<Vec<String>> {
    let folder = job.checkpoint(id);
    storage.sweep(&folder)?;
    let mut found = storage.list(&folder)?;
    found.extend(storage.list(&job.shared())?);
    let of_checkpoint = |path: &String| match job.file_of(path) {
        Some(JobFile::Private(name) | JobFile::Shared(name)) => name.checkpoint_id == id,
        _ => false,
    };
    Ok(found.into_iter().map(|entry| entry.path).filter(of_checkpoint).collect())
}

fn succeeded(path: &str, result: Result<()>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(%error, path, "could not be deleted yet");
    }
    result.is_ok()
}
