use std::ops::{Bound, Range, RangeBounds};

use super::object::{Base, grow};
use super::{COLLECTION_BYTES_MAX, Changes, Collection, Object};
use crate::EntryKey;
use backend_api::{Codec, Expiry, Result, StateKey, StateValue};

/// Maps of more entries are not cached whole.
const ENTRIES_MAX: usize = 256;

/// The known part of a map.
pub(crate) struct CachedMap<MK, MV> {
    /// In the order of their keys.
    entries: Vec<(MK, Entry<MV>)>,
    /// Bytes that keys and values own on the heap.
    heap: usize,
    base: Base,
    /// True if the map is known to be too long to be cached whole.
    is_long: bool,
    /// True if absent entries are listed although the map is whole, which makes them redundant.
    is_untidy: bool,
}

enum Entry<MV> {
    /// The same as in the store.
    Stored(MV),
    /// Put, and not in the store yet.
    Put(MV),
    /// Removed, and perhaps still in the store.
    Removed,
    /// Not in the store.
    Absent,
}

impl<MV> Entry<MV> {
    fn value(&self) -> Option<&MV> {
        match self {
            Self::Stored(value) | Self::Put(value) => Some(value),
            Self::Removed | Self::Absent => None,
        }
    }

    fn is_dirty(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Removed)
    }
}

impl<MK: StateKey, MV: StateValue> CachedMap<MK, MV> {
    /// True if the map is known to be too long to be cached whole.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// True if a map of this size is too large to cache whole. `heap` is what its keys and values own on the
    /// heap.
    pub fn exceeds(entries: usize, heap: usize) -> bool {
        entries > ENTRIES_MAX || entries * size_of::<(MK, Entry<MV>)>() + heap > COLLECTION_BYTES_MAX
    }

    /// The cached key that equals `key`.
    pub fn known_key(&self, key: &MK) -> Option<&MK> {
        let at = self.position(key).ok()?;
        self.entries.get(at).map(|(key, _)| key)
    }

    /// The value at a key. `None` if it is not known, `Some(None)` if there is none.
    #[inline]
    pub fn get(&self, key: &MK) -> Option<Option<&MV>> {
        match self.position(key) {
            Ok(at) => Some(self.entries.get(at)?.1.value()),
            Err(_) => self.is_whole().then_some(None),
        }
    }

    /// True if there are no entries. `None` if that is not known.
    pub fn is_empty(&self) -> Option<bool> {
        let has_any = self.entries.iter().any(|(_, entry)| entry.value().is_some());
        (has_any || self.is_whole()).then_some(!has_any)
    }

    /// The positions of the known entries of a range.
    pub fn positions(&self, range: &impl RangeBounds<MK>) -> Range<usize> {
        let before = |bound: Bound<&MK>, none: usize, with_equal: bool| match bound {
            Bound::Unbounded => none,
            Bound::Included(key) => {
                self.entries.partition_point(|(other, _)| other < key || with_equal && other == key)
            }
            Bound::Excluded(key) => {
                self.entries.partition_point(|(other, _)| other < key || !with_equal && other == key)
            }
        };
        before(range.start_bound(), 0, false)..before(range.end_bound(), self.entries.len(), true)
    }

    /// Removes the first position with a value from `positions`, and returns its entry.
    pub fn next_in(&self, positions: &mut Range<usize>) -> Option<(&MK, &MV)> {
        positions.find_map(|at| {
            let (key, entry) = self.entries.get(at)?;
            Some((key, entry.value()?))
        })
    }

    /// Puts an entry whose key owns `key_heap` bytes.
    pub fn put(&mut self, key: MK, value: MV, key_heap: usize, codec: &dyn Codec<MV>) {
        self.tidy();
        self.heap += codec.heap_size(&value);
        match self.position(&key) {
            Ok(at) => {
                if let Some((_, entry)) = self.entries.get_mut(at) {
                    let old = entry.value().map_or(0, |value| codec.heap_size(value));
                    self.heap = self.heap.saturating_sub(old);
                    *entry = Entry::Put(value);
                }
            }
            Err(at) => self.insert(at, key, Entry::Put(value), key_heap),
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &MK, key_heap: usize, codec: &dyn Codec<MV>) {
        self.tidy();
        match self.position(key) {
            Ok(at) if self.base.is_cleared() => {
                self.heap -= self.heap / self.entries.len().max(1);
                self.entries.remove(at);
            }
            Ok(at) => {
                if let Some((_, entry)) = self.entries.get_mut(at) {
                    let old = entry.value().map_or(0, |value| codec.heap_size(value));
                    self.heap = self.heap.saturating_sub(old);
                    *entry = Entry::Removed;
                }
            }
            Err(at) if !self.is_whole() => self.insert(at, key.clone(), Entry::Removed, key_heap),
            Err(_) => {}
        }
    }

    /// Adds the store's content at an unknown key.
    pub fn fill(&mut self, key: MK, value: Option<MV>, key_heap: usize, codec: &dyn Codec<MV>) {
        let Err(at) = self.position(&key) else { return };
        if self.entries.len() >= ENTRIES_MAX || self.is_too_long() {
            let dirty = self.entries.iter().filter(|(_, entry)| entry.is_dirty()).count();
            if dirty > self.entries.len() / 2 {
                return;
            }
            self.heap = self.heap * dirty / self.entries.len();
            self.entries.retain(|(_, entry)| entry.is_dirty());
            self.entries.shrink_to_fit();
            return self.fill(key, value, key_heap, codec);
        }
        self.heap += value.as_ref().map_or(0, |value| codec.heap_size(value));
        self.insert(at, key, value.map_or(Entry::Absent, Entry::Stored), key_heap);
    }

    /// Adds the store's whole content, in order, to a map that is not whole. `heap` is what that owns on the
    /// heap.
    pub fn complete(&mut self, stored: Vec<(MK, MV)>, heap: usize, codec: &dyn Codec<MV>) {
        let known = std::mem::take(&mut self.entries);
        self.entries = stored.into_iter().map(|(key, value)| (key, Entry::Stored(value))).collect();
        self.heap += heap;
        // Entries known here are at least as new as those that were read.
        for (key, entry) in known {
            match self.position(&key) {
                Ok(at) => {
                    let (_, place) = &mut self.entries[at];
                    let old = place.value().map_or(0, |value| codec.heap_size(value));
                    self.heap = self.heap.saturating_sub(old);
                    *place = entry;
                }
                Err(at) => self.insert(at, key, entry, 0),
            }
        }
        self.base = Base::Whole;
        self.is_untidy = true;
        self.tidy();
        if self.entries.is_empty() {
            self.base = Base::Empty;
        }
    }

    /// Removes absent entries from a whole map. That moves entries, so it must not happen while a reader
    /// iterates over them.
    pub fn tidy(&mut self) {
        if std::mem::take(&mut self.is_untidy) {
            self.entries.retain(|(_, entry)| !matches!(entry, Entry::Absent));
        }
    }

    fn position(&self, key: &MK) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| other.cmp(key))
    }

    fn insert(&mut self, at: usize, key: MK, entry: Entry<MV>, key_heap: usize) {
        grow(&mut self.entries, 1);
        self.heap += key_heap;
        self.entries.insert(at, (key, entry));
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(MK, Entry<MV>)>() + self.heap
    }
}

impl<MK, MV> Default for CachedMap<MK, MV> {
    fn default() -> Self {
        Self { entries: Vec::new(), heap: 0, base: Base::Partial, is_long: false, is_untidy: false }
    }
}

impl<MK: StateKey, MV: StateValue> Object for CachedMap<MK, MV> {
    type Value = MV;

    fn encode(&self, key: EntryKey<'_>, codec: &dyn Codec<MV>, changes: &mut Changes) -> Result<()> {
        if self.base == Base::ClearPending {
            changes.remove_all(key);
        }
        let Changes { batch, scratch, .. } = changes;
        scratch.clear();
        scratch.extend_from_slice(&key.head());
        scratch.extend_from_slice(key.own);
        let prefix = scratch.len();
        for (map_key, entry) in self.entries.iter().filter(|(_, entry)| entry.is_dirty()) {
            scratch.truncate(prefix);
            map_key.encode(scratch);
            match entry.value() {
                Some(value) => _ = batch.put_encoded(scratch, &[], |out| codec.encode(value, out))?,
                None => batch.delete(scratch),
            }
        }
        Ok(())
    }

    fn has_expired(&self, codec: &dyn Codec<MV>, expiry: &Expiry) -> bool {
        let mut values = self.entries.iter().filter_map(|(_, entry)| entry.value()).peekable();
        self.is_whole() && values.peek().is_some() && values.all(|value| expiry.has_expired(value, codec))
    }

    fn clear(&mut self) {
        *self = Self { base: self.base.cleared(), ..Self::default() };
    }

    fn mark_stored(&mut self) {
        let mut is_empty = true;
        for (_, entry) in &mut self.entries {
            *entry = match std::mem::replace(entry, Entry::Absent) {
                Entry::Stored(value) | Entry::Put(value) => Entry::Stored(value),
                Entry::Removed | Entry::Absent => Entry::Absent,
            };
            is_empty &= entry.value().is_none();
            self.is_untidy |= self.base.is_whole() && entry.value().is_none();
        }
        self.base = self.base.stored(is_empty);
    }

    fn preserve(&mut self) {
        self.base = self.base.preserved();
    }

    fn heap_size(&self, _: &dyn Codec<MV>) -> usize {
        self.bytes()
    }
}

impl<MK: StateKey, MV: StateValue> Collection for CachedMap<MK, MV> {
    fn long() -> Self {
        Self { is_long: true, ..Self::default() }
    }

    fn is_whole(&self) -> bool {
        self.base.is_whole()
    }

    fn is_too_long(&self) -> bool {
        self.entries.len() > ENTRIES_MAX || self.bytes() > COLLECTION_BYTES_MAX
    }

    fn is_clear(&self) -> bool {
        self.entries.is_empty() && self.is_whole()
    }

    fn lower_bound_bytes(&self, codec: &dyn Codec<MV>) -> u64 {
        let mut bytes = Vec::new();
        let lengths = self.entries.iter().filter_map(|(key, entry)| {
            bytes.clear();
            key.encode(&mut bytes);
            codec.encode(entry.value()?, &mut bytes).ok()?;
            Some(bytes.len() as u64)
        });
        lengths.sum()
    }
}
