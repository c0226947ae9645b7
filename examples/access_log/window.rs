//! Windows of a minute in event time: the time is that in the log, so it does not matter when the log is read.

use serde::{Deserialize, Serialize};

/// A minute since 1970: the namespace of what is counted by the minute.
pub type Minute = u64;

/// The minute in which a second since 1970 lies.
pub fn minute_of(seconds: u64) -> Minute {
    seconds / 60
}

/// Whether the window of `minute` is closed once the log has told the minute `newest`: there is a minute in between,
/// for lines that come late.
pub fn is_closed(minute: Minute, newest: Minute) -> bool {
    newest.saturating_sub(minute) > 1
}

/// What came of the windows of a path. It is state itself, so after a crash no window is counted twice or forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Windows closed.
    pub closed: u64,
    /// Hits in them.
    pub hits: u64,
    /// Hits in the busiest.
    pub peak: u64,
    /// Hits that came after their window was closed, and are in none.
    pub late: u64,
}

impl Windows {
    /// Counts a window that was closed with so many hits.
    pub fn close(&mut self, hits: u64) {
        self.closed += 1;
        self.hits += hits;
        self.peak = self.peak.max(hits);
    }

    /// The counts of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            closed: self.closed + other.closed,
            hits: self.hits + other.hits,
            peak: self.peak.max(other.peak),
            late: self.late + other.late,
        }
    }
}
