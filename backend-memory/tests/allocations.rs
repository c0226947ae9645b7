//! What accesses to the heap backend allocate.

use backend_api::{
    KeySpace, MapDescriptor, MapState, ReducingDescriptor, ReducingState, StateBackend, Subtask,
    ValueDescriptor, ValueState,
};
use backend_memory::{MemoryBackend, MemoryOptions};

#[test]
fn a_borrowed_key_allocates_nothing() {
    let subtask = Subtask::single("op", KeySpace::<String>::new(16).unwrap()).unwrap();
    let mut backend = MemoryBackend::open(&MemoryOptions::default(), subtask, &[]).unwrap();
    let value = backend.register(ValueDescriptor::<u64>::new("value")).unwrap();
    let sum = backend.register(ReducingDescriptor::new("sum", |a: &u64, b| a + b)).unwrap();
    let map = backend.register(MapDescriptor::<u32, u64>::new("map")).unwrap();
    let word = "a word that is too long to be kept in place of a pointer";
    let mut update = || {
        let key = backend.key(word).unwrap();
        backend.value(value, key, &()).unwrap().update(|n| *n = Some(n.unwrap_or(0) + 1)).unwrap();
        backend.reducing(sum, key, &()).unwrap().add(2).unwrap();
        backend.map(map, key, &()).unwrap().put(1, 1).unwrap();
        (
            backend.value(value, key, &()).unwrap().get().unwrap(),
            backend.reducing(sum, key, &()).unwrap().get().unwrap(),
            backend.map(map, key, &()).unwrap().get(&1).unwrap(),
        )
    };
    update();

    let mut read = Default::default();
    let allocated = allocation_counter::measure(|| read = update());

    assert_eq!(read, (Some(2), Some(4), Some(1)));
    assert_eq!(allocated.count_total, 0);
}
