//! Files in a folder of a local (or mounted) file system.

mod mapped_file;
mod output;
mod writer;

use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_api::storage::{Bytes, check_folder, check_path};
use backend_api::{Cancel, Error, ErrorKind, Result, Storage, StorageEntry, StorageFile, StorageWriter};

use mapped_file::MappedFile;
use writer::LocalWriter;

/// How the names of unfinished files begin. No path of a storage has a segment that begins with a dot.
const UNFINISHED: &str = ".unfinished-";

/// Files shorter than this are read whole: mapping them costs more than it saves.
const MAP_FROM: u64 = 64 << 10;

/// How often a step is tried again that another process, or a writer, has spoilt by its own.
const TRIES: usize = 16;

/// A [`Storage`] in a folder of the file system, for one machine or for all that mount it. Clones are the same storage.
///
/// A file is written under a hidden name and renamed; file and folders are synced before
/// [`finish`](StorageWriter::finish) returns. Longer files are mapped for reading, so nobody but
/// this storage may change a file in the folder: once named, a file never changes.
#[derive(Clone, Debug)]
pub struct LocalStorage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    next_unfinished: AtomicU64,
    /// Held while a folder gets its first file, and while empty folders are removed.
    folders: Mutex<()>,
}

impl LocalStorage {
    /// The storage in the folder `root`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it cannot be made, or is no folder.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let name = root.to_string_lossy().into_owned();
        let root = make_root(&root).map_err(|error| failed(error, &name))?;
        Ok(Self(Arc::new(Inner { root, next_unfinished: AtomicU64::new(0), folders: Mutex::new(()) })))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Makes an unfinished file in the folder of `target`, and that folder.
    fn create_unfinished(&self, target: &Path) -> io::Result<(File, PathBuf)> {
        let folder = target.parent().unwrap_or(self.root());
        let _folders = self.lock_folders();
        let mut tries = 0;
        loop {
            let number = self.0.next_unfinished.fetch_add(1, Ordering::Relaxed);
            let unfinished = folder.join(format!("{UNFINISHED}{number}"));
            let create = || File::options().write(true).create_new(true).open(&unfinished);
            match fs::create_dir_all(folder).and_then(|()| create()) {
                Ok(file) => return Ok((file, unfinished)),
                // Of a crashed process, or of another one; there are finitely many.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                // Another process found the folder empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn lock_folders(&self) -> MutexGuard<'_, ()> {
        self.0.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes `folder` and those above it, as far as they are empty.
    fn remove_empty(&self, folder: &Path) {
        let _folders = self.lock_folders();
        let below_root = folder.ancestors().take_while(|folder| *folder != self.root());
        for folder in below_root {
            // Not empty, as a rule.
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// Calls `visit` with every entry in `folder` and below that is no folder, and its path.
    fn walk(&self, folder: &str, visit: &mut dyn FnMut(String, DirEntry) -> io::Result<()>) -> Result<()> {
        check_folder(folder)?;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let Some(entries) =
                existing(fs::read_dir(self.0.root.join(&folder))).map_err(|e| failed(e, &folder))?
            else {
                continue;
            };
            for entry in entries {
                let step = || {
                    let entry = entry?;
                    let Some(kind) = existing(entry.file_type())? else { return Ok(()) };
                    let name = entry.file_name();
                    // Files of others may have names that are no text, or no paths here.
                    let Some(name) = name.to_str() else { return Ok(()) };
                    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                    if !kind.is_dir() {
                        return visit(path, entry);
                    }
                    if check_path(&path).is_ok() {
                        folders.push(path);
                    }
                    Ok(())
                };
                step().map_err(|error| failed(error, &folder))?;
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
        match self.create_unfinished(&target) {
            Ok((file, unfinished)) => {
                Ok(Box::new(LocalWriter::new(self.clone(), path, target, unfinished, file, cancel.clone())))
            }
            Err(error) => {
                self.remove_empty(target.parent().unwrap_or(self.root()));
                Err(failed(error, path))
            }
        }
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        check_path(path)?;
        let target = self.0.root.join(path);
        let open = || {
            let Some(metadata) = existing(fs::symlink_metadata(&target))? else { return Ok(None) };
            if !metadata.is_file() {
                return Ok(None);
            }
            let Some(mut file) = existing(File::open(&target))? else { return Ok(None) };
            // It may have been replaced since.
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
        check_path(path).ok().map(|()| self.0.root.join(path))
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        let mut entries = Vec::new();
        self.walk(folder, &mut |path, entry| {
            if check_path(&path).is_ok()
                && let Some(metadata) = existing(entry.metadata())?
                && metadata.is_file()
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
            // A folder is no file.
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
        self.walk(folder, &mut |path, entry| {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
                count += usize::from(existing(fs::remove_file(entry.path()))?.is_some());
                folders.push(self.0.root.join(path));
            }
            Ok(())
        })?;
        for folder in folders.iter().filter_map(|unfinished| unfinished.parent()) {
            self.remove_empty(folder);
        }
        Ok(count)
    }
}

/// Makes the folder durably, and gives its absolute path.
fn make_root(root: &Path) -> io::Result<PathBuf> {
    let root = std::path::absolute(root)?;
    let missing = root.ancestors().take_while(|folder| !folder.exists()).count();
    fs::create_dir_all(&root)?;
    for folder in root.ancestors().skip(1).take(missing) {
        sync_folder(folder)?;
    }
    Ok(root)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes all that is in `folder`, which may be gone, or be no folder.
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

/// Removes a folder with all that is in it, also what a writer adds meanwhile.
fn remove_folder(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match existing(fs::remove_dir_all(folder)) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => tries += 1,
            result => return result.map(drop),
        }
    }
}

/// `None` if there is nothing of that name.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn failed(error: io::Error, path: &str) -> Error {
    Error::new(ErrorKind::Io, error.to_string()).with_source(error).in_file(path, None)
}
