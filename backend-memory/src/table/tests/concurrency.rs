//! A writer, and snapshots that other threads read meanwhile.

use std::{
    collections::HashMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicIsize, AtomicU64, Ordering},
        mpsc,
    },
};

use backend_api::Error;

use super::*;
use crate::table::TableSnapshot;

const GROUPS: usize = 4;
const KEYS: u64 = 6_000;
const ROUNDS: u64 = 12;

/// The expected content of a snapshot, by key.
type Expected = HashMap<u64, u64>;

type Taken<S, V, P> = (TableSnapshot<S, V, P>, Expected);

fn verify<S: TestKey, V: TestValue, P: Placement<V>>((mut snapshot, expected): Taken<S, V, P>) {
    let segments = snapshot.segments();
    snapshot.prepare(segments / 10);
    let mut rows = 0;
    for group in 0..GROUPS {
        snapshot
            .scan(group, None, |key, value, _| {
                assert_eq!(expected.get(&key.number()), Some(&value.number()));
                rows += 1;
                Ok::<(), Error>(())
            })
            .unwrap();
    }
    assert_eq!(rows, expected.len());
}

/// Writes while two readers each verify every other snapshot, so that several are alive at once.
fn stress<S: TestKey, V: TestValue, P: Placement<V>>() {
    let alive = Arc::new(AtomicIsize::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (sender, receiver) = mpsc::channel::<Taken<S, V, P>>();
                scope.spawn(move || receiver.into_iter().for_each(verify));
                sender
            })
            .collect();
        let mut table = Table::<S, V, P>::new(GROUPS, 7, true);
        let mut expected = Expected::new();
        let mut random = 1_u64;
        for round in 0..ROUNDS {
            for _ in 0..KEYS * 2 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let k = (random >> 33) % KEYS;
                let (group, hash) = (k as usize % GROUPS, hash_of(k));
                let eq = |s: &S| s.number() == k;
                if random >> 60 <= 1 {
                    assert_eq!(table.remove(group, hash, eq), expected.remove(&k).is_some());
                } else {
                    let add = |value: &mut Option<V>| {
                        let next = value.as_ref().map_or(round, |v| v.number() + 1);
                        *value = Some(V::of(next, &alive));
                        Ok::<u64, Error>(next)
                    };
                    let next = table.try_update(group, hash, eq, || S::of(k), add).unwrap();
                    expected.insert(k, next);
                }
            }
            let snapshot = table.snapshot().unwrap();
            if round % 3 == 2 {
                table.confirm(snapshot.epoch() - 2);
            }
            readers[round as usize % 2].send((snapshot, expected.clone())).unwrap();
        }
        drop(table);
    });
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn plain_values_under_a_writer() {
    stress::<u64, u64, UserValue>();
    stress::<String, Fussy, UserValue>();
}

#[test]
fn boxed_values_under_a_writer() {
    stress::<u64, String, UserValue>();
    stress::<String, Counted, UserValue>();
}

#[test]
fn handles_under_a_writer() {
    stress::<String, Shared, Container>();
}

/// A value that readers change, under its own lock.
struct Locked(RwLock<Vec<u64>>);

impl Clone for Locked {
    fn clone(&self) -> Self {
        let mut inner = self.0.write().unwrap();
        inner.push(1);
        Self(RwLock::new(inner.clone()))
    }
}

/// The same without drop glue, so it lies in the slot.
struct Atomic(AtomicU64);

impl Clone for Atomic {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

fn change_while_read<V: TableValue>(make: impl Fn() -> V, touch: impl Fn(&V) + Sync) {
    let touch = &touch;
    let mut table = Table::<u64, V, UserValue>::new(1, 7, false);
    for k in 0..500 {
        table.set(0, hash_of(k), |s| *s == k, || k, make()).unwrap();
    }
    for _ in 0..20 {
        let mut snapshot = table.snapshot().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut rows = 0;
                let outcome = snapshot.scan(0, None, |_, value, _| {
                    touch(value);
                    rows += 1;
                    Ok::<(), Error>(())
                });
                outcome.unwrap();
                assert_eq!(rows, 500);
            });
            for k in 0..500 {
                table.get(0, hash_of(k), |s| *s == k).map(touch).unwrap();
                let same = |value: &mut Option<V>| {
                    value.as_ref().map(touch).unwrap();
                    Ok::<(), Error>(())
                };
                table.try_update(0, hash_of(k), |s| *s == k, || k, same).unwrap();
            }
        });
    }
}

#[test]
fn values_with_interior_mutability() {
    change_while_read(
        || Locked(RwLock::new(vec![0])),
        |locked| {
            let mut inner = locked.0.write().unwrap();
            inner.truncate(3);
            inner.push(2);
        },
    );
    change_while_read(
        || Atomic(AtomicU64::new(0)),
        |atomic| {
            atomic.0.fetch_add(1, Ordering::Relaxed);
        },
    );
}

#[test]
fn a_long_chain_of_snapshots_ends_without_recursion() {
    let mut table = Table::<u64, String, UserValue>::new(1, 7, false);
    let mut first = None;
    for round in 0..100_000_u64 {
        table.set(0, hash_of(1), |s| *s == 1, || 1, round.to_string()).unwrap();
        let snapshot = table.snapshot().unwrap();
        first.get_or_insert(snapshot);
    }
    let mut first = first.unwrap();
    let mut seen = Vec::new();
    first
        .scan(0, None, |_, value, _| {
            seen.push(value.clone());
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(seen, ["0"]);
    drop(first);
    drop(table);
}
