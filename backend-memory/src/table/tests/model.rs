use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
    },
};

use backend_api::{Error, ErrorKind};
use proptest::prelude::*;

use super::*;
use crate::table::TableSnapshot;

const GROUPS: usize = 3;

/// Value and epoch of the last change, by key.
type Model = BTreeMap<u64, (u64, u32)>;

#[derive(Clone, Debug)]
enum Op {
    Set(u64, u64),
    SetMany(u64, u16),
    Add(u64, u64),
    Clear(u64),
    Fail(u64),
    Modify(u64, u64),
    Remove(u64),
    RemoveMany(u64, u16),
    Fuse(u8),
    Snapshot,
    /// Scans some groups of a snapshot, from a base or in full.
    Scan {
        snapshot: usize,
        groups: usize,
        base: Option<usize>,
    },
    /// Scans a snapshot in another thread, while operations continue.
    Send(usize),
    Break(usize),
    Drop(usize),
    Confirm(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || prop_oneof![4 => 0..64_u64, 1 => 0..5000_u64];
    prop_oneof![
        6 => (key(), 0..1000_u64).prop_map(|(k, v)| Op::Set(k, v)),
        2 => (0..4000_u64, 0..900_u16).prop_map(|(k, n)| Op::SetMany(k, n)),
        6 => (key(), 0..1000_u64).prop_map(|(k, v)| Op::Add(k, v)),
        2 => key().prop_map(Op::Clear),
        1 => key().prop_map(Op::Fail),
        4 => (key(), 0..1000_u64).prop_map(|(k, v)| Op::Modify(k, v)),
        3 => key().prop_map(Op::Remove),
        1 => (0..4000_u64, 0..900_u16).prop_map(|(k, n)| Op::RemoveMany(k, n)),
        2 => (1..20_u8).prop_map(Op::Fuse),
        3 => Just(Op::Snapshot),
        4 => (any::<usize>(), 1..=GROUPS, proptest::option::of(any::<usize>()))
            .prop_map(|(snapshot, groups, base)| Op::Scan { snapshot, groups, base }),
        1 => any::<usize>().prop_map(Op::Send),
        1 => any::<usize>().prop_map(Op::Break),
        1 => any::<usize>().prop_map(Op::Drop),
        2 => any::<usize>().prop_map(Op::Confirm),
    ]
}

/// Records a write in `epoch`. An entry that was added in an epoch has its odd number until a later epoch
/// changes it.
fn write(model: &mut Model, k: u64, v: u64, epoch: u32) {
    let epoch = model.get(&k).map_or(epoch + 1, |(_, old)| epoch.max(*old));
    model.insert(k, (v, epoch));
}

/// Types under test.
trait Case: 'static {
    type S: TestKey;
    type V: TestValue;
    type P: Placement<Self::V>;

    fn modify(_: &mut Harness<Self>, _: u64, _: u64)
    where
        Self: Sized,
    {
    }
}

struct User<S, V>(std::marker::PhantomData<(S, V)>);

impl<S: TestKey, V: TestValue> Case for User<S, V> {
    type S = S;
    type V = V;
    type P = UserValue;
}

struct Handles<S>(std::marker::PhantomData<S>);

impl<S: TestKey> Case for Handles<S> {
    type S = S;
    type V = Shared;
    type P = Container;

    fn modify(harness: &mut Harness<Self>, k: u64, v: u64) {
        let group = harness.group(k);
        let alive = harness.alive.clone();
        let epoch = harness.table.epoch();
        let model = &mut harness.model;
        let table = &mut harness.table;
        let before = table.get(group, hash_of(k), |s| s.number() == k).map(TestValue::number);
        let done = catch_unwind(AssertUnwindSafe(|| {
            table
                .modify(
                    group,
                    hash_of(k),
                    |s| s.number() == k,
                    || S::of(k),
                    || Shared::of(0, &alive),
                    |shared| {
                        // If the value is shared, this clones it first.
                        let counted = triomphe::Arc::make_mut(shared);
                        *counted.number = counted.number.wrapping_add(v);
                    },
                )
                .unwrap();
        }));
        match done {
            Ok(()) => {
                let old = model.get(&k).map_or(0, |(v, _)| *v);
                write(model, k, old.wrapping_add(v), epoch);
            }
            Err(_) => {
                let after = table.get(group, hash_of(k), |s| s.number() == k).map(TestValue::number);
                assert_eq!(before, after);
            }
        }
    }
}

struct Taken<C: Case> {
    snapshot: TableSnapshot<C::S, C::V, C::P>,
    model: Model,
    next: usize,
}

struct Harness<C: Case> {
    table: Table<C::S, C::V, C::P>,
    model: Model,
    /// The model at the end of each epoch.
    history: BTreeMap<u32, Model>,
    taken: Vec<Taken<C>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    alive: Arc<AtomicIsize>,
}

/// The entries of `model` that belong to `group` and changed since `base`.
fn part(model: &Model, group: usize, base: Option<u32>) -> Model {
    model
        .iter()
        .filter(|(k, (_, epoch))| **k as usize % GROUPS == group && base.is_none_or(|base| *epoch > base))
        .map(|(k, entry)| (*k, *entry))
        .collect()
}

fn scan_group<C: Case>(taken: &mut Taken<C>, group: usize, base: Option<(u32, &Model)>) {
    let since = base.map(|(epoch, _)| epoch);
    let mut rows = Model::new();
    taken
        .snapshot
        .scan(group, since, |key, value, epoch| {
            assert!(rows.insert(key.number(), (value.number(), epoch)).is_none());
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(rows, part(&taken.model, group, since));
    assert_eq!(taken.snapshot.group_len(group), part(&taken.model, group, None).len());
    if let Some((epoch, model)) = base {
        let Some(removed) = taken.snapshot.removed_since(group, epoch) else { return };
        let mut restored = part(model, group, None);
        for key in removed {
            restored.remove(&key.number());
        }
        restored.extend(rows);
        assert_eq!(restored, part(&taken.model, group, None));
    }
}

impl<C: Case> Harness<C> {
    fn new(seed: u64) -> Self {
        let table = Table::new(GROUPS, seed, true);
        Self {
            table,
            model: Model::new(),
            history: BTreeMap::new(),
            taken: Vec::new(),
            threads: Vec::new(),
            alive: Arc::default(),
        }
    }

    fn group(&self, k: u64) -> usize {
        k as usize % GROUPS
    }

    /// Runs `f` on the table. Unless that panics, runs `then` on the model.
    fn attempt<R>(
        &mut self,
        k: u64,
        f: impl FnOnce(&mut Table<C::S, C::V, C::P>, &Arc<AtomicIsize>) -> R,
        then: impl FnOnce(&mut Model, u32, R),
    ) {
        let alive = self.alive.clone();
        let done = catch_unwind(AssertUnwindSafe(|| f(&mut self.table, &alive)));
        if let Ok(result) = done {
            let epoch = self.table.epoch();
            then(&mut self.model, epoch, result);
        }
        let found = self.table.get(self.group(k), hash_of(k), |s| s.number() == k);
        assert_eq!(found.map(TestValue::number), self.model.get(&k).map(|(v, _)| *v));
        assert_eq!(self.table.len(), self.model.len());
    }

    fn set(&mut self, k: u64, v: u64) {
        let group = self.group(k);
        self.attempt(
            k,
            |table, alive| {
                let value = C::V::of(v, alive);
                table.set(group, hash_of(k), |s| s.number() == k, || C::S::of(k), value).unwrap();
            },
            |model, epoch, ()| write(model, k, v, epoch),
        );
    }

    fn remove(&mut self, k: u64) {
        let group = self.group(k);
        self.attempt(
            k,
            |table, _| table.remove(group, hash_of(k), |s| s.number() == k),
            |model, _, removed| assert_eq!(removed, model.remove(&k).is_some()),
        );
    }

    fn update(&mut self, k: u64, f: impl Fn(Option<u64>) -> Result<Option<u64>, Error>) {
        let group = self.group(k);
        self.attempt(
            k,
            |table, alive| {
                table.try_update(
                    group,
                    hash_of(k),
                    |s| s.number() == k,
                    || C::S::of(k),
                    |value| {
                        let next = f(value.as_ref().map(TestValue::number));
                        *value = next.as_ref().ok().and_then(|v| v.map(|v| C::V::of(v, alive)));
                        next
                    },
                )
            },
            |model, epoch, result| {
                match result {
                    Ok(Some(v)) => write(model, k, v, epoch),
                    Ok(None) => _ = model.remove(&k),
                    Err(_) => {}
                };
            },
        );
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Set(k, v) => self.set(k, v),
            Op::SetMany(k, n) => (k..k + u64::from(n)).for_each(|k| self.set(k, k)),
            Op::Add(k, v) => self.update(k, |old| Ok(Some(old.unwrap_or(0) + v))),
            Op::Clear(k) => self.update(k, |_| Ok(None)),
            Op::Fail(k) => self.update(k, |_| Err(Error::new(ErrorKind::Function, "refused"))),
            Op::Modify(k, v) => C::modify(self, k, v),
            Op::Remove(k) => self.remove(k),
            Op::RemoveMany(k, n) => (k..k + u64::from(n)).for_each(|k| self.remove(k)),
            Op::Fuse(n) => FUSE.set(u32::from(n)),
            Op::Snapshot => {
                let snapshot = self.table.snapshot().unwrap();
                self.history.insert(snapshot.epoch(), self.model.clone());
                self.taken.push(Taken { snapshot, model: self.model.clone(), next: 0 });
            }
            Op::Scan { snapshot, groups, base } => {
                let count = self.taken.len();
                let Some(taken) = self.taken.get_mut(snapshot % count.max(1)) else { return };
                let bases: Vec<u32> =
                    self.history.range(..taken.snapshot.epoch()).map(|(epoch, _)| *epoch).collect();
                let base = base.filter(|_| !bases.is_empty()).map(|base| bases[base % bases.len()]);
                for _ in 0..groups {
                    if taken.next < GROUPS {
                        scan_group(taken, taken.next, base.map(|base| (base, &self.history[&base])));
                        taken.next += 1;
                    }
                }
            }
            Op::Send(index) => {
                if self.taken.is_empty() {
                    return;
                }
                let mut taken = self.taken.swap_remove(index % self.taken.len());
                self.threads.push(std::thread::spawn(move || {
                    taken.snapshot.prepare(2);
                    (taken.next..GROUPS).for_each(|group| scan_group(&mut taken, group, None));
                }));
            }
            Op::Break(index) => {
                let count = self.taken.len();
                let Some(taken) = self.taken.get_mut(index % count.max(1)) else { return };
                let mut rows = 2;
                let outcome = taken.snapshot.scan(taken.next, None, |_, _, _| {
                    rows -= 1;
                    if rows == 0 { Err(Error::new(ErrorKind::Function, "stopped")) } else { Ok(()) }
                });
                assert!(outcome.is_ok() || taken.next == GROUPS || rows == 0);
                let again = taken.snapshot.scan(taken.next, None, |_, _, _| Ok::<(), Error>(()));
                assert!(again.is_err());
                taken.next = GROUPS.min(taken.next + 1);
            }
            Op::Drop(index) => {
                if !self.taken.is_empty() {
                    self.taken.swap_remove(index % self.taken.len());
                }
            }
            Op::Confirm(index) => {
                let epochs: Vec<u32> = self.history.keys().copied().collect();
                if !epochs.is_empty() {
                    let epoch = epochs[index % epochs.len()];
                    self.table.confirm(epoch);
                }
            }
        }
    }

    fn finish(mut self, table_first: bool) {
        FUSE.set(0);
        let mut entries = Model::new();
        for group in 0..GROUPS {
            for (key, value) in self.table.iter_group(group) {
                let epoch = self.model[&key.number()].1;
                entries.insert(key.number(), (value.number(), epoch));
            }
        }
        assert_eq!(entries, self.model);
        let mut taken = std::mem::take(&mut self.taken);
        let threads = std::mem::take(&mut self.threads);
        let table = (!table_first).then_some(self.table);
        for taken in &mut taken {
            (taken.next..GROUPS).for_each(|group| scan_group(taken, group, None));
        }
        drop(taken);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(table);
    }
}

fn check<C: Case>(seed: u64, table_first: bool, ops: Vec<Op>) {
    let mut harness = Harness::<C>::new(seed);
    let alive = harness.alive.clone();
    ops.into_iter().for_each(|op| harness.run(op));
    harness.finish(table_first);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "values are leaked, or dropped twice");
}

macro_rules! cases {
    ($($name:ident: $case:ty;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(
                    seed in prop_oneof![0..3_u64, any::<u64>()],
                    table_first: bool,
                    ops in proptest::collection::vec(op(), 1..120),
                ) {
                    check::<$case>(seed, table_first, ops);
                }
            )*
        }
    };
}

cases! {
    plain_numbers: User<u64, u64>;
    boxed_strings: User<u64, String>;
    boxed_bytes_by_string: User<String, Vec<u8>>;
    counted_values: User<String, Counted>;
    fussy_plain_values: User<String, Fussy>;
    fussy_plain_values_by_number: User<u64, Fussy>;
    handles: Handles<u64>;
    handles_by_string: Handles<String>;
}
