//! A full disk. The disk is a file system in memory, which only root can mount. Without root the tests report
//! that they are skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use backend_api::{
    ErrorKind, JobFolder, KeySpace, KeyedStateHandle, SnapshotRequest, StateBackend, Subtask,
    ValueDescriptor, ValueState,
};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions};

/// Far more than any bounded wait.
const HANGS: Duration = Duration::from_secs(120);

/// A small disk. Unmounted when dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => None,
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The test has ended, so nothing is open there.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Runs `work` on a thread, and fails if it does not end.
fn ends<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    match wait.recv_timeout(HANGS) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} does not end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{what} panics"),
    }
}

/// Fills the disk until a write fails, with checkpoints between the writes. Returns the error's kind.
fn fill(disk: &Path, checkpoints: &Path, cache: usize, seed: u32) -> ErrorKind {
    let job = JobFolder::new("job").unwrap();
    let options = RocksDbOptions::in_folder(checkpoints, job, disk.join("working")).unwrap();
    let options =
        options.with_profile(Profile::Tiny).with_memory_budget(4 << 20).unwrap().with_cache_bytes(cache);
    let subtask = Subtask::single("op", KeySpace::<u32>::new(10).unwrap()).unwrap();
    let mut backend = RocksDbBackend::open(&options.with_incremental(true), subtask, &[]).unwrap();
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
    let mut failed = None;
    let (mut checkpoint, mut is_written) = (0, true);
    for number in 0..200_000_u32 {
        let value: Vec<u8> = (0..900_u32)
            .map(|at| (number.wrapping_add(at + seed).wrapping_mul(2_654_435_761) >> 11) as u8)
            .collect();
        let key = number.wrapping_mul(7919) % 100_000;
        let context = backend.key(&key).unwrap();
        let written = backend.value(token, context, &()).and_then(|mut state| state.set(value));
        if let Err(error) = written {
            failed = Some(error.kind());
            break;
        }
        if number % 2000 == 1999 && is_written {
            checkpoint += 1;
            match backend.snapshot(SnapshotRequest::new(checkpoint)).and_then(|task| task.run()) {
                Ok(_) => backend.notify_complete(checkpoint).unwrap(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
                    is_written = false;
                }
            }
        }
    }
    // Further writes fail too, and the backend can be closed.
    for number in 0..100_u32 {
        let context = backend.key(&number).unwrap();
        _ = backend.value(token, context, &()).and_then(|mut state| state.get());
    }
    backend.close().unwrap();
    failed.unwrap_or(ErrorKind::Closed)
}

#[test]
fn a_write_on_a_full_disk_fails_within_a_bound() {
    for seed in 0..3 {
        for cache in [0, 1 << 20] {
            let Some(disk) = Disk::mount() else {
                eprintln!("SKIPPED: only root can mount a small disk");
                return;
            };
            let checkpoints = tempfile::tempdir().unwrap();
            let (path, to) = (disk.0.path().to_owned(), checkpoints.path().to_owned());
            let kind = ends("a write", move || fill(&path, &to, cache, seed));
            assert_eq!(kind, ErrorKind::Io, "cache {cache}, seed {seed}");
        }
    }
}

/// A value that does not compress.
fn noise(seed: u32) -> Vec<u8> {
    (0..900_u32).map(|at| (seed.wrapping_add(at).wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

#[test]
fn a_migration_on_a_full_disk_fails_and_loses_nothing() {
    const KEYS: u32 = 14_000;
    let Some(disk) = Disk::mount() else {
        eprintln!("SKIPPED: only root can mount a small disk");
        return;
    };
    let (checkpoints, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |working: &Path, restore: &[KeyedStateHandle]| {
        let job = JobFolder::new("job").unwrap();
        let options = RocksDbOptions::in_folder(checkpoints.path(), job, working.join("working")).unwrap();
        let options = options.with_profile(Profile::Tiny).with_memory_budget(4 << 20).unwrap();
        let subtask = Subtask::single("op", KeySpace::<u32>::new(10).unwrap()).unwrap();
        RocksDbBackend::open(&options.with_incremental(true), subtask, restore).unwrap()
    };
    let mut backend = open(other.path(), &[]);
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
    for key in 0..KEYS {
        let context = backend.key(&key).unwrap();
        backend.value(token, context, &()).unwrap().set(noise(key)).unwrap();
    }
    let handle = backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap().unwrap();
    drop(backend);
    let handles = std::slice::from_ref(&handle);
    let migrated = || {
        let state = ValueDescriptor::<(u8, Vec<u8>)>::new("bytes").version(2);
        state.migrate(1, |old: Vec<u8>| Ok((7_u8, old)))
    };
    // The old entries fit, and the new ones beside them do not.
    let mut backend = open(disk.0.path(), handles);
    let error = backend.register(migrated()).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Io, Some("bytes")), "{error}");
    drop(backend);
    let mut backend = open(other.path(), handles);
    let token = backend.register(migrated()).unwrap();
    for key in (0..KEYS).step_by(997) {
        let context = backend.key(&key).unwrap();
        assert_eq!(backend.value(token, context, &()).unwrap().get().unwrap(), Some((7, noise(key))));
    }
}
