//! Configuration of a job's checkpoints, with Flink's names, defaults and rules.

mod backend;
mod file;
mod notation;

pub use backend::{BackendConfig, BackendKind};
pub use file::JobConfig;
pub(crate) use file::{number, one_of};
pub use notation::{parse_duration, parse_size};

use std::time::Duration;

use backend_api::{Error, ErrorKind, Result};

/// What a restart may do to a record: count it twice, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CheckpointingMode {
    /// Every record has its effect on state once: inputs that are ahead wait for the others at a barrier.
    #[default]
    ExactlyOnce,
    /// Every record has its effect at least once: no input waits.
    AtLeastOnce,
}

/// What becomes of the completed checkpoints when the job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retention {
    /// They are deleted, however the job ends (`NO_EXTERNALIZED_CHECKPOINTS`).
    #[default]
    None,
    /// They stay if the job fails, and are deleted otherwise (`DELETE_ON_CANCELLATION`).
    DeleteOnCancellation,
    /// They stay unless the job finishes (`RETAIN_ON_CANCELLATION`).
    RetainOnCancellation,
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// All input is read.
    Finished,
    /// Someone cancelled it.
    Cancelled,
    /// It failed, and is not restarted.
    Failed,
    /// The coordinator gives the job up; another one may go on with it.
    Suspended,
}

impl Retention {
    /// True if completed checkpoints stay after that end.
    pub fn keeps_after(self, end: JobEnd) -> bool {
        match self {
            Self::None => false,
            Self::DeleteOnCancellation => end == JobEnd::Failed,
            Self::RetainOnCancellation => end != JobEnd::Finished,
        }
    }
}

/// When checkpoints are taken and how many are kept. The defaults are Flink's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointConfig {
    /// Time between two periodic checkpoints; `None` for no periodic ones. At least 10 ms.
    pub interval: Option<Duration>,
    /// The guarantee.
    pub mode: CheckpointingMode,
    /// How long a checkpoint may take. At least 10 ms; 10 minutes by default.
    pub timeout: Duration,
    /// Time that must pass between the completion of a checkpoint and the next periodic one; at most 365 days. If it is
    /// not zero, one checkpoint is under way at a time.
    pub min_pause: Duration,
    /// How many checkpoints may be under way at once. At least 1.
    pub max_concurrent: usize,
    /// How many checkpoints in a row may fail before the job does.
    pub tolerable_failures: u32,
    /// How many completed checkpoints are kept. At least 1.
    pub retained: usize,
    /// What becomes of them when the job ends.
    pub retention: Retention,
    /// The folder of checkpoints.
    pub checkpoint_dir: Option<String>,
    /// The folder of savepoints for which none is named.
    pub savepoint_dir: Option<String>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            interval: None,
            mode: CheckpointingMode::ExactlyOnce,
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            max_concurrent: 1,
            tolerable_failures: 0,
            retained: 1,
            retention: Retention::None,
            checkpoint_dir: None,
            savepoint_dir: None,
        }
    }
}

/// Shortest interval and timeout.
const SHORTEST: Duration = Duration::from_millis(10);

/// Longest pause: longer ones are taken as this.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);

impl CheckpointConfig {
    /// Checks the limits of all settings.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument), with Flink's name of the setting.
    pub fn check(&self) -> Result<()> {
        let shortest = |key: &str, value: Duration| match value < SHORTEST {
            true => Err(refused(key, &format!("{value:?} is less than 10ms"))),
            false => Ok(()),
        };
        let positive = |key: &str, value: usize| match value {
            0 => Err(refused(key, "0 is less than 1")),
            _ => Ok(()),
        };
        shortest("execution.checkpointing.interval", self.interval.unwrap_or(SHORTEST))?;
        shortest("execution.checkpointing.timeout", self.timeout)?;
        positive("execution.checkpointing.max-concurrent-checkpoints", self.max_concurrent)?;
        positive("execution.checkpointing.num-retained", self.retained)
    }

    /// The pause that is kept, in milliseconds.
    pub(crate) fn pause_ms(&self) -> u64 {
        millis(self.min_pause.min(LONGEST_PAUSE))
    }

    /// The interval that is kept, in milliseconds: never shorter than the pause.
    pub(crate) fn interval_ms(&self) -> Option<u64> {
        Some(millis(self.interval?).max(self.pause_ms()))
    }

    /// How many checkpoints may be under way. Flink's documentation says that a pause implies one, its code does not
    /// see to it; here it does.
    pub(crate) fn concurrent(&self) -> usize {
        if self.min_pause.is_zero() { self.max_concurrent } else { 1 }
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        millis(self.timeout)
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A setting that cannot be.
#[cold]
fn refused(key: &str, reason: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{key}: {reason}"))
}
