//! How a heap backend stores its checkpoints.

use std::fmt::Debug;
use std::sync::Arc;

use backend_api::restore::RestorePlan;
use backend_api::{AttemptTarget, CheckpointTarget, KeyedStateHandle, Result, SnapshotRequest, Storage};

use super::snapshot::{HeapSnapshot, WriteHeap};

/// How a heap backend stores its checkpoints.
pub trait Checkpointing: Debug + Send + Sized + 'static {
    /// Options chosen by the user.
    type Options: Clone + Debug + Send + Sync + 'static;

    /// Opens it for one backend.
    ///
    /// # Errors
    /// [`InvalidArgument`](backend_api::ErrorKind::InvalidArgument) for options out of range.
    fn open(options: &Self::Options) -> Result<Self>;

    /// The target of checkpoints.
    ///
    /// # Errors
    /// Same as [`open`](Self::open).
    fn target(options: &Self::Options) -> Result<CheckpointTarget>;

    /// Most bytes that all states together may hold, or `None` for no limit.
    fn memory_budget(&self) -> Option<u64>;

    /// Threads that restore one state, at least 1.
    fn restore_threads(&self) -> usize;

    /// True if changes between checkpoints are tracked, including removals.
    fn is_incremental(&self) -> bool;

    /// The storage that checkpoint files are read from, if any.
    fn storage(&self) -> Option<&Arc<dyn Storage>>;

    /// Reports once what the backend is restored from.
    fn restored(&mut self, handles: &[KeyedStateHandle], plan: &RestorePlan);

    /// The target of the files of a snapshot.
    fn target_for(&self, request: &SnapshotRequest) -> AttemptTarget;

    /// Returns the task that writes a checkpoint.
    fn write(&mut self, heap: HeapSnapshot, request: SnapshotRequest) -> WriteHeap;

    /// Reports a completed checkpoint. Returns true if the next one may build on it, which requires that it
    /// is known.
    fn complete(&mut self, checkpoint_id: u64) -> bool;

    /// Reports a checkpoint that will never complete.
    fn aborted(&mut self, checkpoint_id: u64);
}
