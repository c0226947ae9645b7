//! Writes that wait until a snapshot point is made, because the point must not contain them.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound;

use backend_api::Result;
use backend_bytes::{ByteCursor, WriteBatch, WriteOp};

use super::readers::ReaderCursor;

/// Memory of an entry or range in addition to its bytes.
const OVERHEAD: usize = 96;

/// Entries or ranges per released batch.
const RELEASED: usize = 256;

/// Entries and range deletions that are newer than the database.
#[derive(Default)]
pub(crate) struct PendingWrites {
    /// `None` for a deleted entry.
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Deleted ranges of the database, by their first key. No two overlap.
    ranges: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Upper bound of their memory.
    bytes: usize,
}

impl PendingWrites {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ranges.is_empty()
    }

    /// Upper bound of the memory after `batch` is added.
    pub fn bytes_with(&self, batch: &WriteBatch) -> usize {
        self.bytes + bytes_of(batch)
    }

    /// Adds a batch.
    pub fn add(&mut self, batch: &WriteBatch) {
        self.bytes = self.bytes_with(batch);
        for op in batch.iter() {
            match op {
                WriteOp::Put { key, value } => _ = self.entries.insert(key.to_vec(), Some(value.to_vec())),
                WriteOp::Delete { key } => _ = self.entries.insert(key.to_vec(), None),
                WriteOp::DeleteRange { from, to } if from < to => self.delete_range(from, to),
                WriteOp::DeleteRange { .. } => {}
            }
        }
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        // One key at a time, because a range may hold many keys.
        while let Some((key, _)) = self.entries_in(from, to).next() {
            let key = key.clone();
            self.entries.remove(&key);
        }
        let (mut start, mut end) = (from.to_vec(), to.to_vec());
        while let Some((known, known_end)) =
            self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(&*end))).next_back()
            && **known_end >= *start
        {
            let known = known.clone();
            if let Some(known_end) = self.ranges.remove(&known) {
                end = end.max(known_end);
            }
            start = start.min(known);
        }
        self.ranges.insert(start, end);
    }

    /// The pending value of a key, `Some(None)` if it is deleted. `None` if the database has the answer.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        match self.entries.get(key) {
            Some(value) => Some(value.as_deref()),
            None => self.is_deleted(key).then_some(None),
        }
    }

    fn is_deleted(&self, key: &[u8]) -> bool {
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, to)| key < &**to)
    }

    fn entries_in(&self, from: &[u8], to: &[u8]) -> Range<'_, Vec<u8>, Option<Vec<u8>>> {
        self.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
    }

    /// The entries of a range: those of the database under the pending ones.
    pub fn scan<'h>(&'h self, stored: ReaderCursor<'h>, from: &[u8], to: &[u8]) -> PendingCursor<'h> {
        PendingCursor {
            pending: self,
            entries: self.entries_in(from, to).peekable(),
            stored,
            next: None,
            fetched: false,
        }
    }

    /// Releases at least twice as many bytes as `batch` would add. If this is called with every added batch,
    /// all writes are released in the end.
    ///
    /// # Errors
    /// Errors of `write`. What is not written stays pending.
    pub fn release_for(
        &mut self,
        batch: &WriteBatch,
        mut write: impl FnMut(&WriteBatch) -> Result<()>,
    ) -> Result<()> {
        let enough = self.bytes.saturating_sub(2 * bytes_of(batch));
        while !self.is_empty() {
            self.release(&mut write)?;
            if self.bytes <= enough {
                break;
            }
        }
        Ok(())
    }

    /// Passes some pending writes to `write`: range deletions first, then entries. If `write` fails they stay
    /// pending.
    pub fn release(&mut self, write: impl FnOnce(&WriteBatch) -> Result<()>) -> Result<()> {
        let mut batch = WriteBatch::default();
        if !self.ranges.is_empty() {
            self.ranges.iter().take(RELEASED).for_each(|(from, to)| batch.delete_range(from, to));
            write(&batch)?;
            (0..RELEASED).for_each(|_| drop(self.ranges.pop_first()));
        } else {
            for (key, value) in self.entries.iter().take(RELEASED) {
                match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                }
            }
            write(&batch)?;
            (0..RELEASED).for_each(|_| drop(self.entries.pop_first()));
        }
        self.bytes = if self.is_empty() { 0 } else { self.bytes.saturating_sub(bytes_of(&batch)) };
        Ok(())
    }
}

/// Upper bound of the memory that a batch takes here.
fn bytes_of(batch: &WriteBatch) -> usize {
    batch.size() + batch.iter().count() * OVERHEAD
}

/// Merges the entries of the database with the pending ones.
pub(crate) struct PendingCursor<'h> {
    pending: &'h PendingWrites,
    entries: Peekable<Range<'h, Vec<u8>, Option<Vec<u8>>>>,
    stored: ReaderCursor<'h>,
    /// The next entry of the database, or the one that was returned last.
    next: Option<(Vec<u8>, Vec<u8>)>,
    /// True if `next` was read and not returned yet.
    fetched: bool,
}

impl ByteCursor for PendingCursor<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            if !self.fetched {
                self.next = self.stored.next()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
                self.fetched = true;
            }
            let stored = self.next.as_ref().map(|(key, _)| key);
            match (stored, self.entries.peek()) {
                (None, None) => return Ok(None),
                (Some(key), pending) if pending.is_none_or(|(pending, _)| key < *pending) => {
                    self.fetched = false;
                    if !self.pending.is_deleted(key) {
                        return Ok(self.next.as_ref().map(|(key, value)| (&**key, &**value)));
                    }
                }
                (stored, Some((pending, _))) => {
                    if stored == Some(*pending) {
                        self.fetched = false;
                    }
                    if let Some((key, Some(value))) = self.entries.next() {
                        return Ok(Some((key, value)));
                    }
                }
                (Some(_), None) => self.fetched = false,
            }
        }
    }
}

#[cfg(test)]
mod tests;
