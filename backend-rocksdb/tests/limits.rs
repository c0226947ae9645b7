//! The most bytes of an entry, and of memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use backend_api::{
    ErrorKind, JobFolder, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, ReducingDescriptor,
    ReducingState, StateBackend, Subtask, ValueDescriptor, ValueState,
};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions};

fn options(folder: &Path) -> RocksDbOptions {
    let (checkpoints, working) = (folder.join("checkpoints"), folder.join("working"));
    RocksDbOptions::in_folder(checkpoints, JobFolder::new("job").unwrap(), working).unwrap()
}

fn subtask() -> Subtask<u32> {
    Subtask::single("op", KeySpace::new(10).unwrap()).unwrap()
}

#[track_caller]
fn refused(result: backend_api::Result<()>, state: &str) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Size, "{text}");
    for part in [state, "key group", "1048576 bytes", "10485"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn an_entry_beyond_the_limit_is_refused_and_what_was_there_stays() {
    const LIMIT: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    for cache in [0, 1 << 20] {
        let options = options(folder.path()).entry_bytes_max(LIMIT as u64).unwrap().cache_bytes(cache);
        let mut backend = RocksDbBackend::open(&options, subtask(), &[]).unwrap();
        let value = backend.register(ValueDescriptor::<Vec<u8>>::new("value")).unwrap();
        let list = backend.register(ListDescriptor::<Vec<u8>>::new("list")).unwrap();
        let map = backend.register(MapDescriptor::<u8, Vec<u8>>::new("map")).unwrap();
        let joined = ReducingDescriptor::new("joined", |a: &Vec<u8>, b| [&a[..], b].concat());
        let joined = backend.register(joined).unwrap();
        let key = backend.key(&1).unwrap();
        let (half, too_long) = (vec![1; LIMIT / 2], vec![2; LIMIT]);
        backend.value(value, key, &()).unwrap().set(half.clone()).unwrap();
        refused(backend.value(value, key, &()).unwrap().set(too_long.clone()), "\"value\"");
        assert_eq!(backend.value(value, key, &()).unwrap().get().unwrap().as_ref(), Some(&half));

        // A list and a map may be longer than an entry.
        for _ in 0..3 {
            backend.list(list, key, &()).unwrap().add(half.clone()).unwrap();
        }
        refused(backend.list(list, key, &()).unwrap().add(too_long.clone()), "\"list\"");
        assert_eq!(backend.list(list, key, &()).unwrap().iter().unwrap().count(), 3);
        for entry in 0..3 {
            backend.map(map, key, &()).unwrap().put(entry, half.clone()).unwrap();
        }
        refused(backend.map(map, key, &()).unwrap().put(1, too_long.clone()), "\"map\"");
        assert_eq!(backend.map(map, key, &()).unwrap().get(&1).unwrap().as_ref(), Some(&half));

        backend.reducing(joined, key, &()).unwrap().add(half.clone()).unwrap();
        refused(backend.reducing(joined, key, &()).unwrap().add(half.clone()), "\"joined\"");
        assert_eq!(backend.reducing(joined, key, &()).unwrap().get().unwrap().as_ref(), Some(&half));
    }
}

#[test]
fn the_limit_has_bounds() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [0, 2_147_483_648] {
        assert_eq!(
            options(folder.path()).entry_bytes_max(bytes).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }
    options(folder.path()).entry_bytes_max(2_147_483_647).unwrap();
    assert_eq!(options(folder.path()).memory_budget(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(options(folder.path()).background_threads(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
#[ignore = "writes more than 2 GB, and needs 10 GB of memory"]
fn more_than_2_gb_are_refused_for_real() {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = RocksDbBackend::open(&options(folder.path()), subtask(), &[]).unwrap();
    let value = backend.register(ValueDescriptor::<Vec<u8>>::new("value")).unwrap();
    let key = backend.key(&1).unwrap();
    let allowed = 2_147_483_647 - 100;
    backend.value(value, key, &()).unwrap().set(vec![7; allowed]).unwrap();
    let refused = backend.value(value, key, &()).unwrap().set(vec![8; 2_147_483_648]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Size);
    backend
        .value(value, key, &())
        .unwrap()
        .with(|value| {
            let value = value.unwrap();
            assert_eq!((value.len(), value.first(), value.last()), (allowed, Some(&7), Some(&7)));
        })
        .unwrap();
}

#[test]
fn memory_stays_within_the_budget() {
    const BUDGET: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path()).profile(Profile::Tiny).memory_budget(BUDGET).unwrap();
    let mut backend = RocksDbBackend::open(&options, subtask(), &[]).unwrap();
    let states: Vec<_> = (0..20)
        .map(|state| backend.register(ValueDescriptor::<Vec<u8>>::new(format!("state {state}"))).unwrap())
        .collect();
    // Four times the budget.
    for number in 0..16_000_u32 {
        let key = backend.key(&number).unwrap();
        for &state in states.iter().skip(number as usize % 10).step_by(10) {
            backend.value(state, key, &()).unwrap().set(vec![number as u8; 1000]).unwrap();
        }
        if number % 1000 == 0 {
            let cached: u64 = backend.states().iter().map(|state| state.bytes).sum();
            let store = backend.store().unwrap();
            let held = cached as usize + store.block_cache_bytes();
            assert!(held <= BUDGET + BUDGET / 8, "{held} bytes after {number} keys");
            assert!(store.write_buffer_bytes() <= BUDGET / 2);
        }
    }
    for number in (0..16_000_u32).step_by(997) {
        let key = backend.key(&number).unwrap();
        let state = states[number as usize % 10];
        let value = backend.value(state, key, &()).unwrap().get().unwrap().unwrap();
        assert_eq!(value, vec![number as u8; 1000]);
    }
}
