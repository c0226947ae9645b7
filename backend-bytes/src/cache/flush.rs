//! Flushing the dirty objects of caches to the store, for a snapshot.

use super::{Cache, Changes, FrozenCache, Object};
use crate::WriteBatch;
use backend_api::Result;

/// Frozen slots that are processed under one lock. The backend may have to wait for that.
const SLICE: usize = 512;

/// Receives the flush of caches, and writes it to a store. A closure that writes each batch is one.
pub trait CacheFlushWriter {
    /// Takes a sorted batch. Returns true if all batches so far are stored.
    ///
    /// # Errors
    /// Errors of the store.
    fn write(&mut self, batch: &WriteBatch) -> Result<bool>;

    /// Stores all batches so far.
    ///
    /// # Errors
    /// Errors of the store.
    fn flush(&mut self) -> Result<()>;
}

impl<F: FnMut(&WriteBatch) -> Result<()>> CacheFlushWriter for F {
    fn write(&mut self, batch: &WriteBatch) -> Result<bool> {
        self(batch).map(|()| true)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The dirty entries that the caches of a backend must write before its store is frozen. See
/// [`StoreSnapshots`](crate::StoreSnapshots).
#[derive(Default)]
pub struct CacheFlush(Vec<Box<dyn FrozenCache>>);

impl CacheFlush {
    pub(crate) fn new(frozen: Vec<Box<dyn FrozenCache>>) -> Self {
        Self(frozen)
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes sorted batches to `to`, as large as the budget of the caches allows, state by state in the
    /// order of their numbers.
    ///
    /// Can run on any thread. The backend continues meanwhile, but must not write to the store.
    ///
    /// # Errors
    /// Errors of `to` and of codecs. Entries that were not written stay in the caches.
    pub fn apply(mut self, to: &mut dyn CacheFlushWriter) -> Result<()> {
        self.0.iter_mut().try_for_each(|frozen| frozen.write(to))?;
        to.flush()?;
        self.0.iter_mut().for_each(|frozen| frozen.end());
        Ok(())
    }
}

impl std::fmt::Debug for CacheFlush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheFlush").field("caches", &self.0.len()).finish()
    }
}

/// The frozen slots of a cache.
pub(super) struct FrozenSlots<O: Object> {
    cache: Cache<O>,
    /// Empty once all are stored.
    slots: Vec<u32>,
    /// Number of slots encoded so far.
    encoded: usize,
    /// Number of these that are known to be stored.
    stored: usize,
}

impl<O: Object> FrozenSlots<O> {
    /// Freezes the dirty slots of a cache. `None` if there are none.
    pub fn new(cache: &Cache<O>) -> Option<Self> {
        let slots = cache.lock().freeze();
        (!slots.is_empty()).then(|| Self { cache: cache.clone(), slots, encoded: 0, stored: 0 })
    }

    fn write_all(&mut self, to: &mut dyn CacheFlushWriter) -> Result<()> {
        // In memory order, so that most are encoded before the backend changes them.
        self.slots.sort_unstable();
        let mut changes = Changes::default();
        loop {
            let slots = self.slots.get(self.encoded..).unwrap_or_default();
            let slots = slots.get(..SLICE).unwrap_or(slots);
            let mut table = self.cache.lock_slice();
            if slots.is_empty() {
                let moved = table.take_moved();
                if moved.is_empty() {
                    break;
                }
                drop(table);
                self.slots.extend(moved);
                continue;
            }
            table.encode_frozen(slots, &mut changes)?;
            let (is_much, is_much_preserved) = (table.is_much(&changes), table.is_much_preserved());
            drop(table);
            self.encoded += slots.len();
            if is_much {
                self.write_changes(std::mem::take(&mut changes), to)?;
            }
            if is_much_preserved {
                self.write_preserved(to)?;
            }
        }
        self.write_changes(changes, to)?;
        self.write_preserved(to)
    }

    fn write_changes(&mut self, changes: Changes, to: &mut dyn CacheFlushWriter) -> Result<()> {
        let mut is_stored = false;
        changes.write(&mut |batch| {
            is_stored = to.write(batch)?;
            Ok(())
        })?;
        if is_stored {
            self.mark_stored();
        }
        Ok(())
    }

    /// Writes the frozen form of entries that changed meanwhile.
    fn write_preserved(&self, to: &mut dyn CacheFlushWriter) -> Result<()> {
        let preserved = self.cache.lock_slice().take_preserved()?;
        preserved.write(&mut |batch| to.write(batch).map(drop))
    }

    /// Marks all slots encoded so far as stored.
    fn mark_stored(&mut self) {
        for slots in self.slots.get(self.stored..self.encoded).unwrap_or_default().chunks(SLICE) {
            let mut table = self.cache.lock_slice();
            slots.iter().for_each(|slot| table.end_frozen(*slot, true));
        }
        self.stored = self.encoded;
    }

    /// Ends the flush. If not `written`, slots that are not known to be stored become dirty again.
    fn finish(&mut self, written: bool) {
        let mut slots = std::mem::take(&mut self.slots).split_off(self.stored);
        loop {
            for slots in slots.chunks(SLICE) {
                let mut table = self.cache.lock_slice();
                slots.iter().for_each(|slot| table.end_frozen(*slot, written));
            }
            // Slots whose numbers changed before they were encoded.
            slots = self.cache.lock_slice().take_moved();
            if slots.is_empty() {
                break;
            }
        }
    }
}

impl<O: Object> FrozenCache for FrozenSlots<O> {
    fn write(&mut self, to: &mut dyn CacheFlushWriter) -> Result<()> {
        let written = self.write_all(to);
        written.map_err(|error| error.in_state(self.cache.lock_slice().name()))
    }

    fn end(&mut self) {
        self.finish(true);
    }
}

impl<O: Object> Drop for FrozenSlots<O> {
    fn drop(&mut self) {
        if !self.slots.is_empty() {
            self.finish(false);
            self.cache.lock_slice().forget_preserved();
        }
    }
}
