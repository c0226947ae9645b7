//! The B+tree: nodes, paths to keys, and changes along a path.
//!
//! A change has two halves. The first may call user code (`Ord`, `Clone`) and changes nothing visible: it
//! finds the place, clones the shared nodes on the path, and clones the keys that it needs. The second only
//! moves.

use arrayvec::ArrayVec;
use triomphe::Arc;

use crate::prefetch::prefetch;

use super::leaf::{Entry, LEAF_MAX, Leaf, rank};

/// Most links of a branch.
const FANOUT: usize = 32;
const KEYS: usize = FANOUT - 1;

/// Least width of nodes other than the root and the last of each level. The last ones are exempt so that a
/// map that grows at its end leaves full nodes behind.
pub(super) const WIDTH_MIN: usize = 8;

/// Neighbours merge if their common width is at most this. Less than `FANOUT`, so the next insertion does not
/// split them again.
const MERGE_MAX: usize = 24;

/// Bytes of a branch that are prefetched.
const PREFETCHED: usize = 256;

/// Most branches above a leaf. All first children have at least 8 nodes, so 2^63 entries lie 21 branches
/// deep.
const DEPTH_MAX: usize = 24;

#[derive(Clone)]
pub(super) enum Node<K, V> {
    Leaf(Leaf<K, V>),
    /// `None` is the empty map, and occurs only as the root. The niche keeps a node at two words.
    Branch(Option<Arc<Branch<K, V>>>),
}

const _: () = assert!(size_of::<Node<u64, u64>>() == 2 * size_of::<usize>());

/// An inner node. `links[i + 1]` leads to the keys from `keys[i]` on.
#[derive(Clone)]
pub(super) struct Branch<K, V> {
    /// Entries below.
    pub(super) len: usize,
    /// Bytes of this node and those below.
    pub(super) bytes: usize,
    pub(super) keys: ArrayVec<K, KEYS>,
    pub(super) links: ArrayVec<Link<K, V>, FANOUT>,
}

#[derive(Clone)]
pub(super) struct Link<K, V> {
    pub(super) node: Node<K, V>,
    /// Upper bound of the epochs of the entries below.
    pub(super) epoch: u32,
}

/// The path to an entry, or to where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Path {
    steps: [u8; DEPTH_MAX],
    depth: u8,
    /// Position in the leaf.
    at: u8,
}

impl Path {
    /// The index of the link taken at each branch.
    pub(super) fn steps(&self) -> &[u8] {
        &self.steps[..usize::from(self.depth)]
    }

    pub(super) fn at(&self) -> usize {
        usize::from(self.at)
    }

    fn step(&mut self, link: usize) {
        self.steps[usize::from(self.depth)] = link as u8;
        self.depth += 1;
    }

    /// Ends at an entry of the leaf.
    pub(super) fn stop(&mut self, at: usize) {
        self.at = at as u8;
    }

    pub(super) const START: Self = Self { steps: [0; DEPTH_MAX], depth: 0, at: 0 };
}

/// Contents of a removal that are dropped once the map is consistent.
pub(super) struct Removed<K, V> {
    pub(super) entry: Option<Entry<K, V>>,
    keys: Vec<K>,
}

impl<K, V> Node<K, V> {
    pub(super) const EMPTY: Self = Self::Branch(None);

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Branch(branch) => branch.as_ref().map_or(0, |branch| branch.len),
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.bytes(),
            Self::Branch(branch) => branch.as_ref().map_or(0, |branch| branch.bytes),
        }
    }

    pub(super) fn prefetch(&self) {
        match self {
            Self::Leaf(leaf) => leaf.prefetch(),
            Self::Branch(Some(branch)) => prefetch(Arc::as_ptr(branch), PREFETCHED),
            Self::Branch(None) => {}
        }
    }

    /// True if this node and most of its children are unshared.
    pub(super) fn is_unshared(&self) -> bool {
        let is_unique = |node: &Self| match node {
            Self::Leaf(leaf) => leaf.is_unique(),
            Self::Branch(branch) => branch.as_ref().is_none_or(Arc::is_unique),
        };
        let most_below = |branch: &Branch<K, V>| {
            2 * branch.links.iter().filter(|link| is_unique(&link.node)).count() > branch.links.len()
        };
        match self {
            Self::Branch(Some(branch)) => branch.is_unique() && most_below(branch),
            other => is_unique(other),
        }
    }

    /// Entries of a leaf, or links of a branch.
    fn width(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.len(),
            Self::Branch(branch) => branch.as_ref().map_or(0, |branch| branch.links.len()),
        }
    }

    pub(super) fn leaf(&self, place: &Path) -> Option<&Leaf<K, V>> {
        let mut node = self;
        for &step in place.steps() {
            node = node.child(usize::from(step))?;
        }
        match node {
            Self::Leaf(leaf) => Some(leaf),
            Self::Branch(_) => None,
        }
    }

    pub(super) fn entry(&self, place: &Path) -> Option<&(K, V)> {
        self.leaf(place)?.get(place.at())
    }

    /// True if this branch becomes a leaf when the entry at `place` is removed.
    pub(super) fn becomes_leaf(&self, place: &Path) -> bool {
        match (self, place.steps()) {
            (Self::Branch(Some(root)), [step]) => {
                let remedy = root.remedy(usize::from(*step), &[]);
                root.links.len() == 2 && matches!(remedy, Remedy::Drop | Remedy::Merge)
            }
            _ => false,
        }
    }

    fn child(&self, link: usize) -> Option<&Self> {
        match self {
            Self::Branch(Some(branch)) => branch.links.get(link).map(|link| &link.node),
            _ => None,
        }
    }

    /// The place of the first entry.
    pub(super) fn first_place(&self) -> Path {
        let mut place = Path::START;
        let mut node = self;
        while let Some(first) = node.child(0) {
            place.step(0);
            node = first;
        }
        place
    }

    /// The place after the last entry.
    pub(super) fn end_place(&self) -> Path {
        let mut place = Path::START;
        let mut node = self;
        while let Some(last) = node.width().checked_sub(1).and_then(|link| node.child(link)) {
            place.step(node.width() - 1);
            node = last;
        }
        place.at = node.width() as u8;
        place
    }

    /// Moves `place` from its leaf to the next one.
    pub(super) fn next_leaf(&self, place: &mut Path) -> Option<&Leaf<K, V>> {
        self.turn(place, |step| step + 1, |_| 0)
    }

    /// Moves `place` from its leaf to the previous one.
    pub(super) fn previous_leaf(&self, place: &mut Path) -> Option<&Leaf<K, V>> {
        self.turn(place, |step| step.wrapping_sub(1), |width| width.saturating_sub(1))
    }

    /// Takes the adjacent link at the lowest branch that has one, and the outermost links below that.
    fn turn(
        &self,
        place: &mut Path,
        other: impl Fn(usize) -> usize,
        outermost: impl Fn(usize) -> usize,
    ) -> Option<&Leaf<K, V>> {
        let mut node = self;
        let mut turn = None;
        for (depth, &step) in place.steps().iter().enumerate() {
            let link = other(usize::from(step));
            turn = node.child(link).map(|child| (depth, link, child)).or(turn);
            node = node.child(usize::from(step))?;
        }
        let (depth, link, mut node) = turn?;
        let bottom = usize::from(place.depth);
        place.steps[depth] = link as u8;
        for step in &mut place.steps[depth + 1..bottom] {
            let link = outermost(node.width());
            *step = link as u8;
            node = node.child(link)?;
        }
        match node {
            Self::Leaf(leaf) => Some(leaf),
            Self::Branch(_) => None,
        }
    }

    /// True if this node loses a link when the leaf at the end of `steps` loses an entry.
    fn narrows(&self, steps: &[u8]) -> bool {
        match (self, steps) {
            (Self::Branch(Some(branch)), [step, below @ ..]) => {
                matches!(branch.remedy(usize::from(*step), below), Remedy::Drop | Remedy::Merge)
            }
            _ => true,
        }
    }
}

impl<K: Ord, V> Node<K, V> {
    /// The entry of `key`. Stores the path to it, or to where it belongs, in `place`, which must be
    /// [`Path::START`].
    pub(super) fn find(&self, key: &K, place: &mut Path) -> Option<&(K, V)> {
        let mut node = self;
        loop {
            match node {
                Self::Branch(None) => return None,
                Self::Branch(Some(branch)) => {
                    let link = rank(&branch.keys, |bound| bound <= key);
                    place.step(link);
                    node = &branch.links[link].node;
                }
                Self::Leaf(leaf) => {
                    let found = leaf.find(key);
                    let (Ok(at) | Err(at)) = found;
                    place.stop(at);
                    return found.ok().and_then(|at| leaf.get(at));
                }
            }
        }
    }

    /// The place of `key`, or where it belongs. With `after`, the place after it.
    pub(super) fn place(&self, key: &K, after: bool) -> Path {
        let mut place = Path::START;
        let present = self.find(key, &mut place).is_some();
        place.at += u8::from(after && present);
        place
    }
}

impl<K: Clone, V: Clone> Node<K, V> {
    /// Clones the contents of this node if it is shared. Children stay shared.
    fn unshare(&mut self) {
        match self {
            Self::Leaf(leaf) => leaf.unshare(),
            Self::Branch(branch) => {
                branch.as_mut().map(Arc::make_mut);
            }
        }
    }

    /// Writes the value at `place`, and returns the old one.
    pub(super) fn replace(&mut self, place: &Path, value: V, epoch: u32) -> Option<V> {
        let mut node = self;
        for &step in place.steps() {
            let Self::Branch(Some(branch)) = node else { return None };
            let link = Arc::make_mut(branch).links.get_mut(usize::from(step))?;
            // If a clone below panics, this epoch stays too late, which is allowed.
            link.epoch = link.epoch.max(epoch);
            node = &mut link.node;
        }
        match node {
            Self::Leaf(leaf) => leaf.replace(place.at(), value, epoch),
            Self::Branch(_) => None,
        }
    }

    /// Inserts an absent entry at its place in this tree.
    pub(super) fn insert(&mut self, place: &Path, entry: Entry<K, V>) {
        if let Some((key, right)) = self.insert_below(place.steps(), place.at(), entry, true) {
            let left = std::mem::replace(self, Self::EMPTY);
            let mut root = Branch { len: 0, bytes: 0, keys: ArrayVec::new(), links: ArrayVec::new() };
            root.links.push(Link { epoch: left.epoch(), node: left });
            root.links.push(right);
            root.keys.push(key);
            root.recount();
            *self = Self::Branch(Some(Arc::new(root)));
        }
    }

    /// If the node had to be split, returns the right half and its lower bound. `last` is true for the last
    /// node of its level.
    fn insert_below(
        &mut self,
        steps: &[u8],
        at: usize,
        entry: Entry<K, V>,
        last: bool,
    ) -> Option<(K, Link<K, V>)> {
        match (&mut *self, steps) {
            (Self::Leaf(leaf), _) if leaf.len() < LEAF_MAX => {
                leaf.insert(at, entry);
                None
            }
            (Self::Leaf(leaf), _) => {
                let (key, right) = leaf.split(at, entry, last && at == LEAF_MAX)?;
                Some((key, Link { epoch: right.epoch(), node: Self::Leaf(right) }))
            }
            (Self::Branch(Some(branch)), [step, below @ ..]) => {
                Arc::make_mut(branch).insert(usize::from(*step), below, at, entry, last)
            }
            (Self::Branch(_), _) => {
                *self = Self::Leaf(Leaf::one(entry));
                None
            }
        }
    }

    /// Removes the entry at `place`.
    pub(super) fn remove(&mut self, place: &Path) -> Removed<K, V> {
        let mut removed = Removed { entry: None, keys: Vec::new() };
        self.remove_below(place.steps(), place.at(), &mut removed);
        while let Self::Branch(Some(root)) = self {
            match Arc::get_mut(root).filter(|root| root.links.len() == 1).and_then(|root| root.links.pop()) {
                Some(only) => *self = only.node,
                None => break,
            }
        }
        if self.width() == 0 {
            *self = Self::EMPTY;
        }
        removed
    }

    fn remove_below(&mut self, steps: &[u8], at: usize, removed: &mut Removed<K, V>) {
        match (self, steps) {
            (Self::Leaf(leaf), _) => removed.entry = leaf.remove(at),
            (Self::Branch(Some(branch)), [step, below @ ..]) => {
                Arc::make_mut(branch).remove(usize::from(*step), below, at, removed);
            }
            (Self::Branch(_), _) => {}
        }
    }

    /// Moves contents between two unshared neighbours until this one has a width of `target`. `key` is the
    /// lower bound of the right one, and `bound` its new lower bound if they are leaves. Returns the new
    /// lower bound (`None` if the right one is empty now) and a key that is no longer needed.
    fn divide(
        &mut self,
        right: &mut Self,
        target: usize,
        key: K,
        bound: Option<K>,
    ) -> (Option<K>, Option<K>) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                left.divide(right, target);
                (bound, Some(key))
            }
            (Self::Branch(Some(left)), Self::Branch(Some(right))) => {
                let (left, right) = (Arc::make_mut(left), Arc::make_mut(right));
                let mut keys = Vec::from_iter(left.keys.drain(..).chain([key]).chain(right.keys.drain(..)));
                let mut links = Vec::from_iter(left.links.drain(..).chain(right.links.drain(..)));
                right.keys.extend(keys.drain(target.min(keys.len())..));
                right.links.extend(links.drain(target..));
                let bound = if right.links.is_empty() { None } else { keys.pop() };
                left.keys.extend(keys);
                left.links.extend(links);
                left.recount();
                right.recount();
                (bound, None)
            }
            // All leaves are equally deep.
            _ => (None, Some(key)),
        }
    }

    /// The latest epoch of an entry, as recorded in its links.
    fn epoch(&self) -> u32 {
        match self {
            Self::Leaf(leaf) => leaf.epoch(),
            Self::Branch(branch) => {
                branch.iter().flat_map(|branch| &branch.links).map(|link| link.epoch).max().unwrap_or(0)
            }
        }
    }
}

/// How to treat a child that has lost an entry or a link.
#[derive(Clone, Copy)]
enum Remedy {
    /// It is wide enough.
    Keep,
    /// It is empty.
    Drop,
    /// It and its neighbour become one.
    Merge,
    /// It and its neighbour become equally wide.
    Level,
}

impl<K, V> Branch<K, V> {
    /// Called before the child loses anything.
    fn remedy(&self, step: usize, below: &[u8]) -> Remedy {
        let child = &self.links[step].node;
        if child.width() > WIDTH_MIN || !child.narrows(below) {
            return Remedy::Keep;
        }
        let width = child.width() - 1;
        if width == 0 {
            return Remedy::Drop;
        }
        match self.links.get(if step == 0 { 1 } else { step - 1 }) {
            None => Remedy::Keep,
            Some(neighbour) if width + neighbour.node.width() <= MERGE_MAX => Remedy::Merge,
            Some(_) => Remedy::Level,
        }
    }

    fn recount(&mut self) {
        self.len = self.links.iter().map(|link| link.node.len()).sum();
        let below: usize = self.links.iter().map(|link| link.node.bytes()).sum();
        self.bytes = size_of::<usize>() + size_of::<Self>() + below;
    }
}

impl<K: Clone, V: Clone> Branch<K, V> {
    fn insert(
        &mut self,
        step: usize,
        below: &[u8],
        at: usize,
        entry: Entry<K, V>,
        last: bool,
    ) -> Option<(K, Link<K, V>)> {
        let last = last && step + 1 == self.links.len();
        let epoch = entry.epoch;
        let link = &mut self.links[step];
        let bytes_before = link.node.bytes();
        let split = link.node.insert_below(below, at, entry, last);
        self.len += 1;
        self.bytes = self.bytes - bytes_before + link.node.bytes();
        let Some((key, right)) = split else {
            link.epoch = link.epoch.max(epoch);
            return None;
        };
        link.epoch = link.node.epoch();
        if self.links.len() < FANOUT {
            self.bytes += right.node.bytes();
            self.keys.insert(step, key);
            self.links.insert(step + 1, right);
            return None;
        }
        // A map that grows at its end leaves full nodes behind.
        let middle = if last { FANOUT - 1 } else { FANOUT / 2 };
        let mut half = Self {
            len: 0,
            bytes: 0,
            keys: self.keys.drain(middle..).collect(),
            links: self.links.drain(middle..).collect(),
        };
        let bound = self.keys.pop()?;
        match (step + 1).checked_sub(middle + 1) {
            None => {
                self.keys.insert(step, key);
                self.links.insert(step + 1, right);
            }
            Some(after) => {
                half.keys.insert(after, key);
                half.links.insert(after + 1, right);
            }
        }
        self.recount();
        half.recount();
        let node = Node::Branch(Some(Arc::new(half)));
        Some((bound, Link { epoch: node.epoch(), node }))
    }

    fn remove(&mut self, step: usize, below: &[u8], at: usize, removed: &mut Removed<K, V>) {
        let remedy = self.remedy(step, below);
        let seam = step.saturating_sub(1);
        let mut target = 0;
        let mut bound = None;
        if let (Remedy::Merge | Remedy::Level, [left, right, ..]) = (remedy, &mut self.links[seam..]) {
            let total = left.node.width() + right.node.width() - 1;
            target = if let Remedy::Level = remedy { total / 2 } else { total };
            if step == seam { &mut *right } else { &mut *left }.node.unshare();
            bound = match (&left.node, &right.node) {
                // The wider one has the entry that becomes the first of the right one.
                (Node::Leaf(left), Node::Leaf(_)) if step > seam => left.get(target),
                (Node::Leaf(left), Node::Leaf(right)) => right.get(target - (left.len() - 1)),
                _ => None,
            }
            .map(|entry| entry.0.clone());
        }
        let child = &mut self.links[step].node;
        let bytes_before = child.bytes();
        child.remove_below(below, at, removed);
        match remedy {
            Remedy::Keep => {
                self.len -= 1;
                self.bytes = self.bytes - bytes_before + child.bytes();
                return;
            }
            Remedy::Drop => {
                self.links.remove(step);
                removed.keys.extend(self.keys.pop_at(seam));
            }
            Remedy::Merge | Remedy::Level => {
                if let ([left, right, ..], Some(key)) = (&mut self.links[seam..], self.keys.pop_at(seam)) {
                    let (bound, unused) = left.node.divide(&mut right.node, target, key, bound);
                    removed.keys.extend(unused);
                    (left.epoch, right.epoch) = (left.node.epoch(), right.node.epoch());
                    match bound {
                        Some(bound) => self.keys.insert(seam, bound),
                        None => drop(self.links.pop_at(seam + 1)),
                    }
                }
            }
        }
        self.recount();
    }
}
