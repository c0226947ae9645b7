use std::collections::BTreeMap;

use super::{Access, Writer};
use crate::limits::Change;
use crate::{ByteStore, EntryKey, WriteBatch, WriteOp};
use backend_api::{Error, ErrorKind, Result, StateKey, StateKind};

/// Most entries that are read for their sizes when a list or map is cleared.
const CLEARED: usize = 256;

/// Keeps the list or map of an access within the limit.
pub(crate) struct Charging<'c, 'a>(pub(crate) &'c mut Access<'a>);

impl<'a> Charging<'_, 'a> {
    /// Bytes of an entry that count: a list element, or map key and value.
    #[inline]
    pub fn content(&self, entry: usize) -> u64 {
        entry.saturating_sub(self.head_len()) as u64
    }

    /// Bytes of an entry's key that do not count.
    fn head_len(&self) -> usize {
        let is_list = self.0.origin.meta.kind == StateKind::List;
        self.0.key().len() + if is_list { EntryKey::SEQUENCE_BYTES } else { 0 }
    }

    /// True if removed bytes should be determined when `added` bytes are added.
    #[inline]
    pub fn is_close(&self, added: u64) -> bool {
        self.0.totals.is_close(self.0.buffers.keys.here(), added)
    }

    /// Lets `apply` change the list or map if it stays within the limit. If the total must be counted,
    /// `write_out` first writes everything that only the cache has.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size) above the limit.
    #[inline]
    pub fn apply(
        self,
        change: Change,
        write_out: impl FnOnce(&mut Access<'a>) -> Result<()>,
        apply: impl FnOnce(&mut Access<'a>) -> Result<()>,
    ) -> Result<()> {
        let Self(access) = self;
        if !access.totals.charge(access.buffers.keys.here(), change) {
            Charging(access).count(change, write_out)?;
        }
        apply(access).inspect_err(|_| {
            let key = access.buffers.keys.here();
            access.totals.add(key, change.removed);
            access.totals.credit(key, change.added);
        })
    }

    #[cold]
    fn count(self, change: Change, write_out: impl FnOnce(&mut Access<'a>) -> Result<()>) -> Result<()> {
        let Self(access) = self;
        let total = match access.totals.pinned(access.buffers.keys.here()) {
            Some(total) => total,
            None => {
                write_out(access)?;
                let total = Charging(access).stored_bytes(usize::MAX)?;
                let key = access.buffers.keys.here();
                access.totals.pin_exact(key, total);
                if access.totals.charge(key, change) {
                    return Ok(());
                }
                total
            }
        };
        let total = total.saturating_sub(change.removed).saturating_add(change.added);
        Err(Charging(access).too_long(total))
    }

    /// Lets `add` fill the batch, and writes it if the list or map stays within the limit. The cache must
    /// hold nothing that the store lacks.
    ///
    /// # Errors
    /// Same as [`apply`](Self::apply), and errors of `add`. Then nothing is written.
    pub fn write(self, add: impl FnOnce(&mut Writer<'_>) -> Result<Change>) -> Result<()> {
        let change = self.0.fill(add)?;
        self.apply(change, |_| Ok(()), Access::commit)
    }

    /// [`write`](Self::write) for an `add` that puts and removes map entries.
    pub fn write_entries(self, add: impl FnOnce(&mut Writer<'_>) -> Result<()>) -> Result<()> {
        let Self(access) = self;
        access.fill(add)?;
        let Access { store, buffers, totals, origin, .. } = &mut *access;
        let change = entries_in_batch(&**store, buffers.keys.here(), &buffers.batch, |added| {
            totals.is_close(buffers.keys.here(), added)
        });
        let change = change.map_err(|error| origin.name(error))?;
        Charging(access).apply(change, |_| Ok(()), Access::commit)
    }

    /// Lets `replace` replace the list, if the new one is within the limit.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size) above the limit.
    pub fn replace(self, change: Change, replace: impl FnOnce(&mut Access<'a>) -> Result<()>) -> Result<()> {
        if change.added > self.0.limit.0 {
            return Err(self.too_long(change.added));
        }
        let Self(access) = self;
        replace(access)?;
        let key = access.buffers.keys.here();
        access.totals.clear(key, change.removed);
        access.totals.add(key, change.added);
        Ok(())
    }

    /// Records that the list in another namespace, which had this many bytes, is empty now.
    pub fn cleared_in<N: StateKey>(self, namespace: &N, bytes: u64) -> Result<()> {
        let Access { buffers, totals, origin, .. } = self.0;
        let key = buffers.keys.in_namespace(namespace).map_err(|error| origin.name(error))?;
        totals.clear(key, bytes);
        Ok(())
    }

    /// Returns a lower bound of the present bytes, to be credited when they are removed. 0 if the exact
    /// number does not matter. `cached` returns one if the cache knows enough. Otherwise the store is read.
    pub fn lower_bound_bytes(self, cached: impl FnOnce(&[u8]) -> Option<u64>) -> Result<u64> {
        // A pinned total is dropped, whatever its value.
        if !self.is_close(0) || self.0.totals.pinned(self.0.key()).is_some() {
            return Ok(0);
        }
        match cached(self.0.key()) {
            Some(bytes) => Ok(bytes),
            None => self.stored_bytes(CLEARED),
        }
    }

    /// Bytes of the first entries in the store.
    pub fn stored_bytes(self, entries: usize) -> Result<u64> {
        let (origin, head) = (self.0.origin, self.head_len());
        let mut cursor = self.0.reader().all()?;
        let mut bytes = 0;
        for _ in 0..entries {
            match cursor.next().map_err(|error| origin.name(error))? {
                Some((key, value)) => bytes += (key.len() + value.len()).saturating_sub(head) as u64,
                None => break,
            }
        }
        Ok(bytes)
    }

    #[cold]
    fn too_long(&self, total: u64) -> Error {
        let (kind, max) = (self.0.origin.meta.kind, self.0.limit.0);
        let message = format!("a {kind} would have {total} bytes in all, above the limit of {max} bytes");
        self.0.origin.name(Error::new(ErrorKind::Size, message))
    }
}

/// Bytes of the map entries in a batch. Also bytes of the entries that they replace, if that matters when
/// this many bytes are added.
fn entries_in_batch(
    store: &dyn ByteStore,
    prefix: &[u8],
    batch: &WriteBatch,
    is_close: impl FnOnce(u64) -> bool,
) -> Result<Change> {
    let pairs = || {
        batch.iter().map(|op| match op {
            WriteOp::Put { key, value } => (key, (key.len() - prefix.len() + value.len()) as u64),
            WriteOp::Delete { key } | WriteOp::DeleteRange { from: key, .. } => (key, 0),
        })
    };
    let added = pairs().map(|(_, bytes)| bytes).sum();
    if !is_close(added) {
        return Ok(Change { added, removed: 0 });
    }
    // If an entry is put twice, only the last one counts.
    let mut change = Change::default();
    for (key, bytes) in pairs().collect::<BTreeMap<_, _>>() {
        change.added += bytes;
        let mut old = 0;
        store.get(key, &mut |value| {
            old = value.map_or(0, |value| key.len() - prefix.len() + value.len());
        })?;
        change.removed += old as u64;
    }
    Ok(change)
}
