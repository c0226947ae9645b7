//! The suite on the backend of a byte engine, a `BTreeMap` here.

use std::sync::Arc;

use backend_api::bytes::{BTreeStore, ByteBackend, ByteOptions};
use backend_api::format::Compression;
use backend_api::{CheckpointTarget, JobFolder, MemoryStorage, Result, StateKey, Storage};
use conformance_tests::{Capabilities, Factory, Setup, suite};

struct Bytes(Arc<MemoryStorage>);

impl Factory for Bytes {
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
        Ok(ByteOptions::new(target, |_, _| Ok(Box::new(BTreeStore::default()))))
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

suite!(bytes, Bytes);
