//! Configuration of a job's checkpoints, with Flink's names, defaults and rules.

mod backend;
mod file;
mod notation;

pub use backend::{BackendConfig, BackendKind};
pub use file::JobConfig;
use notation::parse_size;
pub(crate) use notation::{number, one_of, parse_duration};

use std::time::Duration;

use backend_api::{Error, ErrorKind, Result};

/// How often a record can affect state across a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CheckpointingMode {
    /// Exactly once: inputs that are ahead wait for the others at a barrier.
    #[default]
    ExactlyOnce,
    /// At least once: no input waits.
    AtLeastOnce,
}

/// What happens to completed checkpoints when the job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retention {
    /// They are always deleted (`NO_EXTERNALIZED_CHECKPOINTS`).
    #[default]
    None,
    /// They are kept if the job fails (`DELETE_ON_CANCELLATION`).
    DeleteOnCancellation,
    /// They are kept unless the job finishes (`RETAIN_ON_CANCELLATION`).
    RetainOnCancellation,
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// All input is read.
    Finished,
    /// A user cancelled it.
    Cancelled,
    /// It failed, and is not restarted.
    Failed,
    /// This coordinator gives the job up, and another one may continue it.
    Suspended,
}

impl Retention {
    /// True if completed checkpoints are kept after this end.
    pub(crate) fn keeps_after(self, end: JobEnd) -> bool {
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
    /// Time between two periodic checkpoints, at least 10 ms. `None` disables them.
    pub interval: Option<Duration>,
    /// The guarantee.
    pub mode: CheckpointingMode,
    /// Limit of a checkpoint's duration. At least 10 ms, and 10 minutes by default.
    pub timeout: Duration,
    /// Least time between the completion of a checkpoint and the next periodic one, at most 365 days. If it
    /// is not zero, only one checkpoint runs at a time.
    pub min_pause: Duration,
    /// Most concurrent checkpoints. At least 1.
    pub max_concurrent: usize,
    /// Consecutive failed checkpoints that the job tolerates.
    pub tolerable_failures: u32,
    /// Number of completed checkpoints to retain. At least 1.
    pub retained: usize,
    /// What happens to them when the job ends.
    pub retention: Retention,
    /// The folder of checkpoints.
    pub checkpoint_dir: Option<String>,
    /// The default folder of savepoints.
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

/// Longest pause. Longer ones are cut to this.
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

    /// The effective pause in milliseconds.
    pub(crate) fn pause_ms(&self) -> u64 {
        millis(self.min_pause.min(LONGEST_PAUSE))
    }

    /// The effective interval in milliseconds, which is at least the pause.
    pub(crate) fn interval_ms(&self) -> Option<u64> {
        Some(millis(self.interval?).max(self.pause_ms()))
    }

    /// Most concurrent checkpoints. A pause implies one, as Flink's documentation says, although Flink's code
    /// does not enforce it.
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

/// Error for an invalid setting.
#[cold]
fn refused(key: &str, reason: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{key}: {reason}"))
}
