//! Increments over files that several subtasks share, split and joined again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backend_api::{
    Checkpoint, JobFolder, KeySpace, MemoryStorage, SnapshotRequest, StateBackend, Subtask, TaskState,
    ValueDescriptor, ValueState,
};
use backend_fs::{FsBackend, FsOptions};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

const GROUPS: u16 = 8;
const KEYS: u32 = 80;

fn keys() -> KeySpace<u32> {
    KeySpace::new(GROUPS).unwrap()
}

fn group(key: u32) -> u16 {
    keys().key(&key).unwrap().group()
}

fn start(options: &FsOptions, store: &CheckpointStore, parallelism: u16) -> Vec<FsBackend<u32>> {
    let open = |index| {
        let subtask = Subtask::new("op", keys(), parallelism, index).unwrap();
        let handles =
            store.latest().map_or(Vec::new(), |latest| latest.handles_for("op", subtask.range()).unwrap());
        FsBackend::open(options, subtask, &handles).unwrap()
    };
    (0..parallelism).map(open).collect()
}

fn checkpoint(backends: &mut [FsBackend<u32>], store: &mut CheckpointStore) {
    let (id, parallelism) = (store.begin().unwrap(), backends.len() as u16);
    let tasks = backends.iter_mut().zip(0..).map(|(backend, index)| {
        let keyed = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap();
        TaskState::new("op", index, parallelism, keyed)
    });
    let tasks = tasks.collect();
    store.complete(Checkpoint::new(id, tasks)).unwrap();
    backends.iter_mut().for_each(|backend| backend.notify_complete(id).unwrap());
}

fn set(backend: &mut FsBackend<u32>, key: u32, value: Option<u64>) {
    let token = backend.register(ValueDescriptor::<u64>::new("value")).unwrap();
    let key = backend.key(&key).unwrap();
    backend.value(token, key, &()).unwrap().update(|slot| *slot = value).unwrap();
}

/// Both halves build on one file. One of them empties a group and writes it in full again, so it no longer
/// needs the common file. The other keeps it. Joined, the group must stay empty, in later checkpoints too.
#[test]
fn entries_removed_by_one_half_do_not_return_with_files_of_the_other() {
    let job = JobFolder::new("job").unwrap();
    let storage = Arc::new(MemoryStorage::default());
    let options =
        FsOptions::new(storage.clone(), job.clone()).with_incremental(true).with_claim_restored(true);
    let mut store = CheckpointStore::open(CheckpointStoreOptions::in_storage(job, storage)).unwrap();

    let mut backends = start(&options, &store, 1);
    (0..KEYS).for_each(|key| set(&mut backends[0], key, Some(1)));
    checkpoint(&mut backends, &mut store);

    backends = start(&options, &store, 2);
    for round in 0..45 {
        if [20, 44].contains(&round) {
            backends = start(&options, &store, 2);
        }
        for key in (0..KEYS).filter(|key| group(*key) < GROUPS / 2) {
            let value = (group(key) > 0 || round < 5).then_some(round);
            set(&mut backends[0], key, value);
        }
        checkpoint(&mut backends, &mut store);
    }
    for _ in 0..3 {
        backends = start(&options, &store, 1);
        let token = backends[0].register(ValueDescriptor::<u64>::new("value")).unwrap();
        for key in 0..KEYS {
            let expected = match group(key) {
                0 => None,
                group if group < GROUPS / 2 => Some(44),
                _ => Some(1),
            };
            let context = backends[0].key(&key).unwrap();
            assert_eq!(backends[0].value(token, context, &()).unwrap().get().unwrap(), expected, "key {key}");
        }
        checkpoint(&mut backends, &mut store);
    }
}
