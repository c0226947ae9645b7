//! Writing a file durably.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use backend_api::{Cancel, Error, ErrorKind, Result, StorageWriter};

use super::{LocalStorage, failed, sync_folder};

/// Bytes that gather small writes; larger ones go to the file directly.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes after which the disk begins to write, while more are written to the page cache. Without that the disk
/// idles until the end: measured 1.0 against 1.55 GB/s.
const WRITE_BACK_BYTES: usize = 8 << 20;

/// Writes an unfinished file and gives it its name at the end.
#[derive(Debug)]
pub(super) struct LocalWriter {
    storage: LocalStorage,
    path: String,
    target: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
    /// Bytes that the disk was not asked to write yet.
    waiting: usize,
    write_back: Option<WriteBack>,
    cancel: Cancel,
    failed: bool,
    renamed: bool,
}

impl LocalWriter {
    pub fn new(
        storage: LocalStorage,
        path: &str,
        target: PathBuf,
        unfinished: PathBuf,
        file: File,
        cancel: Cancel,
    ) -> Self {
        Self {
            storage,
            path: path.to_owned(),
            target,
            unfinished,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            waiting: 0,
            write_back: None,
            cancel,
            failed: false,
            renamed: false,
        }
    }

    fn check(&self) -> Result<()> {
        self.cancel.check().map_err(|error| error.in_file(&self.path, None))?;
        if self.failed {
            return Err(Error::new(ErrorKind::Io, "an earlier write failed").in_file(&self.path, None));
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.waiting += bytes.len();
        if self.waiting >= WRITE_BACK_BYTES {
            self.begin_write_back()?;
        }
        Ok(())
    }

    fn begin_write_back(&mut self) -> io::Result<()> {
        if self.write_back.is_none() {
            // Only speed is lost when there can be no thread.
            self.write_back = WriteBack::start(self.file.get_ref()).ok();
        }
        if let Some(write_back) = self.write_back.take() {
            match write_back.wake.try_send(()) {
                Ok(()) => self.waiting = 0,
                Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => return write_back.finish(),
            }
            self.write_back = Some(write_back);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if let Some(write_back) = self.write_back.take() {
            write_back.finish()?;
        }
        self.file.get_ref().sync_data()
    }

    fn rename(&mut self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.target)?;
        self.renamed = true;
        // Up to the root: this writer may have made the folders, or one that has not finished yet.
        let root = self.storage.root();
        let mut folders = self.target.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
        let synced = folders.try_for_each(sync_folder);
        if synced.is_err() {
            // It is not known to be durable, so it must not be taken for it.
            fs::remove_file(&self.target)?;
        }
        synced
    }
}

impl StorageWriter for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.append(bytes).map_err(|error| {
            self.failed = true;
            failed(error, &self.path)
        })
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.check()?;
        self.sync().map_err(|error| failed(error, &self.path))?;
        self.check()?;
        self.rename().map_err(|error| failed(error, &self.path))
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if !self.renamed {
            // Nobody is left to be told of an error; a sweep finds what stays.
            _ = fs::remove_file(&self.unfinished);
            self.storage.remove_empty(self.target.parent().unwrap_or(self.storage.root()));
        }
    }
}

/// A thread that has the disk write what is in the page cache.
///
/// Dropped without [`finish`](Self::finish), the thread ends by itself: a cancelled writer does not wait for it.
#[derive(Debug)]
struct WriteBack {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl WriteBack {
    fn start(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (wake, woken) = sync_channel(1);
        let thread = thread::Builder::new().name("write-back".to_owned()).spawn(move || {
            while woken.recv().is_ok() {
                // The error belongs here: it is reported once for the file, and the final sync would not see it.
                file.sync_data()?;
            }
            Ok(())
        })?;
        Ok(Self { wake, thread })
    }

    fn finish(self) -> io::Result<()> {
        drop(self.wake);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the write-back thread panicked")))
    }
}
