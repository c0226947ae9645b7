//! A sorted map whose clones share entries: the value of map state.
//!
//! A B+tree whose nodes are copied on write one by one. A clone copies three words. The first change after a
//! clone copies the nodes on its path. Further changes there copy nothing. A map of up to 32 entries is one
//! allocation that is little larger than its entries.
//!
//! Every write has an *epoch*, the number of the checkpoint interval it happens in. Changes since a
//! checkpoint are found without visiting the rest.
//!
//! The handle of a small map has one byte of hash per entry. A lookup fetches only the table's slot and the
//! entry.
//!
//! A panic in a user's `Ord`, `Clone` or encoding leaves the map as it was. A panic in `Drop` leaves it
//! changed. An inconsistent `Ord` can lose entries, but cannot cause a panic or an endless loop.

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
    /// The marks of the root, if that is a leaf.
    marks: Marks,
}

const _: () = assert!(size_of::<OrderedMap<u64, u64>>() == 5 * size_of::<usize>());

/// The difference between a map at the end of some epoch and the present one.
pub enum Delta<'a, K, V> {
    /// The removals are not known, so the map must be written in full.
    Full,
    /// Keys to remove, sorted and distinct, and entries to write.
    Changes {
        /// Keys removed since then and not present now.
        removed: Vec<&'a K>,
        /// Entries written since then.
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
    /// Returns an empty map, which holds no memory.
    pub const fn new() -> Self {
        Self { root: Node::EMPTY, removals: None, marks: Marks::NONE }
    }

    /// Number of entries. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.root.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in key order.
    #[inline]
    pub fn iter(&self) -> Range<'_, K, V> {
        Range::all(&self.root)
    }

    /// The first entry.
    #[inline]
    pub fn first(&self) -> Option<&(K, V)> {
        self.root.entry(&self.root.first_place())
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The entries written after epoch `base`, in key order. At most O(log n) per entry.
    pub fn changed_since(&self, base: u32) -> Changed<'_, K, V> {
        Changed::new(&self.root, base)
    }
}

impl<K: StateKey, V> OrderedMap<K, V> {
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

    /// The entry of `key`. Stores the path to it, or to where it belongs, in `place`, which must be
    /// [`Path::START`].
    fn find(&self, key: &K, place: &mut Path) -> Option<&(K, V)> {
        if let Node::Leaf(leaf) = &self.root
            && let Some((at, entry)) = self.marks.find(leaf.entries(), key)
        {
            place.stop(at);
            return Some(entry);
        }
        self.root.find(key, place)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    /// The entries with keys in `range`, in key order. Empty if the range ends before it starts.
    #[inline]
    pub fn range(&self, range: impl RangeBounds<K>) -> Range<'_, K, V> {
        Range::new(&self.root, &range)
    }
}

impl<K, V> OrderedMap<K, V> {
    /// Prefetches the root.
    pub(crate) fn prefetch(&self) {
        self.root.prefetch();
    }

    /// True if most of its nodes are not shared.
    pub(crate) fn is_unshared(&self) -> bool {
        self.root.is_unshared()
    }
}

impl<K: StateKey, V: Clone> OrderedMap<K, V> {
    /// Overwrites the value of `key` in `epoch` if it is in a small unshared map. Otherwise returns the
    /// value.
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

    /// Writes the value of `key` in `epoch`, and returns the old one.
    pub fn insert(&mut self, key: K, value: V, epoch: u32) -> Option<V> {
        let mut place = Path::START;
        if self.find(&key, &mut place).is_some() {
            return self.root.replace(&place, value, epoch);
        }
        self.insert_at(&place, Entry::new(key, value, epoch));
        None
    }

    /// Adds an entry in `epoch`.
    ///
    /// # Errors
    ///
    /// The key, if there is an entry of it. Then the map is unchanged.
    pub fn insert_new(&mut self, key: K, value: V, epoch: u32) -> Result<(), K> {
        let mut place = Path::START;
        if self.find(&key, &mut place).is_some() {
            return Err(key);
        }
        self.insert_at(&place, Entry::new(key, value, epoch));
        Ok(())
    }

    /// Removes `key` in `epoch`, and returns its value. With `log`, the removal is kept for
    /// [`delta_since`](Self::delta_since).
    pub fn remove(&mut self, key: &K, epoch: u32, log: bool) -> Option<V> {
        let mut place = Path::START;
        self.find(key, &mut place)?;
        self.remove_at(&place, epoch, log)
    }

    /// Removes the first entry in `epoch`, and returns it. With `log` as in [`remove`](Self::remove).
    pub fn pop_first(&mut self, epoch: u32, log: bool) -> Option<(K, V)> {
        let place = self.root.first_place();
        let logged = if log { Some(self.root.entry(&place)?.0.clone()) } else { None };
        let Entry { key, value, .. } = self.take_at(&place, log)?;
        if let Some(key) = logged {
            self.log_removal(key, epoch);
        }
        Some((key, value))
    }

    /// Lets `f` change a copy of the value of `key`, or `None` if there is none. Writes the result: `Some` as
    /// the value, `None` as a removal (logged with `log`).
    ///
    /// # Errors
    ///
    /// The error of `f`. Then the map is unchanged.
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

    /// The changes after epoch `base`, which must not precede the last [forgotten](Self::forget_removals)
    /// one.
    ///
    /// [`Delta::Full`] for every `base` before the epoch in which the log outgrew both 64 removals and twice
    /// the number of entries.
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

    /// Forgets removals up to epoch `confirmed`, the last one that increments can have as base.
    #[inline]
    pub fn forget_removals(&mut self, confirmed: u32) {
        let Some(removals) = self.removals.as_mut().filter(|removals| !removals.is_after(confirmed)) else {
            return;
        };
        if Arc::make_mut(removals).forget(confirmed) {
            self.removals = None;
        }
    }

    /// Forgets all removals until the end of `epoch`. Earlier bases then give [`Delta::Full`]. Does nothing
    /// if no removal is logged.
    pub fn spill_removals(&mut self, epoch: u32) {
        if let Some(removals) = &mut self.removals {
            Arc::make_mut(removals).spill(epoch);
        }
    }

    /// Bytes held by the map, shared ones included, without what keys and values point to. O(1), or O(number
    /// of epochs) with logged removals.
    #[inline]
    pub fn heap_size(&self) -> usize {
        self.root.bytes() + self.removals.as_ref().map_or(0, |removals| removals.heap_size())
    }

    /// Inserts an absent entry at its place.
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
        let Entry { key, value, .. } = self.take_at(place, log)?;
        if log {
            self.log_removal(key, epoch);
        }
        Some(value)
    }

    /// Takes an entry out of the tree. `log` announces a call of [`log_removal`](Self::log_removal).
    fn take_at(&mut self, place: &Path, log: bool) -> Option<Entry<K, V>> {
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
        removed.entry.take()
    }

    fn log_removal(&mut self, key: K, epoch: u32) {
        let max = REMOVALS_MIN.max(2 * self.len());
        let removals = self.removals.get_or_insert_with(|| Arc::new(RemovalLog::new()));
        let forgotten = Arc::make_mut(removals).push(key, epoch, max);
        drop(forgotten);
    }
}

impl<'a, K, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Range<'a, K, V>;

    fn into_iter(self) -> Range<'a, K, V> {
        self.iter()
    }
}
