//! Incremental checkpoints against a plain model. For any sequence of writes, confirmations, aborts, restores
//! and rescales, a restore returns the state at the checkpoint. The storage holds only what the retained
//! checkpoint needs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backend_api::{
    Checkpoint, JobFolder, KeySpace, ListDescriptor, ListState, ListToken, ListView, MapDescriptor, MapState,
    MapToken, MapView, MemoryStorage, SnapshotRequest, StateBackend, Storage, Subtask, TaskState,
    ValueDescriptor, ValueState, ValueToken,
};
use backend_fs::{FsBackend, FsOptions};
use coordinator::{CheckpointStore, CheckpointStoreOptions};
use proptest::prelude::*;

const GROUPS: u16 = 8;
const KEYS: u32 = 40;

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    values: BTreeMap<(u32, u8), u64>,
    lists: BTreeMap<u32, Vec<String>>,
    maps: BTreeMap<u32, BTreeMap<i16, u32>>,
}

impl Model {
    fn set_entry(&mut self, k: u32, mk: i16, v: Option<u32>) -> Option<u32> {
        let map = self.maps.entry(k).or_default();
        let old = match v {
            Some(v) => map.insert(mk, v),
            None => map.remove(&mk),
        };
        if map.is_empty() {
            self.maps.remove(&k);
        }
        old
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(u32, u8, u64),
    Clear(u32, u8),
    Add(u32, u16),
    Replace(u32, Vec<u16>),
    ClearList(u32),
    Put(u32, i16, u32),
    RemoveEntry(u32, i16),
    UpdateEntry(u32, i16, Option<u32>),
    ClearMap(u32),
    /// Takes a checkpoint and completes it.
    Checkpoint,
    /// Takes a checkpoint that is aborted. The flag says if its tasks run.
    Abort(bool),
    /// Takes a checkpoint that does not build on others.
    Full,
    /// Restores the last complete checkpoint with this parallelism. The flag says if all states are
    /// registered or only some.
    Restore(u16, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS;
    prop_oneof![
        8 => (key.clone(), 0..3_u8, any::<u64>()).prop_map(|(k, n, v)| Op::Set(k, n, v)),
        4 => (key.clone(), 0..3_u8).prop_map(|(k, n)| Op::Clear(k, n)),
        8 => (key.clone(), any::<u16>()).prop_map(|(k, e)| Op::Add(k, e)),
        2 => (key.clone(), prop::collection::vec(any::<u16>(), 0..200)).prop_map(|(k, e)| Op::Replace(k, e)),
        2 => key.clone().prop_map(Op::ClearList),
        8 => (key.clone(), -20..20_i16, any::<u32>()).prop_map(|(k, mk, v)| Op::Put(k, mk, v)),
        6 => (key.clone(), -20..20_i16).prop_map(|(k, mk)| Op::RemoveEntry(k, mk)),
        6 => (key.clone(), -20..20_i16, any::<Option<u32>>()).prop_map(|(k, mk, v)| Op::UpdateEntry(k, mk, v)),
        2 => key.prop_map(Op::ClearMap),
        6 => Just(Op::Checkpoint),
        2 => any::<bool>().prop_map(Op::Abort),
        1 => Just(Op::Full),
        2 => (1..5_u16, prop::bool::weighted(0.8)).prop_map(|(p, all)| Op::Restore(p, all)),
    ]
}

type Tokens = (ValueToken<u64, u8>, ListToken<String>, MapToken<i16, u32>);

struct Worker {
    backend: FsBackend<u32>,
    tokens: Option<Tokens>,
}

impl Worker {
    fn tokens(&mut self) -> Tokens {
        let backend = &mut self.backend;
        *self.tokens.get_or_insert_with(|| {
            let value = ValueDescriptor::<u64>::new("value").namespaced::<u8>();
            (
                backend.register(value).unwrap(),
                backend.register(ListDescriptor::<String>::new("list")).unwrap(),
                backend.register(MapDescriptor::<i16, u32>::new("map")).unwrap(),
            )
        })
    }
}

struct Job {
    storage: Arc<dyn Storage>,
    options: FsOptions,
    store: CheckpointStore,
    workers: Vec<Worker>,
    next_id: u64,
    live: Model,
    complete: Model,
}

impl Job {
    fn new(inline_max: usize, claim: bool) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let job = JobFolder::new("job").unwrap();
        let options = FsOptions::new(Arc::clone(&storage), job.clone())
            .with_incremental(true)
            .with_claim_restored(claim);
        let options = options.with_inline_max(inline_max).unwrap();
        let store =
            CheckpointStore::open(CheckpointStoreOptions::in_storage(job, Arc::clone(&storage))).unwrap();
        let (live, complete) = Default::default();
        let mut job = Self { storage, options, store, workers: Vec::new(), next_id: 1, live, complete };
        job.start(1, true);
        job
    }

    fn start(&mut self, parallelism: u16, register: bool) {
        let keys = KeySpace::new(GROUPS).unwrap();
        self.workers = (0..parallelism)
            .map(|index| {
                let subtask = Subtask::new("op", keys.clone(), parallelism, index).unwrap();
                let latest = self.store.latest();
                let handles =
                    latest.map_or(Vec::new(), |latest| latest.handles_for("op", subtask.range()).unwrap());
                let backend = FsBackend::open(&self.options, subtask, &handles).unwrap();
                let mut worker = Worker { backend, tokens: None };
                if register {
                    worker.tokens();
                }
                worker
            })
            .collect();
    }

    fn worker(&mut self, key: u32) -> &mut Worker {
        let keys = KeySpace::new(GROUPS).unwrap();
        let index = keys.subtask(self.workers.len() as u16, &key).unwrap();
        &mut self.workers[usize::from(index)]
    }

    fn checkpoint(&mut self, full: bool, fate: Fate) {
        let id = self.next_id;
        self.next_id += 1;
        let request = SnapshotRequest::new(id);
        let request = if full { request.full() } else { request };
        let parallelism = self.workers.len() as u16;
        let tasks: Vec<_> =
            self.workers.iter_mut().map(|worker| worker.backend.snapshot(request.clone()).unwrap()).collect();
        if fate == Fate::Dropped {
            drop(tasks);
            self.workers.iter_mut().for_each(|worker| worker.backend.notify_aborted(id).unwrap());
            return;
        }
        let acknowledged = tasks
            .into_iter()
            .zip(0..)
            .map(|(task, index)| TaskState::new("op", index, parallelism, task.run().unwrap()));
        let checkpoint = Checkpoint::new(id, acknowledged.collect());
        if fate == Fate::Aborted {
            self.store.discard(id, &checkpoint.tasks);
            self.workers.iter_mut().for_each(|worker| worker.backend.notify_aborted(id).unwrap());
        } else {
            self.store.complete(checkpoint).unwrap();
            self.complete = self.live.clone();
            self.workers.iter_mut().for_each(|worker| worker.backend.notify_complete(id).unwrap());
        }
        self.check_storage();
    }

    /// Checks that the storage holds only the metadata of the retained checkpoint and the files it names.
    fn check_storage(&self) {
        let mut expected = BTreeSet::new();
        for checkpoint in self.store.checkpoints() {
            expected.insert(format!("job/chk-{}/_metadata", checkpoint.id));
            for file in checkpoint.handles().flat_map(|handle| &handle.files) {
                if let backend_api::StateData::File { path, .. } = &file.data {
                    expected.insert(path.clone());
                }
            }
        }
        let found = self.storage.list("").unwrap().into_iter().map(|entry| entry.path);
        // The store's own records are not part of a checkpoint.
        let found = found.filter(|path| !path.starts_with("job/_owner/"));
        assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Set(k, n, v) => {
                self.live.values.insert((k, n), v);
                let worker = self.worker(k);
                let token = worker.tokens().0;
                let key = worker.backend.key(&k).unwrap();
                worker.backend.value(token, key, &n).unwrap().set(v).unwrap();
            }
            Op::Clear(k, n) => {
                self.live.values.remove(&(k, n));
                let worker = self.worker(k);
                let token = worker.tokens().0;
                let key = worker.backend.key(&k).unwrap();
                worker.backend.value(token, key, &n).unwrap().clear().unwrap();
            }
            Op::Add(k, e) => {
                self.live.lists.entry(k).or_default().push(format!("element {e}"));
                self.list(k, |mut list| list.add(format!("element {e}")).unwrap());
            }
            Op::Replace(k, elements) => {
                let elements: Vec<String> = elements.iter().map(|e| format!("element {e}")).collect();
                if elements.is_empty() {
                    self.live.lists.remove(&k);
                } else {
                    self.live.lists.insert(k, elements.clone());
                }
                self.list(k, |mut list| list.set(elements).unwrap());
            }
            Op::ClearList(k) => {
                self.live.lists.remove(&k);
                self.list(k, |mut list| list.clear().unwrap());
            }
            Op::Put(k, mk, v) => {
                self.live.set_entry(k, mk, Some(v));
                self.map(k, |mut map| map.put(mk, v).unwrap());
            }
            Op::RemoveEntry(k, mk) => {
                self.live.set_entry(k, mk, None);
                self.map(k, |mut map| map.remove(&mk).unwrap());
            }
            Op::UpdateEntry(k, mk, v) => {
                let old = self.live.set_entry(k, mk, v);
                self.map(k, |mut map| {
                    let seen = map.update(mk, |value| std::mem::replace(value, v)).unwrap();
                    assert_eq!(seen, old);
                });
            }
            Op::ClearMap(k) => {
                self.live.maps.remove(&k);
                self.map(k, |mut map| map.clear().unwrap());
            }
            Op::Checkpoint => self.checkpoint(false, Fate::Completed),
            Op::Abort(runs) => self.checkpoint(false, if runs { Fate::Aborted } else { Fate::Dropped }),
            Op::Full => self.checkpoint(true, Fate::Completed),
            Op::Restore(parallelism, register) => {
                self.start(parallelism, register);
                self.live = self.complete.clone();
                if register {
                    self.check();
                }
            }
        }
    }

    fn list(&mut self, k: u32, f: impl FnOnce(ListView<'_, FsBackend<u32>, String, ()>)) {
        let worker = self.worker(k);
        let token = worker.tokens().1;
        let key = worker.backend.key(&k).unwrap();
        f(worker.backend.list(token, key, &()).unwrap());
    }

    fn map(&mut self, k: u32, f: impl FnOnce(MapView<'_, FsBackend<u32>, i16, u32, ()>)) {
        let worker = self.worker(k);
        let token = worker.tokens().2;
        let key = worker.backend.key(&k).unwrap();
        f(worker.backend.map(token, key, &()).unwrap());
    }

    fn check(&mut self) {
        let mut found = Model::default();
        for worker in &mut self.workers {
            let (value, list, map) = worker.tokens();
            let backend = &mut worker.backend;
            let pairs: Vec<(u32, u8)> =
                backend.keys_and_namespaces(value).unwrap().map(Result::unwrap).collect();
            for (k, n) in pairs {
                let key = backend.key(&k).unwrap();
                let stored = backend.value(value, key, &n).unwrap().get().unwrap().unwrap();
                assert_eq!(found.values.insert((k, n), stored), None);
            }
            let keys: Vec<u32> = backend.keys(list, &()).unwrap().map(Result::unwrap).collect();
            for k in keys {
                let key = backend.key(&k).unwrap();
                let elements = backend.list(list, key, &()).unwrap().get().unwrap();
                assert_eq!(found.lists.insert(k, elements), None);
            }
            let keys: Vec<u32> = backend.keys(map, &()).unwrap().map(Result::unwrap).collect();
            for k in keys {
                let key = backend.key(&k).unwrap();
                let mut view = backend.map(map, key, &()).unwrap();
                let entries = view.iter().unwrap().map(|entry| {
                    let (key, value) = entry.unwrap();
                    (key.into_owned(), value.into_owned())
                });
                assert_eq!(found.maps.insert(k, entries.collect()), None);
            }
            let infos = backend.states();
            let entries: Vec<u64> = infos.iter().map(|info| info.entries.unwrap()).collect();
            let range = backend.subtask().range();
            let keys = backend.subtask().key_space().clone();
            let own = |k: &u32| range.contains(keys.key(k).unwrap().group());
            let expected = [
                self.live.values.keys().filter(|(k, _)| own(k)).count(),
                self.live.lists.keys().filter(|k| own(k)).count(),
                self.live.maps.iter().filter(|(k, _)| own(k)).map(|(_, map)| map.len()).sum(),
            ];
            assert_eq!(entries, expected.map(|count| count as u64));
        }
        assert_eq!(found, self.live);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Completed,
    Aborted,
    Dropped,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_restores_to_the_model(
        ops in prop::collection::vec(op(), 1..400),
        inline_max in prop_oneof![Just(0), Just(20_480)],
        claim in any::<bool>(),
    ) {
        let mut job = Job::new(inline_max, claim);
        for op in ops {
            job.run(op);
        }
        job.check();
        job.checkpoint(false, Fate::Completed);
        job.run(Op::Restore(3, true));
    }
}
