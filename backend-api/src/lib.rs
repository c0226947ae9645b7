//! The contract of the state backend family.

mod any_backend;
mod backend;
pub mod bytes;
mod cancel;
mod checkpoint;
mod codec;
mod descriptor;
mod error;
mod flink;
pub mod format;
mod handle;
mod key;
mod key_group;
mod key_space;
pub mod restore;
pub mod row;
mod snapshot;
mod state;
mod state_kind;
pub mod storage;
mod subtask;
mod token;

pub use backend::{Keys, StateBackend, StateInfo};
pub use bytes::{ByteBackend, ByteOptions, ByteStore};
pub use cancel::{Cancel, CancelGuard};
pub use checkpoint::{
    Checkpoint, CheckpointStore, CheckpointStoreOptions, CheckpointTarget, JobFolder, SharedStateRegistry,
    TaskState,
};
pub use codec::{Codec, Plain, PlainCodec, SerdeCodec, default_codec};
pub use descriptor::{
    Aggregate, AggregatingDescriptor, ListDescriptor, MapDescriptor, ReduceFunction, ReducingDescriptor,
    StateDescriptor, StateValue, ValueDescriptor,
};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use flink::{FlinkMapping, JavaHash, flink_group};
pub use handle::{KeyedStateHandle, StateData, StateFile};
pub use key::{
    EncodedKey, KeyBuffer, StateKey, StoredKey, StoredText, check_ordered, decode_ordered, encode_ordered,
};
pub use key_group::{
    KeyGroupRange, MAX_PARALLELISM_LIMIT, default_max_parallelism, resolve_max_parallelism, subtask_of_group,
};
pub use key_space::{KeyContext, KeyGroupMapping, KeySpace};
pub use snapshot::{Progress, SnapshotRequest, SnapshotTask};
pub use state::{AggregatingState, ListState, MapCursor, MapEntry, MapState, ReducingState, ValueState};
pub use state_kind::StateKind;
pub use storage::{MemoryStorage, Storage, StorageEntry, StorageFile, StorageWriter};
pub use subtask::Subtask;
pub use token::{AggregatingToken, BackendId, ListToken, MapToken, ReducingToken, StateToken, ValueToken};
