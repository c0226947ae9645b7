use super::{ByteSnapshot, CacheFlush, LayerState};
use backend_api::format::FileMeta;
use backend_api::{Cancel, Progress, Result, SnapshotRequest, StateFile};

/// Snapshots of a store that flushes caches late, or that has checkpoints in a format of its own.
///
/// A store without this gets the flush of the caches as plain writes, and is asked for
/// [`ByteStore::snapshot`](super::ByteStore::snapshot) after them. A store with it is handed the
/// [`CacheFlush`], and may leave it to the task of the snapshot, so that the thread of the backend goes on at
/// once. It is *due* until it is applied.
///
/// The engine hands it out by [`ByteEngine::snapshots`](super::ByteEngine::snapshots). All methods are
/// required: who forwards them must forward all.
pub trait StoreSnapshots {
    /// True if checkpoints should be [native](Self::native) also where rows are possible.
    fn prefers_native(&self) -> bool;

    /// A view of the store as it is now, with `flush` in it and no later write, for a checkpoint of rows.
    /// [`ByteSnapshot::prepare`] applies a flush that is due.
    ///
    /// # Errors
    /// If there can be none, and those of [`CacheFlush::apply`] if it is not left to the snapshot.
    fn rows(&mut self, request: &SnapshotRequest, flush: CacheFlush) -> Result<Box<dyn ByteSnapshot>>;

    /// Freezes the store as it is now, with `flush` in it and no later write. The task writes files in the
    /// store's own format; it applies a flush that is due.
    ///
    /// The task leaves no file behind if it fails or is cancelled. It makes its files with
    /// [`AttemptTarget::write_part`](backend_api::AttemptTarget::write_part), of the engine's
    /// [`FORMAT`](super::ByteEngine::FORMAT).
    ///
    /// # Errors
    /// If it cannot be frozen.
    fn native(&mut self, request: FreezeRequest<'_>, flush: CacheFlush) -> Result<NativeTask>;

    /// As [`StateBackend::notify_complete`](backend_api::StateBackend::notify_complete).
    fn complete(&mut self, checkpoint_id: u64);

    /// As [`StateBackend::notify_aborted`](backend_api::StateBackend::notify_aborted).
    fn aborted(&mut self, checkpoint_id: u64);

    /// True if a flush is due or under way.
    fn is_flushing(&mut self) -> bool;

    /// Applies a flush that is due, or waits for one that is under way. Caches write to the store only after
    /// that. An error of the flush belongs to its snapshot.
    fn finish_flush(&mut self);

    /// As [`finish_flush`](Self::finish_flush), but may give up after a short wait. Returns `false` then.
    fn try_finish_flush(&mut self) -> bool;
}

/// What a store is to freeze.
#[derive(Clone, Debug)]
pub struct FreezeRequest<'a> {
    /// Describes the checkpoint, with all states in the store by their numbers.
    pub meta: &'a FileMeta,
    /// To be stored with the checkpoint, for [`OpenedStore::layer`](super::OpenedStore::layer).
    pub layer: LayerState,
    /// What was asked of the backend. It tells whether the checkpoint may depend on an earlier one.
    pub request: SnapshotRequest,
}

/// Writes what a store froze, and returns the files.
pub type NativeTask = Box<dyn FnOnce(&Cancel, &Progress) -> Result<Vec<StateFile>> + Send>;
