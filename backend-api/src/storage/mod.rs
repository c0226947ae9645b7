//! Storage of checkpoints: named files that are written once.

mod memory;
mod mounted;
mod path;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

pub use memory::MemoryStorage;
pub use mounted::MountedStorage;
pub use path::{check_folder, check_path, parent};

use crate::{Cancel, Error, ErrorKind, Result};

/// A store of files, used as `Arc<dyn Storage>`.
///
/// # Contract
/// - A path is relative to the storage, with segments separated by `/`. A segment is not empty and does not
///   begin with a dot (so there is no `..`, and the storage may use such names itself). A folder is a path
///   too, or `""` for the root.
/// - A folder exists while a file is in it. Folders are not created explicitly. An object store has none, so there a name may
///   be a file and a folder at once.
///
/// # Behavior
/// - A file appears complete under its name when [`StorageWriter::finish`] returns, and survives a crash from
///   then on. It never replaces a file: of two writers of one name, the first to finish gets it.
/// - A writer that is dropped without `finish` leaves nothing. Leftovers of a crash are never listed or
///   opened. [`sweep`](Self::sweep) and [`delete_folder`](Self::delete_folder) remove them.
/// - Deleting a missing file succeeds. A deletion need not survive a crash.
///
/// # Errors
/// Every method: [`ErrorKind::InvalidArgument`] for an invalid path. [`ErrorKind::Io`] when the storage
/// fails, with the path as the error's [file](Error::file).
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Starts to write the file `path`. After a cancellation the writer fails, and a blocked storage is
    /// woken.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`]. Here or from the writer: [`ErrorKind::AlreadyExists`] if a file of that name
    /// exists, [`ErrorKind::Io`] if `path` is a folder or leads through a file.
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if no file of that name exists.
    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>>;

    /// The location of the file `path` in this machine's file system, if it has one, so that it can be linked
    /// instead of copied. It must not be changed there.
    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let _ = path;
        None
    }

    /// All files in `folder` and below, sorted by path. Empty if the folder does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>>;

    /// Deletes a file, and folders that become empty.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    fn delete(&self, path: &str) -> Result<()>;

    /// Deletes everything in `folder` and below, including unfinished files, whose writers fail with
    /// [`ErrorKind::Io`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`]. Deletes as much as possible.
    fn delete_folder(&self, folder: &str) -> Result<()>;

    /// Deletes the unfinished files in `folder` and below, and returns their number.
    ///
    /// Call it after a crash, when no writer works there. A writer that does fails with [`ErrorKind::Io`].
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
    /// [`ErrorKind::AlreadyExists`] if a file of that name exists, which is unchanged. Otherwise as
    /// [`write`](Self::write). After an error there is no new file of that name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A file open for reading. It stays readable and unchanged after its name is deleted: a local one from the start, a long one
/// in an object store from its first read on. Before that the read fails with [`ErrorKind::NotFound`].
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Its path within the storage.
    fn path(&self) -> &str;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// `len` bytes from `offset` on. Borrowed if the file is in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the file ends before. [`ErrorKind::Io`].
    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>>;

    /// True if it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file listed by [`Storage::list`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorageEntry {
    /// Path within the storage.
    pub path: String,
    /// Length in bytes.
    pub len: u64,
}

/// A [`StorageFile`] over bytes in memory: state that is inline in the metadata, or a small file.
#[derive(Clone)]
pub struct Bytes<T> {
    path: String,
    bytes: T,
}

impl<T: AsRef<[u8]>> Bytes<T> {
    /// Wraps `bytes` as the file `path`, which errors name.
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
