use std::sync::MutexGuard;

use super::table::Table;
use super::{Cache, Object};
use backend_api::{Codec, Result};

/// What a cache has at a key, and its lock. The store must not be read or written while this is alive: it may
/// wait for a flush of the cache.
pub(crate) enum Entry<'c, O: Object> {
    /// The cache has an object.
    Known(Known<'c, O>),
    /// It has none. Only the store knows what is there.
    Unknown(Unknown<'c, O>),
}

/// An object of a cache.
pub(crate) struct Known<'c, O: Object> {
    table: MutexGuard<'c, Table<O>>,
    slot: u32,
}

/// The place of an object that a cache does not have.
pub(crate) struct Unknown<'c, O: Object> {
    table: MutexGuard<'c, Table<O>>,
    hash: u32,
}

impl<O: Object> Cache<O> {
    /// Searches for a key, once, and locks the cache.
    #[inline]
    pub fn entry(&self, key: &[u8]) -> Entry<'_, O> {
        let mut table = self.lock();
        match table.find(key) {
            Ok(slot) => Entry::Known(Known { table, slot }),
            Err(hash) => Entry::Unknown(Unknown { table, hash }),
        }
    }

    /// Adds an object at a key that is not known. The store has all of it.
    ///
    /// # Errors
    /// As [`Unknown::insert`].
    pub fn insert(&self, key: &[u8], object: O) -> Result<Known<'_, O>> {
        let table = self.lock();
        let hash = table.hash_of(key);
        Unknown { table, hash }.insert(key, object)
    }
}

impl<'c, O: Object> Entry<'c, O> {
    /// The object, if there is one. Otherwise the cache is unlocked.
    #[inline]
    pub fn known(self) -> Option<Known<'c, O>> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unknown(_) => None,
        }
    }

    /// The object, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&O> {
        match self {
            Self::Known(known) => known.get(),
            Self::Unknown(_) => None,
        }
    }

    /// The object, or else one that knows nothing. `key` is that of the entry.
    ///
    /// # Errors
    /// As [`Unknown::insert`].
    #[inline]
    pub fn or_default(self, key: &[u8]) -> Result<Known<'c, O>> {
        match self {
            Self::Known(known) => Ok(known),
            Self::Unknown(unknown) => unknown.insert(key, O::default()),
        }
    }

    /// True if what is read here should be kept.
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

    /// The object.
    #[inline]
    pub fn get(&self) -> Option<&O> {
        self.table.object(self.slot)
    }

    /// True if it has something that the store lacks.
    pub fn is_dirty(&self) -> bool {
        self.table.is_dirty(self.slot)
    }

    /// What it has was not enough for this lookup.
    pub fn missed(&mut self) {
        self.table.missed();
    }

    /// Changes it to something that the store lacks.
    #[inline]
    pub fn change<R: Default>(&mut self, change: impl FnOnce(&mut O, &dyn Codec<O::Value>) -> R) -> R {
        self.table.change(self.slot, change)
    }

    /// Adds something that the store has.
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
