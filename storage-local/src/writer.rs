//! Writing a file durably.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use backend_api::{Cancel, Error, ErrorKind, Result, StorageWriter};

use tempfile::TempPath;

use super::output::Output;
use super::{LocalStorage, failed, sync_folder};

/// Writes an unfinished file, and gives it its name at the end.
#[derive(Debug)]
pub(super) struct LocalWriter {
    storage: LocalStorage,
    path: String,
    target: PathBuf,
    /// `None` once the file has its name.
    unfinished: Option<TempPath>,
    output: Output,
    cancel: Cancel,
    failed: bool,
}

impl LocalWriter {
    pub fn new(
        storage: LocalStorage,
        path: &str,
        target: PathBuf,
        unfinished: TempPath,
        file: File,
        cancel: Cancel,
    ) -> Self {
        Self {
            storage,
            path: path.to_owned(),
            target,
            unfinished: Some(unfinished),
            output: Output::new(file),
            cancel,
            failed: false,
        }
    }

    fn check(&self) -> Result<()> {
        self.cancel.check().map_err(|error| error.in_file(&self.path, None))?;
        if self.failed {
            return Err(Error::new(ErrorKind::Io, "an earlier write failed").in_file(&self.path, None));
        }
        Ok(())
    }

    /// Gives the file its name, unless another file has that name.
    fn name(&mut self) -> Result<()> {
        let Some(unfinished) = self.unfinished.take() else { return Ok(()) };
        if let Err(refused) = unfinished.persist_noclobber(&self.target) {
            let error = refused.error;
            // Removes the file before its folder is checked for being empty.
            self.unfinished = Some(refused.path);
            if error.kind() == io::ErrorKind::AlreadyExists && !self.target.is_dir() {
                let taken = Error::new(ErrorKind::AlreadyExists, "a file of that name exists already");
                return Err(taken.with_source(error).in_file(&self.path, None));
            }
            return Err(failed(error, &self.path));
        }
        self.sync_folders().map_err(|error| failed(error, &self.path))
    }

    fn sync_folders(&self) -> io::Result<()> {
        // Sync up to the root: this writer may have created the folders, or another one that is not finished.
        let root = self.storage.root();
        let mut folders = self.target.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
        let synced = folders.try_for_each(sync_folder);
        if synced.is_err() {
            // The name may not be durable, so it must not stay.
            fs::remove_file(&self.target)?;
        }
        synced
    }
}

impl StorageWriter for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        self.output.write(bytes).map_err(|error| {
            self.failed = true;
            failed(error, &self.path)
        })
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.check()?;
        self.output.sync().map_err(|error| failed(error, &self.path))?;
        self.check()?;
        self.name()
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if let Some(unfinished) = self.unfinished.take() {
            // The caller cannot receive an error here. A sweep removes what stays.
            drop(unfinished);
            self.storage.remove_empty(self.target.parent().unwrap_or(self.storage.root()));
        }
    }
}
