//! Whose time it takes to drop a large list or map.

#![expect(clippy::unwrap_used, reason = "the functions of tests may fail as the tests do")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};

use backend_api::{
    Codec, Error, ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, MapToken, Result,
    SnapshotRequest, StateBackend, Subtask,
};
use backend_memory::{MemoryBackend, MemoryOptions};

const ENTRIES: u32 = 100_000;

/// Tells which thread drops it.
#[derive(Clone)]
struct Mortal(Sender<ThreadId>);

impl Drop for Mortal {
    fn drop(&mut self) {
        // Nobody listens to what the end of a test drops.
        _ = self.0.send(thread::current().id());
    }
}

/// Nothing here is read back.
struct OneWay;

impl Codec<Mortal> for OneWay {
    fn id(&self) -> String {
        "one-way".to_owned()
    }

    fn encode(&self, _: &Mortal, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn decode(&self, _: &[u8]) -> Result<Mortal> {
        Err(Error::new(ErrorKind::Codec, "nothing comes back"))
    }

    fn heap_size(&self, _: &Mortal) -> usize {
        0
    }
}

fn open() -> MemoryBackend<u32> {
    let subtask = Subtask::single("op", KeySpace::new(4).unwrap()).unwrap();
    MemoryBackend::open(&MemoryOptions::default(), subtask, &[]).unwrap()
}

/// A backend with a large map under key 1.
fn with_large_map(sender: &Sender<ThreadId>) -> (MemoryBackend<u32>, MapToken<u32, Mortal>) {
    let mut backend = open();
    let maps = backend.register(MapDescriptor::with_codec("maps", Arc::new(OneWay))).unwrap();
    let key = backend.key(&1).unwrap();
    let entries = (0..ENTRIES).map(|entry| (entry, Mortal(sender.clone())));
    backend.map(maps, key, &()).unwrap().put_all(entries).unwrap();
    (backend, maps)
}

/// Waits until so many values are dropped, and answers how many of them this thread has dropped.
fn dropped_here(threads: &Receiver<ThreadId>, values: u32) -> usize {
    let here = thread::current().id();
    (0..values).filter(|_| threads.recv().unwrap() == here).count()
}

#[test]
fn a_large_map_that_is_cleared_is_dropped_by_another_thread() {
    let (sender, threads) = channel();
    let (mut backend, maps) = with_large_map(&sender);
    let key = backend.key(&1).unwrap();
    let mut map = backend.map(maps, key, &()).unwrap();
    map.clear().unwrap();
    assert!(map.is_empty().unwrap());
    assert_eq!(dropped_here(&threads, ENTRIES), 0);
}

#[test]
fn a_large_map_that_a_snapshot_has_read_is_dropped_by_another_thread() {
    let (sender, threads) = channel();
    let (mut backend, maps) = with_large_map(&sender);
    let task = backend.snapshot(SnapshotRequest::new(1)).unwrap();
    let key = backend.key(&1).unwrap();
    backend.map(maps, key, &()).unwrap().clear().unwrap();
    // The last to need it, and then nobody does.
    drop(task);
    for id in 2..4 {
        drop(backend.snapshot(SnapshotRequest::new(id)).unwrap());
    }
    assert_eq!(dropped_here(&threads, ENTRIES), 0);
}

#[test]
fn a_large_list_that_is_replaced_is_dropped_by_another_thread() {
    let (sender, threads) = channel();
    let mut backend = open();
    let lists = backend.register(ListDescriptor::<Mortal>::with_codec("lists", Arc::new(OneWay))).unwrap();
    let key = backend.key(&1).unwrap();
    let mut list = backend.list(lists, key, &()).unwrap();
    list.add_all((0..ENTRIES).map(|_| Mortal(sender.clone()))).unwrap();
    list.set([Mortal(sender.clone())]).unwrap();
    assert_eq!(dropped_here(&threads, ENTRIES), 0);
    // A short one is not worth a thread.
    list.clear().unwrap();
    assert_eq!(dropped_here(&threads, 1), 1);
}

#[test]
fn entries_put_into_a_large_map_drop_no_more_than_what_they_replace() {
    let (sender, threads) = channel();
    let (mut backend, maps) = with_large_map(&sender);
    let key = backend.key(&1).unwrap();
    let mut map = backend.map(maps, key, &()).unwrap();
    map.put_all([(7, Mortal(sender.clone()))]).unwrap();
    // The copies of the entry's neighbours too.
    let dropped = dropped_here(&threads, 1);
    assert_eq!(dropped, 1);
    assert!(threads.try_iter().all(|thread| thread == thread::current().id()));
}
