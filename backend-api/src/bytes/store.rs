use super::WriteBatch;
use crate::Result;

/// A sorted map of bytes to bytes: what an engine has to be to become a state backend, by
/// [`ByteBackend`](super::ByteBackend).
///
/// # Contract
///
/// * Keys are sorted as `memcmp` does, a prefix before what is longer. Keys and values may be empty.
/// * A [`write`](Self::write) is applied as a whole or, when it fails, not at all; reads after it see it.
/// * It is working state: it need not survive the process, and starts empty. Durability comes from checkpoints.
/// * One thread at a time uses it, not always the same one. Its snapshots are read by other threads meanwhile.
///
/// [`BTreeStore`](super::BTreeStore) is the reference.
///
/// # Errors
///
/// [`Io`](crate::ErrorKind::Io) or [`Corrupt`](crate::ErrorKind::Corrupt), as they fit, with the cause as source; the
/// backend adds the state and the key group.
pub trait ByteStore: Send + 'static {
    /// Calls `read` once, with the value of `key` or with `None`.
    ///
    /// # Errors
    /// If the store cannot be read; `read` was not called then.
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

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

/// A [`ByteStore`] as it was at one moment.
pub trait ByteSnapshot: Send {
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
