use super::{ByteSnapshot, CacheFlush, LayerState};
use backend_api::format::FileMeta;
use backend_api::{Cancel, Progress, Result, SnapshotRequest, StateFile};

/// Snapshots of a store that flushes caches late, or that has its own checkpoint format.
///
/// A store without this trait receives the flush of the caches as plain writes, and then a call of
/// [`ByteStore::snapshot`](super::ByteStore::snapshot). A store with it receives the [`CacheFlush`], and may
/// leave it to the task of the snapshot, so that the backend's thread continues at once. The flush is *due*
/// until it is applied.
///
/// [`ByteEngine::snapshots`](super::ByteEngine::snapshots) returns it. All methods are required, so that a
/// wrapper cannot forget to forward one.
pub trait StoreSnapshots {
    /// True if checkpoints should be [native](Self::native) even where rows are possible.
    fn prefers_native(&self) -> bool;

    /// A view of the present content including `flush`, without later writes, for a checkpoint of rows.
    /// [`ByteSnapshot::prepare`] applies a due flush.
    ///
    /// # Errors
    /// If it cannot be made, and those of [`CacheFlush::apply`] unless that is left to the snapshot.
    fn rows(&mut self, request: &SnapshotRequest, flush: CacheFlush) -> Result<Box<dyn ByteSnapshot>>;

    /// Freezes the present content including `flush`, without later writes. The task writes files in the
    /// store's own format, and applies a due flush.
    ///
    /// The task leaves no file behind if it fails or is cancelled. It writes its files with
    /// [`AttemptTarget::write_part`](backend_api::AttemptTarget::write_part), with the engine's
    /// [`FORMAT`](super::ByteEngine::FORMAT).
    ///
    /// # Errors
    /// If it cannot be frozen.
    fn native(&mut self, request: FreezeRequest<'_>, flush: CacheFlush) -> Result<NativeTask>;

    /// [`StateBackend::notify_complete`](backend_api::StateBackend::notify_complete) for the store.
    fn complete(&mut self, checkpoint_id: u64);

    /// [`StateBackend::notify_aborted`](backend_api::StateBackend::notify_aborted) for the store.
    fn aborted(&mut self, checkpoint_id: u64);

    /// True if a flush is due or running.
    fn is_flushing(&mut self) -> bool;

    /// Applies a due flush, or waits for a running one. Caches write to the store only afterwards. An error
    /// of the flush belongs to its snapshot.
    fn finish_flush(&mut self);

    /// [`finish_flush`](Self::finish_flush) that may give up after a short wait. Returns false then.
    fn try_finish_flush(&mut self) -> bool;
}

/// A request to freeze a store.
#[derive(Clone, Debug)]
pub struct FreezeRequest<'a> {
    /// Metadata of the checkpoint, with all states in the store by number.
    pub meta: &'a FileMeta,
    /// Stored with the checkpoint, for [`OpenedStore::layer`](super::OpenedStore::layer).
    pub layer: LayerState,
    /// The request to the backend, which says if the checkpoint may depend on an earlier one.
    pub request: SnapshotRequest,
}

/// Writes the frozen content, and returns the files.
pub type NativeTask = Box<dyn FnOnce(&Cancel, &Progress) -> Result<Vec<StateFile>> + Send>;
