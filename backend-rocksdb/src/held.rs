//! Writes that wait until a checkpoint is cut: it is not to have them.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound;

use backend_api::Result;
use backend_bytes::{ByteCursor, WriteBatch, WriteOp};

use crate::readers::ReaderCursor;

/// Memory that an entry or a range takes beside its bytes.
const OVERHEAD: usize = 96;

/// Entries, or ranges, that are written at once when they are released.
const RELEASED: usize = 256;

/// Entries that are above those of the database.
#[derive(Default)]
pub(crate) struct Held {
    /// `None` where an entry is removed.
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What is removed of the database from where to where; none of them overlap.
    ranges: BTreeMap<Vec<u8>, Vec<u8>>,
    /// An upper bound of the memory for all of them.
    bytes: usize,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ranges.is_empty()
    }

    /// Bytes of memory, with a batch more, at most.
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
                WriteOp::DeleteRange { from, to } if from < to => self.remove_range(from, to),
                WriteOp::DeleteRange { .. } => {}
            }
        }
    }

    fn remove_range(&mut self, from: &[u8], to: &[u8]) {
        let inside: Vec<_> = self.entries_in(from, to).map(|(key, _)| key.clone()).collect();
        for key in inside {
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

    /// What is held of a key: its value, or that it has none; `None` if the database tells.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        match self.entries.get(key) {
            Some(value) => Some(value.as_deref()),
            None => self.is_removed(key).then_some(None),
        }
    }

    fn is_removed(&self, key: &[u8]) -> bool {
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, to)| key < &**to)
    }

    fn entries_in(&self, from: &[u8], to: &[u8]) -> Range<'_, Vec<u8>, Option<Vec<u8>>> {
        self.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
    }

    /// The entries of the database in a range, with what is held.
    pub fn scan<'h>(&'h self, stored: ReaderCursor<'h>, from: &[u8], to: &[u8]) -> HeldCursor<'h> {
        HeldCursor {
            held: self,
            entries: self.entries_in(from, to).peekable(),
            stored,
            next: None,
            asked: false,
        }
    }

    /// Releases some of what is held, twice as much as `batch` would add or more. Nothing is held in the end if each batch that
    /// is added comes with this.
    ///
    /// # Errors
    /// Those of `write`; what is not written stays.
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

    /// Hands some of what is held to `write`, what must come first. If that fails it stays.
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

/// Memory that what a batch does takes here, at most.
fn bytes_of(batch: &WriteBatch) -> usize {
    batch.size() + batch.iter().count() * OVERHEAD
}

/// Steps through the entries of the database and those that are held.
pub(crate) struct HeldCursor<'h> {
    held: &'h Held,
    entries: Peekable<Range<'h, Vec<u8>, Option<Vec<u8>>>>,
    stored: ReaderCursor<'h>,
    /// The next entry of the database, or the one that is lent.
    next: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether `next` is still to come, or there is none.
    asked: bool,
}

impl ByteCursor for HeldCursor<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        loop {
            if !self.asked {
                self.next = self.stored.next()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
                self.asked = true;
            }
            let stored = self.next.as_ref().map(|(key, _)| key);
            match (stored, self.entries.peek()) {
                (None, None) => return Ok(None),
                (Some(key), held) if held.is_none_or(|(held, _)| key < *held) => {
                    self.asked = false;
                    if !self.held.is_removed(key) {
                        return Ok(self.next.as_ref().map(|(key, value)| (&**key, &**value)));
                    }
                }
                (stored, Some((held, _))) => {
                    if stored == Some(*held) {
                        self.asked = false;
                    }
                    if let Some((key, Some(value))) = self.entries.next() {
                        return Ok(Some((key, value)));
                    }
                }
                (Some(_), None) => self.asked = false,
            }
        }
    }
}

#[cfg(test)]
mod tests;
