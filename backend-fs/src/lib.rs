//! State as objects on the heap, with checkpoints in files, full or incremental.

mod chains;
mod checkpointing;
mod increment;
mod options;

pub use checkpointing::InFiles;
pub use options::FsOptions;

use backend_memory::heap::HeapBackend;

/// A backend that keeps state as objects on the heap and writes checkpoints into files (Flink's `FsStateBackend`).
///
/// ```
/// use backend_api::{JobFolder, KeySpace, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState};
/// use backend_fs::{FsBackend, FsOptions};
///
/// # let folder = tempfile::tempdir()?;
/// let options = FsOptions::in_folder(folder.path(), JobFolder::new("job-1")?)?.with_incremental(true);
/// let subtask = Subtask::single("counts", KeySpace::<u64>::new(128)?)?;
/// let mut backend = FsBackend::open(&options, subtask.clone(), &[])?;
/// let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
/// let key = backend.key(&7)?;
/// backend.value(hits, key, &())?.set(42)?;
///
/// // The synchronous part is short; the task may run on any thread.
/// let handle = backend.snapshot(SnapshotRequest::new(1))?.run()?;
///
/// let mut backend = FsBackend::open(&options, subtask, handle.as_slice())?;
/// let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
/// let key = backend.key(&7)?;
/// assert_eq!(backend.value(hits, key, &())?.get()?, Some(42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type FsBackend<K> = HeapBackend<K, InFiles>;
