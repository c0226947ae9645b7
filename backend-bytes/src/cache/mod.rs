//! Decoded values in front of a store: what is used often is neither read from there nor written to it each time.
//!
//! A cache holds what one state has under some keys and namespaces, an [`Object`] for each: a value, or what is known of
//! a list or a map. Changed ones are *dirty* until they are written back: when they make room for others, when
//! somebody scans the store, and when the store is frozen for a snapshot. For a snapshot the dirty ones are only named, which
//! takes no time; whoever makes the snapshot writes them. One that is changed before that is encoded first as it was.

mod list;
mod map;
mod object;
mod slots;
mod table;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use super::WriteBatch;
use backend_api::{Codec, Result};
use table::Table;

pub(super) use list::CachedList;
pub(super) use map::CachedMap;
pub(super) use object::{Changes, Collection, Object};

/// Values, elements and entries of more bytes are not kept: encoding them again at each change would cost more than it saves.
pub(super) const VALUE_BYTES_MAX: usize = 4 << 10;

/// Lists and maps of more bytes of memory are not kept as a whole.
pub(super) const COLLECTION_BYTES_MAX: usize = 16 << 10;

/// Bytes that are freed at once at most: whoever makes room waits for them to be written.
const STEP_MAX: usize = 512 << 10;

/// Frozen entries that are looked at at once, while the owner of the cache may have to wait.
const SLICE: usize = 512;

/// Of the budget, one in so many bytes may be encodings of frozen entries that are to be written, and as many of such that were
/// changed meanwhile: the more of them are sorted together, the better.
const ENCODED_SHARE: usize = 4;

/// Even of a small budget it is so many bytes.
const ENCODED_MIN: usize = 256 << 10;

/// Entries that are looked at in search of some that can be taken out at once.
const SEARCHED: usize = 4096;

/// Writes a sorted batch to the store.
pub(super) type Write<'w> = dyn FnMut(&WriteBatch) -> Result<()> + 'w;

/// Bytes that all caches of a backend hold together.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    /// Whether there is to be a cache at all.
    pub fn is_some(&self) -> bool {
        self.max > 0
    }

    /// Bytes beyond what is allowed.
    #[inline]
    pub fn excess(&self) -> usize {
        self.used.load(Ordering::Relaxed).saturating_sub(self.max)
    }

    /// Bytes that should be freed at once, so that entries are written back in batches.
    pub fn step(&self) -> usize {
        (self.max / 16).min(STEP_MAX)
    }

    /// Bytes of encodings that may wait to be written.
    fn encoded_max(&self) -> usize {
        (self.max / ENCODED_SHARE).max(ENCODED_MIN)
    }

    fn change(&self, before: usize, after: usize) {
        if before < after {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// The cache of one state. Clones are the same cache: one belongs to the backend, others to snapshots under way.
pub(super) struct Cache<O: Object>(Arc<Shared<O>>);

struct Shared<O: Object> {
    table: Mutex<Table<O>>,
    /// Whether the owner waits for the lock. Who frees it and asks for it again at once would get it first, again and again.
    is_awaited: AtomicBool,
}

impl<O: Object> Clone for Cache<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A cache of any type of objects.
pub(super) trait AnyCache: Send {
    fn as_any(&self) -> &dyn Any;

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// Whether something is known of a key.
    fn has(&self, key: &[u8]) -> bool;

    /// Writes all dirty entries to the store. What cannot be written stays dirty.
    fn flush(&self, write: &mut Write<'_>) -> Result<()>;

    /// Takes entries out that were not used lately until `bytes` are free, or all are out; dirty ones are written first.
    fn evict(&self, bytes: usize, write: &mut Write<'_>) -> Result<()>;

    /// As [`evict`](Self::evict), but takes only entries that need not be written, if a short search finds some; whether it has.
    fn evict_clean(&self, bytes: usize) -> bool;

    /// Freezes the dirty entries as they are; `None` if there are none. What was frozen before must be written.
    fn freeze(&self) -> Option<Box<dyn FrozenCache>>;
}

/// What is to be written to the store before that is frozen. What is not written stays dirty.
pub(super) trait FrozenCache: Send {
    /// Hands it over.
    fn write(&mut self, to: &mut dyn CacheFlushWriter) -> Result<()>;

    /// All that was handed over is in the store.
    fn end(&mut self);
}

/// Takes what caches have and puts it into a store: a closure that does so at once, or somebody who gathers it.
pub trait CacheFlushWriter {
    /// Takes a batch. Whether all that was taken so far is in the store.
    ///
    /// # Errors
    /// Those of the store.
    fn write(&mut self, batch: &WriteBatch) -> Result<bool>;

    /// Sees to it that all that was taken is in the store.
    ///
    /// # Errors
    /// Those of the store.
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

impl<O: Object> Cache<O> {
    /// A cache of the state with that number.
    pub fn new(state: u16, seed: u64, codec: Arc<dyn Codec<O::Value>>, budget: Arc<Budget>) -> Self {
        let table = Mutex::new(Table::new(state, seed, codec, budget));
        Self(Arc::new(Shared { table, is_awaited: AtomicBool::new(false) }))
    }

    /// The entries, for a moment: the lock is the owner's but for the slices of a snapshot.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Table<O>> {
        match self.0.table.try_lock() {
            Ok(table) => table,
            // A user's function that panics under the lock was lent a value and could not change it.
            Err(TryLockError::Poisoned(table)) => table.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, Table<O>> {
        self.0.is_awaited.store(true, Ordering::Relaxed);
        let table = self.0.table.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_awaited.store(false, Ordering::Relaxed);
        table
    }

    /// The entries, for a slice of a snapshot: the owner comes first.
    fn lock_slice(&self) -> MutexGuard<'_, Table<O>> {
        while self.0.is_awaited.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Object> AnyCache for Cache<O> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    fn has(&self, key: &[u8]) -> bool {
        self.lock().locate(key).is_some()
    }

    fn flush(&self, write: &mut Write<'_>) -> Result<()> {
        self.lock().flush(write)
    }

    fn evict(&self, bytes: usize, write: &mut Write<'_>) -> Result<()> {
        let mut table = self.lock();
        let slots = table.unused(bytes);
        table.write_back(&slots, write)?;
        table.remove_all(&slots);
        Ok(())
    }

    fn evict_clean(&self, bytes: usize) -> bool {
        let mut table = self.lock();
        let slots = table.unused_clean(bytes, SEARCHED);
        table.remove_all(&slots);
        !slots.is_empty()
    }

    fn freeze(&self) -> Option<Box<dyn FrozenCache>> {
        let slots = self.lock().freeze();
        let frozen = Frozen { cache: self.clone(), slots, encoded: 0, stored: 0 };
        (!frozen.slots.is_empty()).then(|| Box::new(frozen) as Box<dyn FrozenCache>)
    }
}

struct Frozen<O: Object> {
    cache: Cache<O>,
    /// Empty once all is in the store.
    slots: Vec<u32>,
    /// So many of them are encoded,
    encoded: usize,
    /// and so many of these are known to be in the store.
    stored: usize,
}

impl<O: Object> FrozenCache for Frozen<O> {
    fn write(&mut self, to: &mut dyn CacheFlushWriter) -> Result<()> {
        // As they lie in memory, which is walked over from one end to the other then: so most are encoded before the owner comes
        // to change them.
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

    fn end(&mut self) {
        self.finish(true);
    }
}

impl<O: Object> Frozen<O> {
    fn write_changes(&mut self, changes: Changes, to: &mut dyn CacheFlushWriter) -> Result<()> {
        let mut is_stored = false;
        changes.write(&mut |batch| {
            is_stored = to.write(batch)?;
            Ok(())
        })?;
        if is_stored {
            self.settle();
        }
        Ok(())
    }

    /// Writes what was changed in the meantime, as it was.
    fn write_preserved(&self, to: &mut dyn CacheFlushWriter) -> Result<()> {
        let preserved = self.cache.lock_slice().take_preserved()?;
        preserved.write(&mut |batch| to.write(batch).map(drop))
    }

    /// All that was handed over is in the store.
    fn settle(&mut self) {
        for slots in self.slots.get(self.stored..self.encoded).unwrap_or_default().chunks(SLICE) {
            let mut table = self.cache.lock_slice();
            slots.iter().for_each(|slot| table.end_frozen(*slot, true));
        }
        self.stored = self.encoded;
    }

    /// Either all is in the store, or what is not known to be there never will be.
    fn finish(&mut self, written: bool) {
        let mut slots = std::mem::take(&mut self.slots).split_off(self.stored);
        loop {
            for slots in slots.chunks(SLICE) {
                let mut table = self.cache.lock_slice();
                slots.iter().for_each(|slot| table.end_frozen(*slot, written));
            }
            // Those that had other numbers when their turn was.
            slots = self.cache.lock_slice().take_moved();
            if slots.is_empty() {
                break;
            }
        }
    }
}

impl<O: Object> Drop for Frozen<O> {
    fn drop(&mut self) {
        if !self.slots.is_empty() {
            self.finish(false);
            self.cache.lock_slice().forget_preserved();
        }
    }
}

/// What caches have that must be in the store before it is frozen, for
/// [`StoreSnapshots`](super::StoreSnapshots).
#[derive(Default)]
pub struct CacheFlush(Vec<Box<dyn FrozenCache>>);

impl CacheFlush {
    /// Of these caches.
    pub(super) fn new(frozen: Vec<Box<dyn FrozenCache>>) -> Self {
        Self(frozen)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands over sorted batches, as large ones as the budget of the caches allows, and the states come by their numbers. Any thread may do so, and the backend goes on; but it must not write to the store itself.
    ///
    /// # Errors
    /// Those of `to` and of codecs. What was not written is kept for the next time.
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
