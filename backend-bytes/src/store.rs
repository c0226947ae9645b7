use super::WriteBatch;
use backend_api::Result;
use backend_api::format::StateMeta;

/// A sorted map of bytes to bytes: what an engine has to be to become a state backend, by
/// [`ByteBackend`](super::ByteBackend).
///
/// # Contract
///
/// * Keys are sorted as `memcmp` does, a prefix before what is longer. Keys and values may be empty.
/// * A [`write`](Self::write) is applied as a whole or, when it fails, not at all; reads after it see it.
/// * A key begins with the number of its state, 2 bytes big endian, and the bounds of a scan or of a range that is
///   removed lie within one state, but for [`scan`](Self::scan) from `[]`.
/// * It is working state: it need not survive the process, and starts empty. Durability comes from checkpoints.
/// * One thread at a time uses it, not always the same one. Its snapshots are read by other threads meanwhile.
///
/// [`BTreeStore`](super::BTreeStore) is the reference.
///
/// # Errors
///
/// [`Io`](backend_api::ErrorKind::Io) or [`Corrupt`](backend_api::ErrorKind::Corrupt), as they fit, with the cause as source; the
/// backend adds the state and the key group.
pub trait ByteStore: Send + 'static {
    /// Calls `read` once, with the value of `key` or with `None`.
    ///
    /// # Errors
    /// If the store cannot be read; `read` was not called then.
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// Calls `read` once for each of the keys, which ascend, with its index and its value or `None`.
    ///
    /// # Errors
    /// If the store cannot be read; `read` may have been called for some of them then.
    fn get_all(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        keys.iter().enumerate().try_for_each(|(index, key)| self.get(key, &mut |value| read(index, value)))
    }

    /// The entries with keys from `from` (included) to `to` (excluded), ascending; none if `from` is not below `to`.
    /// They are to be streamed: there may be more than fit in memory, and the reader may stop at any of them.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>>;

    /// Applies all operations of `batch` in their order, or none of them.
    ///
    /// # Errors
    /// If it cannot be written; everything is as before then.
    fn write(&mut self, batch: &WriteBatch) -> Result<()>;

    /// Tells of a state before its first key is put: its number is the first two bytes of all its keys. It may be told
    /// again with another meta if the registration failed after that.
    ///
    /// # Errors
    /// If the store cannot take it.
    fn add_state(&mut self, number: u16, meta: &StateMeta) -> Result<()> {
        let _ = (number, meta);
        Ok(())
    }

    /// Applies a batch of a restore: it only puts, ascending by key, where nothing is. It may be large.
    ///
    /// # Errors
    /// As [`write`](Self::write), but a part of it may be there then.
    fn load(&mut self, batch: &WriteBatch) -> Result<()> {
        self.write(batch)
    }

    /// A view of the store as it is now. It should take no time in proportion to what is stored, and any number may
    /// be alive.
    ///
    /// # Errors
    /// If there can be none.
    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>>;

    /// Ends the store and removes what it has on disk. Called once, as the last method, while snapshots may still be
    /// alive: those must fail or go on, and leave nothing when they are dropped.
    ///
    /// # Errors
    /// If something is left behind.
    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
impl ByteStore for Box<dyn ByteStore> {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        (**self).get(key, read)
    }

    fn get_all(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        (**self).get_all(keys, read)
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        (**self).scan(from, to)
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        (**self).write(batch)
    }

    fn add_state(&mut self, number: u16, meta: &StateMeta) -> Result<()> {
        (**self).add_state(number, meta)
    }

    fn load(&mut self, batch: &WriteBatch) -> Result<()> {
        (**self).load(batch)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        (**self).snapshot()
    }

    fn close(&mut self) -> Result<()> {
        (**self).close()
    }
}

/// A [`ByteStore`] as it was at one moment.
pub trait ByteSnapshot: Send {
    /// Called once before the first scan, on the thread that scans.
    ///
    /// # Errors
    /// If it cannot be read.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// As [`ByteStore::scan`].
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>>;
}

/// Steps through entries.
pub trait ByteCursor {
    /// Key and value of the next entry, lent until the next call; `None` past the last one.
    ///
    /// # Errors
    /// If the store cannot be read; there is no further call then.
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>>;
}
