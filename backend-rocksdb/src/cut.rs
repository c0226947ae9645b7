//! The moment at which a checkpoint is taken from the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backend_api::{Error, ErrorKind, Result};
use backend_bytes::CacheFlush;
use rocksdb::Snapshot;
use rocksdb::checkpoint::Checkpoint;
use self_cell::self_cell;

use crate::database::Database;
use crate::error::failed;
use crate::late::LateFiles;
use crate::writes::Writer;

/// What a checkpoint is made of, of the database as it was when this was made; it is taken from there as soon as somebody
/// asks for it.
///
/// First what the caches have is written, and then, for links, the write buffers are flushed; both take their time. So the
/// owner of the database only notes that it is due, and goes on; the task of the checkpoint does it on its own thread. What
/// the owner writes before it is made is not to be part of it, so that has to wait elsewhere.
pub(crate) struct Cut {
    writer: Writer,
    what: What,
    late: Mutex<Late>,
    state: Mutex<State>,
    stage: Mutex<Stage>,
    goes_on: Condvar,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nobody has begun.
    Due,
    /// What the caches have is being written,
    Writing,
    /// and is written.
    Written,
    /// It is being made,
    Making,
    /// and is made: what is written now is not part of it.
    Made,
}

/// So long somebody waits who would rather go on.
const MOMENT: Duration = Duration::from_millis(1);

/// What the caches have that is to be part of it.
enum Late {
    Due(CacheFlush),
    Written(Result<()>),
}

/// What a checkpoint is made of.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// Hard links to all files.
    Links,
    /// A snapshot that can be read.
    Snapshot,
}

enum State {
    Due,
    Made(Result<Made>),
    Taken,
}

/// What was taken from the database.
pub(crate) enum Made {
    Links(CutFolder),
    Snapshot(HeldSnapshot),
}

impl Cut {
    pub fn new(writer: Writer, what: What, late: CacheFlush) -> Self {
        let (late, state) = (Mutex::new(Late::Due(late)), Mutex::new(State::Due));
        Self { writer, what, late, state, stage: Mutex::new(Stage::Due), goes_on: Condvar::new() }
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    /// Waits for a moment until it is so far, and tells how far it is then.
    pub fn wait(&self, until: Stage) -> Stage {
        let waited = self.goes_on.wait_timeout_while(lock(&self.stage), MOMENT, |stage| *stage < until);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn enter(&self, stage: Stage) {
        *lock(&self.stage) = stage;
        self.goes_on.notify_all();
    }

    /// Whether it takes long to make, even when what the caches have is written.
    pub fn takes_long(&self) -> bool {
        matches!(self.what, What::Links)
    }

    /// Writes what the caches have, if nobody has.
    pub fn write_late(&self) {
        let mut late = lock(&self.late);
        if let Late::Due(due) = &mut *late {
            let due = std::mem::take(due);
            // So it stays if a codec panics: what is not written must not be missing from a checkpoint.
            let interrupted =
                Error::new(ErrorKind::IllegalState, "writing what the caches have for it was interrupted");
            *late = Late::Written(Err(interrupted));
            self.enter(Stage::Writing);
            *late = Late::Written(due.apply(&mut LateFiles::new(&self.writer)));
            self.enter(Stage::Written);
        }
    }

    /// Does what is due, if nobody has. An error is for whoever takes it.
    pub fn settle(&self) {
        self.write_late();
        let mut state = lock(&self.state);
        if let State::Due = *state {
            self.enter(Stage::Making);
            *state = State::Made(self.make());
            self.enter(Stage::Made);
        }
    }

    /// Does what is due, if nobody has, and takes what was made.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), and those of codecs.
    pub fn take(&self) -> Result<Made> {
        self.settle();
        match std::mem::replace(&mut *lock(&self.state), State::Taken) {
            State::Made(made) => made,
            State::Due | State::Taken => {
                Err(Error::new(ErrorKind::IllegalState, "a checkpoint is taken from the database twice"))
            }
        }
    }

    fn make(&self) -> Result<Made> {
        if let Late::Written(written) = &mut *lock(&self.late) {
            std::mem::replace(written, Ok(()))?;
        }
        let database = self.writer.database();
        match self.what {
            What::Snapshot => Ok(Made::Snapshot(HeldSnapshot::new(Arc::clone(database), |database| {
                database.db().snapshot()
            }))),
            What::Links => {
                let folder = CutFolder(database.fresh_path("cut"));
                let checkpoint = Checkpoint::new(database.db()).map_err(failed)?;
                checkpoint.create_checkpoint(&folder.0).map_err(failed)?;
                Ok(Made::Links(folder))
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

self_cell!(
    /// A snapshot of RocksDB with the database that it belongs to.
    pub(crate) struct HeldSnapshot {
        owner: Arc<Database>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// A folder of links, which is removed at the end.
pub(crate) struct CutFolder(PathBuf);

impl CutFolder {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for CutFolder {
    fn drop(&mut self) {
        // What stays goes with the working folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
