use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::dirty::{CLEAN, Dirty, Preserved};
use super::eviction::{Admission, Clock};
use super::slots::{Slot, Slots};
use super::{Budget, CacheConfig, Changes, Object, Write};
use crate::EntryKey;
use backend_api::{Codec, Result};

/// Approximate bytes of a slot in addition to its object, allocator overhead included.
const SLOT_BYTES: usize = 24;

/// Objects of one state by key.
pub(crate) struct Table<O: Object> {
    config: CacheConfig,
    codec: Arc<dyn Codec<O::Value>>,
    slots: Slots<O>,
    clock: Clock,
    admission: Admission,
    dirty: Dirty,
    preserved: Preserved,
    /// Bytes of memory of all slots.
    bytes: usize,
}

impl<O: Object> Table<O> {
    pub fn new(config: CacheConfig, codec: Arc<dyn Codec<O::Value>>) -> Self {
        Self {
            config,
            codec,
            slots: Slots::new(),
            clock: Clock::default(),
            admission: Admission::new(),
            dirty: Dirty::new(),
            preserved: Preserved::default(),
            bytes: 0,
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The slot of a key, or else the hash of the key. Marks the slot as used. A slot keeps its number until
    /// the next insertion or removal.
    #[inline]
    pub fn find(&mut self, key: &[u8]) -> Result<u32, u32> {
        let own = EntryKey::without_head(key);
        let hash = self.hash(own);
        let found = self.slots.find(hash, |slot| *slot.key == *own);
        self.admission.count(found.is_some());
        if let Some(slot) = found.and_then(|at| self.slots.get_mut(at)) {
            slot.used = true;
        }
        found.ok_or(hash)
    }

    /// The slot of a key. Does not mark it as used.
    pub fn locate(&self, key: &[u8]) -> Option<u32> {
        let own = EntryKey::without_head(key);
        self.slots.find(self.hash(own), |slot| *slot.key == *own)
    }

    /// The hash of a key.
    pub fn hash_of(&self, key: &[u8]) -> u32 {
        self.hash(EntryKey::without_head(key))
    }

    /// The hash of a key without its head, which follows from the rest.
    #[inline]
    fn hash(&self, own: &[u8]) -> u32 {
        (xxh3_64_with_seed(own, self.config.seed) >> 32) as u32
    }

    /// Counts the last lookup as a miss.
    pub fn missed(&mut self) {
        self.admission.missed();
    }

    /// True if values that are read should be kept.
    pub fn keeps_reads(&self) -> bool {
        self.admission.keeps_reads()
    }

    /// The object in a slot.
    #[inline]
    pub fn object(&self, at: u32) -> Option<&O> {
        self.slots.get(at).map(|slot| &slot.object)
    }

    /// True if a slot has changes that the store lacks.
    pub fn is_dirty(&self, at: u32) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.dirty != CLEAN)
    }

    /// Adds the store's content to an object. Returns the result of `fill`.
    #[inline]
    pub fn fill<R: Default>(&mut self, at: u32, fill: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R) -> R {
        let Some(slot) = self.slots.get_mut(at) else { return R::default() };
        let result = fill(&mut slot.object, &*self.codec);
        recount(slot, &*self.codec, &mut self.bytes, &self.config.budget);
        result
    }

    /// Applies a change that the store lacks. Returns the result of `change`.
    #[inline]
    pub fn change<R: Default>(
        &mut self,
        at: u32,
        change: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R,
    ) -> R {
        if self.slots.get(at).is_some_and(|slot| slot.dirty != self.dirty.epoch()) {
            self.mark_dirty(at);
        }
        self.fill(at, change)
    }

    /// Adds a clean object for a key without a slot, and returns its slot. `hash` comes from
    /// [`find`](Self::find).
    ///
    /// # Errors
    /// [`Size`](backend_api::ErrorKind::Size) if too many keys have one hash.
    pub fn insert(&mut self, hash: u32, key: &[u8], object: O) -> Result<u32> {
        let (group, own) = EntryKey::split(key).map_or((0, key), |key| (key.group, key.own));
        let at = self.slots.insert(Slot::new(own, hash, group, object))?;
        for moved in self.slots.take_moved() {
            if let Some(slot) = self.slots.get(moved) {
                self.dirty.add_moved(moved, slot.dirty);
            }
        }
        if let Some(slot) = self.slots.get_mut(at) {
            recount(slot, &*self.codec, &mut self.bytes, &self.config.budget);
        }
        Ok(at)
    }

    /// Prepares an object that is not dirty in this epoch for a change.
    #[cold]
    fn mark_dirty(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.dirty != CLEAN {
            preserve(&self.config, slot, &*self.codec, &mut self.preserved);
            slot.object.preserve();
        }
        // It is not part of the frozen ones any more.
        slot.encoded = false;
        slot.dirty = self.dirty.epoch();
        self.dirty.add(at, self.slots.end());
    }

    /// Marks a slot as clean, because the store has all of it.
    fn mark_stored(&mut self, at: u32) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.object.mark_stored();
            recount(slot, &*self.codec, &mut self.bytes, &self.config.budget);
        }
    }

    /// Removes slots that are clean or whose content the store has anyway.
    pub fn remove_all(&mut self, slots: &[u32]) {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.bytes > 0) else { continue };
            if self.dirty.is_frozen(slot.dirty) {
                preserve(&self.config, slot, &*self.codec, &mut self.preserved);
            }
            let bytes = slot.bytes as usize;
            self.config.budget.change(bytes, 0);
            self.bytes -= bytes;
            drop(self.slots.remove(at));
        }
    }

    /// Drops a key, all of whose content is in the store.
    pub fn forget(&mut self, key: &[u8]) {
        if let Some(at) = self.locate(key) {
            self.remove_all(&[at]);
        }
    }

    /// Adds the changes at a key that the store lacks. The key stays dirty.
    pub fn encode(&self, key: &[u8], changes: &mut Changes) -> Result<()> {
        match self.locate(key).and_then(|at| self.slots.get(at)) {
            Some(slot) if slot.dirty != CLEAN => encode(&self.config, slot, &*self.codec, changes),
            _ => Ok(()),
        }
    }

    /// Writes the dirty ones of some distinct slots, sorted by key. What has expired is removed from the store instead. If
    /// that fails or a codec panics, they stay dirty.
    ///
    /// Must not be called while anything is frozen.
    pub fn write_back(&mut self, slots: &[u32], write: &mut Write<'_>) -> Result<()> {
        let mut changes = Changes::default();
        let is_dirty = |slot: &&mut Slot<O>| slot.dirty != CLEAN;
        for &at in slots {
            if let Some(slot) = self.slots.get_mut(at).filter(is_dirty) {
                if has_expired(&self.config, slot, &*self.codec) {
                    slot.object.clear();
                }
                encode(&self.config, slot, &*self.codec, &mut changes)?;
                // The store may have it even if `write` fails.
                slot.object.preserve();
            }
        }
        changes.write(write).map_err(|error| error.in_state(&self.config.name))?;
        for &at in slots {
            if let Some(slot) = self.slots.get_mut(at).filter(is_dirty) {
                slot.dirty = CLEAN;
                self.mark_stored(at);
            }
        }
        Ok(())
    }

    /// Writes all that is dirty, as [`write_back`](Self::write_back) does.
    pub fn flush(&mut self, write: &mut Write<'_>) -> Result<()> {
        self.write_back(&self.dirty.slots(), write)?;
        self.dirty.clear();
        Ok(())
    }

    /// Evicts slots that were not used lately, until `bytes` are free or the table is empty. Writes dirty
    /// ones first.
    pub fn evict(&mut self, bytes: usize, write: &mut Write<'_>) -> Result<()> {
        let (config, codec) = (&self.config, &*self.codec);
        let slots = self.clock.pick_any(&mut self.slots, bytes, |slot| has_expired(config, slot, codec));
        self.write_back(&slots, write)?;
        self.remove_all(&slots);
        Ok(())
    }

    /// Evicts clean slots that were not used lately, among the next `searched` ones. Returns false if there
    /// is none.
    pub fn evict_clean(&mut self, bytes: usize, searched: usize) -> bool {
        let (config, codec) = (&self.config, &*self.codec);
        let expired = |slot: &Slot<O>| has_expired(config, slot, codec);
        let slots = self.clock.pick(&mut self.slots, bytes, searched, expired, |slot| slot.dirty == CLEAN);
        self.remove_all(&slots);
        !slots.is_empty()
    }

    /// Freezes the dirty slots, and returns them. Some get [other numbers](Self::take_moved) later.
    pub fn freeze(&mut self) -> Vec<u32> {
        self.dirty.freeze()
    }

    /// Adds the slots that are unchanged since they were frozen.
    pub fn encode_frozen(&mut self, slots: &[u32], changes: &mut Changes) -> Result<()> {
        for &at in slots {
            let Some(slot) = self.slots.get_mut(at) else { continue };
            if self.dirty.is_frozen(slot.dirty) && !slot.encoded {
                encode(&self.config, slot, &*self.codec, changes)?;
                slot.encoded = true;
            }
        }
        Ok(())
    }

    /// Frozen slots whose numbers changed since the last call, even if they were processed before.
    pub fn take_moved(&mut self) -> Vec<u32> {
        self.dirty.take_moved()
    }

    /// Takes the frozen form of the entries that changed since.
    pub fn take_preserved(&mut self) -> Result<Changes> {
        self.preserved.take()
    }

    /// Drops the frozen form of the entries that changed since.
    pub fn forget_preserved(&mut self) {
        self.preserved = Preserved::default();
    }

    /// True if the preserved entries have reached their memory limit.
    pub fn is_much_preserved(&self) -> bool {
        self.preserved.size() >= self.config.budget.encoded_max()
    }

    /// True if `changes` have reached their memory limit.
    pub fn is_much(&self, changes: &Changes) -> bool {
        changes.size() >= self.config.budget.encoded_max()
    }

    /// Marks a frozen slot as stored, or, if not `written`, as dirty again. If the slot holds another object
    /// by now that is not encoded, nothing changes.
    pub fn end_frozen(&mut self, at: u32, written: bool) {
        let Some(slot) = self.slots.get_mut(at).filter(|slot| self.dirty.is_frozen(slot.dirty)) else {
            return;
        };
        if written && slot.encoded {
            (slot.encoded, slot.dirty) = (false, CLEAN);
            self.mark_stored(at);
        } else if !written {
            // The store may have it anyway: some batches are stored before another one fails.
            (slot.encoded, slot.dirty) = (false, CLEAN);
            slot.object.preserve();
            self.mark_dirty(at);
        }
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }
}

impl<O: Object> Drop for Table<O> {
    fn drop(&mut self) {
        self.config.budget.change(self.bytes, 0);
    }
}

/// Updates the memory size of a slot.
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

/// True if all of a slot's object has expired.
fn has_expired<O: Object>(config: &CacheConfig, slot: &Slot<O>, codec: &dyn Codec<O::Value>) -> bool {
    config.expiry.as_ref().is_some_and(|expiry| slot.object.has_expired(codec, expiry))
}

/// Adds the changes of a frozen slot that the store lacks, unless they are encoded already.
fn preserve<O: Object>(
    config: &CacheConfig,
    slot: &Slot<O>,
    codec: &dyn Codec<O::Value>,
    preserved: &mut Preserved,
) {
    if !slot.encoded {
        preserved.add(|changes| encode(config, slot, codec, changes));
    }
}

/// Adds the changes of a slot that the store lacks.
fn encode<O: Object>(
    config: &CacheConfig,
    slot: &Slot<O>,
    codec: &dyn Codec<O::Value>,
    changes: &mut Changes,
) -> Result<()> {
    let key = EntryKey { state: config.number, group: slot.group, own: &slot.key };
    let encoded = slot.object.encode(key, codec, changes);
    encoded.map_err(|error| error.in_state(&config.name).in_group(slot.group))
}
