//! Filesystem backends, each in a folder of its own.

use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{JobFolder, Result, Storage};
use backend_fs::{FsOptions, LocalStorage};
use conformance_tests::{Capabilities, Setup};
use tempfile::TempDir;

/// A storage in a temporary folder.
pub struct Folder {
    storage: Arc<dyn Storage>,
    _folder: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = LocalStorage::open(folder.path()).expect("a storage");
        Self { storage: Arc::new(storage), _folder: folder }
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    pub fn job(&self) -> JobFolder {
        JobFolder::new("job").expect("a plain name")
    }

    /// Options as `setup` asks; `incremental` is what it may leave open.
    pub fn options(&self, setup: &Setup, incremental: bool) -> Result<FsOptions> {
        let storage = setup.storage.clone().unwrap_or_else(|| self.storage());
        let mut options = FsOptions::new(storage, self.job());
        options = options.incremental(setup.incremental.unwrap_or(incremental));
        if let Some(bytes) = setup.inline_max {
            options = options.inline_max(bytes)?;
        }
        if setup.compression == Some(true) {
            options = options.compression(Compression::Zstd(1));
        }
        Ok(options)
    }

    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            storage: true,
            inline_max: true,
            compression: true,
            incremental: true,
            ..Capabilities::default()
        }
    }
}
