use super::{EntryExpiry, WriteBatch};
use backend_api::Result;
use backend_api::format::StateMeta;

/// A sorted map of bytes to bytes. [`ByteBackend`](super::ByteBackend) turns it into a state backend.
///
/// Four methods are required: [`get`](Self::get), [`scan`](Self::scan), [`write`](Self::write) and
/// [`snapshot`](Self::snapshot). Four more have defaults that an engine can improve:
/// [`get_all`](Self::get_all), [`load`](Self::load), [`add_state`](Self::add_state) and
/// [`close`](Self::close).
///
/// # Contract
///
/// * Keys are sorted like `memcmp`, with a prefix before longer keys.
/// * A key starts with the number of its state and a key group, 4 bytes together
///   ([`EntryKey`](super::EntryKey)), and may have no further bytes. Key and value have at most
///   [`ByteOptions::ENTRY_BYTES_MAX`](super::ByteOptions::ENTRY_BYTES_MAX) bytes together. A value may be
///   empty.
/// * The bounds of a scan or range deletion lie within one state. They need not be keys, and can be as short
///   as a state's number. One scan from `[]` is made when a backend is opened, to check that the store is
///   empty.
/// * A [`write`](Self::write) is applied completely or, if it fails, not at all. Its operations apply in
///   order: a range deletion removes earlier puts of the same batch, but not later ones. Later reads see it.
/// * The store is working state: it starts empty, and need not survive the process. Checkpoints provide
///   durability.
/// * One thread at a time uses it, but not always the same one. Other threads read its snapshots meanwhile.
///
/// [`BTreeStore`](super::BTreeStore) is the reference implementation.
///
/// # Errors
///
/// [`Io`](backend_api::ErrorKind::Io) or [`Corrupt`](backend_api::ErrorKind::Corrupt), with the cause as
/// source. The backend adds state and key group.
pub trait ByteStore: Send + 'static {
    /// Calls `read` once, with the value of `key` or with `None`.
    ///
    /// # Errors
    /// If the store cannot be read. `read` is not called then.
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// Calls `read` once for each of the ascending keys, with its index and its value or `None`.
    ///
    /// # Errors
    /// If the store cannot be read. `read` may have been called for some keys.
    fn get_all(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        keys.iter().enumerate().try_for_each(|(index, key)| self.get(key, &mut |value| read(index, value)))
    }

    /// The entries with keys from `from` (included) to `to` (excluded), ascending. Empty unless `from` is
    /// less than `to`. A cursor streams: there may be more entries than fit in memory, and the reader may
    /// stop at any of them.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>>;

    /// Applies all operations of `batch` in order, or none of them.
    ///
    /// # Errors
    /// If it cannot be written. Nothing is changed then.
    fn write(&mut self, batch: &WriteBatch) -> Result<()>;

    /// Announces a state before its first put. Its number is the first two bytes of all its keys. If a
    /// registration fails afterwards, the same number may be announced again with other metadata.
    ///
    /// # Errors
    /// If the store cannot add it.
    fn add_state(&mut self, number: u16, meta: &StateMeta) -> Result<()> {
        let _ = (number, meta);
        Ok(())
    }

    /// Tells which entries of a state have expired. `None` if the state has no time to live. Called when the state is
    /// registered. The store may remove expired entries at any time; reads do not return them in any case.
    fn set_expiry(&mut self, number: u16, expiry: Option<&EntryExpiry>) {
        let _ = (number, expiry);
    }

    /// Applies a batch of a restore, which may be large. It only puts, in ascending order, into an empty
    /// range.
    ///
    /// # Errors
    /// Same as [`write`](Self::write), but a part of it may have been applied.
    fn load(&mut self, batch: &WriteBatch) -> Result<()> {
        self.write(batch)
    }

    /// A view of the present content. Its cost should not grow with the content. Any number of snapshots may
    /// exist.
    ///
    /// # Errors
    /// If it cannot be made.
    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>>;

    /// Closes the store, and removes its files. Called once, as the last method. Snapshots may still exist.
    /// They fail or continue, and leave nothing when they are dropped.
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

    fn set_expiry(&mut self, number: u16, expiry: Option<&EntryExpiry>) {
        (**self).set_expiry(number, expiry);
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

/// A [`ByteStore`] at one moment.
pub trait ByteSnapshot: Send {
    /// Called once before the first scan, on the thread that scans.
    ///
    /// # Errors
    /// If it cannot be read.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// [`ByteStore::scan`] on the snapshot.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>>;
}

/// An iterator over entries.
pub trait ByteCursor {
    /// Key and value of the next entry, borrowed until the next call. `None` past the last one.
    ///
    /// # Errors
    /// If the store cannot be read. There is no further call then.
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>>;
}
