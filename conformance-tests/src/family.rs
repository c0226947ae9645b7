//! Our own backends, for the programs and tests of this crate.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use backend_api::format::Compression;
use backend_api::{CheckpointTarget, JobFolder, MemoryStorage, Result, StateKey, Storage};
use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
use backend_fs::{FsBackend, FsOptions};
use backend_memory::{MemoryBackend, MemoryOptions};
use storage_local::LocalStorage;
use tempfile::TempDir;

use crate::{Capabilities, Factory, Setup};

#[cfg(feature = "programs")]
mod named;
#[cfg(feature = "rocksdb")]
mod rocksdb;

#[cfg(feature = "programs")]
pub use named::{FAMILY, Member, Opened};
#[cfg(feature = "rocksdb")]
pub use rocksdb::RocksDb;

/// Bytes of a cache for about 64 values, so that it always evicts.
pub const TINY: usize = 8 << 10;

fn job() -> JobFolder {
    JobFolder::new("job").expect("a plain name")
}

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

/// The memory backend.
pub struct Memory;

impl Factory for Memory {
    type Backend<K: StateKey> = MemoryBackend<K>;

    fn new() -> Self {
        Self
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<MemoryOptions> {
        // Some cases about other things have more than 5 MiB of state.
        MemoryOptions::default().with_max_state_bytes(setup.max_state_bytes.unwrap_or(1 << 30))
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    fn job(&self) -> JobFolder {
        job()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_state_bytes: true, ..Capabilities::default() }
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

/// The backend of a byte engine, a `BTreeMap`, with a cache of `CACHE` bytes.
pub struct Bytes<const CACHE: usize>(Arc<dyn Storage>);

impl<const CACHE: usize> Drop for Bytes<CACHE> {
    /// Checks the rule of [`Factory`] that a world outlives its backends, which hold its storage.
    fn drop(&mut self) {
        assert!(thread::panicking() || Arc::strong_count(&self.0) == 1, "the world ends before its backend");
    }
}

impl<const CACHE: usize> Factory for Bytes<CACHE> {
    type Backend<K: StateKey> = ByteBackend<K>;

    fn new() -> Self {
        Self(Arc::new(MemoryStorage::new()))
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        Some(Self(local(folder)))
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<ByteOptions> {
        let storage = setup.storage.clone().unwrap_or_else(|| self.0.clone());
        let mut target = CheckpointTarget::files(storage, self.job());
        if let Some(bytes) = setup.inline_max {
            target = target.with_inline_max(bytes)?;
        }
        if setup.compression == Some(true) {
            target = target.with_compression(Compression::Lz4);
        }
        let options = ByteOptions::new(target, |_, _| Ok(Box::new(BTreeStore::default())));
        let limit = setup.entry_bytes_max.unwrap_or(ByteOptions::ENTRY_BYTES_MAX);
        options.with_cache_bytes(CACHE).with_entry_bytes_max(limit)
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(self.0.clone())
    }

    fn job(&self) -> JobFolder {
        job()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            storage: true,
            inline_max: true,
            compression: true,
            entry_bytes_max: true,
            ..Capabilities::default()
        }
    }
}
