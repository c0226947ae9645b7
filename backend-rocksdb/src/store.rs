use std::sync::Arc;

use backend_api::format::StateMeta;
use backend_api::{Result, SnapshotRequest};
use backend_bytes::{
    ByteCursor, ByteSnapshot, ByteStore, CacheFlush, EntryExpiry, FreezeRequest, NativeTask, StoreSnapshots,
    WriteBatch,
};

use crate::database::{EmptyCursor, Family};
use crate::error::failed;
use crate::snapshot::Checkpoints;
use crate::snapshot::point::{PointKind, SnapshotPoint, Step};
use crate::snapshot::view::RocksDbSnapshot;
use crate::writes::Writer;
use crate::writes::pending::PendingWrites;
use crate::writes::readers::Readers;

/// The RocksDB database of a backend.
pub struct RocksDbStore {
    writer: Writer,
    readers: Readers,
    /// Writes that wait for a snapshot point, or for their turn after that.
    pending: PendingWrites,
    pending_bytes_max: usize,
    checkpoints: Checkpoints,
}

impl RocksDbStore {
    /// `pending_bytes_max` limits the bytes of pending writes. Up to twice as many are possible.
    pub(crate) fn new(writer: Writer, checkpoints: Checkpoints, pending_bytes_max: usize) -> Self {
        let (readers, pending) = (Readers::default(), PendingWrites::default());
        Self { writer, readers, pending, pending_bytes_max, checkpoints }
    }

    /// Makes the due snapshot point, and applies all pending writes.
    fn release_all(&mut self) -> Result<()> {
        self.checkpoints.settle();
        while !self.pending.is_empty() {
            self.pending.release(|batch| self.writer.write(batch, &self.readers))?;
        }
        Ok(())
    }

    fn view(&mut self, flush: CacheFlush) -> Result<Box<dyn ByteSnapshot>> {
        self.release_all()?;
        let is_due = !flush.is_empty();
        let point = Arc::new(SnapshotPoint::new(self.writer.clone(), PointKind::Snapshot, flush));
        if is_due {
            self.checkpoints.put_off(&point);
        } else {
            point.settle();
        }
        Ok(Box::new(RocksDbSnapshot::new(point, self.writer.families().to_vec())))
    }

    /// Bytes in the block cache: blocks of files, their indexes and filters, and what it lends to write buffers.
    pub fn block_cache_bytes(&self) -> usize {
        self.writer.database().setup.memory().0
    }

    /// Bytes in write buffers.
    pub fn write_buffer_bytes(&self) -> usize {
        self.writer.database().setup.memory().1
    }

    /// RocksDB's counters, as text. `None` unless
    /// [`RocksDbOptions::with_statistics`](crate::RocksDbOptions::with_statistics) is set.
    pub fn statistics(&self) -> Option<String> {
        self.writer.database().setup.statistics()
    }
}

impl ByteStore for RocksDbStore {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        if let Some(value) = self.pending.get(key) {
            read(value);
            return Ok(());
        }
        let database = self.writer.database();
        let family = database.family(self.writer.family(key)?)?;
        let value = database.db().get_pinned_cf_opt(family, key, &database.reads).map_err(failed)?;
        read(value.as_deref());
        Ok(())
    }

    fn get_all(&self, keys: &[&[u8]], read: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<()> {
        let Some(first) = keys.first() else { return Ok(()) };
        if !self.pending.is_empty() {
            let mut keys = keys.iter().enumerate();
            return keys.try_for_each(|(index, key)| self.get(key, &mut |value| read(index, value)));
        }
        let database = self.writer.database();
        let family = database.family(self.writer.family(first)?)?;
        let found =
            database.db().batched_multi_get_cf_opt(family, keys.iter().copied(), true, &database.reads);
        for (index, value) in found.into_iter().enumerate() {
            read(index, value.map_err(failed)?.as_deref());
        }
        Ok(())
    }

    fn scan<'s>(&'s self, from: &[u8], to: &[u8]) -> Result<Box<dyn ByteCursor + 's>> {
        if from >= to {
            return Ok(Box::new(EmptyCursor));
        }
        let family = self.writer.family(from)?;
        let stored = self.readers.scan(self.writer.database(), family, from, to)?;
        if self.pending.is_empty() {
            Ok(Box::new(stored))
        } else {
            Ok(Box::new(self.pending.scan(stored, from, to)))
        }
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        if self.checkpoints.is_point_due() {
            // Above the limit each write waits briefly, but none waits for the whole point.
            let (bytes, max) = (self.pending.bytes_with(batch), self.pending_bytes_max);
            if bytes <= max || bytes <= 2 * max && self.checkpoints.is_short_of(Step::Made) {
                self.pending.add(batch);
                return Ok(());
            }
            self.checkpoints.settle();
        }
        if !self.pending.is_empty() {
            // Applying everything at once would be a long pause.
            self.pending.release_for(batch, |batch| self.writer.write(batch, &self.readers))?;
            if !self.pending.is_empty() {
                self.pending.add(batch);
                return Ok(());
            }
        }
        self.writer.write(batch, &self.readers)
    }

    fn add_state(&mut self, number: u16, meta: &StateMeta) -> Result<()> {
        self.writer.set_family(number.into(), Family::of(meta.kind))
    }

    fn set_expiry(&mut self, number: u16, expiry: Option<&EntryExpiry>) {
        self.writer.database().setup.expiries.set(number, expiry);
    }

    fn load(&mut self, batch: &WriteBatch) -> Result<()> {
        self.release_all()?;
        self.writer.load(batch, &self.readers)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.view(CacheFlush::default())
    }

    fn close(&mut self) -> Result<()> {
        self.readers.clear();
        self.writer.database().close();
        Ok(())
    }
}

impl StoreSnapshots for RocksDbStore {
    fn prefers_native(&self) -> bool {
        self.checkpoints.is_incremental()
    }

    fn rows(&mut self, request: &SnapshotRequest, flush: CacheFlush) -> Result<Box<dyn ByteSnapshot>> {
        let view = self.view(flush)?;
        self.checkpoints.begin_rows(request);
        Ok(view)
    }

    fn native(&mut self, request: FreezeRequest<'_>, flush: CacheFlush) -> Result<NativeTask> {
        self.release_all()?;
        Ok(self.checkpoints.freeze(&self.writer, request, flush))
    }

    fn complete(&mut self, checkpoint_id: u64) {
        self.checkpoints.complete(checkpoint_id);
    }

    fn aborted(&mut self, checkpoint_id: u64) {
        self.checkpoints.aborted(checkpoint_id);
    }

    fn is_flushing(&mut self) -> bool {
        self.checkpoints.is_flushing()
    }

    fn finish_flush(&mut self) {
        self.checkpoints.flush();
    }

    fn try_finish_flush(&mut self) -> bool {
        if self.checkpoints.is_short_of(Step::Flushed) {
            return false;
        }
        self.finish_flush();
        true
    }
}

impl std::fmt::Debug for RocksDbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksDbStore").field("states", &self.writer.families().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
