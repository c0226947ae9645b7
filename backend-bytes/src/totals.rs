//! How many bytes the lists and maps of a state have, as far as a limit needs to know.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::EntryKey;

/// Bounds of a state, which its lists and maps share by the hashes of their keys.
pub(super) const BUCKETS: usize = 4096;

/// Before one part in so many of the limit was written, one bound is enough for all.
const SINGLE_SHARE: u64 = 16;

/// Totals that are known at once.
const KNOWN_MAX: usize = 1024;

/// Upper bounds of the bytes that the lists or maps of a state have: of the elements, or of keys and values of the entries.
///
/// What is added raises the bound of many lists or maps together, blindly, so that what is replaced or removed leaves it too
/// high. Only when it does not allow what is to be added is the total counted of that one. It is *known* from then on: it
/// has a number of its own, which is exact as long as every change is charged and [credited](Self::charge).
///
/// In the upper half of the limit what is replaced and removed is to be credited too, as far as it is certain, so that bounds
/// creep upwards more slowly: of a list or map that is cleared, all that the cache knows if that is the whole, or a part that
/// the store does not have; else what the store has, of which only the first entries are looked at. A bound that is too high
/// costs a count, and one that is too low would break the limit.
#[derive(Debug)]
pub(super) struct Totals {
    limit: u64,
    /// Of so many buckets the sum of what is in each and not known; one for all as long as that is little.
    bounds: Vec<u64>,
    known: BTreeMap<Box<[u8]>, u64>,
}

/// Bytes of a list or map before and after a change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub added: u64,
    /// At most those that go.
    pub removed: u64,
}

impl Change {
    /// Of so many bytes that are added.
    pub fn adding(bytes: u64) -> Self {
        Self { added: bytes, removed: 0 }
    }
}

impl Totals {
    /// Of a state that has nothing yet.
    pub fn new(limit: u64) -> Self {
        Self { limit, bounds: vec![0], known: BTreeMap::new() }
    }

    /// Of a state with what [`bounds`](Self::bounds) has given.
    pub fn with_bounds(limit: u64, bounds: &[u64]) -> Self {
        let mut totals = Self::new(limit);
        totals.bounds = match bounds {
            [] => vec![0],
            [one] => vec![*one],
            // Of another number, which is not written anywhere, all that is certain is the highest one.
            many if many.len() == BUCKETS => many.to_vec(),
            many => vec![many.iter().copied().fold(0, u64::saturating_add)],
        };
        totals
    }

    /// Bounds of the same without anything known; none if there is nothing.
    pub fn bounds(&self) -> Vec<u64> {
        let mut bounds = self.bounds.clone();
        for (key, total) in &self.known {
            let at = place(key, bounds.len());
            bounds[at] = bounds[at].saturating_add(*total);
        }
        if bounds == [0] { Vec::new() } else { bounds }
    }

    /// The total of the list or map at a key, if it is known.
    pub fn known(&self, key: &[u8]) -> Option<u64> {
        if self.known.is_empty() { None } else { self.known.get(key).copied() }
    }

    /// Whether of a list or map, to which so many bytes are added, what goes should be credited.
    #[inline]
    pub fn is_close(&self, key: &[u8], added: u64) -> bool {
        self.bounds[place(key, self.bounds.len())].saturating_add(added) > self.limit / 2
            || self.known(key).is_some()
    }

    /// Notes a change, if it is certain that it leads to no total above the limit, or if nothing grows by it.
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

    /// Notes bytes that are there, whatever the limit.
    pub fn add(&mut self, key: &[u8], bytes: u64) {
        let total = self.total(key, bytes);
        *total = total.saturating_add(bytes);
    }

    /// Notes that bytes are gone.
    pub fn credit(&mut self, key: &[u8], bytes: u64) {
        let total = self.total(key, 0);
        *total = total.saturating_sub(bytes);
    }

    /// Notes that a list or map is empty now, and had at least so many bytes.
    pub fn clear(&mut self, key: &[u8], bytes: u64) {
        if self.known.remove(key).is_none() {
            self.credit(key, bytes);
        }
    }

    /// Notes the total of a list or map. If there are too many, the smallest one that was known before is forgotten: not this
    /// one, which is to be charged now.
    pub fn know(&mut self, key: &[u8], total: u64) {
        // The bound was that of this one too.
        self.credit(key, total);
        if self.known.len() >= KNOWN_MAX
            && let Some(least) = self.known.iter().min_by_key(|(_, total)| **total)
        {
            let key = least.0.clone();
            if let Some(total) = self.known.remove(&key) {
                self.add(&key, total);
            }
        }
        self.known.insert(key.into(), total);
    }
}

impl Totals {
    /// The total of the list or map at a key, or the bound for it, to which so many bytes may be added.
    #[inline]
    fn total(&mut self, key: &[u8], added: u64) -> &mut u64 {
        if self.bounds.len() == 1 && self.bounds[0].saturating_add(added) > self.limit / SINGLE_SHARE {
            self.bounds = vec![self.bounds[0]; BUCKETS];
        }
        let at = place(key, self.bounds.len());
        match self.known.get_mut(key) {
            Some(total) => total,
            None => &mut self.bounds[at],
        }
    }
}

/// Which of so many bounds is that of a key.
#[inline]
fn place(key: &[u8], bounds: usize) -> usize {
    if bounds == 1 {
        return 0;
    }
    let hash = xxh3_64(EntryKey::without_state(key));
    ((u128::from(hash) * bounds as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_becomes_known_takes_the_place_of_the_smallest_other() {
        let limit = 1000;
        // Too high for any, also where several meet.
        let mut totals = Totals::with_bounds(limit, &[limit * 100; BUCKETS]);
        let keys: Vec<_> = (0..=KNOWN_MAX as u32).map(u32::to_be_bytes).collect();
        let (last, others) = keys.split_last().unwrap();
        for (key, more) in others.iter().zip(0..) {
            totals.know(key, 300 + more % 300);
        }
        let sum = |totals: &Totals| totals.bounds().iter().sum::<u64>();
        let before = sum(&totals);
        assert!(!totals.charge(last, Change::adding(1)));

        totals.know(last, 100);

        assert!(totals.charge(last, Change::adding(900)));
        assert!(!totals.charge(last, Change::adding(1)));
        assert_eq!(totals.known(last), Some(1000));
        assert_eq!(others.iter().filter(|key| totals.known(*key).is_none()).count(), 1);
        assert_eq!(totals.known(&others[0]), None, "the smallest one");
        assert_eq!(sum(&totals), before + 900);
    }
}
