//! Batches read the same as single accesses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use backend_api::{
    ErrorKind, JobFolder, KeySpace, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState,
    ValueToken,
};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions};

type Backend = RocksDbBackend<u32>;

/// Short values, and one that does not fit into a block of a file.
fn text(number: u32) -> String {
    format!("{number}/{}", "x".repeat(if number.is_multiple_of(100) { 5000 } else { number as usize % 50 }))
}

struct World {
    backend: Backend,
    token: ValueToken<String, u8>,
    model: BTreeMap<u32, String>,
}

impl World {
    fn get(&mut self, keys: &[u32]) {
        let contexts: Vec<_> = keys.iter().map(|key| self.backend.key(key).unwrap()).collect();
        let mut found = Vec::new();
        let seen = |index, value: Option<&String>| found.push((index, value.cloned()));
        self.backend.get_batch(self.token, &contexts, &7, seen).unwrap();
        let expected = keys.iter().map(|key| self.model.get(key).cloned()).enumerate();
        assert_eq!(found, expected.collect::<Vec<_>>());
        for key in keys {
            let key = self.backend.key(key).unwrap();
            let single = self.backend.value(self.token, key, &7).unwrap().get().unwrap();
            assert_eq!(single.as_ref(), self.model.get(key.key()));
            assert_eq!(self.backend.value(self.token, key, &8).unwrap().get().unwrap(), None);
        }
    }

    /// Appends to each value, or removes it if the key is a multiple of 5.
    fn update(&mut self, keys: &[u32]) {
        let contexts: Vec<_> = keys.iter().map(|key| self.backend.key(key).unwrap()).collect();
        let change = |key: u32, value: &mut Option<String>| match value {
            Some(_) if key.is_multiple_of(5) => *value = None,
            Some(value) => value.push('y'),
            None => *value = Some(text(key)),
        };
        let update = |index: usize, value: &mut Option<String>| change(keys[index], value);
        self.backend.update_batch(self.token, &contexts, &7, update).unwrap();
        for &key in keys {
            let mut value = self.model.remove(&key);
            change(key, &mut value);
            self.model.extend(value.map(|value| (key, value)));
        }
    }
}

#[test]
fn batches_read_and_write_like_single_accesses() {
    for cache in [0, 8 << 10, 4 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
        let options =
            RocksDbOptions::in_folder(checkpoints, JobFolder::new("job").unwrap(), working).unwrap();
        let options = options.with_profile(Profile::Tiny).with_memory_budget(8 << 20).unwrap();
        let options = options.with_cache_bytes(cache).with_incremental(true);
        let subtask = Subtask::single("op", KeySpace::new(10).unwrap()).unwrap();
        let mut backend = Backend::open(&options, subtask, &[]).unwrap();
        let token = backend.register(ValueDescriptor::<String>::new("value").namespaced()).unwrap();
        let mut world = World { backend, token, model: BTreeMap::new() };
        let all: Vec<u32> = (0..3000).collect();
        world.update(&all);
        let mut running = Vec::new();
        for round in 0..20_u32 {
            // Some twice, some absent, in no order.
            let keys = |stride: u32| (0..300).map(move |step: u32| (step * stride + round * 17) % 4000);
            world.get(&keys(7919).collect::<Vec<_>>());
            world.get(&keys(1).collect::<Vec<_>>());
            let few = keys(104_729).map(|key| key % 120).collect::<Vec<_>>();
            world.update(&few);
            world.get(&few);
            if round % 5 == 2 {
                // Writes are pending until the task has started.
                running.push(world.backend.snapshot(SnapshotRequest::new(round.into())).unwrap());
            }
            if round % 5 == 4 {
                running.drain(..).for_each(|task| drop(task.run().unwrap()));
            }
        }
        world.get(&[]);
        world.get(&[3]);
        world.get(&all);
    }
}

#[test]
fn a_failed_update_keeps_the_updates_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, working) = (folder.path().join("checkpoints"), folder.path().join("working"));
    let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job").unwrap(), working).unwrap();
    let options = options.with_cache_bytes(0).with_entry_bytes_max(1000).unwrap();
    let subtask = Subtask::single("op", KeySpace::new(10).unwrap()).unwrap();
    let mut backend = Backend::open(&options, subtask, &[]).unwrap();
    let token = backend.register(ValueDescriptor::<String>::new("value")).unwrap();
    let keys = [1, 2, 3, 4];
    let contexts: Vec<_> = keys.iter().map(|key| backend.key(key).unwrap()).collect();
    backend.update_batch(token, &contexts, &(), |_, value| *value = Some("old".to_owned())).unwrap();
    let fail =
        |index, value: &mut Option<String>| *value = Some("z".repeat(if index == 2 { 1000 } else { 1 }));
    let error = backend.update_batch(token, &contexts, &(), fail).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    let mut read = |index: usize| backend.value(token, contexts[index], &()).unwrap().get().unwrap();
    assert_eq!([read(0), read(1), read(2), read(3)].map(Option::unwrap), ["z", "z", "old", "old"]);
    backend.value(token, contexts[3], &()).unwrap().set("new".to_owned()).unwrap();
    let mut found = Vec::new();
    backend.get_batch(token, &contexts, &(), |_, value| found.push(value.cloned().unwrap())).unwrap();
    assert_eq!(found, ["z", "z", "old", "new"]);
}
