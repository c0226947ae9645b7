//! Leaves: sorted entries with spare capacity, in one allocation.

use std::iter::Rev;
use std::slice;

use crate::containers::block::{Block, Unique};

/// Most entries of a leaf.
pub(super) const LEAF_MAX: usize = 32;

/// The capacities in which leaves are allocated.
const CAPACITIES: [usize; 8] = [1, 2, 4, 8, 12, 16, 24, LEAF_MAX];

/// The smallest capacity for `len` entries.
fn capacity_for(len: usize) -> usize {
    CAPACITIES.into_iter().find(|&capacity| capacity >= len).unwrap_or(len)
}

/// Up to this length a linear search is faster than a binary one.
const LINEAR_MAX: usize = 16;

/// Number of the sorted `items` that come `before` the wanted one.
///
/// Ends with a linear search that stops at the first item that does not. The branch predictor guesses the
/// end, and execution continues. Comparing all items would cost more than a misprediction.
#[inline]
pub(super) fn rank<T>(items: &[T], before: impl Fn(&T) -> bool) -> usize {
    if items.len() <= LINEAR_MAX {
        return items.iter().position(|item| !before(item)).unwrap_or(items.len());
    }
    let (mut low, mut high) = (0, items.len());
    while high - low > LINEAR_MAX {
        let middle = low + (high - low) / 2;
        if before(&items[middle]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low + items[low..high].iter().position(|item| !before(item)).unwrap_or(high - low)
}

/// An entry on its way into or out of a leaf.
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    /// The epoch of the last write.
    pub(super) epoch: u32,
}

impl<K, V> Entry<K, V> {
    pub(super) fn new(key: K, value: V, epoch: u32) -> Self {
        Self { key, value, epoch }
    }
}

/// A shared leaf. A change first clones the entries if they are shared, and then only moves them. A clone
/// that panics therefore leaves the leaf as it was.
pub(super) struct Leaf<K, V>(Block<(K, V), (), u32>);

impl<K, V> Clone for Leaf<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Leaf<K, V> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_unique(&self) -> bool {
        self.0.is_unique()
    }

    pub(super) fn prefetch(&self) {
        self.0.prefetch();
    }

    /// Bytes of the allocation.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    #[inline]
    pub(super) fn entries(&self) -> &[(K, V)] {
        &self.0
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&(K, V)> {
        self.0.get(at)
    }

    /// The epochs of the entries.
    pub(super) fn epochs(&self) -> Rev<slice::Iter<'_, u32>> {
        self.0.stamps().iter().rev()
    }

    /// The latest epoch of an entry.
    pub(super) fn epoch(&self) -> u32 {
        self.epochs().copied().max().unwrap_or(0)
    }

    /// Returns a leaf of one entry.
    pub(super) fn one(entry: Entry<K, V>) -> Self {
        let mut block = Block::with_capacity(1, ());
        if let Some(mut own) = block.unique() {
            own.push_stamped((entry.key, entry.value), entry.epoch);
        }
        Self(block)
    }
}

impl<K: Ord, V> Leaf<K, V> {
    /// The position of `key`, or else where it belongs.
    #[inline]
    pub(super) fn find(&self, key: &K) -> Result<usize, usize> {
        let at = rank(self.entries(), |entry| entry.0 < *key);
        match self.get(at) {
            Some(entry) if entry.0 == *key => Ok(at),
            _ => Err(at),
        }
    }
}

impl<K: Clone, V: Clone> Leaf<K, V> {
    /// The entries, unshared, with room for `capacity` of them (at least the present number).
    #[inline]
    fn own(&mut self, capacity: usize) -> Unique<'_, (K, V), (), u32> {
        if self.0.capacity() != capacity || !self.0.is_unique() {
            self.0.resize(capacity);
        }
        self.0.unique().expect("unshared above")
    }

    /// The entries, unshared.
    #[inline]
    fn own_all(&mut self) -> Unique<'_, (K, V), (), u32> {
        self.own(self.0.capacity())
    }

    /// Clones the entries if the leaf is shared.
    pub(super) fn unshare(&mut self) {
        self.own_all();
    }

    /// Writes the value of the entry at `at` if the leaf is not shared. Otherwise returns it.
    #[inline]
    pub(super) fn replace_within(&mut self, at: usize, value: V, epoch: u32) -> Result<(), V> {
        match self.0.unique().and_then(|own| own.into_item(at)) {
            Some((entry, last)) => {
                (entry.1, *last) = (value, epoch);
                Ok(())
            }
            None => Err(value),
        }
    }

    /// Writes the value of the entry at `at`, and returns the old one.
    pub(super) fn replace(&mut self, at: usize, value: V, epoch: u32) -> Option<V> {
        let (entry, last) = self.own_all().into_item(at)?;
        *last = epoch;
        Some(std::mem::replace(&mut entry.1, value))
    }

    /// Inserts at `at` into a leaf with fewer than `LEAF_MAX` entries.
    pub(super) fn insert(&mut self, at: usize, entry: Entry<K, V>) {
        let (len, capacity) = (self.len(), self.0.capacity());
        self.own(if len < capacity { capacity } else { capacity_for(len + 1) }).insert(
            at,
            (entry.key, entry.value),
            entry.epoch,
        );
    }

    /// Removes the entry at `at`. Shrinks the allocation when three quarters of it are empty.
    pub(super) fn remove(&mut self, at: usize) -> Option<Entry<K, V>> {
        let ((key, value), epoch) = self.own_all().remove(at);
        let len = self.len();
        if 0 < len && len * 4 <= self.0.capacity() {
            self.0.resize(capacity_for(len * 2));
        }
        Some(Entry { key, value, epoch })
    }

    /// Inserts at `at` into a full leaf, and splits it. Returns the right leaf and its first key. With
    /// `append` the left leaf stays full.
    pub(super) fn split(&mut self, at: usize, entry: Entry<K, V>, append: bool) -> Option<(K, Self)> {
        if append {
            return Some((entry.key.clone(), Self::one(entry)));
        }
        let middle = LEAF_MAX / 2;
        let first = self.get(middle)?.0.clone();
        let mut right = Self(self.own_all().split_off(middle, capacity_for(middle + 1)));
        match at.checked_sub(middle + 1) {
            None => self.insert(at, entry),
            Some(after) => right.insert(after + 1, entry),
        }
        Some((first, right))
    }

    /// Moves entries between two unshared neighbours until this one has `target` of them.
    pub(super) fn divide(&mut self, right: &mut Self, target: usize) {
        let total = self.len() + right.len();
        let mut all = self.own(total);
        all.append(&mut right.own_all());
        right.0 = all.split_off(target, capacity_for(total - target));
        self.0.resize(capacity_for(target));
    }
}
