//! How many values of the store a batch reads in one call.

use std::sync::{Arc, Mutex};

use backend_api::{CheckpointTarget, Result, StateBackend, ValueDescriptor, ValueState};
use backend_bytes::{BTreeStore, ByteBackend, ByteCursor, ByteOptions, ByteSnapshot, ByteStore, WriteBatch};

use crate::support::{Backend, context, subtask};

/// Records how many values are read in one call, and their bytes.
#[derive(Default)]
struct Noting {
    inner: BTreeStore,
    reads: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl ByteStore for Noting {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        self.inner.get(key, read)
    }

    fn get_all(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let mut bytes = 0;
        self.inner.get_all(keys, &mut |index, value| {
            bytes += value.map_or(0, <[u8]>::len);
            read(index, value);
        })?;
        self.reads.lock().unwrap().push((keys.len(), bytes));
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        ByteStore::scan(&self.inner, from, to)
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        self.inner.write(batch)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.inner.snapshot()
    }
}

#[test]
fn batches_read_many_short_values_at_once_and_few_long_ones() {
    let reads = Arc::<Mutex<Vec<(usize, usize)>>>::default();
    let noted = Arc::clone(&reads);
    let options = ByteOptions::new(CheckpointTarget::memory(1 << 20).unwrap(), move |_, _| {
        Ok(Box::new(Noting { inner: BTreeStore::default(), reads: Arc::clone(&noted) }))
    });
    let mut backend: Backend = ByteBackend::open(&options, subtask(1, 0), &[]).unwrap();
    let keys: Vec<String> = (0..400).map(|number| format!("{number}")).collect();
    let contexts: Vec<_> = keys.iter().map(context).collect();
    let token = backend.register(ValueDescriptor::<String>::new("value").namespaced::<bool>()).unwrap();
    let length = |index: usize, long: bool| if long { 500_000 + index } else { index % 50 };
    // Absent values say nothing about lengths.
    for long in [false, true] {
        backend.get_batch(token, &contexts, &long, |_, value| assert_eq!(value, None)).unwrap();
        for (index, &key) in contexts.iter().enumerate().take(if long { 100 } else { 400 }) {
            backend.value(token, key, &long).unwrap().set("x".repeat(length(index, long))).unwrap();
        }
    }
    assert!(reads.lock().unwrap().drain(..).all(|(keys, _)| keys == 8));

    for (long, keys) in [(true, 100), (false, 400), (false, 400), (true, 100), (true, 100)] {
        let mut indexes = 0..keys;
        let check = |index, value: Option<&String>| {
            assert_eq!((Some(index), value.map(String::len)), (indexes.next(), Some(length(index, long))));
        };
        backend.get_batch(token, &contexts[..keys], &long, check).unwrap();
        assert_eq!(indexes.next(), None);
        let reads: Vec<_> = reads.lock().unwrap().drain(..).collect();
        assert_eq!(reads.iter().map(|(keys, _)| keys).sum::<usize>(), keys);
        if long {
            assert!(reads[1..].iter().all(|(_, bytes)| *bytes <= 1 << 20), "{reads:?}");
        } else {
            assert!(reads.iter().any(|(keys, _)| *keys == 128), "{reads:?}");
        }
    }
}
