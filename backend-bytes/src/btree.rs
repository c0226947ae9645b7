use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use super::{ByteCursor, ByteSnapshot, ByteStore, WriteBatch, WriteOp};
use backend_api::Result;

/// The reference implementation of [`ByteStore`]: a `BTreeMap` in memory.
///
/// A snapshot shares the map. The first write while one exists copies the whole map, so this suits tests and
/// small state.
#[derive(Clone, Debug, Default)]
pub struct BTreeStore {
    entries: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl ByteStore for BTreeStore {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        read(self.entries.get(key).map(Vec::as_slice));
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        Ok(Box::new(Entries(range(&self.entries, from, to))))
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        let entries = Arc::make_mut(&mut self.entries);
        for op in batch.iter() {
            match op {
                WriteOp::Put { key, value } => {
                    entries.insert(key.to_vec(), value.to_vec());
                }
                WriteOp::Delete { key } => {
                    entries.remove(key);
                }
                WriteOp::DeleteRange { from, to } => {
                    // One key at a time, because a range may hold many keys.
                    while let Some((key, _)) = range(entries, from, to).next() {
                        let key = key.clone();
                        entries.remove(&key);
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

impl ByteSnapshot for BTreeStore {
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        ByteStore::scan(self, from, to)
    }
}

fn range<'s>(entries: &'s BTreeMap<Vec<u8>, Vec<u8>>, from: &[u8], to: &[u8]) -> Range<'s, Vec<u8>, Vec<u8>> {
    // A range that ends before it starts would panic.
    entries.range::<[u8], _>((Bound::Included(from.min(to)), Bound::Excluded(to)))
}

struct Entries<'s>(Range<'s, Vec<u8>, Vec<u8>>);

impl ByteCursor for Entries<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        Ok(self.0.next().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}
