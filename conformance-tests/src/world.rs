//! The world of one case: a factory, a setup, and the checkpoint ids used so far.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_api::storage::{StorageEntry, parent};
use backend_api::{
    Cancel, Checkpoint, CheckpointTarget, JobFolder, KeySpace, KeyedStateHandle, Result, SnapshotRequest,
    StateBackend, StateData, StateFile, StateKey, Storage, Subtask, TaskState,
};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

use crate::{Factory, Setup, skip};

/// The operator of all cases.
pub const OPERATOR: &str = "op";

/// The only subtask of an operator with `groups` key groups.
pub fn single<K: StateKey>(groups: u16) -> Subtask<K> {
    part(groups, 1, 0)
}

/// Subtask `index` of `parallelism`.
pub fn part<K: StateKey>(groups: u16, parallelism: u16, index: u16) -> Subtask<K> {
    let space = KeySpace::new(groups).expect("a valid number of groups");
    Subtask::new(OPERATOR, space, parallelism, index).expect("a valid subtask")
}

/// A factory, the setup of its backends, and the next checkpoint id.
///
/// It owns what its backends use, such as a temporary folder, and must outlive them.
#[derive(Debug)]
pub struct World<F> {
    // Dropped first: it may hold the factory's storage.
    setup: Setup,
    factory: F,
    next_id: Cell<u64>,
}

impl<F: Factory> World<F> {
    /// A fresh world with the factory's own settings.
    #[expect(clippy::new_without_default, reason = "a default value should not make folders")]
    pub fn new() -> Self {
        Self { factory: F::new(), setup: Setup::default(), next_id: Cell::new(1) }
    }

    /// A fresh world with these settings. If the backend lacks one, calls [`skip`] and returns `None`.
    pub fn with(setup: Setup) -> Option<Self> {
        let world = Self { setup, ..Self::new() };
        match world.factory.capabilities().lacking(&world.setup) {
            None => Some(world),
            Some(setting) => {
                skip(&format!("the backend has no setting {setting}"));
                None
            }
        }
    }

    /// [`with`](Self::with) for a backend with a storage, with all checkpoints in files.
    pub fn in_files(setup: Setup) -> Option<Self> {
        let world = Self::with(setup)?;
        if world.storage().is_none() {
            skip("the backend has no storage");
            return None;
        }
        let inline_max = world.factory.capabilities().inline_max.then_some(0);
        Some(Self { setup: Setup { inline_max, ..world.setup }, ..world })
    }

    /// [`in_files`](Self::in_files) with the factory's storage wrapped.
    pub fn over<S: Storage>(
        setup: Setup,
        wrap: impl FnOnce(Arc<dyn Storage>) -> S,
    ) -> Option<(Self, Arc<S>)> {
        let mut world = Self::in_files(setup)?;
        if !world.factory.capabilities().storage {
            skip("the backend has no setting storage");
            return None;
        }
        let wrapped = Arc::new(wrap(world.storage()?));
        world.setup.storage = Some(Arc::clone(&wrapped) as Arc<dyn Storage>);
        Some((world, wrapped))
    }

    /// [`with`](Self::with) in a folder that outlives it. `None` if the factory does not support that.
    pub fn in_folder(setup: Setup, folder: &Path) -> Option<Self> {
        Some(Self { factory: F::in_folder(folder)?, setup, next_id: Cell::new(1) })
    }

    /// The factory.
    pub fn factory(&self) -> &F {
        &self.factory
    }

    /// Changes the settings from now on.
    pub fn set_up(&mut self, setup: Setup) {
        self.setup = setup;
    }

    /// The storage of the checkpoints, if they have one.
    pub fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.setup.storage.clone().or_else(|| self.factory.storage())
    }

    /// The target of operator and raw state.
    pub fn target(&self) -> CheckpointTarget {
        F::Backend::<i32>::checkpoint_target(&self.factory.options(&self.setup).unwrap()).unwrap()
    }

    /// The folder of the job.
    pub fn job(&self) -> JobFolder {
        self.factory.job()
    }

    /// All files of the storage except the store's own records. Empty without a storage.
    pub fn files(&self) -> Vec<StorageEntry> {
        let mut files = self.storage().map_or(Vec::new(), |storage| storage.list("").unwrap());
        let notes = [self.job().owner(), self.job().reserved()];
        files.retain(|file| !notes.iter().any(|folder| parent(&file.path) == folder));
        files
    }

    /// Opens a backend.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn try_open<K: StateKey>(
        &self,
        subtask: Subtask<K>,
        restore: &[KeyedStateHandle],
    ) -> Result<F::Backend<K>> {
        F::Backend::open(&self.factory.options::<K>(&self.setup)?, subtask, restore)
    }

    /// Opens an empty backend over 10 key groups.
    pub fn open<K: StateKey>(&self) -> F::Backend<K> {
        self.try_open(single(10), &[]).unwrap()
    }

    /// Opens the backend of all groups of a handle.
    pub fn restore<K: StateKey>(&self, handle: &KeyedStateHandle) -> F::Backend<K> {
        self.try_open(single(handle.max_parallelism), std::slice::from_ref(handle)).unwrap()
    }

    /// A request with the next checkpoint id.
    pub fn request(&self) -> SnapshotRequest {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        SnapshotRequest::new(id)
    }

    /// Takes a checkpoint and does not confirm it.
    ///
    /// # Errors
    /// Errors of the backend and of the task.
    pub fn try_snapshot<B: StateBackend>(&self, backend: &mut B) -> Result<Option<KeyedStateHandle>> {
        backend.snapshot(self.request())?.run()
    }

    /// Takes a checkpoint without confirming it, and encodes and decodes its handle as the coordinator does.
    pub fn snapshot<B: StateBackend>(&self, backend: &mut B) -> KeyedStateHandle {
        sent(self.try_snapshot(backend).unwrap().unwrap())
    }

    /// Takes a checkpoint and confirms it.
    pub fn checkpoint<B: StateBackend>(&self, backend: &mut B) -> KeyedStateHandle {
        let handle = self.snapshot(backend);
        backend.notify_complete(handle.checkpoint_id).unwrap();
        handle
    }

    /// Takes a checkpoint, drops the backend, opens a new one from the handle, and discards that.
    pub fn reopen<K: StateKey>(&self, mut backend: F::Backend<K>) -> F::Backend<K> {
        let handle = self.checkpoint(&mut backend);
        drop(backend);
        let backend = self.restore(&handle);
        if let Some(storage) = self.storage() {
            handle.discard(&*storage).unwrap();
        }
        backend
    }

    /// The bytes of a checkpoint file.
    pub fn bytes(&self, file: &StateFile) -> Vec<u8> {
        match &file.data {
            StateData::Inline(bytes) => bytes.clone(),
            StateData::File { path, length } => {
                let file = self.storage().unwrap().open(path).unwrap();
                file.read(0, *length as usize).unwrap().into_owned()
            }
        }
    }

    /// Replaces the bytes of a checkpoint file, inline or not, and returns its new description.
    pub fn put_bytes(&self, file: &StateFile, bytes: Vec<u8>) -> StateFile {
        let mut file = file.clone();
        match &mut file.data {
            StateData::Inline(inline) => *inline = bytes,
            StateData::File { path, .. } => {
                self.storage().unwrap().delete(path).unwrap();
                let mut writer = self.storage().unwrap().create(path, &Cancel::new()).unwrap();
                writer.write(&bytes).unwrap();
                writer.finish().unwrap();
            }
        }
        file
    }

    /// All working files of backends, sorted.
    pub fn working_files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            let Ok(entries) = std::fs::read_dir(folder) else { return };
            for entry in entries {
                let path = entry.unwrap().path();
                walk(&path, found);
                found.push(path);
            }
        }
        let mut found = Vec::new();
        if let Some(folder) = self.factory.working_folder() {
            walk(&folder, &mut found);
        }
        found.sort();
        found
    }

    /// The store of the job's completed checkpoints, `retained` of them.
    pub fn store(&self, retained: usize) -> CheckpointStore {
        self.try_store(retained).unwrap()
    }

    /// [`store`](Self::store) with its errors.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn try_store(&self, retained: usize) -> Result<CheckpointStore> {
        let options = match self.storage() {
            Some(storage) => CheckpointStoreOptions::in_storage(self.job(), storage),
            None => CheckpointStoreOptions::in_memory(self.job()),
        };
        CheckpointStore::open(options.with_retained(retained)?)
    }

    /// Takes a checkpoint, completes it in `store` and confirms it.
    pub fn complete<B: StateBackend>(
        &self,
        store: &mut CheckpointStore,
        backend: &mut B,
    ) -> KeyedStateHandle {
        let handle = self.snapshot(backend);
        store.complete(checkpoint_of([handle.clone()])).unwrap();
        backend.notify_complete(handle.checkpoint_id).unwrap();
        handle
    }
}

/// The checkpoint of these handles, one for each subtask.
pub fn checkpoint_of(handles: impl IntoIterator<Item = KeyedStateHandle>) -> Checkpoint {
    let handles: Vec<_> = handles.into_iter().collect();
    let id = handles.iter().map(|handle| handle.checkpoint_id).max().unwrap_or(1);
    let parallelism = handles.len() as u16;
    let tasks = handles.into_iter().enumerate().map(|(index, handle)| {
        TaskState::new(handle.operator.clone(), index as u16, parallelism, Some(handle))
    });
    Checkpoint::new(id, tasks.collect())
}

/// The handle, encoded and decoded in the metadata of its checkpoint.
fn sent(handle: KeyedStateHandle) -> KeyedStateHandle {
    let bytes = checkpoint_of([handle]).encode().unwrap();
    let checkpoint = Checkpoint::decode(&bytes, "_metadata").unwrap();
    checkpoint.handles().next().unwrap().clone()
}
