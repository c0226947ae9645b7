//! The folder of one backend's working files.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use backend_api::Result;

use crate::error::io_failed;

/// What the names of all these folders begin with.
const PREFIX: &str = "rocksdb-";

/// A folder that is its owner's alone, and is removed with it.
///
/// As long as the owner lives it holds a lock on the folder, which ends with the process, however that ends. So a folder
/// without a lock is one that a crash has left, and the next backend that works in the same place removes it.
#[derive(Debug)]
pub(crate) struct WorkingFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkingFolder {
    /// Makes a new folder in `root`, which is made if it is not there, and removes what crashes have left there.
    pub fn create(root: &Path, operator: &str, subtask: u16) -> Result<Self> {
        let make = || {
            fs::create_dir_all(root)?;
            // Between making a folder and locking it nobody else may look at it.
            let all = File::open(root)?;
            all.lock()?;
            sweep(root)?;
            let mut number = 0_u64;
            loop {
                let path = root.join(format!("{PREFIX}{operator}-{subtask}-{number}"));
                match fs::create_dir(&path) {
                    Ok(()) => {
                        let lock = File::open(&path)?;
                        lock.lock()?;
                        return Ok(Self { path, _lock: lock });
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                    Err(error) => return Err(error),
                }
            }
        };
        make().map_err(|error| io_failed(error, root))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failed(error, &self.path)),
            _ => Ok(()),
        }
    }
}

impl Drop for WorkingFolder {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, "the working folder was not removed");
        }
    }
}

/// Removes the folders in `root` that nobody has locked.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let left = File::open(entry.path()).map(|folder| match folder.try_lock() {
            Ok(()) => fs::remove_dir_all(entry.path()),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match left {
            // Its owner has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(result) => result?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_crash_left_is_removed_and_what_is_in_use_is_not() {
        let root = tempfile::tempdir().unwrap();
        let used = WorkingFolder::create(root.path(), "op", 0).unwrap();
        fs::write(used.path().join("file"), "1").unwrap();
        // Nobody holds a lock on these; one is not ours.
        fs::create_dir(root.path().join("rocksdb-op-0-7")).unwrap();
        fs::write(root.path().join("rocksdb-op-0-7/file"), "1").unwrap();
        fs::create_dir(root.path().join("other")).unwrap();
        let second = WorkingFolder::create(root.path(), "op", 0).unwrap();
        assert_eq!(names(root.path()), ["other", "rocksdb-op-0-0", "rocksdb-op-0-1"]);
        assert!(used.path().join("file").exists());
        drop(used);
        assert_eq!(names(root.path()), ["other", "rocksdb-op-0-1"]);
        second.remove().unwrap();
        second.remove().unwrap();
        drop(second);
        assert_eq!(names(root.path()), ["other"]);
    }
}
