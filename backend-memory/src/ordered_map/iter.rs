//! Lazy iterators. They hold no stack: to go from leaf to leaf they descend again.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};
use std::slice;

use super::leaf::{Leaf, Slot};
use super::node::{Link, Node, Place};

/// The entries of a range of keys, in key order, from both ends.
pub struct Range<'a, K, V> {
    /// `None` if there is but one leaf to walk over, or nothing.
    root: Option<&'a Node<K, V>>,
    front: Place,
    back: Place,
    /// Whether `front` and `back` are in different leaves.
    apart: bool,
    /// What is left of the leaf at `front`.
    head: slice::Iter<'a, Slot<K, V>>,
    /// What is left of the leaf at `back`, if they are.
    tail: slice::Iter<'a, Slot<K, V>>,
}

impl<'a, K: Ord, V> Range<'a, K, V> {
    pub(super) fn new(root: &'a Node<K, V>, range: &impl RangeBounds<K>) -> Self {
        if let (Bound::Unbounded, Bound::Unbounded) = (range.start_bound(), range.end_bound()) {
            return Self::all(root);
        }
        let front = match range.start_bound() {
            Bound::Unbounded => root.first_place(),
            Bound::Included(key) => root.place(key, false),
            Bound::Excluded(key) => root.place(key, true),
        };
        let back = match range.end_bound() {
            Bound::Unbounded => root.end_place(),
            Bound::Included(key) => root.place(key, true),
            Bound::Excluded(key) => root.place(key, false),
        };
        Self::between(root, front, back)
    }
}

impl<'a, K, V> Range<'a, K, V> {
    /// No entries.
    #[inline]
    pub fn none() -> Self {
        Self::of_leaf(&[])
    }

    #[inline]
    pub(super) fn all(root: &'a Node<K, V>) -> Self {
        match root {
            Node::Leaf(leaf) => Self::of_leaf(leaf.entries()),
            Node::Branch(_) => Self::between(root, root.first_place(), root.end_place()),
        }
    }

    #[inline]
    fn of_leaf(entries: &'a [Slot<K, V>]) -> Self {
        let (front, back) = (Place::START, Place::START);
        Self { root: None, front, back, apart: false, head: entries.iter(), tail: [].iter() }
    }

    fn between(root: &'a Node<K, V>, front: Place, back: Place) -> Self {
        let entries = |place| root.leaf(place).map_or(&[][..], Leaf::entries);
        let apart = front.steps() < back.steps();
        let (head, tail) = if apart {
            (entries(&front).get(front.at()..), entries(&back).get(..back.at()))
        } else if front.steps() == back.steps() {
            (entries(&front).get(front.at()..back.at()), None)
        } else {
            (None, None)
        };
        let [head, tail] = [head, tail].map(|entries| entries.unwrap_or_default().iter());
        Self { root: Some(root), front, back, apart, head, tail }
    }
}

impl<'a, K, V> Iterator for Range<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.head.next() {
                return entry.as_ref().map(|entry| (&entry.key, &entry.value));
            }
            if !self.apart {
                return None;
            }
            self.go_on()?;
        }
    }
}

impl<K, V> Range<'_, K, V> {
    /// Goes to the next leaf, of which there is one.
    #[cold]
    fn go_on(&mut self) -> Option<()> {
        let leaf = self.root?.next_leaf(&mut self.front)?;
        self.apart = self.front.steps() != self.back.steps();
        self.head = if self.apart { leaf.entries().iter() } else { std::mem::take(&mut self.tail) };
        Some(())
    }
}

impl<K, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let end = if self.apart { &mut self.tail } else { &mut self.head };
            if let Some(entry) = end.next_back() {
                return entry.as_ref().map(|entry| (&entry.key, &entry.value));
            }
            if !self.apart {
                return None;
            }
            let leaf = self.root?.previous_leaf(&mut self.back)?;
            self.apart = self.front.steps() != self.back.steps();
            if self.apart {
                self.tail = leaf.entries().iter();
            }
        }
    }
}

impl<K, V> FusedIterator for Range<'_, K, V> {}

impl<K, V> Clone for Range<'_, K, V> {
    fn clone(&self) -> Self {
        Self { head: self.head.clone(), tail: self.tail.clone(), ..*self }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Range<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}

/// The entries written after some epoch, in key order.
pub struct Changed<'a, K, V> {
    base: u32,
    links: Vec<slice::Iter<'a, Link<K, V>>>,
    entries: slice::Iter<'a, Slot<K, V>>,
}

impl<'a, K, V> Changed<'a, K, V> {
    pub(super) fn new(root: &'a Node<K, V>, base: u32) -> Self {
        let mut changed = Self { base, links: Vec::new(), entries: [].iter() };
        changed.enter(root);
        changed
    }

    fn enter(&mut self, node: &'a Node<K, V>) {
        match node {
            Node::Leaf(leaf) => self.entries = leaf.entries().iter(),
            Node::Branch(branch) => self.links.extend(branch.as_ref().map(|branch| branch.links.iter())),
        }
    }
}

impl<'a, K, V> Iterator for Changed<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.by_ref().flatten().find(|entry| entry.epoch > self.base) {
                return Some((&entry.key, &entry.value));
            }
            match self.links.last_mut()?.find(|link| link.epoch > self.base) {
                Some(link) => self.enter(&link.node),
                None => drop(self.links.pop()),
            }
        }
    }
}

impl<K, V> FusedIterator for Changed<'_, K, V> {}
