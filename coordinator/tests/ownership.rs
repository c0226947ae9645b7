//! Ownership of files: two stores of one job, foreign files, and reading without changes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use backend_api::storage::{StorageEntry, StorageFile, StorageWriter};
use backend_api::{Cancel, ErrorKind, JobFolder, Result, Storage};
use coordinator::{CheckpointStore, CheckpointStoreOptions, JobContents};

use support::{Faulty, checkpoint, ids, inline, job, open, options, path, short, written};

#[test]
fn the_store_opened_last_owns_the_folder() {
    let storage = Arc::new(Faulty::default());
    let mut old = open(&storage, 2);
    old.complete(written(&storage, 1, &[])).unwrap();
    let mut new = open(&storage, 2);
    // Even with the same id, since an engine may count ids itself.
    let error = old.complete(written(&storage, 2, &[1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState, "{error}");
    new.complete(written(&storage, 2, &[1])).unwrap();
    let whole = storage.paths();
    // The old store changes nothing any more.
    assert_eq!(old.begin().unwrap_err().kind(), ErrorKind::IllegalState);
    old.complete(written(&storage, 3, &[1])).unwrap_err();
    old.discard(2, &written(&storage, 2, &[1]).tasks);
    old.remove_all();
    assert_eq!(old.retry_deletions(), 0);
    new.discard(3, &written(&storage, 3, &[1]).tasks);
    assert_eq!((storage.paths(), ids(&new)), (whole, vec![1, 2]));
    let id = new.begin().unwrap();
    new.complete(written(&storage, id, &[2])).unwrap();
    assert_eq!(ids(&open(&storage, 2)), [2, id]);
}

/// A store that has lost the folder without noticing deletes nothing of the new owner.
#[test]
fn a_store_that_lost_the_folder_deletes_nothing() {
    type Call = fn(&mut CheckpointStore, &Faulty, u64);
    let calls: [Call; 4] = [
        |store, _, id| store.discard(id, &[]),
        |store, storage, id| store.discard(id, &written(storage, id, &[]).tasks),
        |store, _, _| store.remove_all(),
        |store, _, _| assert_eq!(store.retry_deletions(), 0),
    ];
    for call in calls {
        let storage = Arc::new(Faulty::default());
        let mut old = open(&storage, 1);
        old.complete(written(&storage, 1, &[])).unwrap();
        storage.fail(&["delete"]);
        old.complete(written(&storage, 2, &[1])).unwrap();
        storage.fail(&[]);
        let mut new = open(&storage, 1);
        new.complete(written(&storage, 3, &[1])).unwrap();
        let whole = storage.paths();
        call(&mut old, &storage, 3);
        assert_eq!(storage.paths(), whole);
        assert_eq!(ids(&open(&storage, 1)), [3]);
    }
}

/// A folder that was emptied and used again belongs to another store, with any numbers.
#[test]
fn a_store_whose_folder_was_emptied_owns_nothing() {
    let storage = Arc::new(Faulty::default());
    let mut old = open(&storage, 1);
    old.complete(written(&storage, 1, &[])).unwrap();
    storage.inner.delete_folder("job").unwrap();
    assert_eq!(old.complete(written(&storage, 2, &[])).unwrap_err().kind(), ErrorKind::IllegalState);
    storage.inner.delete_folder("job").unwrap();
    let mut old = open(&storage, 1);
    storage.inner.delete_folder("job").unwrap();
    let mut new = open(&storage, 1);
    assert_eq!(old.complete(written(&storage, 1, &[])).unwrap_err().kind(), ErrorKind::IllegalState);
    new.complete(written(&storage, 2, &[])).unwrap();
}

/// A store that cannot be opened takes nothing from the running one.
#[test]
fn a_store_that_fails_to_open_owns_nothing() {
    for fault in ["list job", "open job/chk-1/_metadata", "create job/_owner"] {
        let storage = Arc::new(Faulty::default());
        let mut store = open(&storage, 1);
        store.complete(written(&storage, 1, &[])).unwrap();
        storage.fail(&[fault]);
        assert_eq!(CheckpointStore::open(options(&storage)).unwrap_err().kind(), ErrorKind::Io);
        storage.fail(&[]);
        store.complete(written(&storage, 2, &[1])).unwrap_or_else(|error| panic!("{fault}: {error}"));
    }
}

/// Opens a second store just before or just after the first one writes the metadata.
#[derive(Debug)]
struct Interrupted {
    inner: Arc<Faulty>,
    at: Mutex<&'static str>,
    second: Mutex<Option<CheckpointStore>>,
}

impl Interrupted {
    fn call(&self, call: &str, path: &str) {
        let mut second = self.second.lock().unwrap();
        if second.is_none() && format!("{call} {path}") == *self.at.lock().unwrap() {
            *second = Some(open(&self.inner, 1));
        }
    }
}

#[derive(Debug)]
struct InterruptedWriter(Box<dyn StorageWriter>, Arc<Interrupted>, String);

impl StorageWriter for InterruptedWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.1.call("finish", &self.2);
        self.0.finish()?;
        self.1.call("finished", &self.2);
        Ok(())
    }
}

#[derive(Debug)]
struct Shared(Arc<Interrupted>);

impl Storage for Shared {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        self.0.call("create", path);
        let inner = self.0.inner.create(path, cancel)?;
        Ok(Box::new(InterruptedWriter(inner, Arc::clone(&self.0), path.to_owned())))
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.0.inner.open(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        self.0.call("list", folder);
        self.0.inner.list(folder)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.0.inner.delete(path)
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        self.0.inner.delete_folder(folder)
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        self.0.inner.sweep(folder)
    }
}

/// At any moment at which the second store opens, a restorable checkpoint exists afterwards.
#[test]
fn a_second_store_can_open_at_any_moment() {
    let moments = [
        "list job/_owner",
        "list job/chk-2",
        "list job/shared",
        "create job/chk-2/_metadata",
        "finish job/chk-2/_metadata",
        "finished job/chk-2/_metadata",
    ];
    for at in moments {
        let inner = Arc::new(Faulty::default());
        let interrupted = Arc::new(Interrupted {
            inner: Arc::clone(&inner),
            at: Mutex::default(),
            second: Mutex::default(),
        });
        let options = CheckpointStoreOptions::in_storage(job(), Arc::new(Shared(Arc::clone(&interrupted))));
        open(&inner, 1).complete(written(&inner, 1, &[])).unwrap();
        let mut first = CheckpointStore::open(options).unwrap();
        *interrupted.at.lock().unwrap() = at;
        let result = first.complete(written(&inner, 2, &[1]));
        let mut second =
            interrupted.second.lock().unwrap().take().unwrap_or_else(|| panic!("{at} was not called"));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::IllegalState, "{at}");
        let latest = second.latest().unwrap().id;
        assert_eq!(latest, if at.starts_with("finished") { 2 } else { 1 }, "{at}");
        let id = second.begin().unwrap();
        second.complete(written(&inner, id, &[latest])).unwrap();
        assert_eq!(ids(&open(&inner, 1)), [id], "{at}");
        assert!(second.orphans().unwrap().is_empty(), "{at}");
    }
}

/// Only this project's names count, and only such files are deleted.
#[test]
fn foreign_files_are_neither_counted_nor_deleted() {
    let foreign = [
        "job/taskowned/part-99999999999999999",
        "job/taskowned/op-0-00000000000000ab-99999999999999999",
        "job/notes-18446744073709551615",
        "job/-18446744073709551615",
        "job/shared/notes-77",
        "job/shared/below/op-0-00000000000000ab-88",
        "job/chk-99/notes",
        "job/chk-+98/_metadata",
        "job/chk-0097/_metadata",
        "job/chk-96/op-0-00000000000000ab-95",
        "job/chk-2/notes",
        "job/chk-18446744073709551615/x",
        "job/reserved-ids/500 or so",
        "job/_owner/999999",
        "other/chk-50/_metadata",
        "jobs",
    ];
    let storage = Arc::new(Faulty::default());
    foreign.iter().for_each(|path| storage.put(path, b"x"));
    let mut store = open(&storage, 1);
    assert!(store.orphans().unwrap().is_empty());
    for expected in 1..=3 {
        assert_eq!(store.begin().unwrap(), expected);
        store.complete(written(&storage, expected, &[])).unwrap();
    }
    store.discard(4, &written(&storage, 4, &[]).tasks);
    drop(store);
    let mut store = open(&storage, 1);
    assert_eq!(ids(&store), [3]);
    store.remove_all();
    let left = storage.inner.list("").unwrap().into_iter().map(|entry| entry.path);
    let left: Vec<String> = left.filter(|path| foreign.contains(&&**path)).collect();
    assert_eq!(left.len(), foreign.len(), "{left:?}");
    assert!(storage.names().iter().all(|name| name.contains('/') || name == "jobs"), "{:?}", storage.names());
}

#[test]
fn reading_contents_changes_nothing() {
    let storage = Arc::new(Faulty::default());
    let look = |job: &JobFolder| JobContents::read(&*storage, job).unwrap();
    assert!(look(&job()).latest().is_none());
    assert_eq!(look(&job()).highest_id(), 0);
    let mut store = open(&storage, 2);
    for id in 1..=3 {
        store.complete(written(&storage, id, &[])).unwrap();
    }
    let id = store.begin().unwrap();
    let under_way = written(&storage, id, &[3]);
    storage.put("job/shared/notes", b"x");
    let before = storage.inner.list("").unwrap();
    let deleted = storage.deleted.lock().unwrap().len();
    let contents = look(&job());
    assert_eq!(contents.checkpoints().iter().map(|checkpoint| checkpoint.id).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(contents.latest().map(|latest| latest.id), Some(3));
    assert_eq!(contents.unneeded().map(short).collect::<Vec<_>>(), ["4 private", "4 shared"]);
    assert!(contents.highest_id() >= id);
    assert_eq!((storage.inner.list("").unwrap(), storage.deleted.lock().unwrap().len()), (before, deleted));
    store.complete(under_way).unwrap();
    assert!(look(&JobFolder::new("other").unwrap()).latest().is_none());
}

/// A running job may subsume a checkpoint between the listing and the reading.
#[test]
fn reading_contents_of_a_running_job_is_retried() {
    #[derive(Debug)]
    struct Running(Arc<Faulty>, Mutex<Option<CheckpointStore>>);
    impl Storage for Running {
        fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
            self.0.create(path, cancel)
        }
        fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
            if let Some(mut store) = self.1.lock().unwrap().take() {
                let id = store.begin()?;
                store.complete(written(&self.0, id, &[]))?;
            }
            self.0.open(path)
        }
        fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
            self.0.list(folder)
        }
        fn delete(&self, path: &str) -> Result<()> {
            self.0.delete(path)
        }
        fn delete_folder(&self, folder: &str) -> Result<()> {
            self.0.delete_folder(folder)
        }
        fn sweep(&self, folder: &str) -> Result<usize> {
            self.0.sweep(folder)
        }
    }
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let running = Running(Arc::clone(&storage), Mutex::new(Some(store)));
    let contents = JobContents::read(&running, &job()).unwrap();
    assert_eq!(contents.latest().map(|latest| latest.id), Some(2));
}

#[test]
fn reading_contents_finds_damage() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    let first = written(&storage, 1, &[]);
    store.complete(first.clone()).unwrap();
    let file = first.files().next().unwrap();
    storage.inner.delete(path(file)).unwrap();
    let error = JobContents::read(&*storage, &job()).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(path(file))));
    storage.put(&job().metadata(2), &checkpoint(1, vec![inline(1)]).encode().unwrap());
    let error = JobContents::read(&*storage, &job()).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(&*job().metadata(2))));
}
