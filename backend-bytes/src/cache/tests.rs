use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{BTreeStore, ByteStore, WriteBatch, WriteOp};
use backend_api::{Error, ErrorKind, PlainCodec, StateValue};

const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u32),
    Clear(u8),
    Read(u8),
    /// Written to the store past the cache, as values that are too long are. Held back while anything is
    /// frozen.
    PutPast(u8, u32),
    Flush {
        fails: bool,
    },
    Evict {
        fails: bool,
        bytes: usize,
    },
    EvictClean(usize),
    /// Freezes, after writing what was frozen before.
    Freeze,
    WriteFrozen {
        fails: bool,
    },
    DropFrozen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..KEYS, any::<u32>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..KEYS).prop_map(Step::Clear),
        4 => (0..KEYS).prop_map(Step::Read),
        1 => (0..KEYS, any::<u32>()).prop_map(|(key, value)| Step::PutPast(key, value)),
        1 => any::<bool>().prop_map(|fails| Step::Flush { fails }),
        2 => (any::<bool>(), 0..600_usize).prop_map(|(fails, bytes)| Step::Evict { fails, bytes }),
        1 => (0..600_usize).prop_map(Step::EvictClean),
        2 => Just(Step::Freeze),
        2 => any::<bool>().prop_map(|fails| Step::WriteFrozen { fails }),
        1 => Just(Step::DropFrozen),
    ];
    prop::collection::vec(step, 1..80)
}

fn cache<V: StateValue>(budget: Arc<Budget>) -> Cache<Option<V>>
where
    PlainCodec: Codec<V>,
{
    let config = CacheConfig { number: 7, name: "state".to_owned(), seed: 1, budget, expiry: None };
    Cache::new(config, Arc::new(PlainCodec))
}

fn key(key: u8) -> Vec<u8> {
    vec![0, 7, 0, key % 3, b'k', key]
}

/// A cache over a store, and the expected content of both together.
struct World {
    store: BTreeStore,
    cache: Cache<Option<u32>>,
    model: BTreeMap<u8, u32>,
    /// The frozen cache, and the content of the store once it is written.
    frozen: Option<(Box<dyn FrozenCache>, BTreeMap<u8, u32>)>,
    /// Batches that apply after the frozen cache is written.
    held: Vec<WriteBatch>,
}

impl World {
    fn new() -> Self {
        let cache = cache(Budget::new(1));
        let (store, model) = (BTreeStore::default(), BTreeMap::new());
        Self { store, cache, model, frozen: None, held: Vec::new() }
    }

    /// The content of the store and of held batches.
    fn below(&self) -> BTreeMap<u8, u32> {
        let mut store = self.store.clone();
        self.held.iter().for_each(|batch| store.write(batch).unwrap());
        stored(&store)
    }

    /// Writes what is frozen, which must precede other writes to the store.
    fn settle(&mut self, fails: bool) {
        let Some((mut frozen, expected)) = self.frozen.take() else { return };
        let written = frozen.write(&mut |batch: &WriteBatch| put(&mut self.store, batch, fails));
        if written.is_ok() {
            frozen.end();
        }
        assert!(written.is_ok() || fails);
        drop(frozen);
        // There may be nothing to write.
        if written.is_ok() {
            assert_eq!(stored(&self.store), expected, "the store at the moment of the snapshot");
        }
        self.release();
    }

    fn release(&mut self) {
        self.held.drain(..).for_each(|batch| self.store.write(&batch).unwrap());
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Put(number, value) => self.put(number, Some(value)),
            Step::Clear(number) => self.put(number, None),
            Step::Read(number) => {
                let found = self.cache.entry(&key(number)).get().copied();
                let value = found.unwrap_or_else(|| {
                    let value = self.below().get(&number).copied();
                    self.cache.keep_read(&key(number), value);
                    value
                });
                assert_eq!(value.as_ref(), self.model.get(&number));
            }
            Step::PutPast(number, value) => {
                let mut batch = WriteBatch::default();
                batch.put(&key(number), &value.to_le_bytes());
                self.held.push(batch);
                if self.frozen.is_none() {
                    self.release();
                }
                self.cache.forget(&key(number));
                self.model.insert(number, value);
            }
            Step::Flush { fails } => {
                self.settle(fails);
                let flushed = self.cache.flush(&mut |batch| put(&mut self.store, batch, fails));
                if flushed.is_ok() {
                    assert_eq!(stored(&self.store), self.model);
                }
            }
            Step::Evict { fails, bytes } => {
                self.settle(fails);
                let _ = self.cache.evict(bytes, &mut |batch| put(&mut self.store, batch, fails));
            }
            Step::EvictClean(bytes) => _ = self.cache.evict_clean(bytes, 4096),
            Step::Freeze => {
                self.settle(false);
                self.frozen = self.cache.freeze().map(|frozen| (frozen, self.model.clone()));
            }
            Step::WriteFrozen { fails } => self.settle(fails),
            Step::DropFrozen => {
                self.frozen = None;
                self.release();
            }
        }
    }

    fn put(&mut self, number: u8, value: Option<u32>) {
        change_one(&self.cache, &key(number), value);
        match value {
            Some(value) => self.model.insert(number, value),
            None => self.model.remove(&number),
        };
    }
}

fn stored(store: &BTreeStore) -> BTreeMap<u8, u32> {
    let mut all = BTreeMap::new();
    for number in 0..KEYS {
        let read = &mut |bytes: Option<&[u8]>| {
            let value = bytes.map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
            all.extend(value.map(|value| (number, value)));
        };
        store.get(&key(number), read).unwrap();
    }
    all
}

fn put(store: &mut BTreeStore, batch: &WriteBatch, fails: bool) -> Result<()> {
    assert!(
        batch
            .iter()
            .map(|op| match op {
                WriteOp::Put { key, .. } | WriteOp::Delete { key } => key.to_vec(),
                WriteOp::DeleteRange { .. } => panic!("a cache removes no range"),
            })
            .is_sorted()
    );
    if fails { Err(Error::new(ErrorKind::Io, "the disk is gone")) } else { store.write(batch) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn cache_and_store_together_match_a_map(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.settle(false);
        world.cache.flush(&mut |batch| put(&mut world.store, batch, false)).unwrap();
        prop_assert_eq!(stored(&world.store), world.model);
    }
}

/// A key of one of two groups. Keys differ only at the end.
fn long_key(number: u32) -> Vec<u8> {
    [&[0, 7, 0, (number % 2) as u8][..], b"long beginning", &number.to_be_bytes()].concat()
}

fn change(cache: &Cache<Option<u32>>, numbers: impl Iterator<Item = u32>, value: u32) {
    numbers.for_each(|number| change_one(cache, &long_key(number), Some(value)));
}

fn change_one<V: StateValue>(cache: &Cache<Option<V>>, key: &[u8], value: Option<V>) {
    cache.entry(key).or_default(key).unwrap().change(|known, _| *known = value);
}

fn puts(batch: &WriteBatch) -> impl Iterator<Item = (Vec<u8>, u32)> {
    batch.iter().map(|op| match op {
        WriteOp::Put { key, value } => (key.to_vec(), u32::from_le_bytes(value.try_into().unwrap())),
        _ => panic!("nothing is removed"),
    })
}

/// Enough entries for more than one batch.
const MANY: u32 = 12_000;

#[test]
fn frozen_entries_are_written_in_sorted_batches() {
    let cache = cache(Budget::new(1));
    change(&cache, (0..MANY).rev(), 1);
    let mut frozen = cache.freeze().unwrap();
    let (mut written, mut batches) = (BTreeMap::new(), 0);
    frozen
        .write(&mut |batch: &WriteBatch| {
            batches += 1;
            assert!(puts(batch).is_sorted());
            written.extend(puts(batch));
            Ok(())
        })
        .unwrap();
    assert!(batches > 1);
    assert!(written.keys().cloned().eq((0..MANY).map(long_key).collect::<BTreeSet<_>>()));
}

#[test]
fn frozen_entries_are_written_once_while_others_are_added() {
    // After a failure it starts again.
    for fails_at in [None, Some(0), Some(1)] {
        let cache = cache(Budget::new(1));
        change(&cache, 0..MANY, 1);
        let mut frozen = cache.freeze().unwrap();
        let mut next = MANY..;
        // Insertions move other entries. Some of the frozen ones change.
        change(&cache, next.by_ref().take(5000), 2);
        change(&cache, (0..MANY).step_by(7), 2);
        let (mut written, mut batches) = (BTreeMap::new(), 0);
        let result = frozen.write(&mut |batch: &WriteBatch| {
            change(&cache, next.by_ref().take(5000), 2);
            if Some(batches) == fails_at {
                return Err(Error::new(ErrorKind::Io, "refused"));
            }
            batches += 1;
            for (key, value) in puts(batch) {
                assert_eq!(written.insert(key, value), None, "written twice");
            }
            Ok(())
        });
        assert_eq!(result.is_err(), fails_at.is_some());
        change(&cache, next.by_ref().take(5000), 2);
        if result.is_ok() {
            frozen.end();
            let frozen = (0..MANY).map(|number| (long_key(number), 1));
            assert!(written.clone().into_iter().eq(frozen.collect::<BTreeMap<_, _>>()));
        }
        drop(frozen);
        // Dirty are the entries that changed since, and those that were not written.
        let mut flushed = BTreeMap::new();
        cache
            .flush(&mut |batch| {
                flushed.extend(puts(batch));
                Ok(())
            })
            .unwrap();
        for number in 0..next.next().unwrap() {
            let (key, is_new) = (long_key(number), number >= MANY || number.is_multiple_of(7));
            let expected = if is_new { Some(2) } else { (!written.contains_key(&key)).then_some(1) };
            // After a failure some stored entries may be written again.
            if expected.is_some() || fails_at.is_none() {
                assert_eq!(flushed.get(&key).copied(), expected, "{number}");
            }
        }
        assert!(cache.freeze().is_none());
        // Changing all entries again writes all of them again.
        let end = next.next().unwrap() - 1;
        change(&cache, 0..end, 3);
        let mut frozen = cache.freeze().unwrap();
        let mut again = BTreeMap::new();
        frozen
            .write(&mut |batch: &WriteBatch| {
                again.extend(puts(batch));
                Ok(())
            })
            .unwrap();
        assert!((0..end).all(|number| again.get(&long_key(number)) == Some(&3)), "{fails_at:?}");
    }
}

#[test]
fn bytes_are_freed() {
    let budget = Budget::new(1000);
    let cache = cache(Arc::clone(&budget));
    for number in 0..KEYS {
        change_one(&cache, &key(number), Some(vec![1_u64; 100]));
    }
    assert!(budget.excess() > 9_000 && cache.bytes() > 10_000);
    cache.evict(budget.excess(), &mut |_| Ok(())).unwrap();
    assert_eq!(budget.excess(), 0);
    drop(cache);
    assert_eq!(budget.used(), 0);
}

#[test]
fn reads_are_not_kept_while_few_lookups_hit() {
    let cache = cache::<u32>(Budget::new(1 << 20));
    let key = |number: u32| [&key(0)[..], &number.to_be_bytes()].concat();
    for number in 0..5_000 {
        assert!(cache.entry(&key(number)).known().is_none());
        // The lookup that completes the sample decides.
        let keeps_reads = number + 1 < 4096;
        assert_eq!(cache.lock().keeps_reads(), keeps_reads);
        cache.keep_read(&key(number), Some(number));
        assert_eq!(cache.has(&key(number)), keeps_reads);
    }
    // Reads are kept again once they hit.
    for number in (0..4_095).chain(0..4_095) {
        assert!(cache.entry(&key(number)).known().is_some());
    }
    assert!(cache.lock().keeps_reads());
}
