//! Lists of few numbers, which lie in the table itself, and longer ones, with concurrent snapshots.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::thread;

use backend_api::{
    KeySpace, KeyedStateHandle, ListDescriptor, ListState, ListToken, SnapshotRequest, StateBackend,
    StateValue, Subtask,
};
use backend_memory::{MemoryBackend, MemoryOptions};
use proptest::prelude::*;

const KEYS: u32 = 600;

type Model<T> = BTreeMap<u32, Vec<T>>;
type Descriptor<T> = fn(&'static str) -> ListDescriptor<T>;

#[derive(Clone, Debug)]
enum Op {
    Add(u32),
    AddAll(u32, usize),
    Set(u32, usize),
    /// Adds to `.1` lists, so that whole segments change.
    AddToMany(u32, u32),
    Snapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || prop_oneof![0..20_u32, 0..KEYS];
    prop_oneof![
        8 => key().prop_map(Op::Add),
        3 => (key(), 0..5_usize).prop_map(|(key, count)| Op::AddAll(key, count)),
        3 => (key(), 0..5_usize).prop_map(|(key, count)| Op::Set(key, count)),
        2 => (key(), 0..KEYS).prop_map(|(key, count)| Op::AddToMany(key, count)),
        3 => Just(Op::Snapshot),
    ]
}

fn open<T: StateValue>(
    descriptor: Descriptor<T>,
    handles: &[KeyedStateHandle],
) -> (MemoryBackend<u32>, ListToken<T>) {
    let subtask = Subtask::single("op", KeySpace::new(2).unwrap()).unwrap();
    let mut backend = MemoryBackend::open(&MemoryOptions::default(), subtask, handles).unwrap();
    let token = backend.register(descriptor("list")).unwrap();
    (backend, token)
}

fn contents<T: StateValue>(backend: &mut MemoryBackend<u32>, token: ListToken<T>) -> Model<T> {
    let keys: Vec<u32> = backend.keys(token, &()).unwrap().map(|key| key.unwrap()).collect();
    let mut read = |key: u32| {
        let place = backend.key(&key).unwrap();
        backend.list(token, place, &()).unwrap().get().unwrap()
    };
    keys.into_iter().map(|key| (key, read(key))).collect()
}

/// Runs a program with each snapshot in its own thread. Compares the snapshots and the final state with the
/// model.
fn run<T: StateValue + PartialEq + Debug>(ops: Vec<Op>, descriptor: Descriptor<T>, item: impl Fn(u32) -> T) {
    let (mut backend, token) = open(descriptor, &[]);
    let mut model = Model::new();
    let mut numbers = (1..).map(item);
    let mut snapshots = Vec::new();
    for op in ops {
        let (keys, count) = match op {
            Op::Add(key) => (key..key + 1, None),
            Op::AddToMany(key, count) => (key..(key + count).min(KEYS), None),
            Op::AddAll(key, count) | Op::Set(key, count) => (key..key + 1, Some(count)),
            Op::Snapshot => {
                let task = backend.snapshot(SnapshotRequest::new(snapshots.len() as u64 + 1)).unwrap();
                snapshots.push((thread::spawn(|| task.run().unwrap()), model.clone()));
                continue;
            }
        };
        for key in keys {
            let place = backend.key(&key).unwrap();
            let mut list = backend.list(token, place, &()).unwrap();
            let new: Vec<T> = numbers.by_ref().take(count.unwrap_or(1)).collect();
            let expected = model.entry(key).or_default();
            match (&op, count) {
                (Op::Set(..), _) => {
                    list.set(new.clone()).unwrap();
                    expected.clear();
                }
                (_, Some(_)) => list.add_all(new.clone()).unwrap(),
                (_, None) => list.add(new[0].clone()).unwrap(),
            }
            expected.extend(new);
        }
        model.retain(|_, list| !list.is_empty());
    }
    assert_eq!(contents(&mut backend, token), model);
    for (task, expected) in snapshots {
        let handle = task.join().unwrap();
        let (mut restored, token) = open(descriptor, handle.as_slice());
        assert_eq!(contents(&mut restored, token), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn snapshots_keep_their_content_while_lists_change(ops in prop::collection::vec(op(), 1..60)) {
        run(ops.clone(), ListDescriptor::new, i64::from);
        run(ops.clone(), ListDescriptor::new, |number| number as u16);
        run(ops, ListDescriptor::new, |number| number.to_string());
    }
}

#[test]
fn a_short_list_owns_no_memory_outside_of_the_table() {
    let held = |backend: &MemoryBackend<u32>| backend.states()[0].bytes;
    let (mut backend, token) = open(ListDescriptor::<u64>::new, &[]);
    let add = |backend: &mut MemoryBackend<u32>, element| {
        for key in 0..100 {
            let key = backend.key(&key).unwrap();
            backend.list(token, key, &()).unwrap().add(element).unwrap();
        }
    };
    add(&mut backend, 1);
    let one = held(&backend);
    add(&mut backend, 2);
    assert_eq!(held(&backend), one);
    add(&mut backend, 3);
    assert!(held(&backend) >= one + 100 * 3 * 8, "chunks of three elements");
    for key in 0..100 {
        let key = backend.key(&key).unwrap();
        backend.list(token, key, &()).unwrap().set([4]).unwrap();
    }
    assert_eq!(held(&backend), one);
}
