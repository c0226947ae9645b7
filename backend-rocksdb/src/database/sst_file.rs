//! Sorted files that are written beside the database and then ingested.

use std::fs;
use std::path::{Path, PathBuf};

use backend_api::Result;
use rocksdb::SstFileWriter;

use super::{Database, Family};
use crate::error::failed;

/// A finished file for [`Database::ingest`]. Dropping it deletes the file unless it was ingested.
pub(crate) struct SstFile(PathBuf);

impl SstFile {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SstFile {
    fn drop(&mut self) {
        // What stays goes with the working folder.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes an [`SstFile`].
pub(crate) struct SstWriter<'d> {
    writer: SstFileWriter<'d>,
    /// Declared after `writer`, which must close the file before it is deleted.
    file: SstFile,
}

impl<'d> SstWriter<'d> {
    pub fn create(database: &'d Database, family: Family) -> Result<Self> {
        let file = SstFile(database.fresh_path("load"));
        let writer = SstFileWriter::create(database.setup.files(family));
        writer.open(&file.0).map_err(failed)?;
        Ok(Self { writer, file })
    }

    /// Adds an entry. Keys must ascend.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value).map_err(failed)
    }

    /// Adds a tombstone. Keys must ascend.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.writer.delete(key).map_err(failed)
    }

    /// Bytes written so far.
    pub fn size(&mut self) -> u64 {
        self.writer.file_size()
    }

    /// Ends a file of at least one entry.
    pub fn finish(mut self) -> Result<SstFile> {
        self.writer.finish().map_err(failed)?;
        Ok(self.file)
    }
}
