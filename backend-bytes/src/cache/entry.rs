use std::sync::MutexGuard;

use super::table::Table;
use super::{Cache, Object};
use backend_api::{Codec, Result};

/// A key in a cache, with the lock of the cache. The store must not be used while this exists, because it may
/// wait for a flush of the cache.
pub(crate) enum Entry<'c, O: Object> {
    /// The cache has an object.
    Known(Known<'c, O>),
    /// The cache has no object. Only the store knows the content.
    Unknown(Unknown<'c, O>),
}

/// An object of a cache.
pub(crate) struct Known<'c, O: Object> {
    table: MutexGuard<'c, Table<O>>,
    slot: u32,
}

/// A key without an object in the cache.
pub(crate) struct Unknown<'c, O: Object> {
    table: MutexGuard<'c, Table<O>>,
    hash: u32,
}

impl<O: Object> Cache<O> {
    /// Looks up a key once, and locks the cache.
    #[inline]
    pub fn entry(&self, key: &[u8]) -> Entry<'_, O> {
        let mut table = self.lock();
        match table.find(key) {
            Ok(slot) => Entry::Known(Known { table, slot }),
            Err(hash) => Entry::Unknown(Unknown { table, hash }),
        }
    }

    /// Adds an object for an unknown key. The store has all of it.
    ///
    /// # Errors
    /// Same as [`Unknown::insert`].
    pub fn insert(&self, key: &[u8], object: O) -> Result<Known<'_, O>> {
        let table = self.lock();
        let hash = table.hash_of(key);
        Unknown { table, hash }.insert(key, object)
    }
}

impl<'c, O: Object> Entry<'c, O> {
    /// The object, or `None` with the cache unlocked.
    #[inline]
    pub fn known(self) -> Option<Known<'c, O>> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unknown(_) => None,
        }
    }

    #[inline]
    pub fn get(&self) -> Option<&O> {
        match self {
            Self::Known(known) => known.get(),
            Self::Unknown(_) => None,
        }
    }

    /// The object, or a new one without content. `key` is that of the entry.
    ///
    /// # Errors
    /// Same as [`Unknown::insert`].
    #[inline]
    pub fn or_default(self, key: &[u8]) -> Result<Known<'c, O>> {
        match self {
            Self::Known(known) => Ok(known),
            Self::Unknown(unknown) => unknown.insert(key, O::default()),
        }
    }

    /// True if values that are read here should be kept.
    pub fn keeps_reads(&self) -> bool {
        match self {
            Self::Known(Known { table, .. }) | Self::Unknown(Unknown { table, .. }) => table.keeps_reads(),
        }
    }
}

impl<O: Object> Known<'_, O> {
    /// The number of the slot, for [`Table::object`]. It changes only when something is added or removed.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    #[inline]
    pub fn get(&self) -> Option<&O> {
        self.table.object(self.slot)
    }

    /// True if it has something that the store lacks.
    pub fn is_dirty(&self) -> bool {
        self.table.is_dirty(self.slot)
    }

    /// Counts the lookup as a miss, because the object was incomplete.
    pub fn missed(&mut self) {
        self.table.missed();
    }

    /// Applies a change that the store lacks.
    #[inline]
    pub fn change<R: Default>(&mut self, change: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R) -> R {
        self.table.change(self.slot, change)
    }

    /// Adds content that the store has.
    #[inline]
    pub fn fill<R: Default>(&mut self, fill: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R) -> R {
        self.table.fill(self.slot, fill)
    }
}

impl<'c, O: Object> Unknown<'c, O> {
    /// Adds an object. The store has all of it. `key` is that of the entry.
    ///
    /// # Errors
    /// [`Size`](backend_api::ErrorKind::Size) if too many keys have one hash.
    pub fn insert(mut self, key: &[u8], object: O) -> Result<Known<'c, O>> {
        let slot = self.table.insert(self.hash, key, object)?;
        Ok(Known { table: self.table, slot })
    }
}
