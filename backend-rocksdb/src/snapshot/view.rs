//! The database as it was at a snapshot point, read as entries.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};
use backend_bytes::{ByteCursor, ByteSnapshot, EntryKey};
use rocksdb::ReadOptions;

use super::point::{HeldSnapshot, Made, SnapshotPoint};
use crate::database::{Cursor, EmptyCursor, Family};

/// A snapshot for a checkpoint of rows.
pub(crate) struct RocksDbSnapshot {
    point: Arc<SnapshotPoint>,
    /// Set by `prepare`.
    held: Option<HeldSnapshot>,
    /// The column family of each state, by number.
    families: Vec<Family>,
}

impl RocksDbSnapshot {
    pub fn new(point: Arc<SnapshotPoint>, families: Vec<Family>) -> Self {
        Self { point, held: None, families }
    }
}

impl ByteSnapshot for RocksDbSnapshot {
    fn prepare(&mut self) -> Result<()> {
        self.held = match self.point.take()? {
            Made::Snapshot(held) => Some(held),
            Made::Links(_) => None,
        };
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        let held = self.held.as_ref();
        let held = held.ok_or_else(|| Error::new(ErrorKind::IllegalState, "the snapshot is not prepared"))?;
        let state = EntryKey::state_of(from);
        let Some(&family) = state.and_then(|state| self.families.get(usize::from(state))) else {
            return Ok(Box::new(EmptyCursor));
        };
        if from >= to {
            return Ok(Box::new(EmptyCursor));
        }
        let mut reads = ReadOptions::default();
        reads.set_snapshot(held.borrow_dependent());
        // It is read once, from end to end, and must not evict hot blocks.
        reads.fill_cache(false);
        let database = held.borrow_owner();
        Ok(Box::new(Cursor::new(database.db(), database.family(family)?, reads, from, to)))
    }
}
