//! The result as a file: it is there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::page_stats::Page;

/// A file that is written beside its name and renamed.
pub struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Output {
    /// Finds out whether the file can be made, before the work begins. The one that is there stays until the new one is
    /// whole.
    pub fn create(path: PathBuf) -> Result<Self, Failure> {
        let failed = |error| Failure::usage(path.display(), error);
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut partial = OsString::from(&path);
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(failed)?;
        Ok(Self { path, partial, file })
    }

    /// Writes the pages in the given order, durably.
    pub fn write(self, pages: &[Page]) -> Result<(), Failure> {
        let write = || {
            let mut out = BufWriter::new(&self.file);
            for Page { path, hits, visitors, mean_bytes, .. } in pages {
                out.write_all(path)?;
                writeln!(out, "\t{hits}\t{visitors}\t{mean_bytes:.1}")?;
            }
            out.flush()?;
            drop(out);
            self.file.sync_all()?;
            fs::rename(&self.partial, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error: io::Error| Failure::Job(format!("{}: {error}", self.path.display())))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        let _ = fs::remove_file(&self.partial);
    }
}
