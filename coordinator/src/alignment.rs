//! Barrier alignment: an operator with several inputs takes its snapshot when the barrier has arrived on all
//! of them.

use std::collections::{BTreeMap, VecDeque};

use crate::{Barrier, CheckpointingMode};

/// A message on one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<T> {
    /// A record.
    Record(T),
    /// Separates the records before a checkpoint from those after it.
    Barrier(Barrier),
    /// The end of the input.
    End,
}

/// The next step of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aligned<T> {
    /// Process a record.
    Record {
        /// Number of the input.
        input: usize,
        /// The record.
        record: T,
    },
    /// Take the snapshot and forward the barrier.
    Barrier {
        /// The barrier.
        barrier: Barrier,
        /// Most bytes that were held back at one time for this barrier.
        held_bytes: u64,
    },
    /// Decline this checkpoint: a newer barrier has overtaken it, so its alignment was abandoned.
    Abandoned {
        /// The checkpoint.
        id: u64,
    },
    /// All inputs have ended.
    End,
}

/// Aligns several inputs at barriers.
///
/// With exactly-once, messages behind a barrier are held back until the barrier has arrived on all inputs.
/// Held bytes are limited: once the limit is reached, inputs behind a barrier are [not wanted](Self::wants),
/// and an engine that stops reading them causes backpressure. With at-least-once nothing is held back, so
/// records behind a barrier can become part of its snapshot.
///
/// An input that has ended counts as if every barrier had arrived on it.
///
/// ```
/// use coordinator::{Aligned, Alignment, Barrier, BarrierKind, CheckpointingMode, Message};
///
/// let mode = CheckpointingMode::ExactlyOnce;
/// let kind = BarrierKind::Checkpoint;
/// let barrier = Barrier { id: 1, kind, mode, latest: None, is_full: false, folder: None };
/// let mut inputs = Alignment::new(2, 1 << 20);
/// inputs.push(0, Message::Barrier(barrier.clone()), 0);
/// inputs.push(0, Message::Record("ahead"), 5);
/// inputs.push(1, Message::Record("behind"), 6);
/// assert_eq!(inputs.next(), Some(Aligned::Record { input: 1, record: "behind" }));
/// assert_eq!(inputs.next(), None);
/// inputs.push(1, Message::Barrier(barrier.clone()), 0);
/// // At most both records waited at once.
/// assert_eq!(inputs.next(), Some(Aligned::Barrier { barrier, held_bytes: 11 }));
/// assert_eq!(inputs.next(), Some(Aligned::Record { input: 0, record: "ahead" }));
/// ```
#[derive(Clone, Debug)]
pub struct Alignment<T> {
    inputs: Vec<Input<T>>,
    /// Barriers that have arrived on some inputs but not on all.
    barriers: BTreeMap<u64, Barrier>,
    /// Barriers up to this one are complete or abandoned.
    last: Option<u64>,
    held_bytes: u64,
    held_most: u64,
    limit: u64,
    has_ended: bool,
}

#[derive(Clone, Debug)]
struct Input<T> {
    waiting: VecDeque<(Message<T>, u64)>,
    /// The newest barrier that has arrived.
    reached: Option<u64>,
    has_ended: bool,
}

impl<T> Alignment<T> {
    /// An alignment of this many inputs that holds back at most `held_bytes_max` bytes.
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

    /// Adds a message of an input, with its size in bytes. Ignores an unknown input.
    pub fn push(&mut self, input: usize, message: Message<T>, bytes: u64) {
        if let Some(input) = self.inputs.get_mut(input) {
            input.waiting.push_back((message, bytes));
            self.held_bytes = self.held_bytes.saturating_add(bytes);
        }
    }

    /// True if the input should be read.
    pub fn wants(&self, input: usize) -> bool {
        self.inputs.get(input).is_some_and(|input| {
            !input.has_ended && (!self.is_held_back(input) || self.held_bytes < self.limit)
        })
    }

    /// The checkpoint that is being aligned.
    pub fn aligning(&self) -> Option<u64> {
        self.barriers.first_key_value().map(|(id, _)| *id)
    }

    /// Bytes that were added and not returned yet.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Aborts checkpoint `id`: inputs no longer wait for its barrier.
    pub fn abort(&mut self, id: u64) {
        if self.barriers.remove(&id).is_some() {
            self.last = self.last.max(Some(id));
        }
    }

    /// The next step, or `None` until more messages are added.
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

    /// Handles a barrier that has arrived on an input.
    fn reach(&mut self, input: usize, barrier: Barrier) -> Option<Aligned<T>> {
        let id = barrier.id;
        self.inputs[input].reached = self.inputs[input].reached.max(Some(id));
        if Some(id) <= self.last && !self.barriers.contains_key(&id) {
            return None;
        }
        // An input that was not held back at the older barrier will never deliver it.
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

    /// Returns the barrier that has arrived on all inputs.
    fn complete(&mut self) -> Option<Aligned<T>> {
        let (&id, barrier) = self.barriers.first_key_value()?;
        self.held_most = self.held_most.max(self.held_bytes);
        if !self.inputs.iter().all(|input| input.has_ended || input.reached >= Some(id)) {
            return None;
        }
        let barrier = barrier.clone();
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
        Barrier { id, kind: BarrierKind::Checkpoint, mode, latest: None, is_full: false, folder: None }
    }

    fn all(alignment: &mut Alignment<u32>) -> Vec<Aligned<u32>> {
        std::iter::from_fn(|| alignment.next()).collect()
    }

    fn record(input: usize, record: u32) -> Aligned<u32> {
        Aligned::Record { input, record }
    }

    #[test]
    fn an_input_that_is_ahead_is_held_back_up_to_the_limit() {
        let one = barrier(1, CheckpointingMode::ExactlyOnce);
        let mut inputs = Alignment::new(2, 10);
        inputs.push(0, Message::Barrier(one.clone()), 0);
        assert_eq!(all(&mut inputs), []);
        assert!(inputs.wants(0) && inputs.wants(1));
        inputs.push(0, Message::Record(5), 10);
        assert!(!inputs.wants(0) && inputs.wants(1));
        inputs.push(1, Message::Record(6), 3);
        inputs.push(1, Message::Barrier(one.clone()), 0);
        let aligned = Aligned::Barrier { barrier: one, held_bytes: 13 };
        assert_eq!(all(&mut inputs), [record(1, 6), aligned, record(0, 5)]);
        assert!(inputs.wants(0));
    }

    #[test]
    fn at_least_once_holds_nothing_back() {
        let [one, two] = [1, 2].map(|id| barrier(id, CheckpointingMode::AtLeastOnce));
        let mut inputs = Alignment::new(2, 0);
        for message in [
            Message::Barrier(one.clone()),
            Message::Record(5),
            Message::Barrier(two.clone()),
            Message::Record(6),
        ] {
            inputs.push(0, message, 1);
        }
        assert_eq!(all(&mut inputs), [record(0, 5), record(0, 6)]);
        inputs.push(1, Message::Barrier(one.clone()), 1);
        let found = all(&mut inputs);
        assert!(matches!(&found[..], [Aligned::Barrier { barrier, .. }] if *barrier == one));
        inputs.push(1, Message::Barrier(two.clone()), 1);
        assert!(matches!(&all(&mut inputs)[..], [Aligned::Barrier { barrier, .. }] if *barrier == two));
    }

    #[test]
    fn a_newer_barrier_ends_the_wait_for_an_older_one() {
        let [one, two] = [1, 2].map(|id| barrier(id, CheckpointingMode::ExactlyOnce));
        let mut inputs = Alignment::new(2, 100);
        inputs.push(0, Message::Barrier(one.clone()), 0);
        inputs.push(0, Message::Record(5), 1);
        inputs.push(1, Message::Barrier(two.clone()), 0);
        assert_eq!(all(&mut inputs), [Aligned::Abandoned { id: 1 }, record(0, 5)]);
        inputs.push(0, Message::Barrier(two.clone()), 0);
        assert!(matches!(&all(&mut inputs)[..], [Aligned::Barrier { barrier, .. }] if *barrier == two));
        // A barrier older than the present one is ignored.
        inputs.push(1, Message::Barrier(one.clone()), 0);
        inputs.push(1, Message::Record(7), 0);
        assert_eq!(all(&mut inputs), [record(1, 7)]);
    }

    #[test]
    fn an_abort_ends_the_wait() {
        let one = barrier(1, CheckpointingMode::ExactlyOnce);
        let mut inputs = Alignment::new(2, 100);
        inputs.push(0, Message::Barrier(one.clone()), 0);
        inputs.push(0, Message::Record(5), 1);
        assert_eq!(all(&mut inputs), []);
        inputs.abort(1);
        assert_eq!(all(&mut inputs), [record(0, 5)]);
        inputs.push(1, Message::Barrier(one.clone()), 0);
        assert_eq!(all(&mut inputs), []);
    }

    #[test]
    fn an_ended_input_counts_as_aligned() {
        let one = barrier(1, CheckpointingMode::ExactlyOnce);
        let mut inputs = Alignment::<u32>::new(2, 100);
        inputs.push(0, Message::Barrier(one.clone()), 0);
        inputs.push(1, Message::End, 0);
        assert_eq!(all(&mut inputs), [Aligned::Barrier { barrier: one, held_bytes: 0 }]);
        inputs.push(0, Message::End, 0);
        assert_eq!(all(&mut inputs), [Aligned::End]);
        assert_eq!(all(&mut inputs), []);
    }
}
