//! State in RocksDB: larger than memory, with incremental checkpoints.
//!
//! [`RocksDbBackend`] is a [`StateBackend`](backend_api::StateBackend) of which the working state lies in a RocksDB
//! database of its own in a local folder, and checkpoints in a [`Storage`](backend_api::Storage). It is not for state
//! that fits into memory and changes all over: the heap backends are many times faster there. It is not durable by
//! itself either: there is no write-ahead log, and the folder is removed with the backend.
//!
//! ```
//! use backend_api::{JobFolder, KeySpace, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState};
//! use backend_rocksdb::{RocksDbBackend, RocksDbOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
//! let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job-1")?, working)?.incremental(true);
//! let subtask = Subtask::single("counts", KeySpace::<u64>::new(128)?)?;
//! let mut backend = RocksDbBackend::open(&options, subtask.clone(), &[])?;
//! let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//! let key = backend.key(&7)?;
//! backend.value(hits, key, &())?.set(42)?;
//!
//! let handle = backend.snapshot(SnapshotRequest::new(1))?.run()?;
//!
//! let mut backend = RocksDbBackend::open(&options, subtask, handle.as_slice())?;
//! let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
//! let key = backend.key(&7)?;
//! assert_eq!(backend.value(hits, key, &())?.get()?, Some(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! Keys are those of [`bytes`](backend_bytes): state, key group, key, namespace, and the map key or the list's
//! sequence number. Three column families keep apart what is read in different ways: values and accumulators, lists,
//! maps. So a checkpoint flushes three tables at most, and neither memory nor files grow with the number of states.
//!
//! # Checkpoints
//!
//! Full ones are of rows, the format of the heap backends, and either backend restores what the other wrote.
//! Incremental ones ([`RocksDbOptions::incremental`]) are the database's own files, of which those that the last
//! confirmed checkpoint has are not written again.

mod adopt;
mod checkpoints;
mod cut;
mod database;
mod engine;
mod error;
mod held;
mod late;
mod manifest;
mod options;
mod profile;
mod readers;
mod restore;
mod snapshot;
mod store;
mod working_folder;
mod writes;

pub use backend_bytes::EngineBackend;
pub use engine::RocksDb;
pub use options::RocksDbOptions;
pub use profile::{Profile, Tuned};
/// The binding, of which [`RocksDbOptions::tune`] takes the options.
pub use rocksdb;
pub use store::RocksDbStore;

/// A backend that keeps state in RocksDB (Flink's `EmbeddedRocksDBStateBackend`). See the [crate](self).
pub type RocksDbBackend<K> = EngineBackend<K, RocksDb>;
