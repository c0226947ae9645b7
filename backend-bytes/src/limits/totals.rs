use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::EntryKey;

/// Number of bounds of a state. Its lists and maps share them by hash of their keys.
pub(crate) const BUCKETS: usize = 4096;

/// A single bound is used for all while it is below this fraction of the limit.
const SINGLE_SHARE: u64 = 16;

/// Most totals that are pinned at once.
const PINNED_MAX: usize = 1024;

/// Bytes of the lists or maps of a state, as precisely as a limit on each of them requires. Counts the
/// elements of a list, and the keys and values of a map.
///
/// An addition raises the bound of a bucket without reading. Many lists or maps share a bucket, and replaced
/// and removed entries leave the bound too high. If the bound does not allow an addition, that list or map is
/// counted and its total is *pinned*. From then on every change is [charged](Self::charge) to it, so it stays
/// exact.
///
/// In the upper half of the limit, removed bytes are credited too, as far as they are certain, so that bounds
/// grow more slowly. A bound that is too high costs a count. One that is too low would break the limit.
#[derive(Debug)]
pub(crate) struct Totals {
    limit: u64,
    /// Per bucket, an upper bound on the total of its unpinned keys. A single shared bound while that is
    /// small.
    bounds: Vec<u64>,
    pinned: BTreeMap<Box<[u8]>, u64>,
}

/// Bytes added to a list or map by a change, and removed from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub added: u64,
    /// At most the bytes that are really removed.
    pub removed: u64,
}

impl Change {
    pub fn adding(bytes: u64) -> Self {
        Self { added: bytes, removed: 0 }
    }
}

impl Totals {
    /// The totals of an empty state.
    pub fn new(limit: u64) -> Self {
        Self { limit, bounds: vec![0], pinned: BTreeMap::new() }
    }

    /// The totals of a state with stored [`bounds`](Self::bounds).
    pub fn with_bounds(limit: u64, bounds: &[u64]) -> Self {
        let mut totals = Self::new(limit);
        totals.bounds = match bounds {
            [] => vec![0],
            [one] => vec![*one],
            many if many.len() == BUCKETS => many.to_vec(),
            // With an unknown number of buckets, the sum is a bound for all.
            many => vec![many.iter().copied().fold(0, u64::saturating_add)],
        };
        totals
    }

    /// The bounds, with pinned totals included. Empty for an empty state.
    pub fn bounds(&self) -> Vec<u64> {
        let mut bounds = self.bounds.clone();
        for (key, total) in &self.pinned {
            let at = bucket(key, bounds.len());
            bounds[at] = bounds[at].saturating_add(*total);
        }
        if bounds == [0] { Vec::new() } else { bounds }
    }

    /// The exact total of a list or map, if it is pinned.
    pub fn pinned(&self, key: &[u8]) -> Option<u64> {
        if self.pinned.is_empty() { None } else { self.pinned.get(key).copied() }
    }

    /// True if removed bytes should be credited when this many are added.
    #[inline]
    pub fn is_close(&self, key: &[u8], added: u64) -> bool {
        self.bounds[bucket(key, self.bounds.len())].saturating_add(added) > self.limit / 2
            || self.pinned(key).is_some()
    }

    /// Records a change that certainly stays within the limit, or that grows nothing. Returns false
    /// otherwise.
    #[inline]
    pub fn charge(&mut self, key: &[u8], change: Change) -> bool {
        let limit = self.limit;
        let total = self.total(key, change.added);
        let next = total.saturating_sub(change.removed).saturating_add(change.added);
        let is_within = next <= limit || change.added <= change.removed;
        if is_within {
            *total = next;
        }
        is_within
    }

    /// Records bytes without checking the limit.
    pub fn add(&mut self, key: &[u8], bytes: u64) {
        let total = self.total(key, bytes);
        *total = total.saturating_add(bytes);
    }

    /// Records removed bytes.
    pub fn credit(&mut self, key: &[u8], bytes: u64) {
        let total = self.total(key, 0);
        *total = total.saturating_sub(bytes);
    }

    /// Records that a list or map with at least this many bytes is empty now.
    pub fn clear(&mut self, key: &[u8], bytes: u64) {
        if self.pinned.remove(key).is_none() {
            self.credit(key, bytes);
        }
    }

    /// Pins the total of a list or map. If too many are pinned, unpins the smallest other one.
    pub fn pin_exact(&mut self, key: &[u8], total: u64) {
        // The bound also covered this one.
        self.credit(key, total);
        if self.pinned.len() >= PINNED_MAX
            && let Some(smallest) = self.pinned.iter().min_by_key(|(_, total)| **total)
        {
            let key = smallest.0.clone();
            if let Some(total) = self.pinned.remove(&key) {
                self.add(&key, total);
            }
        }
        self.pinned.insert(key.into(), total);
    }

    /// The total of a list or map, or the bound that covers it.
    #[inline]
    fn total(&mut self, key: &[u8], added: u64) -> &mut u64 {
        if self.bounds.len() == 1 && self.bounds[0].saturating_add(added) > self.limit / SINGLE_SHARE {
            self.bounds = vec![self.bounds[0]; BUCKETS];
        }
        let at = bucket(key, self.bounds.len());
        match self.pinned.get_mut(key) {
            Some(total) => total,
            None => &mut self.bounds[at],
        }
    }
}

/// The bucket of a key. Ignores the state's number, which differs between backends.
#[inline]
fn bucket(key: &[u8], buckets: usize) -> usize {
    if buckets == 1 {
        return 0;
    }
    let hash = xxh3_64(EntryKey::without_state(key));
    ((u128::from(hash) * buckets as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinning_a_total_unpins_the_smallest() {
        let limit = 1000;
        // Too high for any list, even if several share a bucket.
        let mut totals = Totals::with_bounds(limit, &[limit * 100; BUCKETS]);
        let keys: Vec<_> = (0..=PINNED_MAX as u32).map(u32::to_be_bytes).collect();
        let (last, others) = keys.split_last().unwrap();
        for (key, more) in others.iter().zip(0..) {
            totals.pin_exact(key, 300 + more % 300);
        }
        let sum = |totals: &Totals| totals.bounds().iter().sum::<u64>();
        let before = sum(&totals);
        assert!(!totals.charge(last, Change::adding(1)));

        totals.pin_exact(last, 100);

        assert!(totals.charge(last, Change::adding(900)));
        assert!(!totals.charge(last, Change::adding(1)));
        assert_eq!(totals.pinned(last), Some(1000));
        assert_eq!(others.iter().filter(|key| totals.pinned(*key).is_none()).count(), 1);
        assert_eq!(totals.pinned(&others[0]), None, "the smallest one");
        assert_eq!(sum(&totals), before + 900);
    }
}
