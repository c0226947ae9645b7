//! The suite on the memory backend.

use std::sync::Arc;

use backend_api::{JobFolder, Result, StateKey, Storage};
use backend_memory::{MemoryBackend, MemoryOptions};
use conformance_tests::{Capabilities, Factory, Setup, suite};

struct Memory;

impl Factory for Memory {
    type Backend<K: StateKey> = MemoryBackend<K>;

    fn new() -> Self {
        Self
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<MemoryOptions> {
        let options = MemoryOptions::default();
        match setup.max_state_bytes {
            Some(bytes) => options.max_state_bytes(bytes),
            // Cases about other things may have more than 5 MiB.
            None => options.max_state_bytes(1 << 30),
        }
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    fn job(&self) -> JobFolder {
        JobFolder::new("job").expect("a plain name")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_state_bytes: true, ..Capabilities::default() }
    }
}

suite!(memory, Memory);
