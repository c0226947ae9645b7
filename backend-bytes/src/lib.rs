//! A state backend over a sorted byte store of your own.
//!
//! An engine that keeps sorted bytes implements the four required methods of [`ByteStore`]. [`ByteBackend`]
//! makes all of [`StateBackend`](backend_api::StateBackend) from it: all kinds of state, namespaces, merges,
//! rescaling, and checkpoints that every backend of rows restores. Values are encoded and decoded at each
//! access, unless a [cache](ByteOptions::with_cache_bytes) keeps those that are in use.
//!
//! ```
//! use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
//! use backend_api::{
//!     CheckpointTarget, KeySpace, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState,
//! };
//!
//! let options = ByteOptions::new(CheckpointTarget::memory(5 << 20)?, |_operator, _subtask| {
//!     Ok(Box::new(BTreeStore::default()))
//! });
//! let subtask = Subtask::single("counts", KeySpace::<String>::new(128)?)?;
//! let mut backend = ByteBackend::open(&options, subtask.clone(), &[])?;
//! let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//! let page = "/index.html".to_owned();
//! backend.value(hits, subtask.key(&page)?, &())?.update(|n| *n.get_or_insert(0) += 1)?;
//! let snapshot = backend.snapshot(SnapshotRequest::new(1))?.run()?;
//!
//! let mut restored = ByteBackend::open(&options, subtask.clone(), snapshot.as_slice())?;
//! let hits = restored.register(ValueDescriptor::<u64>::new("hits"))?;
//! assert_eq!(restored.value(hits, subtask.key(&page)?, &())?.get()?, Some(1));
//! # Ok::<(), backend_api::Error>(())
//! ```
//!
//! An engine with options, or a checkpoint format, of its own implements [`ByteEngine`], and its backend is
//! an [`EngineBackend`].
//!
//! # Layout
//!
//! An entry's key in the store is
//!
//! | bytes | |
//! | --- | --- |
//! | 2 | number of the state, big endian |
//! | 2 | key group, big endian |
//! | | key, in the encoding of [`StateKey`](backend_api::StateKey) |
//! | | namespace, in the same encoding |
//! | | of a map: the map key, in the same encoding; of a list: the sequence number of its first element, 8 bytes big endian |
//!
//! In the key of a timer its time, 8 bytes, stands before the key, and the value is empty.
//! Otherwise the value is the codec's bytes. The value of a list's entry is one or several elements that were added
//! together, each with its length before it, as a varint. In a state with a [time to live](backend_api::Ttl) the bytes of each
//! value or element begin with the time of its last write, 8 bytes little endian.
//!
//! No encoding of a key is a prefix of another one, so the entries of a list or map are exactly those with
//! its prefix. Sequence numbers come from one counter of the backend. The elements of a list ascend, with
//! gaps, and appending reads nothing. A list that is known to be empty may begin with 0 again. No number in
//! the store is above the counter.

mod access;
mod backend;
mod batch;
mod btree;
mod cache;
mod engine;
mod evolve;
mod expiry;
mod kinds;
mod layer_state;
mod layout;
mod limits;
mod load;
mod options;
mod registry;
mod runs;
mod snapshot;
mod store;
mod store_snapshots;
mod timers;

pub use backend::{ByteBackend, EngineBackend};
pub use batch::{WriteBatch, WriteOp};
pub use btree::BTreeStore;
pub use cache::{CacheFlush, CacheFlushWriter};
pub use engine::{AnyStore, ByteEngine, OpenedStore};
pub use expiry::EntryExpiry;
pub use kinds::{ByteAggregating, ByteList, ByteMap, ByteReducing, ByteTimers, ByteValue};
pub use layer_state::LayerState;
pub use layout::EntryKey;
pub use options::ByteOptions;
pub use store::{ByteCursor, ByteSnapshot, ByteStore};
pub use store_snapshots::{FreezeRequest, NativeTask, StoreSnapshots};
