//! A storage whose calls fail by name, and checkpoints as backends write them.

#![allow(dead_code, reason = "each test uses some of it")]

pub mod small_job;

use std::sync::{Arc, Mutex};

use backend_api::storage::{StorageEntry, StorageFile, StorageWriter};
use backend_api::{
    Cancel, Checkpoint, Error, ErrorKind, FileName, JobFile, JobFolder, KeyGroupRange, KeyedStateHandle,
    MemoryStorage, Result, StateData, StateFile, Storage, TaskState,
};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

/// A storage in memory. Chosen calls fail, by a word in the call and its path.
#[derive(Debug, Default)]
pub struct Faulty {
    pub inner: MemoryStorage,
    failing: Mutex<Vec<&'static str>>,
    pub deleted: Mutex<Vec<String>>,
}

impl Faulty {
    /// Makes calls fail whose text, such as `create job/chk-2/_metadata`, contains one of `words`.
    pub fn fail(&self, words: &[&'static str]) {
        *self.failing.lock().unwrap() = words.to_vec();
    }

    fn call(&self, call: &str, path: &str) -> Result<()> {
        let call = format!("{call} {path}");
        let fails = self.failing.lock().unwrap().iter().any(|word| call.contains(word));
        if fails { Err(Error::new(ErrorKind::Io, call).in_file(path, None)) } else { Ok(()) }
    }

    /// All files except the store's own records.
    pub fn paths(&self) -> Vec<String> {
        let all = self.inner.list("").unwrap().into_iter().map(|entry| entry.path);
        all.filter(|path| !path.starts_with(&job().owner()) && !path.starts_with(&job().reserved())).collect()
    }

    /// The files as the tests name them: see [`short`].
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.paths().iter().map(|path| short(path)).collect();
        names.sort();
        names
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.inner.delete(path).unwrap();
        let mut writer = self.inner.create(path, &Cancel::new()).unwrap();
        writer.write(bytes).unwrap();
        writer.finish().unwrap();
    }
}

impl Storage for Faulty {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        self.call("create", path)?;
        self.inner.create(path, cancel)
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.call("open", path)?;
        self.inner.open(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        self.call("list", folder)?;
        self.inner.list(folder)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.call("delete", path)?;
        self.deleted.lock().unwrap().push(path.to_owned());
        self.inner.delete(path)
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        self.call("delete_folder", folder)?;
        self.inner.delete_folder(folder)
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        self.inner.sweep(folder)
    }
}

pub fn job() -> JobFolder {
    JobFolder::new("job").unwrap()
}

pub fn options(storage: &Arc<Faulty>) -> CheckpointStoreOptions {
    CheckpointStoreOptions::in_storage(job(), storage.clone())
}

pub fn open(storage: &Arc<Faulty>, retained: usize) -> CheckpointStore {
    CheckpointStore::open(options(storage).with_retained(retained).unwrap()).unwrap()
}

/// The file that a subtask of `op` writes for a checkpoint, private or shared.
pub fn in_file(subtask: u16, created_by: u64, shared: bool) -> StateFile {
    let folder = if shared { job().shared() } else { job().checkpoint(created_by) };
    let part = shared.then_some("s");
    let attempt = 0xab;
    let name = FileName { operator: "op", subtask: subtask.into(), attempt, part, checkpoint_id: created_by }
        .to_string();
    let data = StateData::File { path: format!("{folder}/{name}"), length: 1 };
    StateFile { name, format: "test".to_owned(), created_by, shared, data }
}

/// `job/chk-2/_metadata` as `2 meta`, a private file of checkpoint 2 as `2 private`, a shared one as `2 shared`.
pub fn short(path: &str) -> String {
    let known = job().file_of(path);
    match known {
        Some(JobFile::Metadata(id)) => format!("{id} meta"),
        Some(JobFile::Private(name)) => format!("{} private", name.checkpoint_id),
        Some(JobFile::Shared(name)) => format!("{} shared", name.checkpoint_id),
        _ => path.to_owned(),
    }
}

pub fn path(file: &StateFile) -> &str {
    let StateData::File { path, .. } = &file.data else { panic!("{file:?} is inline") };
    path
}

pub fn inline(bytes: usize) -> StateFile {
    let data = StateData::Inline(vec![7; bytes]);
    StateFile { name: "inline".to_owned(), format: "test".to_owned(), created_by: 1, shared: false, data }
}

/// The acknowledgement of one of two subtasks, or of the only one.
pub fn task(id: u64, subtask: u16, parallelism: u16, files: Vec<StateFile>) -> TaskState {
    let handle = KeyedStateHandle {
        format: "test".to_owned(),
        checkpoint_id: id,
        operator: "op".to_owned(),
        range: KeyGroupRange::of_subtask(10, parallelism, subtask).unwrap(),
        max_parallelism: 10,
        key_group_mapping: "test".to_owned(),
        key_schema: "i32".to_owned(),
        files,
    };
    TaskState::new("op", subtask, parallelism, Some(handle))
}

/// A checkpoint of one task with these files.
pub fn checkpoint(id: u64, files: Vec<StateFile>) -> Checkpoint {
    Checkpoint::new(id, vec![task(id, 0, 1, files)])
}

/// Checkpoint `id` as a backend writes it: its own private and shared file, and the shared files of `uses`.
pub fn written(storage: &Faulty, id: u64, uses: &[u64]) -> Checkpoint {
    let mut files = vec![in_file(0, id, false), in_file(0, id, true)];
    files.iter().for_each(|file| storage.put(path(file), b"x"));
    files.extend(uses.iter().map(|used| in_file(0, *used, true)));
    checkpoint(id, files)
}

pub fn ids(store: &CheckpointStore) -> Vec<u64> {
    store.checkpoints().map(|checkpoint| checkpoint.id).collect()
}
