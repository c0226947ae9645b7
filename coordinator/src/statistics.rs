//! History and statistics of checkpoints, as values.

use std::collections::VecDeque;

use crate::{AbortReason, CheckpointReport, TaskMetrics};

/// Checkpoints in the history, as in Flink.
const REMEMBERED: usize = 10;

/// Statistics of a job's checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Completed checkpoints, including savepoints.
    pub completed: u64,
    /// Aborted checkpoints.
    pub failed: u64,
    /// Reason of the first failure.
    pub first_failure: Option<AbortReason>,
    /// Bytes written by completed checkpoints.
    pub delta_bytes: u64,
    /// The last checkpoints, newest first.
    pub history: VecDeque<CheckpointReport>,
}

/// Minimum, median, maximum and sum of a figure over the subtasks of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Minimum.
    pub min: u64,
    /// Median, or the lower one of two.
    pub median: u64,
    /// Maximum.
    pub max: u64,
    /// Sum.
    pub sum: u64,
}

impl Statistics {
    /// Adds a finished checkpoint.
    pub fn add(&mut self, report: CheckpointReport) {
        match &report.failure {
            None => {
                self.completed += 1;
                let written = report.summary(|task| task.delta_bytes).sum;
                self.delta_bytes = self.delta_bytes.saturating_add(written);
            }
            Some(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| reason.clone());
            }
        }
        self.history.push_front(report);
        self.history.truncate(REMEMBERED);
    }
}

impl CheckpointReport {
    /// Time from trigger to end, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.ended.saturating_sub(self.started)
    }

    /// A figure over the subtasks that have acknowledged: `report.summary(|task| task.sync_us)`.
    pub fn summary(&self, figure: impl Fn(&TaskMetrics) -> u64) -> Summary {
        let mut figures: Vec<u64> = self.tasks.iter().map(figure).collect();
        figures.sort_unstable();
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        Summary {
            min: at(0),
            median: at(figures.len().saturating_sub(1) / 2),
            max: at(figures.len().saturating_sub(1)),
            sum: figures.iter().fold(0, |sum: u64, figure| sum.saturating_add(*figure)),
        }
    }
}
