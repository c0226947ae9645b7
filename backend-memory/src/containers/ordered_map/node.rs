//! The B+tree: nodes, the way to a key, and changes along it.
//!
//! A change has two halves. The first may call the user's code (`Ord`, `Clone`) and alters nothing that can
//! be seen: it finds the place, clones the shared nodes on the way, and clones the keys it will need. The
//! second only moves.

use arrayvec::ArrayVec;
use triomphe::Arc;

use crate::prefetch::prefetch;

use super::leaf::{Entry, LEAF_MAX, Leaf, rank};

/// Links of a branch at most.
const FANOUT: usize = 32;
const KEYS: usize = FANOUT - 1;

/// Nodes but the root and the last of each level are no narrower. The last ones are exempt because a map
/// that grows at its end leaves full nodes behind instead of halves.
pub(super) const WIDTH_MIN: usize = 8;

/// Neighbours are merged if they are no wider together; below `FANOUT`, so that the next insertion does not
/// split them again.
const MERGE_MAX: usize = 24;

/// Bytes of a branch that are fetched ahead.
const PREFETCHED: usize = 256;

/// Branches above a leaf at most: a first child has 8 nodes at least, so 2^63 entries lie 21 branches deep.
const DEPTH_MAX: usize = 24;

#[derive(Clone)]
pub(super) enum Node<K, V> {
    Leaf(Leaf<K, V>),
    /// `None`, and only as the root, for the empty map. It lies in the niche that makes a node two words.
    Branch(Option<Arc<Branch<K, V>>>),
}

const _: () = assert!(size_of::<Node<u64, u64>>() == 2 * size_of::<usize>());

/// An inner node: `links[i + 1]` leads to the keys from `keys[i]` on.
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
    /// No entry below was written in a later epoch.
    pub(super) epoch: u32,
}

/// The way to an entry, or to where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Path {
    steps: [u8; DEPTH_MAX],
    depth: u8,
    /// Position in the leaf.
    at: u8,
}

impl Path {
    /// Which link to take, branch by branch.
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

/// What a removal leaves to be dropped when the map is whole again.
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

    /// Lets the node be fetched, without waiting for it.
    pub(super) fn prefetch(&self) {
        match self {
            Self::Leaf(leaf) => leaf.prefetch(),
            Self::Branch(Some(branch)) => prefetch(Arc::as_ptr(branch), PREFETCHED),
            Self::Branch(None) => {}
        }
    }

    /// True if this node is one map's alone, and most of those right below it are.
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

    /// Entries of a leaf, links of a branch.
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

    /// The entry at `place`.
    pub(super) fn entry(&self, place: &Path) -> Option<&(K, V)> {
        self.leaf(place)?.get(place.at())
    }

    /// True if this branch gives way to a leaf when it loses the entry at `place`.
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

    /// Goes from the leaf at `place` to the next one.
    pub(super) fn next_leaf(&self, place: &mut Path) -> Option<&Leaf<K, V>> {
        self.turn(place, |step| step + 1, |_| 0)
    }

    /// Goes from the leaf at `place` to the one before.
    pub(super) fn previous_leaf(&self, place: &mut Path) -> Option<&Leaf<K, V>> {
        self.turn(place, |step| step.wrapping_sub(1), |width| width.saturating_sub(1))
    }

    /// Takes another link at the lowest branch that has it, and below that the outermost ones.
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

    /// True if this node gets narrower when the leaf at the end of `steps` loses an entry.
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
    /// The entry of `key`. Leaves the way to it, or to where it belongs, in `place`, which comes as
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

    /// The place of `key`, or where it belongs; the place after it if `after`.
    pub(super) fn place(&self, key: &K, after: bool) -> Path {
        let mut place = Path::START;
        let present = self.find(key, &mut place).is_some();
        place.at += u8::from(after && present);
        place
    }
}

impl<K: Clone, V: Clone> Node<K, V> {
    /// Clones what the node holds itself, if it is shared.
    fn unshare(&mut self) {
        match self {
            Self::Leaf(leaf) => leaf.unshare(),
            Self::Branch(branch) => {
                branch.as_mut().map(Arc::make_mut);
            }
        }
    }

    /// Writes the value at `place`; returns the old one.
    pub(super) fn replace(&mut self, place: &Path, value: V, epoch: u32) -> Option<V> {
        let mut node = self;
        for &step in place.steps() {
            let Self::Branch(Some(branch)) = node else { return None };
            let link = Arc::make_mut(branch).links.get_mut(usize::from(step))?;
            // Too late an epoch for the subtree, should a clone below panic, is allowed.
            link.epoch = link.epoch.max(epoch);
            node = &mut link.node;
        }
        match node {
            Self::Leaf(leaf) => leaf.replace(place.at(), value, epoch),
            Self::Branch(_) => None,
        }
    }

    /// Inserts an entry that is absent at its place in this tree.
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

    /// Returns the right half, with its lower bound, if the node had to be split. `last` tells whether it is
    /// the last one of its level.
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

    /// Takes out the entry at `place`.
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

    /// Divides what two neighbours, both unshared, hold so that this one has `target` of it. `key` is the
    /// lower bound of the right one; `bound` is to be it if they are leaves. Returns the new lower bound,
    /// which is none if the right one got nothing, and a key that has no place any more.
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

    /// The latest epoch of an entry, as its links know it.
    fn epoch(&self) -> u32 {
        match self {
            Self::Leaf(leaf) => leaf.epoch(),
            Self::Branch(branch) => {
                branch.iter().flat_map(|branch| &branch.links).map(|link| link.epoch).max().unwrap_or(0)
            }
        }
    }
}

/// What is done about a child that has lost an entry or a link.
#[derive(Clone, Copy)]
enum Remedy {
    /// Nothing: it is wide enough.
    Keep,
    /// It is empty and goes.
    Drop,
    /// It and its neighbour become one.
    Merge,
    /// Both become equally wide.
    Level,
}

impl<K, V> Branch<K, V> {
    /// The child has not lost anything yet.
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
                // The wide one has the entry that will be the right one's first.
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
