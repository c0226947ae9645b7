//! The backends that others are compared with: their savepoints have the same bytes.

use std::sync::Arc;
use std::thread;

use backend_api::format::Compression;
use backend_api::{CheckpointTarget, JobFolder, MemoryStorage, Result, StateKey, Storage};
use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
use backend_memory::{MemoryBackend, MemoryOptions};

use crate::{Capabilities, Factory, Setup};

/// Bytes of a cache for about 64 values, so that it always evicts.
pub const TINY: usize = 8 << 10;

pub(crate) fn job() -> JobFolder {
    JobFolder::new("job").expect("a plain name")
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

    #[cfg(feature = "family")]
    fn in_folder(folder: &std::path::Path) -> Option<Self> {
        Some(Self(Arc::new(storage_local::LocalStorage::open(folder).expect("a storage"))))
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
