//! Checkpoints of RocksDB's own files.

mod flush;
pub(crate) mod manifest;
pub(crate) mod point;
mod upload;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::{AttemptTarget, CheckpointLedger, Error, ErrorKind, SnapshotRequest, StateFile};
use backend_bytes::{CacheFlush, FreezeRequest, NativeTask};

use crate::writes::Writer;
use manifest::Table;
use point::{PointKind, PointView, SnapshotPoint, Step};
use upload::Upload;

/// A table and the file of the checkpoint that holds it.
#[derive(Clone, Debug)]
pub(crate) struct StoredTable {
    pub table: Table,
    pub file: StateFile,
}

/// The tables of a checkpoint, by their names in the database.
pub(crate) type StoredTables = BTreeMap<String, StoredTable>;

/// How often the owner waits a moment for a task that has not begun, before it does the task's work itself.
const PATIENCE: u32 = 100;

/// The checkpoints of a database, and the snapshot point that is due.
pub(crate) struct Checkpoints {
    target: AttemptTarget,
    incremental: bool,
    transfer_threads: usize,
    /// The tables of each checkpoint. One of rows has none.
    ledger: CheckpointLedger<StoredTables>,
    due: Option<Arc<SnapshotPoint>>,
    /// How often the owner has waited for a task to begin with `due`.
    waited: u32,
}

impl Checkpoints {
    /// `restored` is the checkpoint that the first increment may build on, with its tables.
    pub fn new(
        target: AttemptTarget,
        incremental: bool,
        transfer_threads: usize,
        restored: Option<(u64, StoredTables)>,
    ) -> Self {
        let ledger = CheckpointLedger::new(restored);
        Self { target, incremental, transfer_threads, ledger, due: None, waited: 0 }
    }

    /// True if writes must wait because the point that is due must not include them.
    #[inline]
    pub fn is_point_due(&mut self) -> bool {
        self.due.is_some() && self.advance()
    }

    #[cold]
    fn advance(&mut self) -> bool {
        let Some(point) = &self.due else { return false };
        // A task that was dropped needs no point.
        if Arc::strong_count(point) > 1 && point.step() != Step::Made {
            if point.is_slow() || point.step() < Step::Flushed {
                return true;
            }
            point.settle();
        }
        self.due = None;
        false
    }

    /// True while dirty cache entries of the due point are not flushed.
    pub fn is_flushing(&self) -> bool {
        self.due.as_ref().is_some_and(|point| Arc::strong_count(point) > 1 && point.step() < Step::Flushed)
    }

    /// Flushes the dirty cache entries of the due point.
    pub fn flush(&mut self) {
        match self.due.as_ref().filter(|point| Arc::strong_count(point) > 1) {
            Some(point) => point.flush(),
            None => self.due = None,
        }
    }

    /// Waits briefly for the task to take the due point to `step`. Returns true if the point is not there yet
    /// and the owner should continue with other work.
    pub fn is_short_of(&mut self, step: Step) -> bool {
        let Some(point) = self.due.as_ref().filter(|point| Arc::strong_count(point) > 1) else {
            return false;
        };
        let PointView { step: reached, busy } = point.wait(step);
        self.waited = if busy { 0 } else { self.waited + 1 };
        reached < step && self.waited < PATIENCE
    }

    /// Makes the due point, which excludes later writes.
    pub fn settle(&mut self) {
        if let Some(point) = self.due.take().filter(|point| Arc::strong_count(point) > 1) {
            point.settle();
        }
    }

    /// Records a due point. A task has the other reference to it.
    pub fn put_off(&mut self, point: &Arc<SnapshotPoint>) {
        self.settle();
        self.waited = 0;
        self.due = Some(Arc::clone(point));
    }
}

impl Checkpoints {
    /// True if checkpoints consist of RocksDB's files.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// Records a due checkpoint, and returns the task that writes it.
    pub fn freeze(&mut self, writer: &Writer, request: FreezeRequest<'_>, flush: CacheFlush) -> NativeTask {
        let point = Arc::new(SnapshotPoint::new(writer.clone(), PointKind::Links, flush));
        self.put_off(&point);
        let (base, entry) = self.ledger.begin(&request.request);
        let base = base.filter(|_| self.incremental).unwrap_or_default();
        let upload = Upload {
            meta: request.meta.clone(),
            layer: request.layer,
            target: self.target.for_request(&request.request),
            shared: self.incremental && request.request.savepoint().is_none(),
            threads: self.transfer_threads,
            base,
        };
        Box::new(move |cancel, progress| {
            let done = match point.take() {
                Ok(point::Made::Links(folder)) => upload.run(&folder, cancel, progress),
                Ok(point::Made::Snapshot(_)) => {
                    Err(Error::new(ErrorKind::IllegalState, "the snapshot point has no links"))
                }
                Err(error) => Err(error),
            };
            // A backend that is closed fails the task; the task reports that it was cancelled.
            let done = done.or_else(|error| cancel.check().and(Err(error)))?;
            entry.written(done.tables);
            Ok(done.files)
        })
    }

    /// Records a checkpoint of rows. Later checkpoints cannot build on its files.
    pub fn begin_rows(&mut self, request: &SnapshotRequest) {
        self.ledger.begin(request).1.written(StoredTables::new());
    }

    /// A checkpoint was confirmed.
    pub fn complete(&mut self, checkpoint_id: u64) {
        self.ledger.complete(checkpoint_id);
    }

    /// A checkpoint will not be confirmed.
    pub fn aborted(&mut self, checkpoint_id: u64) {
        self.ledger.abort(checkpoint_id);
    }
}
