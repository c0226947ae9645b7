use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use backend_api::{Error, ErrorKind};

use super::*;
use crate::{BTreeStore, ByteCursor, ByteSnapshot, WriteOp};

/// Counts what is read and written. Like a database with tombstones, a scan visits removed entries too.
struct Counting {
    entries: BTreeStore,
    /// Everything that was ever put.
    visited: BTreeStore,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    visits: AtomicUsize,
    operations: AtomicUsize,
    fails: AtomicBool,
}

struct Scan<'s> {
    entries: Box<dyn ByteCursor + 's>,
    visited: Box<dyn ByteCursor + 's>,
    visits: &'s AtomicUsize,
}

impl ByteCursor for Scan<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let entry = self.entries.next()?;
        while let Some((key, _)) = self.visited.next()? {
            self.visits.fetch_add(1, Ordering::Relaxed);
            if entry.is_some_and(|(entry, _)| entry == key) {
                break;
            }
        }
        Ok(entry)
    }
}

impl ByteStore for Counting {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.entries.get(key, read)
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        let visited = ByteStore::scan(&self.visited, from, to)?;
        let entries = ByteStore::scan(&self.entries, from, to)?;
        Ok(Box::new(Scan { entries, visited, visits: &self.counts.visits }))
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        if self.counts.fails.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Io, "the store fails"));
        }
        let mut puts = WriteBatch::default();
        for op in batch.iter() {
            self.counts.operations.fetch_add(1, Ordering::Relaxed);
            if let WriteOp::Put { key, value } = op {
                puts.put(key, value);
            }
        }
        self.visited.write(&puts)?;
        self.entries.write(batch)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.entries.snapshot()
    }
}

/// A cache of one key group over a store.
struct World {
    store: Counting,
    cache: TimerCache,
}

impl World {
    fn new() -> Self {
        let (entries, visited, counts) = Default::default();
        let cache = TimerCache::new(0, KeyGroupRange::new(0, 0).unwrap());
        Self { store: Counting { entries, visited, counts }, cache }
    }

    fn add(&mut self, at: i64) -> Result<bool> {
        let mut timer = Vec::new();
        at.encode(&mut timer);
        self.cache.add(&mut self.store, 0, &timer)
    }

    fn fire(&mut self, to: i64) -> Result<Option<i64>> {
        self.cache.next_due(&mut self.store, to, |_, timer| Ok(time(timer)))
    }

    fn count(&self, of: fn(&Counts) -> &AtomicUsize) -> usize {
        of(&self.store.counts).swap(0, Ordering::Relaxed)
    }
}

#[test]
fn firing_visits_what_is_due_and_not_what_has_fired() {
    let mut world = World::new();
    (0..50_000).for_each(|at| _ = world.add(at).unwrap());
    world.cache.flush(&mut world.store).unwrap();
    world.count(|counts| &counts.visits);
    for at in 0..10_000 {
        assert_eq!(world.fire(10_000).unwrap(), Some(at));
    }
    let visits = world.count(|counts| &counts.visits);
    assert!((9_000..11_000).contains(&visits), "{visits} entries were visited for 10,000 timers");
    for at in 10_000..10_005 {
        assert_eq!(world.fire(10_004).unwrap(), Some(at));
    }
    assert_eq!(world.fire(10_004).unwrap(), None);
    let visits = world.count(|counts| &counts.visits);
    assert!(visits <= 2 * READ, "{visits} entries were visited for 5 timers");
}

#[test]
fn a_timer_that_fires_soon_is_never_written() {
    let mut world = World::new();
    for at in 0..100_000 {
        world.add(at).unwrap();
        assert_eq!(world.fire(at).unwrap(), Some(at));
    }
    world.cache.flush(&mut world.store).unwrap();
    assert_eq!(world.count(|counts| &counts.operations), 0);
}

#[test]
fn memory_does_not_grow_with_the_number_of_timers() {
    let mut world = World::new();
    (0..1000).for_each(|at| _ = world.add(at).unwrap());
    world.cache.flush(&mut world.store).unwrap();
    let before = world.cache.bytes();
    (1000..100_000).rev().for_each(|at| _ = world.add(at).unwrap());
    world.cache.flush(&mut world.store).unwrap();
    assert!(world.cache.bytes() <= 2 * before, "{} bytes, {before} before", world.cache.bytes());
    // Earlier ones push the others out.
    (-5000..0).rev().for_each(|at| _ = world.add(at).unwrap());
    world.cache.flush(&mut world.store).unwrap();
    assert!(world.cache.bytes() <= 2 * before, "{} bytes, {before} before", world.cache.bytes());
    assert_eq!(world.fire(0).unwrap(), Some(-5000));
}

#[test]
fn a_failed_write_loses_nothing() {
    let mut world = World::new();
    let mut added = 0;
    world.store.counts.fails.store(true, Ordering::Relaxed);
    while world.add(added).is_ok() {
        added += 1;
    }
    // Nothing changes until it can be written.
    assert!(
        world.add(added).is_err() && world.fire(0).is_err() && world.cache.flush(&mut world.store).is_err()
    );
    world.store.counts.fails.store(false, Ordering::Relaxed);
    assert!(added >= BATCH as i64);
    for at in 0..added {
        assert_eq!(world.fire(i64::MAX).unwrap(), Some(at));
    }
    assert_eq!(world.fire(i64::MAX).unwrap(), None);
}
