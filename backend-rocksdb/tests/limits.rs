//! Limits of the bytes of an entry, and of memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use backend_api::{
    ErrorKind, JobFolder, KeySpace, ListDescriptor, ListState, ListToken, MapDescriptor, MapState, MapToken,
    ReducingDescriptor, ReducingState, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState,
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
fn an_entry_above_the_limit_is_refused_and_changes_nothing() {
    const LIMIT: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    for cache in [0, 1 << 20] {
        let options =
            options(folder.path()).with_entry_bytes_max(LIMIT as u64).unwrap().with_cache_bytes(cache);
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

        backend.list(list, key, &()).unwrap().add(half.clone()).unwrap();
        refused(backend.list(list, key, &()).unwrap().add(too_long.clone()), "\"list\"");
        assert_eq!(backend.list(list, key, &()).unwrap().iter().unwrap().count(), 1);
        backend.map(map, key, &()).unwrap().put(1, half.clone()).unwrap();
        refused(backend.map(map, key, &()).unwrap().put(1, too_long.clone()), "\"map\"");
        assert_eq!(backend.map(map, key, &()).unwrap().get(&1).unwrap().as_ref(), Some(&half));

        backend.reducing(joined, key, &()).unwrap().add(half.clone()).unwrap();
        refused(backend.reducing(joined, key, &()).unwrap().add(half.clone()), "\"joined\"");
        assert_eq!(backend.reducing(joined, key, &()).unwrap().get().unwrap().as_ref(), Some(&half));
    }
}

/// Bytes of an element, and of an entry with a map key of four bytes. `PIECES` of them fit.
const PIECE: usize = 10_000;
const PIECES: u32 = (1 << 20) / (PIECE as u32 + 8);

type Backend = RocksDbBackend<u32>;

struct Tokens {
    list: ListToken<Vec<u8>, u8>,
    map: MapToken<u32, Vec<u8>, u8>,
}

impl Tokens {
    fn of(backend: &mut Backend) -> Self {
        let list = backend.register(ListDescriptor::<Vec<u8>>::new("list").namespaced()).unwrap();
        let map = backend.register(MapDescriptor::<u32, Vec<u8>>::new("map").namespaced()).unwrap();
        Self { list, map }
    }

    /// Fills a list and a map up to their limits, and checks that they are full.
    fn fill(&self, backend: &mut Backend, key: u32, from: u32) {
        let key = backend.key(&key).unwrap();
        for piece in from..PIECES {
            backend.list(self.list, key, &0).unwrap().add(vec![1; PIECE]).unwrap();
            backend.map(self.map, key, &0).unwrap().put(piece, vec![1; PIECE]).unwrap();
        }
        self.check_full(backend, *key.key());
    }

    fn check_full(&self, backend: &mut Backend, key: u32) {
        let key = backend.key(&key).unwrap();
        refused(backend.list(self.list, key, &0).unwrap().add(vec![2; PIECE]), "\"list\"");
        refused(backend.map(self.map, key, &0).unwrap().put(PIECES, vec![2; PIECE]), "\"map\"");
        // Overwriting with the same size is allowed.
        backend.map(self.map, key, &0).unwrap().put(0, vec![1; PIECE]).unwrap();
        let pieces = |pieces: usize| assert_eq!(pieces, PIECES as usize);
        pieces(backend.list(self.list, key, &0).unwrap().iter().unwrap().count());
        pieces(backend.map(self.map, key, &0).unwrap().iter().unwrap().count());
    }
}

const CACHES: [usize; 3] = [0, 8 << 10, 2 << 20];

#[test]
fn a_list_or_map_above_the_limit_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for cache in CACHES {
        let options = options(folder.path()).with_entry_bytes_max(1 << 20).unwrap().with_cache_bytes(cache);
        let mut backend = Backend::open(&options, subtask(), &[]).unwrap();
        let tokens = Tokens::of(&mut backend);
        tokens.fill(&mut backend, 1, 0);
        let key = backend.key(&1).unwrap();
        // Merging also adds. If it is refused, the sources keep their content.
        backend.list(tokens.list, key, &1).unwrap().add_all([vec![3; PIECE / 2], vec![3; PIECE]]).unwrap();
        refused(backend.list(tokens.list, key, &0).unwrap().merge_from(&[1]), "\"list\"");
        assert_eq!(backend.list(tokens.list, key, &1).unwrap().iter().unwrap().count(), 2);
        tokens.check_full(&mut backend, 1);
        backend.list(tokens.list, key, &2).unwrap().merge_from(&[1]).unwrap();
        assert!(backend.list(tokens.list, key, &1).unwrap().is_empty().unwrap());
        // Removals make room.
        backend.list(tokens.list, key, &0).unwrap().clear().unwrap();
        backend.map(tokens.map, key, &0).unwrap().remove(&7).unwrap();
        backend.map(tokens.map, key, &0).unwrap().put(PIECES, vec![2; PIECE]).unwrap();
        backend.map(tokens.map, key, &0).unwrap().clear().unwrap();
        tokens.fill(&mut backend, 1, 0);
    }
}

#[test]
fn small_lists_and_maps_beside_large_ones_are_not_refused() {
    let folder = tempfile::tempdir().unwrap();
    for cache in CACHES {
        let options = options(folder.path()).with_entry_bytes_max(1 << 20).unwrap().with_cache_bytes(cache);
        let mut backend = Backend::open(&options, subtask(), &[]).unwrap();
        let tokens = Tokens::of(&mut backend);
        tokens.fill(&mut backend, 0, 0);
        // Many times the limit, under keys that share bounds.
        for number in 0..20_000_u32 {
            let key = number % 5000;
            let key = backend.key(&key).unwrap();
            backend.list(tokens.list, key, &1).unwrap().add(vec![4; 500]).unwrap();
            backend.map(tokens.map, key, &1).unwrap().put(number % 2, vec![4; 500]).unwrap();
        }
        tokens.check_full(&mut backend, 0);
    }
}

#[test]
fn the_limit_holds_after_a_restore_and_at_other_parallelisms() {
    for (cache, incremental) in CACHES.into_iter().flat_map(|cache| [(cache, true), (cache, false)]) {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path()).with_entry_bytes_max(1 << 20).unwrap();
        let options =
            options.with_cache_bytes(cache).with_incremental(incremental).with_profile(Profile::Tiny);
        let part = |parallelism, index| {
            Subtask::new("op", KeySpace::<u32>::new(10).unwrap(), parallelism, index).unwrap()
        };
        let take = |backend: &mut Backend, id| {
            backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap()
        };
        let mut backend = Backend::open(&options, subtask(), &[]).unwrap();
        let tokens = Tokens::of(&mut backend);
        let halves = [part(2, 0), part(2, 1)];
        let keys = halves.each_ref().map(|part| (0..100).find(|key| part.key(key).is_ok()).unwrap());
        for key in keys {
            let key = backend.key(&key).unwrap();
            for piece in 0..PIECES / 2 {
                backend.list(tokens.list, key, &0).unwrap().add(vec![1; PIECE]).unwrap();
                backend.map(tokens.map, key, &0).unwrap().put(piece, vec![1; PIECE]).unwrap();
            }
        }
        let handle = take(&mut backend, 1);
        drop(backend);
        // Each of two subtasks fills one, and one subtask takes over both.
        let handles = [0, 1].map(|index| {
            // The second subtask is new, and its states have other numbers.
            let (restore, from) =
                if index == 0 { (std::slice::from_ref(&handle), PIECES / 2) } else { (&[][..], 0) };
            let mut backend = Backend::open(&options, halves[index].clone(), restore).unwrap();
            if index == 1 {
                backend.register(MapDescriptor::<u8, u8>::new("first")).unwrap();
            }
            let tokens = Tokens::of(&mut backend);
            tokens.fill(&mut backend, keys[index], from);
            take(&mut backend, 2)
        });
        let mut backend = Backend::open(&options, subtask(), &handles).unwrap();
        let tokens = Tokens::of(&mut backend);
        for key in keys {
            tokens.check_full(&mut backend, key);
            let key = backend.key(&key).unwrap();
            backend.list(tokens.list, key, &1).unwrap().add(vec![1; PIECE]).unwrap();
        }
    }
}

#[test]
fn values_of_options_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [0, 2_147_483_648] {
        assert_eq!(
            options(folder.path()).with_entry_bytes_max(bytes).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }
    options(folder.path()).with_entry_bytes_max(2_147_483_647).unwrap();
    assert_eq!(options(folder.path()).with_memory_budget(0).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        options(folder.path()).with_background_threads(0).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[test]
#[ignore = "writes more than 2 GB, and needs 10 GB of memory"]
fn an_entry_above_2_gb_is_refused() {
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
    let options = options(folder.path()).with_profile(Profile::Tiny).with_memory_budget(BUDGET).unwrap();
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
