//! Restart strategies: whether a job that failed starts again, and when.

use std::time::Duration;

use crate::config::{millis, number, one_of, parse_duration};

/// What is done when a job fails.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RestartStrategy {
    /// The job fails.
    #[default]
    None,
    /// It starts again `attempts` times, each time after `delay`.
    FixedDelay {
        /// How often; 1 by default.
        attempts: u32,
        /// Time before each start; 1 second by default.
        delay: Duration,
    },
    /// It starts again after a delay that grows with each failure, without end.
    ExponentialDelay {
        /// The first delay; 1 second by default.
        initial: Duration,
        /// The longest delay; 1 minute by default.
        max: Duration,
        /// Factor from one delay to the next; 1.5 by default, and above 1.
        multiplier: f64,
        /// How long the job must run for the next delay to be the first again; 1 hour by default.
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
            // What was set of the same strategy stays.
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

/// The failures of one job, as far as its strategy has to know them.
#[derive(Clone, Debug)]
pub struct Restarts {
    strategy: RestartStrategy,
    failures: u32,
    next_ms: u64,
    last_failure: Option<u64>,
}

impl Restarts {
    /// No failure so far.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, failures: 0, next_ms: 0, last_failure: None }
    }

    /// How often the job has failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The job failed at `now`, in milliseconds. After how long it starts again; `None` if it does not.
    pub fn failed(&mut self, now: u64) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let since = self.last_failure.replace(now).map_or(u64::MAX, |last| now.saturating_sub(last));
        match self.strategy {
            RestartStrategy::None => None,
            RestartStrategy::FixedDelay { attempts, delay } => (self.failures <= attempts).then_some(delay),
            RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after } => {
                // The pause before the last start is no time that the job ran.
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
