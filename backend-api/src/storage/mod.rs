//! Where checkpoints are kept: named files that are written once, as a whole.

mod memory;
mod path;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

pub use memory::MemoryStorage;
pub use path::{check_folder, check_path, parent};

use crate::{Cancel, Error, ErrorKind, Result};

/// A store of files, used as `Arc<dyn Storage>`.
///
/// # Contract
/// - A path is relative to the storage, its segments separated by `/`. A segment is not empty and does not
///   begin with a dot (so there is no `..`, and such names are free for the storage's own use). A folder
///   is a path too, or `""` for the root.
/// - Folders are not made: they are there while a file is in them.
///
/// # Behavior
/// - A file appears under its name at once and whole, when [`StorageWriter::finish`] returns, and survives
///   a crash from then on. It never replaces a file: of two writers of one name the first to finish has it.
/// - A writer that is dropped without `finish` leaves nothing. What a crash leaves is never listed
///   nor opened; [`sweep`](Self::sweep) and [`delete_folder`](Self::delete_folder) remove it.
/// - Deleting what is not there succeeds. A deletion need not survive a crash.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a path that is none, from every method; [`ErrorKind::Io`] when the storage
/// fails, with the path as the error's [file](Error::file).
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Starts to write the file `path`. Cancelling makes the writer fail; a storage that blocks is woken.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`]. Here or from the writer: [`ErrorKind::AlreadyExists`] if there is a file of that name;
    /// [`ErrorKind::Io`] if `path` is a folder or leads through a file.
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no file of that name.
    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>>;

    /// Where the file `path` lies in this machine's file system, if it does, for those who would rather link to it than
    /// copy it. Nobody may change it there.
    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let _ = path;
        None
    }

    /// All files in `folder` and below, sorted by path; none if there is no such folder.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>>;

    /// Deletes a file, and the folders that are empty then.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    fn delete(&self, path: &str) -> Result<()>;

    /// Deletes all that is in `folder` and below, unfinished files too: their writers fail with [`ErrorKind::Io`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`]. What could be deleted is.
    fn delete_folder(&self, folder: &str) -> Result<()>;

    /// Deletes the unfinished files in `folder` and below, and gives their number.
    ///
    /// To be called when no writer is at work there, after a crash: one that is fails with [`ErrorKind::Io`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    fn sweep(&self, folder: &str) -> Result<usize>;
}

/// A file being written. Dropped without [`finish`](Self::finish), it leaves nothing.
pub trait StorageWriter: fmt::Debug + Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], also after an earlier error; [`ErrorKind::Cancelled`].
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the file durable under its name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if there is a file of that name, which stays as it is; else as
    /// [`write`](Self::write). After an error there is no new file of that name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A file open for reading. It stays readable as it is when its name is deleted.
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Its path within the storage.
    fn path(&self) -> &str;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// `len` bytes from `offset` on, lent if the file is in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the file ends before; [`ErrorKind::Io`].
    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>>;

    /// True if it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file that [`Storage::list`] found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageEntry {
    /// Path within the storage.
    pub path: String,
    /// Length in bytes.
    pub len: u64,
}

/// A [`StorageFile`] over bytes in memory: a state inlined in the metadata, a small file read whole.
#[derive(Clone)]
pub struct Bytes<T> {
    path: String,
    bytes: T,
}

impl<T: AsRef<[u8]>> Bytes<T> {
    /// Reads `bytes` as the file `path`, which errors then name.
    pub fn new(path: impl Into<String>, bytes: T) -> Self {
        Self { path: path.into(), bytes }
    }
}

impl<T: AsRef<[u8]> + Send + Sync> StorageFile for Bytes<T> {
    fn path(&self) -> &str {
        &self.path
    }

    fn len(&self) -> u64 {
        self.bytes.as_ref().len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        let bytes = self.bytes.as_ref();
        let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(len)?));
        range.and_then(|range| bytes.get(range)).map(Cow::Borrowed).ok_or_else(|| {
            let message = format!("the file has {} bytes, and {len} more are expected here", bytes.len());
            Error::new(ErrorKind::Corrupt, message).in_file(&self.path, Some(offset))
        })
    }
}

impl<T: AsRef<[u8]>> fmt::Debug for Bytes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes").field("path", &self.path).field("len", &self.bytes.as_ref().len()).finish()
    }
}
