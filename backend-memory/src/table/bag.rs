//! Memory that the writer has given up and snapshots may still read.

use std::sync::{OnceLock, PoisonError};

use super::{
    Placement, TableKey, TableValue,
    group::Group,
    removal_log::Part,
    segment::Segment,
    slab::Slab,
    slot::OwnedValue,
    sync::{Arc, Mutex},
};

pub(super) enum Garbage<S: TableKey, V: TableValue, P: Placement<V>> {
    /// The memory of a segment, without the contents of its slots.
    Segment(Segment<S, V, P>),
    Value(OwnedValue<V>),
    Key(S),
    Log(Arc<Part<S>>),
    /// The contents of a dropped table.
    Estate(Estate<S, V, P>),
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Garbage<S, V, P> {
    /// # Safety
    ///
    /// No thread reads it any more, and segments come from `slab`.
    pub(super) unsafe fn free(self, slab: &Slab) {
        match self {
            // SAFETY: required of the caller.
            Self::Segment(segment) => unsafe { segment.free(slab) },
            Self::Value(value) => value.dispose::<P>(),
            Self::Key(key) => drop(key),
            Self::Log(part) => drop(part),
            Self::Estate(estate) => drop(estate),
        }
    }
}

/// The groups of a table, with their entries.
pub(super) struct Estate<S: TableKey, V: TableValue, P: Placement<V>> {
    pub(super) groups: Vec<Group<S, V, P>>,
    pub(super) slab: Arc<Slab>,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for Estate<S, V, P> {
    fn drop(&mut self) {
        for segment in self.groups.iter().flat_map(Group::segments) {
            // SAFETY: the table owned the entries and segments. It is dropped, like all snapshots that could
            // read them.
            unsafe {
                segment.drop_entries();
                segment.free(&self.slab);
            }
        }
    }
}

const BLOCK: usize = 512;

/// A stack that never moves its items. A push costs at most the allocation of one block.
pub(super) struct Pile<T>(Vec<Vec<T>>);

impl<T> Pile<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(item),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(item);
                self.0.push(block);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        loop {
            let block = self.0.last_mut()?;
            match block.pop() {
                Some(item) => return Some(item),
                None => self.0.pop(),
            };
        }
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

/// The garbage made while one snapshot was the newest.
///
/// A snapshot owns its bag, and a bag owns the next newer one. A bag therefore lives until its own snapshot
/// and all older ones have ended. These are all the snapshots that can see its garbage.
pub(super) struct Bag<S: TableKey, V: TableValue, P: Placement<V>> {
    garbage: Mutex<Pile<Garbage<S, V, P>>>,
    next: OnceLock<Arc<Self>>,
    slab: Arc<Slab>,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Bag<S, V, P> {
    pub(super) fn new(slab: Arc<Slab>, garbage: Pile<Garbage<S, V, P>>) -> Arc<Self> {
        Arc::new(Self { garbage: Mutex::new(garbage), next: OnceLock::new(), slab })
    }

    pub(super) fn push(&self, item: Garbage<S, V, P>) {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }

    pub(super) fn append(&self, items: Pile<Garbage<S, V, P>>) {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner).append(items);
    }

    /// Keeps `next` alive as long as this bag. Only the first call has an effect.
    pub(super) fn set_next(&self, next: &Arc<Self>) {
        let _ = self.next.set(next.clone());
    }

    pub(super) fn slab(&self) -> &Arc<Slab> {
        &self.slab
    }

    /// Releases one reference. The last one returns the garbage instead of freeing it.
    pub(super) fn release(this: Arc<Self>) -> Option<Pile<Garbage<S, V, P>>> {
        let mut bag = Arc::into_inner(this)?;
        let garbage = bag.garbage.get_mut().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::replace(garbage, Pile::new()))
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for Bag<S, V, P> {
    fn drop(&mut self) {
        // Follows the chain in a loop, since recursion over a long chain would overflow the stack.
        let mut next = self.next.take();
        while let Some(bag) = next {
            next = Arc::into_inner(bag).and_then(|mut bag| bag.next.take());
        }
        let garbage = self.garbage.get_mut().unwrap_or_else(PoisonError::into_inner);
        while let Some(item) = garbage.pop() {
            // SAFETY: all snapshots that could see it have ended.
            unsafe { item.free(&self.slab) };
        }
    }
}
