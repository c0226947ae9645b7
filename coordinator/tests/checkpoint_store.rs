//! The store of completed checkpoints: what is complete, what is kept, what is deleted, also where the storage fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use backend_api::storage::{StorageEntry, StorageFile, StorageWriter};
use backend_api::{
    Cancel, Checkpoint, Error, ErrorKind, JobFolder, KeyGroupRange, KeyedStateHandle, MemoryStorage, Result,
    StateData, StateFile, Storage, TaskState,
};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

/// A storage in memory of which chosen calls fail, by a word of the call and its path.
#[derive(Debug, Default)]
struct Faulty {
    inner: MemoryStorage,
    failing: Mutex<Vec<&'static str>>,
    deleted: Mutex<Vec<String>>,
}

impl Faulty {
    /// From now on the calls fail of which one of `words` is a part, such as `create job/chk-2/_metadata`.
    fn fail(&self, words: &[&'static str]) {
        *self.failing.lock().unwrap() = words.to_vec();
    }

    fn call(&self, call: &str, path: &str) -> Result<()> {
        let call = format!("{call} {path}");
        let fails = self.failing.lock().unwrap().iter().any(|word| call.contains(word));
        if fails { Err(Error::new(ErrorKind::Io, call).in_file(path, None)) } else { Ok(()) }
    }

    fn paths(&self) -> Vec<String> {
        self.inner.list("").unwrap().into_iter().map(|entry| entry.path).collect()
    }

    fn put(&self, path: &str, bytes: &[u8]) {
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

fn job() -> JobFolder {
    JobFolder::new("job").unwrap()
}

fn options(storage: &Arc<Faulty>) -> CheckpointStoreOptions {
    CheckpointStoreOptions::in_storage(job(), storage.clone())
}

fn open(storage: &Arc<Faulty>, retained: usize) -> CheckpointStore {
    CheckpointStore::open(options(storage).retained(retained)).unwrap()
}

fn in_file(name: &str, created_by: u64, shared: bool) -> StateFile {
    let folder = if shared { job().shared() } else { job().checkpoint(created_by) };
    let data = StateData::File { path: format!("{folder}/{name}"), length: 1 };
    StateFile { name: name.to_owned(), format: "test".to_owned(), created_by, shared, data }
}

fn inline(bytes: usize) -> StateFile {
    StateFile {
        name: "inline".to_owned(),
        format: "test".to_owned(),
        created_by: 1,
        shared: false,
        data: StateData::Inline(vec![7; bytes]),
    }
}

/// A checkpoint of one task with these files.
fn checkpoint(id: u64, files: Vec<StateFile>) -> Checkpoint {
    let handle = KeyedStateHandle {
        format: "test".to_owned(),
        checkpoint_id: id,
        operator: "op".to_owned(),
        range: KeyGroupRange::new(0, 9).unwrap(),
        max_parallelism: 10,
        key_group_mapping: "test".to_owned(),
        key_schema: "i32".to_owned(),
        files,
    };
    Checkpoint::new(id, vec![TaskState::new("op", 0, 1, Some(handle))])
}

/// The checkpoint `id` as a backend writes it: a private file and a shared one of its own, and the shared ones of
/// `uses`.
fn written(storage: &Faulty, id: u64, uses: &[u64]) -> Checkpoint {
    let mut files = vec![in_file("private", id, false), in_file(&format!("s-{id}"), id, true)];
    for file in &files {
        let StateData::File { path, .. } = &file.data else { unreachable!() };
        storage.put(path, b"x");
    }
    files.extend(uses.iter().map(|used| in_file(&format!("s-{used}"), *used, true)));
    checkpoint(id, files)
}

fn ids(store: &CheckpointStore) -> Vec<u64> {
    store.checkpoints().map(|checkpoint| checkpoint.id).collect()
}

#[test]
fn a_completed_checkpoint_is_there_after_a_restart() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    assert!(store.latest().is_none());
    assert_eq!(store.next_id(), 1);
    let first = written(&storage, 1, &[]);
    store.complete(first.clone()).unwrap();
    drop(store);
    let store = open(&storage, 1);
    assert_eq!(store.latest(), Some(&first));
    assert_eq!(store.next_id(), 2);
    assert!(store.orphans(&[]).unwrap().is_empty());
}

#[test]
fn the_newest_are_kept_and_of_the_others_nothing_is_left() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 3);
    for id in 1..=5 {
        let uses = if id == 1 { vec![] } else { vec![id - 1] };
        store.complete(written(&storage, id, &uses)).unwrap();
    }
    assert_eq!(ids(&store), [3, 4, 5]);
    let expected = [
        "job/chk-3/_metadata",
        "job/chk-3/private",
        "job/chk-4/_metadata",
        "job/chk-4/private",
        "job/chk-5/_metadata",
        "job/chk-5/private",
        "job/shared/s-2",
        "job/shared/s-3",
        "job/shared/s-4",
        "job/shared/s-5",
    ];
    assert_eq!(storage.paths(), expected);
}

#[test]
fn metadata_goes_before_the_files_that_it_names() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[])).unwrap();
    let deleted = storage.deleted.lock().unwrap().clone();
    assert_eq!(deleted, ["job/chk-1/_metadata", "job/shared/s-1"]);
}

#[test]
fn an_id_that_is_not_above_the_latest_is_refused_and_nothing_touched() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 3, &[])).unwrap();
    let before = storage.paths();
    for id in [3, 2, 0] {
        let error = store.complete(checkpoint(id, vec![in_file("private", 3, false)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
    }
    assert_eq!((ids(&store), storage.paths()), (vec![3], before));
}

#[test]
fn a_checkpoint_that_cannot_be_made_complete_leaves_nothing_and_keeps_the_older_ones() {
    for fault in ["create job/chk-2/_metadata", "", "unknown file"] {
        let storage = Arc::new(Faulty::default());
        let limit = if fault.is_empty() { 150 } else { 10 << 20 };
        let mut store =
            CheckpointStore::open(options(&storage).retained(1).max_message_bytes(limit)).unwrap();
        store.complete(written(&storage, 1, &[])).unwrap();
        let before = storage.paths();
        let mut second = written(&storage, 2, &[1]);
        let expected = match fault {
            "" => {
                second.tasks[0].properties.insert("large".to_owned(), vec![0; 1000]);
                ErrorKind::Size
            }
            "unknown file" => {
                second = written(&storage, 2, &[1, 77]);
                ErrorKind::IllegalState
            }
            _ => ErrorKind::Io,
        };
        storage.fail(if expected == ErrorKind::Io { &["create job/chk-2/_metadata"] } else { &[] });
        assert_eq!(store.complete(second).unwrap_err().kind(), expected);
        storage.fail(&[]);
        assert_eq!((ids(&store), storage.paths()), (vec![1], before), "{fault:?}");
        // The shared file of the first one is still known, and the next checkpoint may use it.
        store.complete(written(&storage, 3, &[1])).unwrap();
        assert_eq!(ids(&store), [3]);
        assert!(storage.paths().contains(&"job/shared/s-1".to_owned()));
    }
}

#[test]
fn a_metadata_file_that_cannot_be_taken_back_keeps_its_files() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let second = written(&storage, 2, &[]);
    storage.fail(&["create job/chk-2", "delete job/chk-2"]);
    assert_eq!(store.complete(second).unwrap_err().kind(), ErrorKind::Io);
    // Whether the metadata is there is not known, so what it would name must be.
    assert!(storage.paths().contains(&"job/chk-2/private".to_owned()));
    assert!(storage.paths().contains(&"job/shared/s-2".to_owned()));
    storage.fail(&[]);
    drop(store);
    let store = open(&storage, 1);
    assert_eq!(ids(&store), [1]);
    assert_eq!(storage.paths(), ["job/chk-1/_metadata", "job/chk-1/private", "job/shared/s-1"]);
}

#[test]
fn what_cannot_be_deleted_is_tried_again_at_the_next_completion() {
    for fault in ["delete job/chk-1/_metadata", "delete_folder job/chk-1", "delete job/shared/s-1"] {
        let storage = Arc::new(Faulty::default());
        let mut store = open(&storage, 1);
        store.complete(written(&storage, 1, &[])).unwrap();
        storage.fail(&[fault]);
        store.complete(written(&storage, 2, &[])).unwrap();
        assert_eq!(ids(&store), [2], "{fault}");
        // Without its metadata nothing names the shared file, whatever else of the checkpoint is left.
        let shared_is_there = storage.paths().contains(&"job/shared/s-1".to_owned());
        assert_eq!(shared_is_there, !fault.starts_with("delete_folder"), "{fault}");
        assert!(!store.orphans(&[]).unwrap().is_empty());
        storage.fail(&[]);
        store.complete(written(&storage, 3, &[])).unwrap();
        assert_eq!(
            storage.paths(),
            ["job/chk-3/_metadata", "job/chk-3/private", "job/shared/s-3"],
            "{fault}"
        );
    }
}

#[test]
fn a_restart_removes_what_a_crash_left_behind() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[1])).unwrap();
    let whole: BTreeSet<_> = storage.paths().into_iter().collect();
    // A crash before the metadata: files of the checkpoint, private and shared.
    let _ = written(&storage, 3, &[1]);
    storage.put("job/taskowned/log", b"x");
    let orphans = store.orphans(&[]).unwrap();
    assert_eq!(orphans, ["job/chk-3/private", "job/shared/s-3"]);
    assert!(store.orphans(&[3]).unwrap().is_empty());
    drop(store);
    let store = open(&storage, 2);
    assert_eq!(ids(&store), [1, 2]);
    let mut left: BTreeSet<_> = storage.paths().into_iter().collect();
    assert!(left.remove("job/taskowned/log"));
    assert_eq!(left, whole);
}

#[test]
fn a_restart_keeps_fewer_if_fewer_are_asked_for() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 3);
    for id in 1..=3 {
        store.complete(written(&storage, id, &[])).unwrap();
    }
    drop(store);
    let store = open(&storage, 1);
    assert_eq!(ids(&store), [3]);
    assert_eq!(storage.paths(), ["job/chk-3/_metadata", "job/chk-3/private", "job/shared/s-3"]);
}

#[test]
fn damaged_metadata_is_found_and_nothing_is_deleted() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[1])).unwrap();
    let _ = written(&storage, 3, &[]);
    drop(store);
    let path = "job/chk-2/_metadata";
    let good = storage.inner.open(path).unwrap().read(0, storage_len(&storage, path)).unwrap().into_owned();
    let before = storage.paths();
    let flips = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cuts = (0..good.len()).map(|at| good[..at].to_vec());
    let other = checkpoint(9, vec![]).encode().unwrap();
    for damaged in flips.chain(cuts).chain([[&good[..], b"\0"].concat(), other]) {
        storage.put(path, &damaged);
        let error = CheckpointStore::open(options(&storage).retained(2)).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(path)), "{error}");
        assert_eq!(storage.paths(), before);
    }
    storage.put(path, &good);
    assert_eq!(ids(&open(&storage, 2)), [1, 2]);
}

fn storage_len(storage: &Faulty, path: &str) -> usize {
    storage.inner.open(path).unwrap().len() as usize
}

#[test]
fn a_storage_that_cannot_be_read_fails_the_start_and_loses_nothing() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let before = storage.paths();
    for fault in ["list", "open job/chk-1/_metadata"] {
        storage.fail(&[fault]);
        let error = CheckpointStore::open(options(&storage)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(storage.paths(), before);
    }
}

#[test]
fn limits_are_exact_and_errors_name_both_sizes() {
    let of = |bytes| checkpoint(1, vec![inline(bytes)]);
    let message_bytes = {
        let task = &of(1000).tasks[0];
        (0..).find(|limit| task.check_message_size(*limit).is_ok()).unwrap()
    };
    let in_memory = || CheckpointStoreOptions::in_memory(job());
    let mut store = CheckpointStore::open(in_memory().max_message_bytes(message_bytes)).unwrap();
    store.complete(of(1000)).unwrap();
    let mut store = CheckpointStore::open(in_memory().max_message_bytes(message_bytes - 1)).unwrap();
    let error = store.complete(of(1000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    for number in [message_bytes, message_bytes - 1] {
        assert!(error.message().contains(&number.to_string()), "{error}");
    }

    // All kept checkpoints together, and for a moment there is one more than is kept.
    let second = || checkpoint(2, vec![inline(500)]);
    let mut store = CheckpointStore::open(in_memory().max_total_bytes(1500)).unwrap();
    store.complete(of(1000)).unwrap();
    store.complete(second()).unwrap();
    let mut store = CheckpointStore::open(in_memory().max_total_bytes(1499)).unwrap();
    store.complete(of(1000)).unwrap();
    let error = store.complete(second()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    assert!(error.message().contains("1500") && error.message().contains("1499"), "{error}");
    assert_eq!(ids(&store), [1]);
}

#[test]
fn limits_and_numbers_of_nothing_are_refused() {
    let options = || CheckpointStoreOptions::in_memory(job());
    for options in [options().retained(0), options().max_message_bytes(0), options().max_total_bytes(0)] {
        assert_eq!(CheckpointStore::open(options).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn discarding_a_failed_checkpoint_deletes_its_own_files_alone() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let before = storage.paths();
    let failed = written(&storage, 2, &[1]);
    store.discard(2, &failed.tasks);
    assert_eq!(storage.paths(), before);
    store.discard(2, &failed.tasks);
    store.discard(99, &[]);
    assert_eq!((ids(&store), storage.paths()), (vec![1], before));
}

#[test]
fn no_id_is_used_twice_so_what_failed_is_never_a_part_of_what_did_not() {
    for fault in ["delete_folder job/chk-2", "delete job/shared/s-2"] {
        let storage = Arc::new(Faulty::default());
        let mut store = open(&storage, 1);
        store.complete(written(&storage, 1, &[])).unwrap();
        // A crash before the metadata, and then a deletion that fails for now.
        let _ = written(&storage, 2, &[1]);
        drop(store);
        storage.fail(&[fault]);
        let mut store = open(&storage, 1);
        storage.fail(&[]);
        assert_eq!(store.next_id(), 3, "{fault}");
        // Not even if the engine counts for itself.
        store.complete(written(&storage, 2, &[])).unwrap();
        assert_eq!(ids(&store), [2], "{fault}");
        assert_eq!(
            storage.paths(),
            ["job/chk-2/_metadata", "job/chk-2/private", "job/shared/s-2"],
            "{fault}"
        );
    }
}

#[test]
fn a_completed_checkpoint_cannot_be_discarded() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    let checkpoint = written(&storage, 1, &[]);
    store.complete(checkpoint.clone()).unwrap();
    store.discard(1, &checkpoint.tasks);
    assert_eq!(storage.paths(), ["job/chk-1/_metadata", "job/chk-1/private", "job/shared/s-1"]);
    assert_eq!(ids(&store), [1]);
}

#[test]
fn an_old_checkpoint_whose_deletion_was_taken_back_in_part_is_not_taken_for_whole() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[])).unwrap();
    drop(store);
    storage.delete("job/shared/s-1").unwrap();
    let store = open(&storage, 2);
    assert_eq!(ids(&store), [2]);
    assert_eq!(storage.paths(), ["job/chk-2/_metadata", "job/chk-2/private", "job/shared/s-2"]);
    drop(store);
    // Of the newest it is found, and nothing is deleted.
    storage.delete("job/shared/s-2").unwrap();
    let before = storage.paths();
    let error = CheckpointStore::open(options(&storage).retained(2)).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some("job/shared/s-2")));
    assert_eq!(storage.paths(), before);
}
