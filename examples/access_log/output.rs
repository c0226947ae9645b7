//! The result as a file, which is complete or not there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::page_stats::Page;

/// Where the result goes.
pub struct Output(PathBuf);

impl Output {
    /// Checks that the file can be written, before the work begins. Leaves nothing behind.
    pub fn new(path: PathBuf) -> Result<Self, Failure> {
        let output = Self(path);
        if output.0.is_dir() {
            return Err(output.failed(io::ErrorKind::IsADirectory.into()));
        }
        match NamedTempFile::new_in(output.folder()) {
            Ok(_) => Ok(output),
            Err(_) if !output.folder().is_dir() => {
                let error = format!("there is no folder {}", output.folder().display());
                Err(Failure::job(output.0.display(), error))
            }
            Err(error) => Err(output.failed(error)),
        }
    }

    /// Writes the pages durably, in the given order. Replaces an earlier result.
    pub fn write(&self, pages: &[Page]) -> Result<(), Failure> {
        let write = || {
            let mut file = NamedTempFile::new_in(self.folder())?;
            let mut out = BufWriter::new(&mut file);
            for Page { path, hits, visitors, mean_bytes, .. } in pages {
                out.write_all(path)?;
                writeln!(out, "\t{hits}\t{visitors}\t{mean_bytes:.1}")?;
            }
            out.flush()?;
            drop(out);
            file.as_file().sync_all()?;
            file.persist(&self.0)?;
            File::open(self.folder())?.sync_all()
        };
        write().map_err(|error| self.failed(error))
    }

    fn folder(&self) -> &Path {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new("."))
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::job(self.0.display(), error)
    }
}
