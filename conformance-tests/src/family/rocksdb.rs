use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{JobFolder, Result, StateKey, Storage};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions};
use tempfile::TempDir;

use super::{increments_in_files, local};
use crate::reference::job;
use crate::{Capabilities, Factory, Setup};

/// The RocksDB backend with a cache of `CACHE` bytes. `INCREMENTAL` is the default of the setting.
pub struct RocksDb<const INCREMENTAL: bool, const CACHE: usize> {
    storage: Arc<dyn Storage>,
    working: PathBuf,
    _folder: Option<TempDir>,
}

impl<const INCREMENTAL: bool, const CACHE: usize> Factory for RocksDb<INCREMENTAL, CACHE> {
    type Backend<K: StateKey> = RocksDbBackend<K>;

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = Self::in_folder(folder.path());
        Self { _folder: Some(folder), ..made.expect("it lies in a folder") }
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let (storage, working) = (local(&folder.join("checkpoints")), folder.join("working"));
        Some(Self { storage, working, _folder: None })
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<RocksDbOptions> {
        let storage = setup.storage.clone().unwrap_or_else(|| Arc::clone(&self.storage));
        let mut options = RocksDbOptions::new(storage, self.job(), self.working.clone());
        options = options.with_profile(Profile::Tiny).with_memory_budget(8 << 20)?.with_cache_bytes(CACHE);
        options = options.with_incremental(setup.incremental.unwrap_or(INCREMENTAL));
        options = options.with_claim_restored(setup.claim_restored.unwrap_or(false));
        if let Some(bytes) = setup.inline_max {
            options = options.with_inline_max(bytes)?;
        }
        if let Some(bytes) = setup.entry_bytes_max {
            options = options.with_entry_bytes_max(bytes)?;
        }
        if setup.compression == Some(true) {
            options = options.with_compression(Compression::Zstd(1));
        }
        Ok(options)
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::clone(&self.storage))
    }

    fn job(&self) -> JobFolder {
        job()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { entry_bytes_max: true, ..increments_in_files() }
    }

    fn working_folder(&self) -> Option<PathBuf> {
        Some(self.working.clone())
    }
}
