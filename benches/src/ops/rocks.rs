use std::rc::Rc;

use state_backends::prelude::*;
use tempfile::TempDir;

use super::Family;

/// The [`RocksDbBackend`], in a folder of its own.
#[derive(Clone, Debug)]
pub struct Rocks {
    options: RocksDbOptions,
    folder: Rc<TempDir>,
}

impl Rocks {
    /// Incremental checkpoints, and a memory budget in bytes. `cache` of it is for decoded values; the default if
    /// `None`.
    ///
    /// # Errors
    /// If the budget is too small, or the temporary folder cannot be made.
    pub fn new(budget: usize, cache: Option<usize>) -> Result<Self> {
        let folder = Rc::new(TempDir::new()?);
        let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
        let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("bench")?, working)?;
        let mut options = options.with_memory_budget(budget)?.with_incremental(true);
        if let Some(cache) = cache {
            options = options.with_cache_bytes(cache);
        }
        Ok(Self { options, folder })
    }

    /// The options of its backends.
    pub fn options(&self) -> &RocksDbOptions {
        &self.options
    }

    /// Where the checkpoints are.
    pub fn checkpoints(&self) -> std::path::PathBuf {
        self.folder.path().join("checkpoints")
    }
}

impl Family for Rocks {
    type Backend<K: StateKey> = RocksDbBackend<K>;

    fn open<K: StateKey>(
        &self,
        subtask: Subtask<K>,
        restore: &[KeyedStateHandle],
    ) -> Result<RocksDbBackend<K>> {
        RocksDbBackend::open(&self.options, subtask, restore)
    }
}
