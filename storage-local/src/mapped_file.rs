//! Files mapped into memory.
#![expect(unsafe_code, reason = "a mapping is only as immutable as its file")]

use std::borrow::Cow;
use std::fs::File;
use std::io;

use backend_api::Result;
use backend_api::storage::{Bytes, StorageFile};
use memmap2::Mmap;

/// A file whose reads lend the page cache. No advice is given to the kernel: measured, every one is slower.
#[derive(Debug)]
pub(super) struct MappedFile(Bytes<Mmap>);

impl MappedFile {
    pub fn open(path: &str, file: &File) -> io::Result<Self> {
        // SAFETY: the mapping must not change while it is lent. The storage gives a file its name when
        // it is complete, never opens a named file for writing, and replaces or deletes names only, which
        // leaves mapped files as they are. That nobody else writes in the folder is the storage's contract.
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
