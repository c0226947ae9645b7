//! Destinations of a checkpoint file: a storage, memory, or one chosen by size.

use std::fmt;
use std::sync::Arc;

use crate::storage::{Storage, StorageWriter, check_path};
use crate::{Cancel, Error, ErrorKind, Result};

/// Receives bytes in order.
pub trait ByteSink: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// Errors of the sink, usually [`ErrorKind::Io`] and [`ErrorKind::Cancelled`].
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl ByteSink for Box<dyn StorageWriter> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (**self).write(bytes)
    }
}

/// A buffer in memory with a limit.
#[derive(Clone, Debug)]
pub struct BoundedBuffer {
    bytes: Vec<u8>,
    size: u64,
    limit: u64,
}

impl BoundedBuffer {
    /// An empty buffer for at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { bytes: Vec::new(), size: 0, limit }
    }

    /// The written bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Size`] if they exceeded the limit, with both sizes.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.size <= self.limit {
            return Ok(self.bytes);
        }
        let message = format!("state of {} bytes exceeds the limit of {} bytes", self.size, self.limit);
        Err(Error::new(ErrorKind::Size, message))
    }
}

impl ByteSink for BoundedBuffer {
    /// Beyond the limit bytes are counted but not kept, so that the error can name the size.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size <= self.limit {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

/// Default limit of inline state in the metadata, in bytes, as in Flink.
pub const DEFAULT_SPILL_THRESHOLD: usize = 20 << 10;

/// Largest configurable limit of inline state.
pub const MAX_SPILL_THRESHOLD: usize = 1 << 20;

/// Keeps bytes in memory up to a threshold, and writes a file beyond it.
///
/// Dropped without [`finish`](Self::finish), it leaves nothing.
pub struct SpillingSink {
    storage: Arc<dyn Storage>,
    path: String,
    threshold: usize,
    cancel: Cancel,
    target: Target,
    length: u64,
}

enum Target {
    Memory(Vec<u8>),
    File(Box<dyn StorageWriter>),
    Failed,
}

/// Where a [`SpillingSink`] stored its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// There were no bytes.
    Empty,
    /// Up to the threshold.
    Inline(Vec<u8>),
    /// Beyond the threshold.
    File {
        /// Path of the file within the storage.
        path: String,
        /// Its length in bytes.
        length: u64,
    },
}

impl SpillingSink {
    /// A sink that creates the file `path` of `storage` beyond `threshold` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a threshold above [`MAX_SPILL_THRESHOLD`], or an invalid path.
    pub fn new(
        storage: Arc<dyn Storage>,
        path: impl Into<String>,
        threshold: usize,
        cancel: Cancel,
    ) -> Result<Self> {
        let path = path.into();
        check_path(&path)?;
        if threshold > MAX_SPILL_THRESHOLD {
            let message = format!("the threshold of {threshold} bytes exceeds {MAX_SPILL_THRESHOLD} bytes");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self { storage, path, threshold, cancel, target: Target::Memory(Vec::new()), length: 0 })
    }

    /// Ends the bytes, and makes the file durable if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Cancelled`]. No file is left then.
    pub fn finish(self) -> Result<Stored> {
        self.cancel.check()?;
        match self.target {
            Target::Memory(bytes) if bytes.is_empty() => Ok(Stored::Empty),
            Target::Memory(bytes) => Ok(Stored::Inline(bytes)),
            Target::File(writer) => {
                writer.finish()?;
                Ok(Stored::File { path: self.path, length: self.length })
            }
            Target::Failed => Err(failed_before(&self.path)),
        }
    }
}

impl ByteSink for SpillingSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.cancel.check()?;
        match &mut self.target {
            Target::Memory(kept) if kept.len() + bytes.len() <= self.threshold => {
                kept.extend_from_slice(bytes)
            }
            Target::Memory(kept) => {
                let kept = std::mem::take(kept);
                self.target = Target::Failed;
                let mut writer = self.storage.create(&self.path, &self.cancel)?;
                writer.write(&kept)?;
                writer.write(bytes)?;
                self.target = Target::File(writer);
            }
            Target::File(writer) => writer.write(bytes)?,
            Target::Failed => return Err(failed_before(&self.path)),
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn failed_before(path: &str) -> Error {
    Error::new(ErrorKind::Io, "an earlier write failed").in_file(path, None)
}

impl fmt::Debug for SpillingSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_memory = !matches!(self.target, Target::File(_));
        let mut debug = f.debug_struct("SpillingSink");
        debug.field("path", &self.path).field("length", &self.length).field("in_memory", &in_memory);
        debug.finish_non_exhaustive()
    }
}
