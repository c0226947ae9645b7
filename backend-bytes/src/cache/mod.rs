//! Decoded values in front of a store. Accesses to hot values neither read the store nor write to it.
//!
//! Each state has its own cache. It has an [`Object`] for some keys and namespaces: a value, or the known
//! part of a list or map. A changed object is *dirty* until it is written: at eviction, before a scan of the
//! store, and for a snapshot. A snapshot only lists the dirty objects, which is fast. Its task encodes and
//! writes them. If a listed object changes before that, its old form is encoded first.

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
use backend_api::{Codec, Expiry, Result};
use table::Table;

pub(crate) use budget::Budget;
pub(crate) use changes::Changes;
pub(crate) use entry::Known;
pub(crate) use eviction::Eviction;
pub use flush::{CacheFlush, CacheFlushWriter};
pub(crate) use list::CachedList;
pub(crate) use map::CachedMap;
pub(crate) use object::{Collection, Object};

/// Longer values, elements and entries are not cached: encoding them at each change would cost more than it
/// saves.
pub(crate) const VALUE_BYTES_MAX: usize = 4 << 10;

/// Lists and maps with more bytes in memory are not cached whole.
const COLLECTION_BYTES_MAX: usize = 16 << 10;

/// Writes a sorted batch to the store.
pub(crate) type Write<'w> = dyn FnMut(&WriteBatch) -> Result<()> + 'w;

/// A cache's description of its state.
pub(crate) struct CacheConfig {
    /// Number of the state.
    pub number: u16,
    /// Name of the state, for errors.
    pub name: String,
    /// Seed of the hashes of keys.
    pub seed: u64,
    pub budget: Arc<Budget>,
    /// Which contents have expired, if the state has a time to live.
    pub expiry: Option<Expiry>,
}

/// The cache of one state. Clones share it: one belongs to the backend, others to tasks of snapshots.
pub(crate) struct Cache<O: Object>(Arc<Shared<O>>);

struct Shared<O: Object> {
    table: Mutex<Table<O>>,
    /// True while the backend waits for the lock. Otherwise a task that releases the lock and takes it again
    /// at once would always win.
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

    /// True if the cache has an object for a key.
    fn has(&self, key: &[u8]) -> bool;

    /// Writes all dirty objects. Those that cannot be written stay dirty.
    fn flush(&self, write: &mut Write<'_>) -> Result<()>;

    /// Evicts objects that were not used lately, until `bytes` are free or the cache is empty. Writes dirty
    /// ones first.
    fn evict(&self, bytes: usize, write: &mut Write<'_>) -> Result<()>;

    /// Evicts clean objects that were not used lately, among the next `searched` ones. Returns false if there
    /// is none.
    fn evict_clean(&self, bytes: usize, searched: usize) -> bool;

    /// Freezes the dirty objects. `None` if there are none. Everything frozen before must have been written.
    fn freeze(&self) -> Option<Box<dyn FrozenCache>>;
}

/// Dirty objects to write before the store is frozen. Those that are not written stay dirty.
pub(crate) trait FrozenCache: Send {
    /// Passes them to `to`.
    fn write(&mut self, to: &mut dyn CacheFlushWriter) -> Result<()>;

    /// Marks everything passed so far as stored.
    fn end(&mut self);
}

impl<O: Object> Cache<O> {
    pub fn new(config: CacheConfig, codec: Arc<dyn Codec<O::Value>>) -> Self {
        let table = Mutex::new(Table::new(config, codec));
        Self(Arc::new(Shared { table, is_awaited: AtomicBool::new(false) }))
    }

    /// Locks the cache for the backend. Tasks of snapshots hold the lock for one slice at a time.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Table<O>> {
        match self.0.table.try_lock() {
            Ok(table) => table,
            // A user function that panicked under the lock had a shared reference, and changed nothing.
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

    /// Locks the cache for a slice of a snapshot. The backend has priority.
    fn lock_slice(&self) -> MutexGuard<'_, Table<O>> {
        while self.0.is_awaited.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a value read at an unknown key, if reads are worth keeping.
    pub fn keep_read(&self, key: &[u8], object: O) {
        if self.lock().keeps_reads() {
            // If there is no room, the value is read again next time.
            drop(self.insert(key, object));
        }
    }

    /// Drops a key, all of whose content is in the store.
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
