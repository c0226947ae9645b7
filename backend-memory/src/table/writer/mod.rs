//! The less frequent steps of the writer: copying on write, and retiring what snapshots may still read.

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

/// Largest depth of a directory: 16 million segments in one group.
pub(super) const DEPTH_MAX: u32 = 24;
/// Pieces of garbage freed by each step.
const RELIEF: usize = 4;

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// True if a snapshot may still read something of `epoch` among the entries of `group` with this tag.
    pub(super) fn is_needed(&mut self, epoch: u32, group: usize, tag: u32) -> bool {
        if self.live.is_empty() {
            return false;
        }
        self.live.retain(|snapshot| !snapshot.progress.has_ended());
        self.live
            .iter()
            .any(|snapshot| epoch <= snapshot.epoch && !snapshot.progress.has_passed(group, tag & TAG_MASK))
    }

    /// True if a snapshot may still read the value of an entry of `epoch`.
    pub(super) fn is_value_needed(&mut self, epoch: u32, group: usize, tag: u32) -> bool {
        // Plain values were cloned with the segment.
        P::MODE != Mode::Plain && self.is_needed(epoch, group, tag)
    }

    /// Hands an item to the snapshots, or frees it if there are none.
    pub(super) fn retire(&mut self, item: Garbage<S, V, P>) {
        match self.bag.upgrade() {
            Some(bag) => {
                bag.push(item);
                if let Some(garbage) = Bag::release(bag) {
                    self.deferred.append(garbage);
                }
            }
            None => {
                // Pairs with the release of the bag: the snapshots' reads come before this.
                fence(Ordering::Acquire);
                // SAFETY: without a bag there are no snapshots.
                unsafe { item.free(&self.slab) }
            }
        }
    }

    /// Drops a value that left the table, now or once the snapshots that may read it have ended.
    #[inline]
    pub(super) fn discard(&mut self, value: OwnedValue<V>, shared: bool) {
        if shared {
            self.retire(Garbage::Value(value));
        } else {
            value.dispose::<P>();
        }
    }

    /// Frees a little of the deferred garbage.
    pub(super) fn relieve(&mut self) {
        for _ in 0..RELIEF {
            let Some(item) = self.deferred.pop() else { break };
            // SAFETY: the bag that held it was released by its last owner.
            unsafe { item.free(&self.slab) };
        }
    }

    /// Makes the segment of `tag` the writer's alone. It is not the shared empty segment.
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
            // SAFETY: only the writer writes to the old segment, and the copy is not shared yet.
            segment = unsafe {
                old.copy_to(copy.segment());
                copy.keep()
            };
            self.groups[group].replace(tag, local_depth, segment, segment);
            self.retire(Garbage::Segment(old));
        }
        // SAFETY: a copy owned by the writer, or a segment that no snapshot needs.
        unsafe { segment.enter(self.epoch, self.confirmed) };
        segment
    }

    /// Replaces the value of an occupied slot.
    #[inline]
    pub(super) fn replace(&mut self, group: usize, tag: u32, index: usize, slot: Slot<S, V, P>, value: V) {
        // SAFETY: the slot is occupied. A slot of the current epoch is the writer's alone, and the writer is
        // borrowed.
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
        // SAFETY: the segment belongs to the writer, and so does the value unless a snapshot needs it.
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

    /// Moves an occupied slot, whose value no snapshot needs, to the current epoch.
    #[cold]
    #[inline(never)]
    pub(super) fn renew(&mut self, group: usize, tag: u32, index: usize) -> Slot<S, V, P> {
        self.touch(group);
        let segment = self.own(group, tag);
        // SAFETY: the segment belongs to the writer, and the index is of an occupied slot.
        unsafe {
            let slot = segment.slot(index);
            slot.set_epoch(self.epoch);
            segment.header_mut().set_dirty(index);
            slot
        }
    }

    /// Retires a segment that has left the directory.
    pub(super) fn retire_segment(&mut self, segment: Segment<S, V, P>, shared: bool) {
        if shared {
            self.retire(Garbage::Segment(segment));
        } else {
            // SAFETY: neither the table nor a snapshot uses it any more.
            unsafe { segment.free(&self.slab) };
        }
    }
}
