//! Memory of heap state: cleared state, and the removal log of incremental checkpoints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backend_api::{
    ErrorKind, JobFolder, KeySpace, KeyedStateHandle, MemoryStorage, SnapshotRequest, StateBackend, Storage,
    Subtask, ValueDescriptor, ValueState, ValueToken,
};
use backend_fs::{FsBackend, FsOptions};
use backend_memory::{MemoryBackend, MemoryOptions};

const BUDGET: u64 = 2 << 20;

fn options() -> FsOptions {
    FsOptions::new(Arc::new(MemoryStorage::default()), JobFolder::new("job").unwrap()).with_incremental(true)
}

fn subtask<K: backend_api::StateKey>(groups: u16) -> Subtask<K> {
    Subtask::single("op", KeySpace::new(groups).unwrap()).unwrap()
}

fn set(backend: &mut FsBackend<u64>, token: ValueToken<[u64; 2]>, key: u64) -> backend_api::Result<()> {
    let key = backend.key(&key)?;
    backend.value(token, key, &())?.set([1, 2])
}

fn clear(backend: &mut FsBackend<u64>, token: ValueToken<[u64; 2]>, key: u64) {
    let key = backend.key(&key).unwrap();
    backend.value(token, key, &()).unwrap().clear().unwrap();
}

fn bytes(backend: &FsBackend<u64>) -> u64 {
    backend.states().iter().map(|state| state.bytes).sum()
}

/// Fills a state up to the budget, and returns the number of keys.
fn fill(backend: &mut FsBackend<u64>, token: ValueToken<[u64; 2]>) -> u64 {
    (0..).find(|key| set(backend, token, *key).is_err_and(|error| error.kind() == ErrorKind::Size)).unwrap()
}

#[test]
fn clearing_a_state_makes_room_for_others() {
    for groups in [1, 128, 2048] {
        let options = options().with_memory_budget(BUDGET).unwrap();
        let mut backend = FsBackend::open(&options, subtask::<u64>(groups), &[]).unwrap();
        let names = ["a", "b", "c"];
        let states = names.map(|name| backend.register(ValueDescriptor::<[u64; 2]>::new(name)).unwrap());
        let count = fill(&mut backend, states[0]);
        for (round, state) in [0, 1, 2, 0].into_iter().enumerate() {
            if round > 0 {
                let filled = fill(&mut backend, states[state]);
                assert!(filled > count * 9 / 10, "{filled} keys, {count} before");
            }
            backend.snapshot(SnapshotRequest::new(round as u64 + 1)).unwrap().run().unwrap();
            backend.notify_complete(round as u64 + 1).unwrap();
            (0..count * 2).for_each(|key| clear(&mut backend, states[state], key));
            assert!(bytes(&backend) <= BUDGET);
        }
        backend.snapshot(SnapshotRequest::new(9)).unwrap().run().unwrap();
        backend.notify_complete(9).unwrap();
        backend.snapshot(SnapshotRequest::new(10)).unwrap().run().unwrap();
        assert_eq!(bytes(&backend), 0, "{groups} groups");
    }
}

#[test]
fn removal_logs_count_until_confirmed_and_are_spilled_before_a_write_is_refused() {
    let options = options().with_memory_budget(BUDGET).unwrap();
    let mut backend = FsBackend::<String>::open(&options, subtask(16), &[]).unwrap();
    let token = backend.register(ValueDescriptor::<u64>::new("value")).unwrap();
    let name = |number: u64| format!("{number:0>1000}");
    let held = |backend: &FsBackend<String>| backend.states()[0].bytes;
    for number in 0..1_000 {
        let name = name(number);
        let key = backend.key(&name).unwrap();
        backend.value(token, key, &()).unwrap().set(1).unwrap();
    }
    backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap();
    backend.notify_complete(1).unwrap();
    let full = held(&backend);
    for number in 0..100 {
        let name = name(number);
        let key = backend.key(&name).unwrap();
        backend.value(token, key, &()).unwrap().clear().unwrap();
    }
    assert!(held(&backend) > full - 20_000, "{} of {full}: the keys are remembered", held(&backend));
    // The log does not cause a write to be refused.
    let refused = (2_000..).find(|number| {
        let name = name(*number);
        let key = backend.key(&name).unwrap();
        backend.value(token, key, &()).unwrap().set(1).is_err()
    });
    let added = refused.unwrap() - 2_000;
    assert!(held(&backend) <= BUDGET);
    assert!(held(&backend) > BUDGET - 20_000, "{added} keys were added");
    // The next checkpoint still has the removals.
    let handle = backend.snapshot(SnapshotRequest::new(2)).unwrap().run().unwrap().unwrap();
    let mut restored = FsBackend::<String>::open(&options, subtask(16), &[handle]).unwrap();
    let token = restored.register(ValueDescriptor::<u64>::new("value")).unwrap();
    assert_eq!(restored.keys(token, &()).unwrap().count() as u64, 900 + added);
}

#[test]
fn the_memory_backend_restores_files() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let options =
        FsOptions::new(Arc::clone(&storage), JobFolder::new("job").unwrap()).with_inline_max(0).unwrap();
    let mut backend = FsBackend::<u64>::open(&options, subtask(16), &[]).unwrap();
    let token = backend.register(ValueDescriptor::<[u64; 2]>::new("value")).unwrap();
    (0..100).for_each(|key| set(&mut backend, token, key).unwrap());
    let handle = backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap().unwrap();
    let open = |options: &MemoryOptions, handle: &KeyedStateHandle| {
        MemoryBackend::<u64>::open(options, subtask(16), std::slice::from_ref(handle))
    };
    let refused = open(&MemoryOptions::default(), &handle).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    let mut restored = open(&MemoryOptions::default().with_storage(storage), &handle).unwrap();
    let token = restored.register(ValueDescriptor::<[u64; 2]>::new("value")).unwrap();
    assert_eq!(restored.keys(token, &()).unwrap().count(), 100);
}
