//! A storage that loses power.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_api::storage::{StorageEntry, StorageFile, StorageWriter};
use backend_api::{Cancel, Error, ErrorKind, Result, Storage};

use crate::random::Random;

/// A storage that loses power at a chosen call. All later calls fail until it is [rebooted](Self::reboot).
///
/// A crash does what the contract of [`Storage`] allows: its call is executed completely, partly (half of a
/// write, some files of a folder) or not at all. Unfinished files are lost, and any deletions may be undone,
/// in any order.
#[derive(Debug)]
pub struct CrashingStorage {
    inner: Arc<dyn Storage>,
    power: Arc<Mutex<Power>>,
}

#[derive(Debug, Default)]
struct Power {
    calls: u64,
    crash_at: Option<u64>,
    is_off: bool,
    /// Decides the outcome of a crash.
    random: Random,
    /// Deleted files with their contents.
    deleted: Vec<(String, Vec<u8>)>,
}

/// The outcome of a call.
enum Fate {
    Done,
    /// The power fails after this many thirds of the call.
    CutOff(u64),
}

impl Power {
    fn call(&mut self, path: &str) -> Result<Fate> {
        if self.is_off {
            return Err(off(path));
        }
        self.calls += 1;
        if self.crash_at != Some(self.calls) {
            return Ok(Fate::Done);
        }
        self.is_off = true;
        Ok(Fate::CutOff(self.random.below(4)))
    }
}

fn off(path: &str) -> Error {
    Error::new(ErrorKind::Io, "the storage has lost power").in_file(path, None)
}

impl CrashingStorage {
    /// A storage that does not crash yet.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, power: Arc::default() }
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        locked(&self.power)
    }

    /// Crashes at the `nth` call from now (1 is the next one). `seed` selects the outcome.
    pub fn crash(&self, nth: u64, seed: u64) {
        let mut power = self.power();
        (power.calls, power.crash_at, power.random) = (0, Some(nth), Random(seed));
    }

    /// Restarts the storage after a crash, with what survived. Returns true if it had crashed.
    ///
    /// # Errors
    /// Errors of the inner storage.
    pub fn reboot(&self) -> Result<bool> {
        let mut power = self.power();
        let was_off = mem::replace(&mut power.is_off, false);
        power.crash_at = None;
        for (path, bytes) in mem::take(&mut power.deleted) {
            let is_there = self.inner.list("")?.iter().any(|entry| entry.path == path);
            if was_off && !is_there && power.random.below(2) == 0 {
                let mut writer = self.inner.create(&path, &Cancel::new())?;
                writer.write(&bytes)?;
                writer.finish()?;
            }
        }
        Ok(was_off)
    }

    /// Deletes a file, so that the crash can undo it.
    fn delete_noted(&self, power: &mut Power, path: &str) -> Result<()> {
        if let Ok(file) = self.inner.open(path) {
            let bytes = file.read(0, file.len() as usize)?.into_owned();
            power.deleted.push((path.to_owned(), bytes));
        }
        self.inner.delete(path)
    }
}

fn locked(power: &Mutex<Power>) -> MutexGuard<'_, Power> {
    power.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage for CrashingStorage {
    fn create(&self, path: &str, cancel: &Cancel) -> Result<Box<dyn StorageWriter>> {
        let fate = self.power().call(path)?;
        let inner = self.inner.create(path, cancel)?;
        let path = path.to_owned();
        let writer =
            CrashingWriter { inner: Some(inner), path: path.clone(), power: Arc::clone(&self.power) };
        match fate {
            Fate::Done => Ok(Box::new(writer)),
            Fate::CutOff(_) => Err(off(&path)),
        }
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        match self.power().call(path)? {
            Fate::Done => self.inner.open(path),
            Fate::CutOff(_) => Err(off(path)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<StorageEntry>> {
        match self.power().call(folder)? {
            Fate::Done => self.inner.list(folder),
            Fate::CutOff(_) => Err(off(folder)),
        }
    }

    fn delete(&self, path: &str) -> Result<()> {
        let mut power = self.power();
        match power.call(path)? {
            Fate::Done => self.delete_noted(&mut power, path),
            Fate::CutOff(0) => Err(off(path)),
            Fate::CutOff(_) => {
                self.inner.delete(path)?;
                Err(off(path))
            }
        }
    }

    fn delete_folder(&self, folder: &str) -> Result<()> {
        let mut power = self.power();
        let fate = power.call(folder)?;
        let entries = self.inner.list(folder)?;
        let thirds = match fate {
            Fate::Done => 3,
            Fate::CutOff(thirds) => thirds as usize,
        };
        for entry in &entries[..entries.len() * thirds / 3] {
            self.delete_noted(&mut power, &entry.path)?;
        }
        match fate {
            Fate::Done => self.inner.delete_folder(folder),
            Fate::CutOff(_) => Err(off(folder)),
        }
    }

    fn sweep(&self, folder: &str) -> Result<usize> {
        match self.power().call(folder)? {
            Fate::Done => self.inner.sweep(folder),
            Fate::CutOff(_) => Err(off(folder)),
        }
    }
}

#[derive(Debug)]
struct CrashingWriter {
    /// `None` once it is finished.
    inner: Option<Box<dyn StorageWriter>>,
    path: String,
    power: Arc<Mutex<Power>>,
}

impl CrashingWriter {
    fn inner(&mut self) -> Result<&mut Box<dyn StorageWriter>> {
        self.inner.as_mut().ok_or_else(|| off(&self.path))
    }
}

impl StorageWriter for CrashingWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let fate = locked(&self.power).call(&self.path)?;
        match fate {
            Fate::Done => self.inner()?.write(bytes),
            Fate::CutOff(thirds) => {
                let part = bytes.len() * thirds as usize / 3;
                self.inner()?.write(&bytes[..part])?;
                Err(off(&self.path))
            }
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let fate = locked(&self.power).call(&self.path)?;
        if matches!(fate, Fate::CutOff(0)) {
            return Err(off(&self.path));
        }
        let inner = self.inner.take().ok_or_else(|| off(&self.path))?;
        inner.finish()?;
        match fate {
            Fate::Done => Ok(()),
            Fate::CutOff(_) => Err(off(&self.path)),
        }
    }
}

impl Drop for CrashingWriter {
    fn drop(&mut self) {
        // Nothing is cleaned up after a crash: the unfinished file stays.
        if locked(&self.power).is_off {
            mem::forget(self.inner.take());
        }
    }
}
