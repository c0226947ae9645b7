//! A custom backend, written from the documentation of `backend_bytes` alone, and the suite on it.
//!
//! The engine is one sorted map of bytes. A snapshot shares the map with its task. The next write copies the
//! map if the task still has it. Checkpoints go into their handle or into files, and are always full:
//! `incremental` is not among the capabilities, so the cases about increments are skipped.
//!
//! `cargo test -p conformance-tests --example own_backend` runs the suite on it; `cargo run` counts some words.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use backend_api::{
    CheckpointTarget, JobFolder, KeySpace, MemoryStorage, ReducingDescriptor, ReducingState, Result,
    StateBackend, StateKey, Storage, Subtask,
};
use backend_bytes::{ByteBackend, ByteCursor, ByteOptions, ByteSnapshot, ByteStore, WriteBatch, WriteOp};
use conformance_tests::{Capabilities, Factory, Setup};

/// The engine.
#[derive(Clone, Default)]
struct SortedMap(Arc<BTreeMap<Vec<u8>, Vec<u8>>>);

impl SortedMap {
    /// The entries from `from` (included) to `to` (excluded).
    fn range(&self, from: &[u8], to: &[u8]) -> Entries<'_> {
        let upper = Bound::Excluded(to.max(from));
        Entries(self.0.range::<[u8], _>((Bound::Included(from), upper)))
    }
}

impl ByteStore for SortedMap {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        read(self.0.get(key).map(Vec::as_slice));
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        Ok(Box::new(self.range(from, to)))
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        for operation in batch.iter() {
            match operation {
                WriteOp::Put { key, value } => {
                    Arc::make_mut(&mut self.0).insert(key.to_vec(), value.to_vec());
                }
                WriteOp::Delete { key } => {
                    Arc::make_mut(&mut self.0).remove(key);
                }
                WriteOp::DeleteRange { from, to } => {
                    // One key at a time: a range may hold more keys than should be copied.
                    while let Some((key, _)) = self.range(from, to).0.next() {
                        let key = key.clone();
                        Arc::make_mut(&mut self.0).remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        Ok(Box::new(self.clone()))
    }
}

impl ByteSnapshot for SortedMap {
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        ByteStore::scan(self, from, to)
    }
}

struct Entries<'s>(Range<'s, Vec<u8>, Vec<u8>>);

impl ByteCursor for Entries<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        Ok(self.0.next().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}

/// Makes backends for the suite; each value has a storage of its own.
struct OwnBackend(Arc<MemoryStorage>);

impl Factory for OwnBackend {
    type Backend<K: StateKey> = ByteBackend<K>;

    fn new() -> Self {
        Self(Arc::new(MemoryStorage::new()))
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<ByteOptions> {
        let storage = setup.storage.clone().unwrap_or_else(|| self.0.clone());
        let mut target = CheckpointTarget::files(storage, self.job());
        if let Some(bytes) = setup.inline_max {
            target = target.with_inline_max(bytes)?;
        }
        Ok(ByteOptions::new(target, |_operator, _subtask| Ok(Box::new(SortedMap::default()))))
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(self.0.clone())
    }

    fn job(&self) -> JobFolder {
        JobFolder::new("job").expect("a plain name")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { storage: true, inline_max: true, ..Capabilities::default() }
    }
}

conformance_tests::suite!(own_backend, OwnBackend);

#[allow(clippy::print_stdout, reason = "an example")]
fn main() -> Result<()> {
    let options = OwnBackend::new().options::<String>(&Setup::default())?;
    let mut backend = ByteBackend::open(&options, Subtask::single("words", KeySpace::new(128)?)?, &[])?;
    let count = backend.register(ReducingDescriptor::new("count", |sum: &u64, new| sum + new))?;
    for word in "to be or not to be".split(' ').map(str::to_owned) {
        let key = backend.subtask().key(&word)?;
        backend.reducing(count, key, &())?.add(1)?;
    }
    let words = backend.keys(count, &())?.collect::<Result<Vec<_>>>()?;
    for word in words {
        let key = backend.subtask().key(&word)?;
        println!("{word} {:?}", backend.reducing(count, key, &())?.get()?);
    }
    Ok(())
}
