//! Streams of state: files, or bytes within the metadata.

use std::io::{self, Read};
use std::sync::Arc;

use backend_api::{Error, ErrorKind, Result, Storage, StorageFile};
use snap::read::FrameDecoder;

use crate::input::corrupt;

/// Bytes that a window begins with. It grows with rows that are larger.
const WINDOW: usize = 128 << 10;
/// First bytes of a stream in Snappy's framing format.
const SNAPPY_START: &[u8] = b"\xFF\x06\x00\x00sNaPpY";

/// Where a stream is.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    Inline { file: Arc<dyn StorageFile>, start: u64, len: u64 },
    File { storage: Arc<dyn Storage>, path: String, len: u64 },
}

impl Stream {
    pub(crate) fn inline(file: Arc<dyn StorageFile>, start: u64, len: u64) -> Self {
        Self::Inline { file, start, len }
    }

    pub(crate) fn file(storage: Arc<dyn Storage>, path: String, len: u64) -> Self {
        Self::File { storage, path, len }
    }

    /// Length by the metadata, in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Inline { len, .. } | Self::File { len, .. } => *len,
        }
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<OpenStream> {
        match self {
            Self::Inline { file, start, len } => {
                Ok(OpenStream { file: Arc::clone(file), start: *start, len: *len })
            }
            Self::File { storage, path, len } => {
                let file: Arc<dyn StorageFile> = storage.open(path)?.into();
                if file.len() != *len {
                    let message = format!("the file has {} bytes, the metadata says {len}", file.len());
                    return Err(corrupt(message).in_file(path, None));
                }
                Ok(OpenStream { file, start: 0, len: *len })
            }
        }
    }
}

/// An open stream.
#[derive(Clone, Debug)]
pub(crate) struct OpenStream {
    file: Arc<dyn StorageFile>,
    start: u64,
    len: u64,
}

impl OpenStream {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `offset` on, which [`len`](Self::len) covers.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<std::borrow::Cow<'_, [u8]>> {
        self.file.read(self.start + offset, len)
    }

    /// Names the file and the place in it.
    #[cold]
    pub(crate) fn placed(&self, error: Error, offset: u64) -> Error {
        error.in_file(self.file.path(), Some(self.start + offset))
    }

    /// Reads from `start` to `end`, which [`len`](Self::len) covers.
    pub(crate) fn window(&self, start: u64, end: u64, is_compressed: bool) -> Window {
        let range = Range { stream: self.clone(), at: start, end, before: &[] };
        let source = match is_compressed {
            true => Source::Snappy(Box::new(FrameDecoder::new(range))),
            false => Source::Plain(range),
        };
        self.window_of(start, source)
    }

    /// The same for a part of a compressed stream whose beginning is elsewhere.
    pub(crate) fn continued_window(&self, start: u64, end: u64) -> Window {
        let range = Range { stream: self.clone(), at: start, end, before: SNAPPY_START };
        self.window_of(start, Source::Snappy(Box::new(FrameDecoder::new(range))))
    }

    fn window_of(&self, start: u64, source: Source) -> Window {
        Window { start, source, buffer: Vec::new(), from: 0, to: 0, passed: 0 }
    }
}

/// A part of a stream.
#[derive(Debug)]
struct Range {
    stream: OpenStream,
    at: u64,
    end: u64,
    /// Bytes that are read first.
    before: &'static [u8],
}

impl Read for Range {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.before.is_empty() {
            return self.before.read(out);
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        let bytes = self.stream.read(self.at, len).map_err(io::Error::other)?;
        out[..len].copy_from_slice(&bytes);
        self.at += len as u64;
        Ok(len)
    }
}

#[derive(Debug)]
enum Source {
    Plain(Range),
    Snappy(Box<FrameDecoder<Range>>),
}

impl Source {
    /// Bytes left of what is not compressed.
    fn left_at_most(&self) -> usize {
        match self {
            Self::Plain(range) => usize::try_from(range.end - range.at).unwrap_or(usize::MAX),
            Self::Snappy(_) => usize::MAX,
        }
    }

    fn range(&self) -> &Range {
        match self {
            Self::Plain(range) => range,
            Self::Snappy(decoder) => decoder.get_ref(),
        }
    }
}

/// A part of a stream, unpacked, of which some bytes are in memory.
#[derive(Debug)]
pub(crate) struct Window {
    start: u64,
    source: Source,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// Unpacked bytes before the buffer's `from`.
    passed: u64,
}

impl Window {
    /// Makes at least `len` bytes available, without taking them.
    #[inline]
    pub(crate) fn fill(&mut self, len: usize) -> Result<()> {
        if self.to - self.from < len { self.fill_slowly(len) } else { Ok(()) }
    }

    /// The bytes that are available.
    #[inline]
    pub(crate) fn available(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// Takes bytes that [`fill`](Self::fill) has made available, and says where they are.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> usize {
        let at = self.from;
        self.from += len;
        self.passed += len as u64;
        at
    }

    /// Bytes from where [`take`](Self::take) said, until the next [`fill`](Self::fill).
    #[inline]
    pub(crate) fn taken(&self, at: usize, len: usize) -> &[u8] {
        &self.buffer[at..at + len]
    }

    /// Unpacked bytes taken so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    #[cold]
    fn fill_slowly(&mut self, len: usize) -> Result<()> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        while self.to < len {
            if self.to == self.buffer.len() {
                // It doubles only after it has been filled, so a false length allocates no more than that.
                let more = self.to.max(WINDOW).min(self.source.left_at_most());
                self.buffer.resize(self.to + more.max(1), 0);
            }
            let read = match &mut self.source {
                Source::Plain(range) => range.read(&mut self.buffer[self.to..]),
                Source::Snappy(decoder) => decoder.read(&mut self.buffer[self.to..]),
            };
            match read {
                Ok(0) => {
                    let message = format!("{len} bytes are expected, {} are left of the key group", self.to);
                    return Err(self.placed(corrupt(message)));
                }
                Ok(read) => self.to += read,
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    #[cold]
    fn failed(&self, error: io::Error) -> Error {
        let error = match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::new(ErrorKind::Corrupt, "compressed data is damaged").with_source(error),
        };
        self.placed(error)
    }

    /// All further bytes.
    pub(crate) fn read_to_end(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = match &mut self.source {
            Source::Plain(range) => range.read_to_end(&mut bytes),
            Source::Snappy(decoder) => decoder.read_to_end(&mut bytes),
        };
        read.map(|_| bytes).map_err(|error| self.failed(error))
    }

    /// True if there are no more bytes.
    pub(crate) fn is_at_end(&mut self) -> Result<bool> {
        if self.from < self.to {
            return Ok(false);
        }
        let mut one = [0];
        let read = match &mut self.source {
            Source::Plain(range) => range.read(&mut one),
            Source::Snappy(decoder) => decoder.read(&mut one),
        };
        read.map(|read| read == 0).map_err(|error| self.failed(error))
    }

    /// Names the file and the place, which is after `passed` unpacked bytes; if they were compressed, where the part begins.
    #[cold]
    pub(crate) fn placed_at(&self, error: Error, passed: u64) -> Error {
        let offset = match &self.source {
            Source::Plain(_) => self.start + passed,
            Source::Snappy(_) => self.start,
        };
        self.source.range().stream.placed(error, offset)
    }

    /// Names the file and the place of the next byte.
    #[cold]
    pub(crate) fn placed(&self, error: Error) -> Error {
        self.placed_at(error, self.passed)
    }
}
