//! Our own backends, for the programs and tests of this crate.

use std::path::Path;
use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{JobFolder, Result, StateKey, Storage};
use backend_fs::{FsBackend, FsOptions};
use storage_local::LocalStorage;
use tempfile::TempDir;

use crate::reference::job;
pub use crate::reference::{Bytes, Memory, TINY};
use crate::{Capabilities, Factory, Setup};

#[cfg(feature = "programs")]
mod named;
#[cfg(feature = "rocksdb")]
mod rocksdb;

#[cfg(feature = "programs")]
pub use named::{FAMILY, Member, Opened};
#[cfg(feature = "rocksdb")]
pub use rocksdb::RocksDb;

fn local(folder: &Path) -> Arc<dyn Storage> {
    Arc::new(LocalStorage::open(folder).expect("a storage"))
}

/// The capabilities of a backend that writes increments into files.
fn increments_in_files() -> Capabilities {
    Capabilities {
        storage: true,
        inline_max: true,
        compression: true,
        incremental: true,
        claim_restored: true,
        ..Capabilities::default()
    }
}

/// The filesystem backend, each world in its own folder. `INCREMENTAL` is the default of the setting.
pub struct Fs<const INCREMENTAL: bool> {
    storage: Arc<dyn Storage>,
    _folder: Option<TempDir>,
}

impl<const INCREMENTAL: bool> Factory for Fs<INCREMENTAL> {
    type Backend<K: StateKey> = FsBackend<K>;

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { storage: local(folder.path()), _folder: Some(folder) }
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        Some(Self { storage: local(folder), _folder: None })
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<FsOptions> {
        let storage = setup.storage.clone().unwrap_or_else(|| Arc::clone(&self.storage));
        let mut options = FsOptions::new(storage, self.job());
        options = options.with_incremental(setup.incremental.unwrap_or(INCREMENTAL));
        options = options.with_claim_restored(setup.claim_restored.unwrap_or(false));
        if let Some(bytes) = setup.inline_max {
            options = options.with_inline_max(bytes)?;
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
        increments_in_files()
    }
}
