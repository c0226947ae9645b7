//! Decoded values in front of a store: what is used often is neither read from there nor written to it each time.
//!
//! A cache holds what one state has under some keys and namespaces, an [`Object`] for each: a value, or what is known of
//! a list or a map. Changed ones are *dirty* until they are written back: when they make room for others, when
//! somebody scans the store, and when the store is frozen for a snapshot. For a snapshot the dirty ones are only named, which
//! takes no time; whoever makes the snapshot writes them. One that is changed before that is encoded first as it was.

mod index;
mod list;
mod map;
mod object;
mod table;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::WriteBatch;
use crate::{Codec, Result};
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

/// Frozen entries that are encoded at once, while the owner of the cache may have to wait.
const SLICE: usize = 512;

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

    fn change(&self, before: usize, after: usize) {
        if before < after {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// The cache of one state. Clones are the same cache: one belongs to the backend, others to snapshots under way.
pub(super) struct Cache<O: Object>(Arc<Mutex<Table<O>>>);

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

    /// Freezes the dirty entries as they are; `None` if there are none. What was frozen before must be written.
    fn freeze(&self) -> Option<Box<dyn FrozenCache>>;
}

/// What is to be written to the store before that is frozen. What is not written stays dirty.
pub(super) trait FrozenCache: Send {
    /// Writes it.
    fn write(&mut self, write: &mut Write<'_>) -> Result<()>;
}

impl<O: Object> Cache<O> {
    /// A cache of the state with that number.
    pub fn new(state: u16, seed: u64, codec: Arc<dyn Codec<O::Value>>, budget: Arc<Budget>) -> Self {
        Self(Arc::new(Mutex::new(Table::new(state, seed, codec, budget))))
    }

    /// The entries, for a moment: the lock is the owner's but for the slices of a snapshot.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Table<O>> {
        // A user's function that panics under the lock was lent a value and could not change it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut table = self.lock();
        let slots = table.take_dirty();
        table.write_back(slots, write).map(drop)
    }

    fn evict(&self, bytes: usize, write: &mut Write<'_>) -> Result<()> {
        let mut table = self.lock();
        let slots = table.unused(bytes);
        let slots = table.write_back(slots, write)?;
        table.remove_all(&slots);
        Ok(())
    }

    fn freeze(&self) -> Option<Box<dyn FrozenCache>> {
        let slots = self.lock().freeze();
        let frozen = Frozen { cache: self.clone(), slots, written: false };
        (!frozen.slots.is_empty()).then(|| Box::new(frozen) as Box<dyn FrozenCache>)
    }
}

struct Frozen<O: Object> {
    cache: Cache<O>,
    slots: Vec<u32>,
    written: bool,
}

impl<O: Object> FrozenCache for Frozen<O> {
    fn write(&mut self, write: &mut Write<'_>) -> Result<()> {
        let mut changes = Changes::default();
        for slots in self.slots.chunks(SLICE) {
            self.cache.lock().encode_frozen(slots, &mut changes)?;
        }
        self.cache.lock().take_preserved(&mut changes)?;
        changes.write(write)?;
        self.written = true;
        Ok(())
    }
}

impl<O: Object> Drop for Frozen<O> {
    fn drop(&mut self) {
        for slots in self.slots.chunks(SLICE) {
            self.cache.lock().end_frozen(slots, self.written);
        }
    }
}

/// What caches have that must be in the store before it is frozen, for [`ByteStore`](super::ByteStore) and
/// [`NativeCheckpoints`](super::NativeCheckpoints).
#[derive(Default)]
pub struct LateWrites(Vec<Box<dyn FrozenCache>>);

impl LateWrites {
    /// Of these caches.
    pub(super) fn new(frozen: Vec<Box<dyn FrozenCache>>) -> Self {
        Self(frozen)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands sorted batches to `write`, which puts them into the store. Any thread may do so, and the backend goes on
    /// meanwhile; but it must not write to the store itself.
    ///
    /// # Errors
    /// Those of `write` and of codecs. What was not written is kept for the next time.
    pub fn apply(self, write: &mut dyn FnMut(&WriteBatch) -> Result<()>) -> Result<()> {
        self.0.into_iter().try_for_each(|mut frozen| frozen.write(write))
    }
}

impl std::fmt::Debug for LateWrites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LateWrites").field("caches", &self.0.len()).finish()
    }
}
