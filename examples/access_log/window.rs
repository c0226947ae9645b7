//! Windows of one minute in event time, which is the time in the log.

use serde::{Deserialize, Serialize};

/// Minutes since 1970; the namespace of counts per minute.
pub type Minute = u64;

/// The minute of a second since 1970.
pub fn minute_of(seconds: u64) -> Minute {
    seconds / 60
}

/// True if the window of `minute` is closed once the log has reached the minute `newest`. A window stays open for one
/// more minute, because lines may come late.
pub fn is_closed(minute: Minute, newest: Minute) -> bool {
    newest.saturating_sub(minute) > 1
}

/// The event time at which the window of `minute` is closed.
pub fn closed_at(minute: Minute) -> i64 {
    event_time(minute.saturating_add(2))
}

/// The time for timers when the log has reached `minute`. It is counted in minutes. The end of the log is the end of time.
pub fn event_time(minute: Minute) -> i64 {
    i64::try_from(minute).unwrap_or(i64::MAX)
}

/// Counts over the closed windows of a path. They are state, so a crash neither repeats nor loses a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Closed windows.
    pub closed: u64,
    /// Hits in closed windows.
    pub hits: u64,
    /// Hits in the busiest closed window.
    pub peak: u64,
    /// Hits that came after their window was closed. No window counts them.
    pub late: u64,
}

impl Windows {
    /// Counts a window that closes with `hits`.
    pub fn close(&mut self, hits: u64) {
        self.closed += 1;
        self.hits += hits;
        self.peak = self.peak.max(hits);
    }

    /// The sum of two.
    pub fn and(self, other: Self) -> Self {
        Self {
            closed: self.closed + other.closed,
            hits: self.hits + other.hits,
            peak: self.peak.max(other.peak),
            late: self.late + other.late,
        }
    }
}
