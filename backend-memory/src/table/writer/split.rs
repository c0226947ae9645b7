//! Replacing a segment by a larger one, or by two.

use crate::table::{
    Placement, Table, TableKey, TableValue,
    segment::{Segment, TAG_BITS},
    writer::DEPTH_MAX,
};

/// Largest directory of a group with few segments. Others may have a quarter of it per segment.
const SPARSE: usize = 64;

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Replaces a segment by one of `slots` slots without vacated ones. Only the sole segment of a group may
    /// change its size.
    pub(in crate::table) fn rebuild(&mut self, group: usize, tag: u32, old: Segment<S, V, P>, slots: usize) {
        // SAFETY: the writer reads its own segments.
        let (epoch, local_depth, old_slots) = unsafe {
            let header = old.header();
            (header.epoch, header.local_depth, usize::from(header.slots))
        };
        let shared = self.is_needed(epoch, group, tag);
        let new = Segment::allocate(&self.slab, slots).clear(local_depth, self.epoch, self.confirmed);
        // SAFETY: the new segment is empty and not smaller.
        let new = unsafe {
            old.distribute(shared, 0, new.segment(), new.segment());
            new.keep()
        };
        let entries = &mut self.groups[group];
        self.bytes -= entries.directory_size();
        entries.mask = slots - 1;
        entries.replace(tag, local_depth, new, new);
        self.bytes += entries.directory_size() + Segment::<S, V, P>::size(slots);
        if old_slots == 0 {
            entries.segments = 1;
            self.segments += 1;
        } else {
            self.bytes -= Segment::<S, V, P>::size(old_slots);
            self.retire_segment(old, shared);
        }
    }

    /// Splits a full segment by the next bit of the tags. Returns false if the tags are too much alike.
    pub(super) fn split(&mut self, group: usize, tag: u32, old: Segment<S, V, P>) -> bool {
        // SAFETY: the writer reads its own segments.
        let (epoch, local_depth, spread) =
            unsafe { (old.header().epoch, old.header().local_depth, old.tag_spread(tag)) };
        let entries = &self.groups[group];
        // Chosen tags can agree in many bits, and each would double the directory.
        let is_sparse = entries.directory.len() >= SPARSE.max(SPARSE / 4 * entries.segments);
        if spread >> (TAG_BITS - DEPTH_MAX) == 0 || (local_depth == entries.depth && is_sparse) {
            return false;
        }
        let shared = self.is_needed(epoch, group, tag);
        let half = || {
            let half = Segment::allocate(&self.slab, Segment::<S, V, P>::SLOTS);
            half.clear(local_depth + 1, self.epoch, self.confirmed)
        };
        let (low, high) = (half(), half());
        // SAFETY: both are empty, and each has room for all entries.
        let (low, high) = unsafe {
            old.distribute(shared, 1 << (TAG_BITS - 1 - local_depth), low.segment(), high.segment());
            (low.keep(), high.keep())
        };
        let entries = &mut self.groups[group];
        self.bytes -= entries.directory_size();
        if local_depth == entries.depth {
            entries.deepen();
        }
        entries.replace(tag, local_depth, low, high);
        entries.segments += 1;
        self.segments += 1;
        self.bytes += entries.directory_size() + Segment::<S, V, P>::FULL.size();
        self.retire_segment(old, shared);
        true
    }
}
