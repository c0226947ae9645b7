//! Freeing segments after removals.

use crate::table::{
    Mode, Placement, Table, TableKey, TableValue,
    filling::Shape,
    group::{Group, directory_index},
    segment::{Fresh, Segment, TAG_BITS},
};

/// A group shrinks when it has one entry for this many slots.
const SLOTS_PER_ENTRY: usize = 4;

/// Groups with fewer slots never shrink.
const SLOTS_MIN: usize = 64;

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Frees memory of a group that has lost an entry, if little of it is in use.
    #[inline]
    pub(super) fn reclaim(&mut self, group: usize) {
        let Group { len, mask, segments, .. } = self.groups[group];
        let slots = segments * (mask + 1);
        // Each of these counts is passed once on the way down, so a group that cannot shrink is not tried
        // again and again.
        let is_sparse = [1, 2, 4].iter().any(|times| len * SLOTS_PER_ENTRY * times == slots);
        if len == 0 || (is_sparse && slots > SLOTS_MIN) {
            self.shrink(group);
        }
    }

    /// Moves the entries of a group into as few segments as they need.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self, group: usize) {
        let old = self.shared_segments(group);
        if P::MODE == Mode::Plain && self.groups[group].len > 0 && old.iter().any(|(_, shared)| *shared) {
            // Values would be cloned. A `Clone` that panics here would report a removal that has already
            // happened.
            return;
        }
        let Shape { slots, depth } = Shape::of::<S, V, P>(self.groups[group].len);
        let count = if slots == 0 { 0 } else { 1 << depth };
        let slab = self.slab.clone();
        let new = || Segment::allocate(&slab, slots).clear(depth, self.epoch, self.confirmed);
        let new: Vec<Fresh<'_, S, V, P>> = (0..count).map(|_| new()).collect();
        for (segment, shared) in &old {
            // SAFETY: the writer reads its own segments. The new ones are empty and not shared yet.
            unsafe {
                for slot in segment.occupied() {
                    let to = new[directory_index(slot.tag(), depth)].segment();
                    if to.header().is_full() {
                        // Too many tags are alike. So far only copies were made, which are discarded.
                        return;
                    }
                    to.adopt(slot, *shared);
                }
            }
        }
        let directory = match count {
            0 => self.nothing.clone(),
            _ => new.into_iter().map(Fresh::keep).collect(),
        };
        let entries = &mut self.groups[group];
        (self.bytes, self.segments) =
            (self.bytes - Self::group_bytes(entries), self.segments - entries.segments);
        (entries.directory, entries.depth, entries.segments) = (directory, depth, count);
        entries.mask = slots.saturating_sub(1);
        if count == 0 {
            entries.rehashed = 0;
        }
        (self.bytes, self.segments) = (self.bytes + Self::group_bytes(entries), self.segments + count);
        for (segment, shared) in old {
            self.retire_segment(segment, shared);
        }
    }

    /// The segments of a group, each with true if a snapshot may still read it.
    fn shared_segments(&mut self, group: usize) -> Vec<(Segment<S, V, P>, bool)> {
        let Group { depth, .. } = self.groups[group];
        let mut segments: Vec<_> = self.groups[group].segments().map(|segment| (segment, false)).collect();
        let mut index = 0;
        for (segment, shared) in &mut segments {
            // SAFETY: the writer reads its own segments.
            let (epoch, local_depth) = unsafe { (segment.header().epoch, segment.header().local_depth) };
            *shared = self.is_needed(epoch, group, index << (TAG_BITS - depth));
            index += 1 << (depth - local_depth);
        }
        segments
    }
}
