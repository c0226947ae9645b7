//! Checkpoint storage in a folder of a local or mounted file system.

mod mapped_file;
mod output;
mod writer;

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_api::storage::{Bytes, check_folder, check_path};
use backend_api::{Cancel, Error, ErrorKind, Result, Storage, StorageEntry, StorageFile, StorageWriter};
use tempfile::TempPath;
use walkdir::{DirEntry, WalkDir};

use mapped_file::MappedFile;
use writer::LocalWriter;

/// Names of unfinished files begin with this and end with [`RANDOM_LETTERS`] random letters and digits. No path of a
/// storage has a segment that begins with a dot.
const UNFINISHED: &str = ".unfinished-";

/// Length of the random part. It makes the name unique among all writers of all processes.
const RANDOM_LETTERS: usize = 16;

/// Files shorter than this are read whole: mapping them costs more than it saves.
const MAP_FROM: u64 = 64 << 10;

/// How often a step is repeated after another process or writer got in its way.
const TRIES: usize = 16;

/// A [`Storage`] in a folder of the file system, for one machine or for all that mount it. Clones are the same storage.
///
/// A file is written under a hidden, random name. [`finish`](StorageWriter::finish) gives it its own name, unless another
/// file has that name, and syncs the file and its folders before it returns. If a file system cannot sync folders, it is
/// assumed to keep names by itself. Larger files are mapped for reading, so only this storage may change files in the
/// folder. It never changes a file that has its name.
///
/// # Links
/// Every method follows links to folders and files, so a folder or the whole storage may be moved to another disk and
/// linked back. A link that leads nowhere is an error, because its target may not be mounted.
/// [`delete_folder`](Storage::delete_folder) removes links below the folder, but not their targets.
///
/// # Permissions
/// [`open`](Self::open) creates a missing root for its owner alone (mode 700). An existing root is used as it is. New files
/// and folders in it have the modes of the process's umask.
#[derive(Clone, Debug)]
pub struct LocalStorage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Locked while a folder gets its first file, and while empty folders are removed.
    folders: Mutex<()>,
}

impl LocalStorage {
    /// Opens the storage in the folder `root`, and creates the folder if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the folder cannot be created, or `root` is no folder.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let name = root.to_string_lossy().into_owned();
        let root = make_root(&root).map_err(|error| failed(error, &name))?;
        Ok(Self(Arc::new(Inner { root, folders: Mutex::new(()) })))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Creates an unfinished file in `folder`, and the folder if it is missing.
    fn create_unfinished(&self, folder: &Path) -> io::Result<(File, TempPath)> {
        let mut builder = tempfile::Builder::new();
        // The process's umask decides, as for any new file.
        builder.prefix(UNFINISHED).rand_bytes(RANDOM_LETTERS).permissions(Permissions::from_mode(0o666));
        let _folders = self.lock_folders();
        let mut tries = 0;
        loop {
            match fs::create_dir_all(folder).and_then(|()| builder.tempfile_in(folder)) {
                Ok(file) => return Ok(file.into_parts()),
                // Another process removed the empty folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn lock_folders(&self) -> MutexGuard<'_, ()> {
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes `folder` and its parents as long as they are empty.
    fn remove_empty(&self, folder: &Path) {
        let _folders = self.lock_folders();
        let below_root = folder.ancestors().take_while(|folder| *folder != self.root());
        for folder in below_root {
            // Usually it is not empty. A link stays, too.
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// Calls `visit` with every entry below `folder` that is not a folder, and its path. Skips names that are
    /// not UTF-8 and folders that are not valid storage paths, because they are foreign.
    fn walk(&self, folder: &str, visit: &mut dyn FnMut(String, &DirEntry) -> io::Result<()>) -> Result<()> {
        check_folder(folder)?;
        let top = self.root().join(folder);
        let is_path =
            |entry: &DirEntry| entry.file_name().to_str().is_some_and(|name| check_path(name).is_ok());
        // The walk itself finds links that lead back to a folder below the top.
        let leads_above = |entry: &DirEntry| {
            entry.path_is_symlink()
                && matches!((entry.path().canonicalize(), top.canonicalize()), (Ok(to), Ok(top)) if top.starts_with(&to))
        };
        let is_walked = |entry: &DirEntry| {
            entry.depth() == 0 || !entry.file_type().is_dir() || (is_path(entry) && !leads_above(entry))
        };
        let all = WalkDir::new(&top).follow_links(true);
        for entry in all.into_iter().filter_entry(is_walked) {
            let found = entry.map_or_else(unreadable, |entry| Ok(Some(entry)));
            let Some(entry) = found.map_err(|error| failed(error, folder))? else { continue };
            let path = entry.path().strip_prefix(self.root()).ok().and_then(Path::to_str);
            if let Some(path) = path.filter(|_| entry.depth() > 0 && !entry.file_type().is_dir()) {
                visit(path.to_owned(), &entry).map_err(|error| failed(error, path))?;
            }
        }
        Ok(())
    }
}

impl Storage for LocalStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        check_path(path)?;
        cancel.check().map_err(|error| error.in_file(path, None))?;
        let target = self.0.root.join(path);
        let folder = target.parent().unwrap_or(self.root());
        match self.create_unfinished(folder) {
            Ok((file, unfinished)) => {
                Ok(Box::new(LocalWriter::new(self.clone(), path, target, unfinished, file, cancel.clone())))
            }
            Err(error) => {
                self.remove_empty(folder);
                Err(failed(error, path))
            }
        }
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        check_path(path)?;
        let target = self.0.root.join(path);
        let open = || {
            // Opening a pipe would block, for example.
            if !behind_links(&target)?.is_some_and(|metadata| metadata.is_file()) {
                return Ok(None);
            }
            let Some(mut file) = existing(File::open(&target))? else { return Ok(None) };
            let len = file.metadata()?.len();
            if len >= MAP_FROM {
                return Ok(Some(Box::new(MappedFile::open(path, &file)?) as Box<dyn StorageFile>));
            }
            let mut bytes = Vec::with_capacity(len as usize);
            file.read_to_end(&mut bytes)?;
            Ok(Some(Box::new(Bytes::new(path, bytes)) as Box<dyn StorageFile>))
        };
        let file = open().map_err(|error| failed(error, path))?;
        file.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such file").in_file(path, None))
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        // Resolves links, so that a hard link to this path links the file.
        check_path(path).ok().and_then(|()| fs::canonicalize(self.0.root.join(path)).ok())
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        let mut entries = Vec::new();
        self.walk(folder, &mut |path, entry| {
            if entry.file_type().is_file()
                && check_path(&path).is_ok()
                && let Some(metadata) = existing(fs::metadata(entry.path()))?
            {
                entries.push(StorageEntry { path, len: metadata.len() });
            }
            Ok(())
        })?;
        entries.sort_unstable();
        Ok(entries)
    }

    fn delete(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let target = self.0.root.join(path);
        match fs::remove_file(&target) {
            // The path is a folder.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(()),
            result => existing(result).map_err(|error| failed(error, path))?,
        };
        self.remove_empty(target.parent().unwrap_or(self.root()));
        Ok(())
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        check_folder(folder)?;
        let target = self.0.root.join(folder);
        remove_below(&target).map_err(|error| failed(error, folder))?;
        self.remove_empty(&target);
        Ok(())
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        let mut count = 0;
        let mut folders = Vec::new();
        self.walk(folder, &mut |_, entry| {
            if entry.file_name().to_str().is_some_and(is_unfinished) {
                count += usize::from(existing(fs::remove_file(entry.path()))?.is_some());
                folders.extend(entry.path().parent().map(Path::to_owned));
            }
            Ok(())
        })?;
        folders.iter().for_each(|folder| self.remove_empty(folder));
        Ok(count)
    }
}

/// True for a name that this crate gives to unfinished files.
fn is_unfinished(name: &str) -> bool {
    name.strip_prefix(UNFINISHED).is_some_and(|random| {
        random.len() == RANDOM_LETTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Creates the folder durably. Returns its absolute path.
fn make_root(root: &Path) -> io::Result<PathBuf> {
    let root = std::path::absolute(root)?;
    let missing = root.ancestors().take_while(|folder| !folder.exists()).count();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
    for folder in root.ancestors().skip(1).take(missing) {
        sync_folder(folder)?;
    }
    Ok(root)
}

/// Makes the names in a folder durable, if the file system can do that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, Unsupported};
    match File::open(folder)?.sync_all() {
        // Some network and user-space file systems can only sync files.
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported) => {
            tracing::debug!(%error, folder = %folder.display(), "the file system does not sync folders");
            Ok(())
        }
        result => result,
    }
}

/// Removes everything in `folder`, which may be missing or not a folder.
fn remove_below(folder: &Path) -> io::Result<()> {
    let mut first_error = None;
    let Some(entries) = existing(fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let removed = entry.and_then(|entry| match existing(entry.file_type())? {
            Some(kind) if kind.is_dir() => remove_folder(&entry.path()),
            Some(_) => existing(fs::remove_file(entry.path())).map(drop),
            None => Ok(()),
        });
        first_error = first_error.or(removed.err());
    }
    first_error.map_or(Ok(()), Err)
}

/// Removes a folder with everything in it, including files that a writer adds meanwhile.
fn remove_folder(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match existing(fs::remove_dir_all(folder)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => tries += 1,
            result => return result.map(drop),
        }
    }
}

/// The metadata of `path`, or of the target of its links. `None` if the name does not exist. A dangling link
/// is an error.
fn behind_links(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match existing(fs::metadata(path))? {
        None if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) => Err(leads_nowhere(path)),
        found => Ok(found),
    }
}

fn leads_nowhere(link: &Path) -> io::Error {
    let message = format!("the link {} leads nowhere; is what it leads to mounted?", link.display());
    io::Error::new(io::ErrorKind::NotFound, message)
}

/// Maps the error of an entry to `None` if the entry is gone, or is a link to a folder above it.
fn unreadable(error: walkdir::Error) -> io::Result<Option<DirEntry>> {
    if error.loop_ancestor().is_some() {
        return Ok(None);
    }
    if let Some(path) = error.path() {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || (error.io_error().is_some_and(is_absence) && behind_links(path)?.is_none()) {
            return Ok(None);
        }
    }
    Err(error.into())
}

/// Maps the error for a missing name to `None`.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn failed(error: io::Error, path: &str) -> Error {
    Error::new(ErrorKind::Io, error.to_string()).with_source(error).in_file(path, None)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_cannot_sync_folders_is_accepted() {
        // The file system of processes answers with EINVAL, as some network file systems do.
        let folder = Path::new("/proc/self");
        let refused = File::open(folder).unwrap().sync_all().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        sync_folder(folder).unwrap();
        // Other errors stay errors.
        assert_eq!(sync_folder(Path::new("/proc/none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
