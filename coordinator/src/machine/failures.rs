//! Consecutive failures, counted as by Flink's `CheckpointFailureManager`.

use std::collections::BTreeSet;

/// Counts the checkpoints that failed since the last one that completed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failures {
    tolerable: u32,
    /// Each id counts once.
    counted: BTreeSet<u64>,
    /// Those that failed before they had an id.
    without_id: u32,
    last_success: Option<u64>,
}

impl Failures {
    pub fn new(tolerable: u32) -> Self {
        Self { tolerable, counted: BTreeSet::new(), without_id: 0, last_success: None }
    }

    pub fn succeeded(&mut self, id: u64) {
        if self.last_success < Some(id) {
            self.last_success = Some(id);
            self.clear();
        }
    }

    /// Records the failure of checkpoint `id`. Returns true, and resets the count, if the tolerable number is
    /// exceeded.
    pub fn failed(&mut self, id: u64) -> bool {
        if Some(id) < self.last_success {
            return false;
        }
        self.counted.insert(id);
        self.is_too_many()
    }

    /// A checkpoint failed that has no id. The same answer as that of [`failed`](Self::failed).
    pub fn failed_without_id(&mut self) -> bool {
        self.without_id = self.without_id.saturating_add(1);
        self.is_too_many()
    }

    fn is_too_many(&mut self) -> bool {
        let failures = self.counted.len() as u64 + u64::from(self.without_id);
        let is_too_many = failures > u64::from(self.tolerable);
        if is_too_many {
            self.clear();
        }
        is_too_many
    }

    fn clear(&mut self) {
        self.counted.clear();
        self.without_id = 0;
    }
}
