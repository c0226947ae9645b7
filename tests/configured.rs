//! Options of backends from a job's configuration.

use std::sync::Arc;

use state_backends::api::{MemoryStorage, Storage};
use state_backends::prelude::*;

fn options(text: &str, with_storage: bool) -> Result<AnyOptions> {
    let config = JobConfig::from_yaml(text)?;
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    AnyOptions::from_config(&config.backend, with_storage.then_some(storage), JobFolder::new("job")?)
}

#[test]
fn the_configured_backend_is_opened() {
    assert!(matches!(options("", false), Ok(AnyOptions::Memory(_))));
    let found = options("state.backend.type: filesystem\nstate.backend.incremental: true", true).unwrap();
    let subtask = Subtask::single("op", KeySpace::<u64>::new(8).unwrap()).unwrap();
    assert!(matches!(AnyBackend::open(&found, subtask, &[]), Ok(AnyBackend::Fs(_))));
}

#[test]
fn what_is_missing_or_out_of_range_is_named() {
    let cases = [
        ("state.backend.type: filesystem", false, "execution.checkpointing.dir"),
        ("state.backend.memory.max-state-size: 0", false, "state.backend.memory.max-state-size"),
        (
            "state.backend.type: filesystem\nexecution.checkpointing.data-inline-threshold: 2 mb",
            true,
            "execution.checkpointing.data-inline-threshold",
        ),
        #[cfg(not(feature = "rocksdb"))]
        ("state.backend.type: rocksdb", true, "state.backend.type"),
        #[cfg(feature = "rocksdb")]
        ("state.backend.type: rocksdb", true, "state.backend.rocksdb.localdir"),
    ];
    for (text, with_storage, key) in cases {
        let error = options(text, with_storage).unwrap_err();
        assert!(error.message().contains(key), "{text}: {error}");
    }
}
