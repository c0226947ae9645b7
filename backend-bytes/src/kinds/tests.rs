//! Credits to the limit when a list or map is cleared.

use std::sync::Arc;

use super::{ByteList, ByteMap};
use crate::access::{Access, Buffers};
use crate::cache::{AnyCache, Budget, Cache, CacheConfig, CachedList, CachedMap, Collection};
use crate::limits::{EntryLimit, Totals};
use crate::{BTreeStore, ByteStore};
use backend_api::format::StateMeta;
use backend_api::{ListState, MapState, PlainCodec, StateKind};

const LIMIT: u64 = 100 << 10;

type List = CachedList<String>;
type Map = CachedMap<u8, String>;

/// One list or map.
struct World<O: Collection<Value = String>> {
    store: BTreeStore,
    buffers: Buffers,
    totals: Totals,
    meta: StateMeta,
    cache: Cache<O>,
}

impl<O: Collection<Value = String>> World<O> {
    fn new(kind: StateKind, bound: u64) -> Self {
        let meta = StateMeta {
            name: "state".to_owned(),
            kind,
            namespace_schema: String::new(),
            codecs: Vec::new(),
            table_seed: 0,
            options: Default::default(),
        };
        let (name, budget) = (meta.name.clone(), Budget::new(1 << 20));
        let config = CacheConfig { number: 0, name, seed: 0, budget, expiry: None };
        Self {
            store: BTreeStore::default(),
            buffers: Buffers::starting_at(0),
            totals: Totals::with_bounds(LIMIT, &[bound]),
            meta,
            cache: Cache::new(config, Arc::new(PlainCodec)),
        }
    }

    fn access(&mut self) -> Access<'_> {
        let Self { store, buffers, totals, meta, .. } = self;
        Access::new(store, buffers, totals, meta, (0, 0), (&0_u8, &()), EntryLimit(LIMIT))
    }

    /// Fills and clears it repeatedly.
    fn churn(mut self, fill: impl Fn(&mut Self), clear: impl Fn(&mut Self)) {
        for _ in 0..40 {
            fill(&mut self);
            let cache = self.cache.clone();
            let known = cache.entry(self.access().key()).known().unwrap();
            assert!(!known.is_dirty() && !known.get().unwrap().is_whole());
            drop(known);
            clear(&mut self);
        }
        fill(&mut self);
        let stored = self.access().charging().stored_bytes(usize::MAX).unwrap();
        let bound = self.totals.bounds().into_iter().max().unwrap();
        assert!((stored..=LIMIT * 3 / 4).contains(&bound), "{bound} for {stored}");
    }

    fn flush(&mut self) {
        self.cache.flush(&mut |batch| self.store.write(batch)).unwrap();
    }

    fn evict(&mut self) {
        self.cache.evict(usize::MAX, &mut |batch| self.store.write(batch)).unwrap();
    }

    fn lower_bound(&mut self) -> u64 {
        let cache = self.cache.clone();
        super::collections::lower_bound_bytes(&mut self.access(), Some(&cache)).unwrap()
    }
}

impl World<List> {
    fn list<R>(&mut self, f: impl FnOnce(&mut ByteList<'_, String, ()>) -> R) -> R {
        let cache = self.cache.clone();
        f(&mut ByteList { access: self.access(), cache: Some(&cache), codec: &PlainCodec, namespace: &() })
    }
}

impl World<Map> {
    fn map<R>(&mut self, f: impl FnOnce(&mut ByteMap<'_, u8, String>) -> R) -> R {
        let cache = self.cache.clone();
        f(&mut ByteMap { access: self.access(), cache: Some(&cache), codec: &PlainCodec })
    }
}

fn texts(number: usize) -> impl Iterator<Item = String> {
    (0..number).map(|_| "x".repeat(500))
}

#[test]
fn clearing_a_long_list_credits_its_bytes_in_the_store() {
    let fill = |world: &mut World<List>| {
        world.list(|list| list.add_all(texts(40))).unwrap();
        assert_eq!(world.list(|list| list.get()).unwrap().len(), 40);
    };
    World::new(StateKind::List, 0).churn(fill, |world| world.list(|list| list.clear()).unwrap());
}

#[test]
fn clearing_a_partly_written_list_credits_its_bytes_in_the_store() {
    let fill = |world: &mut World<List>| {
        world.evict();
        world.list(|list| list.add_all(texts(10))).unwrap();
        world.flush();
    };
    World::new(StateKind::List, 0).churn(fill, |world| world.list(|list| list.clear()).unwrap());
}

#[test]
fn removed_unwritten_entries_are_credited_once() {
    let mut world = World::<Map>::new(StateKind::Map, LIMIT * 3 / 4);
    world.map(|map| map.put_all((0..).zip(texts(20)))).unwrap();
    world.evict();
    assert!(world.lower_bound() > 20 * 500);
    for key in 1..20 {
        world.map(|map| map.remove(&key)).unwrap();
    }
    assert!(world.lower_bound() < 2 * 500);
    world.flush();
    let left = world.lower_bound();
    assert!((500..2 * 500).contains(&left), "{left}");
}
