//! Writing batches to the database.

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};
use backend_bytes::{ByteCursor, EntryKey, WriteBatch, WriteOp};

use crate::database::{Database, Family, SstFile};
use crate::error::failed;
use crate::readers::Readers;

/// Loads of at least so many bytes become files; smaller ones are not worth one.
const FILE_BYTES: usize = 1 << 20;

/// A range of at most so many entries is removed entry by entry: every range that is removed as such slows down
/// all reads until it is compacted.
const POINT_DELETES: usize = 256;

/// Ranges in a batch are compared with at most so many operations before them.
const COMPARED_OPS: usize = 256;

/// Writes to a database of which it knows where the states lie.
#[derive(Clone)]
pub(crate) struct Writer {
    database: Arc<Database>,
    /// By the numbers of the states.
    families: Vec<Family>,
}

impl Writer {
    pub fn new(database: Arc<Database>, families: Vec<Family>) -> Self {
        Self { database, families }
    }

    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// Where a state lies: the next one, or one that is known already.
    pub fn set_family(&mut self, state: usize, family: Family) -> Result<()> {
        if state == self.families.len() {
            self.families.push(family);
            return Ok(());
        }
        let known = self.families.get_mut(state);
        *known.ok_or_else(|| Error::new(ErrorKind::IllegalState, "states are added in their order"))? =
            family;
        Ok(())
    }

    /// Where the state of a key lies.
    pub fn family(&self, key: &[u8]) -> Result<Family> {
        let family = EntryKey::state_of(key).and_then(|state| self.families.get(usize::from(state)));
        family
            .copied()
            .ok_or_else(|| Error::new(ErrorKind::IllegalState, "a key of a state that was not added"))
    }

    /// Applies a batch as a whole.
    pub fn write(&self, batch: &WriteBatch, readers: &Readers) -> Result<()> {
        readers.note_written(batch.size());
        let mut ops = batch.iter();
        let (db, writes) = (self.database.db(), &self.database.writes);
        match (ops.next(), ops.next()) {
            (None, _) => Ok(()),
            (Some(WriteOp::Put { key, value }), None) => {
                let family = self.database.family(self.family(key)?)?;
                db.put_cf_opt(family, key, value, writes).map_err(failed)
            }
            (Some(WriteOp::Delete { key }), None) => {
                let family = self.database.family(self.family(key)?)?;
                db.delete_cf_opt(family, key, writes).map_err(failed)
            }
            _ => self.write_all(batch, readers),
        }
    }

    /// Adds sorted entries where nothing is, many of them as a file.
    pub fn load(&self, batch: &WriteBatch, readers: &Readers) -> Result<()> {
        if batch.size() < FILE_BYTES {
            return self.write(batch, readers);
        }
        let other = || Error::new(ErrorKind::IllegalState, "a load does not only put");
        let Some(WriteOp::Put { key, .. }) = batch.iter().next() else { return Err(other()) };
        let family = self.family(key)?;
        let mut file = SstFile::create(&self.database, family)?;
        for op in batch.iter() {
            let WriteOp::Put { key, value } = op else { return Err(other()) };
            file.put(key, value)?;
        }
        self.database.ingest(family, &[file.finish()?])
    }

    fn write_all(&self, batch: &WriteBatch, readers: &Readers) -> Result<()> {
        let mut writes = rocksdb::WriteBatch::with_capacity_bytes(batch.size());
        for (index, op) in batch.iter().enumerate() {
            match op {
                WriteOp::Put { key, value } => {
                    writes.put_cf(self.database.family(self.family(key)?)?, key, value);
                }
                WriteOp::Delete { key } => writes.delete_cf(self.database.family(self.family(key)?)?, key),
                WriteOp::DeleteRange { from, to } => {
                    // The entries that are found in the database are not those that the batch puts before.
                    let put_before = |op| matches!(op, WriteOp::Put { key, .. } if from <= key && key < to);
                    let whole = index > COMPARED_OPS || batch.iter().take(index).any(put_before);
                    let readers = Some(readers).filter(|_| !whole);
                    self.delete_range(from, to, &mut writes, readers)?;
                }
            }
        }
        self.database.db().write_opt(writes, &self.database.writes).map_err(failed)
    }

    /// Adds to the batch: all that is stored in a range goes, which `readers` find; without them the range as a whole, with
    /// what the batch has put there.
    fn delete_range(
        &self,
        from: &[u8],
        to: &[u8],
        batch: &mut rocksdb::WriteBatch,
        readers: Option<&Readers>,
    ) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let family = self.family(from)?;
        let handle = self.database.family(family)?;
        let Some(readers) = readers else {
            batch.delete_range_cf(handle, from, to);
            return Ok(());
        };
        let mut cursor = readers.scan(&self.database, family, from, to)?;
        let mut left = POINT_DELETES;
        while let Some((key, _)) = cursor.next()? {
            if left == 0 {
                // What was added of it already goes twice.
                batch.delete_range_cf(handle, from, to);
                return Ok(());
            }
            left -= 1;
            batch.delete_cf(handle, key);
        }
        Ok(())
    }
}
