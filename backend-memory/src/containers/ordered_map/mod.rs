//! A sorted map whose clone shares its entries: the value of map state.
//!
//! A B+tree with nodes that are copied on write one by one. A clone copies three words; a change after it
//! copies the nodes on its way, and without a clone in between it copies nothing. A map of up to 32 entries
//! is one allocation of little more than their size.
//!
//! Every write carries an *epoch*, the number of the checkpoint interval it happens in, so that what changed
//! since a checkpoint is found without a look at the rest.
//!
//! The handle of a map has a byte of hash for each entry of a small one, by which an entry is found without a look at others:
//! what lies in the table's slot, and the entry, is all that is fetched.
//!
//! A panic in a user's `Ord`, `Clone` or encoding leaves the map as it was; one in `Drop` leaves it changed. An `Ord`
//! that contradicts itself, or the encoding, loses entries, but nothing panics or hangs for it.

mod iter;
mod leaf;
mod marks;
mod node;
mod removal_log;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeBounds;

use backend_api::StateKey;

pub use iter::{Changed, Range};
use leaf::{Entry, LEAF_MAX};
use marks::{Marks, mark};
use node::{Node, Path};
use removal_log::{REMOVALS_MIN, RemovalLog};
use triomphe::Arc;

/// A sorted map with copy-on-write nodes.
#[derive(Clone)]
pub struct OrderedMap<K, V> {
    root: Node<K, V>,
    removals: Option<Arc<RemovalLog<K>>>,
    /// Of the root, if that is a leaf.
    marks: Marks,
}

const _: () = assert!(size_of::<OrderedMap<u64, u64>>() == 5 * size_of::<usize>());

/// What turns a map as it was at the end of some epoch into the present one.
pub enum Delta<'a, K, V> {
    /// The removals are not known: the map is to be written whole.
    Full,
    /// Keys to remove, sorted and distinct, and entries to write.
    Changes {
        /// Keys that were removed since and are not present.
        removed: Vec<&'a K>,
        /// Entries written since.
        changed: Changed<'a, K, V>,
    },
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrderedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V> OrderedMap<K, V> {
    /// An empty map, which holds no memory.
    pub const fn new() -> Self {
        Self { root: Node::EMPTY, removals: None, marks: Marks::NONE }
    }

    /// Number of entries. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.root.len()
    }

    /// True if there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in key order.
    #[inline]
    pub fn iter(&self) -> Range<'_, K, V> {
        Range::all(&self.root)
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The entries written after epoch `base`, in key order. O(log n) for each of them at most.
    pub fn changed_since(&self, base: u32) -> Changed<'_, K, V> {
        Changed::new(&self.root, base)
    }
}

impl<K: StateKey, V> OrderedMap<K, V> {
    /// The value of `key`.
    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        if let Node::Leaf(leaf) = &self.root {
            let found = self.marks.find(leaf.entries(), key);
            if found.is_some() || Marks::are_all(leaf.len()) {
                return found.map(|(_, entry)| &entry.1);
            }
        }
        self.get_below(key)
    }

    #[inline(never)]
    fn get_below(&self, key: &K) -> Option<&V> {
        self.root.find(key, &mut { Path::START }).map(|entry| &entry.1)
    }

    /// The entry of `key`. Leaves the way to it, or to where it belongs, in `place`, which comes as [`Path::START`].
    fn find(&self, key: &K, place: &mut Path) -> Option<&(K, V)> {
        if let Node::Leaf(leaf) = &self.root
            && let Some((at, entry)) = self.marks.find(leaf.entries(), key)
        {
            place.stop(at);
            return Some(entry);
        }
        self.root.find(key, place)
    }

    /// True if there is an entry for `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    /// The entries with keys in `range`, in key order; none if it ends before it starts.
    #[inline]
    pub fn range(&self, range: impl RangeBounds<K>) -> Range<'_, K, V> {
        Range::new(&self.root, &range)
    }
}

impl<K, V> OrderedMap<K, V> {
    /// Lets the root be fetched, without waiting for it.
    pub(crate) fn prefetch(&self) {
        self.root.prefetch();
    }

    /// True if most of its nodes are no other map's too.
    pub(crate) fn is_unshared(&self) -> bool {
        self.root.is_unshared()
    }
}

impl<K: StateKey, V: Clone> OrderedMap<K, V> {
    /// Writes the value of `key` in `epoch` if it has one in a small map that nobody shares, or else gives it back.
    #[inline]
    pub(crate) fn replace(&mut self, key: &K, value: V, epoch: u32) -> Result<(), V> {
        match &mut self.root {
            Node::Leaf(leaf) => match self.marks.find(leaf.entries(), key) {
                Some((at, _)) => leaf.replace_within(at, value, epoch),
                None => Err(value),
            },
            Node::Branch(_) => Err(value),
        }
    }

    /// Writes the value of `key` in `epoch`; returns the old one.
    pub fn insert(&mut self, key: K, value: V, epoch: u32) -> Option<V> {
        let mut place = Path::START;
        if self.find(&key, &mut place).is_some() {
            return self.root.replace(&place, value, epoch);
        }
        self.insert_at(&place, Entry::new(key, value, epoch));
        None
    }

    /// Removes `key` in `epoch`; returns its value. With `log` the removal is remembered for
    /// [`delta_since`](Self::delta_since).
    pub fn remove(&mut self, key: &K, epoch: u32, log: bool) -> Option<V> {
        let mut place = Path::START;
        self.find(key, &mut place)?;
        self.remove_at(&place, epoch, log)
    }

    /// Lets `f` change a copy of the value of `key`, or `None` if there is none, and writes what it leaves:
    /// `Some` as the value, `None` as a removal (remembered with `log`).
    ///
    /// # Errors
    ///
    /// That of `f`; the map is as it was then.
    pub fn update<R, E>(
        &mut self,
        key: K,
        epoch: u32,
        log: bool,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut place = Path::START;
        let entry = self.find(&key, &mut place);
        let present = entry.is_some();
        let mut value = entry.map(|entry| entry.1.clone());
        let result = f(&mut value)?;
        match value {
            Some(value) if present => drop(self.root.replace(&place, value, epoch)),
            Some(value) => self.insert_at(&place, Entry::new(key, value, epoch)),
            None if present => drop(self.remove_at(&place, epoch, log)),
            None => {}
        }
        Ok(result)
    }

    /// What happened after epoch `base`, which must not lie before the last one that was
    /// [forgotten](Self::forget_removals).
    ///
    /// It is [`Delta::Full`] if more removals were to be remembered than 64 and than twice the number of
    /// entries, for every `base` before the epoch in which that happened.
    pub fn delta_since(&self, base: u32) -> Delta<'_, K, V> {
        let mut removed = BTreeSet::new();
        if let Some(removals) = &self.removals {
            let Some(keys) = removals.since(base) else { return Delta::Full };
            for key in keys.filter(|key| !self.contains(key)) {
                removed.insert(key);
            }
        }
        Delta::Changes { removed: removed.into_iter().collect(), changed: self.changed_since(base) }
    }

    /// Forgets the removals in epochs up to `confirmed`, the last one whose checkpoint can be built upon.
    #[inline]
    pub fn forget_removals(&mut self, confirmed: u32) {
        let Some(removals) = self.removals.as_mut().filter(|removals| !removals.is_after(confirmed)) else {
            return;
        };
        if Arc::make_mut(removals).forget(confirmed) {
            self.removals = None;
        }
    }

    /// Forgets all removals until the end of `epoch`, if any are remembered: for an earlier base than that, what has
    /// changed is [`Delta::Full`].
    pub fn spill_removals(&mut self, epoch: u32) {
        if let Some(removals) = &mut self.removals {
            Arc::make_mut(removals).spill(epoch);
        }
    }

    /// Bytes held by the map, shared ones included, without what keys and values point to. O(1), and
    /// O(number of epochs) if removals are remembered.
    #[inline]
    pub fn heap_size(&self) -> usize {
        self.root.bytes() + self.removals.as_ref().map_or(0, |removals| removals.heap_size())
    }

    /// Inserts an entry that is absent at its place.
    fn insert_at(&mut self, place: &Path, entry: Entry<K, V>) {
        match &mut self.root {
            Node::Leaf(leaf) if leaf.len() < LEAF_MAX => {
                let mark = mark(&entry.key);
                leaf.insert(place.at(), entry);
                self.marks.insert(place.at(), mark);
            }
            root => {
                let marks = if root.len() == 0 { Marks::of([&entry.key]) } else { Marks::NONE };
                root.insert(place, entry);
                self.marks = marks;
            }
        }
    }

    fn remove_at(&mut self, place: &Path, epoch: u32, log: bool) -> Option<V> {
        let marks = match &self.root {
            Node::Leaf(leaf) => self.marks.without(place.at(), leaf.entries()),
            root if root.becomes_leaf(place) => {
                let gone = root.entry(place).map(|entry| &raw const entry.0);
                Marks::of(self.keys().filter(|key| gone != Some(&raw const **key)))
            }
            Node::Branch(_) => Marks::NONE,
        };
        if let Some(removals) = self.removals.as_mut().filter(|_| log) {
            Arc::make_mut(removals).unshare();
        }
        let mut removed = self.root.remove(place);
        self.marks = marks;
        let Entry { key, value, .. } = removed.entry.take()?;
        if log {
            let max = REMOVALS_MIN.max(2 * self.len());
            let removals = self.removals.get_or_insert_with(|| Arc::new(RemovalLog::new()));
            let forgotten = Arc::make_mut(removals).push(key, epoch, max);
            drop(forgotten);
        }
        Some(value)
    }
}

impl<'a, K, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Range<'a, K, V>;

    fn into_iter(self) -> Range<'a, K, V> {
        self.iter()
    }
}
