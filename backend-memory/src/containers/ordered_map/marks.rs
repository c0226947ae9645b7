//! One byte of hash per key of a small map, which finds a key before any entry is fetched.
//!
//! Branches of linear and binary searches are unpredictable, and each misprediction waits for an entry's
//! memory. Usually exactly one mark matches.

use backend_api::StateKey;
use xxhash_rust::xxh3::xxh3_64;

/// Number of leading entries that have marks.
const MARKED: usize = 16;

/// An odd number of random bits.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// The marks of the first entries of a leaf, in order. Unused ones are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks([u8; MARKED]);

/// The mark of a key: a byte of a hash of its encoding.
///
/// For encodings of numbers it is a plain product instead of [`StateKey::stable_hash`]. For consecutive
/// numbers, such as counters and times, products collide less often than random values.
#[inline]
pub(super) fn mark<K: StateKey>(key: &K) -> u8 {
    key.with_encoded(|bytes| {
        let hash = if let Ok(bytes) = bytes.try_into() {
            u64::from_be_bytes(bytes).wrapping_mul(MULTIPLIER)
        } else if let Ok(bytes) = bytes.try_into() {
            u64::from(u32::from_be_bytes(bytes)).wrapping_mul(MULTIPLIER)
        } else {
            xxh3_64(bytes)
        };
        (hash >> 56) as u8
    })
}

impl Marks {
    pub(super) const NONE: Self = Self([0; MARKED]);

    /// The marks of sorted keys.
    pub(super) fn of<'k, K: StateKey>(keys: impl IntoIterator<Item = &'k K>) -> Self {
        let mut marks = Self::NONE;
        marks.0.iter_mut().zip(keys).for_each(|(place, key)| *place = mark(key));
        marks
    }

    /// True if all of `entries` have marks.
    #[inline]
    pub(super) fn are_all(len: usize) -> bool {
        len <= MARKED
    }

    /// Finds the entry of `key` and its position, if it is present and has a mark.
    #[inline]
    pub(super) fn find<'e, K: StateKey, V>(
        &self,
        entries: &'e [(K, V)],
        key: &K,
    ) -> Option<(usize, &'e (K, V))> {
        // One extra bit at the end, which ends the loop when no candidate matches.
        let mut candidates = equal(&self.0, mark(key)) | 1 << MARKED;
        loop {
            let at = candidates.trailing_zeros() as usize;
            let entry = entries.get(at)?;
            if entry.0 == *key {
                return Some((at, entry));
            }
            candidates &= candidates - 1;
        }
    }

    /// Makes room for the mark of an entry that is inserted at `at`.
    pub(super) fn insert(&mut self, at: usize, mark: u8) {
        if at < MARKED {
            self.0.copy_within(at..MARKED - 1, at + 1);
            self.0[at] = mark;
        }
    }

    /// The marks after the entry at `at` is removed from `entries`.
    pub(super) fn without<K: StateKey, V>(mut self, at: usize, entries: &[(K, V)]) -> Self {
        if at < MARKED {
            self.0.copy_within(at + 1.., at);
            self.0[MARKED - 1] = entries.get(MARKED).map_or(0, |entry| mark(&entry.0));
        }
        self
    }
}

/// A bit set of the marks equal to `mark`, lowest bit first.
#[inline]
fn equal(marks: &[u8; MARKED], mark: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return equal_at_once(marks, mark);
    #[cfg(not(target_arch = "x86_64"))]
    equal_one_by_one(marks, mark)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "comparing all marks at once needs an intrinsic")]
fn equal_at_once(marks: &[u8; MARKED], mark: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: every x86_64 has these instructions. They read 16 bytes of any alignment.
    let bits = unsafe {
        let marks = _mm_loadu_si128(marks.as_ptr().cast());
        _mm_movemask_epi8(_mm_cmpeq_epi8(marks, _mm_set1_epi8(mark as i8)))
    };
    bits as u32
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_one_by_one(marks: &[u8; MARKED], mark: u8) -> u32 {
    marks.iter().rev().fold(0, |bits, one| bits << 1 | u32::from(*one == mark))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scalar_and_vector_comparisons_of_marks_agree(marks: [u8; MARKED], mark: u8, at in 0..MARKED) {
            for mark in [mark, marks[at]] {
                let bits = equal(&marks, mark);
                prop_assert_eq!(bits, equal_one_by_one(&marks, mark));
                prop_assert!((0..32).all(|at| (bits >> at & 1 == 1) == (marks.get(at) == Some(&mark))));
            }
        }
    }

    /// For keys that resemble counters, times and names, most marks are unique among 16.
    #[test]
    fn few_marks_collide() {
        fn alike<K: StateKey>(key: impl Fn(u32) -> K) -> usize {
            let mut marks = Marks::of(&Vec::from_iter((0..MARKED as u32).map(key))).0;
            marks.sort_unstable();
            marks.windows(2).filter(|pair| pair[0] == pair[1]).count()
        }
        for step in [1, 2, 10, 256, 1000, 3_600_000] {
            assert!(alike(|number| i64::from(number) * step) <= 2, "{step}");
            assert!(alike(|number| -i64::from(number) * step) <= 2, "{step}");
            assert!(alike(|number| (number as i32).wrapping_mul(step as i32)) <= 2, "{step}");
            assert!(alike(|number| format!("{}", i64::from(number) * step)) <= 2, "{step}");
            assert!(alike(|number| (7_u32, i64::from(number) * step)) <= 2, "{step}");
        }
    }
}
