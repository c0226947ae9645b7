//! The moment at which a checkpoint is taken from the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_api::bytes::LateWrites;
use backend_api::{Error, ErrorKind, Result};
use rocksdb::Snapshot;
use rocksdb::checkpoint::Checkpoint;
use self_cell::self_cell;

use crate::database::Database;
use crate::error::failed;
use crate::writes::Writer;

/// What a checkpoint is made of, of the database as it was when this was made; it is taken from there as soon as somebody
/// asks for it.
///
/// First what the caches have is written, and for links the write buffers are flushed, which takes its time. So the owner
/// of the database only notes that it is due, and goes on; the task of the checkpoint does it on its own thread. If the
/// owner wants to write before that, it does it itself, or waits until it is done: what it writes is not to be part of it.
pub(crate) struct Cut {
    writer: Writer,
    what: What,
    state: Mutex<State>,
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
    Due(LateWrites),
    Made(Result<Made>),
    Taken,
}

/// What was taken from the database.
pub(crate) enum Made {
    Links(CutFolder),
    Snapshot(Held),
}

impl Cut {
    pub fn new(writer: Writer, what: What, late: LateWrites) -> Self {
        Self { writer, what, state: Mutex::new(State::Due(late)) }
    }

    /// Does what is due, if nobody has. An error is for whoever takes it.
    pub fn settle(&self) {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Due(late) => *state = State::Made(self.make(late)),
            other => *state = other,
        }
    }

    /// Does what is due, if nobody has, and takes what was made.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), and those of codecs.
    pub fn take(&self) -> Result<Made> {
        self.settle();
        match std::mem::replace(&mut *self.lock(), State::Taken) {
            State::Made(made) => made,
            State::Due(_) | State::Taken => {
                Err(Error::new(ErrorKind::IllegalState, "a checkpoint is taken from the database twice"))
            }
        }
    }

    fn make(&self, late: LateWrites) -> Result<Made> {
        late.apply(&mut |batch| self.writer.write(batch))?;
        let database = self.writer.database();
        match self.what {
            What::Snapshot => {
                Ok(Made::Snapshot(Held::new(Arc::clone(database), |database| database.db().snapshot())))
            }
            What::Links => {
                let folder = CutFolder(database.fresh_path("cut"));
                let checkpoint = Checkpoint::new(database.db()).map_err(failed)?;
                checkpoint.create_checkpoint(&folder.0).map_err(failed)?;
                Ok(Made::Links(folder))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What panics under the lock leaves it as taken.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

self_cell!(
    /// A snapshot of RocksDB with the database that it belongs to.
    pub(crate) struct Held {
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
