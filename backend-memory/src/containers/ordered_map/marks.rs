//! A byte for each key of a small map, which tells where a key may be before any of them is fetched.
//!
//! Neither how far a search in line goes nor which way a binary one takes can be guessed, and after a wrong guess nothing more
//! is done until the entries have come from memory. Of marks most often exactly one is the right one.

use backend_api::StateKey;
use xxhash_rust::xxh3::xxh3_64;

/// Entries that have marks: the first so many.
const MARKED: usize = 16;

/// An odd number of random bits.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// The marks of the first entries of a leaf, in their order; 0 where there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks([u8; MARKED]);

/// The mark of a key: a byte of a hash of its encoding, which is the same for equal keys.
///
/// Not of [`StateKey::stable_hash`] where the encoding is that of a number: of counters and times, which follow upon one another, a
/// product has fewer marks alike than chance would have.
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

    /// Those of keys that come in order.
    pub(super) fn of<'k, K: StateKey>(keys: impl IntoIterator<Item = &'k K>) -> Self {
        let mut marks = Self::NONE;
        marks.0.iter_mut().zip(keys).for_each(|(place, key)| *place = mark(key));
        marks
    }

    /// True if all of so many entries have marks.
    #[inline]
    pub(super) fn are_all(len: usize) -> bool {
        len <= MARKED
    }

    /// Finds the entry of `key`, if it is there and has a mark, and where it is.
    #[inline]
    pub(super) fn find<'e, K: StateKey, V>(
        &self,
        entries: &'e [(K, V)],
        key: &K,
    ) -> Option<(usize, &'e (K, V))> {
        // One more, where there is no entry or one that is compared in vain.
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

    /// Makes room at `at` for the mark of an entry that comes there.
    pub(super) fn insert(&mut self, at: usize, mark: u8) {
        if at < MARKED {
            self.0.copy_within(at..MARKED - 1, at + 1);
            self.0[at] = mark;
        }
    }

    /// The marks without the one at `at`, of an entry that is taken out of `entries`.
    pub(super) fn without<K: StateKey, V>(mut self, at: usize, entries: &[(K, V)]) -> Self {
        if at < MARKED {
            self.0.copy_within(at + 1.., at);
            self.0[MARKED - 1] = entries.get(MARKED).map_or(0, |entry| mark(&entry.0));
        }
        self
    }
}

/// Which of the marks are `mark`: a bit for each, from the lowest on.
#[inline]
fn equal(marks: &[u8; MARKED], mark: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    return equal_at_once(marks, mark);
    #[cfg(not(target_arch = "x86_64"))]
    equal_one_by_one(marks, mark)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the instruction that compares all of them, which only an intrinsic can say")]
fn equal_at_once(marks: &[u8; MARKED], mark: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: every x86_64 has these instructions; what is read are the 16 bytes, wherever they begin.
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
        fn marks_are_compared_alike_one_by_one_and_at_once(marks: [u8; MARKED], mark: u8, at in 0..MARKED) {
            for mark in [mark, marks[at]] {
                let bits = equal(&marks, mark);
                prop_assert_eq!(bits, equal_one_by_one(&marks, mark));
                prop_assert!((0..32).all(|at| (bits >> at & 1 == 1) == (marks.get(at) == Some(&mark))));
            }
        }
    }

    /// Of keys that come as counters, times and names do, most have a mark that no other of 16 has.
    #[test]
    fn few_marks_are_alike() {
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
