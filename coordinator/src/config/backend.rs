use serde::{Deserialize, Serialize};

/// The backend of a job, from its configuration. Code that knows the backends turns it into their options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackendConfig {
    /// The kind of backend.
    pub kind: BackendKind,
    /// True for incremental checkpoints.
    pub incremental: bool,
    /// The largest file, in bytes, that is inline in the checkpoint's metadata.
    pub inline_max: Option<u64>,
    /// Limit, in bytes, of one subtask's state in a checkpoint in memory.
    pub max_state_bytes: Option<u64>,
    /// Folder of RocksDB's working files.
    pub working_dir: Option<String>,
    /// Bytes of RocksDB's memory.
    pub memory_budget: Option<u64>,
    /// How many files RocksDB uploads or downloads at once.
    pub transfer_threads: Option<u16>,
}

/// The kinds of backends.
///
/// `hashmap`, the default, is state on the heap too. Its checkpoints go where `execution.checkpointing.storage` says. Without
/// that setting they go to files if a folder for checkpoints is set, as in Flink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// State on the heap, checkpoints in the coordinator's memory (`memory` or `jobmanager`).
    #[default]
    Memory,
    /// State on the heap, checkpoints in files (`filesystem`).
    Filesystem,
    /// State in RocksDB, checkpoints in files (`rocksdb`).
    RocksDb,
}
