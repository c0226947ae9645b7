use super::file_name::{NAME_BYTES_MAX, decimal};
use crate::{Error, ErrorKind, Result};

/// Where the files of one job lie within a storage, as in Flink: `<job>/chk-<n>/` for what belongs to one
/// checkpoint, `<job>/shared/` for what several use, `<job>/taskowned/` for what tasks delete themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFolder(String);

impl JobFolder {
    /// The folder of job `job`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the name is not one plain path segment, or has more than 255
    /// bytes.
    pub fn new(job: impl Into<String>) -> Result<Self> {
        let job = job.into();
        if job.is_empty() || job.starts_with('.') || job.contains(['/', '\\', '\0']) {
            let message = format!("job name {job:?} is not a plain folder name");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if job.len() > NAME_BYTES_MAX {
            let message =
                format!("job name {job:?} has {} bytes, at most {NAME_BYTES_MAX} are possible", job.len());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self(job))
    }

    /// The folder itself.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Folder of checkpoint `id`: it goes with the checkpoint.
    pub fn checkpoint(&self, id: u64) -> String {
        format!("{}/chk-{id}", self.0)
    }

    /// The file whose presence makes checkpoint `id` complete.
    pub fn metadata(&self, id: u64) -> String {
        format!("{}/chk-{id}/_metadata", self.0)
    }

    /// Folder of the files that several checkpoints use.
    pub fn shared(&self) -> String {
        format!("{}/shared", self.0)
    }

    /// Folder of the files that tasks own: no checkpoint deletes them.
    pub fn task_owned(&self) -> String {
        format!("{}/taskowned", self.0)
    }

    /// The checkpoint whose folder `path` lies in, if it does.
    pub fn checkpoint_of(&self, path: &str) -> Option<u64> {
        let rest = path.strip_prefix(&self.0)?.strip_prefix("/chk-")?;
        decimal(rest.split('/').next()?)
    }
}

impl std::fmt::Display for JobFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
