//! Writing batches to the database.

pub(crate) mod pending;
pub(crate) mod readers;

use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result};
use backend_bytes::{ByteCursor, EntryKey, WriteBatch, WriteOp};

use crate::database::{Database, Family, SstWriter};
use crate::error::failed;
use readers::Readers;

/// A load of at least this many bytes is written as a file.
const FILE_BYTES: usize = 1 << 20;

/// A range of at most this many entries is deleted entry by entry. A range tombstone slows down all reads until it is
/// compacted.
const POINT_DELETES: usize = 256;

/// A range deletion searches this many operations before it in its batch for puts.
const COMPARED_OPS: usize = 256;

/// Writes to a database with the column family of each state.
#[derive(Clone)]
pub(crate) struct Writer {
    database: Arc<Database>,
    /// Indexed by state numbers.
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

    /// Sets the column family of the next state, or of an existing one.
    pub fn set_family(&mut self, state: usize, family: Family) -> Result<()> {
        if state == self.families.len() {
            self.families.push(family);
            return Ok(());
        }
        let known = self.families.get_mut(state);
        *known.ok_or_else(|| Error::new(ErrorKind::IllegalState, "states must be added in order"))? = family;
        Ok(())
    }

    /// The column family of a key's state.
    pub fn family(&self, key: &[u8]) -> Result<Family> {
        let family = EntryKey::state_of(key).and_then(|state| self.families.get(usize::from(state)));
        family
            .copied()
            .ok_or_else(|| Error::new(ErrorKind::IllegalState, "a key of a state that was not added"))
    }

    /// Applies a batch atomically.
    pub fn write(&self, batch: &WriteBatch, readers: &Readers) -> Result<()> {
        readers.note_written(batch.size());
        let mut ops = batch.iter();
        let (database, bytes) = (&self.database, batch.size());
        match (ops.next(), ops.next()) {
            (None, _) => Ok(()),
            (Some(WriteOp::Put { key, value }), None) => {
                let family = database.family(self.family(key)?)?;
                database
                    .write(bytes, |db, options| db.put_cf_opt(family, key, value, options).map_err(failed))
            }
            (Some(WriteOp::Delete { key }), None) => {
                let family = database.family(self.family(key)?)?;
                database.write(bytes, |db, options| db.delete_cf_opt(family, key, options).map_err(failed))
            }
            _ => {
                // The binding consumes the batch.
                database.write(bytes, |db, options| {
                    db.write_opt(self.prepare(batch, readers)?, options).map_err(failed)
                })
            }
        }
    }

    /// Adds sorted entries to an empty range. Writes a large batch as a file.
    pub fn load(&self, batch: &WriteBatch, readers: &Readers) -> Result<()> {
        if batch.size() < FILE_BYTES {
            return self.write(batch, readers);
        }
        let other = || Error::new(ErrorKind::IllegalState, "a load contains other operations than puts");
        let Some(WriteOp::Put { key, .. }) = batch.iter().next() else { return Err(other()) };
        let family = self.family(key)?;
        let mut file = SstWriter::create(&self.database, family)?;
        for op in batch.iter() {
            let WriteOp::Put { key, value } = op else { return Err(other()) };
            file.put(key, value)?;
        }
        self.database.ingest(family, &[file.finish()?])
    }

    fn prepare(&self, batch: &WriteBatch, readers: &Readers) -> Result<rocksdb::WriteBatch> {
        let mut writes = rocksdb::WriteBatch::with_capacity_bytes(batch.size());
        for (index, op) in batch.iter().enumerate() {
            match op {
                WriteOp::Put { key, value } => {
                    writes.put_cf(self.database.family(self.family(key)?)?, key, value);
                }
                WriteOp::Delete { key } => writes.delete_cf(self.database.family(self.family(key)?)?, key),
                WriteOp::DeleteRange { from, to } => {
                    // A scan of the database does not see puts of this batch.
                    let put_before = |op| matches!(op, WriteOp::Put { key, .. } if from <= key && key < to);
                    let whole = index > COMPARED_OPS || batch.iter().take(index).any(put_before);
                    let readers = Some(readers).filter(|_| !whole);
                    self.delete_range(from, to, &mut writes, readers)?;
                }
            }
        }
        Ok(writes)
    }

    /// Adds the deletion of a range to the batch. With `readers`, deletes the entries that they find.
    /// Without, deletes the whole range, including earlier puts of the batch.
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
                // Deletes entries again that were added to the batch as single deletions.
                batch.delete_range_cf(handle, from, to);
                return Ok(());
            }
            left -= 1;
            batch.delete_cf(handle, key);
        }
        Ok(())
    }
}
