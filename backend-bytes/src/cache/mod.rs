//! Decoded values in front of a store. What is used often is neither read from the store nor written to it at
//! each access.
//!
//! A cache belongs to one state. It has an [`Object`] for some of the keys and namespaces: a value, or what
//! is known of a list or a map. A changed object is *dirty* until it is written back: when it makes room for
//! others, when the store is scanned, and when a snapshot is taken. A snapshot only lists the dirty objects,
//! which takes no time; its task encodes and writes them. An object that is changed before that is encoded
//! first, as it was.

mod budget;
mod changes;
mod dirty;
mod entry;
mod eviction;
mod flush;
mod list;
mod map;
mod object;
mod slots;
mod table;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use super::WriteBatch;
use backend_api::{Codec, Result};
use table::Table;

pub(crate) use budget::Budget;
pub(crate) use changes::Changes;
pub(crate) use entry::Known;
pub(crate) use eviction::Eviction;
pub use flush::{CacheFlush, CacheFlushWriter};
pub(crate) use list::CachedList;
pub(crate) use map::CachedMap;
pub(crate) use object::{Collection, Object};

/// Values, elements and entries of more bytes are not kept: encoding them at each change would cost more than
/// it saves.
pub(crate) const VALUE_BYTES_MAX: usize = 4 << 10;

/// Lists and maps of more bytes of memory are not kept as a whole.
const COLLECTION_BYTES_MAX: usize = 16 << 10;

/// Writes a sorted batch to the store.
pub(crate) type Write<'w> = dyn FnMut(&WriteBatch) -> Result<()> + 'w;

/// What a cache knows of its state.
pub(crate) struct CacheConfig {
    /// Number of the state.
    pub number: u16,
    /// Name of the state, for errors.
    pub name: String,
    /// Seed of the hashes of keys.
    pub seed: u64,
    pub budget: Arc<Budget>,
}

/// The cache of one state. Clones are the same cache: one belongs to the backend, others to tasks of
/// snapshots.
pub(crate) struct Cache<O: Object>(Arc<Shared<O>>);

struct Shared<O: Object> {
    table: Mutex<Table<O>>,
    /// True while the backend waits for the lock. A task that frees it and asks again at once would get it
    /// first each time.
    is_awaited: AtomicBool,
}

impl<O: Object> Clone for Cache<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A cache of any type of objects.
pub(crate) trait AnyCache: Send {
    fn as_any(&self) -> &dyn Any;

    /// Bytes of memory.
    fn bytes(&self) -> usize;

    /// True if something is known of a key.
    fn has(&self, key: &[u8]) -> bool;

    /// Writes all dirty objects. What cannot be written stays dirty.
    fn flush(&self, write: &mut Write<'_>) -> Result<()>;

    /// Takes out objects that were not used lately, until `bytes` are free or all are out. Dirty ones are
    /// written first.
    fn evict(&self, bytes: usize, write: &mut Write<'_>) -> Result<()>;

    /// Takes out clean objects that were not used lately, among the next `searched` ones. Gives `false` if
    /// there is none.
    fn evict_clean(&self, bytes: usize, searched: usize) -> bool;

    /// Freezes the dirty objects. `None` if there are none. What was frozen before must be written by then.
    fn freeze(&self) -> Option<Box<dyn FrozenCache>>;
}

/// Dirty objects that are to be written before the store is frozen. What is not written stays dirty.
pub(crate) trait FrozenCache: Send {
    /// Hands them over.
    fn write(&mut self, to: &mut dyn CacheFlushWriter) -> Result<()>;

    /// All that was handed over is stored.
    fn end(&mut self);
}

impl<O: Object> Cache<O> {
    pub fn new(config: CacheConfig, codec: Arc<dyn Codec<O::Value>>) -> Self {
        let table = Mutex::new(Table::new(config, codec));
        Self(Arc::new(Shared { table, is_awaited: AtomicBool::new(false) }))
    }

    /// Locks the cache for the backend. A task of a snapshot holds the lock for a slice at a time only.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Table<O>> {
        match self.0.table.try_lock() {
            Ok(table) => table,
            // A user's function that panicked under the lock was lent an object and could not change it.
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

    /// Locks the cache for a slice of a snapshot. The backend comes first.
    fn lock_slice(&self) -> MutexGuard<'_, Table<O>> {
        while self.0.is_awaited.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was read at a key that is not known, if reads are worth keeping.
    pub fn keep_read(&self, key: &[u8], object: O) {
        if self.lock().keeps_reads() {
            // If there is no room for it, it is read again.
            drop(self.insert(key, object));
        }
    }

    /// Forgets a key. The store has all of it.
    pub fn forget(&self, key: &[u8]) {
        self.lock().forget(key);
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
        self.lock().evict(bytes, write)
    }

    fn evict_clean(&self, bytes: usize, searched: usize) -> bool {
        self.lock().evict_clean(bytes, searched)
    }

    fn freeze(&self) -> Option<Box<dyn FrozenCache>> {
        flush::FrozenSlots::new(self).map(|frozen| Box::new(frozen) as Box<dyn FrozenCache>)
    }
}
