use std::sync::Arc;

use compact_bytes::CompactBytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::WriteBatch;
use super::{Budget, Write};
use crate::{Codec, Error, Result, StateValue};

/// Reads that miss are kept as long as of this many,
const SAMPLE: u32 = 4096;

/// one in so many was a hit.
const HIT_SHARE: u32 = 5;

/// Bytes of a key before its own: number of the state and key group.
const HEAD: usize = 4;

/// An epoch that no entry is dirty in.
const CLEAN: u64 = 0;

/// Entries of one state by their keys, in slots that keep their numbers.
pub(in super::super) struct Table<V> {
    state: u16,
    seed: u64,
    codec: Arc<dyn Codec<V>>,
    budget: Arc<Budget>,
    index: HashTable<u32>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    /// Where the search for entries that were not used lately goes on.
    hand: usize,
    /// What changes now is dirty in this epoch; each freeze begins another.
    epoch: u64,
    /// Slots that became dirty in this epoch. Those that are not any more, and those that are twice, do no harm.
    dirty: Vec<u32>,
    /// The epoch that is frozen and not written yet, or `CLEAN`.
    frozen: u64,
    /// Frozen entries that were changed since, as they were.
    preserved: WriteBatch,
    preserve_failed: Option<Error>,
    bytes: usize,
    lookups: u32,
    hits: u32,
    keeps_reads: bool,
}

struct Slot<V> {
    hash: u64,
    key: CompactBytes,
    group: u16,
    /// Whether it was used since the hand was here.
    used: bool,
    /// Whether it is on its way to the store as part of what is frozen.
    encoded: bool,
    /// The epoch in which it became dirty.
    dirty: u64,
    bytes: usize,
    /// `None` if the state has nothing there.
    value: Option<V>,
}

impl<V: StateValue> Table<V> {
    pub fn new(state: u16, seed: u64, codec: Arc<dyn Codec<V>>, budget: Arc<Budget>) -> Self {
        Self {
            state,
            seed,
            codec,
            budget,
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            epoch: CLEAN + 1,
            dirty: Vec::new(),
            frozen: CLEAN,
            preserved: WriteBatch::default(),
            preserve_failed: None,
            bytes: 0,
            lookups: 0,
            hits: 0,
            keeps_reads: true,
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The slot of a key, if there is one. Slots keep their numbers until something is removed.
    #[inline]
    pub fn find(&mut self, key: &[u8]) -> Option<u32> {
        let hash = self.hash(key);
        let own = key.get(HEAD..).unwrap_or_default();
        let slots = &mut self.slots;
        let found = self.index.find(hash, |&at| is_at(slots, at, hash, own)).copied();
        self.lookups += 1;
        if let Some(slot) = found.and_then(|at| slots.get_mut(at as usize)) {
            self.hits += 1;
            slot.used = true;
        }
        if self.lookups >= SAMPLE {
            self.keeps_reads = self.hits >= self.lookups / HIT_SHARE;
            (self.lookups, self.hits) = (0, 0);
        }
        found
    }

    /// The value in a slot.
    #[inline]
    pub fn value(&self, at: u32) -> Option<&V> {
        self.slots.get(at as usize)?.value.as_ref()
    }

    /// Keeps what was read at a key that has no slot, if that pays.
    pub fn keep(&mut self, key: &[u8], value: Option<V>) {
        if self.keeps_reads {
            self.insert(key, value);
        }
    }

    /// Puts a value, or that there is none, which the store does not know.
    pub fn put(&mut self, key: &[u8], found: Option<u32>, value: Option<V>) {
        let Some(at) = found else {
            let at = self.insert(key, value);
            self.touch(at);
            return;
        };
        self.touch(at);
        let heap = value.as_ref().map_or(0, |value| self.codec.heap_size(value));
        if let Some(slot) = self.slots.get_mut(at as usize) {
            let before = slot.bytes;
            slot.value = value;
            slot.bytes = size_of::<Slot<V>>() + slot.key.len() + heap;
            self.bytes = self.bytes + slot.bytes - before;
            self.budget.change(before, slot.bytes);
        }
    }

    /// Forgets a key, of which the store knows all.
    pub fn forget(&mut self, key: &[u8]) {
        let hash = self.hash(key);
        let own = key.get(HEAD..).unwrap_or_default();
        let found = self.index.find(hash, |&at| is_at(&self.slots, at, hash, own)).copied();
        if let Some(at) = found {
            self.remove_all(&[at]);
        }
    }

    /// All dirty slots.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dirty)
    }

    /// Slots that were not used lately, of at least so many bytes together if there are so many.
    pub fn unused(&mut self, bytes: usize) -> Vec<u32> {
        let (mut found, mut freed) = (Vec::new(), 0);
        // After one round none is used lately, and after a second one all have been taken.
        for _ in 0..self.slots.len() * 2 {
            if freed >= bytes {
                break;
            }
            let at = self.hand;
            self.hand = if at + 1 < self.slots.len() { at + 1 } else { 0 };
            let Some(slot) = self.slots.get_mut(at) else { continue };
            if slot.used {
                slot.used = false;
            } else if slot.bytes > 0 {
                freed += slot.bytes;
                found.push(at as u32);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Writes those of the slots that are dirty, in the order of their keys, and gives all back.
    ///
    /// To be called only when nothing is frozen, which `write` may see to.
    pub fn write_back(&mut self, slots: Vec<u32>, write: &mut Write<'_>) -> Result<Vec<u32>> {
        let mut batch = WriteBatch::default();
        let mut chosen = Vec::new();
        let mut result = Ok(());
        for &at in &slots {
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            if slot.dirty == CLEAN {
                continue;
            }
            result = encode(self.state, slot, &*self.codec, &mut batch);
            if result.is_err() {
                break;
            }
            // Not twice.
            slot.dirty = CLEAN;
            chosen.push(at);
        }
        if result.is_ok() && !batch.is_empty() {
            batch.sort();
            result = write(&batch);
        }
        if let Err(error) = result {
            chosen.into_iter().for_each(|at| self.touch(at));
            self.dirty.extend(slots);
            return Err(error);
        }
        Ok(slots)
    }

    /// Takes slots out that are not dirty, or of which the store knows all the same.
    pub fn remove_all(&mut self, slots: &[u32]) {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            if let Ok(found) = self.index.find_entry(slot.hash, |&other| other == at) {
                found.remove();
                self.budget.change(slot.bytes, 0);
                self.bytes -= slot.bytes;
                (slot.value, slot.bytes, slot.dirty, slot.encoded) = (None, 0, CLEAN, false);
                slot.key = CompactBytes::new(&[]);
                self.free.push(at);
            }
        }
    }

    /// Freezes what is dirty, and names its slots.
    pub fn freeze(&mut self) -> Vec<u32> {
        self.frozen = self.epoch;
        self.epoch += 1;
        self.take_dirty()
    }

    /// Adds those of the slots to the batch that are as they were frozen.
    pub fn encode_frozen(&mut self, slots: &[u32], batch: &mut WriteBatch) -> Result<()> {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            if slot.dirty == self.frozen && !slot.encoded {
                encode(self.state, slot, &*self.codec, batch)?;
                slot.encoded = true;
            }
        }
        Ok(())
    }

    /// Adds what was frozen and has been changed since to the batch, as it was.
    pub fn take_preserved(&mut self, batch: &mut WriteBatch) -> Result<()> {
        batch.append(&mut self.preserved);
        self.preserve_failed.take().map_or(Ok(()), Err)
    }

    /// What was frozen is in the store now, or, if not, is as dirty as before.
    pub fn end_frozen(&mut self, slots: &[u32], written: bool) {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at as usize) else { continue };
            if slot.dirty == self.frozen {
                slot.dirty = CLEAN;
                if !written {
                    self.touch(at);
                }
            }
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.encoded = false;
            }
        }
        if !written {
            self.preserved.clear();
        }
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key.get(HEAD..).unwrap_or_default(), self.seed)
    }

    /// Adds an entry that has no slot.
    fn insert(&mut self, key: &[u8], value: Option<V>) -> u32 {
        let hash = self.hash(key);
        let group = key.get(HEAD - 2..).and_then(|group| group.first_chunk());
        let own = CompactBytes::new(key.get(HEAD..).unwrap_or_default());
        let heap = value.as_ref().map_or(0, |value| self.codec.heap_size(value));
        let bytes = size_of::<Slot<V>>() + own.len() + heap;
        let slot = Slot {
            hash,
            key: own,
            group: group.map_or(0, |group| u16::from_be_bytes(*group)),
            used: false,
            encoded: false,
            dirty: CLEAN,
            bytes,
            value,
        };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.slots.get_mut(at as usize) {
                    *place = slot;
                }
                at
            }
            None => {
                self.slots.push(slot);
                // A slot takes more than 64 bytes: there is not the memory for as many as a number can tell.
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        let rehash = |&at: &u32| slots.get(at as usize).map_or(0, |slot| slot.hash);
        match self.index.entry(hash, |&other| other == at, rehash) {
            Entry::Vacant(entry) => _ = entry.insert(at),
            Entry::Occupied(_) => {}
        }
        self.bytes += bytes;
        self.budget.change(0, bytes);
        at
    }

    /// Makes an entry dirty that is about to be changed, or was just made.
    fn touch(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        if slot.dirty == self.epoch {
            return;
        }
        if slot.dirty != CLEAN
            && !slot.encoded
            && let Err(error) = encode(self.state, slot, &*self.codec, &mut self.preserved)
        {
            self.preserve_failed = Some(error);
        }
        slot.dirty = self.epoch;
        self.dirty.push(at);
        if self.dirty.len() > self.slots.len() * 2 {
            let epoch = self.epoch;
            self.dirty.clear();
            self.dirty
                .extend((0..).zip(&self.slots).filter(|(_, slot)| slot.dirty == epoch).map(|(at, _)| at));
        }
    }
}

impl<V> Drop for Table<V> {
    fn drop(&mut self) {
        self.budget.change(self.bytes, 0);
    }
}

#[inline]
fn is_at<V>(slots: &[Slot<V>], at: u32, hash: u64, own: &[u8]) -> bool {
    slots.get(at as usize).is_some_and(|slot| slot.hash == hash && *slot.key == *own)
}

/// Adds what a slot says to the batch.
fn encode<V: StateValue>(
    state: u16,
    slot: &Slot<V>,
    codec: &dyn Codec<V>,
    batch: &mut WriteBatch,
) -> Result<()> {
    let ([s0, s1], [g0, g1]) = (state.to_be_bytes(), slot.group.to_be_bytes());
    let head = [s0, s1, g0, g1];
    match &slot.value {
        Some(value) => batch.put_encoded(&head, &slot.key, |out| codec.encode(value, out)).map(drop),
        None => {
            batch.delete_parts(&head, &slot.key);
            Ok(())
        }
    }
}
