/// Where a job keeps its state, as its configuration says. What makes options of it knows the backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendConfig {
    /// The kind of backend.
    pub kind: BackendKind,
    /// True if checkpoints write only what changed.
    pub incremental: bool,
    /// Up to how many bytes a file goes into the checkpoint's metadata.
    pub inline_max: Option<u64>,
    /// How many bytes the state of one subtask may have in a checkpoint in memory.
    pub max_state_bytes: Option<u64>,
    /// Folder of RocksDB's working files.
    pub working_dir: Option<String>,
    /// Bytes of RocksDB's memory.
    pub memory_budget: Option<u64>,
}

/// The kinds of backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// State on the heap, checkpoints in the coordinator's memory (`memory` or `jobmanager`).
    #[default]
    Memory,
    /// State on the heap, checkpoints in files (`filesystem` or `hashmap`).
    Filesystem,
    /// State in RocksDB, checkpoints in files (`rocksdb`).
    RocksDb,
}
