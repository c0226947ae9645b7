//! From the thread that makes a file's bytes to the disk.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes that are gathered before they are written.
const GATHERED_BYTES: usize = 1 << 20;

/// Bytes after which the disk begins to write, while more are written to the page cache. Without that the disk
/// idles until the end: measured 1.0 against 1.55 GB/s.
const WRITE_BACK_BYTES: usize = 8 << 20;

/// A file that is written by another thread, once it is longer than what is gathered: encoding a checkpoint and copying
/// it to the page cache overlap.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    gathered: Vec<u8>,
    copier: Option<Copier>,
}

impl Output {
    pub fn new(file: File) -> Self {
        Self { file, gathered: Vec::new(), copier: None }
    }

    /// Appends bytes. An error may be that of an earlier call.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(GATHERED_BYTES - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            bytes = later;
            if self.gathered.len() == GATHERED_BYTES {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    /// Writes what is gathered, or has it written.
    fn pass_on(&mut self) -> io::Result<()> {
        if self.copier.is_none() {
            // Only speed is lost when there can be no thread.
            self.copier = Copier::start(&self.file).ok();
        }
        let Some(copier) = &self.copier else {
            self.file.write_all(&self.gathered)?;
            self.gathered.clear();
            return Ok(());
        };
        let emptied = copier.emptied.try_recv().unwrap_or_else(|_| Vec::with_capacity(GATHERED_BYTES));
        let full = mem::replace(&mut self.gathered, emptied);
        if copier.full.send(full).is_err() {
            self.finish_copier()?;
            return Err(io::Error::other("the thread that writes has ended"));
        }
        Ok(())
    }

    fn finish_copier(&mut self) -> io::Result<()> {
        self.copier.take().map_or(Ok(()), |copier| {
            drop(copier.full);
            join(copier.thread)
        })
    }

    /// Has the disk hold all bytes.
    pub fn sync(&mut self) -> io::Result<()> {
        self.finish_copier()?;
        self.file.write_all(&self.gathered)?;
        self.file.sync_data()
    }
}

/// A thread that writes to the page cache. Dropped, it ends by itself: a cancelled writer does not wait for it.
#[derive(Debug)]
struct Copier {
    /// One piece waits while another is written.
    full: SyncSender<Vec<u8>>,
    emptied: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Copier {
    fn start(file: &File) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        let (full, pieces) = sync_channel::<Vec<u8>>(1);
        let (empty, emptied) = channel();
        let thread = thread::Builder::new().name("write".to_owned()).spawn(move || {
            let (mut write_back, mut waiting) = (None::<WriteBack>, 0);
            for mut piece in pieces {
                file.write_all(&piece)?;
                waiting += piece.len();
                piece.clear();
                // Who is done with writing needs no buffer any more.
                _ = empty.send(piece);
                if waiting < WRITE_BACK_BYTES {
                    continue;
                }
                // As without a copier.
                if let Some(running) = write_back.take().or_else(|| WriteBack::start(&file).ok()) {
                    match running.wake.try_send(()) {
                        Ok(()) => waiting = 0,
                        Err(TrySendError::Full(())) => {}
                        Err(TrySendError::Disconnected(())) => return running.finish(),
                    }
                    write_back = Some(running);
                }
            }
            write_back.map_or(Ok(()), WriteBack::finish)
        })?;
        Ok(Self { full, emptied, thread })
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
        join(self.thread)
    }
}

fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that writes panicked")))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_disk_is_told_by_a_later_call() {
        for len in [1, 3 << 20, 40 << 20] {
            let mut output = Output::new(File::options().write(true).open("/dev/full").unwrap());
            let written = output.write(&vec![1; len]);
            let error = written.and_then(|()| output.sync()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{len} bytes");
        }
    }
}
