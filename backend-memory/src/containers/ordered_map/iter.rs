//! Lazy iterators. They hold no stack, but descend from the root to get from leaf to leaf.

use std::fmt;
use std::iter::{FusedIterator, Rev, Zip};
use std::ops::{Bound, RangeBounds};
use std::slice;

use super::leaf::Leaf;
use super::node::{Link, Node, Path};

/// The entries in a range of keys, in key order, from both ends.
pub struct Range<'a, K, V> {
    /// The rest of the first leaf.
    head: slice::Iter<'a, (K, V)>,
    /// What follows the first leaf, if the range reaches beyond it. Boxed, so that a walk over one leaf is
    /// cheap.
    rest: Option<Box<Rest<'a, K, V>>>,
}

/// The leaves after the first one.
struct Rest<'a, K, V> {
    root: &'a Node<K, V>,
    /// In the first leaf.
    front: Path,
    /// In the last leaf, which is a different one.
    back: Path,
    /// The rest of the last leaf.
    tail: slice::Iter<'a, (K, V)>,
}

impl<'a, K: Ord, V> Range<'a, K, V> {
    #[inline]
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
    #[inline]
    pub fn none() -> Self {
        Self { head: [].iter(), rest: None }
    }

    #[inline(never)]
    pub(super) fn all(root: &'a Node<K, V>) -> Self {
        match root {
            Node::Leaf(leaf) => Self { head: leaf.entries().iter(), rest: None },
            Node::Branch(_) => Self::between(root, root.first_place(), root.end_place()),
        }
    }

    fn between(root: &'a Node<K, V>, front: Path, back: Path) -> Self {
        let entries = |place| root.leaf(place).map_or(&[][..], Leaf::entries);
        let (first, last) = (entries(&front), entries(&back));
        let [first, tail] = if front.steps() < back.steps() {
            [first.get(front.at()..), last.get(..back.at())]
        } else if front.steps() == back.steps() {
            return Self { head: first.get(front.at()..back.at()).unwrap_or_default().iter(), rest: None };
        } else {
            return Self::none();
        };
        let rest = Rest { root, front, back, tail: tail.unwrap_or_default().iter() };
        Self { head: first.unwrap_or_default().iter(), rest: Some(Box::new(rest)) }
    }
}

/// The rest of the first leaf, and what follows it.
type Parts<'a, K, V> = (slice::Iter<'a, (K, V)>, Option<Box<Rest<'a, K, V>>>);

impl<'a, K, V> Rest<'a, K, V> {
    /// Moves to the next leaf. Takes and returns values, so that the caller's iterator can stay in registers.
    #[cold]
    #[inline(never)]
    fn go_on(mut self: Box<Self>) -> Option<Parts<'a, K, V>> {
        let leaf = self.root.next_leaf(&mut self.front)?;
        if self.front.steps() == self.back.steps() {
            return Some((self.tail, None));
        }
        Some((leaf.entries().iter(), Some(self)))
    }

    /// Moves to the leaf before the last one. Returns `None` if that is the first leaf.
    fn go_back(mut self: Box<Self>) -> Option<Box<Self>> {
        let leaf = self.root.previous_leaf(&mut self.back)?;
        self.tail = leaf.entries().iter();
        (self.front.steps() != self.back.steps()).then_some(self)
    }
}

impl<'a, K, V> Iterator for Range<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.head.next() {
                return Some((&entry.0, &entry.1));
            }
            (self.head, self.rest) = self.rest.take()?.go_on()?;
        }
    }
}

impl<K, V> DoubleEndedIterator for Range<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let end = self.rest.as_mut().map_or(&mut self.head, |rest| &mut rest.tail);
            if let Some(entry) = end.next_back() {
                return Some((&entry.0, &entry.1));
            }
            self.rest = self.rest.take()?.go_back();
        }
    }
}

impl<K, V> FusedIterator for Range<'_, K, V> {}

impl<K, V> Clone for Rest<'_, K, V> {
    fn clone(&self) -> Self {
        Self { tail: self.tail.clone(), ..*self }
    }
}

impl<K, V> Clone for Range<'_, K, V> {
    fn clone(&self) -> Self {
        Self { head: self.head.clone(), rest: self.rest.clone() }
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
    entries: Zip<slice::Iter<'a, (K, V)>, Rev<slice::Iter<'a, u32>>>,
}

impl<'a, K, V> Changed<'a, K, V> {
    pub(super) fn new(root: &'a Node<K, V>, base: u32) -> Self {
        let mut changed = Self { base, links: Vec::new(), entries: [].iter().zip([].iter().rev()) };
        changed.enter(root);
        changed
    }

    fn enter(&mut self, node: &'a Node<K, V>) {
        match node {
            Node::Leaf(leaf) => self.entries = leaf.entries().iter().zip(leaf.epochs()),
            Node::Branch(branch) => self.links.extend(branch.as_ref().map(|branch| branch.links.iter())),
        }
    }
}

impl<'a, K, V> Iterator for Changed<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(((key, value), _)) = self.entries.find(|(_, epoch)| **epoch > self.base) {
                return Some((key, value));
            }
            match self.links.last_mut()?.find(|link| link.epoch > self.base) {
                Some(link) => self.enter(&link.node),
                None => drop(self.links.pop()),
            }
        }
    }
}

impl<K, V> FusedIterator for Changed<'_, K, V> {}
