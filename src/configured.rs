//! Options of a backend from a job's configuration.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, JobFolder, Result, Storage};
use backend_fs::FsOptions;
use backend_memory::MemoryOptions;
use coordinator::{BackendConfig, BackendKind};

use crate::AnyOptions;

impl AnyOptions {
    /// The options of the configured backend. Checkpoints in files go to `storage`, below the folder of
    /// `job`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument), with the name of the setting, if one is missing or out of
    /// range; [`Unsupported`](ErrorKind::Unsupported) for a backend that this build does not have.
    pub fn from_config(
        config: &BackendConfig,
        storage: Option<Arc<dyn Storage>>,
        job: JobFolder,
    ) -> Result<Self> {
        let storage = || storage.ok_or_else(|| missing("execution.checkpointing.dir"));
        match config.kind {
            BackendKind::Memory => {
                let options = MemoryOptions::default();
                let options = match config.max_state_bytes {
                    Some(bytes) => options.with_max_state_bytes(bytes),
                    None => Ok(options),
                };
                Ok(Self::Memory(options.map_err(named("state.backend.memory.max-state-size"))?))
            }
            BackendKind::Filesystem => {
                let options = FsOptions::new(storage()?, job).with_incremental(config.incremental);
                let options = match config.inline_max {
                    Some(bytes) => options.with_inline_max(usize::try_from(bytes).unwrap_or(usize::MAX)),
                    None => Ok(options),
                };
                Ok(Self::Fs(options.map_err(named("execution.checkpointing.data-inline-threshold"))?))
            }
            BackendKind::RocksDb => Self::rocksdb(config, storage()?, job),
        }
    }

    #[cfg(feature = "rocksdb")]
    fn rocksdb(config: &BackendConfig, storage: Arc<dyn Storage>, job: JobFolder) -> Result<Self> {
        let working = config.working_dir.as_ref().ok_or_else(|| missing("state.backend.rocksdb.localdir"))?;
        let mut options =
            backend_rocksdb::RocksDbOptions::new(storage, job, working).with_incremental(config.incremental);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(inline_max) = config.inline_max {
            let named = named("execution.checkpointing.data-inline-threshold");
            options = options.with_inline_max(bytes(inline_max)).map_err(named)?;
        }
        if let Some(budget) = config.memory_budget {
            let named = named("state.backend.rocksdb.memory.fixed-per-slot");
            options = options.with_memory_budget(bytes(budget)).map_err(named)?;
        }
        if let Some(threads) = config.transfer_threads {
            let named = named("state.backend.rocksdb.checkpoint.transfer.thread.num");
            options = options.with_transfer_threads(threads).map_err(named)?;
        }
        Ok(Self::RocksDb(options))
    }

    #[cfg(not(feature = "rocksdb"))]
    fn rocksdb(_: &BackendConfig, _: Arc<dyn Storage>, _: JobFolder) -> Result<Self> {
        let message = "state.backend.type: this build has no RocksDB backend; it needs the feature rocksdb";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// Adds the name of the setting to an error of the options.
fn named(key: &str) -> impl FnOnce(Error) -> Error {
    move |error| Error::new(error.kind(), format!("{key}: {}", error.message()))
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{key}: the backend needs this setting"))
}
