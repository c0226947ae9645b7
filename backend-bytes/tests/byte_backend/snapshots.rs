//! Snapshots: their content, and how they end.

use std::sync::Arc;

use backend_api::{
    ErrorKind, ListDescriptor, ListState, MapDescriptor, MapState, MemoryStorage, Result, SnapshotRequest,
    StateBackend, Storage, ValueDescriptor, ValueState,
};

use crate::support::{context, in_files, in_memory, key, open, snapshot};

fn numbers(backend: &mut crate::support::Backend, range: std::ops::Range<u64>, plus: u64) {
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    for n in range {
        backend.value(count, context(&n.to_string()), &()).unwrap().set(n + plus).unwrap();
    }
}

fn read(backend: &mut crate::support::Backend, n: u64) -> Option<u64> {
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    backend.value(count, context(&n.to_string()), &()).unwrap().get().unwrap()
}

#[test]
fn a_late_task_on_another_thread_sees_the_state_of_its_snapshot() {
    let mut backend = open(&in_memory(), &[]);
    numbers(&mut backend, 0..10, 0);
    let first = backend.snapshot(SnapshotRequest::new(1)).unwrap();
    numbers(&mut backend, 0..20, 100);
    let second = backend.snapshot(SnapshotRequest::new(2)).unwrap();
    let list = backend.register(ListDescriptor::<u64>::new("list")).unwrap();
    backend.list(list, context(&key("a")), &()).unwrap().add(1).unwrap();
    numbers(&mut backend, 0..20, 200);
    let progress = first.progress();
    let second = std::thread::spawn(|| second.run()).join().unwrap().unwrap().unwrap();
    let first = std::thread::spawn(|| first.run()).join().unwrap().unwrap().unwrap();
    assert_eq!(progress.entries(), 10);
    assert!(progress.bytes() > 0);
    assert_eq!(read(&mut backend, 3), Some(203));
    let mut restored = open(&in_memory(), &[first]);
    assert_eq!((read(&mut restored, 9), read(&mut restored, 11)), (Some(9), None));
    assert_eq!(restored.states().len(), 1);
    let mut restored = open(&in_memory(), &[second]);
    assert_eq!((read(&mut restored, 9), read(&mut restored, 11)), (Some(109), Some(111)));
}

#[test]
fn a_backend_without_states_has_no_handle_but_one_without_entries_has() {
    let mut backend = open(&in_memory(), &[]);
    assert_eq!(backend.snapshot(SnapshotRequest::new(1)).unwrap().run().unwrap(), None);
    backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    let handle = snapshot(&mut backend, 2);
    let mut restored = open(&in_memory(), &[handle]);
    let states = restored.states();
    assert_eq!((states[0].name.as_str(), states[0].registered), ("count", false));
    assert_eq!(
        restored.register(ListDescriptor::<u64>::new("count")).unwrap_err().kind(),
        ErrorKind::IncompatibleKind
    );
    let count = restored.register(ValueDescriptor::<u64>::new("count")).unwrap();
    assert!(restored.states()[0].registered);
    assert_eq!(restored.keys(count, &()).unwrap().count(), 0);
}

#[test]
fn checkpoint_ids_increase() {
    let mut backend = open(&in_memory(), &[]);
    backend.snapshot(SnapshotRequest::new(5)).unwrap();
    for id in [5, 4] {
        assert_eq!(backend.snapshot(SnapshotRequest::new(id)).unwrap_err().kind(), ErrorKind::IllegalState);
    }
    backend.snapshot(SnapshotRequest::new(6)).unwrap();
}

#[test]
fn long_lists_and_maps_are_restored_in_full() {
    let mut backend = open(&in_memory(), &[]);
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<u64, String>::new("map")).unwrap();
    // Lengths around the bounds of rows, in entries and in bytes, of neighbours in one group.
    let lengths = [1, 127, 128, 129, 256, 257, 1000];
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let length = |at: usize| lengths[at % lengths.len()];
    let text = |at: usize, n: usize| "x".repeat(if at.is_multiple_of(5) { 1500 } else { n % 7 });
    for (at, key) in keys.iter().enumerate() {
        let elements = || (0..length(at)).map(|n| text(at, n));
        backend.list(list, context(key), &()).unwrap().add_all(elements()).unwrap();
        backend.map(map, context(key), &()).unwrap().put_all((0..).zip(elements())).unwrap();
    }
    let handle = snapshot(&mut backend, 1);
    let mut restored = open(&in_memory(), &[handle]);
    let list = restored.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = restored.register(MapDescriptor::<u64, String>::new("map")).unwrap();
    for (at, key) in keys.iter().enumerate() {
        let elements: Vec<_> = (0..length(at)).map(|n| text(at, n)).collect();
        assert_eq!(restored.list(list, context(key), &()).unwrap().get().unwrap(), elements);
        let mut view = restored.map(map, context(key), &()).unwrap();
        let values = view.values().unwrap().map(|value| value.map(|v| v.into_owned()));
        assert_eq!(values.collect::<Result<Vec<_>>>().unwrap(), elements);
    }
    // Further elements follow the restored ones.
    restored.list(list, context(&keys[1]), &()).unwrap().add(key("last")).unwrap();
    assert_eq!(
        restored.list(list, context(&keys[1]), &()).unwrap().get().unwrap().last(),
        Some(&key("last"))
    );
}

#[test]
fn a_cancelled_closed_or_dropped_task_leaves_no_file() {
    let storage = Arc::new(MemoryStorage::default());
    let mut backend = open(&in_files(&storage), &[]);
    numbers(&mut backend, 0..5000, 0);
    let before = backend.snapshot(SnapshotRequest::new(1)).unwrap();
    before.cancel_token().cancel();
    assert_eq!(before.run().unwrap_err().kind(), ErrorKind::Cancelled);
    drop(backend.snapshot(SnapshotRequest::new(2)).unwrap());
    let finished = snapshot(&mut backend, 3);
    assert_eq!(storage.list("").unwrap().len(), 1);
    finished.discard(&*storage).unwrap();
    let first = backend.snapshot(SnapshotRequest::new(4)).unwrap();
    let second = backend.snapshot(SnapshotRequest::new(5)).unwrap();
    backend.close().unwrap();
    assert_eq!(first.run().unwrap_err().kind(), ErrorKind::Cancelled);
    drop(backend);
    assert_eq!(second.run().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(storage.list("").unwrap().is_empty());
}

#[test]
fn a_closed_backend_returns_closed() {
    let mut backend = open(&in_memory(), &[]);
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    backend.close().unwrap();
    backend.close().unwrap();
    let a = key("a");
    let closed = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Closed);
    closed(backend.value(count, context(&a), &()).map(|_| ()));
    closed(backend.register(ValueDescriptor::<u64>::new("count")).map(|_| ()));
    closed(backend.snapshot(SnapshotRequest::new(1)).map(|_| ()));
    closed(backend.keys(count, &()).map(|_| ()));
    closed(backend.notify_complete(1));
    closed(backend.notify_aborted(1));
}
