//! The contract of the state backend family: what a stream processor keeps its state in, whatever keeps it.
//!
//! It is *not* a database: there are no transactions, no queries and no concurrent writers. A backend holds the state
//! of one subtask, which owns it; what makes it durable is the checkpoint of the whole job. The semantics are those of
//! Apache Flink's keyed state backends, typed.
//!
//! This crate knows no backend. `backend-memory`, `backend-fs` and `backend-rocksdb` implement it, and
//! `backend-bytes` makes a backend from a byte store. A program begins with the package `state-backends`.
//!
//! # A record's way
//!
//! A **key** ([`StateKey`]) is what a record is routed by and what its state belongs to. Its encoding is hashed once,
//! and the hash puts it into one of a fixed number of **key groups** ([`KeySpace`]), *max parallelism* of them. Groups,
//! and not keys, are dealt out to the subtasks of an operator: each [`Subtask`] has a contiguous range of them
//! ([`KeyGroupRange`]), and when the parallelism changes whole groups move.
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
//! A state is described once, by a descriptor: [`ValueDescriptor`], [`ListDescriptor`], [`MapDescriptor`],
//! [`ReducingDescriptor`], [`AggregatingDescriptor`]. Registering it gives a **token**, two integers that may be copied
//! and sent anywhere. From then on state is reached by token, key and **namespace**: a part of the key's state of its
//! own, such as a window, or `()` where there is nothing to part.
//!
//! ```
//! use backend_api::{StateBackend, ReducingDescriptor, ReducingState, ValueDescriptor, ValueState};
//!
//! /// Counts a hit of a page, all in all and in its minute. Runs on every backend.
//! fn count<B: StateBackend<Key = String>>(backend: &mut B, page: &str, minute: u64) -> backend_api::Result<u64> {
//!     // Once, when the operator starts; here for brevity: registering again gives the same token.
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
//! At a barrier each subtask calls [`StateBackend::snapshot`]. That is short, whatever the size of the state; what
//! comes of it, a [`SnapshotTask`], runs on any thread, writes what was there at that moment, and answers a
//! [`KeyedStateHandle`]: small, serializable, and all that a restore needs. The coordinator collects the handles of all
//! subtasks into one [`Checkpoint`] and hands it to the `CheckpointStore` of the crate `coordinator`, which makes it durable by writing its
//! metadata last, and lets go of older ones. Then, and not before, the backends are told
//! ([`StateBackend::notify_complete`]), and the next increment builds on it.
//!
//! To **restore**, a backend is opened with the handles that its key groups are in
//! ([`Checkpoint::handles_for`]), of however many subtasks there were.
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
//!     // ... the backend goes on here, while another thread does this:
//!     let keyed = task.run()?;
//!     store.complete(Checkpoint::new(id, vec![TaskState::new("counts", 0, 1, keyed)]))?;
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
//! | an engine that embeds a backend | [`StateBackend`], the views [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`], [`AggregatingState`] |
//! | a coordinator | [`Checkpoint`], [`TaskState`]; the crate `coordinator` |
//! | a backend of your own | [`StateBackend`]; `backend-bytes` makes one from a byte store; [`any_backend!`] chooses at run time |
//! | a storage of one's own | [`Storage`] |
//! | what is in a file | [`mod@format`], [`row`], and `docs/formats.md` |
//! | what can go wrong | [`ErrorKind`] |

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
pub mod restore;
pub mod row;
mod shape;
mod snapshot;
mod state;
mod state_kind;
pub mod storage;
mod subtask;
mod token;

pub use backend::{Keys, StateBackend, StateInfo};
pub use cancel::{Cancel, CancelGuard};
pub use checkpoint::{
    AttemptTarget, Checkpoint, CheckpointTarget, FileName, JobFile, JobFolder, NewFile, OperatorStateHandle,
    OperatorStateMeta, OperatorStatePart, RawKeyedHandle, RawOperatorHandle, RawPartitions, Redistribution,
    Rescale, RestoreRules, TaskRestore, TaskState, redistribute, redistribute_raw,
};
pub use codec::{CborCodec, Codec, Plain, PlainCodec, SerdeCodec, default_codec};
pub use descriptor::{
    Aggregate, AggregatingDescriptor, ListDescriptor, MapDescriptor, ReduceFunction, ReducingDescriptor,
    StateDescriptor, StateValue, ValueDescriptor,
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
pub use key_space::{KeyContext, KeyGroupMapping, KeySpace};
pub use ledger::{CheckpointLedger, LedgerEntry};
pub use lifecycle::{Lifecycle, backend_closed, function_failed};
pub use snapshot::{Progress, SavepointFormat, SnapshotKind, SnapshotRequest, SnapshotTask};
pub use state::{AggregatingState, ListState, MapCursor, MapEntry, MapState, ReducingState, ValueState};
pub use state_kind::{StateKind, StateShape};
pub use storage::{MemoryStorage, Storage, StorageEntry, StorageFile, StorageWriter};
pub use subtask::Subtask;
pub use token::{AggregatingToken, BackendId, ListToken, MapToken, ReducingToken, StateToken, ValueToken};

/// The bytes of an example in `docs/formats.md`, counted from 1.
#[cfg(test)]
fn documented_example(number: usize) -> Vec<u8> {
    let text = include_str!("../../docs/formats.md").split("```hex\n").nth(number).unwrap();
    let lines = text.split("```").next().unwrap().lines();
    let digits = lines.flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
