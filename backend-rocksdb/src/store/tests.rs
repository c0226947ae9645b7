use backend_api::{
    JobFolder, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, SnapshotRequest, StateBackend,
    Subtask, TimerDescriptor, TimerState, Ttl, ValueDescriptor, ValueState,
};
use rocksdb::IteratorMode;

use super::*;
use crate::{RocksDbBackend, RocksDbOptions};

type Backend = RocksDbBackend<u32>;

/// Compacts everything, and returns how many entries each column family has then.
fn compacted(backend: &Backend) -> [usize; 3] {
    let database = backend.store().unwrap().writer.database();
    Family::ALL.map(|family| {
        let handle = database.family(family).unwrap();
        database.db().flush_cf(handle).unwrap();
        database.db().compact_range_cf(handle, None::<&[u8]>, None::<&[u8]>);
        database.db().iterator_cf(handle, IteratorMode::Start).count()
    })
}

#[test]
fn compactions_remove_expired_entries() {
    let folder = tempfile::tempdir().unwrap();
    let job = JobFolder::new("job").unwrap();
    let path = |name| folder.path().join(name);
    let options = RocksDbOptions::in_folder(path("checkpoints"), job, path("working")).unwrap();
    let subtask = Subtask::single("op", KeySpace::new(4).unwrap()).unwrap();
    // Without a cache all writes reach the database at once.
    let mut backend = Backend::open(&options.with_cache_bytes(0), subtask, &[]).unwrap();
    backend.advance_to(0).unwrap();
    let ttl = Ttl::millis(100).unwrap();
    // Its bytes are those of an old stamp.
    let plain = backend.register(ValueDescriptor::<u64>::new("plain")).unwrap();
    let value = backend.register(ValueDescriptor::<u64>::new("value").ttl(ttl)).unwrap();
    let list = backend.register(ListDescriptor::<u64>::new("list").ttl(ttl)).unwrap();
    let map = backend.register(MapDescriptor::<u32, u64>::new("map").ttl(ttl)).unwrap();
    let timers = backend.register(TimerDescriptor::<()>::event_time("timers")).unwrap();
    for (now, number) in [(0, 0), (50, 1)] {
        backend.advance_to(now).unwrap();
        for key in 0..10_u32 {
            let context = backend.key(&key).unwrap();
            backend.value(plain, context, &()).unwrap().set(0).unwrap();
            if key % 2 == number {
                backend.value(value, context, &()).unwrap().set(7).unwrap();
            }
            backend.list(list, context, &()).unwrap().add_all([7, 8]).unwrap();
            backend.map(map, context, &()).unwrap().put(number, 7).unwrap();
            backend.timers(timers).unwrap().add(context, &(), 0).unwrap();
        }
    }
    backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap();
    backend.advance_to(99).unwrap();
    assert_eq!(compacted(&backend), [20, 20, 30]);
    backend.advance_to(100).unwrap();
    assert_eq!(compacted(&backend), [15, 10, 20]);
    for key in 0..10_u32 {
        let context = backend.key(&key).unwrap();
        assert_eq!(backend.value(plain, context, &()).unwrap().get().unwrap(), Some(0));
        let live = (key % 2 == 1).then_some(7);
        assert_eq!(backend.value(value, context, &()).unwrap().get().unwrap(), live);
        assert_eq!(backend.list(list, context, &()).unwrap().get().unwrap(), [7, 8]);
        assert_eq!(backend.map(map, context, &()).unwrap().len().unwrap(), 1);
    }
    backend.advance_to(150).unwrap();
    assert_eq!(compacted(&backend), [10, 0, 10]);
}
