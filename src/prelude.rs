//! Everything that a program with state needs: `use state_backends::prelude::*`.

pub use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, BoxError, Checkpoint,
    CheckpointTarget, Codec, Error, ErrorKind, JobFolder, KeyContext, KeyGroupRange, KeySpace,
    KeyedStateHandle, ListDescriptor, ListState, ListToken, MapDescriptor, MapState, MapToken,
    ReducingDescriptor, ReducingState, ReducingToken, RestoreRules, Result, SavepointFormat, SnapshotKind,
    SnapshotRequest, SnapshotTask, StateBackend, StateInfo, StateKey, StateKind, StateToken, StateValue,
    Storage, Subtask, TaskRestore, TaskState, TimeDomain, Timer, TimerDescriptor, TimerState, TimerToken,
    Ttl, ValueDescriptor, ValueState, ValueToken, any_backend, resolve_max_parallelism, serde_key,
};
pub use backend_fs::{FsBackend, FsOptions};
pub use backend_memory::{MemoryBackend, MemoryOptions};
#[cfg(feature = "rocksdb")]
pub use backend_rocksdb::{RocksDbBackend, RocksDbOptions};
pub use coordinator::{
    AlignmentTime, Attempt, Barrier, CheckpointConfig, CheckpointStore, CheckpointStoreOptions, ClaimMode,
    Control, Input, Inputs, JobConfig, JobDriver, JobHandle, JobOutcome, Message, RestartStrategy, Retention,
    Savepoint, Statistics, Task, TaskContext, TaskId,
};
pub use storage_local::LocalStorage;

pub use crate::{AnyBackend, AnyOptions, open_storage};
