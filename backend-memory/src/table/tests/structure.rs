//! What the table promises beyond its content: bytes, room, order, limits.

use backend_api::{Error, ErrorKind};

use super::*;

type Numbers = Table<u64, u64, UserValue>;

fn insert(table: &mut Numbers, k: u64) {
    table.set(0, hash_of(k), |s| *s == k, || k, k).unwrap();
}

fn filled(entries: u64) -> Numbers {
    let mut table = Numbers::new(1, 99);
    (0..entries).for_each(|k| insert(&mut table, k));
    table
}

#[test]
fn tables_and_snapshots_can_be_shared() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let mut table = Table::<String, Vec<u8>, UserValue>::new(1, 0);
    shared(&table);
    shared(&table.snapshot().unwrap());
}

#[test]
fn an_empty_table_costs_nothing() {
    let table = Numbers::new(128, 1);
    assert_eq!(table.bytes(), 0);
    assert_eq!(table.len(), 0);
    assert_eq!(table.get(127, 0, |_| true), None);
    assert_eq!(table.iter().count(), 0);
}

fn remove(table: &mut Numbers, k: u64) -> bool {
    table.remove(0, hash_of(k), |s| *s == k)
}

#[test]
fn bytes_grow_by_no_more_than_foretold() {
    for removed in [0, 2, 3] {
        let mut table = Numbers::new(1, 3);
        for k in 0..20_000 {
            let most = table.bytes() + table.growth(0);
            insert(&mut table, k);
            assert!(table.bytes() <= most, "entry {k}: {} > {most}", table.bytes());
            // Half or two thirds go again, some time after they came.
            if k % 3 < removed {
                remove(&mut table, k / 2);
            }
        }
        if removed == 0 {
            let per_entry = table.bytes() / table.len();
            assert!((30..60).contains(&per_entry), "{per_entry} bytes an entry");
        }
    }
}

#[test]
fn a_table_does_not_grow_by_entries_that_come_and_go() {
    for live in [1, 10, 100, 5_000] {
        let mut table = filled(live);
        let bytes = table.bytes();
        for k in live..live + 100_000 {
            assert!(remove(&mut table, k - live));
            insert(&mut table, k);
        }
        assert_eq!(table.iter().count() as u64, live);
        // One more doubling is what other keys might have needed too.
        assert!(table.bytes() <= 3 * bytes, "{} after {bytes}, {live} entries", table.bytes());
    }
}

#[test]
fn a_key_that_comes_and_goes_takes_the_same_place() {
    let mut table = filled(100);
    let order: Vec<u64> = table.iter().map(|(key, _)| *key).collect();
    for _ in 0..10_000 {
        assert!(remove(&mut table, 50));
        assert_eq!(table.get(0, hash_of(50), |s| *s == 50), None);
        insert(&mut table, 50);
    }
    assert!(table.iter().map(|(key, _)| *key).eq(order));
}

#[test]
fn removed_entries_leave_room() {
    let mut table = filled(20_000);
    let bytes = table.bytes();
    (0..20_000).for_each(|k| assert!(remove(&mut table, k)));
    assert_eq!(table.iter().count(), 0);
    (0..20_000).for_each(|k| assert!(!remove(&mut table, k)));
    (20_000..40_000).for_each(|k| insert(&mut table, k));
    assert_eq!(table.iter().count(), 20_000);
    assert!(table.bytes() < bytes + bytes / 4, "{} after {bytes}", table.bytes());
}

#[test]
fn what_is_copied_for_a_snapshot_counts_once() {
    let mut table = filled(20_000);
    let bytes = table.bytes();
    let snapshot = table.snapshot().unwrap();
    (0..20_000).for_each(|k| insert(&mut table, k));
    assert_eq!(table.bytes(), bytes);
    drop(snapshot);
    assert_eq!(table.bytes(), bytes);
}

#[test]
fn room_made_for_a_filling_is_enough_or_nearly() {
    let mut table = Numbers::new(1, 3);
    drop(table.fill(0, 20_000));
    let bytes = table.bytes();
    (0..20_000).for_each(|k| insert(&mut table, k));
    assert!(table.bytes() < bytes + bytes / 8, "{} after {bytes}", table.bytes());
    let kept = table.bytes();
    drop(table.fill(0, 1 << 20));
    assert_eq!(table.bytes(), kept);
    assert_eq!(table.iter().count(), 20_000);
}

#[test]
fn scan_and_iteration_have_the_same_order() {
    let mut table = filled(5_000);
    let order: Vec<u64> = table.iter_group(0).map(|(key, _)| *key).collect();
    let mut scanned = Vec::new();
    let mut snapshot = table.snapshot().unwrap();
    snapshot
        .scan(0, None, |key, _, _| {
            scanned.push(*key);
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(scanned, order);
}

#[test]
fn a_snapshot_is_scanned_once_and_in_order() {
    let mut table = Numbers::new(3, 1);
    let mut snapshot = table.snapshot().unwrap();
    let mut scan = |group| snapshot.scan(group, None, |_, _, _| Ok::<(), Error>(())).map_err(|e| e.kind());
    assert_eq!(scan(1), Ok(()));
    assert_eq!(scan(1), Err(ErrorKind::IllegalState));
    assert_eq!(scan(0), Err(ErrorKind::IllegalState));
    assert_eq!(scan(3), Err(ErrorKind::InvalidArgument));
    assert_eq!(scan(2), Ok(()));
}

#[test]
fn too_many_keys_of_one_hash_are_an_error() {
    let mut table = Numbers::new(1, 5);
    let mut put = |k: u64| table.set(0, 42, |s| *s == k, || k, k).map_err(|e| e.kind());
    let fit = (0..1_000).take_while(|k| put(*k).is_ok()).count();
    assert_eq!(fit, 208);
    assert_eq!(put(1_000), Err(ErrorKind::Size));
    assert_eq!(put(0), Ok(()), "an entry that is there can still be changed");
    for k in 0..10 {
        assert!(table.remove(0, 42, |s| *s == k));
        let mut put = |k: u64| table.set(0, 42, |s| *s == k, || k, k).map_err(|e| e.kind());
        assert_eq!(put(k), Ok(()), "there is room where another one was");
        assert_eq!(put(1_000), Err(ErrorKind::Size));
    }
    assert_eq!(table.len(), fit);
    assert!(table.bytes() < 20_000);
    assert!((0..fit as u64).all(|k| table.get(0, 42, |s| *s == k) == Some(&k)));
    // Other keys still find room.
    (2_000..6_000).for_each(|k| insert(&mut table, k));
    assert_eq!(table.iter().count(), fit + 4_000);
}

#[test]
fn room_that_others_left_is_room_for_keys_of_one_hash() {
    let mut table = Numbers::new(1, 5);
    (1_000..1_020).for_each(|k| insert(&mut table, k));
    let mut put = |k: u64| table.set(0, 42, |s| *s == k, || k, k).map_err(|e| e.kind());
    (0..188).for_each(|k| assert_eq!(put(k), Ok(())));
    (1_000..1_020).for_each(|k| assert!(remove(&mut table, k)));
    let mut put = |k: u64| table.set(0, 42, |s| *s == k, || k, k).map_err(|e| e.kind());
    (188..208).for_each(|k| assert_eq!(put(k), Ok(())));
    assert_eq!(put(208), Err(ErrorKind::Size));
    assert_eq!(table.iter().count(), 208);
}

#[test]
fn hashes_that_differ_in_few_bits_are_spread() {
    for shift in [0, 20, 40, 50] {
        for seed in 0..4 {
            let mut table = Numbers::new(1, seed);
            for k in 0..10_000_u64 {
                table.set(0, k << shift, |s| *s == k, || k, k).unwrap();
            }
            let per_entry = table.bytes() / table.len();
            assert!(per_entry < 100, "{per_entry} bytes an entry, shift {shift}, seed {seed}");
        }
    }
}

#[test]
fn a_large_value_is_boxed() {
    let mut table = Table::<u64, [u64; 100], UserValue>::new(1, 5);
    for k in 0..100 {
        table.set(0, hash_of(k), |s| *s == k, || k, [k; 100]).unwrap();
    }
    assert!(table.bytes() < 100 * 900);
    assert!(table.iter().all(|(key, value)| value == &[*key; 100]));
}

#[test]
fn removals_are_given_up_when_there_are_too_many() {
    let mut table = filled(3_000);
    let known = |table: &mut Numbers, base: u32| {
        let snapshot = table.snapshot().unwrap();
        let count = snapshot.removed_since(0, base).map(Iterator::count);
        (snapshot.epoch(), count)
    };
    let (base, count) = known(&mut table, 0);
    assert_eq!(count, None, "not tracked");
    table.track_removals(true);
    let (base, count) = known(&mut table, base);
    assert_eq!(count, None, "not tracked since the base");
    (0..3).for_each(|k| assert!(table.remove(0, hash_of(k), |s| *s == k)));
    assert!(!table.remove(0, hash_of(0), |s| *s == 0));
    let (next, count) = known(&mut table, base);
    assert_eq!(count, Some(3));
    (3..5).for_each(|k| assert!(table.remove(0, hash_of(k), |s| *s == k)));
    assert_eq!(known(&mut table, base).1, Some(5), "an unconfirmed snapshot is no base");
    assert_eq!(known(&mut table, next).1, Some(2));
    table.confirm(next);
    assert_eq!(known(&mut table, next).1, Some(2));
    assert_eq!(known(&mut table, base).1, None, "no longer asked for");
    (5..2_900).for_each(|k| assert!(table.remove(0, hash_of(k), |s| *s == k)));
    let (after, count) = known(&mut table, next);
    assert_eq!(count, None, "more than a rewrite is worth");
    assert_eq!(known(&mut table, after).1, Some(0));
}

#[test]
fn a_confirmed_base_limits_a_delta() {
    let mut table = filled(5_000);
    let base = table.snapshot().unwrap().epoch();
    (0..50).for_each(|k| insert(&mut table, k));
    let second = table.snapshot().unwrap().epoch();
    table.confirm(base);
    (40..60).for_each(|k| insert(&mut table, k));
    let changed = |table: &mut Numbers, base| {
        let mut keys = Vec::new();
        let mut snapshot = table.snapshot().unwrap();
        snapshot
            .scan(0, Some(base), |key, _, _| {
                keys.push(*key);
                Ok::<(), Error>(())
            })
            .unwrap();
        keys.sort_unstable();
        keys
    };
    assert_eq!(changed(&mut table, base), Vec::from_iter(0..60));
    table.confirm(second);
    assert_eq!(changed(&mut table, second), Vec::from_iter(40..60));
}

#[test]
fn a_panic_in_a_closure_changes_nothing() {
    let mut table = filled(100);
    let _snapshot = table.snapshot().unwrap();
    let attempt = |table: &mut Numbers, k: u64, in_key: bool| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let key = || if in_key { resume_unwind(Box::new("key")) } else { k };
            let f = |value: &mut Option<u64>| {
                *value = Some(1_000_000);
                if in_key { Ok(()) } else { resume_unwind(Box::new("function")) }
            };
            table.try_update::<(), Error>(0, hash_of(k), |s| *s == k, key, f)
        }))
    };
    assert!(attempt(&mut table, 5, false).is_err());
    assert!(attempt(&mut table, 500, true).is_err());
    assert_eq!(table.len(), 100);
    assert_eq!(table.get(0, hash_of(5), |s| *s == 5), Some(&5));
    assert_eq!(table.get(0, hash_of(500), |s| *s == 500), None);
}
