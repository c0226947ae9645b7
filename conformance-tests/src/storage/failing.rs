//! A storage that fails on demand.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_api::storage::{StorageEntry, StorageFile, StorageWriter};
use backend_api::{Cancel, Error, ErrorKind, Result, Storage};

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Only that call.
    Once,
    /// That call and all after it.
    FromThenOn,
}

/// A storage that counts its calls, including those of its writers and files, and fails at a chosen one with
/// [`ErrorKind::Io`].
#[derive(Debug)]
pub struct FailingStorage {
    inner: Arc<dyn Storage>,
    counter: Arc<Counter>,
}

#[derive(Debug, Default)]
struct Counter {
    calls: AtomicU64,
    failed: AtomicU64,
    plan: Mutex<Option<(u64, Faults)>>,
}

impl Counter {
    fn plan(&self) -> MutexGuard<'_, Option<(u64, Faults)>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, path: &str) -> Result<()> {
        let plan = self.plan();
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = match *plan {
            Some((at, Faults::Once)) => call == at,
            Some((at, Faults::FromThenOn)) => call >= at,
            None => false,
        };
        if !fails {
            return Ok(());
        }
        self.failed.fetch_add(1, Ordering::SeqCst);
        let message = format!("injected fault at call {call} of the storage");
        Err(Error::new(ErrorKind::Io, message).in_file(path, None))
    }
}

impl FailingStorage {
    /// A storage that does not fail yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, counter: Arc::default() }
    }

    /// Makes the `nth` call from now (1 is the next one) fail, and restarts the count.
    pub fn fail(&self, nth: u64, faults: Faults) {
        let mut plan = self.counter.plan();
        self.counter.calls.store(0, Ordering::SeqCst);
        self.counter.failed.store(0, Ordering::SeqCst);
        *plan = Some((nth, faults));
    }

    /// Stops failing, and restarts the count. Returns the number of failed calls.
    pub fn heal(&self) -> u64 {
        let mut plan = self.counter.plan();
        *plan = None;
        self.counter.calls.store(0, Ordering::SeqCst);
        self.counter.failed.swap(0, Ordering::SeqCst)
    }

    /// Number of calls since the last [`fail`](Self::fail) or [`heal`](Self::heal).
    pub fn calls(&self) -> u64 {
        self.counter.calls.load(Ordering::SeqCst)
    }
}

impl Storage for FailingStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        self.counter.count(path)?;
        let inner = self.inner.create(path, cancel)?;
        Ok(Box::new(FailingWriter { inner, path: path.to_owned(), counter: Arc::clone(&self.counter) }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        self.counter.count(path)?;
        Ok(Box::new(FailingFile { inner: self.inner.open(path)?, counter: Arc::clone(&self.counter) }))
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        self.counter.count(folder)?;
        self.inner.list(folder)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.counter.count(path)?;
        self.inner.delete(path)
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        self.counter.count(folder)?;
        self.inner.delete_folder(folder)
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        self.counter.count(folder)?;
        self.inner.sweep(folder)
    }
}

#[derive(Debug)]
struct FailingWriter {
    inner: Box<dyn StorageWriter>,
    path: String,
    counter: Arc<Counter>,
}

impl StorageWriter for FailingWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.counter.count(&self.path)?;
        self.inner.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.counter.count(&self.path)?;
        self.inner.finish()
    }
}

#[derive(Debug)]
struct FailingFile {
    inner: Box<dyn StorageFile>,
    counter: Arc<Counter>,
}

impl StorageFile for FailingFile {
    fn path(&self) -> &str {
        self.inner.path()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        self.counter.count(self.inner.path())?;
        self.inner.read(offset, len)
    }
}
