//! Consecutive failures, counted as by Flink's `CheckpointFailureManager`.

use std::collections::BTreeSet;

/// Counts the checkpoints that failed since the last one that completed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failures {
    tolerable: u32,
    /// Each id counts once.
    counted: BTreeSet<u64>,
    last_success: Option<u64>,
}

impl Failures {
    pub fn new(tolerable: u32) -> Self {
        Self { tolerable, counted: BTreeSet::new(), last_success: None }
    }

    pub fn succeeded(&mut self, id: u64) {
        if self.last_success < Some(id) {
            self.last_success = Some(id);
            self.counted.clear();
        }
    }

    /// Records the failure of checkpoint `id`. Returns true, and resets the count, if the tolerable number is
    /// exceeded.
    pub fn failed(&mut self, id: u64) -> bool {
        if Some(id) < self.last_success {
            return false;
        }
        self.counted.insert(id);
        let is_too_many = self.counted.len() as u64 > u64::from(self.tolerable);
        if is_too_many {
            self.counted.clear();
        }
        is_too_many
    }
}
