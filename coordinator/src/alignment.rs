//! Barrier alignment: an operator with several inputs takes its snapshot when the barrier has come on all of them.

use std::collections::{BTreeMap, VecDeque};

use crate::{Barrier, CheckpointingMode};

/// What comes in at one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<T> {
    /// Work.
    Record(T),
    /// Work before it belongs to the checkpoint, work after it does not.
    Barrier(Barrier),
    /// Nothing comes any more.
    End,
}

/// What an operator does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aligned<T> {
    /// Process a record.
    Record {
        /// Number of the input.
        input: usize,
        /// The record.
        record: T,
    },
    /// Take the snapshot and pass the barrier on.
    Barrier {
        /// The barrier.
        barrier: Barrier,
        /// Bytes that were held back for it, the most at one time.
        held_bytes: u64,
    },
    /// The alignment was given up, because a newer barrier has overtaken it: decline this checkpoint.
    Abandoned {
        /// The checkpoint.
        id: u64,
    },
    /// All inputs have ended.
    End,
}

/// Brings several inputs together at barriers.
///
/// With exactly-once, what comes on an input behind its barrier is held back until the barrier has come on all inputs.
/// What is held back is bounded: an input whose barrier has come is [not wanted](Self::wants) once the limit is
/// reached, and an engine that does not read it is slowed down by it. With at-least-once nothing is held back, so
/// records behind a barrier may become part of its snapshot.
///
/// An input that has ended counts as one on which every barrier has come.
///
/// ```
/// use coordinator::{Aligned, Alignment, Barrier, BarrierKind, CheckpointingMode, Message};
///
/// let mode = CheckpointingMode::ExactlyOnce;
/// let barrier = Barrier { id: 1, kind: BarrierKind::Checkpoint, mode, latest: None };
/// let mut inputs = Alignment::new(2, 1 << 20);
/// inputs.push(0, Message::Barrier(barrier), 0);
/// inputs.push(0, Message::Record("ahead"), 5);
/// inputs.push(1, Message::Record("behind"), 6);
/// assert_eq!(inputs.next(), Some(Aligned::Record { input: 1, record: "behind" }));
/// assert_eq!(inputs.next(), None);
/// inputs.push(1, Message::Barrier(barrier), 0);
/// // At most both records waited at once.
/// assert_eq!(inputs.next(), Some(Aligned::Barrier { barrier, held_bytes: 11 }));
/// assert_eq!(inputs.next(), Some(Aligned::Record { input: 0, record: "ahead" }));
/// ```
#[derive(Clone, Debug)]
pub struct Alignment<T> {
    inputs: Vec<Input<T>>,
    /// Barriers that have come on some inputs and not on all.
    barriers: BTreeMap<u64, Barrier>,
    /// Other barriers up to this one are done with.
    last: Option<u64>,
    held_bytes: u64,
    held_most: u64,
    limit: u64,
    has_ended: bool,
}

#[derive(Clone, Debug)]
struct Input<T> {
    waiting: VecDeque<(Message<T>, u64)>,
    /// The newest barrier that has come.
    reached: Option<u64>,
    has_ended: bool,
}

impl<T> Alignment<T> {
    /// So many inputs, with so many bytes to hold back at most.
    pub fn new(inputs: usize, held_bytes_max: u64) -> Self {
        let input = || Input { waiting: VecDeque::new(), reached: None, has_ended: false };
        Self {
            inputs: std::iter::repeat_with(input).take(inputs).collect(),
            barriers: BTreeMap::new(),
            last: None,
            held_bytes: 0,
            held_most: 0,
            limit: held_bytes_max,
            has_ended: false,
        }
    }

    /// Takes what has come at an input; `bytes` is its size. An input that is not there is ignored.
    pub fn push(&mut self, input: usize, message: Message<T>, bytes: u64) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.waiting.push_back((message, bytes));
            self.held_bytes = self.held_bytes.saturating_add(bytes);
        }
    }

    /// True if an input should be read.
    pub fn wants(&self, input: usize) -> bool {
        self.inputs.get(input).is_some_and(|input| {
            !input.has_ended && (!self.is_held_back(input) || self.held_bytes < self.limit)
        })
    }

    /// The checkpoint that is being aligned.
    pub fn aligning(&self) -> Option<u64> {
        self.barriers.first_key_value().map(|(id, _)| *id)
    }

    /// Bytes that have come and were not given out.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Checkpoint `id` was aborted: inputs do not wait for its barrier any longer.
    pub fn abort(&mut self, id: u64) {
        if self.barriers.remove(&id).is_some() {
            self.last = self.last.max(Some(id));
        }
    }

    /// What is to be done next; `None` until more has come.
    #[expect(clippy::should_implement_trait, reason = "there may be more after `None`")]
    pub fn next(&mut self) -> Option<Aligned<T>> {
        loop {
            if let Some(aligned) = self.complete() {
                return Some(aligned);
            }
            let is_ready = |input: &Input<T>| !input.waiting.is_empty() && !self.is_held_back(input);
            let Some(index) = self.inputs.iter().position(is_ready) else { return self.end() };
            let input = &mut self.inputs[index];
            let (message, bytes) = input.waiting.pop_front()?;
            self.held_bytes -= bytes;
            match message {
                Message::Record(record) => return Some(Aligned::Record { input: index, record }),
                Message::End => input.has_ended = true,
                Message::Barrier(barrier) => {
                    if let Some(abandoned) = self.reach(index, barrier) {
                        return Some(abandoned);
                    }
                }
            }
        }
    }

    /// True if an input waits for the others.
    fn is_held_back(&self, input: &Input<T>) -> bool {
        self.barriers.first_key_value().is_some_and(|(id, barrier)| {
            barrier.mode == CheckpointingMode::ExactlyOnce && input.reached >= Some(*id)
        })
    }

    /// A barrier has come on an input.
    fn reach(&mut self, input: usize, barrier: Barrier) -> Option<Aligned<T>> {
        let id = barrier.id;
        self.inputs[input].reached = self.inputs[input].reached.max(Some(id));
        if Some(id) <= self.last && !self.barriers.contains_key(&id) {
            return None;
        }
        // An input that has not been held back at the older one will never bring it.
        let is_exact = barrier.mode == CheckpointingMode::ExactlyOnce;
        let abandoned = self.aligning().filter(|aligning| is_exact && *aligning < id);
        if let Some(abandoned) = abandoned {
            self.abort(abandoned);
        }
        if self.barriers.is_empty() {
            self.held_most = 0;
        }
        self.barriers.insert(id, barrier);
        abandoned.map(|id| Aligned::Abandoned { id })
    }

    /// The barrier that has come on all inputs.
    fn complete(&mut self) -> Option<Aligned<T>> {
        let (&id, &barrier) = self.barriers.first_key_value()?;
        self.held_most = self.held_most.max(self.held_bytes);
        if !self.inputs.iter().all(|input| input.has_ended || input.reached >= Some(id)) {
            return None;
        }
        self.abort(id);
        Some(Aligned::Barrier { barrier, held_bytes: self.held_most })
    }

    fn end(&mut self) -> Option<Aligned<T>> {
        let is_over = !self.has_ended && self.inputs.iter().all(|input| input.has_ended);
        self.has_ended |= is_over;
        is_over.then_some(Aligned::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BarrierKind;

    fn barrier(id: u64, mode: CheckpointingMode) -> Barrier {
        Barrier { id, kind: BarrierKind::Checkpoint, mode, latest: None }
    }

    fn all(alignment: &mut Alignment<u32>) -> Vec<Aligned<u32>> {
        std::iter::from_fn(|| alignment.next()).collect()
    }

    fn record(input: usize, record: u32) -> Aligned<u32> {
        Aligned::Record { input, record }
    }

    #[test]
    fn an_input_that_is_ahead_is_held_back_and_not_read_beyond_the_limit() {
        let one = barrier(1, CheckpointingMode::ExactlyOnce);
        let mut inputs = Alignment::new(2, 10);
        inputs.push(0, Message::Barrier(one), 0);
        assert_eq!(all(&mut inputs), []);
        assert!(inputs.wants(0) && inputs.wants(1));
        inputs.push(0, Message::Record(5), 10);
        assert!(!inputs.wants(0) && inputs.wants(1));
        inputs.push(1, Message::Record(6), 3);
        inputs.push(1, Message::Barrier(one), 0);
        let aligned = Aligned::Barrier { barrier: one, held_bytes: 13 };
        assert_eq!(all(&mut inputs), [record(1, 6), aligned, record(0, 5)]);
        assert!(inputs.wants(0));
    }

    #[test]
    fn at_least_once_holds_nothing_back_and_keeps_two_barriers_apart() {
        let [one, two] = [1, 2].map(|id| barrier(id, CheckpointingMode::AtLeastOnce));
        let mut inputs = Alignment::new(2, 0);
        for message in [Message::Barrier(one), Message::Record(5), Message::Barrier(two), Message::Record(6)]
        {
            inputs.push(0, message, 1);
        }
        assert_eq!(all(&mut inputs), [record(0, 5), record(0, 6)]);
        inputs.push(1, Message::Barrier(one), 1);
        let found = all(&mut inputs);
        assert!(matches!(found[..], [Aligned::Barrier { barrier, .. }] if barrier == one));
        inputs.push(1, Message::Barrier(two), 1);
        assert!(matches!(all(&mut inputs)[..], [Aligned::Barrier { barrier, .. }] if barrier == two));
    }

    #[test]
    fn a_newer_barrier_ends_the_wait_for_an_older_one() {
        let [one, two] = [1, 2].map(|id| barrier(id, CheckpointingMode::ExactlyOnce));
        let mut inputs = Alignment::new(2, 100);
        inputs.push(0, Message::Barrier(one), 0);
        inputs.push(0, Message::Record(5), 1);
        inputs.push(1, Message::Barrier(two), 0);
        assert_eq!(all(&mut inputs), [Aligned::Abandoned { id: 1 }, record(0, 5)]);
        inputs.push(0, Message::Barrier(two), 0);
        assert!(matches!(all(&mut inputs)[..], [Aligned::Barrier { barrier, .. }] if barrier == two));
        // A barrier of the past means nothing.
        inputs.push(1, Message::Barrier(one), 0);
        inputs.push(1, Message::Record(7), 0);
        assert_eq!(all(&mut inputs), [record(1, 7)]);
    }

    #[test]
    fn an_abort_ends_the_wait() {
        let one = barrier(1, CheckpointingMode::ExactlyOnce);
        let mut inputs = Alignment::new(2, 100);
        inputs.push(0, Message::Barrier(one), 0);
        inputs.push(0, Message::Record(5), 1);
        assert_eq!(all(&mut inputs), []);
        inputs.abort(1);
        assert_eq!(all(&mut inputs), [record(0, 5)]);
        inputs.push(1, Message::Barrier(one), 0);
        assert_eq!(all(&mut inputs), []);
    }

    #[test]
    fn an_input_that_has_ended_has_brought_every_barrier() {
        let one = barrier(1, CheckpointingMode::ExactlyOnce);
        let mut inputs = Alignment::<u32>::new(2, 100);
        inputs.push(0, Message::Barrier(one), 0);
        inputs.push(1, Message::End, 0);
        assert_eq!(all(&mut inputs), [Aligned::Barrier { barrier: one, held_bytes: 0 }]);
        inputs.push(0, Message::End, 0);
        assert_eq!(all(&mut inputs), [Aligned::End]);
        assert_eq!(all(&mut inputs), []);
    }
}
