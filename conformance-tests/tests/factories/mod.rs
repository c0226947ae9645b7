//! The factories of the filesystem backend, each world in a folder of its own.

use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{JobFolder, Result, StateKey, Storage};
use backend_fs::{FsBackend, FsOptions, LocalStorage};
use conformance_tests::{Capabilities, Factory, Setup};
use tempfile::TempDir;

/// The filesystem backend; checkpoints are incremental, or not, where a case leaves that open.
pub struct Fs<const INCREMENTAL: bool> {
    storage: Arc<dyn Storage>,
    _folder: TempDir,
}

impl<const INCREMENTAL: bool> Factory for Fs<INCREMENTAL> {
    type Backend<K: StateKey> = FsBackend<K>;

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = LocalStorage::open(folder.path()).expect("a storage");
        Self { storage: Arc::new(storage), _folder: folder }
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<FsOptions> {
        let storage = setup.storage.clone().unwrap_or_else(|| Arc::clone(&self.storage));
        let mut options = FsOptions::new(storage, self.job());
        options = options.incremental(setup.incremental.unwrap_or(INCREMENTAL));
        options = options.claim_restored(setup.claim_restored.unwrap_or(false));
        if let Some(bytes) = setup.inline_max {
            options = options.inline_max(bytes)?;
        }
        if setup.compression == Some(true) {
            options = options.compression(Compression::Zstd(1));
        }
        Ok(options)
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::clone(&self.storage))
    }

    fn job(&self) -> JobFolder {
        JobFolder::new("job").expect("a plain name")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            storage: true,
            inline_max: true,
            compression: true,
            incremental: true,
            claim_restored: true,
            ..Capabilities::default()
        }
    }
}
