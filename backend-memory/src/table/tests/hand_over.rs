//! A writer and the threads of snapshots, in every order that loom finds.
//!
//! Loom watches the segments (`sync/modelled.rs`) and the values. It finds uses of memory that another thread
//! may be reading without a happens-before between the two, in either order.

use std::{cell::Cell, rc::Rc};

use backend_api::{Error, ErrorKind};
use loom::{cell::UnsafeCell, model::Builder, thread};

use super::{Container, Handle, Placement, Table, TableValue, UserValue, hash_of};
use crate::table::{TableSnapshot, segment::TAG_BITS, sync};

/// The number of live values.
#[derive(Clone, Default)]
struct Alive(Rc<Cell<isize>>);

// SAFETY: loom runs all its threads on one system thread.
unsafe impl Send for Alive {}
// SAFETY: as above.
unsafe impl Sync for Alive {}

/// A number whose reads and drop are visible to loom.
struct Watched(UnsafeCell<u64>, Alive);

impl Watched {
    fn new(number: u64, alive: &Alive) -> Self {
        alive.0.update(|n| n + 1);
        Self(UnsafeCell::new(number), alive.clone())
    }

    fn number(&self) -> u64 {
        // SAFETY: written to only when it is dropped, which loom verifies.
        self.0.with(|number| unsafe { *number })
    }
}

// SAFETY: written to only when it is dropped.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

impl Clone for Watched {
    fn clone(&self) -> Self {
        Self::new(self.number(), &self.1)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.with_mut(|_| ());
        self.1.0.update(|n| n - 1);
    }
}

/// A value made from a number.
trait Numbered: TableValue {
    fn of(number: u64, alive: &Alive) -> Self;
    fn number(&self) -> u64;
}

impl Numbered for Watched {
    fn of(number: u64, alive: &Alive) -> Self {
        Self::new(number, alive)
    }
    fn number(&self) -> u64 {
        self.number()
    }
}

impl Numbered for u64 {
    fn of(number: u64, _: &Alive) -> Self {
        number
    }
    fn number(&self) -> u64 {
        *self
    }
}

type Shared = std::sync::Arc<Watched>;

// SAFETY: a counted pointer, whose bits may be copied.
unsafe impl Handle for Shared {}

impl Numbered for Shared {
    fn of(number: u64, alive: &Alive) -> Self {
        Self::new(Watched::new(number, alive))
    }
    fn number(&self) -> u64 {
        (**self).number()
    }
}

/// Runs a scenario in all orders with at most `preemptions` preemptions. It must leave no value alive.
fn explore(preemptions: usize, scenario: impl Fn(&Alive) + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        sync::forget();
        let alive = Alive::default();
        scenario(&alive);
        assert_eq!(alive.0.get(), 0);
    });
}

/// A table of one group with two segments, and a key in each: the first with the number 1, the second with 2.
struct Writer<V: Numbered, P: Placement<V>> {
    table: Table<u64, V, P>,
    keys: [u64; 2],
    alive: Alive,
}

impl<V: Numbered, P: Placement<V>> Writer<V, P> {
    fn new(alive: &Alive) -> Self {
        let mut table = Table::new(1, 7, false);
        drop(table.fill(0, 300));
        let half = |key: u64| table.tag(hash_of(key)) >> (TAG_BITS - 1) & 1;
        let keys = [0, 1].map(|wanted| (0..).find(|&key| half(key) == wanted).unwrap());
        let mut writer = Self { table, keys, alive: alive.clone() };
        writer.set(0, 1);
        writer.set(1, 2);
        writer
    }

    fn set(&mut self, which: usize, number: u64) {
        let key = self.keys[which];
        let change = |value: &mut Option<V>| {
            *value = Some(V::of(number, &self.alive));
            Ok::<(), Error>(())
        };
        self.table.try_update(0, hash_of(key), |&k| k == key, || key, change).unwrap();
    }

    fn remove(&mut self, which: usize) {
        let key = self.keys[which];
        assert!(self.table.remove(0, hash_of(key), |&k| k == key));
    }

    fn snapshot(&mut self) -> TableSnapshot<u64, V, P> {
        self.table.snapshot().unwrap()
    }

    fn numbers(&self) -> Vec<u64> {
        self.table.iter().map(|(_, value)| value.number()).collect()
    }
}

/// Reads a snapshot in another thread.
fn read<V: Numbered, P: Placement<V>>(
    mut snapshot: TableSnapshot<u64, V, P>,
    expected: &'static [u64],
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut numbers = Vec::new();
        let scanned = snapshot.scan(0, None, |_, value, _| {
            numbers.push(value.number());
            Ok::<(), Error>(())
        });
        scanned.unwrap();
        assert_eq!(numbers, expected);
    })
}

fn written_while_it_is_read<V: Numbered, P: Placement<V>>(alive: &Alive) {
    let mut writer = Writer::<V, P>::new(alive);
    let reader = read(writer.snapshot(), &[1, 2]);
    writer.set(0, 3);
    writer.set(1, 4);
    writer.set(0, 5);
    writer.remove(1);
    assert_eq!(writer.numbers(), [5]);
    reader.join().unwrap();
}

#[test]
fn plain_values_are_written_while_they_are_read() {
    explore(3, written_while_it_is_read::<u64, UserValue>);
}

#[test]
fn boxed_values_are_written_while_they_are_read() {
    explore(3, written_while_it_is_read::<Watched, UserValue>);
}

#[test]
fn handles_are_written_while_they_are_read() {
    explore(3, written_while_it_is_read::<Shared, Container>);
}

#[test]
fn two_snapshots_are_read_at_once() {
    explore(2, |alive| {
        let mut writer = Writer::<Watched, UserValue>::new(alive);
        let first = read(writer.snapshot(), &[1, 2]);
        let second = read(writer.snapshot(), &[1, 2]);
        // What this replaces goes into the bag of the second snapshot, and the first may read it too.
        writer.set(1, 3);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(writer.numbers(), [1, 3]);
    });
}

#[test]
fn a_table_is_dropped_while_its_snapshot_is_read() {
    explore(3, |alive| {
        let mut writer = Writer::<Watched, UserValue>::new(alive);
        let reader = read(writer.snapshot(), &[1, 2]);
        writer.set(0, 3);
        drop(writer);
        reader.join().unwrap();
    });
}

#[test]
fn a_snapshot_is_dropped_while_the_table_is_written() {
    explore(3, |alive| {
        let mut writer = Writer::<Watched, UserValue>::new(alive);
        let mut snapshot = writer.snapshot();
        let reader = thread::spawn(move || {
            snapshot.prepare(1);
            let failed = snapshot.scan(0, None, |_, _, _| Err(Error::new(ErrorKind::Cancelled, "stopped")));
            failed.unwrap_err();
        });
        writer.set(0, 3);
        writer.set(1, 4);
        assert_eq!(writer.numbers(), [3, 4]);
        reader.join().unwrap();
    });
}
