//! Which thread drops a large list or map.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};

use backend_api::{
    Codec, Error, ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, MapToken, Result,
    SnapshotRequest, StateBackend, Subtask,
};
use backend_memory::{MemoryBackend, MemoryOptions};

const ENTRIES: u32 = 100_000;

/// Sends the id of the thread that drops it.
#[derive(Clone)]
struct Mortal(Sender<ThreadId>);

impl Drop for Mortal {
    fn drop(&mut self) {
        // The receiver is gone at the end of a test.
        _ = self.0.send(thread::current().id());
    }
}

/// An encoding that is never decoded here.
struct OneWay;

impl Codec<Mortal> for OneWay {
    fn id(&self) -> String {
        "one-way".to_owned()
    }

    fn encode(&self, _: &Mortal, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn decode(&self, _: &[u8]) -> Result<Mortal> {
        Err(Error::new(ErrorKind::Codec, "cannot be decoded"))
    }

    fn heap_size(&self, _: &Mortal) -> usize {
        0
    }
}

fn open() -> MemoryBackend<u32> {
    let subtask = Subtask::single("op", KeySpace::new(4).unwrap()).unwrap();
    MemoryBackend::open(&MemoryOptions::default(), subtask, &[]).unwrap()
}

/// Returns a backend with a large map under key 1.
fn with_large_map(sender: &Sender<ThreadId>) -> (MemoryBackend<u32>, MapToken<u32, Mortal>) {
    let mut backend = open();
    let maps = backend.register(MapDescriptor::with_codec("maps", Arc::new(OneWay))).unwrap();
    let key = backend.key(&1).unwrap();
    let entries = (0..ENTRIES).map(|entry| (entry, Mortal(sender.clone())));
    backend.map(maps, key, &()).unwrap().put_all(entries).unwrap();
    (backend, maps)
}

/// Waits until `values` values are dropped, and returns how many of them this thread dropped.
fn dropped_here(threads: &Receiver<ThreadId>, values: u32) -> usize {
    let here = thread::current().id();
    (0..values).filter(|_| threads.recv().unwrap() == here).count()
}

#[test]
fn another_thread_drops_a_large_cleared_map() {
    let (sender, threads) = channel();
    let (mut backend, maps) = with_large_map(&sender);
    let key = backend.key(&1).unwrap();
    let mut map = backend.map(maps, key, &()).unwrap();
    map.clear().unwrap();
    assert!(map.is_empty().unwrap());
    assert_eq!(dropped_here(&threads, ENTRIES), 0);
}

#[test]
fn another_thread_drops_a_large_map_after_a_snapshot() {
    let (sender, threads) = channel();
    let (mut backend, maps) = with_large_map(&sender);
    let task = backend.snapshot(SnapshotRequest::new(1)).unwrap();
    let key = backend.key(&1).unwrap();
    backend.map(maps, key, &()).unwrap().clear().unwrap();
    // The task is the last user.
    drop(task);
    for id in 2..4 {
        drop(backend.snapshot(SnapshotRequest::new(id)).unwrap());
    }
    assert_eq!(dropped_here(&threads, ENTRIES), 0);
}

#[test]
fn another_thread_drops_a_large_replaced_list() {
    let (sender, threads) = channel();
    let mut backend = open();
    let lists = backend.register(ListDescriptor::<Mortal>::with_codec("lists", Arc::new(OneWay))).unwrap();
    let key = backend.key(&1).unwrap();
    let mut list = backend.list(lists, key, &()).unwrap();
    list.add_all((0..ENTRIES).map(|_| Mortal(sender.clone()))).unwrap();
    list.set([Mortal(sender.clone())]).unwrap();
    assert_eq!(dropped_here(&threads, ENTRIES), 0);
    // A short list is dropped in place.
    list.clear().unwrap();
    assert_eq!(dropped_here(&threads, 1), 1);
}

#[test]
fn a_put_into_a_large_map_drops_only_what_it_replaces() {
    let (sender, threads) = channel();
    let (mut backend, maps) = with_large_map(&sender);
    let key = backend.key(&1).unwrap();
    let mut map = backend.map(maps, key, &()).unwrap();
    map.put_all([(7, Mortal(sender.clone()))]).unwrap();
    // Including copies of the entry's neighbours.
    let dropped = dropped_here(&threads, 1);
    assert_eq!(dropped, 1);
    assert!(threads.try_iter().all(|thread| thread == thread::current().id()));
}
