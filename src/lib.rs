//! State backends for stream processors, with Apache Flink's semantics: checkpoints, increments, rescaling.
//!
//! A stream processor keeps a count per page, a window per user, a set of known ids. This library holds that state, takes
//! consistent snapshots of it while the job runs, and restores it at any parallelism. It is *not* a database: a backend
//! has one owner. It is *not* an engine: it moves no records.
//!
//! ```
//! use state_backends::prelude::*;
//!
//! // One subtask has all 128 key groups. With more subtasks, each has a share of them.
//! let subtask = Subtask::single("counts", KeySpace::<String>::new(128)?)?;
//! let options = AnyOptions::Memory(MemoryOptions::default());
//! let mut backend = AnyBackend::open(&options, subtask.clone(), &[])?;
//! let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//!
//! let key = backend.key("/index.html")?;
//! backend.value(hits, key, &())?.update(|n| *n = Some(n.unwrap_or(0) + 1))?;
//!
//! // At a barrier: a short call here, the work on any thread.
//! let task = backend.snapshot(SnapshotRequest::new(1))?;
//! let handle = task.run()?;
//!
//! // After a failure, from the handles of the latest checkpoint.
//! let mut backend = AnyBackend::open(&options, subtask, handle.as_slice())?;
//! let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//! let key = backend.key("/index.html")?;
//! assert_eq!(backend.value(hits, key, &())?.get()?, Some(1));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Which backend
//!
//! | backend | state | checkpoints | for |
//! | --- | --- | --- | --- |
//! | [`MemoryBackend`](memory::MemoryBackend) | objects on the heap | in the coordinator's memory | tests, and state of a few megabytes |
//! | [`FsBackend`](fs::FsBackend) | objects on the heap | files, full or incremental | state that fits into memory; the fastest accesses |
//! | `RocksDbBackend` (feature `rocksdb`) | RocksDB, with a cache of decoded values | files, full or incremental | state larger than memory |
//! | [`ByteBackend`](bytes::ByteBackend) | your own byte store | memory or files, full | another store |
//!
//! [`AnyBackend`] chooses a backend at run time, by [`AnyOptions`] or a configuration file ([`AnyOptions::from_config`]). All
//! backends behave the same, and each restores full checkpoints of all others.
//!
//! # Which state
//!
//! | state | per key and namespace | for example |
//! | --- | --- | --- |
//! | [`ValueState`](api::ValueState) | one value | the last login of a user |
//! | [`ListState`](api::ListState) | a list | the elements of a window |
//! | [`MapState`](api::MapState) | an ordered map, read and written by entry | an index by time |
//! | [`ReducingState`](api::ReducingState) | a value that a function folds new ones into | a sum |
//! | [`AggregatingState`](api::AggregatingState) | an accumulator with a result of another type | a mean |
//!
//! # Where to go on
//!
//! - Embed a backend into an engine: [`StateBackend`](api::StateBackend), and [`prelude`] for all names.
//! - Manage the checkpoints of a job, or run a job on threads: [`coordinator`].
//! - Keep checkpoints in a folder or an object store: [`open_storage`].
//! - Keep operator state and raw bytes beside keyed state: [`task`].
//! - Restore strictly, with exceptions by name: [`RestoreRules`](api::RestoreRules).
//! - Write a backend: [`api`] and its `any_backend!`; the crate `conformance-tests` checks it.
//!
//! # What it does not do
//!
//! It has no network, no record routing and no clock. It has no transactions over keys, no queries over keys beyond
//! listing them, and no concurrent writers.

pub use backend_api as api;
pub use backend_bytes as bytes;
pub use backend_fs as fs;
pub use backend_memory as memory;
#[cfg(feature = "rocksdb")]
pub use backend_rocksdb as rocksdb;
pub use coordinator;
pub use storage_local as local;
#[cfg(feature = "object")]
pub use storage_object as object;
pub use task_state as task;

mod any;
mod configured;
pub mod prelude;
mod storage;

pub use any::{AnyBackend, AnyOptions};
pub use storage::open_storage;
