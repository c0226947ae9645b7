use serde::{Deserialize, Serialize};

use super::limits::BUCKETS;

/// The unit of stored bounds, which makes them shorter than bytes would.
const KIB: u64 = 1024;

/// State of a byte backend that is stored beside the entries of its store.
///
/// It is opaque to an engine. A native checkpoint stores it as serde writes it, and
/// [`OpenedStore`](super::OpenedStore) returns it. A store that combines several checkpoints
/// [joins](Self::join) theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    /// Greater than the sequence numbers of all list elements.
    sequence: u64,
    /// For each state by its number: upper bounds, in KiB, of the bytes of its lists or maps, by hash of
    /// their keys. There are none, one for all, or [`BUCKETS`].
    bounds: Vec<Vec<u64>>,
}

impl LayerState {
    /// Converts bounds from bytes, and rounds them up.
    pub(super) fn new(sequence: u64, bounds: impl Iterator<Item = Vec<u64>>) -> Self {
        let in_kib = |bounds: Vec<u64>| bounds.iter().map(|bytes| bytes.div_ceil(KIB)).collect();
        Self { sequence, bounds: bounds.map(in_kib).collect() }
    }

    /// Greater than the sequence numbers of all list elements.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The bounds of a state in bytes. Empty for an empty state.
    pub(super) fn bounds(&self, state: usize) -> Vec<u64> {
        let bounds = self.bounds.get(state).into_iter().flatten();
        bounds.map(|kib| kib.saturating_mul(KIB)).collect()
    }

    /// True if it can belong to a store with this number of states. State from a file can be anything.
    pub fn fits(&self, states: usize) -> bool {
        // With another number of bounds it would be unclear which lists or maps each covers.
        self.bounds.len() <= states && self.bounds.iter().all(|of| matches!(of.len(), 0 | 1 | BUCKETS))
    }

    /// Adds the state of another store. `numbers` has the number here of each of the other's states. The
    /// stores must have no key group in common.
    pub fn join(&mut self, other: Self, numbers: &[u16]) {
        self.sequence = self.sequence.max(other.sequence);
        for (more, number) in other.bounds.into_iter().zip(numbers) {
            let number = usize::from(*number);
            if self.bounds.len() <= number {
                self.bounds.resize_with(number + 1, Vec::new);
            }
            if let Some(known) = self.bounds.get_mut(number) {
                let sum = |at| bound(known, at).saturating_add(bound(&more, at));
                *known = (0..known.len().max(more.len())).map(sum).collect();
            }
        }
    }
}

/// The bound of a bucket. A single bound covers all buckets.
fn bound(bounds: &[u64], bucket: usize) -> u64 {
    match bounds {
        [one] => *one,
        many => many.get(bucket).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(sequence: u64, bounds: &[&[u64]]) -> LayerState {
        LayerState { sequence, bounds: bounds.iter().map(|of| of.to_vec()).collect() }
    }

    #[test]
    fn bounds_are_rounded_up() {
        let state = LayerState::new(7, [vec![], vec![1025]].into_iter());
        assert_eq!((state.sequence(), state.bounds(0), state.bounds(1)), (7, vec![], vec![2048]));
        assert_eq!(state.bounds(2), []);
    }

    #[test]
    fn a_state_has_no_bound_or_one_or_one_per_bucket() {
        for (bounds, fits) in [(0, true), (1, true), (BUCKETS, true), (2, false), (BUCKETS + 1, false)] {
            assert_eq!(state(0, &[&[8], &vec![7; bounds]]).fits(2), fits, "{bounds}");
        }
        assert!(!state(0, &[&[8], &[]]).fits(1));
    }

    #[test]
    fn join_adds_bounds_by_the_numbers_of_the_joining_store() {
        let mut joined = state(5, &[&[1]]);
        let mut many = vec![0; BUCKETS];
        many[9] = 4;
        joined.join(state(3, &[&[2], &many, &[]]), &[2, 0, 1]);
        assert_eq!(joined.sequence(), 5);
        assert_eq!((joined.bounds[1].len(), joined.bounds[2].clone()), (0, vec![2]));
        assert_eq!((joined.bounds[0][9], joined.bounds[0][8]), (5, 1));

        joined.join(state(8, &[&[u64::MAX]]), &[2]);
        assert_eq!((joined.sequence(), joined.bounds[2].clone()), (8, vec![u64::MAX]));
    }
}
