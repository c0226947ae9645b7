//! The folder of checkpoints: one named by the user, or a temporary one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use state_backends::prelude::*;
use tempfile::TempDir;

use crate::args::{Args, Backend};
use crate::failure::Failure;
use crate::job;

/// The folder of the checkpoints, if they are in files. A temporary folder is removed on drop.
pub struct Folder {
    path: Option<PathBuf>,
    storage: Option<Arc<dyn Storage>>,
    temporary: Option<TempDir>,
}

impl Folder {
    /// Opens the folder that the command line asks for.
    pub fn open(args: &Args) -> Result<Self, Failure> {
        let temporary = match (&args.checkpoint_dir, args.backend) {
            (None, Backend::Fs | Backend::Rocksdb) => {
                Some(tempfile::Builder::new().prefix("access-log-").tempdir()?)
            }
            _ => None,
        };
        let path = args.checkpoint_dir.as_deref().or(temporary.as_ref().map(TempDir::path));
        let storage = path.map(|path| open(path, args.resume)).transpose()?;
        Ok(Self { path: path.map(Path::to_owned), storage, temporary })
    }

    /// The storage in the folder.
    pub fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.storage.clone()
    }

    /// The backend that the command line asks for, with its checkpoints in this folder.
    pub fn options(&self, args: &Args) -> Result<AnyOptions, Failure> {
        // A resumed job continues in the same folder, so its increments may build on the restored files.
        Ok(match (args.backend, &self.storage, &self.path) {
            (Backend::Fs, Some(storage), _) => {
                let options = FsOptions::new(Arc::clone(storage), job::folder()?);
                AnyOptions::Fs(options.with_incremental(args.incremental).with_claim_restored(true))
            }
            #[cfg(feature = "rocksdb")]
            (Backend::Rocksdb, Some(storage), Some(path)) => {
                let options = RocksDbOptions::new(Arc::clone(storage), job::folder()?, path.join("working"));
                AnyOptions::RocksDb(options.with_incremental(args.incremental).with_claim_restored(true))
            }
            _ => AnyOptions::Memory(MemoryOptions::default()),
        })
    }

    /// Keeps the folder of an interrupted job, and returns how to resume it.
    pub fn keep(self, args: &Args) -> String {
        let Some(path) = self.path else {
            return "its checkpoints were in memory; with --checkpoint-dir it could be resumed".to_owned();
        };
        self.temporary.map(TempDir::keep);
        let folder = match args.checkpoint_dir {
            Some(_) => String::new(),
            None => format!(" --checkpoint-dir {}", path.display()),
        };
        let instead = if args.overwrite { " instead of --overwrite" } else { "" };
        format!("to go on, run the same command with --resume{folder}{instead}")
    }
}

fn open(path: &Path, resume: bool) -> Result<Arc<dyn Storage>, Failure> {
    let refuse = |reason: &str| Err(Failure::job(path.display(), reason));
    if path.exists() && !path.is_dir() {
        return refuse("this is a file; --checkpoint-dir takes a folder");
    }
    if resume && !path.exists() {
        return refuse("there is no such folder; --resume takes the --checkpoint-dir of an earlier run");
    }
    if resume && !path.join(job::folder()?.path()).is_dir() {
        return refuse("the folder has no checkpoints of this job; --resume takes that of an earlier run");
    }
    match LocalStorage::open(path) {
        Ok(storage) => Ok(Arc::new(storage)),
        Err(error) => Err(Failure::job(path.display(), error.message())),
    }
}
