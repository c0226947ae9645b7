//! The suite on the filesystem backend with incremental checkpoints.

mod files;

use std::sync::Arc;

use backend_api::{JobFolder, Result, StateKey, Storage};
use backend_fs::{FsBackend, FsOptions};
use conformance_tests::{Capabilities, Factory, Setup, suite};
use files::Folder;

struct FsIncremental(Folder);

impl Factory for FsIncremental {
    type Backend<K: StateKey> = FsBackend<K>;

    fn new() -> Self {
        Self(Folder::new())
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<FsOptions> {
        self.0.options(setup, true)
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(self.0.storage())
    }

    fn job(&self) -> JobFolder {
        self.0.job()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

suite!(fs_incremental, FsIncremental);
