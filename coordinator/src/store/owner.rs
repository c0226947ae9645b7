//! The owner of a job's folder: the store that opened it last.

use backend_api::{Cancel, Error, ErrorKind, JobFolder, Result, Storage};

/// The mark of one store in the job's folder. The store with the highest mark is the owner.
///
/// A mark is not a lock: an earlier owner can still write. But it notices before it completes a checkpoint,
/// so two stores never both complete checkpoints.
#[derive(Debug)]
pub(super) struct Owner {
    mark: Mark,
    /// The marks of earlier owners.
    earlier: Vec<Mark>,
}

/// `<number>-<16 hexadecimal digits>`. The random part distinguishes stores that took the same number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    number: u64,
    random: String,
}

impl Mark {
    fn parse(name: &str) -> Option<Self> {
        let (digits, random) = name.split_once('-')?;
        let mark = Self { number: digits.parse().ok()?, random: random.to_owned() };
        let is_hex = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hex && mark.to_string() == name).then_some(mark)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.number, self.random)
    }
}

impl Owner {
    /// Becomes the owner and replaces the present one.
    pub fn take(storage: &dyn Storage, job: &JobFolder) -> Result<Self> {
        let earlier = marks(storage, job)?;
        let number = earlier.iter().map(|mark| mark.number).max().unwrap_or(0).saturating_add(1);
        let random = getrandom::u64().map_err(|error| {
            Error::new(ErrorKind::Io, "the system has no random numbers").with_source(error.to_string())
        })?;
        let mark = Mark { number, random: format!("{random:016x}") };
        storage.create(&path(job, &mark), &Cancel::new())?.finish()?;
        Ok(Self { mark, earlier })
    }

    /// Removes the marks of earlier owners. Only the highest mark counts, so they do no harm until then.
    pub fn remove_earlier(&mut self, storage: &dyn Storage, job: &JobFolder) {
        for mark in self.earlier.drain(..) {
            if let Err(error) = storage.delete(&path(job, &mark)) {
                tracing::warn!(%error, "the mark of an earlier owner was not deleted");
            }
        }
    }

    /// Gives up the folder, if possible.
    pub fn give_up(self, storage: &dyn Storage, job: &JobFolder) {
        if let Err(error) = storage.delete(&path(job, &self.mark)) {
            tracing::warn!(%error, "the mark of a store that was not opened stays");
        }
    }

    /// True if this is still the owner.
    pub fn is_owner(&self, storage: &dyn Storage, job: &JobFolder) -> Result<bool> {
        let newest = marks(storage, job)?.into_iter().max();
        Ok(newest.as_ref() == Some(&self.mark))
    }
}

fn path(job: &JobFolder, mark: &Mark) -> String {
    format!("{}/{mark}", job.owner())
}

fn marks(storage: &dyn Storage, job: &JobFolder) -> Result<Vec<Mark>> {
    let folder = format!("{}/", job.owner());
    let names = storage.list(&job.owner())?;
    Ok(names.iter().filter_map(|entry| Mark::parse(entry.path.strip_prefix(&folder)?)).collect())
}
