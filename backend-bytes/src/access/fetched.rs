//! Values read from the store in one call, for the accesses of a batch.

use std::cell::Cell;
use std::ops::Range;

/// Most bytes that are kept. Values beyond that are read again.
const KEPT_BYTES: usize = 1 << 20;

/// Values of the store by key. Each is returned once, because the access may change it.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// Sorted keys and what was read.
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    key: Range<usize>,
    found: Cell<Found>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Found {
    /// Not read, or taken.
    #[default]
    Unknown,
    Absent,
    /// Start and end of the value.
    Value(usize, usize),
}

impl Fetched {
    /// Adds a key to read.
    pub fn add(&mut self, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.entries.push(Entry { key: start..self.bytes.len(), found: Cell::default() });
    }

    /// Calls `read` with all keys, sorted and distinct, and a function that takes the value at an index.
    /// Returns how many values of this length can be kept, or `None` if no value was found.
    pub fn read<E>(
        &mut self,
        read: impl FnOnce(&[&[u8]], &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), E>,
    ) -> Result<Option<usize>, E> {
        let Self { entries, bytes } = self;
        entries.sort_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
        entries.dedup_by(|a, b| bytes[a.key.clone()] == bytes[b.key.clone()]);
        let keys: Vec<&[u8]> = entries.iter().map(|entry| &bytes[entry.key.clone()]).collect();
        let (mut values, mut found) = (Vec::new(), vec![Found::Unknown; keys.len()]);
        let (mut number, mut length) = (0, 0);
        let start = bytes.len();
        read(&keys, &mut |index, value| {
            let Some(found) = found.get_mut(index) else { return };
            if let Some(value) = value {
                number += 1;
                length += value.len();
            }
            *found = match value {
                None => Found::Absent,
                Some(value) if values.len() + value.len() > KEPT_BYTES => Found::Unknown,
                Some(value) => {
                    let from = start + values.len();
                    values.extend_from_slice(value);
                    Found::Value(from, start + values.len())
                }
            };
        })?;
        bytes.append(&mut values);
        entries.iter().zip(found).for_each(|(entry, found)| entry.found.set(found));
        Ok((number > 0).then(|| number * KEPT_BYTES / length.max(1)))
    }

    /// Calls `read` with the value at a key. Returns false if it was not read, or was taken before.
    #[inline]
    pub fn take(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> bool {
        let Self { entries, bytes } = self;
        let Ok(at) = entries.binary_search_by(|entry| bytes[entry.key.clone()].cmp(key)) else {
            return false;
        };
        match entries[at].found.take() {
            Found::Unknown => return false,
            Found::Absent => read(None),
            Found::Value(from, to) => read(Some(&bytes[from..to])),
        }
        true
    }

    /// True if there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes all keys. Keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }
}
