//! The suite on the backend of a byte engine, a `BTreeMap` here.

use std::sync::Arc;

use backend_api::bytes::{BTreeStore, ByteBackend, ByteOptions};
use backend_api::format::Compression;
use backend_api::{CheckpointTarget, JobFolder, MemoryStorage, Result, StateKey, Storage};
use conformance_tests::{Capabilities, Factory, Setup, suite};

/// With a cache of so many bytes.
struct Bytes<const CACHE: usize>(Arc<MemoryStorage>);

impl<const CACHE: usize> Factory for Bytes<CACHE> {
    type Backend<K: StateKey> = ByteBackend<K>;

    fn new() -> Self {
        Self(Arc::default())
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
        Ok(options.with_cache_bytes(CACHE))
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(self.0.clone())
    }

    fn job(&self) -> JobFolder {
        JobFolder::new("job").expect("a plain name")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { storage: true, inline_max: true, compression: true, ..Capabilities::default() }
    }
}

suite!(bytes, Bytes<0>);
suite!(cached, Bytes<{ 16 << 20 }>);
// Of some 64 values, so that there is always one that has to go.
suite!(hardly_cached, Bytes<8192>);
