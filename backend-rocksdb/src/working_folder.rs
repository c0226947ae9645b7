//! The folder of one backend's working files.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backend_api::Result;

use crate::error::io_failed;

/// Start of the names of all working folders.
const PREFIX: &str = "rocksdb-";

/// Letters and digits of the random part at the end of a name.
const RANDOM_LEN: usize = 16;

/// The file that marks a folder as a working folder. Its owner holds a lock on it.
const MARKER: &str = "working-folder";

/// The marker before it is complete and locked.
const UNFINISHED_MARKER: &str = "working-folder.new";

/// What the marker says.
const MARKER_TEXT: &str = "Working folder of a state backend. It is deleted when its owner is gone.\n";

/// A folder that one database owns. Dropping it removes the folder.
///
/// The name has a random part, so names never repeat. The owner holds a lock on the marker in the folder for
/// as long as it lives. The lock ends with the process, even after a crash. A marked folder without a lock is
/// therefore abandoned, and the next backend that works in the same place removes it. The marker gets its
/// final name only once it is locked, so a new folder never looks abandoned.
#[derive(Debug)]
pub(crate) struct WorkingFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkingFolder {
    /// Creates a folder in `root`, and removes abandoned ones there. Creates `root` if it is missing.
    ///
    /// Only its owner can read the folder.
    pub fn create(root: &Path, operator: &str, subtask: u16) -> Result<Self> {
        let make = || {
            fs::create_dir_all(root)?;
            sweep(root);
            let folder = tempfile::Builder::new()
                .prefix(&format!("{PREFIX}{operator}-{subtask}-"))
                .rand_bytes(RANDOM_LEN)
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir_in(root)?;
            let unfinished = folder.path().join(UNFINISHED_MARKER);
            let mut lock = File::create_new(&unfinished)?;
            lock.write_all(MARKER_TEXT.as_bytes())?;
            lock.try_lock().map_err(io::Error::from)?;
            fs::rename(&unfinished, folder.path().join(MARKER))?;
            Ok(Self { path: folder.keep(), _lock: lock })
        };
        make().map_err(|error| io_failed(error, root))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkingFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a working folder is left behind");
        }
    }
}

/// Removes the working folders in `root` that have no owner. Logs and skips those that cannot be removed.
fn sweep(root: &Path) {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, path = %root.display(), "abandoned working folders cannot be listed");
            return;
        }
    };
    for entry in entries.filter_map(io::Result::ok) {
        match remove_abandoned(&entry) {
            Ok(false) => {}
            Ok(true) => tracing::info!(path = %entry.path().display(), "removed an abandoned working folder"),
            // Its owner, or another backend, has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, path = %entry.path().display(), "an abandoned working folder is left");
            }
        }
    }
}

/// Removes the folder if a backend made it and no owner holds its lock. True if it was removed.
fn remove_abandoned(entry: &DirEntry) -> io::Result<bool> {
    // The type is that of the entry itself: a link to a folder does not count.
    if !entry.file_name().to_str().is_some_and(is_name) || !entry.file_type()?.is_dir() {
        return Ok(false);
    }
    let marker = entry.path().join(MARKER);
    if !fs::symlink_metadata(&marker)?.is_file() || fs::read(&marker)? != MARKER_TEXT.as_bytes() {
        return Ok(false);
    }
    let lock = File::open(&marker)?;
    match lock.try_lock() {
        Ok(()) => remove(&entry.path()).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// True for `rocksdb-<operator>-<subtask>-<random part>`.
fn is_name(name: &str) -> bool {
    let parts = name.strip_prefix(PREFIX).and_then(|rest| {
        let (rest, random) = rest.rsplit_once('-')?;
        let (operator, subtask) = rest.rsplit_once('-')?;
        Some((operator, subtask, random))
    });
    parts.is_some_and(|(operator, subtask, random)| {
        !operator.is_empty()
            && subtask.parse::<u16>().is_ok_and(|number| number.to_string() == subtask)
            && random.len() == RANDOM_LEN
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Removes a folder with its contents. The marker goes last, so that a partly removed folder is found again.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(folder.join(MARKER))?;
    fs::remove_dir(folder)
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

    fn name_of(folder: &WorkingFolder) -> String {
        folder.path().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Creates a folder as a crash leaves it: with a marker that is not locked.
    fn abandon(root: &Path, name: &str) -> PathBuf {
        let path = root.join(name);
        fs::create_dir_all(path.join("db")).unwrap();
        fs::write(path.join("db/000001.sst"), "1").unwrap();
        fs::write(path.join(MARKER), MARKER_TEXT).unwrap();
        path
    }

    #[test]
    fn abandoned_folders_are_removed_and_folders_in_use_stay() {
        let root = tempfile::tempdir().unwrap();
        let used = WorkingFolder::create(root.path(), "op", 0).unwrap();
        fs::write(used.path().join("file"), "1").unwrap();
        abandon(root.path(), "rocksdb-op-0-0123456789abcdef");
        let second = WorkingFolder::create(root.path(), "op", 0).unwrap();
        let mut expected = [name_of(&used), name_of(&second)];
        expected.sort();
        assert_eq!(names(root.path()), expected);
        assert!(used.path().join("file").exists());
        drop(used);
        assert_eq!(names(root.path()), [name_of(&second)]);
        drop(second);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn foreign_folders_are_unchanged() {
        let root = tempfile::tempdir().unwrap();
        // A fitting name without a marker, a marker with another text, and names that do not fit.
        fs::create_dir(root.path().join("rocksdb-op-0-0123456789abcdef")).unwrap();
        let other = abandon(root.path(), "rocksdb-op-1-0123456789abcdef");
        fs::write(other.join(MARKER), "mine").unwrap();
        for name in ["rocksdb-backup", "rocksdb-op-0-0", "rocksdb-op-x-0123456789abcdef", "rocksdb--0-"] {
            abandon(root.path(), name);
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let target = abandon(elsewhere.path(), "rocksdb-op-0-0123456789abcdef");
        std::os::unix::fs::symlink(&target, root.path().join("rocksdb-op-2-0123456789abcdef")).unwrap();
        let before = names(root.path());
        drop(WorkingFolder::create(root.path(), "op", 0).unwrap());
        assert_eq!(names(root.path()), before);
        assert!(target.join("db/000001.sst").exists());
    }

    #[test]
    fn names_never_repeat() {
        let root = tempfile::tempdir().unwrap();
        let first = name_of(&WorkingFolder::create(root.path(), "op", 0).unwrap());
        let second = name_of(&WorkingFolder::create(root.path(), "op", 0).unwrap());
        assert_ne!(first, second);
        assert!(is_name(&first) && is_name(&second), "{first} {second}");
        assert!(is_name("rocksdb-an-operator-7-0-0123456789abcdef"));
    }

    #[test]
    fn a_lock_on_the_root_does_not_stop_a_backend() {
        let root = tempfile::tempdir().unwrap();
        let lock = File::open(root.path()).unwrap();
        lock.lock().unwrap();
        drop(WorkingFolder::create(root.path(), "op", 0).unwrap());
    }

    #[test]
    fn a_leftover_that_cannot_be_removed_is_skipped() {
        let root = tempfile::tempdir().unwrap();
        let path = abandon(root.path(), "rocksdb-op-0-0123456789abcdef");
        // A folder in place of the marker cannot be read as a file, not even by root.
        fs::remove_file(path.join(MARKER)).unwrap();
        fs::create_dir(path.join(MARKER)).unwrap();
        let stuck = abandon(root.path(), "rocksdb-op-1-0123456789abcdef");
        fs::set_permissions(stuck.join("db"), fs::Permissions::from_mode(0o500)).unwrap();
        drop(WorkingFolder::create(root.path(), "op", 0).unwrap());
        assert!(path.exists());
        if stuck.exists() {
            fs::set_permissions(stuck.join("db"), fs::Permissions::from_mode(0o700)).unwrap();
            drop(WorkingFolder::create(root.path(), "op", 0).unwrap());
        }
        assert!(!stuck.exists());
    }

    #[test]
    fn only_its_owner_can_read_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = WorkingFolder::create(root.path(), "op", 0).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
