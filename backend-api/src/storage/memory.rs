//! Files in memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::path::{check_folder, check_path, is_in};
use super::{Bytes, Storage, StorageEntry, StorageFile, StorageWriter};
use crate::{Cancel, Error, ErrorKind, Result};

/// A [`Storage`] in memory, for tests and for jobs that need not survive their process. Clones share the
/// files.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    named: BTreeMap<String, Arc<[u8]>>,
    unfinished: BTreeSet<(String, u64)>,
    next_id: u64,
}

impl MemoryStorage {
    /// A storage without files.
    pub fn new() -> Self {
        Self::default()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // Every change is one call on one map, so a poisoned lock still guards consistent maps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Checks that `path` and its parents are not taken, since a name is a file or a folder.
    fn check_free(&self, path: &str) -> Result<()> {
        let below = self.named.range(format!("{path}/")..).next();
        let fault = if below.is_some_and(|(name, _)| is_in(name, path)) {
            "is a folder"
        } else if path.match_indices('/').any(|(at, _)| self.named.contains_key(&path[..at])) {
            "leads through a file"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Io, format!("the path {fault}")).in_file(path, None))
    }

    fn forget_unfinished(&mut self, folder: &str) -> usize {
        let before = self.unfinished.len();
        self.unfinished.retain(|(path, _)| !is_in(path, folder));
        before - self.unfinished.len()
    }
}

impl Storage for MemoryStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        check_path(path)?;
        cancel.check().map_err(|error| error.in_file(path, None))?;
        let mut files = self.files();
        files.check_free(path)?;
        let id = files.next_id;
        files.next_id += 1;
        files.unfinished.insert((path.to_owned(), id));
        drop(files);
        let key = (path.to_owned(), id);
        Ok(Box::new(MemoryWriter { storage: self.clone(), key, cancel: cancel.clone(), bytes: Vec::new() }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        check_path(path)?;
        match self.files().named.get(path) {
            Some(bytes) => Ok(Box::new(Bytes::new(path, Arc::clone(bytes)))),
            None => Err(Error::new(ErrorKind::NotFound, "there is no such file").in_file(path, None)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        check_folder(folder)?;
        let files = self.files();
        let entries = files.named.iter().filter(|(path, _)| is_in(path, folder));
        Ok(entries
            .map(|(path, bytes)| StorageEntry { path: path.clone(), len: bytes.len() as u64 })
            .collect())
    }

    fn delete(&self, path: &str) -> Result<()> {
        check_path(path)?;
        self.files().named.remove(path);
        Ok(())
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        check_folder(folder)?;
        let mut files = self.files();
        files.named.retain(|path, _| !is_in(path, folder));
        files.forget_unfinished(folder);
        Ok(())
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        check_folder(folder)?;
        Ok(self.files().forget_unfinished(folder))
    }
}

#[derive(Debug)]
struct MemoryWriter {
    storage: MemoryStorage,
    key: (String, u64),
    cancel: Cancel,
    bytes: Vec<u8>,
}

impl StorageWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.cancel.check().map_err(|error| error.in_file(&self.key.0, None))?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let path = self.key.0.clone();
        self.cancel.check().map_err(|error| error.in_file(&path, None))?;
        let bytes = std::mem::take(&mut self.bytes);
        let mut files = self.storage.files();
        if !files.unfinished.remove(&self.key) {
            let message = "the file was deleted before it was finished";
            return Err(Error::new(ErrorKind::Io, message).in_file(&path, None));
        }
        files.check_free(&path)?;
        match files.named.entry(path) {
            Entry::Vacant(free) => _ = free.insert(bytes.into()),
            Entry::Occupied(taken) => {
                let message = "there is a file of that name already";
                return Err(Error::new(ErrorKind::AlreadyExists, message).in_file(taken.key(), None));
            }
        }
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.storage.files().unfinished.remove(&self.key);
    }
}
