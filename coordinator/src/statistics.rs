//! History and statistics of checkpoints, as values.

use std::collections::VecDeque;

use crate::{AbortReason, CheckpointReport, TaskMetrics};

/// How many checkpoints are remembered, as in Flink.
const REMEMBERED: usize = 10;

/// What the checkpoints of a job took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// How many completed, savepoints included.
    pub completed: u64,
    /// How many were aborted.
    pub failed: u64,
    /// Why the first of them was.
    pub first_failure: Option<AbortReason>,
    /// Bytes that the completed ones wrote, all together.
    pub delta_bytes: u64,
    /// The last ones, the newest first.
    pub history: VecDeque<CheckpointReport>,
}

/// Least, median and most of a figure over the subtasks of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The least.
    pub min: u64,
    /// The median; of an even number of figures the lower one of the two in the middle.
    pub median: u64,
    /// The most.
    pub max: u64,
    /// All together.
    pub sum: u64,
}

impl Statistics {
    /// Adds a checkpoint that has ended.
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
    /// From trigger to end, in milliseconds.
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
