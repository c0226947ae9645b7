use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Storage, StorageEntry, StorageFile, StorageWriter, check_folder, check_path};
use crate::{Cancel, Error, ErrorKind, Result};

/// A storage with another one as one of its folders: for a job that starts from a savepoint elsewhere.
///
/// ```
/// use std::sync::Arc;
/// use backend_api::storage::{MountedStorage, Storage};
/// use backend_api::{Cancel, MemoryStorage};
///
/// let (own, other) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
/// other.create("savepoint-1/_metadata", &Cancel::new())?.finish()?;
/// let storage = MountedStorage::new(own, "old", other)?;
/// assert_eq!(storage.list("")?[0].path, "old/savepoint-1/_metadata");
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MountedStorage {
    root: Arc<dyn Storage>,
    folder: String,
    mounted: Arc<dyn Storage>,
}

impl MountedStorage {
    /// Makes `mounted` the folder `folder` of `root`. What `root` has below it is hidden.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if `folder` is not one plain path segment.
    pub fn new(root: Arc<dyn Storage>, folder: impl Into<String>, mounted: Arc<dyn Storage>) -> Result<Self> {
        let folder = folder.into();
        check_path(&folder)?;
        if folder.contains('/') {
            let message = format!("the folder {folder:?} of a mounted storage has more than one segment");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self { root, folder, mounted })
    }

    /// The path within the mounted storage; `None` if it is one of the root's.
    fn within<'p>(&self, path: &'p str) -> Option<&'p str> {
        match path.strip_prefix(&*self.folder)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }

    fn route<'p>(&self, path: &'p str) -> (&dyn Storage, &'p str) {
        match self.within(path) {
            Some(path) => (&*self.mounted, path),
            None => (&*self.root, path),
        }
    }
}

impl Storage for MountedStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        check_path(path)?;
        let (storage, within) = self.route(path);
        storage.create(within, cancel)
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        check_path(path)?;
        match self.within(path) {
            None => self.root.open(path),
            Some("") => {
                let message = "this is the folder of a mounted storage";
                Err(Error::new(ErrorKind::NotFound, message).in_file(path, None))
            }
            Some(within) => {
                Ok(Box::new(MountedFile { path: path.to_owned(), file: self.mounted.open(within)? }))
            }
        }
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let (storage, within) = self.route(path);
        storage.local_path(within)
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        check_folder(folder)?;
        let mounted = |within: &str| -> Result<Vec<StorageEntry>> {
            let mut entries = self.mounted.list(within)?;
            entries.iter_mut().for_each(|entry| entry.path = format!("{}/{}", self.folder, entry.path));
            Ok(entries)
        };
        if let Some(within) = self.within(folder) {
            return mounted(within);
        }
        let mut entries = self.root.list(folder)?;
        if folder.is_empty() {
            entries.retain(|entry| self.within(&entry.path).is_none());
            entries.extend(mounted("")?);
            entries.sort();
        }
        Ok(entries)
    }

    fn delete(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let (storage, within) = self.route(path);
        storage.delete(within)
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        check_folder(folder)?;
        let (storage, within) = self.route(folder);
        let deleted = storage.delete_folder(within);
        if folder.is_empty() { deleted.and(self.mounted.delete_folder("")) } else { deleted }
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        check_folder(folder)?;
        let (storage, within) = self.route(folder);
        let swept = storage.sweep(within)?;
        Ok(if folder.is_empty() { swept + self.mounted.sweep("")? } else { swept })
    }
}

/// A file of the mounted storage under its path in the whole.
#[derive(Debug)]
struct MountedFile {
    path: String,
    file: Box<dyn StorageFile>,
}

impl StorageFile for MountedFile {
    fn path(&self) -> &str {
        &self.path
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        self.file.read(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;

    #[test]
    fn each_path_goes_to_the_storage_that_has_it() {
        let (root, other) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
        let storage =
            MountedStorage::new(Arc::clone(&root) as Arc<_>, "old", Arc::clone(&other) as Arc<_>).unwrap();
        for path in ["job/a", "old/b", "old/c/d", "older/e"] {
            let mut file = storage.create(path, &Cancel::new()).unwrap();
            file.write(path.as_bytes()).unwrap();
            file.finish().unwrap();
        }
        let paths = |storage: &dyn Storage, folder: &str| -> Vec<String> {
            storage.list(folder).unwrap().into_iter().map(|entry| entry.path).collect()
        };
        assert_eq!(paths(&*root, ""), ["job/a", "older/e"]);
        assert_eq!(paths(&*other, ""), ["b", "c/d"]);
        assert_eq!(paths(&storage, ""), ["job/a", "old/b", "old/c/d", "older/e"]);
        assert_eq!(paths(&storage, "old"), ["old/b", "old/c/d"]);
        assert_eq!(paths(&storage, "old/c"), ["old/c/d"]);
        assert_eq!(paths(&storage, "job"), ["job/a"]);
        let file = storage.open("old/c/d").unwrap();
        assert_eq!((file.path(), &*file.read(0, 7).unwrap()), ("old/c/d", b"old/c/d".as_slice()));
        assert_eq!(storage.open("old").unwrap_err().kind(), ErrorKind::NotFound);
        storage.delete("old/b").unwrap();
        assert_eq!(paths(&*other, ""), ["c/d"]);
        storage.delete_folder("").unwrap();
        assert_eq!(paths(&storage, ""), [""; 0]);
        for folder in ["", "a/b", "../a", "/a"] {
            let refused =
                MountedStorage::new(Arc::clone(&root) as Arc<_>, folder, Arc::clone(&other) as Arc<_>);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument, "{folder:?}");
        }
    }
}
