//! Checkpoints in the coordinator's memory.

use std::sync::Arc;

use backend_api::restore::RestorePlan;
use backend_api::{
    AttemptTarget, CheckpointTarget, Error, ErrorKind, KeyedStateHandle, Result, SnapshotRequest, Storage,
};

use crate::heap::{Checkpointing, HeapBackend, HeapSnapshot, WriteHeap};

/// Keeps state as objects on the heap, and returns each checkpoint inside its handle. The checkpoint
/// therefore lives in the coordinator's memory, as with Flink's `MemoryStateBackend`.
///
/// Suits small state: by default a subtask's state may have 5 MiB, and the acknowledgement of a task 10 MiB.
/// With a checkpoint store, a completed checkpoint is one metadata file that contains the state, and survives
/// the process. Without one, it is lost with the coordinator.
///
/// It restores full checkpoints of all other backends, if [`MemoryOptions::with_storage`] names the storage of
/// their files.
///
/// ```
/// use backend_api::{KeySpace, StateBackend, Subtask, ValueDescriptor, ValueState};
/// use backend_memory::{MemoryBackend, MemoryOptions};
///
/// let subtask = Subtask::single("counts", KeySpace::<String>::new(128)?)?;
/// let mut backend = MemoryBackend::open(&MemoryOptions::default(), subtask, &[])?;
/// let hits = backend.register(ValueDescriptor::<u64>::new("hits"))?;
///
/// let key = backend.key("/index.html")?;
/// let count = backend.value(hits, key, &())?.update(|n| {
///     let n = n.get_or_insert(0);
///     *n += 1;
///     *n
/// })?;
/// assert_eq!(count, 1);
/// # Ok::<(), backend_api::Error>(())
/// ```
pub type MemoryBackend<K> = HeapBackend<K, InMemory>;

/// Default limit of one subtask's state in a checkpoint: 5 MiB, as in Flink.
const DEFAULT_MAX_STATE_BYTES: u64 = 5 * 1024 * 1024;

/// Options of a [`MemoryBackend`].
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    max_state_bytes: u64,
    memory_budget: Option<u64>,
    storage: Option<Arc<dyn Storage>>,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { max_state_bytes: DEFAULT_MAX_STATE_BYTES, memory_budget: None, storage: None }
    }
}

impl MemoryOptions {
    /// Sets the limit, in bytes, of one subtask's state in a checkpoint: 5 MiB by default. A larger snapshot fails, and the
    /// backend continues.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_max_state_bytes(mut self, bytes: u64) -> Result<Self> {
        CheckpointTarget::memory(bytes)?;
        self.max_state_bytes = bytes;
        Ok(self)
    }

    /// Sets the limit, in bytes, of all states in memory. A write beyond it fails with
    /// [`Size`](ErrorKind::Size) and changes nothing.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for 0.
    pub fn with_memory_budget(mut self, bytes: u64) -> Result<Self> {
        if bytes == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "the memory budget must be at least 1 byte"));
        }
        self.memory_budget = Some(bytes);
        Ok(self)
    }

    /// Sets the storage from which files of other backends' checkpoints are restored. This backend's own
    /// checkpoints still go into their handles.
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// The limit of one subtask's state in a checkpoint, in bytes.
    pub fn max_state_bytes(&self) -> u64 {
        self.max_state_bytes
    }

    /// The limit of all states in memory, in bytes, if set.
    pub fn memory_budget(&self) -> Option<u64> {
        self.memory_budget
    }

    /// The storage of the files of other backends' checkpoints, if set.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.storage.as_ref()
    }
}

/// Writes checkpoints into their handles.
#[derive(Debug)]
pub struct InMemory {
    target: AttemptTarget,
    options: MemoryOptions,
}

impl Checkpointing for InMemory {
    type Options = MemoryOptions;

    fn open(options: &MemoryOptions) -> Result<Self> {
        Ok(Self { target: Self::target(options)?.for_attempt()?, options: options.clone() })
    }

    fn target(options: &MemoryOptions) -> Result<CheckpointTarget> {
        let target = CheckpointTarget::memory(options.max_state_bytes)?;
        Ok(match &options.storage {
            Some(storage) => target.restoring_from(Arc::clone(storage)),
            None => target,
        })
    }

    fn memory_budget(&self) -> Option<u64> {
        self.options.memory_budget
    }

    fn restore_threads(&self) -> usize {
        // One thread: a checkpoint of this backend is in memory already.
        1
    }

    fn is_incremental(&self) -> bool {
        false
    }

    fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.options.storage.as_ref()
    }

    fn restored(&mut self, _: &[KeyedStateHandle], _: &RestorePlan) {}

    fn target_for(&self, request: &SnapshotRequest) -> AttemptTarget {
        self.target.for_request(request)
    }

    fn write(&mut self, heap: HeapSnapshot, request: SnapshotRequest) -> WriteHeap {
        heap.write_full(self.target_for(&request))
    }

    fn complete(&mut self, _: u64) -> bool {
        // Each checkpoint is full.
        false
    }

    fn aborted(&mut self, _: u64) {}
}
