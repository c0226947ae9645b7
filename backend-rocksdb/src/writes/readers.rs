//! Iterators that are reused. Making one costs more than finding and reading a few entries.

use std::cell::Cell;
use std::sync::Arc;

use backend_api::Result;
use backend_bytes::ByteCursor;
use rocksdb::{DBRawIterator, ErrorKind, ReadOptions};
use self_cell::self_cell;

use crate::database::{Database, Family};
use crate::error::failed;

/// A reused iterator has no upper bound, so it could step over any number of tombstones beyond its range. It
/// stops after this many, and an iterator with bounds continues.
const SKIPPED: u64 = 128;

/// An iterator pins the write buffers and files of its time. An idle one is dropped after this many written bytes.
const IDLE_BYTES: usize = 1 << 20;

self_cell!(
    struct Entries {
        owner: Arc<Database>,
        #[covariant]
        dependent: DBRawIterator,
    }
);

/// An iterator with the bounds of its range.
struct Reader {
    entries: Entries,
    /// Start of what was not read yet.
    from: Vec<u8>,
    to: Vec<u8>,
}

/// At most one idle iterator for each column family.
#[derive(Default)]
pub(crate) struct Readers {
    idle: [Cell<Option<Reader>>; Family::ALL.len()],
    /// Bytes written since the last use.
    written: Cell<usize>,
}

impl Readers {
    /// The entries from `from` to `to`.
    pub fn scan<'r>(
        &'r self,
        database: &Arc<Database>,
        family: Family,
        from: &[u8],
        to: &[u8],
    ) -> Result<ReaderCursor<'r>> {
        self.written.set(0);
        let home = family.of_each(&self.idle);
        let mut reader = match home.take() {
            Some(mut reader) => {
                reader.entries.with_dependent_mut(|_, entries| entries.refresh()).map_err(failed)?;
                reader
            }
            None => {
                let mut reads = ReadOptions::default();
                reads.set_max_skippable_internal_keys(SKIPPED);
                let entries = Entries::open(database, family, reads)?;
                Reader { entries, from: Vec::new(), to: Vec::new() }
            }
        };
        reader.from.clear();
        reader.from.extend_from_slice(from);
        reader.to.clear();
        reader.to.extend_from_slice(to);
        Ok(ReaderCursor { reader: Some(reader), home, family, started: false, is_own: false })
    }

    /// Counts written bytes, and drops iterators that have been idle for long.
    pub fn note_written(&self, bytes: usize) {
        let written = self.written.get() + bytes;
        self.written.set(written);
        if written > IDLE_BYTES {
            self.written.set(0);
            self.clear();
        }
    }

    /// Drops all iterators.
    pub fn clear(&self) {
        self.idle.iter().for_each(|home| drop(home.take()));
    }
}

/// Iterates over a range. Returns its iterator for reuse when dropped.
pub(crate) struct ReaderCursor<'r> {
    /// `None` only after it was returned.
    reader: Option<Reader>,
    home: &'r Cell<Option<Reader>>,
    family: Family,
    started: bool,
    /// True if the iterator was made for this range.
    is_own: bool,
}

impl Reader {
    /// Moves to the next entry, or to the first one. False at the end.
    fn step(&mut self, started: bool) -> std::result::Result<bool, rocksdb::Error> {
        let Self { entries, from, to } = self;
        entries.with_dependent_mut(|_, entries| {
            if !started {
                entries.seek(&*from);
            } else if entries.valid() {
                entries.next();
            }
            match entries.key() {
                Some(key) if key < &**to => {
                    from.clear();
                    from.extend_from_slice(key);
                    // The smallest key above it.
                    from.push(0);
                    Ok(true)
                }
                Some(_) => Ok(false),
                None => entries.status().map(|()| false),
            }
        })
    }
}

impl ByteCursor for ReaderCursor<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let found = match reader.step(self.started) {
            Err(error) if error.kind() == ErrorKind::Incomplete && !self.is_own => {
                let mut reads = ReadOptions::default();
                reads.set_iterate_upper_bound(&*reader.to);
                reader.entries = Entries::open(reader.entries.borrow_owner(), self.family, reads)?;
                self.is_own = true;
                reader.step(false)
            }
            result => result,
        };
        self.started = true;
        if found.map_err(failed)? { Ok(reader.entries.borrow_dependent().item()) } else { Ok(None) }
    }
}

impl Drop for ReaderCursor<'_> {
    fn drop(&mut self) {
        if !self.is_own {
            self.home.set(self.reader.take());
        }
    }
}

impl Entries {
    fn open(database: &Arc<Database>, family: Family, reads: ReadOptions) -> Result<Self> {
        Self::try_new(Arc::clone(database), |database| {
            Ok(database.db().raw_iterator_cf_opt(database.family(family)?, reads))
        })
    }
}

#[cfg(test)]
mod tests;
