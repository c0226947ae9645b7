//! The contract of the state backend family: how a stream processor keeps and restores its state.
//!
//! It is *not* a database: there are no transactions, no queries and no concurrent writers. A backend holds the state
//! of one subtask, which owns it. The checkpoint of the whole job makes it durable. The semantics are those of Apache
//! Flink's keyed state backends, with types.
//!
//! This crate knows no backend. `backend-memory`, `backend-fs` and `backend-rocksdb` implement it, and
//! `backend-bytes` turns a byte store into a backend. Programs depend on the package `state-backends`.
//!
//! # A record's way
//!
//! A record is routed by its **key** ([`StateKey`]), and its state belongs to that key. The encoded key is hashed once.
//! The hash selects one of a fixed number of **key groups** ([`KeySpace`]), *max parallelism* of them. Each [`Subtask`] of
//! an operator owns a contiguous range of groups ([`KeyGroupRange`]). When the parallelism changes, whole groups move.
//!
//! ```
//! use backend_api::{KeySpace, Subtask};
//!
//! let keys = KeySpace::<String>::new(128)?;
//! let page = "/index.html".to_owned();
//! let subtask = Subtask::new("counts", keys.clone(), 4, keys.subtask(4, &page)?)?;
//! assert_eq!(subtask.range().to_string(), "32-63");
//! assert!(subtask.key(&page).is_ok());
//! # Ok::<(), backend_api::Error>(())
//! ```
//!
//! A descriptor describes a state: [`ValueDescriptor`], [`ListDescriptor`], [`MapDescriptor`], [`ReducingDescriptor`],
//! [`AggregatingDescriptor`]. Registering it returns a **token**, two integers that can be copied and sent anywhere. An
//! access takes a token, a key and a **namespace**. A namespace is a separate part of the key's state, such as a window,
//! or `()` if there is only one.
//!
//! ```
//! use backend_api::{StateBackend, ReducingDescriptor, ReducingState, ValueDescriptor, ValueState};
//!
//! /// Counts a hit of a page, in total and per minute. Runs on every backend.
//! fn count<B: StateBackend<Key = String>>(backend: &mut B, page: &str, minute: u64) -> backend_api::Result<u64> {
//!     // Once, when the operator starts. It is here for brevity: registering again returns the same token.
//!     let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//!     let per_minute = ReducingDescriptor::new("per minute", |sum: &u64, new| sum + new).namespaced::<u64>();
//!     let per_minute = backend.register(per_minute)?;
//!
//!     // Per record: the key is hashed once for all states that the record touches.
//!     let page = page.to_owned();
//!     let key = backend.key(&page)?;
//!     backend.reducing(per_minute, key, &minute)?.add(1)?;
//!     backend.value(hits, key, &())?.update(|n| {
//!         let n = n.get_or_insert(0);
//!         *n += 1;
//!         *n
//!     })
//! }
//! #
//! # use std::sync::Arc;
//! # use backend_api::{CheckpointTarget, KeySpace, Subtask};
//! # use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
//! # let subtask = Subtask::single("counts", KeySpace::<String>::new(128)?)?;
//! # let options = ByteOptions::new(CheckpointTarget::memory(1 << 20)?, |_, _| Ok(Box::<BTreeStore>::default()));
//! # let mut backend = ByteBackend::open(&options, subtask, &[])?;
//! # count(&mut backend, "/", 1)?;
//! # assert_eq!(count(&mut backend, "/", 2)?, 2);
//! # Ok::<(), backend_api::Error>(())
//! ```
//!
//! # A checkpoint's way
//!
//! At a barrier each subtask calls [`StateBackend::snapshot`], whose time does not grow with the state. It returns a
//! [`SnapshotTask`], which runs on any thread and writes the state of that moment. The task returns a
//! [`KeyedStateHandle`], which is small, serializable, and sufficient for a restore. The coordinator collects the handles
//! of all subtasks into one [`Checkpoint`]. The `CheckpointStore` of the crate `coordinator` makes it durable by writing
//! its metadata last, and deletes older ones. Only then are the backends notified ([`StateBackend::notify_complete`]), and
//! the next increment builds on it.
//!
//! To **restore**, a backend is opened with the handles of its key groups ([`Checkpoint::handles_for`]), from any number
//! of old subtasks.
//!
//! ```
//! use std::sync::Arc;
//! use backend_api::*;
//! use coordinator::{CheckpointStore, CheckpointStoreOptions};
//!
//! fn checkpoint_and_rescale<B: StateBackend<Key = u64>>(options: &B::Options, storage: Arc<dyn Storage>) -> Result<()> {
//!     let keys = KeySpace::<u64>::new(128)?;
//!     let job = CheckpointStoreOptions::in_storage(JobFolder::new("job-1")?, storage);
//!     let mut store = CheckpointStore::open(job)?;
//!
//!     let mut backend = B::open(options, Subtask::single("counts", keys.clone())?, &[])?;
//!     let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//!     for page in 0..100 {
//!         let key = backend.key(&page)?;
//!         backend.value(hits, key, &())?.set(page * 2)?;
//!     }
//!     let id = store.begin()?;
//!     let task = backend.snapshot(SnapshotRequest::new(id))?;
//!     // ... the backend continues here, while another thread does this:
//!     let keyed = task.run()?;
//!     store.complete(Checkpoint::new(id, vec![TaskState::of(backend.subtask(), keyed)]))?;
//!     backend.notify_complete(id)?;
//!     drop(backend);
//!
//!     // From one subtask to three: each takes its own key groups.
//!     let latest = store.latest().expect("a checkpoint was completed above");
//!     for index in 0..3 {
//!         let subtask = Subtask::new("counts", keys.clone(), 3, index)?;
//!         let mut backend = B::open(options, subtask.clone(), &latest.handles_for("counts", subtask.range())?)?;
//!         let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//!         for page in (0..100).filter(|page| subtask.key(page).is_ok()) {
//!             let key = backend.key(&page)?;
//!             assert_eq!(backend.value(hits, key, &())?.get()?, Some(page * 2));
//!         }
//!     }
//!     Ok(())
//! }
//! # use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
//! # let options = ByteOptions::new(CheckpointTarget::memory(1 << 20)?, |_, _| Ok(Box::<BTreeStore>::default()));
//! # checkpoint_and_rescale::<ByteBackend<u64>>(&options, Arc::new(MemoryStorage::default()))?;
//! # Ok::<(), Error>(())
//! ```
//!
//! # What is where
//!
//! | for | see |
//! | --- | --- |
//! | an engine that embeds a backend | [`StateBackend`], the views [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`], [`AggregatingState`], [`TimerState`] |
//! | a coordinator | [`Checkpoint`], [`TaskState`]; the crate `coordinator` |
//! | a backend of your own | [`StateBackend`]; `backend-bytes` makes one from a byte store; [`any_backend!`] chooses at run time |
//! | your own storage | [`Storage`] |
//! | the contents of a file | [`mod@format`], [`row`], and `docs/formats.md` |
//! | errors | [`ErrorKind`] |

mod any_backend;
mod backend;
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
mod ledger;
mod lifecycle;
mod mapping;
#[cfg(doctest)]
mod misuse;
mod place;
pub mod restore;
pub mod row;
mod shape;
mod snapshot;
mod state;
mod state_kind;
pub mod storage;
mod subtask;
mod timer_heads;
mod token;
pub mod ttl;
mod value;
mod versions;
pub mod walk;

pub use backend::{Keys, StateBackend, StateInfo};
pub use cancel::{Cancel, CancelGuard};
pub use checkpoint::{
    AttemptTarget, Checkpoint, CheckpointTarget, FileName, JobFile, JobFolder, METADATA_FILE, NewFile,
    OperatorStateHandle, OperatorStateMeta, OperatorStatePart, RawKeyedHandle, RawOperatorHandle,
    RawPartitions, Redistribution, Rescale, RestoreRules, TaskRestore, TaskState, redistribute,
    redistribute_raw,
};
pub use codec::{CborCodec, Codec, Plain, PlainCodec, ReadOld, SerdeCodec, canonical_codec, default_codec};
pub use descriptor::{
    AggregatingDescriptor, Expiring, ListDescriptor, MapDescriptor, ReduceFunction, ReducingDescriptor,
    StateDescriptor, TimerDescriptor, ValueDescriptor,
};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use flink::{FlinkMapping, JavaHash, flink_group};
pub use handle::{KeyedStateHandle, StateData, StateFile};
pub use key::{
    Borrowed, BorrowedKey, EncodedKey, KeyBuffer, KeySchema, LookupKey, OrderedType, StateKey, StoredBytes,
    StoredKey, StoredText, check_ascending, check_equal_keys, check_found, decode_ordered, encode_ordered,
};
pub use key_group::{
    KeyGroupRange, MAX_PARALLELISM_LIMIT, default_max_parallelism, resolve_max_parallelism, subtask_of_group,
};
pub use key_space::{KeyContext, KeySpace};
pub use ledger::{CheckpointLedger, LedgerEntry};
pub use lifecycle::{Lifecycle, backend_closed, function_failed, update_failed};
pub use mapping::{KeyGroupMapping, NATIVE_MAPPING, native_group};
pub use place::Place;
pub use shape::{KeyRole, check_key_type};
pub use snapshot::{Progress, SavepointFormat, SnapshotKind, SnapshotRequest, SnapshotTask};
pub use state::{
    Aggregate, AggregatingState, ListState, MapCursor, MapEntry, MapState, ReducingState, StateValue, Timer,
    TimerState, ValueState,
};
pub use state_kind::{StateKind, StateShape, TimeDomain};
pub use storage::{MemoryStorage, Storage, StorageEntry, StorageFile, StorageWriter};
pub use subtask::Subtask;
pub use timer_heads::TimerHeads;
pub use token::{
    AggregatingToken, BackendId, ListToken, MapToken, ReducingToken, StateToken, TimerToken, ValueToken,
};
pub use ttl::{AggregatingView, Clock, Expiry, ListView, MapView, ReducingView, Stamped, Ttl, ValueView};
pub use value::{Datum, ValueSchema};
pub use versions::{VersionedCodec, Versions, read_codec, read_serde};

/// The bytes of an example in `docs/formats.md`, counted from 1.
#[cfg(test)]
fn documented_example(number: usize) -> Vec<u8> {
    let text = include_str!("../../docs/formats.md").split("```hex\n").nth(number).unwrap();
    let lines = text.split("```").next().unwrap().lines();
    let digits = lines.flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
