use std::sync::Arc;

use backend_api::Result;
use backend_api::format::StateMeta;
use backend_bytes::{
    ByteCursor, ByteSnapshot, ByteStore, CacheFlush, FreezeRequest, NativeTask, StoreSnapshots, WriteBatch,
};

use crate::checkpoints::Checkpoints;
use crate::cut::{Cut, Stage, What};
use crate::database::{Cursor, Family};
use crate::error::failed;
use crate::held::Held;
use crate::readers::Readers;
use crate::snapshot::RocksDbSnapshot;
use crate::writes::Writer;

/// The RocksDB database of a backend.
pub struct RocksDbStore {
    writer: Writer,
    readers: Readers,
    /// What waits for a checkpoint to be cut, or for its turn after that.
    held: Held,
    held_bytes_max: usize,
    checkpoints: Checkpoints,
}

impl RocksDbStore {
    /// About so many bytes of writes wait for a checkpoint to be cut, at most twice as many.
    pub(crate) fn new(writer: Writer, checkpoints: Checkpoints, held_bytes_max: usize) -> Self {
        let (readers, held) = (Readers::default(), Held::default());
        Self { writer, readers, held, held_bytes_max, checkpoints }
    }

    /// Ends what was put off, and writes all that has waited for that.
    fn release_all(&mut self) -> Result<()> {
        self.checkpoints.settle();
        while !self.held.is_empty() {
            self.held.release(|batch| self.writer.write(batch, &self.readers))?;
        }
        Ok(())
    }

    /// Bytes of memory in the block cache: blocks of files, their indexes and filters, and the part that write buffers
    /// have borrowed.
    pub fn block_cache_bytes(&self) -> usize {
        self.writer.database().memory().0
    }

    /// Bytes of memory in write buffers.
    pub fn write_buffer_bytes(&self) -> usize {
        self.writer.database().memory().1
    }

    /// What RocksDB has counted, as text; `None` unless
    /// [`RocksDbOptions::statistics`](crate::RocksDbOptions::statistics) is set.
    pub fn statistics(&self) -> Option<String> {
        self.writer.database().statistics()
    }
}

impl ByteStore for RocksDbStore {
    fn get(&self, key: &[u8], read: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        if let Some(value) = self.held.get(key) {
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
        if !self.held.is_empty() {
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
            return Ok(empty());
        }
        let family = self.writer.family(from)?;
        let stored = self.readers.scan(self.writer.database(), family, from, to)?;
        if self.held.is_empty() {
            Ok(Box::new(stored))
        } else {
            Ok(Box::new(self.held.scan(stored, from, to)))
        }
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<()> {
        if self.checkpoints.is_cutting() {
            // Beyond what may be held each write waits, but none of them for all that is to be done.
            let (held, max) = (self.held.bytes_with(batch), self.held_bytes_max);
            if held <= max || held <= 2 * max && self.checkpoints.is_short_of(Stage::Made) {
                self.held.add(batch);
                return Ok(());
            }
            self.checkpoints.settle();
        }
        if !self.held.is_empty() {
            // Not all at once: that would be a pause, too.
            self.held.release_for(batch, |batch| self.writer.write(batch, &self.readers))?;
            if !self.held.is_empty() {
                self.held.add(batch);
                return Ok(());
            }
        }
        self.writer.write(batch, &self.readers)
    }

    fn add_state(&mut self, number: u16, meta: &StateMeta) -> Result<()> {
        self.writer.set_family(number.into(), Family::of(meta.kind))
    }

    fn load(&mut self, batch: &WriteBatch) -> Result<()> {
        self.release_all()?;
        self.writer.load(batch, &self.readers)
    }

    fn snapshot(&mut self) -> Result<Box<dyn ByteSnapshot>> {
        self.rows(CacheFlush::default())
    }

    fn close(&mut self) -> Result<()> {
        self.readers.clear();
        self.writer.database().close()
    }
}

impl StoreSnapshots for RocksDbStore {
    fn prefers_native(&self) -> bool {
        self.checkpoints.is_incremental()
    }

    fn rows(&mut self, flush: CacheFlush) -> Result<Box<dyn ByteSnapshot>> {
        self.release_all()?;
        let is_due = !flush.is_empty();
        let cut = Arc::new(Cut::new(self.writer.clone(), What::Snapshot, flush));
        if is_due {
            self.checkpoints.put_off(&cut);
        } else {
            cut.settle();
        }
        Ok(Box::new(RocksDbSnapshot::new(cut, self.writer.families().to_vec())))
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
        self.checkpoints.is_writing()
    }

    fn finish_flush(&mut self) {
        self.checkpoints.write_late();
    }

    fn try_finish_flush(&mut self) -> bool {
        if self.checkpoints.is_short_of(Stage::Written) {
            return false;
        }
        self.finish_flush();
        true
    }
}

impl ByteCursor for Cursor<'_> {
    fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.next()
    }
}

impl std::fmt::Debug for RocksDbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksDbStore").field("states", &self.writer.families().len()).finish_non_exhaustive()
    }
}

/// A cursor without entries.
pub(crate) fn empty<'c>() -> Box<dyn ByteCursor + 'c> {
    struct Empty;
    impl ByteCursor for Empty {
        fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
            Ok(None)
        }
    }
    Box::new(Empty)
}
