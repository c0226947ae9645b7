//! Restart strategies: if and when a failed job starts again.

use std::time::Duration;

use crate::config::{millis, number, one_of, parse_duration};

/// What happens when a job fails.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RestartStrategy {
    /// The job ends as failed.
    #[default]
    None,
    /// The job restarts `attempts` times, each time after `delay`.
    FixedDelay {
        /// Number of restarts. 1 by default.
        attempts: u32,
        /// Time before each restart. 1 second by default.
        delay: Duration,
    },
    /// The job restarts any number of times, after a delay that grows with each failure.
    ExponentialDelay {
        /// The first delay; 1 second by default.
        initial: Duration,
        /// The longest delay; 1 minute by default.
        max: Duration,
        /// Factor from one delay to the next; 1.5 by default, and above 1.
        multiplier: f64,
        /// Time the job must run until the delay is reset. 1 hour by default.
        reset_after: Duration,
    },
}

impl RestartStrategy {
    /// The fixed delay with its defaults.
    pub fn fixed_delay() -> Self {
        Self::FixedDelay { attempts: 1, delay: Duration::from_secs(1) }
    }

    /// The exponential delay with its defaults.
    pub fn exponential_delay() -> Self {
        Self::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 1.5,
            reset_after: Duration::from_secs(3600),
        }
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if key == "type" {
            let types =
                [("none", 0), ("fixed-delay", 1), ("exponential-delay", 2), ("disable", 0), ("off", 0)];
            let chosen = match one_of(value, &types)? {
                0 => Self::None,
                1 => Self::fixed_delay(),
                _ => Self::exponential_delay(),
            };
            // Settings that were made for the same strategy stay.
            if std::mem::discriminant(self) != std::mem::discriminant(&chosen) {
                *self = chosen;
            }
            return Ok(());
        }
        let (strategy, key) = key.split_once('.').unwrap_or((key, ""));
        if *self == Self::None {
            match strategy {
                "fixed-delay" => *self = Self::fixed_delay(),
                "exponential-delay" => *self = Self::exponential_delay(),
                _ => {}
            }
        }
        match (self, strategy, key) {
            (Self::FixedDelay { attempts, .. }, "fixed-delay", "attempts") => *attempts = number(value)?,
            (Self::FixedDelay { delay, .. }, "fixed-delay", "delay") => *delay = parse_duration(value)?,
            (Self::ExponentialDelay { initial, .. }, "exponential-delay", "initial-backoff") => {
                *initial = parse_duration(value)?;
            }
            (Self::ExponentialDelay { max, .. }, "exponential-delay", "max-backoff") => {
                *max = parse_duration(value)?;
            }
            (Self::ExponentialDelay { reset_after, .. }, "exponential-delay", "reset-backoff-threshold") => {
                *reset_after = parse_duration(value)?;
            }
            (Self::ExponentialDelay { multiplier, .. }, "exponential-delay", "backoff-multiplier") => {
                let factor = value.parse().ok().filter(|factor: &f64| *factor > 1.0 && factor.is_finite());
                *multiplier = factor.ok_or_else(|| format!("{value:?} is not a number above 1"))?;
            }
            _ => return Err("there is no setting of this name, or it belongs to another strategy".to_owned()),
        }
        Ok(())
    }
}

/// The failures of one job that its strategy needs.
#[derive(Clone, Debug)]
pub struct Restarts {
    strategy: RestartStrategy,
    failures: u32,
    next_ms: u64,
    last_failure: Option<u64>,
}

impl Restarts {
    /// The state before the first failure.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, failures: 0, next_ms: 0, last_failure: None }
    }

    /// Number of failures so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Records a failure at `now`, in milliseconds. Returns the time until the restart, or `None` if the job
    /// is not restarted.
    pub fn failed(&mut self, now: u64) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let since = self.last_failure.replace(now).map_or(u64::MAX, |last| now.saturating_sub(last));
        match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => (self.failures <= attempts).then_some(delay),
            RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after } => {
                // The delay before the last restart does not count as running.
                if since.saturating_sub(self.next_ms) >= millis(reset_after) {
                    self.next_ms = 0;
                }
                let grown = (self.next_ms as f64 * multiplier).min(millis(max) as f64) as u64;
                self.next_ms = if self.next_ms == 0 { millis(initial).min(millis(max)) } else { grown };
                Some(Duration::from_millis(self.next_ms))
            }
        }
    }
}
