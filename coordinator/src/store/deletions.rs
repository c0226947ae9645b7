//! What is to be deleted, in an order that a crash may interrupt at any time.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{JobFile, JobFolder, Result, Storage};

use super::ids::Ids;
use crate::SharedStateRegistry;

/// What is due to be deleted. What cannot be deleted yet holds back only what must come after it: the metadata of a
/// checkpoint comes before the files that it names, so that it is never taken for whole when it is not.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Checkpoints whose metadata may be there, and the files that belong to them alone.
    metadata: BTreeMap<u64, BTreeSet<String>>,
    /// Checkpoints without metadata whose shared files are still registered.
    registered: BTreeSet<u64>,
    /// Checkpoints that have failed, and may have files that no handle names.
    unnamed: BTreeSet<u64>,
    files: BTreeSet<String>,
}

impl Deletions {
    /// Checkpoint `id` is to go, whose metadata may be there.
    pub fn add_checkpoint(&mut self, id: u64, private_files: impl IntoIterator<Item = String>) {
        self.metadata.entry(id).or_default().extend(private_files);
    }

    /// Checkpoint `id` has failed without metadata.
    pub fn add_failed(&mut self, id: u64, private_files: impl IntoIterator<Item = String>) {
        self.files.extend(private_files);
        self.registered.insert(id);
    }

    /// Tasks may have written files for checkpoint `id` that the store was not told of.
    pub fn add_unnamed(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.unnamed.extend(ids);
    }

    /// Files that no checkpoint needs.
    pub fn add_files(&mut self, files: impl IntoIterator<Item = String>) {
        self.files.extend(files);
    }

    /// Nothing is to be deleted any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// How many files and checkpoints are to go.
    pub fn len(&self) -> usize {
        self.metadata.len() + self.unnamed.len() + self.files.len()
    }

    /// Deletes what is due and can be deleted now.
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
    }
}

/// The files that were written for checkpoint `id`. Those that were not finished are removed.
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
