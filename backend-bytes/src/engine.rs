use std::fmt::Debug;

use super::{ByteOptions, ByteStore, LateWrites};
use backend_api::format::{FileMeta, StateMeta};
use backend_api::{
    Cancel, CheckpointTarget, Error, ErrorKind, KeyedStateHandle, Progress, Result, StateFile, StateKey,
    Subtask,
};

/// Makes the stores of an [`EngineBackend`](super::EngineBackend) from options of its own, and may bring a checkpoint
/// format of its own.
///
/// An engine without either is better served by [`ByteOptions`], which take a closure.
pub trait ByteEngine: 'static {
    /// The store.
    type Store: ByteStore;
    /// What opening a backend needs.
    type Options: Clone + Debug + Send + Sync + 'static;

    /// The format of handles that [`open`](Self::open) reads and the store's
    /// [`native`](ByteStore::native) checkpoints have; [`row::FORMAT`](backend_api::row::FORMAT) if there is none but that.
    const FORMAT: &'static str;

    /// Where checkpoints go.
    fn target(options: &Self::Options) -> &CheckpointTarget;

    /// The most bytes of an entry, as in [`ByteOptions::with_entry_bytes_max`].
    fn entry_bytes_max(options: &Self::Options) -> u64;

    /// Bytes of memory for decoded values; 0 for none.
    fn cache_bytes(options: &Self::Options) -> usize;

    /// Opens a store for a subtask, which no other backend uses, with what `native` holds for its key groups and
    /// nothing else.
    ///
    /// The handles are of [`FORMAT`](Self::FORMAT), fit the subtask's keys, and no two have a key group in common.
    ///
    /// # Errors
    /// Those of [`StateBackend::open`](backend_api::StateBackend::open). Nothing is left behind then.
    fn open<K: StateKey>(
        options: &Self::Options,
        subtask: &Subtask<K>,
        native: &[KeyedStateHandle],
    ) -> Result<OpenedStore<Self::Store>>;
}

/// A store and what is in it.
#[derive(Debug)]
pub struct OpenedStore<S> {
    /// The store.
    pub store: S,
    /// The states in it; the number of each is its index.
    pub states: Vec<StateMeta>,
    /// A number above those of all list elements in it.
    pub sequence: u64,
    /// Of each state what [`FreezeRequest::bounds`] said of it; where several checkpoints came together, the sums. Bounds of 0
    /// where there are none.
    pub bounds: Vec<Vec<u64>>,
}

/// What a store is to freeze.
#[derive(Clone, Copy, Debug)]
pub struct FreezeRequest<'a> {
    /// What a file says of the checkpoint, with all states in the store, by their numbers.
    pub meta: &'a FileMeta,
    /// A number above those of all list elements; to be kept for [`OpenedStore::sequence`].
    pub sequence: u64,
    /// Of each state upper bounds of the bytes of its lists or maps, by the hashes of their keys: none, one, or 4,096; to be
    /// kept for [`OpenedStore::bounds`].
    pub bounds: &'a [Vec<u64>],
    /// Whether the checkpoint may depend on no earlier one.
    pub full: bool,
}

/// Writes what a store froze, and gives the files.
pub type NativeTask = Box<dyn FnOnce(&Cancel, &Progress) -> Result<Vec<StateFile>> + Send>;

/// Checkpoints of a [`ByteStore`] in a format of its own: files of the engine, say, of which a later checkpoint takes
/// over those that it still has.
pub trait NativeCheckpoints {
    /// Whether checkpoints should be such, where rows are possible too.
    fn is_preferred(&self) -> bool;

    /// Freezes the store as it is now, with `late` in it. The task may apply `late`, if
    /// [`ByteStore::settle`] does so where the task has not.
    ///
    /// The task leaves no file behind if it fails or is cancelled. Its files have the engine's
    /// [`FORMAT`](ByteEngine::FORMAT). Their names begin with `<operator>-<subtask>-`, end with `-<id of the checkpoint
    /// that wrote them>`, and have something else than digits between these.
    ///
    /// # Errors
    /// If it cannot be frozen.
    fn freeze(&mut self, request: FreezeRequest<'_>, late: LateWrites) -> Result<NativeTask>;

    /// As [`StateBackend::notify_complete`](backend_api::StateBackend::notify_complete).
    fn complete(&mut self, checkpoint_id: u64);

    /// As [`StateBackend::notify_aborted`](backend_api::StateBackend::notify_aborted).
    fn aborted(&mut self, checkpoint_id: u64);
}

/// The engine of [`ByteOptions`]: any store, with checkpoints of rows.
#[derive(Debug)]
pub enum AnyStore {}

impl ByteEngine for AnyStore {
    type Store = Box<dyn ByteStore>;
    type Options = ByteOptions;

    const FORMAT: &'static str = backend_api::row::FORMAT;

    fn target(options: &ByteOptions) -> &CheckpointTarget {
        options.target()
    }

    fn entry_bytes_max(options: &ByteOptions) -> u64 {
        options.entry_bytes_max()
    }

    fn cache_bytes(options: &ByteOptions) -> usize {
        options.cache_bytes()
    }

    fn open<K: StateKey>(
        options: &ByteOptions,
        subtask: &Subtask<K>,
        _native: &[KeyedStateHandle],
    ) -> Result<OpenedStore<Self::Store>> {
        let store = options.open_store(subtask.operator(), subtask.index())?;
        if store.scan(&[], &[u8::MAX; 3])?.next()?.is_some() {
            let message = "the store of a backend that is opened holds something already";
            return Err(Error::new(ErrorKind::IllegalState, message));
        }
        Ok(OpenedStore { store, states: Vec::new(), sequence: 0, bounds: Vec::new() })
    }
}
