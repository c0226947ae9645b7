//! What the table guarantees beyond its content: bytes, room, order, limits.

use std::ops::ControlFlow;

use backend_api::{Error, ErrorKind};

use super::*;

type Numbers = Table<u64, u64, UserValue>;

fn insert(table: &mut Numbers, k: u64) {
    table.set(0, hash_of(k), |s| *s == k, || k, k).unwrap();
}

fn filled(entries: u64) -> Numbers {
    let mut table = Numbers::new(1, 99, false);
    (0..entries).for_each(|k| insert(&mut table, k));
    table
}

#[test]
fn tables_and_snapshots_can_be_shared() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let mut table = Table::<String, Vec<u8>, UserValue>::new(1, 0, false);
    shared(&table);
    shared(&table.snapshot().unwrap());
}

#[test]
fn an_empty_table_uses_no_memory() {
    let table = Numbers::new(128, 1, false);
    assert_eq!(table.bytes(), 0);
    assert_eq!(table.len(), 0);
    assert_eq!(table.get(127, 0, |_| true), None);
    assert_eq!(table.iter().count(), 0);
}

fn remove(table: &mut Numbers, k: u64) -> bool {
    table.remove(0, hash_of(k), |s| *s == k)
}

#[test]
fn bytes_grow_by_at_most_the_predicted_growth() {
    for removed in [0, 2, 3] {
        let mut table = Numbers::new(1, 3, false);
        for k in 0..20_000 {
            let most = table.bytes() + table.growth(0);
            insert(&mut table, k);
            assert!(table.bytes() <= most, "entry {k}: {} > {most}", table.bytes());
            // Removes half or two thirds of the entries, some time after they were added.
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
fn adding_and_removing_entries_does_not_grow_a_table() {
    for live in [1, 10, 100, 5_000] {
        let mut table = filled(live);
        let bytes = table.bytes();
        for k in live..live + 100_000 {
            assert!(remove(&mut table, k - live));
            insert(&mut table, k);
        }
        assert_eq!(table.iter().count() as u64, live);
        // Other keys could have needed one more doubling too.
        assert!(table.bytes() <= 3 * bytes, "{} after {bytes}, {live} entries", table.bytes());
    }
}

#[test]
fn a_key_added_again_takes_its_old_slot() {
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
fn removed_entries_make_room() {
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
fn copies_for_a_snapshot_count_once() {
    let mut table = filled(20_000);
    let bytes = table.bytes();
    let snapshot = table.snapshot().unwrap();
    (0..20_000).for_each(|k| insert(&mut table, k));
    assert_eq!(table.bytes(), bytes);
    drop(snapshot);
    assert_eq!(table.bytes(), bytes);
}

#[test]
fn presized_groups_need_few_further_segments() {
    let mut table = Numbers::new(1, 3, false);
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
    let mut table = Numbers::new(3, 1, false);
    let mut snapshot = table.snapshot().unwrap();
    let mut scan = |group| snapshot.scan(group, None, |_, _, _| Ok::<(), Error>(())).map_err(|e| e.kind());
    assert_eq!(scan(1), Ok(()));
    assert_eq!(scan(1), Err(ErrorKind::IllegalState));
    assert_eq!(scan(0), Err(ErrorKind::IllegalState));
    assert_eq!(scan(3), Err(ErrorKind::InvalidArgument));
    assert_eq!(scan(2), Ok(()));
}

/// The hash of a key, chosen so that all are equal.
#[derive(Clone, Copy)]
struct Hostile(u64);

impl KeyHash for Hostile {
    fn hash(self) -> u64 {
        42
    }

    fn rehash(self, secret: &RandomState, attempt: u8) -> u64 {
        secret.hash_one((self.0, attempt))
    }
}

#[test]
fn keys_with_one_hash_work_like_others() {
    let mut table = Numbers::new(1, 5, true);
    let count = 5_000;
    for k in 0..count {
        table.set(0, Hostile(k), |s| *s == k, || k, k).unwrap();
    }
    // Adds other keys among them.
    (10_000..12_000).for_each(|k| insert(&mut table, k));
    assert_eq!(table.len(), 7_000);
    assert!(table.bytes() < 7_000 * 100, "{}", table.bytes());
    let mut snapshot = table.snapshot().unwrap();
    for k in 0..count {
        assert_eq!(table.get(0, Hostile(k), |s| *s == k), Some(&k));
        table.set(0, Hostile(k), |s| *s == k, || k, k + 1).unwrap();
        if k % 2 == 0 {
            assert!(table.remove(0, Hostile(k), |s| *s == k));
            assert!(!table.remove(0, Hostile(k), |s| *s == k));
        }
    }
    let mut sum = 0;
    let scanned = snapshot.scan(0, None, |key, value, _| {
        assert_eq!(key, value);
        sum += key;
        Ok::<(), Error>(())
    });
    scanned.unwrap();
    assert_eq!(sum, (0..count).chain(10_000..12_000).sum::<u64>());
    for k in 0..count {
        let expected = (k % 2 == 1).then_some(k + 1);
        assert_eq!(table.get(0, Hostile(k), |s| *s == k).copied(), expected);
    }
    assert!((10_000..12_000).all(|k| remove(&mut table, k)));
    assert!((0..count).filter(|k| k % 2 == 1).all(|k| table.remove(0, Hostile(k), |s| *s == k)));
    assert_eq!((table.len(), table.bytes()), (0, table.log_bytes()));
}

#[test]
fn tags_with_a_long_common_prefix_do_not_grow_the_directory() {
    let mut table = Numbers::new(1, 0, false);
    let probe = Numbers::new(1, 0, false);
    // Of 16 million tags, one in 65,536 begins with these 16 bits.
    let alike = (0..1 << 24).filter(|hash| probe.tag(*hash) >> 15 & 0xffff == 7);
    for hash in alike {
        table.set(0, hash, |s| *s == hash, || hash, hash).unwrap();
    }
    let len = table.len();
    assert!(len > 208, "{len} keys, more than a segment takes");
    assert!(table.bytes() < 100_000, "{} bytes for {len} keys", table.bytes());
}

#[test]
fn clearing_entries_frees_memory() {
    let mut table = Numbers::new(4, 5, false);
    let key = |k: u64| (k as usize % 4, hash_of(k));
    for with_snapshot in [false, true] {
        for k in 0..100_000 {
            let (group, hash) = key(k);
            table.set(group, hash, |s| *s == k, || k, k).unwrap();
        }
        let full = table.bytes();
        let snapshot = with_snapshot.then(|| table.snapshot().unwrap());
        for k in 0..100_000 {
            let (group, hash) = key(k);
            assert!(table.remove(group, hash, |s| *s == k));
            if k == 99_000 && !with_snapshot {
                assert!(
                    table.bytes() < full / 10,
                    "{} of {full} bytes for 1 % of the entries",
                    table.bytes()
                );
                assert_eq!(table.iter().count(), 999);
            }
        }
        assert_eq!((table.len(), table.bytes()), (0, 0));
        drop(snapshot);
    }
    assert_eq!(table.slab.memory(), 0);
}

#[test]
fn hashes_that_differ_in_few_bits_are_spread_out() {
    for shift in [0, 20, 40, 50] {
        for seed in 0..4 {
            let mut table = Numbers::new(1, seed, false);
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
    let mut table = Table::<u64, [u64; 100], UserValue>::new(1, 5, false);
    for k in 0..100 {
        table.set(0, hash_of(k), |s| *s == k, || k, [k; 100]).unwrap();
    }
    assert!(table.bytes() < 100 * 900);
    assert!(table.iter().all(|(key, value)| value == &[*key; 100]));
}

#[test]
fn too_many_removals_are_spilled() {
    let mut table = Numbers::new(1, 99, true);
    (0..3_000).for_each(|k| insert(&mut table, k));
    let known = |table: &mut Numbers, base: u32| {
        let snapshot = table.snapshot().unwrap();
        let count = snapshot.removed_since(0, base).map(Iterator::count);
        (snapshot.epoch(), count)
    };
    let (base, count) = known(&mut table, 0);
    assert_eq!(count, Some(0));
    (0..3).for_each(|k| assert!(remove(&mut table, k)));
    assert!(!remove(&mut table, 0));
    let (next, count) = known(&mut table, base);
    assert_eq!(count, Some(3));
    (3..5).for_each(|k| assert!(remove(&mut table, k)));
    assert_eq!(known(&mut table, base).1, Some(5), "an unconfirmed snapshot is no base");
    assert_eq!(known(&mut table, next).1, Some(2));
    table.confirm(next);
    assert_eq!(known(&mut table, next).1, Some(2));
    assert_eq!(known(&mut table, base).1, None, "no longer asked for");
    assert!(table.log_bytes() > 0);
    (5..2_900).for_each(|k| assert!(remove(&mut table, k)));
    let (after, count) = known(&mut table, next);
    assert_eq!(count, None, "more than a rewrite is worth");
    assert_eq!(table.log_bytes(), 0);
    assert_eq!(known(&mut table, after).1, Some(0));
}

#[test]
fn removals_of_entries_in_no_snapshot_are_not_logged() {
    let mut table = Numbers::new(1, 99, true);
    (0..100).for_each(|k| insert(&mut table, k));
    let base = table.snapshot().unwrap().epoch();
    (100..1_100).for_each(|k| insert(&mut table, k));
    (100..600).for_each(|k| insert(&mut table, k));
    (100..1_000).for_each(|k| assert!(remove(&mut table, k)));
    assert_eq!(table.log_bytes(), 0);
    let removed = |table: &mut Numbers, base| {
        let snapshot = table.snapshot().unwrap();
        let removed = snapshot.removed_since(0, base).unwrap().copied().collect::<Vec<_>>();
        (snapshot.epoch(), removed)
    };
    let (second, keys) = removed(&mut table, base);
    assert_eq!(keys, []);
    // The first key is in both snapshots, the other only in the second.
    assert!(remove(&mut table, 7) && remove(&mut table, 1_005));
    assert_eq!(removed(&mut table, base).1, [7]);
    assert_eq!(removed(&mut table, second).1, [7, 1_005]);
    insert(&mut table, 7);
    assert!(remove(&mut table, 7));
    assert_eq!(removed(&mut table, base).1, [7]);
}

#[test]
fn spilled_removals_free_their_memory() {
    let mut table = Numbers::new(1, 99, true);
    (0..1_000).for_each(|k| insert(&mut table, k));
    let base = table.snapshot().unwrap().epoch();
    let bytes = table.bytes();
    (0..200).for_each(|k| assert!(remove(&mut table, k)));
    assert_eq!(table.bytes() - bytes, table.log_bytes());
    assert!(table.log_bytes() >= 200 * size_of::<u64>());
    table.spill_removals();
    assert_eq!(table.bytes(), bytes);
    (200..210).for_each(|k| assert!(remove(&mut table, k)));
    assert!(table.snapshot().unwrap().removed_since(0, base).is_none());
}

#[test]
fn unchanged_groups_are_not_visited() {
    let mut table = Numbers::new(1_000, 99, true);
    let set = |table: &mut Numbers, group: usize, v: u64| {
        table.set(group, 1_u64, |s| *s == 1, || 1, v).unwrap();
    };
    [3, 64, 999].into_iter().for_each(|group| set(&mut table, group, 1));
    let first = table.snapshot().unwrap();
    assert_eq!(first.groups().collect::<Vec<_>>(), [3, 64, 999]);
    let base = first.epoch();
    set(&mut table, 64, 2);
    assert!(table.remove(3, 1_u64, |s| *s == 1));
    let mut second = table.snapshot().unwrap();
    assert_eq!(second.groups().collect::<Vec<_>>(), [64, 999]);
    assert_eq!(second.changed_groups(base).collect::<Vec<_>>(), [3, 64]);
    assert_eq!(second.removed_since(3, base).unwrap().count(), 1);
    let third = table.snapshot().unwrap();
    assert_eq!(third.changed_groups(second.epoch()).count(), 0);
    assert_eq!(third.changed_groups(base).collect::<Vec<_>>(), [3, 64]);
    let mut values = Vec::new();
    for group in [3, 64, 999] {
        let scanned = second.scan(group, None, |_, value, _| {
            values.push((group, *value));
            Ok::<(), Error>(())
        });
        scanned.unwrap();
    }
    assert_eq!(values, [(64, 2), (999, 1)]);
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

#[test]
fn a_walk_visits_each_entry_once_a_round() {
    let mut table = Numbers::new(3, 5, false);
    let mut walk = Walk::default();
    table.visit_next(&mut walk, 5, |_, _| panic!("there are no entries"));
    for k in 0..5_000 {
        table.set((k % 2) as usize * 2, hash_of(k), |s| *s == k, || k, k).unwrap();
    }
    for stays in [false, true] {
        let mut walk = Walk::default();
        let mut seen = Vec::new();
        for calls in 0.. {
            assert!(calls < 20_000, "the walk does not end");
            let before = seen.len();
            let visited = table.visit_next(&mut walk, 5, |key, value| {
                assert_eq!(key, value);
                // Stays once at each entry.
                let is_new = seen.last() != Some(key);
                if is_new {
                    seen.push(*key);
                }
                if stays { ControlFlow::Break(!is_new) } else { ControlFlow::Continue(()) }
            });
            assert!(visited <= if stays { 1 } else { 5 } && seen.len() - before <= visited);
            if seen.len() > 5_000 {
                break;
            }
        }
        assert_eq!(seen[5_000], seen[0], "the next round begins");
        seen.truncate(5_000);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..5_000));
    }
}

#[test]
fn a_walk_goes_on_while_entries_are_removed() {
    let mut table = filled(5_000);
    let (mut walk, mut calls) = (Walk::default(), 0);
    while table.len() > 0 {
        let mut found = None;
        table.visit_next(&mut walk, 7, |key, _| {
            found = Some(*key);
            ControlFlow::Break(true)
        });
        calls += 1;
        assert!(calls < 20_000, "{} entries are never visited", table.len());
        assert!(found.is_none_or(|key| remove(&mut table, key)));
    }
}
