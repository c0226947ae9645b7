//! State in RocksDB: larger than memory, with incremental checkpoints.
//!
//! [`RocksDbBackend`] is a [`StateBackend`](backend_api::StateBackend) that keeps its working state in a RocksDB database
//! in a local folder, and checkpoints in a [`Storage`](backend_api::Storage). Each backend has its own database. It is
//! not for state that fits into memory and is updated everywhere: the heap backends are many times faster there. It is
//! not durable without checkpoints: there is no write-ahead log, and the folder is removed with the backend.
//!
//! ```
//! use backend_api::{JobFolder, KeySpace, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState};
//! use backend_rocksdb::{RocksDbBackend, RocksDbOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
//! let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job-1")?, working)?.with_incremental(true);
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
//! Keys are those of [`backend_bytes`]: state, key group, key, namespace, and the map key or the list's sequence number.
//! There are three column families for three patterns of access: values and accumulators, lists, maps. So a checkpoint
//! flushes at most three tables, and neither memory nor files grow with the number of states.
//!
//! # Checkpoints
//!
//! A full checkpoint has rows, the format of the heap backends; each backend restores what another wrote. An incremental
//! one ([`RocksDbOptions::with_incremental`]) has the database's own files, and uploads only those that the last confirmed
//! checkpoint lacks.
//!
//! # Full disks
//!
//! When the disk of the working folder is full, writes and checkpoints fail with an error. None of them waits for longer
//! than 5 seconds for background work that has failed. RocksDB goes on by itself when 64 MiB, or as much as the next
//! compaction needs, are free; on a smaller disk it does not, and the backend must be opened again.

mod database;
mod engine;
mod error;
mod ffi;
mod options;
mod parallel;
mod profile;
mod restore;
mod snapshot;
mod store;
mod working_folder;
mod writes;

pub use backend_bytes::EngineBackend;
pub use engine::RocksDb;
pub use options::RocksDbOptions;
pub use profile::{Profile, Tuned};
/// The binding whose options [`RocksDbOptions::with_tune`] takes.
pub use rocksdb;
pub use store::RocksDbStore;

/// A backend that keeps state in RocksDB (Flink's `EmbeddedRocksDBStateBackend`). See the [crate](self).
pub type RocksDbBackend<K> = EngineBackend<K, RocksDb>;
