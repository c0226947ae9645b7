//! Filling groups as a restore does.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use backend_api::{Error, ErrorKind};

use super::*;
use crate::table::group::directory_index;

const SEED: u64 = 7;

/// Fills a table of one group, prepared for `expected` entries, with entries in the order of `numbers`.
fn fill<S: TestKey, V: TestValue, P: Placement<V>>(
    numbers: &[u64],
    expected: usize,
    alive: &Arc<AtomicIsize>,
) -> Table<S, V, P> {
    let mut table = Table::new(1, SEED, false);
    let mut filling = table.fill(0, expected);
    for &k in numbers {
        let eq = |key: &S| key.number() == k;
        filling.put(hash_of(k), eq, || S::of(k), V::of(k, alive)).unwrap();
    }
    drop(filling);
    table
}

/// The numbers of a table's keys, in its order.
fn order<S: TestKey, V: TestValue, P: Placement<V>>(table: &Table<S, V, P>) -> Vec<u64> {
    table.iter_group(0).map(|(key, _)| key.number()).collect()
}

/// Checks that a table and a full snapshot have exactly the entries from 0 to `count`, that none counts as
/// changed, and that the table can be written afterwards.
fn check<S: TestKey, V: TestValue, P: Placement<V>>(
    mut table: Table<S, V, P>,
    count: u64,
    alive: &Arc<AtomicIsize>,
) {
    let mut numbers = order(&table);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    assert_eq!((table.len() as u64, table.groups[0].len as u64), (count, count));
    for k in 0..count {
        let value = table.get(0, hash_of(k), |key| key.number() == k);
        assert_eq!(value.map(TestValue::number), Some(k));
    }
    let changed = |snapshot: &mut crate::table::TableSnapshot<S, V, P>, base| {
        let mut changed = Vec::new();
        snapshot
            .scan(0, base, |key, _, _| {
                changed.push(key.number());
                Ok::<(), Error>(())
            })
            .unwrap();
        changed.sort_unstable();
        changed
    };
    let mut first = table.snapshot().unwrap();
    let base = first.epoch();
    assert_eq!(changed(&mut first, None), numbers);
    drop(first);
    assert_eq!(changed(&mut table.snapshot().unwrap(), Some(0)), numbers, "all is new to the base before");
    table.confirm(base);
    for k in [0, count / 2, count] {
        table.set(0, hash_of(k), |key| key.number() == k, || S::of(k), V::of(k, alive)).unwrap();
    }
    assert_eq!(changed(&mut table.snapshot().unwrap(), Some(base)), [0, count / 2, count]);
    for k in 0..=count {
        assert!(table.remove(0, hash_of(k), |key| key.number() == k), "{k}");
    }
    assert_eq!(table.len(), 0);
}

fn filled_in_every_order<S: TestKey, V: TestValue, P: Placement<V>>() {
    let alive = Arc::new(AtomicIsize::new(0));
    for count in [2_u64, 13, 200, 5_000] {
        let ascending: Vec<u64> = (0..count).collect();
        let written = order(&fill::<S, V, P>(&ascending, 0, &alive));
        let backwards: Vec<u64> = written.iter().rev().copied().collect();
        // The expected number decides how many segments there are. Tries a right, a low and a high one.
        for expected in [count, 0, count / 8, count * 8] {
            for numbers in [&ascending, &written, &backwards] {
                check(fill::<S, V, P>(numbers, expected as usize, &alive), count, &alive);
            }
        }
    }
    assert_eq!(alive.load(Ordering::Relaxed), 0, "values are dropped once");
}

#[test]
fn a_filled_group_has_exactly_its_entries() {
    filled_in_every_order::<u64, u64, UserValue>();
    filled_in_every_order::<String, Counted, UserValue>();
    filled_in_every_order::<u64, Shared, Container>();
    filled_in_every_order::<[u8; 60], u64, UserValue>();
}

// SAFETY: plain data.
unsafe impl TableKey for [u8; 60] {
    fn heap_size(&self) -> usize {
        0
    }
}

impl TestKey for [u8; 60] {
    fn of(number: u64) -> Self {
        let mut key = [0; 60];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }
    fn number(&self) -> u64 {
        u64::from_le_bytes(*self.first_chunk().unwrap())
    }
}

/// Adds keys that are present, and others with the same hash, at some distance.
fn second_time<S: TestKey + Debug>(distance: usize) {
    let mut table = Table::<S, u64, UserValue>::new(1, SEED, false);
    let mut filling = table.fill(0, 1_000);
    let mut put = |k: u64, hash: u64| {
        let result = filling.put(hash, |key| key.number() == k, || S::of(k), k);
        result.map_err(|error| error.kind())
    };
    for k in 0..1_000 {
        assert_eq!(put(k, hash_of(k)), Ok(()));
        let Some(earlier) = k.checked_sub(distance as u64) else { continue };
        assert_eq!(put(earlier, hash_of(earlier)), Err(ErrorKind::Corrupt), "{earlier}");
        assert_eq!(put(10_000 + earlier, hash_of(earlier)), Ok(()), "another key of its hash");
    }
    drop(filling);
    assert_eq!(table.len(), 2_000 - distance);
    assert_eq!(table.iter().count(), 2_000 - distance);
}

#[test]
fn a_duplicate_key_is_refused() {
    for distance in [0, 1, 10, 500] {
        second_time::<u64>(distance);
        second_time::<String>(distance);
    }
}

/// Fills one segment until it splits, and adds an entry by another hash. Then fills the others.
#[test]
fn an_overfull_segment_does_not_misplace_other_entries() {
    const SAME: u64 = 207;
    let mut table = Table::<u64, u64, UserValue>::new(1, SEED, false);
    let crowded = hash_of(0);
    let start = |table: &Table<u64, u64, UserValue>, hash| directory_index(table.tag(hash), 3);
    let beside = (1..).find(|k| start(&table, hash_of(*k)) == start(&table, crowded)).unwrap();
    let mut filling = table.fill(0, 1_000);
    let mut put = |k: u64, hash| filling.put(hash, |key| *key == k, || k, k).map_err(|error| error.kind());
    assert_eq!(put(beside, hash_of(beside)), Ok(()));
    (0..SAME).for_each(|k| assert_eq!(put(1_000_000 + k, crowded), Ok(())));
    assert_eq!(put(1_000_000 + SAME, crowded), Ok(()), "the other has gone to another segment");
    assert_eq!(put(2_000_000, crowded), Ok(()), "by another hash");
    (beside + 1..2_000).for_each(|k| assert_eq!(put(k, hash_of(k)), Ok(())));
    drop(filling);
    assert!((beside..2_000).all(|k| table.get(0, hash_of(k), |key| *key == k) == Some(&k)));
    assert_eq!(table.len() as u64, 2_000 - beside + SAME + 2);
}

#[test]
fn supplied_memory_is_used_and_freed() {
    let mut table = Table::<u64, u64, UserValue>::new(4, SEED, false);
    let supply = table.supply([400_000; 4].into_iter());
    let mut sibling = table.sibling();
    for (group, table) in [(0, &mut table), (1, &mut sibling)] {
        let mut filling = table.fill(group, 100_000);
        for k in 0..100_000_u64 {
            filling.put(hash_of(k), |key| *key == k, || k, k + group as u64).unwrap();
        }
    }
    drop(supply);
    table.adopt(&mut sibling);
    drop(sibling);
    let mut filling = table.fill(2, 10_000);
    (0..10_000).for_each(|k| filling.put(hash_of(k), |key| *key == k, || k, k).unwrap());
    drop(filling);
    for group in 0..2 {
        assert!(
            (0..100_000).all(|k| table.get(group, hash_of(k), |key| *key == k) == Some(&(k + group as u64)))
        );
    }
    assert_eq!(table.len(), 210_000);
}
