use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::EntryKey;
use super::object::{Changes, Object};
use super::slots::{Slot, Slots};
use super::{Budget, Write};
use backend_api::{Codec, Error, Result};

/// Reads that miss are kept as long as of this many,
const SAMPLE: u32 = 4096;

/// one in so many was a hit.
const HIT_SHARE: u32 = 5;

/// An epoch that no entry is dirty in.
const CLEAN: u32 = 0;

/// What a slot takes beside itself, and what the allocator adds to what its object owns, about.
const SLOT_BYTES: usize = 24;

/// Objects of one state by their keys.
pub(in super::super) struct Table<O: Object> {
    state: u16,
    seed: u64,
    codec: Arc<dyn Codec<O::Value>>,
    budget: Arc<Budget>,
    slots: Slots<O>,
    /// Where the search for entries that were not used lately goes on.
    hand: usize,
    /// What changes now is dirty in this epoch; each freeze begins another.
    epoch: u32,
    /// Slots that became dirty in this epoch. Those that are not any more, and those that are twice, do no harm.
    dirty: Vec<u32>,
    /// The epoch that is frozen and not written yet, or `CLEAN`.
    frozen: u32,
    /// Slots of frozen entries that had other numbers when they were frozen.
    moved: Vec<u32>,
    /// Frozen entries that were changed since, as they were.
    preserved: Changes,
    preserve_failed: Option<Error>,
    bytes: usize,
    lookups: u32,
    hits: u32,
    keeps_reads: bool,
}

impl<O: Object> Table<O> {
    pub fn new(state: u16, seed: u64, codec: Arc<dyn Codec<O::Value>>, budget: Arc<Budget>) -> Self {
        Self {
            state,
            seed,
            codec,
            budget,
            slots: Slots::new(),
            hand: 0,
            epoch: CLEAN + 1,
            dirty: Vec::new(),
            frozen: CLEAN,
            moved: Vec::new(),
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

    /// The slot of a key, if there is one. Slots keep their numbers until something is added or removed.
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
    #[inline]
    pub fn learn<R>(&mut self, at: u32, learn: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R) -> Option<R> {
        let slot = self.slots.get_mut(at)?;
        let result = learn(&mut slot.object, &*self.codec);
        recount(slot, &*self.codec, &mut self.bytes, &self.budget);
        Some(result)
    }

    /// Changes the object at a key, of which the slot is `found`, to something that the store does not have; if there is no
    /// slot, one that knows nothing. Gives what `change` gives.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    #[inline]
    pub fn change<R: Default>(
        &mut self,
        key: &[u8],
        found: Option<u32>,
        change: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R,
    ) -> Result<R> {
        let at = found.map_or_else(|| self.keep(key, O::default()), Ok)?;
        if self.slots.get(at).is_some_and(|slot| slot.dirty != self.epoch) {
            self.touch(at);
        }
        Ok(self.learn(at, change).unwrap_or_default())
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
        self.search(bytes, self.slots.end() * 2, |_| true)
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
            self.hand = if self.hand + 1 < self.slots.end() { self.hand + 1 } else { 0 };
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
            let bytes = slot.bytes as usize;
            self.budget.change(bytes, 0);
            self.bytes -= bytes;
            drop(self.slots.remove(at));
        }
    }

    /// Freezes what is dirty, and names its slots. Some get [other numbers](Self::take_moved) later.
    pub fn freeze(&mut self) -> Vec<u32> {
        self.frozen = self.epoch;
        self.moved.clear();
        self.epoch += 1;
        std::mem::take(&mut self.dirty)
    }

    /// Adds those of the entries to the changes that are as they were frozen.
    pub fn encode_frozen(&mut self, slots: &[u32], changes: &mut Changes) -> Result<()> {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            if slot.dirty == self.frozen && !slot.encoded {
                encode(self.state, slot, &*self.codec, changes)?;
                slot.encoded = true;
            }
        }
        Ok(())
    }

    /// The slots of frozen entries that have got other numbers since the last time, whatever was done with them before.
    pub fn take_moved(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.moved)
    }

    /// Takes what was frozen and has been changed since, as it was.
    pub fn take_preserved(&mut self) -> Result<Changes> {
        let preserved = std::mem::take(&mut self.preserved);
        self.preserve_failed.take().map_or(Ok(preserved), Err)
    }

    /// Whether that takes as much memory as it may.
    pub fn is_much_preserved(&self) -> bool {
        self.is_much(&self.preserved)
    }

    /// Whether changes that are to be written take as much memory as they may.
    pub fn is_much(&self, changes: &Changes) -> bool {
        changes.size() >= self.budget.encoded_max()
    }

    /// Nobody needs what was frozen any more.
    pub fn forget_preserved(&mut self) {
        self.preserved = Changes::default();
        self.preserve_failed = None;
    }

    /// A slot that was frozen is in the store now, or, if not, is as dirty as before. Another entry may be there by now: one that is
    /// not encoded yet is not in the store.
    pub fn end_frozen(&mut self, at: u32, written: bool) {
        let frozen = self.frozen;
        let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.dirty == frozen) else { return };
        if written && slot.encoded {
            (slot.encoded, slot.dirty) = (false, CLEAN);
            self.settle(at);
        } else if !written {
            // The store may have it all the same: some batches are there before another fails.
            (slot.encoded, slot.dirty) = (false, CLEAN);
            slot.object.preserve();
            self.touch(at);
        }
    }

    /// The slot of a key, without noting that it is used.
    pub fn locate(&self, key: &[u8]) -> Option<u32> {
        let own = EntryKey::without_head(key);
        let hash = self.hash(own);
        self.slots.find(hash, |slot| *slot.key == *own)
    }

    /// Of the key without its head, which follows from the rest.
    #[inline]
    fn hash(&self, own: &[u8]) -> u32 {
        (xxh3_64_with_seed(own, self.seed) >> 32) as u32
    }

    /// Adds an object at a key that has no slot, and gives its slot; the store has all of it, unless it is
    /// [changed](Self::change).
    ///
    /// # Errors
    /// [`Size`](backend_api::ErrorKind::Size) if too many keys have one hash.
    pub fn keep(&mut self, key: &[u8], object: O) -> Result<u32> {
        let (group, own) = EntryKey::split(key).map_or((0, key), |key| (key.group, key.own));
        let at = self.slots.insert(Slot::new(own, self.hash(own), group, object))?;
        for moved in self.slots.take_moved() {
            let Some(slot) = self.slots.get(moved).filter(|slot| slot.dirty != CLEAN) else { continue };
            match slot.dirty == self.frozen {
                true => self.moved.push(moved),
                false => self.dirty.push(moved),
            }
        }
        if let Some(slot) = self.slots.get_mut(at) {
            recount(slot, &*self.codec, &mut self.bytes, &self.budget);
        }
        Ok(at)
    }

    /// Makes an object dirty that is about to be changed, or was just made, and is not dirty in this epoch.
    #[cold]
    fn touch(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.dirty != CLEAN {
            let preserved = preserve(self.state, slot, &*self.codec, &mut self.preserved);
            self.preserve_failed = preserved.err().or(self.preserve_failed.take());
            slot.object.preserve();
        }
        // It is not part of what is frozen any more.
        slot.encoded = false;
        slot.dirty = self.epoch;
        self.dirty.push(at);
        if self.dirty.len() > self.slots.end() * 2 {
            // Each of them once.
            self.dirty.sort_unstable();
            self.dirty.dedup();
        }
    }

    /// The store has all of a slot.
    fn settle(&mut self, at: u32) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.object.settle();
            recount(slot, &*self.codec, &mut self.bytes, &self.budget);
        }
    }
}

impl<O: Object> Drop for Table<O> {
    fn drop(&mut self) {
        self.budget.change(self.bytes, 0);
    }
}

/// Counts the bytes of memory that a slot takes, in it and in those of all.
#[inline]
fn recount<O: Object>(slot: &mut Slot<O>, codec: &dyn Codec<O::Value>, all: &mut usize, budget: &Budget) {
    let bytes = SLOT_BYTES + size_of::<Slot<O>>() + slot.key.len() + slot.object.heap_size(codec);
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    if bytes != slot.bytes {
        let before = std::mem::replace(&mut slot.bytes, bytes) as usize;
        *all = *all + bytes as usize - before;
        budget.change(before, bytes as usize);
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
    slot.object.encode(EntryKey { state, group: slot.group, own: &slot.key }, codec, changes)
}
