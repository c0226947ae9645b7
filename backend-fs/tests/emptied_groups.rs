//! Key groups that become empty when their chain is due to be written in full.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backend_api::{
    JobFolder, KeySpace, MemoryStorage, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState,
};
use backend_fs::{FsBackend, FsOptions};

const KEYS: u32 = 80;

fn open(options: &FsOptions, handle: &[backend_api::KeyedStateHandle]) -> FsBackend<u32> {
    let subtask = Subtask::single("op", KeySpace::new(8).unwrap()).unwrap();
    FsBackend::open(options, subtask, handle).unwrap()
}

/// Chains of different groups are due after different numbers of files. In this many rounds of filling and
/// emptying, each group is due at both.
#[test]
fn an_emptied_group_stays_empty() {
    let storage = Arc::new(MemoryStorage::default());
    let options = FsOptions::new(storage, JobFolder::new("job").unwrap()).with_incremental(true);
    let descriptor = || ValueDescriptor::<u32>::new("value");
    let mut backend = open(&options, &[]);
    let token = backend.register(descriptor()).unwrap();
    for id in 1..=60 {
        // Every third round, so that full sections are not always in files with even numbers.
        let value = (id % 3 != 0).then_some(id as u32);
        for key in 0..KEYS {
            let key = backend.key(&key).unwrap();
            backend.value(token, key, &()).unwrap().update(|slot| *slot = value).unwrap();
        }
        let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap();
        backend.notify_complete(id).unwrap();
        let mut restored = open(&options, std::slice::from_ref(&handle));
        let token = restored.register(descriptor()).unwrap();
        for key in 0..KEYS {
            let context = restored.key(&key).unwrap();
            let found = restored.value(token, context, &()).unwrap().get().unwrap();
            assert_eq!(found, value, "key {key} in checkpoint {id}");
        }
    }
}
