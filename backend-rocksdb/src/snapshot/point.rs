//! The moment at which a checkpoint views the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backend_api::{Error, ErrorKind, Result};
use backend_bytes::CacheFlush;
use rocksdb::Snapshot;
use rocksdb::checkpoint::Checkpoint;
use self_cell::self_cell;

use super::flush::FlushWriter;
use crate::database::Database;
use crate::error::failed;
use crate::writes::Writer;

/// How long one wait of the owner lasts.
const MOMENT: Duration = Duration::from_millis(1);

/// A consistent view of the database that a checkpoint is written from.
///
/// Making it flushes the dirty cache entries to the database. For hard links it also flushes the write
/// buffers to files. Both take time, so the owner of the database only records that a point is due, and
/// continues. The checkpoint's task makes it on its own thread. Writes of the owner before that must stay out
/// of the point, so they wait as pending writes. The owner can also make the point itself.
pub(crate) struct SnapshotPoint {
    writer: Writer,
    kind: PointKind,
    state: Mutex<State>,
    changed: Condvar,
}

/// What a checkpoint is written from.
#[derive(Clone, Copy)]
pub(crate) enum PointKind {
    /// Hard links to all files.
    Links,
    /// A snapshot of RocksDB.
    Snapshot,
}

/// The steps of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Not all dirty cache entries are flushed.
    Due,
    /// All dirty cache entries are flushed. The point does not exist yet.
    Flushed,
    /// Later writes are not part of the point. It may have failed.
    Made,
}

/// The last step of a point, and if a thread works on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PointView {
    pub step: Step,
    pub busy: bool,
}

enum State {
    /// The dirty cache entries wait to be flushed.
    Due(CacheFlush),
    Flushing,
    Flushed,
    Making,
    Made(Result<Made>),
    Taken,
}

/// What was made of the database.
pub(crate) enum Made {
    Links(LinkFolder),
    Snapshot(HeldSnapshot),
}

impl State {
    fn view(&self) -> PointView {
        let (step, busy) = match self {
            Self::Due(_) => (Step::Due, false),
            Self::Flushing => (Step::Due, true),
            Self::Flushed => (Step::Flushed, false),
            Self::Making => (Step::Flushed, true),
            Self::Made(_) | Self::Taken => (Step::Made, false),
        };
        PointView { step, busy }
    }
}

impl SnapshotPoint {
    pub fn new(writer: Writer, kind: PointKind, flush: CacheFlush) -> Self {
        Self { writer, kind, state: Mutex::new(State::Due(flush)), changed: Condvar::new() }
    }

    /// The last step.
    pub fn step(&self) -> Step {
        self.lock().view().step
    }

    /// Waits a moment for `step`, and returns the last step.
    pub fn wait(&self, step: Step) -> PointView {
        let until = |state: &mut State| state.view().step < step;
        let waited = self.changed.wait_timeout_while(self.lock(), MOMENT, until);
        waited.unwrap_or_else(PoisonError::into_inner).0.view()
    }

    /// True if it takes long to make after the dirty cache entries are flushed.
    pub fn is_slow(&self) -> bool {
        matches!(self.kind, PointKind::Links)
    }

    /// Flushes the dirty cache entries, unless that is done. Waits if another thread does it.
    pub fn flush(&self) {
        let mut state = self.idle();
        if let State::Due(due) = &mut *state {
            let due = std::mem::take(due);
            *state = State::Flushing;
            drop(state);
            let work = Work { point: self, failure: "flushing the cache was interrupted" };
            work.end(match due.apply(&mut FlushWriter::new(&self.writer)) {
                Ok(()) => State::Flushed,
                Err(error) => State::Made(Err(error)),
            });
        }
    }

    /// Makes the point, unless that is done. An error is kept for [`take`](Self::take).
    pub fn settle(&self) {
        self.flush();
        let mut state = self.idle();
        if matches!(*state, State::Flushed) {
            *state = State::Making;
            drop(state);
            let work = Work { point: self, failure: "making the snapshot was interrupted" };
            work.end(State::Made(self.make()));
        }
    }

    /// Makes the point, unless that is done, and takes it.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), and those of codecs.
    pub fn take(&self) -> Result<Made> {
        self.settle();
        match std::mem::replace(&mut *self.idle(), State::Taken) {
            State::Made(made) => made,
            _ => Err(Error::new(ErrorKind::IllegalState, "a snapshot point is taken twice")),
        }
    }

    fn make(&self) -> Result<Made> {
        let database = self.writer.database();
        match self.kind {
            PointKind::Snapshot => Ok(Made::Snapshot(HeldSnapshot::new(Arc::clone(database), |database| {
                database.db().snapshot()
            }))),
            PointKind::Links => {
                database.flush()?;
                let folder = LinkFolder(database.fresh_path("links"));
                let checkpoint = Checkpoint::new(database.db()).map_err(failed)?;
                // It would flush by itself, and wait for as long as flushes would delay writes.
                checkpoint.create_checkpoint_with_log_size(&folder.0, u64::MAX).map_err(failed)?;
                Ok(Made::Links(folder))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once no thread is at work.
    fn idle(&self) -> MutexGuard<'_, State> {
        let until = |state: &mut State| state.view().busy;
        self.changed.wait_while(self.lock(), until).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work on a point outside of its lock. If a codec panics, the point fails, so that no thread waits for it.
struct Work<'p> {
    point: &'p SnapshotPoint,
    failure: &'static str,
}

impl Work<'_> {
    fn end(self, state: State) {
        *self.point.lock() = state;
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let mut state = self.point.lock();
        if state.view().busy {
            *state = State::Made(Err(Error::new(ErrorKind::IllegalState, self.failure)));
        }
        drop(state);
        self.point.changed.notify_all();
    }
}

self_cell!(
    /// A snapshot of RocksDB with the database that it belongs to.
    pub(crate) struct HeldSnapshot {
        owner: Arc<Database>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// A folder of hard links, removed when dropped.
pub(crate) struct LinkFolder(PathBuf);

impl LinkFolder {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LinkFolder {
    fn drop(&mut self) {
        // What stays goes with the working folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
