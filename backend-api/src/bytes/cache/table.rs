use std::sync::Arc;

use compact_bytes::CompactBytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::index::Index;
use super::object::{Changes, Key, Object};
use super::{Budget, Write};
use crate::{Codec, Error, Result};

/// Reads that miss are kept as long as of this many,
const SAMPLE: u32 = 4096;

/// one in so many was a hit.
const HIT_SHARE: u32 = 5;

/// Bytes of a key before its own: number of the state and key group.
const HEAD: usize = 4;

/// An epoch that no entry is dirty in.
const CLEAN: u32 = 0;

/// What a slot takes in the index, and what the allocator adds to that of its object, about.
const SLOT_BYTES: usize = 32;

/// Slots that lie side by side: growing moves none.
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 10;

/// Objects of one state by their keys, in slots that keep their numbers.
pub(in super::super) struct Table<O: Object> {
    state: u16,
    seed: u64,
    codec: Arc<dyn Codec<O::Value>>,
    budget: Arc<Budget>,
    index: Index,
    slots: Slots<O>,
    free: Vec<u32>,
    /// Where the search for entries that were not used lately goes on.
    hand: usize,
    /// What changes now is dirty in this epoch; each freeze begins another.
    epoch: u32,
    /// Slots that became dirty in this epoch. Those that are not any more, and those that are twice, do no harm.
    dirty: Vec<u32>,
    /// The epoch that is frozen and not written yet, or `CLEAN`.
    frozen: u32,
    /// Frozen entries that were changed since, as they were.
    preserved: Changes,
    preserve_failed: Option<Error>,
    bytes: usize,
    lookups: u32,
    hits: u32,
    keeps_reads: bool,
}

struct Slots<O> {
    chunks: Vec<Vec<Slot<O>>>,
    len: usize,
}

struct Slot<O> {
    key: CompactBytes,
    hash: u32,
    /// Bytes of memory that it takes; 0 if it is free.
    bytes: u32,
    /// The epoch in which it became dirty.
    dirty: u32,
    group: u16,
    /// Whether it was used since the hand was here.
    used: bool,
    /// Whether it is on its way to the store as part of what is frozen.
    encoded: bool,
    object: O,
}

/// Where an entry's key is in the order of keys, roughly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Place {
    group: u16,
    /// The first bytes of the key.
    start: [u8; 8],
    pub slot: u32,
}

impl Place {
    /// Whether only the whole keys tell which of the two comes first.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.group, self.start) == (other.group, other.start)
    }
}

impl<O> Slots<O> {
    #[inline]
    fn get(&self, at: u32) -> Option<&Slot<O>> {
        self.chunks.get((at >> CHUNK_BITS) as usize)?.get(at as usize % CHUNK)
    }

    #[inline]
    fn get_mut(&mut self, at: u32) -> Option<&mut Slot<O>> {
        self.chunks.get_mut((at >> CHUNK_BITS) as usize)?.get_mut(at as usize % CHUNK)
    }

    /// Adds a slot, and gives its number.
    fn push(&mut self, slot: Slot<O>) -> u32 {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(slot),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(slot);
                self.chunks.push(chunk);
            }
        }
        self.len += 1;
        // A slot takes more than 40 bytes: there is not the memory for as many as a number can tell.
        (self.len - 1) as u32
    }
}

impl<O: Object> Table<O> {
    pub fn new(state: u16, seed: u64, codec: Arc<dyn Codec<O::Value>>, budget: Arc<Budget>) -> Self {
        Self {
            state,
            seed,
            codec,
            budget,
            index: Index::default(),
            slots: Slots { chunks: Vec::new(), len: 0 },
            free: Vec::new(),
            hand: 0,
            epoch: CLEAN + 1,
            dirty: Vec::new(),
            frozen: CLEAN,
            preserved: Changes::default(),
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
        let found = self.locate(key);
        self.lookups += 1;
        if let Some(slot) = found.and_then(|at| self.slots.get_mut(at)) {
            self.hits += 1;
            slot.used = true;
        }
        if self.lookups >= SAMPLE {
            self.keeps_reads = self.hits >= self.lookups / HIT_SHARE;
            (self.lookups, self.hits) = (0, 0);
        }
        found
    }

    /// What was found did not do.
    pub fn missed(&mut self) {
        self.hits = self.hits.saturating_sub(1);
    }

    /// The object in a slot.
    #[inline]
    pub fn object(&self, at: u32) -> Option<&O> {
        self.slots.get(at).map(|slot| &slot.object)
    }

    /// Whether a slot has something that the store does not have.
    pub fn is_dirty(&self, at: u32) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.dirty != CLEAN)
    }

    /// Whether what is read is worth to be kept.
    pub fn keeps_reads(&self) -> bool {
        self.keeps_reads
    }

    /// Adds to an object what the store has, and gives what `learn` gives.
    pub fn learn<R>(&mut self, at: u32, learn: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R) -> Option<R> {
        let slot = self.slots.get_mut(at)?;
        let result = learn(&mut slot.object, &*self.codec);
        self.recount(at);
        Some(result)
    }

    /// Changes the object at a key, of which the slot is `found`, to something that the store does not have; if there is no
    /// slot, one that knows nothing. Gives what `change` gives.
    #[inline]
    pub fn change<R: Default>(
        &mut self,
        key: &[u8],
        found: Option<u32>,
        change: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R,
    ) -> R {
        let at = found.unwrap_or_else(|| self.keep(key, O::default()));
        self.touch(at);
        self.learn(at, change).unwrap_or_default()
    }

    /// Forgets a key, of which the store knows all.
    pub fn forget(&mut self, key: &[u8]) {
        if let Some(at) = self.locate(key) {
            self.remove_all(&[at]);
        }
    }

    /// Adds what the store does not have of a key; it is dirty all the same.
    pub fn encode(&mut self, key: &[u8], changes: &mut Changes) -> Result<()> {
        match self.locate(key).and_then(|at| self.slots.get(at)) {
            Some(slot) if slot.dirty != CLEAN => encode(self.state, slot, &*self.codec, changes),
            _ => Ok(()),
        }
    }

    /// Slots that were not used lately, of at least so many bytes together if there are so many.
    pub fn unused(&mut self, bytes: usize) -> Vec<u32> {
        // After one round none is used lately, and after a second one all have been taken.
        self.search(bytes, self.slots.len * 2, |_| true)
    }

    /// Those of the next `searched` slots that were not used lately and are not dirty, of as many bytes together.
    pub fn unused_clean(&mut self, bytes: usize, searched: usize) -> Vec<u32> {
        self.search(bytes, searched, |slot| slot.dirty == CLEAN)
    }

    fn search(&mut self, bytes: usize, searched: usize, fits: impl Fn(&Slot<O>) -> bool) -> Vec<u32> {
        let (mut found, mut freed) = (Vec::new(), 0);
        for _ in 0..searched {
            if freed >= bytes {
                break;
            }
            let at = self.hand as u32;
            self.hand = if self.hand + 1 < self.slots.len { self.hand + 1 } else { 0 };
            let Some(slot) = self.slots.get_mut(at) else { continue };
            if slot.used {
                slot.used = false;
            } else if slot.bytes > 0 && fits(slot) {
                freed += slot.bytes as usize;
                found.push(at);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Writes those of the slots that are dirty, in the order of their keys. No slot may be named twice. If that fails, or a
    /// codec panics, they are as dirty as before.
    ///
    /// To be called only when nothing is frozen, which `write` may see to.
    pub fn write_back(&mut self, slots: &[u32], write: &mut Write<'_>) -> Result<()> {
        let mut changes = Changes::default();
        let is_dirty = |slot: &&mut Slot<O>| slot.dirty != CLEAN;
        for &at in slots {
            if let Some(slot) = self.slots.get_mut(at).filter(is_dirty) {
                encode(self.state, slot, &*self.codec, &mut changes)?;
                // The store may have it even if `write` fails.
                slot.object.preserve();
            }
        }
        changes.write(write)?;
        for &at in slots {
            if let Some(slot) = self.slots.get_mut(at).filter(is_dirty) {
                slot.dirty = CLEAN;
                self.settle(at);
            }
        }
        Ok(())
    }

    /// Writes all that is dirty, as [`write_back`](Self::write_back) does.
    pub fn flush(&mut self, write: &mut Write<'_>) -> Result<()> {
        let mut slots = self.dirty.clone();
        slots.sort_unstable();
        slots.dedup();
        self.write_back(&slots, write)?;
        self.dirty.clear();
        Ok(())
    }

    /// Takes slots out that are not dirty, or of which the store knows all the same.
    pub fn remove_all(&mut self, slots: &[u32]) {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.bytes > 0) else { continue };
            if slot.dirty != CLEAN && slot.dirty == self.frozen {
                let preserved = preserve(self.state, slot, &*self.codec, &mut self.preserved);
                self.preserve_failed = preserved.err().or(self.preserve_failed.take());
            }
            self.index.remove(slot.hash, at);
            self.budget.change(slot.bytes as usize, 0);
            self.bytes -= slot.bytes as usize;
            (slot.bytes, slot.dirty, slot.encoded) = (0, CLEAN, false);
            slot.key = CompactBytes::new(&[]);
            self.free.push(at);
            slot.object = O::default();
        }
    }

    /// Freezes what is dirty, and names its slots.
    pub fn freeze(&mut self) -> Vec<u32> {
        self.frozen = self.epoch;
        self.epoch += 1;
        std::mem::take(&mut self.dirty)
    }

    /// Adds the places of those of the slots that are as they were frozen.
    pub fn add_places(&self, slots: &[u32], places: &mut Vec<Place>) {
        for &at in slots {
            let Some(slot) = self.slots.get(at).filter(|slot| slot.dirty == self.frozen) else { continue };
            let mut start = [0; 8];
            start.iter_mut().zip(slot.key.iter()).for_each(|(to, from)| *to = *from);
            places.push(Place { group: slot.group, start, slot: at });
        }
    }

    /// Adds those of the entries to the changes that are as they were frozen.
    pub fn encode_frozen(&mut self, places: &[Place], changes: &mut Changes) -> Result<()> {
        for &Place { slot: at, .. } in places {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            if slot.dirty == self.frozen && !slot.encoded {
                encode(self.state, slot, &*self.codec, changes)?;
                slot.encoded = true;
            }
        }
        Ok(())
    }

    /// Takes what was frozen and has been changed since, as it was.
    pub fn take_preserved(&mut self) -> Result<Changes> {
        let preserved = std::mem::take(&mut self.preserved);
        self.preserve_failed.take().map_or(Ok(preserved), Err)
    }

    /// Bytes of memory of that.
    pub fn preserved_bytes(&self) -> usize {
        self.preserved.batch.size()
    }

    /// Nobody needs what was frozen any more.
    pub fn forget_preserved(&mut self) {
        self.preserved = Changes::default();
        self.preserve_failed = None;
    }

    /// A slot that was frozen is in the store now, or, if not, is as dirty as before.
    pub fn end_frozen(&mut self, at: u32, written: bool) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.encoded = false;
        if slot.dirty == self.frozen {
            slot.dirty = CLEAN;
            if written {
                self.settle(at);
            } else {
                // The store may have it all the same: some batches are there before another fails.
                slot.object.preserve();
                self.touch(at);
            }
        }
    }

    /// The slot of a key, without noting that it is used.
    pub fn locate(&self, key: &[u8]) -> Option<u32> {
        let own = key.get(HEAD..).unwrap_or_default();
        let hash = self.hash(own);
        self.index.find(hash, |at| self.slots.get(at).is_some_and(|slot| *slot.key == *own))
    }

    /// Of the key without its head, which follows from the rest.
    #[inline]
    fn hash(&self, own: &[u8]) -> u32 {
        (xxh3_64_with_seed(own, self.seed) >> 32) as u32
    }

    /// Adds an object at a key that has no slot, and gives its slot; the store has all of it, unless it is
    /// [changed](Self::change).
    pub fn keep(&mut self, key: &[u8], object: O) -> u32 {
        let group = key.get(HEAD - 2..).and_then(|group| group.first_chunk());
        let own = key.get(HEAD..).unwrap_or_default();
        let hash = self.hash(own);
        let slot = Slot {
            hash,
            key: CompactBytes::new(own),
            group: group.map_or(0, |group| u16::from_be_bytes(*group)),
            used: false,
            encoded: false,
            dirty: CLEAN,
            bytes: 0,
            object,
        };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.slots.get_mut(at) {
                    *place = slot;
                }
                at
            }
            None => self.slots.push(slot),
        };
        self.index.insert(hash, at);
        self.recount(at);
        at
    }

    /// Makes an object dirty that is about to be changed, or was just made.
    fn touch(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.dirty == self.epoch {
            return;
        }
        if slot.dirty != CLEAN {
            let preserved = preserve(self.state, slot, &*self.codec, &mut self.preserved);
            self.preserve_failed = preserved.err().or(self.preserve_failed.take());
            slot.object.preserve();
        }
        slot.dirty = self.epoch;
        self.dirty.push(at);
        if self.dirty.len() > self.slots.len * 2 {
            let epoch = self.epoch;
            let all = self.slots.chunks.iter().flatten();
            self.dirty.clear();
            self.dirty.extend((0..).zip(all).filter(|(_, slot)| slot.dirty == epoch).map(|(at, _)| at));
        }
    }

    /// The store has all of a slot.
    fn settle(&mut self, at: u32) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.object.settle();
            self.recount(at);
        }
    }

    /// Counts the bytes of a slot.
    #[inline]
    fn recount(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let before = slot.bytes as usize;
        let bytes = SLOT_BYTES + size_of::<Slot<O>>() + slot.key.len() + slot.object.heap_size(&*self.codec);
        if bytes != before {
            slot.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.bytes = self.bytes + slot.bytes as usize - before;
            self.budget.change(before, slot.bytes as usize);
        }
    }
}

impl<O: Object> Drop for Table<O> {
    fn drop(&mut self) {
        self.budget.change(self.bytes, 0);
    }
}

/// Adds what a frozen slot says that the store does not have, unless that is on its way already.
fn preserve<O: Object>(
    state: u16,
    slot: &Slot<O>,
    codec: &dyn Codec<O::Value>,
    preserved: &mut Changes,
) -> Result<()> {
    if slot.encoded { Ok(()) } else { encode(state, slot, codec, preserved) }
}

/// Adds what a slot says that the store does not have.
fn encode<O: Object>(
    state: u16,
    slot: &Slot<O>,
    codec: &dyn Codec<O::Value>,
    changes: &mut Changes,
) -> Result<()> {
    let ([s0, s1], [g0, g1]) = (state.to_be_bytes(), slot.group.to_be_bytes());
    slot.object.encode(Key { head: [s0, s1, g0, g1], own: &slot.key }, codec, changes)
}
