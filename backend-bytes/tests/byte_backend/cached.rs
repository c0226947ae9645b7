//! A backend with a cache compared with a plain model: with caches of any size, with a failing store, and
//! with a store that flushes caches late, in the task of a snapshot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backend_api::{
    CheckpointTarget, Error, ErrorKind, KeyedStateHandle, ListDescriptor, ListState, ListToken,
    MapDescriptor, MapState, MapToken, Result, SnapshotRequest, SnapshotTask, StateBackend, StateKey,
    Subtask, ValueDescriptor, ValueState, ValueToken,
};
use backend_bytes::{
    BTreeStore, ByteCursor, ByteEngine, ByteOptions, ByteSnapshot, ByteStore, CacheFlush, EngineBackend,
    FreezeRequest, LayerState, NativeTask, OpenedStore, StoreSnapshots, WriteBatch,
};
use proptest::prelude::*;

use crate::support::{Failing, context, open, snapshot, subtask};

/// A store that flushes the caches when a snapshot is read, or before something else is written.
#[derive(Clone, Debug, Default)]
struct LateStore(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    store: BTreeStore,
    /// The flush of the last snapshot, if it is due.
    due: Option<Due>,
    fails: bool,
    /// True if a failing flush is stored anyway: a store may have some batches before another one fails.
    has_late: bool,
    /// Makes a read apply the due flush, before or after the read.
    writes: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Before,
    After,
}

type Made = Arc<Mutex<Option<Result<BTreeStore>>>>;

#[derive(Debug)]
struct Due {
    flush: CacheFlush,
    made: Made,
}

impl Inner {
    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        if self.fails { Err(Error::new(ErrorKind::Io, "the disk is gone")) } else { self.store.write(batch) }
    }

    fn read(&mut self, moment: Moment) {
        if self.writes == Some(moment) {
            self.finish_flush();
        }
    }

    fn finish_flush(&mut self) {
        let Some(Due { flush, made }) = self.due.take() else { return };
        let written = flush.apply(&mut |batch: &WriteBatch| {
            if self.fails && self.has_late {
                self.store.write(batch)?;
            }
            self.write(batch)
        });
        *made.lock().unwrap() = Some(written.map(|()| self.store.clone()));
    }
}

impl ByteStore for LateStore {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.read(Moment::Before);
        inner.store.get(key, read)?;
        inner.read(Moment::After);
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        let mut inner = self.0.lock().unwrap();
        inner.read(Moment::Before);
        let store = inner.store.clone();
        inner.read(Moment::After);
        let mut cursor = ByteStore::scan(&store, from, to)?;
        let mut entries = Vec::new();
        while let Some((key, value)) = cursor.next()? {
            entries.push((key.to_vec(), value.to_vec()));
        }
        Ok(Box::new(Entries { entries, at: 0 }))
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.finish_flush();
        inner.write(batch)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.rows(&SnapshotRequest::new(1), CacheFlush::default())
    }
}

impl StoreSnapshots for LateStore {
    fn prefers_native(&self) -> bool {
        false
    }

    fn rows(&mut self, _request: &SnapshotRequest, flush: CacheFlush) -> Result<Box<dyn ByteSnapshot>> {
        let made = Made::default();
        self.0.lock().unwrap().due = Some(Due { flush, made: Arc::clone(&made) });
        Ok(Box::new(Late { store: self.clone(), made, seen: BTreeStore::default() }))
    }

    fn native(&mut self, _request: FreezeRequest<'_>, _flush: CacheFlush) -> Result<NativeTask> {
        unreachable!("all states are registered")
    }

    fn complete(&mut self, _checkpoint_id: u64) {}

    fn aborted(&mut self, _checkpoint_id: u64) {}

    fn is_flushing(&mut self) -> bool {
        false
    }

    fn finish_flush(&mut self) {
        self.0.lock().unwrap().finish_flush();
    }

    fn try_finish_flush(&mut self) -> bool {
        self.finish_flush();
        true
    }
}

/// Opens a backend over the store in the options.
enum LateEngine {}

#[derive(Clone, Debug)]
struct LateOptions {
    store: LateStore,
    target: CheckpointTarget,
    cache_bytes: usize,
}

impl ByteEngine for LateEngine {
    type Store = LateStore;
    type Options = LateOptions;

    const FORMAT: &'static str = backend_api::row::FORMAT;

    fn target(options: &LateOptions) -> &CheckpointTarget {
        &options.target
    }

    fn entry_bytes_max(_options: &LateOptions) -> u64 {
        ByteOptions::ENTRY_BYTES_MAX
    }

    fn cache_bytes(options: &LateOptions) -> usize {
        options.cache_bytes
    }

    fn open<K: StateKey>(
        options: &LateOptions,
        _subtask: &Subtask<K>,
        _native: &[KeyedStateHandle],
    ) -> Result<OpenedStore<LateStore>> {
        let store = options.store.clone();
        Ok(OpenedStore { store, states: Vec::new(), layer: LayerState::default() })
    }

    fn snapshots(store: &mut LateStore) -> Option<&mut dyn StoreSnapshots> {
        Some(store)
    }
}

struct Entries {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    at: usize,
}

impl ByteCursor for Entries {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.at += 1;
        Ok(self.entries.get(self.at - 1).map(|(key, value)| (&key[..], &value[..])))
    }
}

struct Late {
    store: LateStore,
    made: Made,
    seen: BTreeStore,
}

impl ByteSnapshot for Late {
    fn prepare(&mut self) -> Result<()> {
        if self.made.lock().unwrap().is_none() {
            self.store.0.lock().unwrap().finish_flush();
        }
        self.seen = self.made.lock().unwrap().take().unwrap()?;
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        ByteStore::scan(&self.seen, from, to)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(u8, Option<u32>),
    Add(u8, u8, usize),
    Replace(u8, usize),
    ClearList(u8),
    Merge(u8),
    Put(u8, u16),
    /// The first entry and the number of entries, possibly more than a cache keeps.
    PutAll(u8, u16, u16),
    Remove(u8, u16),
    ClearMap(u8),
    /// An element or value that is too long for a cache.
    Long(u8),
    Read(u8, u16),
    ReadRange(u8, u16, u16),
    Keys,
    Snapshot,
    RunSnapshot {
        fails: Option<Moment>,
    },
    DropSnapshot,
    Fails(bool),
    Writes(Option<Moment>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, entry) = (|| 0..4_u8, || 0..12_u16);
    let moment = || prop::sample::select(&[None, Some(Moment::Before), Some(Moment::After)]);
    let step = prop_oneof![
        2 => (key(), prop::option::of(any::<u32>())).prop_map(|(k, v)| Step::Set(k, v)),
        6 => (key(), 0..2_u8, 0..4_usize).prop_map(|(k, n, len)| Step::Add(k, n, len)),
        1 => (key(), 0..6000_usize).prop_map(|(k, len)| Step::Add(k, 0, len)),
        2 => (key(), prop_oneof![9 => 0..4_usize, 1 => 0..6000_usize]).prop_map(|(k, l)| Step::Replace(k, l)),
        2 => key().prop_map(Step::ClearList),
        1 => key().prop_map(Step::Merge),
        6 => (key(), entry()).prop_map(|(k, e)| Step::Put(k, e)),
        2 => (key(), entry(), 0..4_u16).prop_map(|(k, e, n)| Step::PutAll(k, e, n)),
        1 => (key(), entry(), 0..400_u16).prop_map(|(k, e, n)| Step::PutAll(k, e, n)),
        3 => (key(), entry()).prop_map(|(k, e)| Step::Remove(k, e)),
        1 => key().prop_map(Step::ClearMap),
        1 => key().prop_map(Step::Long),
        5 => (key(), entry()).prop_map(|(k, e)| Step::Read(k, e)),
        3 => (key(), 0..300_u16, 0..300_u16).prop_map(|(k, a, b)| Step::ReadRange(k, a, b)),
        1 => Just(Step::Keys),
        3 => Just(Step::Snapshot),
        3 => moment().prop_map(|fails| Step::RunSnapshot { fails }),
        1 => Just(Step::DropSnapshot),
        2 => prop::bool::weighted(0.3).prop_map(Step::Fails),
        2 => moment().prop_map(Step::Writes),
    ];
    prop::collection::vec(step, 1..60)
}

/// The content of all keys, with namespaces 0 and 1 of lists.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    values: BTreeMap<u8, u32>,
    lists: BTreeMap<(u8, u8), Vec<Vec<u8>>>,
    maps: BTreeMap<u8, BTreeMap<u16, Vec<u8>>>,
}

struct World {
    store: LateStore,
    backend: EngineBackend<String, LateEngine>,
    tokens: Tokens,
    model: Model,
    /// Increases, so that all elements differ.
    number: u32,
    checkpoint: u64,
    task: Option<(SnapshotTask, Model)>,
}

#[derive(Clone, Copy)]
struct Tokens(ValueToken<u32>, ListToken<Vec<u8>, u8>, MapToken<u16, Vec<u8>>);

fn tokens(backend: &mut impl StateBackend<Key = String>) -> Tokens {
    Tokens(
        backend.register(ValueDescriptor::new("value")).unwrap(),
        backend.register(ListDescriptor::new("list").namespaced()).unwrap(),
        backend.register(MapDescriptor::new("map")).unwrap(),
    )
}

fn read_all(backend: &mut impl StateBackend<Key = String>, tokens: Tokens) -> Model {
    let mut model = Model::default();
    for key in 0..4_u8 {
        let name = key.to_string();
        let value = backend.value(tokens.0, context(&name), &()).unwrap().get().unwrap();
        model.values.extend(value.map(|value| (key, value)));
        for namespace in 0..2 {
            let list = backend.list(tokens.1, context(&name), &namespace).unwrap().get().unwrap();
            if !list.is_empty() {
                model.lists.insert((key, namespace), list);
            }
        }
        let mut map = backend.map(tokens.2, context(&name), &()).unwrap();
        let entries = map.iter().unwrap().map(|entry| entry.map(|(k, v)| (*k, v.into_owned())));
        let entries = entries.collect::<Result<BTreeMap<_, _>>>().unwrap();
        if !entries.is_empty() {
            model.maps.insert(key, entries);
        }
    }
    model
}

impl World {
    fn new(cache: usize) -> Self {
        let store = LateStore::default();
        let target = CheckpointTarget::memory(1 << 30).unwrap();
        let options = LateOptions { store: store.clone(), target, cache_bytes: cache };
        let mut backend = EngineBackend::open(&options, subtask(1, 0), &[]).unwrap();
        let tokens = tokens(&mut backend);
        Self { store, backend, tokens, model: Model::default(), number: 0, checkpoint: 0, task: None }
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.number += 1;
        self.number.to_be_bytes().to_vec()
    }

    /// Executes a step. A call that fails changes nothing.
    fn run(&mut self, step: &Step) {
        let mut model = self.model.clone();
        match self.apply(step, &mut model) {
            Ok(()) => {
                model.lists.retain(|_, list| !list.is_empty());
                model.maps.retain(|_, map| !map.is_empty());
                self.model = model;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{error}"),
        }
    }

    fn apply(&mut self, step: &Step, model: &mut Model) -> Result<()> {
        let Tokens(value, list, map) = self.tokens;
        match *step {
            Step::Set(key, new) => {
                let name = key.to_string();
                self.backend.value(value, context(&name), &())?.update(|value| *value = new)?;
                model.values.remove(&key);
                model.values.extend(new.map(|new| (key, new)));
            }
            Step::Add(key, namespace, len) => {
                let (name, new) = (key.to_string(), (0..len).map(|_| self.bytes()).collect::<Vec<_>>());
                let mut view = self.backend.list(list, context(&name), &namespace)?;
                match &new[..] {
                    [one] => view.add(one.clone())?,
                    _ => view.add_all(new.clone())?,
                }
                model.lists.entry((key, namespace)).or_default().extend(new);
            }
            Step::Replace(key, len) => {
                let (name, new) = (key.to_string(), (0..len).map(|_| self.bytes()).collect::<Vec<_>>());
                self.backend.list(list, context(&name), &0)?.set(new.clone())?;
                model.lists.insert((key, 0), new);
            }
            Step::ClearList(key) => {
                self.backend.list(list, context(&key.to_string()), &0)?.clear()?;
                model.lists.remove(&(key, 0));
            }
            Step::Merge(key) => {
                self.backend.list(list, context(&key.to_string()), &0)?.merge_from(&[1, 0, 1])?;
                let other = model.lists.remove(&(key, 1)).unwrap_or_default();
                model.lists.entry((key, 0)).or_default().extend(other);
            }
            Step::Put(key, entry) => {
                let (name, new) = (key.to_string(), self.bytes());
                self.backend.map(map, context(&name), &())?.put(entry, new.clone())?;
                model.maps.entry(key).or_default().insert(entry, new);
            }
            Step::PutAll(key, first, len) => {
                let new: Vec<_> = (first..first + len).map(|entry| (entry, self.bytes())).collect();
                self.backend.map(map, context(&key.to_string()), &())?.put_all(new.clone())?;
                model.maps.entry(key).or_default().extend(new);
            }
            Step::Remove(key, entry) => {
                self.backend.map(map, context(&key.to_string()), &())?.remove(&entry)?;
                model.maps.entry(key).or_default().remove(&entry);
            }
            Step::ClearMap(key) => {
                self.backend.map(map, context(&key.to_string()), &())?.clear()?;
                model.maps.remove(&key);
            }
            Step::Long(key) => {
                let (name, mut new) = (key.to_string(), self.bytes());
                new.resize(10_000, 0);
                if self.number.is_multiple_of(2) {
                    self.backend.list(list, context(&name), &0)?.add(new.clone())?;
                    model.lists.entry((key, 0)).or_default().push(new);
                } else {
                    self.backend.map(map, context(&name), &())?.put(3, new.clone())?;
                    model.maps.entry(key).or_default().insert(3, new);
                }
            }
            Step::Read(key, entry) => {
                let name = key.to_string();
                let entries = model.maps.get(&key).cloned().unwrap_or_default();
                let elements = model.lists.get(&(key, 0)).cloned().unwrap_or_default();
                let mut view = self.backend.map(map, context(&name), &())?;
                assert_eq!(view.get(&entry)?.as_ref(), entries.get(&entry));
                assert_eq!(view.contains(&(entry + 1))?, entries.contains_key(&(entry + 1)));
                if entry % 2 == 0 {
                    assert_eq!(view.is_empty()?, entries.is_empty());
                    let mut view = self.backend.list(list, context(&name), &0)?;
                    assert_eq!(view.is_empty()?, elements.is_empty());
                }
                assert_eq!(
                    self.backend.value(value, context(&name), &())?.get()?.as_ref(),
                    model.values.get(&key)
                );
            }
            Step::ReadRange(key, from, to) => {
                let name = key.to_string();
                let entries = model.maps.get(&key).cloned().unwrap_or_default();
                let mut view = self.backend.map(map, context(&name), &())?;
                // A snapshot can be written at any step.
                let store = self.store.clone();
                let mut steps = 0;
                let found = view.range(from..to)?.map(|e| {
                    steps += 1;
                    if steps == 2 {
                        store.0.lock().unwrap().read(Moment::After);
                    }
                    e.map(|(k, v)| (*k, v.into_owned()))
                });
                let found = found.collect::<Result<Vec<_>>>()?;
                let expected = entries.iter().filter(|(entry, _)| (from..to).contains(entry));
                assert_eq!(found, expected.map(|(k, v)| (*k, v.clone())).collect::<Vec<_>>());
                let mut view = self.backend.list(list, context(&name), &0)?;
                let found = view.iter()?.map(|e| e.map(|e| e.into_owned())).collect::<Result<Vec<_>>>()?;
                assert_eq!(Some(found).filter(|list| !list.is_empty()), model.lists.get(&(key, 0)).cloned());
            }
            Step::Keys => {
                let keys = |keys: Vec<u8>| keys.iter().map(u8::to_string).collect::<Vec<_>>();
                let mut found = self.backend.keys(map, &())?.collect::<Result<Vec<_>>>()?;
                found.sort_unstable();
                assert_eq!(found, keys(model.maps.keys().copied().collect()));
                let mut found = self.backend.keys(list, &1_u8)?.collect::<Result<Vec<_>>>()?;
                found.sort_unstable();
                let expected = model.lists.keys().filter(|(_, namespace)| *namespace == 1);
                assert_eq!(found, keys(expected.map(|(key, _)| *key).collect()));
            }
            Step::Snapshot => {
                self.checkpoint += 1;
                let task = self.backend.snapshot(SnapshotRequest::new(self.checkpoint))?;
                self.task = Some((task, model.clone()));
            }
            Step::RunSnapshot { fails } => {
                let before = {
                    let mut store = self.store.0.lock().unwrap();
                    store.has_late = fails == Some(Moment::After);
                    std::mem::replace(&mut store.fails, fails.is_some())
                };
                if let Some((task, expected)) = self.task.take()
                    && let Ok(Some(handle)) = task.run()
                {
                    assert_eq!(restored(&handle), expected);
                }
                self.store.0.lock().unwrap().fails = before;
            }
            Step::DropSnapshot => self.task = None,
            Step::Writes(moment) => self.store.0.lock().unwrap().writes = moment,
            Step::Fails(fails) => self.store.0.lock().unwrap().fails = fails,
        }
        Ok(())
    }
}

fn restored(handle: &KeyedStateHandle) -> Model {
    let mut backend = open(&crate::support::in_memory(), std::slice::from_ref(handle));
    let tokens = tokens(&mut backend);
    read_all(&mut backend, tokens)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn caches_of_any_size_change_no_result(
        steps in steps(),
        cache in prop::sample::select(&[1_usize, 600, 3_000, 20_000, 1 << 20]),
    ) {
        let mut world = World::new(cache);
        for step in &steps {
            world.run(step);
        }
        world.store.0.lock().unwrap().fails = false;
        prop_assert_eq!(&read_all(&mut world.backend, world.tokens), &world.model);
        let task = world.backend.snapshot(SnapshotRequest::new(world.checkpoint + 1)).unwrap();
        let handle = task.run().unwrap().unwrap();
        prop_assert_eq!(&restored(&handle), &world.model);
        prop_assert_eq!(&read_all(&mut world.backend, world.tokens), &world.model);
    }
}

#[test]
fn short_lists_and_maps_are_read_from_the_store_once() {
    let calls_left = Arc::new(AtomicU64::new(u64::MAX));
    let store = Failing { inner: BTreeStore::default(), calls_left: Arc::clone(&calls_left) };
    let target = CheckpointTarget::memory(1 << 20).unwrap();
    let options = ByteOptions::new(target, move |_, _| Ok(Box::new(store.clone()))).with_cache_bytes(1 << 20);
    let mut backend = open(&options, &[]);
    let Tokens(_, list, map) = tokens(&mut backend);
    let bytes = |n: u16| n.to_be_bytes().to_vec();
    let name = "a".to_owned();
    let key = context(&name);

    // Writes read nothing.
    calls_left.store(0, Ordering::SeqCst);
    backend.map(map, key, &()).unwrap().put_all((0..10).map(|n| (n, bytes(n)))).unwrap();
    backend.list(list, key, &0).unwrap().add_all((0..10).map(bytes)).unwrap();
    backend.list(list, key, &1).unwrap().set((0..10).map(bytes)).unwrap();
    assert_eq!(backend.map(map, key, &()).unwrap().get(&3).unwrap(), Some(bytes(3)));
    assert_eq!(backend.list(list, key, &1).unwrap().get().unwrap().len(), 10);
    assert!(backend.map(map, key, &()).unwrap().get(&10).is_err());
    assert!(backend.list(list, key, &0).unwrap().get().is_err());

    // Everything is read once,
    calls_left.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(backend.map(map, key, &()).unwrap().iter().unwrap().count(), 10);
    assert_eq!(backend.list(list, key, &0).unwrap().iter().unwrap().count(), 10);

    // and then is known, even after a snapshot has written it.
    for checkpoint in 1..3 {
        calls_left.store(0, Ordering::SeqCst);
        let mut view = backend.map(map, key, &()).unwrap();
        view.remove(&3).unwrap();
        assert_eq!(view.get(&3).unwrap(), None);
        assert!(!view.contains(&10).unwrap());
        assert_eq!(view.keys().unwrap().count(), 9);
        view.put(3, bytes(4)).unwrap();
        assert_eq!(view.values().unwrap().count(), 10);
        let mut view = backend.list(list, key, &0).unwrap();
        view.add(bytes(11)).unwrap();
        assert_eq!(view.get().unwrap().len(), 10 + checkpoint as usize);
        assert!(!view.is_empty().unwrap());
        calls_left.store(u64::MAX, Ordering::SeqCst);
        snapshot(&mut backend, checkpoint);
    }
}
