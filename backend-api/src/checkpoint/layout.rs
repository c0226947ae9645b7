use super::file_name::{FileName, NAME_BYTES_MAX, decimal};
use crate::{Error, ErrorKind, Result};

/// The folders of one job within a storage, as in Flink: `<job>/chk-<n>/` for files of one checkpoint,
/// `<job>/shared/` for files that several use, and `<job>/taskowned/` for files that tasks delete themselves.
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

    /// The job's folder.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Folder of checkpoint `id`, deleted with the checkpoint.
    pub fn checkpoint(&self, id: u64) -> String {
        format!("{}/chk-{id}", self.0)
    }

    /// The file whose presence makes checkpoint `id` complete.
    pub fn metadata(&self, id: u64) -> String {
        format!("{}/chk-{id}/{METADATA_FILE}", self.0)
    }

    /// Folder of shared files.
    pub fn shared(&self) -> String {
        format!("{}/shared", self.0)
    }

    /// Folder of files that tasks own, which no checkpoint deletes.
    pub fn task_owned(&self) -> String {
        format!("{}/taskowned", self.0)
    }

    /// The file that reserves all ids up to `last`.
    pub fn reserved_ids(&self, last: u64) -> String {
        format!("{}/{last}", self.reserved())
    }

    /// Folder of the reservations of ids.
    pub fn reserved(&self) -> String {
        format!("{}/reserved-ids", self.0)
    }

    /// The copy of the metadata of savepoint or checkpoint `id`, which the job owns although it lies elsewhere.
    pub fn claimed(&self, id: u64) -> String {
        format!("{}/claimed/{id}", self.0)
    }

    /// Folder of the marks of coordinators that opened the job's checkpoints for writing.
    pub fn owner(&self) -> String {
        format!("{}/_owner", self.0)
    }

    /// The kind of the file `path` of the storage. `None` if it is not a file of this project.
    pub fn file_of<'p>(&self, path: &'p str) -> Option<JobFile<'p>> {
        let below = path.strip_prefix(&self.0)?.strip_prefix('/')?;
        let (folder, name) = below.split_once('/')?;
        match folder {
            "shared" => FileName::parse(name).map(JobFile::Shared),
            "reserved-ids" => decimal(name).map(JobFile::ReservedIds),
            "claimed" => decimal(name).map(JobFile::Claimed),
            _ => {
                let id = decimal(folder.strip_prefix("chk-")?)?;
                if name == METADATA_FILE {
                    return Some(JobFile::Metadata(id));
                }
                FileName::parse(name).filter(|name| name.checkpoint_id == id).map(JobFile::Private)
            }
        }
    }
}

/// The name of the file that makes a checkpoint or savepoint complete.
pub const METADATA_FILE: &str = "_metadata";

/// A file in a job's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFile<'a> {
    /// The metadata of a checkpoint.
    Metadata(u64),
    /// State of one checkpoint.
    Private(FileName<'a>),
    /// State that several checkpoints may use.
    Shared(FileName<'a>),
    /// Reserves all ids up to this one.
    ReservedIds(u64),
    /// The copy of the metadata of a savepoint or checkpoint that lies elsewhere.
    Claimed(u64),
}

impl JobFile<'_> {
    /// The highest checkpoint id that was used or reserved if this file exists.
    pub fn id(&self) -> u64 {
        match self {
            Self::Metadata(id) | Self::ReservedIds(id) | Self::Claimed(id) => *id,
            Self::Private(name) | Self::Shared(name) => name.checkpoint_id,
        }
    }
}

impl std::fmt::Display for JobFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_job_are_recognized_by_their_whole_path() {
        let job = JobFolder::new("job").unwrap();
        let name = "op-0-0123456789abcdef-7";
        let parsed = FileName::parse(name).unwrap();
        let known = |path: String| job.file_of(&path).map(|file| file.id());
        assert_eq!(job.file_of(&job.metadata(7)), Some(JobFile::Metadata(7)));
        assert_eq!(job.file_of(&format!("job/chk-7/{name}")), Some(JobFile::Private(parsed)));
        assert_eq!(job.file_of(&format!("job/shared/{name}")), Some(JobFile::Shared(parsed)));
        assert_eq!(job.file_of(&job.reserved_ids(64)), Some(JobFile::ReservedIds(64)));
        assert_eq!(job.file_of(&job.claimed(9)), Some(JobFile::Claimed(9)));
        for path in [
            "chk-07/_metadata",
            "chk-+7/_metadata",
            "chk-7/below/_metadata",
            "chk-7/other",
            "chk-7",
            "notes-5",
            "shared/notes-5",
            "taskowned/part-99999999999999999",
            "reserved-ids/x",
            "reserved-ids/064",
            "claimed/x",
            "_metadata",
        ] {
            assert_eq!(known(format!("job/{path}")), None, "{path}");
        }
        assert_eq!(known(format!("job/chk-8/{name}")), None, "a file of another checkpoint");
        assert_eq!(known(format!("job/taskowned/{name}")), None);
        assert_eq!(known(format!("jobs/shared/{name}")), None);
    }

    #[test]
    fn names_of_jobs_fit_a_file_system() {
        for name in ["j".repeat(255), "\u{e4}".repeat(127)] {
            JobFolder::new(name).unwrap();
        }
        for name in ["j".repeat(256), "\u{e4}".repeat(128), ".j".to_owned(), "a/b".to_owned(), String::new()]
        {
            assert_eq!(JobFolder::new(name).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
