//! Closing a backend. This is a program of its own: it measures what the process writes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use backend_api::{JobFolder, KeySpace, StateBackend, Subtask, ValueDescriptor, ValueState};
use backend_rocksdb::{RocksDbBackend, RocksDbOptions};

/// Bytes that the process has passed to write calls so far.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

#[test]
fn closing_and_dropping_write_no_buffers() {
    for is_closed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
        let job = JobFolder::new("job").unwrap();
        let options = RocksDbOptions::in_folder(checkpoints, job, &working).unwrap().with_cache_bytes(0);
        let subtask = Subtask::single("op", KeySpace::<u32>::new(10).unwrap()).unwrap();
        let mut backend = RocksDbBackend::open(&options, subtask, &[]).unwrap();
        let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
        for key in 0..4000 {
            let context = backend.key(&key).unwrap();
            backend.value(token, context, &()).unwrap().set(vec![key as u8; 10_000]).unwrap();
        }
        let before = written();
        if is_closed {
            backend.close().unwrap();
        } else {
            drop(backend);
        }
        let written = written() - before;
        assert!(written < 1 << 20, "{written} bytes were written");
        assert_eq!(fs::read_dir(&working).unwrap().count(), 0);
    }
}
