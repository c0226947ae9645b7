//! The checkpoint that a path on the command line names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_api::{Checkpoint, Error, ErrorKind, JobFolder, METADATA_FILE, TaskState};
use coordinator::JobContents;
use storage_local::LocalStorage;
use tempfile::TempDir;

use crate::failure::{Failure, Result};
use crate::flink::{self, Converted};

/// A checkpoint or savepoint in a local folder.
#[derive(Debug)]
pub struct Source {
    /// Where the paths of its files lead.
    pub storage: Arc<LocalStorage>,
    /// Its metadata.
    pub checkpoint: Checkpoint,
    /// The file of the metadata.
    pub metadata: PathBuf,
    /// Bytes of that file.
    pub metadata_bytes: u64,
    /// Where the state of a Flink savepoint is, as a savepoint of this family.
    _converted: Option<TempDir>,
}

impl Source {
    /// Opens what `path` names: a folder with metadata, a file of metadata, or the folder of a job, which stands for its
    /// newest checkpoint.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = find_metadata(path)?;
        let bytes = fs::read(&metadata).map_err(|error| unreadable(&metadata, &error))?;
        if flink_savepoint::is_metadata(&bytes) {
            return Self::of_flink(&metadata, &[], true);
        }
        let checkpoint = Checkpoint::decode(&bytes, &metadata.display().to_string())?;
        let absolute = absolute(&metadata)?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        // The paths of a savepoint are relative to its folder, those of a checkpoint begin with the name of the job.
        let above = if checkpoint.savepoint.is_some() { 0 } else { 2 };
        let root = folder.ancestors().nth(above).unwrap_or(folder);
        let storage = Arc::new(LocalStorage::open(root)?);
        let metadata_bytes = bytes.len() as u64;
        Ok(Self { storage, checkpoint, metadata, metadata_bytes, _converted: None })
    }

    /// Opens a savepoint of Flink. See [`flink::convert`].
    pub fn of_flink(metadata: &Path, operators: &[String], skip_unreadable: bool) -> Result<Self> {
        let Converted { folder, storage, checkpoint } = flink::convert(metadata, operators, skip_unreadable)?;
        let metadata_bytes = fs::metadata(metadata)?.len();
        Ok(Self {
            storage,
            checkpoint,
            metadata: metadata.to_owned(),
            metadata_bytes,
            _converted: Some(folder),
        })
    }

    /// The operators, by their ids.
    pub fn operators(&self) -> Vec<Operator<'_>> {
        let mut operators: Vec<Operator<'_>> = Vec::new();
        for task in &self.checkpoint.tasks {
            match operators.iter_mut().find(|operator| operator.id == task.operator) {
                Some(operator) => operator.tasks.push(task),
                None => operators.push(Operator {
                    id: &task.operator,
                    name: self.checkpoint.operator_names.get(&task.operator).map(String::as_str),
                    tasks: vec![task],
                }),
            }
        }
        operators.sort_by_key(|operator| operator.id);
        operators
    }
}

/// An operator with its subtasks.
#[derive(Debug)]
pub struct Operator<'s> {
    /// Its id.
    pub id: &'s str,
    /// Its name for people.
    pub name: Option<&'s str>,
    /// What its subtasks acknowledged.
    pub tasks: Vec<&'s TaskState>,
}

impl Operator<'_> {
    /// True if `text` is the id or the name.
    pub fn is_called(&self, text: &str) -> bool {
        self.id == text || self.name == Some(text)
    }

    /// Number of subtasks.
    pub fn parallelism(&self) -> u16 {
        self.tasks.first().map_or(0, |task| task.parallelism)
    }
}

/// Opens the storage and the folder of the job in `path`.
pub fn open_job(path: &Path) -> Result<(Arc<LocalStorage>, JobFolder)> {
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !found.is_dir() {
        return Err(Failure::usage(format!("{} is not the folder of a job", path.display())));
    }
    let folder = absolute(path)?;
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let job = JobFolder::new(name)?;
    let storage = LocalStorage::open(folder.parent().unwrap_or(&folder))?;
    Ok((Arc::new(storage), job))
}

/// The file of metadata that a path names.
pub fn find_metadata(path: &Path) -> Result<PathBuf> {
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if found.is_file() {
        return Ok(path.to_owned());
    }
    let within = path.join(METADATA_FILE);
    if within.is_file() {
        return Ok(within);
    }
    if has_checkpoints(path) {
        let (storage, job) = open_job(path)?;
        if let Some(latest) = JobContents::read(&*storage, &job)?.latest() {
            let metadata = job.metadata(latest.id);
            return Ok(
                path.join(metadata.strip_prefix(job.path()).unwrap_or(&metadata).trim_start_matches('/'))
            );
        }
    }
    let message =
        format!("there is no {METADATA_FILE} in {}: it is no checkpoint, savepoint or job", path.display());
    Err(Failure::Usage(message))
}

/// True if the folder has folders of checkpoints.
fn has_checkpoints(folder: &Path) -> bool {
    let is_checkpoint = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(b"chk-"))
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_checkpoint))
}

/// The path from the root, without `..`.
fn absolute(path: &Path) -> Result<PathBuf> {
    let is_plain = !path.components().any(|part| part == std::path::Component::ParentDir);
    let absolute = if is_plain { std::path::absolute(path) } else { path.canonicalize() };
    absolute.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        _ => error.to_string(),
    };
    Failure::usage(format!("{}: {reason}", path.display()))
}

/// An error of opening a file that the metadata names.
pub fn missing(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let file = error.file().unwrap_or_default().to_owned();
    let message = "the checkpoint names a file that is not there; was it deleted meanwhile?";
    Error::new(ErrorKind::NotFound, message).in_file(&file, None)
}
