//! All that a program needs to keep state: `use state_backends::prelude::*`.

pub use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, BoxError, Checkpoint,
    CheckpointStore, CheckpointStoreOptions, Error, ErrorKind, JobFolder, KeyContext, KeyGroupRange,
    KeySpace, KeyedStateHandle, ListDescriptor, ListState, ListToken, MapDescriptor, MapState, MapToken,
    ReducingDescriptor, ReducingState, ReducingToken, Result, SnapshotRequest, SnapshotTask, StateBackend,
    StateKey, Storage, Subtask, TaskState, ValueDescriptor, ValueState, ValueToken, resolve_max_parallelism,
};
pub use backend_fs::{FsBackend, FsOptions, LocalStorage};
pub use backend_memory::{MemoryBackend, MemoryOptions};
#[cfg(feature = "rocksdb")]
pub use backend_rocksdb::{RocksDbBackend, RocksDbOptions};

pub use crate::{AnyBackend, AnyOptions};
