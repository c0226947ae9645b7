//! The writer's rarer steps: copying on write and retiring what snapshots may still read.

mod insert;
mod remove;
mod shrink;
mod split;

use std::sync::atomic::Ordering;

use super::{
    Mode, Placement, Table, TableKey, TableValue,
    bag::{Bag, Garbage},
    segment::{Segment, TAG_MASK},
    slot::{OwnedValue, Slot},
    sync::fence,
};

/// Deepest directory: 16 million segments in one group.
pub(super) const DEPTH_MAX: u32 = 24;
/// Pieces of garbage that one of these steps frees on the side.
const RELIEF: usize = 4;

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// True if a snapshot may still read, among the entries of `group` with this tag, what is of `epoch`.
    pub(super) fn is_needed(&mut self, epoch: u32, group: usize, tag: u32) -> bool {
        if self.live.is_empty() {
            return false;
        }
        self.live.retain(|snapshot| !snapshot.progress.has_ended());
        self.live
            .iter()
            .any(|snapshot| epoch <= snapshot.epoch && !snapshot.progress.has_passed(group, tag & TAG_MASK))
    }

    /// True if a snapshot may still read the value itself of an entry of `epoch`.
    pub(super) fn is_value_needed(&mut self, epoch: u32, group: usize, tag: u32) -> bool {
        // A plain value has been cloned with its segment.
        P::MODE != Mode::Plain && self.is_needed(epoch, group, tag)
    }

    /// Leaves something to the snapshots.
    pub(super) fn retire(&mut self, item: Garbage<S, V, P>) {
        match self.bag.upgrade() {
            Some(bag) => {
                bag.push(item);
                if let Some(garbage) = Bag::release(bag) {
                    self.deferred.append(garbage);
                }
            }
            None => {
                // What snapshots have read, they have read before the last of them let go of the bag.
                fence(Ordering::Acquire);
                // SAFETY: without a bag there are no snapshots.
                unsafe { item.free(&self.slab) }
            }
        }
    }

    /// Drops a value that has left the table, now or when the snapshots that may read it have ended.
    #[inline]
    pub(super) fn discard(&mut self, value: OwnedValue<V>, shared: bool) {
        if shared {
            self.retire(Garbage::Value(value));
        } else {
            value.dispose::<P>();
        }
    }

    /// Frees a little of what has piled up.
    pub(super) fn relieve(&mut self) {
        for _ in 0..RELIEF {
            let Some(item) = self.deferred.pop() else { break };
            // SAFETY: it was in a bag that nobody had any more.
            unsafe { item.free(&self.slab) };
        }
    }

    /// Makes the segment of `tag`, which has entries or room for them, the writer's alone.
    #[inline]
    pub(super) fn own(&mut self, group: usize, tag: u32) -> Segment<S, V, P> {
        let (segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments.
        if unsafe { segment.header() }.epoch == self.epoch { segment } else { self.make_own(group, tag) }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn make_own(&mut self, group: usize, tag: u32) -> Segment<S, V, P> {
        let (old, mask) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments.
        let (epoch, local_depth) = unsafe { (old.header().epoch, old.header().local_depth) };
        self.relieve();
        let mut segment = old;
        if self.is_needed(epoch, group, tag) {
            let copy = Segment::allocate(&self.slab, mask + 1);
            // SAFETY: nobody else writes to the old segment, or knows the copy.
            segment = unsafe {
                old.copy_to(copy.segment());
                copy.keep()
            };
            self.groups[group].replace(tag, local_depth, segment, segment);
            self.retire(Garbage::Segment(old));
        }
        // SAFETY: a copy of ours, or what no snapshot needs any more.
        unsafe { segment.enter(self.epoch, self.confirmed) };
        segment
    }

    /// Replaces the value of an occupied slot.
    #[inline]
    pub(super) fn replace(&mut self, group: usize, tag: u32, index: usize, slot: Slot<S, V, P>, value: V) {
        // SAFETY: the slot is occupied; in the current epoch it is the writer's alone, which is borrowed.
        unsafe {
            if slot.epoch() >= self.epoch {
                P::dispose(std::mem::replace(slot.value_place().as_mut(), value));
                return;
            }
        }
        self.replace_shared(group, tag, index, value);
    }

    #[cold]
    #[inline(never)]
    fn replace_shared(&mut self, group: usize, tag: u32, index: usize, value: V) {
        self.touch(group);
        let segment = self.own(group, tag);
        // SAFETY: the segment is the writer's; the value too, unless a snapshot needs it.
        let (old, shared) = unsafe {
            let slot = segment.slot(index);
            let shared = self.is_value_needed(slot.epoch(), group, tag);
            let old = if shared {
                let old = slot.take();
                slot.put(value);
                old
            } else {
                OwnedValue::Inline(std::mem::replace(slot.value_place().as_mut(), value))
            };
            slot.set_epoch(self.epoch);
            segment.header_mut().set_dirty(index);
            (old, shared)
        };
        self.discard(old, shared);
    }

    /// Makes an occupied slot whose value no snapshot needs one of the current epoch.
    #[cold]
    #[inline(never)]
    pub(super) fn renew(&mut self, group: usize, tag: u32, index: usize) -> Slot<S, V, P> {
        self.touch(group);
        let segment = self.own(group, tag);
        // SAFETY: the segment is the writer's, and the index that of an occupied slot.
        unsafe {
            let slot = segment.slot(index);
            slot.set_epoch(self.epoch);
            segment.header_mut().set_dirty(index);
            slot
        }
    }

    /// Parts with a segment that is not in the directory any more.
    pub(super) fn retire_segment(&mut self, segment: Segment<S, V, P>, shared: bool) {
        if shared {
            self.retire(Garbage::Segment(segment));
        } else {
            // SAFETY: neither the table nor a snapshot will use it.
            unsafe { segment.free(&self.slab) };
        }
    }
}
