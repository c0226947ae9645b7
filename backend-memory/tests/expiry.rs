//! How the memory of expired contents is freed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use backend_api::{
    KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, StateBackend, Subtask, Ttl,
    ValueDescriptor, ValueState,
};
use backend_memory::{MemoryBackend, MemoryOptions};

type Backend = MemoryBackend<u32>;

fn open() -> Backend {
    let subtask = Subtask::single("op", KeySpace::new(16).unwrap()).unwrap();
    let mut backend = MemoryBackend::open(&MemoryOptions::default(), subtask, &[]).unwrap();
    backend.advance_to(0).unwrap();
    backend
}

fn ttl() -> Ttl {
    Ttl::millis(100).unwrap()
}

/// Bytes of the only state.
fn bytes(backend: &Backend) -> u64 {
    backend.states().iter().map(|state| state.bytes).sum()
}

fn entries(backend: &Backend) -> u64 {
    backend.states().iter().filter_map(|state| state.entries).sum()
}

#[test]
fn accesses_to_one_key_remove_all_expired_values() {
    let mut backend = open();
    let token = backend.register(ValueDescriptor::<u64>::new("value").ttl(ttl())).unwrap();
    for key in 0..10_000 {
        backend.advance_to(if key % 10 == 0 { 50 } else { 0 }).unwrap();
        backend.value(token, backend.key(&key).unwrap(), &()).unwrap().set(1).unwrap();
    }
    backend.advance_to(100).unwrap();
    assert_eq!(entries(&backend), 10_000);
    let before = bytes(&backend);
    // Each looks at five entries. Some look at fewer, because they pass free places.
    for _ in 0..4_000 {
        backend.value(token, backend.key(&0).unwrap(), &()).unwrap().get().unwrap();
    }
    assert_eq!(entries(&backend), 1_000);
    let left = bytes(&backend);
    assert!(left < before / 5, "{left} of {before} bytes");
}

#[test]
fn accesses_to_one_entry_remove_the_expired_ones_of_a_large_map() {
    let mut backend = open();
    let token = backend.register(MapDescriptor::<u32, u64>::new("map").ttl(ttl())).unwrap();
    for entry in 0..10_000 {
        backend.advance_to(if entry % 10 == 0 { 50 } else { 0 }).unwrap();
        backend.map(token, backend.key(&1).unwrap(), &()).unwrap().put(entry, 1).unwrap();
    }
    backend.advance_to(100).unwrap();
    let before = bytes(&backend);
    for _ in 0..200 {
        backend.map(token, backend.key(&1).unwrap(), &()).unwrap().get(&0).unwrap();
    }
    let left = bytes(&backend);
    assert!(left < before / 5, "{left} of {before} bytes");
    let mut live = Vec::new();
    let mut map = backend.map(token, backend.key(&1).unwrap(), &()).unwrap();
    map.range_into(.., usize::MAX, &mut live).unwrap();
    assert!(live.into_iter().map(|(entry, _)| entry).eq((0..10_000).step_by(10)));
}

#[test]
fn a_list_that_is_only_added_to_keeps_few_expired_elements() {
    let mut backend = open();
    let token = backend.register(ListDescriptor::<u64>::new("list").ttl(ttl())).unwrap();
    let mut most = 0;
    for now in 0..20_000 {
        backend.advance_to(now).unwrap();
        let mut list = backend.list(token, backend.key(&1).unwrap(), &()).unwrap();
        list.add_all([now as u64; 10]).unwrap();
        most = most.max(bytes(&backend));
    }
    // A thousand elements of 16 bytes live.
    assert!(most < 64 << 10, "{most} bytes");
    let list = backend.list(token, backend.key(&1).unwrap(), &()).unwrap().get().unwrap();
    assert!(list.into_iter().eq((19_900..20_000).flat_map(|now| [now; 10])));
}
