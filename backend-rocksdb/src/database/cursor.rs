//! Scans of a database.

use backend_api::Result;
use backend_bytes::ByteCursor;
use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions};

use crate::error::failed;

/// Steps through the entries of a range.
pub(crate) struct Cursor<'d> {
    entries: DBRawIterator<'d>,
    started: bool,
}

impl<'d> Cursor<'d> {
    /// The entries from `from` to `to`. `reads` may name a snapshot; the bounds are set here.
    pub fn new(db: &'d DB, family: &ColumnFamily, mut reads: ReadOptions, from: &[u8], to: &[u8]) -> Self {
        reads.set_iterate_upper_bound(to);
        let mut entries = db.raw_iterator_cf_opt(family, reads);
        entries.seek(from);
        Self { entries, started: false }
    }
}

impl ByteCursor for Cursor<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.started && self.entries.valid() {
            self.entries.next();
        }
        self.started = true;
        if !self.entries.valid() {
            return self.entries.status().map(|()| None).map_err(failed);
        }
        Ok(self.entries.item())
    }
}

/// A cursor without entries.
pub(crate) struct EmptyCursor;

impl ByteCursor for EmptyCursor {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        Ok(None)
    }
}
