//! Allocations of stores.

use backend_bytes::{BTreeStore, ByteStore, WriteBatch};

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
