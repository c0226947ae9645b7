//! What a heap backend does with its checkpoints.

use std::fmt::Debug;
use std::sync::Arc;

use backend_api::restore::RestorePlan;
use backend_api::{Cancel, CheckpointTarget, KeyedStateHandle, Progress, Result, SnapshotRequest, Storage};

use super::HeapSnapshot;

/// Writes a snapshot of the heap; runs on any thread.
pub type WriteHeap = Box<dyn FnOnce(&Cancel, &Progress) -> Result<Option<KeyedStateHandle>> + Send>;

/// What a heap backend does with its checkpoints.
pub trait Checkpointing: Debug + Send + Sized + 'static {
    /// What a user chooses.
    type Options: Clone + Debug + Send + Sync + 'static;

    /// Opens it for one backend.
    ///
    /// # Errors
    /// [`InvalidArgument`](backend_api::ErrorKind::InvalidArgument) for options out of range.
    fn open(options: &Self::Options) -> Result<Self>;

    /// Where checkpoints go.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn target(options: &Self::Options) -> Result<CheckpointTarget>;

    /// Most bytes that all states together may hold; no limit if `None`.
    fn memory_budget(&self) -> Option<u64>;

    /// Threads that read one state back, at least 1.
    fn restore_threads(&self) -> usize;

    /// True if the changes between checkpoints must be known, removals included.
    fn is_incremental(&self) -> bool;

    /// Where the files of checkpoints are read from, if anywhere.
    fn storage(&self) -> Option<&Arc<dyn Storage>>;

    /// Tells once what the backend is restored from.
    fn restored(&mut self, handles: &[KeyedStateHandle], plan: &RestorePlan);

    /// The task that writes a snapshot.
    fn write(&mut self, heap: HeapSnapshot, request: SnapshotRequest) -> WriteHeap;

    /// The checkpoint is complete. Answers whether the next one may build on it: not if it is unknown.
    fn complete(&mut self, checkpoint_id: u64) -> bool;

    /// The checkpoint will never be complete.
    fn aborted(&mut self, checkpoint_id: u64);
}
