//! Options of backends from a job's configuration.

use std::sync::Arc;

use state_backends::api::{MemoryStorage, Storage};
use state_backends::coordinator::BackendConfig;
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
fn errors_name_missing_and_out_of_range_settings() {
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

#[test]
fn options_return_their_settings() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let fs = FsOptions::new(Arc::clone(&storage), JobFolder::new("job").unwrap());
    assert!(!fs.is_incremental() && !fs.claims_restored() && fs.memory_budget().is_none());
    let fs = fs.with_incremental(true).with_claim_restored(true);
    let fs = fs.with_memory_budget(1 << 20).unwrap().with_restore_threads(2).unwrap();
    assert!(fs.is_incremental() && fs.claims_restored() && fs.target().storage().is_some());
    assert_eq!((fs.memory_budget(), fs.restore_threads().get()), (Some(1 << 20), 2));
    let memory = MemoryOptions::default().with_max_state_bytes(9).unwrap().with_storage(storage);
    assert_eq!((memory.max_state_bytes(), memory.memory_budget()), (9, None));
    assert!(memory.storage().is_some());
}

#[test]
fn a_backend_is_described_by_serde_too() {
    let text = r#"{"kind": "filesystem", "incremental": true, "inline_max": 0}"#;
    let config: BackendConfig = serde_json::from_str(text).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = AnyOptions::from_config(&config, Some(storage), JobFolder::new("job").unwrap()).unwrap();
    assert!(matches!(options, AnyOptions::Fs(options) if options.is_incremental()));
    let again = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<BackendConfig>(&again).unwrap(), config);
    let misspelt = serde_json::from_str::<BackendConfig>(r#"{"incremetal": true}"#);
    assert!(misspelt.unwrap_err().to_string().contains("incremetal"));
}
