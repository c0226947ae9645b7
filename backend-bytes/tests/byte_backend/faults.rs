//! A store that fails at its n-th call: a typed error, and unchanged state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{
    CheckpointTarget, Error, ErrorKind, KeyedStateHandle, ListDescriptor, ListState, MapDescriptor, MapState,
    ReducingDescriptor, ReducingState, Result, SnapshotRequest, StateBackend, ValueDescriptor, ValueState,
};
use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};

use crate::support::{Backend, Failing, context, in_memory, key, open, snapshot, subtask};

/// A backend, and the number of store calls until a failure.
fn failing(restore: &[KeyedStateHandle]) -> (Result<Backend>, Arc<AtomicU64>) {
    let calls_left = Arc::new(AtomicU64::new(u64::MAX));
    let store = Failing { inner: BTreeStore::default(), calls_left: Arc::clone(&calls_left) };
    let options = ByteOptions::new(CheckpointTarget::memory(1 << 20).unwrap(), move |_, _| {
        Ok(Box::new(Failing { inner: BTreeStore::default(), ..store.clone() }))
    });
    (ByteBackend::open(&options, subtask(1, 0), restore), calls_left)
}

/// One call of a view.
type Call = fn(&mut Backend) -> Result<()>;

/// The content of a key with its namespaces.
#[derive(Debug, PartialEq)]
struct Seen(Vec<Option<u64>>, Vec<Vec<u64>>, Vec<(u64, u64)>, Vec<Option<u64>>);

fn value(backend: &mut Backend, n: u64) -> Result<impl ValueState<u64>> {
    let token = backend.register(ValueDescriptor::<u64>::new("value").namespaced::<u64>())?;
    let (key, n) = (context(KEY.get_or_init(|| key("a"))), namespace(n));
    backend.value(token, key, n)
}

fn list(backend: &mut Backend, n: u64) -> Result<impl ListState<u64, u64>> {
    let token = backend.register(ListDescriptor::<u64>::new("list").namespaced::<u64>())?;
    let (key, n) = (context(KEY.get_or_init(|| key("a"))), namespace(n));
    backend.list(token, key, n)
}

fn map(backend: &mut Backend) -> Result<impl MapState<u64, u64>> {
    let token = backend.register(MapDescriptor::<u64, u64>::new("map"))?;
    backend.map(token, context(KEY.get_or_init(|| key("a"))), &())
}

fn sum(backend: &mut Backend, n: u64) -> Result<impl ReducingState<u64, u64>> {
    let token = backend.register(ReducingDescriptor::new("sum", |a: &u64, b| a + b).namespaced::<u64>())?;
    let (key, n) = (context(KEY.get_or_init(|| key("a"))), namespace(n));
    backend.reducing(token, key, n)
}

static KEY: std::sync::OnceLock<String> = std::sync::OnceLock::new();

fn namespace(n: u64) -> &'static u64 {
    [&0, &1, &2][n as usize]
}

fn fill(backend: &mut Backend) -> Result<()> {
    for n in 0..3 {
        value(backend, n)?.set(n)?;
        list(backend, n)?.add_all([n, n + 10, n + 20])?;
        map(backend)?.put(n, n)?;
        sum(backend, n)?.add(n)?;
    }
    Ok(())
}

fn seen(backend: &mut Backend) -> Seen {
    let values = (0..3).map(|n| value(backend, n).unwrap().get().unwrap()).collect();
    let lists = (0..3).map(|n| list(backend, n).unwrap().get().unwrap()).collect();
    let mut view = map(backend).unwrap();
    let entries = view.iter().unwrap().map(|entry| entry.map(|(key, value)| (*key, *value)));
    let entries = entries.collect::<Result<_>>().unwrap();
    drop(view);
    Seen(values, lists, entries, (0..3).map(|n| sum(backend, n).unwrap().get().unwrap()).collect())
}

const CALLS: [Call; 14] = [
    |b| value(b, 0)?.set(5),
    |b| value(b, 0)?.update(|n| *n = Some(6)),
    |b| value(b, 0)?.clear(),
    |b| list(b, 0)?.add(5),
    |b| list(b, 0)?.set([7, 8, 9]),
    |b| list(b, 0)?.merge_from(&[1, 2]),
    |b| list(b, 0)?.clear(),
    |b| map(b)?.put_all([(1, 9), (7, 7)]),
    |b| map(b)?.remove(&1),
    |b| map(b)?.update(1, |n| *n = None),
    |b| map(b)?.clear(),
    |b| sum(b, 0)?.add(5),
    |b| sum(b, 0)?.merge_from(&[1, 2]),
    |b| sum(b, 0)?.clear(),
];

#[test]
fn a_failed_write_changes_nothing() {
    for (number, call) in CALLS.iter().enumerate() {
        for calls in 0.. {
            let (backend, calls_left) = failing(&[]);
            let mut backend = backend.unwrap();
            fill(&mut backend).unwrap();
            let before = seen(&mut backend);
            calls_left.store(calls, Ordering::SeqCst);
            let result = call(&mut backend);
            calls_left.store(u64::MAX, Ordering::SeqCst);
            match result {
                Ok(()) => {
                    assert!(calls > 0, "call {number} did nothing");
                    assert_ne!(seen(&mut backend), before, "call {number}");
                    break;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io);
                    assert!(error.state().is_some() && error.key_group().is_some(), "{error}");
                    assert_eq!(seen(&mut backend), before, "call {number}, store call {calls}");
                }
            }
            // A later attempt does not write leftovers of the failed one.
            call(&mut backend).unwrap();
        }
    }
}

#[test]
fn a_failed_read_ends_with_one_error() {
    let (backend, calls_left) = failing(&[]);
    let mut backend = backend.unwrap();
    fill(&mut backend).unwrap();
    // Elements added together are read together.
    list(&mut backend, 2).unwrap().clear().unwrap();
    (0..3).for_each(|element| list(&mut backend, 2).unwrap().add(element).unwrap());
    calls_left.store(2, Ordering::SeqCst);
    let mut view = list(&mut backend, 2).unwrap();
    let kinds: Vec<_> =
        view.iter().unwrap().map(|e| e.map(|n| *n).map_err(|error: Error| error.kind())).collect();
    assert_eq!(kinds, [Ok(0), Err(ErrorKind::Io)]);
    drop(view);
    let map = MapDescriptor::<u64, u64>::new("map");
    let map = backend.register(map).unwrap();
    assert_eq!(backend.keys(map, &()).err().map(|error| error.kind()), Some(ErrorKind::Io));
}

#[test]
fn a_failed_snapshot_returns_no_handle_and_the_next_one_is_complete() {
    for calls in 0.. {
        let (backend, calls_left) = failing(&[]);
        let mut backend = backend.unwrap();
        fill(&mut backend).unwrap();
        let before = seen(&mut backend);
        calls_left.store(calls, Ordering::SeqCst);
        let result = backend.snapshot(SnapshotRequest::new(1)).and_then(|task| task.run());
        calls_left.store(u64::MAX, Ordering::SeqCst);
        let done = result.is_ok();
        assert!(done || result.unwrap_err().kind() == ErrorKind::Io);
        let handle = snapshot(&mut backend, 2);
        assert_eq!(seen(&mut open(&in_memory(), &[handle])), before);
        if done {
            assert!(calls > 10);
            break;
        }
    }
}

#[test]
fn a_failed_registration_can_be_tried_again() {
    let mut source = open(&in_memory(), &[]);
    fill(&mut source).unwrap();
    let expected = seen(&mut source);
    let handle = snapshot(&mut source, 1);
    for calls in 0.. {
        let (backend, calls_left) = failing(std::slice::from_ref(&handle));
        let mut backend = backend.unwrap();
        calls_left.store(calls, Ordering::SeqCst);
        let result = list(&mut backend, 0).map(|_| ());
        calls_left.store(u64::MAX, Ordering::SeqCst);
        // Another state first, which must not see leftovers of the failed one.
        let other = backend.register(ListDescriptor::<u64>::new("other").namespaced::<u64>()).unwrap();
        assert!(backend.list(other, context(&key("a")), &0).unwrap().is_empty().unwrap());
        assert_eq!(seen(&mut backend), expected);
        if result.is_ok() {
            assert!(calls > 0);
            break;
        }
    }
}

#[test]
fn leftover_rows_are_not_visible_to_the_next_state() {
    let mut source = open(&in_memory(), &[]);
    // More than one write.
    list(&mut source, 0).unwrap().add_all(0..4_000_000).unwrap();
    let handle = snapshot(&mut source, 1);
    let (backend, calls_left) = failing(&[handle]);
    let mut backend = backend.unwrap();
    calls_left.store(1, Ordering::SeqCst);
    assert_eq!(list(&mut backend, 0).err().map(|error| error.kind()), Some(ErrorKind::Io));
    // Until they can be removed, no other state can be registered.
    let descriptor = || ListDescriptor::<u64>::new("other").namespaced::<u64>();
    assert_eq!(backend.register(descriptor()).unwrap_err().kind(), ErrorKind::Io);
    calls_left.store(u64::MAX, Ordering::SeqCst);
    let other = backend.register(descriptor()).unwrap();
    assert_eq!(backend.keys(other, &0_u64).unwrap().count(), 0);
    let found = list(&mut backend, 0).unwrap().get().unwrap();
    assert!(found.into_iter().eq(0..4_000_000));
}
