//! The database as it was at one moment.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};
use backend_bytes::{ByteCursor, ByteSnapshot, EntryKey};
use rocksdb::ReadOptions;

use crate::cut::{Cut, HeldSnapshot, Made};
use crate::database::{Cursor, Family};
use crate::store::empty;

/// See the [module](self).
pub(crate) struct RocksDbSnapshot {
    cut: Arc<Cut>,
    /// Once it was prepared.
    held: Option<HeldSnapshot>,
    /// Where the states lie, by their numbers.
    families: Vec<Family>,
}

impl RocksDbSnapshot {
    pub fn new(cut: Arc<Cut>, families: Vec<Family>) -> Self {
        Self { cut, held: None, families }
    }
}

impl ByteSnapshot for RocksDbSnapshot {
    fn prepare(&mut self) -> Result<()> {
        self.held = match self.cut.take()? {
            Made::Snapshot(held) => Some(held),
            Made::Links(_) => None,
        };
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        let held = self.held.as_ref();
        let held = held.ok_or_else(|| Error::new(ErrorKind::IllegalState, "the snapshot is not prepared"))?;
        let Some(&family) = EntryKey::state_of(from).and_then(|state| self.families.get(usize::from(state)))
        else {
            return Ok(empty());
        };
        if from >= to {
            return Ok(empty());
        }
        let mut reads = ReadOptions::default();
        reads.set_snapshot(held.borrow_dependent());
        // It is read once, from one end to the other: what is hot is not to go for it.
        reads.fill_cache(false);
        let database = held.borrow_owner();
        Ok(Box::new(Cursor::new(database.db(), database.family(family)?, reads, from, to)))
    }
}
