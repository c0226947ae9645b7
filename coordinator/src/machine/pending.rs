//! A running checkpoint.

use super::output::{Barrier, RequestId, TaskMetrics};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending<S> {
    pub barrier: Barrier,
    pub request: RequestId,
    pub started: u64,
    /// By the number of the task.
    states: Vec<Option<S>>,
    metrics: Vec<Option<TaskMetrics>>,
    missing: usize,
    /// True if its state has been given out to be stored.
    pub is_storing: bool,
}

impl<S> Pending<S> {
    pub fn new(barrier: Barrier, request: RequestId, started: u64, tasks: usize) -> Self {
        Self {
            barrier,
            request,
            started,
            states: std::iter::repeat_with(|| None).take(tasks).collect(),
            metrics: vec![None; tasks],
            missing: tasks,
            is_storing: false,
        }
    }

    /// Records an acknowledgement. Returns true if it is the task's first.
    pub fn acknowledge(&mut self, task: usize, state: S, metrics: TaskMetrics) -> bool {
        let (Some(states), Some(place)) = (self.states.get_mut(task), self.metrics.get_mut(task)) else {
            return false;
        };
        if place.is_some() {
            return false;
        }
        (*states, *place) = (Some(state), Some(metrics));
        self.missing -= 1;
        true
    }

    /// True if all tasks have acknowledged, and the state was not returned yet.
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && !self.is_storing
    }

    /// Takes the states of the tasks that have acknowledged, in the order of the tasks.
    pub fn take_states(&mut self) -> Vec<S> {
        self.states.iter_mut().filter_map(Option::take).collect()
    }

    pub fn metrics(&self) -> Vec<TaskMetrics> {
        self.metrics.iter().flatten().copied().collect()
    }
}
