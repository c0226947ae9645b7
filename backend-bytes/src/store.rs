use super::WriteBatch;
use backend_api::Result;
use backend_api::format::StateMeta;

/// A sorted map of bytes to bytes. An engine that is one becomes a state backend through
/// [`ByteBackend`](super::ByteBackend).
///
/// Four methods are required: [`get`](Self::get), [`scan`](Self::scan), [`write`](Self::write) and
/// [`snapshot`](Self::snapshot). Four more have defaults that an engine may do better:
/// [`get_all`](Self::get_all), [`load`](Self::load), [`add_state`](Self::add_state) and
/// [`close`](Self::close).
///
/// # Contract
///
/// * Keys are sorted as `memcmp` sorts them, a prefix before what is longer.
/// * A key is never empty: it begins with the number of its state and a key group, 4 bytes together
///   ([`EntryKey`](super::EntryKey)), and may be just that. Key and value have at most
///   [`ByteOptions::ENTRY_BYTES_MAX`](super::ByteOptions::ENTRY_BYTES_MAX) bytes together. A value may be
///   empty.
/// * The bounds of a scan or of a range that is removed lie within one state. They need not be keys: they may
///   be as short as a state's number, or shorter than any key that is there. One scan from `[]` is made when
///   a backend is opened, to see that nothing is there.
/// * A [`write`](Self::write) is applied as a whole or, if it fails, not at all. Its operations apply one
///   after the other, so a removed range takes along what the same batch has put there before, and not what
///   it puts there later. Reads after it see it.
/// * It is working state: it starts empty, and need not survive the process. Durability comes from
///   checkpoints.
/// * One thread at a time uses it, not always the same one. Other threads read its snapshots meanwhile.
///
/// [`BTreeStore`](super::BTreeStore) is the reference.
///
/// # Errors
///
/// [`Io`](backend_api::ErrorKind::Io) or [`Corrupt`](backend_api::ErrorKind::Corrupt), as they fit, with the
/// cause as source. The backend adds the state and the key group.
pub trait ByteStore: Send + 'static {
    /// Calls `read` once, with the value of `key` or with `None`.
    ///
    /// # Errors
    /// If the store cannot be read. `read` was not called then.
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// Calls `read` once for each of the keys, which ascend, with its index and its value or `None`.
    ///
    /// # Errors
    /// If the store cannot be read. `read` may have been called for some of them then.
    fn get_all(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        keys.iter().enumerate().try_for_each(|(index, key)| self.get(key, &mut |value| read(index, value)))
    }

    /// The entries with keys from `from` (included) to `to` (excluded), ascending; none if `from` is not
    /// below `to`. A cursor streams: there may be more entries than fit in memory, and the reader may stop at
    /// any of them.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>>;

    /// Applies all operations of `batch` in their order, or none of them.
    ///
    /// # Errors
    /// If it cannot be written. Everything is as before then.
    fn write(&mut self, batch: &WriteBatch) -> Result<()>;

    /// Announces a state before its first key is put. Its number is the first two bytes of all its keys. The
    /// same number may be announced again with another meta if a registration fails after that.
    ///
    /// # Errors
    /// If the store cannot take it.
    fn add_state(&mut self, number: u16, meta: &StateMeta) -> Result<()> {
        let _ = (number, meta);
        Ok(())
    }

    /// Applies a batch of a restore. It only puts, ascending by key, where nothing is. It may be large.
    ///
    /// # Errors
    /// As [`write`](Self::write), but a part of it may be there then.
    fn load(&mut self, batch: &WriteBatch) -> Result<()> {
        self.write(batch)
    }

    /// A view of the store as it is now. It should not take time in proportion to what is stored. Any number
    /// may be alive.
    ///
    /// # Errors
    /// If there can be none.
    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>>;

    /// Ends the store and removes what it has on disk. Called once, as the last method. Snapshots may be
    /// alive: they fail or go on, and leave nothing when they are dropped.
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
    /// If the store cannot be read. There is no further call then.
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>>;
}
