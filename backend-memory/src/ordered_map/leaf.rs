//! Leaves: sorted entries with room to grow, in one allocation.

use triomphe::{Arc, HeaderSlice};

/// Entries of a leaf at most.
pub(super) const LEAF_MAX: usize = 32;

/// The sizes a leaf is allocated in.
const CAPACITIES: [usize; 8] = [1, 2, 4, 8, 12, 16, 24, LEAF_MAX];

/// The smallest size with room for `len` entries.
fn capacity_for(len: usize) -> usize {
    CAPACITIES.into_iter().find(|&capacity| capacity >= len).unwrap_or(len)
}

/// Up to here a search in line is faster than a binary one, whose every step is a mispredicted branch.
const LINEAR_MAX: usize = 16;

/// Number of the sorted `items` that come `before` what is looked for; `K` is the type of what is compared.
pub(super) fn rank<K, T>(items: &[T], before: impl Fn(&T) -> bool) -> usize {
    let (mut low, mut high) = (0, items.len());
    while high - low > LINEAR_MAX {
        let middle = low + (high - low) / 2;
        if before(&items[middle]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut rest = items[low..high].iter();
    // Plain keys are compared to the last one: that is cheaper than to guess wrong where to stop.
    let cheap = !std::mem::needs_drop::<K>() && size_of::<K>() <= size_of::<u64>();
    low + if cheap {
        rest.map(|item| usize::from(before(item))).sum::<usize>()
    } else {
        rest.position(|item| !before(item)).unwrap_or(high - low)
    }
}

/// A byte of one value, so that `Option<Entry>` needs no byte of its own.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Filled {
    Yes = 1,
}

#[derive(Clone)]
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    /// Of the last write.
    pub(super) epoch: u32,
    _filled: Filled,
}

const _: () = assert!(size_of::<Option<Entry<u64, u64>>>() == 24);

impl<K, V> Entry<K, V> {
    pub(super) fn new(key: K, value: V, epoch: u32) -> Self {
        Self { key, value, epoch, _filled: Filled::Yes }
    }
}

pub(super) type Slot<K, V> = Option<Entry<K, V>>;

/// The header is the number of entries; the slots behind them are `None`.
type Slots<K, V> = HeaderSlice<usize, [Slot<K, V>]>;

/// A shared leaf. Whatever changes it clones the entries first if it is shared and only then moves, so that
/// a clone that panics leaves the leaf as it was.
pub(super) struct Leaf<K, V>(Arc<Slots<K, V>>);

impl<K, V> Clone for Leaf<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Leaf<K, V> {
    fn with_capacity(capacity: usize) -> Self {
        Self(Arc::from_header_and_iter(0, (0..capacity).map(|_| None)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.header
    }

    /// Whether it is one map's alone.
    pub(super) fn is_unique(&self) -> bool {
        self.0.is_unique()
    }

    /// Bytes of the allocation.
    pub(super) fn bytes(&self) -> usize {
        2 * size_of::<usize>() + size_of_val(&self.0.slice)
    }

    /// The entries; all are `Some`.
    pub(super) fn entries(&self) -> &[Slot<K, V>] {
        &self.0.slice[..self.0.header]
    }

    pub(super) fn get(&self, at: usize) -> Option<&Entry<K, V>> {
        self.0.slice.get(at)?.as_ref()
    }

    /// The latest epoch of an entry.
    pub(super) fn epoch(&self) -> u32 {
        self.entries().iter().flatten().map(|entry| entry.epoch).max().unwrap_or(0)
    }
}

impl<K: Ord, V> Leaf<K, V> {
    /// Where `key` is, or else where it belongs.
    pub(super) fn find(&self, key: &K) -> Result<usize, usize> {
        let at = rank::<K, _>(self.entries(), |slot| slot.as_ref().is_some_and(|entry| entry.key < *key));
        match self.get(at) {
            Some(entry) if entry.key == *key => Ok(at),
            _ => Err(at),
        }
    }
}

impl<K: Clone, V: Clone> Leaf<K, V> {
    /// The slots, unshared and `capacity` of them, which is no less than there are entries.
    fn own(&mut self, capacity: usize) -> &mut Slots<K, V> {
        if self.0.slice.len() != capacity || !self.0.is_unique() {
            self.copy(capacity);
        }
        Arc::get_mut(&mut self.0).expect("unshared above")
    }

    #[cold]
    fn copy(&mut self, capacity: usize) {
        let mut copy = Self::with_capacity(capacity);
        let to = Arc::get_mut(&mut copy.0).expect("just made");
        to.header = self.0.header;
        match Arc::get_mut(&mut self.0) {
            Some(own) => to.slice.iter_mut().zip(&mut own.slice).for_each(|(to, from)| *to = from.take()),
            None => to.slice.iter_mut().zip(&self.0.slice).for_each(|(to, from)| to.clone_from(from)),
        }
        *self = copy;
    }

    /// Clones the entries if the leaf is shared.
    pub(super) fn unshare(&mut self) {
        self.own(self.0.slice.len());
    }

    /// A leaf of one entry.
    pub(super) fn one(entry: Entry<K, V>) -> Self {
        let mut leaf = Self::with_capacity(1);
        leaf.insert(0, entry);
        leaf
    }

    /// Writes the value of the entry at `at`; returns the old one.
    pub(super) fn replace(&mut self, at: usize, value: V, epoch: u32) -> Option<V> {
        let capacity = self.0.slice.len();
        let entry = self.own(capacity).slice.get_mut(at)?.as_mut()?;
        entry.epoch = epoch;
        Some(std::mem::replace(&mut entry.value, value))
    }

    /// Inserts at `at` into a leaf with fewer than `LEAF_MAX` entries.
    pub(super) fn insert(&mut self, at: usize, entry: Entry<K, V>) {
        let len = self.len();
        let capacity = self.0.slice.len();
        let slots = self.own(if len < capacity { capacity } else { capacity_for(len + 1) });
        slots.slice[len] = Some(entry);
        slots.slice[at..=len].rotate_right(1);
        slots.header += 1;
    }

    /// Takes out the entry at `at`; gives room back when three quarters are empty.
    pub(super) fn remove(&mut self, at: usize) -> Option<Entry<K, V>> {
        let len = self.len() - 1;
        let capacity = self.0.slice.len();
        let slots = self.own(capacity);
        slots.slice[at..=len].rotate_left(1);
        slots.header = len;
        let removed = slots.slice[len].take();
        if 0 < len && len * 4 <= capacity {
            self.copy(capacity_for(len * 2));
        }
        removed
    }

    /// Inserts at `at` into a full leaf, which becomes two: returns the right one and its first key. With
    /// `append` the left one stays full.
    pub(super) fn split(&mut self, at: usize, entry: Entry<K, V>, append: bool) -> Option<(K, Self)> {
        if append {
            return Some((entry.key.clone(), Self::one(entry)));
        }
        let middle = LEAF_MAX / 2;
        let first = self.get(middle)?.key.clone();
        let slots = self.own(LEAF_MAX);
        let mut right = Self::with_capacity(capacity_for(middle + 1));
        let to = Arc::get_mut(&mut right.0).expect("just made");
        to.slice.iter_mut().zip(&mut slots.slice[middle..]).for_each(|(to, from)| *to = from.take());
        to.header = LEAF_MAX - middle;
        slots.header = middle;
        match at.checked_sub(middle + 1) {
            None => self.insert(at, entry),
            Some(after) => right.insert(after + 1, entry),
        }
        Some((first, right))
    }

    /// Divides the entries of two neighbours, both unshared, so that this one has `target` of them.
    pub(super) fn divide(&mut self, right: &mut Self, target: usize) {
        let total = self.len() + right.len();
        let (mut left, mut rest) =
            (Self::with_capacity(capacity_for(target)), Self::with_capacity(capacity_for(total - target)));
        let entries = self.own(self.0.slice.len()).slice.iter_mut().filter_map(Option::take);
        let mut entries =
            entries.chain(right.own(right.0.slice.len()).slice.iter_mut().filter_map(Option::take));
        for (leaf, len) in [(&mut left, target), (&mut rest, total - target)] {
            let to = Arc::get_mut(&mut leaf.0).expect("just made");
            to.slice.iter_mut().zip(entries.by_ref().take(len)).for_each(|(to, entry)| *to = Some(entry));
            to.header = len;
        }
        drop(entries);
        (*self, *right) = (left, rest);
    }
}
