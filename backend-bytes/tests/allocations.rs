//! Allocations of stores.

use backend_api::{CheckpointTarget, KeySpace, StateBackend, Subtask, ValueDescriptor, ValueState};
use backend_bytes::{BTreeStore, ByteBackend, ByteOptions, ByteStore, WriteBatch};

#[test]
fn removing_a_large_range_does_not_copy_its_keys() {
    let key = |number: u32| [&[0, 0, 0, 0][..], &number.to_be_bytes()].concat();
    let mut store = BTreeStore::default();
    let mut puts = WriteBatch::default();
    (0..100_000).for_each(|number| puts.put(&key(number), b"value"));
    store.write(&puts).unwrap();
    let mut removal = WriteBatch::default();
    removal.delete_range(&key(1), &key(99_999));

    let allocated = allocation_counter::measure(|| store.write(&removal).unwrap());

    assert!(allocated.bytes_max < 4096, "{} bytes", allocated.bytes_max);
    let mut left = Vec::new();
    let mut cursor = ByteStore::scan(&store, &key(0), &key(u32::MAX)).unwrap();
    while let Some((key, _)) = cursor.next().unwrap() {
        left.push(key.to_vec());
    }
    assert_eq!(left, [key(0), key(99_999)]);
}

#[test]
fn a_borrowed_key_allocates_nothing() {
    let target = CheckpointTarget::memory(1 << 20).unwrap();
    let options = ByteOptions::new(target, |_, _| Ok(Box::new(BTreeStore::default())));
    let subtask = Subtask::single("op", KeySpace::<String>::new(16).unwrap()).unwrap();
    let mut backend = ByteBackend::open(&options, subtask, &[]).unwrap();
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    let word = "a word that is too long to be kept in place of a pointer";
    let key = backend.key(word).unwrap();
    backend.value(count, key, &()).unwrap().set(7).unwrap();

    let mut read = None;
    let allocated = allocation_counter::measure(|| {
        let key = backend.key(word).unwrap();
        read = backend.value(count, key, &()).unwrap().get().unwrap();
    });

    assert_eq!((read, allocated.count_total), (Some(7), 0));
}
