//! Working folders of backends that share a place.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use backend_api::{
    JobFolder, KeySpace, KeyedStateHandle, SnapshotRequest, StateBackend, Subtask, ValueDescriptor,
    ValueState,
};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions};

fn options(checkpoints: &Path, job: &str, working: &Path) -> RocksDbOptions {
    let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new(job).unwrap(), working).unwrap();
    options
        .with_profile(Profile::Tiny)
        .with_memory_budget(4 << 20)
        .unwrap()
        .with_incremental(true)
        .with_inline_max(0)
        .unwrap()
}

fn subtask() -> Subtask<u32> {
    Subtask::single("op", KeySpace::new(10).unwrap()).unwrap()
}

fn open(options: &RocksDbOptions, handles: &[KeyedStateHandle]) -> RocksDbBackend<u32> {
    RocksDbBackend::open(options, subtask(), handles).unwrap()
}

fn set(backend: &mut RocksDbBackend<u32>, value: u64) {
    let token = backend.register(ValueDescriptor::<u64>::new("numbers")).unwrap();
    for key in 0..200 {
        let context = backend.key(&key).unwrap();
        backend.value(token, context, &()).unwrap().set(value + u64::from(key)).unwrap();
    }
}

fn get(backend: &mut RocksDbBackend<u32>) -> Option<u64> {
    let token = backend.register(ValueDescriptor::<u64>::new("numbers")).unwrap();
    let context = backend.key(&100).unwrap();
    backend.value(token, context, &()).unwrap().get().unwrap()
}

fn checkpoint(backend: &mut RocksDbBackend<u32>, id: u64) -> KeyedStateHandle {
    backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_task_that_outlives_its_backend_does_not_touch_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().join("working");
    let options = options(&folder.path().join("checkpoints"), "job", &working);
    for is_closed in [true, false] {
        let mut old = open(&options, &[]);
        set(&mut old, 1);
        let task = old.snapshot(SnapshotRequest::new(1)).unwrap();
        if is_closed {
            old.close().unwrap();
        }
        drop(old);
        // The task still holds the old database.
        assert_eq!(entries(&working), 1);
        let mut new = open(&options, &[]);
        set(&mut new, 2);
        drop(task);
        assert_eq!(entries(&working), 1, "of the old backend");
        set(&mut new, 3);
        let handle = checkpoint(&mut new, 1);
        assert_eq!(get(&mut new), Some(103));
        drop(new);
        assert_eq!(entries(&working), 0);
        assert_eq!(get(&mut open(&options, &[handle])), Some(103));
        fs::remove_dir_all(folder.path().join("checkpoints/job")).unwrap();
    }
}

#[test]
fn backends_of_the_same_name_coexist() {
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().join("working");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (folder, working) = (folder.path(), &working);
            scope.spawn(move || {
                let options = options(&folder.join("checkpoints"), &format!("job-{thread}"), working);
                for round in 1..=4 {
                    let mut backend = open(&options, &[]);
                    set(&mut backend, round);
                    let running = backend.snapshot(SnapshotRequest::new(round)).unwrap();
                    let running = scope.spawn(move || running.run());
                    // Closes or drops it while the task exists.
                    backend.close().unwrap();
                    _ = running.join().unwrap();
                }
            });
        }
    });
    assert_eq!(entries(&working), 0);
}

#[test]
fn foreign_folders_stay_whatever_their_names() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    // A foreign folder whose name could be a working folder's.
    for name in ["rocksdb-backup", "rocksdb-op-0-0123456789abcdef"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("file"), "mine").unwrap();
    }
    // Checkpoints in the working folder, whose job has such a name too.
    let options = options(&folder.join("rocksdb-checkpoints"), "rocksdb-words", folder);
    let mut backend = open(&options, &[]);
    set(&mut backend, 1);
    let handle = checkpoint(&mut backend, 1);
    drop(backend);
    // The live database of another job, in a folder in the working folder.
    let nested = self::options(&folder.join("c2"), "job", &folder.join("rocksdb-job2"));
    let mut other = open(&nested, &[]);
    set(&mut other, 7);
    assert_eq!(get(&mut open(&options, &[handle])), Some(101));
    set(&mut other, 8);
    checkpoint(&mut other, 1);
    assert_eq!(get(&mut other), Some(108));
    for name in ["rocksdb-backup", "rocksdb-op-0-0123456789abcdef"] {
        assert_eq!(fs::read(folder.join(name).join("file")).unwrap(), b"mine");
    }
    let in_place = self::options(folder, "rocksdb-op-1-0123456789abcdef", folder);
    let mut backend = open(&in_place, &[]);
    set(&mut backend, 4);
    let handle = checkpoint(&mut backend, 1);
    drop(backend);
    assert_eq!(get(&mut open(&in_place, &[handle])), Some(104));
}

#[test]
fn only_their_owner_can_read_files_of_a_backend() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().join("working");
    let _backend = open(&options(&folder.path().join("checkpoints"), "job", &working), &[]);
    for entry in fs::read_dir(&working).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
    }
}
