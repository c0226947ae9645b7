//! Files mapped into memory.
#![expect(unsafe_code, reason = "a mapping is only as immutable as its file")]

use std::borrow::Cow;
use std::fs::File;
use std::io;

use backend_api::Result;
use backend_api::storage::{Bytes, StorageFile};
use memmap2::Mmap;

/// A file whose reads borrow from the page cache. It gives the kernel no advice: each kind was measured to be slower.
#[derive(Debug)]
pub(super) struct MappedFile(Bytes<Mmap>);

impl MappedFile {
    pub fn open(path: &str, file: &File) -> io::Result<Self> {
        // SAFETY: the mapping must not change while it is borrowed. The storage names a file when it is complete and never
        // opens a named file for writing. Deleting a name leaves the mapped file as it is. The storage's contract forbids
        // others to write in the folder.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self(Bytes::new(path, map)))
    }
}

impl StorageFile for MappedFile {
    fn path(&self) -> &str {
        self.0.path()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        self.0.read(offset, len)
    }
}
