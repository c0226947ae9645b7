//! The folder of checkpoints: one named by the user, or a temporary one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use state_backends::api::MemoryStorage;
use state_backends::api::storage::MountedStorage;
use state_backends::prelude::*;
use tempfile::TempDir;

use crate::args::{Args, Backend};
use crate::failure::Failure;
use crate::job;

/// The folder of the checkpoints, if they are in files, and those of savepoints. A temporary folder is removed on drop.
pub struct Folder {
    path: Option<PathBuf>,
    storage: Option<Arc<dyn Storage>>,
    start: Option<Savepoint>,
    savepoints: Option<Arc<dyn Storage>>,
    temporary: Option<TempDir>,
}

/// The path of the savepoint that the job starts from, within the storage.
const START: &str = "start";

impl Folder {
    /// Opens the folders of the command line.
    pub fn open(args: &Args) -> Result<Self, Failure> {
        let temporary = match (&args.checkpoint_dir, args.backend) {
            (None, Backend::Fs | Backend::Rocksdb) => {
                Some(tempfile::Builder::new().prefix("access-log-").tempdir()?)
            }
            _ => None,
        };
        let path = args.checkpoint_dir.as_deref().or(temporary.as_ref().map(TempDir::path));
        let mut storage = path.map(|path| open(path, args.resume)).transpose()?;
        let mut start = None;
        if let Some(from) = &args.start_from {
            let root = storage.take().unwrap_or_else(|| Arc::new(MemoryStorage::new()));
            let (mounted, savepoint) = mount(root, from)?;
            (storage, start) = (Some(mounted), Some(savepoint));
        }
        let savepoints = args.savepoint.as_deref().map(local).transpose()?;
        Ok(Self { path: path.map(Path::to_owned), storage, start, savepoints, temporary })
    }

    /// The storage of checkpoints, if they are in files.
    pub fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.storage.clone().filter(|_| self.path.is_some())
    }

    /// The savepoint that the job starts from.
    pub fn start(&self) -> Option<&Savepoint> {
        self.start.as_ref()
    }

    /// The storage of the savepoint that the job ends with.
    pub fn savepoints(&self) -> Option<Arc<dyn Storage>> {
        self.savepoints.clone()
    }

    /// The backend of the command line, with its checkpoints in this folder.
    pub fn options(&self, args: &Args) -> Result<AnyOptions, Failure> {
        let options = match &args.job {
            Some(config) => AnyOptions::from_config(&config.backend, self.storage(), job::folder()?)?,
            None => self.chosen(args)?,
        };
        // A resumed job continues in the same folder, so its increments may build on the restored files.
        let claims = self.start.is_none();
        Ok(match (options, &self.storage) {
            (AnyOptions::Memory(options), Some(storage)) => {
                AnyOptions::Memory(options.with_storage(Arc::clone(storage)))
            }
            (AnyOptions::Fs(options), _) => AnyOptions::Fs(options.with_claim_restored(claims)),
            #[cfg(feature = "rocksdb")]
            (AnyOptions::RocksDb(options), _) => AnyOptions::RocksDb(options.with_claim_restored(claims)),
            (options, _) => options,
        })
    }

    fn chosen(&self, args: &Args) -> Result<AnyOptions, Failure> {
        Ok(match (args.backend, &self.storage, &self.path) {
            (Backend::Fs, Some(storage), _) => {
                let options = FsOptions::new(Arc::clone(storage), job::folder()?);
                AnyOptions::Fs(options.with_incremental(args.incremental))
            }
            #[cfg(feature = "rocksdb")]
            (Backend::Rocksdb, Some(storage), Some(path)) => {
                let options = RocksDbOptions::new(Arc::clone(storage), job::folder()?, path.join("working"));
                AnyOptions::RocksDb(options.with_incremental(args.incremental))
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
    local(path)
}

fn local(path: &Path) -> Result<Arc<dyn Storage>, Failure> {
    match LocalStorage::open(path) {
        Ok(storage) => Ok(Arc::new(storage)),
        Err(error) => Err(Failure::job(path.display(), error.message())),
    }
}

/// Makes the savepoint at `from` accessible through the storage of the checkpoints, and opens it.
fn mount(root: Arc<dyn Storage>, from: &Path) -> Result<(Arc<dyn Storage>, Savepoint), Failure> {
    let failed = |reason: &dyn std::fmt::Display| Failure::job(from.display(), reason);
    let is_folder = std::fs::metadata(from).map_err(|error| failed(&error))?.is_dir();
    let (folder, pointer) = if is_folder {
        (from, START.to_owned())
    } else {
        let name = from.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| failed(&"the name is not in UTF-8"))?;
        let parent = from.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")), format!("{START}/{name}"))
    };
    let storage: Arc<dyn Storage> = Arc::new(MountedStorage::new(root, START, local(folder)?)?);
    let savepoint =
        Savepoint::open(Arc::clone(&storage), &pointer).map_err(|error| failed(&error.message()))?;
    Ok((storage, savepoint))
}
