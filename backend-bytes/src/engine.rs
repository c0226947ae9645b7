use std::fmt::Debug;

use super::{ByteOptions, ByteStore, LayerState, StoreSnapshots};
use backend_api::format::StateMeta;
use backend_api::{CheckpointTarget, Error, ErrorKind, KeyedStateHandle, Result, StateKey, Subtask};

/// Opens the stores of an [`EngineBackend`](super::EngineBackend). It has its own options, and may have its
/// own checkpoint format.
///
/// An engine that needs neither is used through [`ByteOptions`], which take a closure.
pub trait ByteEngine: 'static {
    /// The store.
    type Store: ByteStore;
    /// The options that opening a backend takes.
    type Options: Clone + Debug + Send + Sync + 'static;

    /// The format of handles that [`open`](Self::open) reads and [`StoreSnapshots::native`] writes;
    /// [`row::FORMAT`](backend_api::row::FORMAT) if the engine has none.
    const FORMAT: &'static str;

    /// The target of checkpoints.
    fn target(options: &Self::Options) -> &CheckpointTarget;

    /// The most bytes of an entry, as in [`ByteOptions::with_entry_bytes_max`].
    fn entry_bytes_max(options: &Self::Options) -> u64;

    /// Bytes of memory for the caches of decoded values; 0 for no caches.
    fn cache_bytes(options: &Self::Options) -> usize;

    /// Opens a separate store for a subtask. It contains exactly the key groups of the subtask in `native`.
    ///
    /// The handles have [`FORMAT`](Self::FORMAT), fit the subtask's keys, and have no key group in common.
    ///
    /// # Errors
    /// Errors of [`StateBackend::open`](backend_api::StateBackend::open). Then it leaves no files.
    fn open<K: StateKey>(
        options: &Self::Options,
        subtask: &Subtask<K>,
        native: &[KeyedStateHandle],
    ) -> Result<OpenedStore<Self::Store>>;

    /// The store's own snapshots. `None` if it has only [`ByteStore::snapshot`]. The answer never changes.
    fn snapshots(store: &mut Self::Store) -> Option<&mut dyn StoreSnapshots>;
}

/// A store and its states.
#[derive(Debug)]
pub struct OpenedStore<S> {
    /// The store.
    pub store: S,
    /// The states in the store. The index of a state is its number.
    pub states: Vec<StateMeta>,
    /// The joined [`FreezeRequest::layer`](super::FreezeRequest::layer) of the restored checkpoints. The
    /// default without a restore.
    pub layer: LayerState,
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
            let message = "a backend needs an empty store, and this one has an entry";
            return Err(Error::new(ErrorKind::IllegalState, message));
        }
        Ok(OpenedStore { store, states: Vec::new(), layer: LayerState::default() })
    }

    fn snapshots(_store: &mut Self::Store) -> Option<&mut dyn StoreSnapshots> {
        None
    }
}
