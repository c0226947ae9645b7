//! States with a time to live in a store that removes expired entries by itself, as compactions do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend_api::{
    CheckpointTarget, ListDescriptor, ListState, MapDescriptor, MapState, Result, StateBackend, Ttl,
    ValueDescriptor, ValueState,
};
use backend_bytes::{
    BTreeStore, ByteBackend, ByteCursor, ByteOptions, ByteSnapshot, ByteStore, EntryExpiry, EntryKey,
    WriteBatch, WriteOp,
};
use proptest::prelude::*;

use crate::support::{Backend, context, key, snapshot, subtask};

/// Removes all expired entries at each write, and counts the puts.
#[derive(Default)]
struct Compacting {
    inner: BTreeStore,
    expiries: BTreeMap<u16, EntryExpiry>,
    puts: Arc<AtomicUsize>,
}

impl Compacting {
    fn compact(&mut self) -> Result<()> {
        let mut expired = WriteBatch::default();
        let mut cursor = ByteStore::scan(&self.inner, &[], &[u8::MAX])?;
        while let Some((key, value)) = cursor.next()? {
            let expiry = EntryKey::state_of(key).and_then(|state| self.expiries.get(&state));
            if expiry.is_some_and(|expiry| expiry.has_expired(value)) {
                expired.delete(key);
            }
        }
        drop(cursor);
        self.inner.write(&expired)
    }
}

impl ByteStore for Compacting {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.inner.get(key, read)
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        ByteStore::scan(&self.inner, from, to)
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        let puts = batch.iter().filter(|op| matches!(op, WriteOp::Put { .. })).count();
        self.puts.fetch_add(puts, Ordering::Relaxed);
        self.inner.write(batch)?;
        self.compact()
    }

    fn set_expiry(&mut self, number: u16, expiry: Option<&EntryExpiry>) {
        match expiry {
            Some(expiry) => _ = self.expiries.insert(number, expiry.clone()),
            None => _ = self.expiries.remove(&number),
        }
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.inner.snapshot()
    }
}

/// Options of a backend with a cache of this size, and the puts of its store.
fn options(cache_bytes: usize) -> (ByteOptions, Arc<AtomicUsize>) {
    let puts = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&puts);
    let options = ByteOptions::new(CheckpointTarget::memory(1 << 20).unwrap(), move |_, _| {
        Ok(Box::new(Compacting { puts: Arc::clone(&counted), ..Compacting::default() }))
    });
    (options.with_cache_bytes(cache_bytes), puts)
}

fn ttl() -> Ttl {
    Ttl::millis(100).unwrap()
}

#[test]
fn expired_values_in_the_cache_are_not_written() {
    for (now, written) in [(99, 40), (100, 0)] {
        let (options, puts) = options(32 << 10);
        let mut backend: Backend = ByteBackend::open(&options, subtask(1, 0), &[]).unwrap();
        backend.advance_to(0).unwrap();
        let token = backend.register(ValueDescriptor::<u64>::new("value").ttl(ttl())).unwrap();
        let others = backend.register(ValueDescriptor::<u64>::new("others")).unwrap();
        for number in 0..40 {
            let key = key(&format!("old {number}"));
            backend.value(token, context(&key), &()).unwrap().set(1).unwrap();
        }
        assert_eq!(puts.load(Ordering::Relaxed), 0);
        backend.advance_to(now).unwrap();
        for number in 0..5000 {
            let key = key(&format!("new {number}"));
            backend.value(others, context(&key), &()).unwrap().set(1).unwrap();
        }
        // Flushes what the cache still has.
        let keys = backend.keys(token, &()).unwrap().count();
        assert_eq!(keys, written);
        let of_others = backend.keys(others, &()).unwrap().count();
        assert_eq!((of_others, puts.load(Ordering::Relaxed)), (5000, 5000 + written));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(i64),
    Set(u8, u8),
    Update(u8),
    Add(u8, u8),
    AddAll(u8, u8),
    Put(u8, u8, u8),
    Remove(u8, u8),
    Clear(u8),
    Read(u8),
    Snapshot,
    /// Evicts from a small cache.
    Fill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (key, number) = (0..4_u8, any::<u8>());
    let step = prop_oneof![
        4 => (0..70_i64).prop_map(Step::Advance),
        3 => (key.clone(), number).prop_map(|(key, value)| Step::Set(key, value)),
        2 => key.clone().prop_map(Step::Update),
        3 => (key.clone(), number).prop_map(|(key, value)| Step::Add(key, value)),
        2 => (key.clone(), number).prop_map(|(key, value)| Step::AddAll(key, value)),
        4 => (key.clone(), 0..5_u8, number).prop_map(|(key, entry, value)| Step::Put(key, entry, value)),
        1 => (key.clone(), 0..5_u8).prop_map(|(key, entry)| Step::Remove(key, entry)),
        1 => key.clone().prop_map(Step::Clear),
        4 => key.prop_map(Step::Read),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Fill),
    ];
    prop::collection::vec(step, 1..120)
}

/// Contents with their stamps.
#[derive(Default)]
struct Model {
    value: Option<(i64, u8)>,
    list: Vec<(i64, u8)>,
    map: BTreeMap<u8, (i64, u8)>,
}

fn check(steps: &[Step], cache_bytes: usize) {
    let (options, _) = options(cache_bytes);
    let mut backend: Backend = ByteBackend::open(&options, subtask(1, 0), &[]).unwrap();
    let mut now = 0;
    backend.advance_to(now).unwrap();
    let value = backend.register(ValueDescriptor::<u8>::new("value").ttl(ttl())).unwrap();
    let list = backend.register(ListDescriptor::<u8>::new("list").ttl(ttl())).unwrap();
    let map = backend.register(MapDescriptor::<u8, u8>::new("map").ttl(ttl())).unwrap();
    let others = backend.register(ValueDescriptor::<u64>::new("others")).unwrap();
    let mut models: [Model; 4] = Default::default();
    let names: [String; 4] = std::array::from_fn(|number| key(&format!("{number}")));
    for (step, id) in steps.iter().zip(1..) {
        let live = |(at, value): &(i64, u8)| (*at + 100 > now).then_some(*value);
        match *step {
            Step::Advance(by) => {
                now += by;
                backend.advance_to(now).unwrap();
            }
            Step::Set(of, to) => {
                backend.value(value, context(&names[usize::from(of)]), &()).unwrap().set(to).unwrap();
                models[usize::from(of)].value = Some((now, to));
            }
            Step::Update(of) => {
                let mut view = backend.value(value, context(&names[usize::from(of)]), &()).unwrap();
                view.update(|value| *value = Some(value.map_or(0, |value| value.wrapping_add(1)))).unwrap();
                let model = &mut models[usize::from(of)].value;
                let old = model.as_ref().and_then(live);
                *model = Some((now, old.map_or(0, |value| value.wrapping_add(1))));
            }
            Step::Add(of, element) => {
                backend.list(list, context(&names[usize::from(of)]), &()).unwrap().add(element).unwrap();
                models[usize::from(of)].list.push((now, element));
            }
            Step::AddAll(of, element) => {
                let mut view = backend.list(list, context(&names[usize::from(of)]), &()).unwrap();
                view.add_all([element, 0, element]).unwrap();
                models[usize::from(of)].list.extend([element, 0, element].map(|element| (now, element)));
            }
            Step::Put(of, entry, to) => {
                backend.map(map, context(&names[usize::from(of)]), &()).unwrap().put(entry, to).unwrap();
                models[usize::from(of)].map.insert(entry, (now, to));
            }
            Step::Remove(of, entry) => {
                backend.map(map, context(&names[usize::from(of)]), &()).unwrap().remove(&entry).unwrap();
                models[usize::from(of)].map.remove(&entry);
            }
            Step::Clear(of) => {
                let of = usize::from(of);
                backend.value(value, context(&names[of]), &()).unwrap().clear().unwrap();
                backend.list(list, context(&names[of]), &()).unwrap().clear().unwrap();
                backend.map(map, context(&names[of]), &()).unwrap().clear().unwrap();
                models[of] = Model::default();
            }
            Step::Read(of) => {
                let (name, model) = (&names[usize::from(of)], &models[usize::from(of)]);
                let found = backend.value(value, context(name), &()).unwrap().get().unwrap();
                assert_eq!(found, model.value.as_ref().and_then(live));
                let found = backend.list(list, context(name), &()).unwrap().get().unwrap();
                assert_eq!(found, model.list.iter().filter_map(live).collect::<Vec<_>>());
                let mut found = Vec::new();
                backend.map(map, context(name), &()).unwrap().range_into(.., usize::MAX, &mut found).unwrap();
                let expected = model.map.iter().filter_map(|(entry, stamped)| Some((*entry, live(stamped)?)));
                assert_eq!(found, expected.collect::<Vec<_>>());
            }
            Step::Snapshot => _ = snapshot(&mut backend, id),
            Step::Fill => {
                for number in 0..200 {
                    let key = key(&format!("other {number}"));
                    backend.value(others, context(&key), &()).unwrap().set(id).unwrap();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_may_remove_expired_entries_at_any_time(steps in steps()) {
        for cache_bytes in [0, 4 << 10, 1 << 20] {
            check(&steps, cache_bytes);
        }
    }
}
