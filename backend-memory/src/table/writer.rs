//! The writer's rarer steps: copying on write, making room, giving up.

use std::mem::needs_drop;
use std::sync::atomic::Ordering;

use backend_api::{Error, ErrorKind, Result};

use super::{
    Mode, Placement, Table, TableKey, TableValue,
    bag::{Bag, Garbage},
    segment::{Segment, TAG_BITS, TAG_MASK},
    slot::{Held, Slot},
    sync::fence,
};

/// Deepest directory: 16 million segments in one group.
pub(super) const DEPTH_MAX: u32 = 24;
/// Pieces of garbage that one of these steps frees on the side.
const RELIEF: usize = 4;

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Whether a snapshot may still read, among the entries of `group` with this tag, what is of `epoch`.
    pub(super) fn is_needed(&mut self, epoch: u32, group: usize, tag: u32) -> bool {
        if self.live.is_empty() {
            return false;
        }
        self.live.retain(|snapshot| !snapshot.progress.has_ended());
        self.live
            .iter()
            .any(|snapshot| epoch <= snapshot.epoch && !snapshot.progress.has_passed(group, tag & TAG_MASK))
    }

    /// Whether a snapshot may still read the value itself of an entry of `epoch`.
    pub(super) fn is_value_needed(&mut self, epoch: u32, group: usize, tag: u32) -> bool {
        // A plain value has been cloned with its segment.
        P::MODE != Mode::Plain && self.is_needed(epoch, group, tag)
    }

    /// Leaves something to the snapshots.
    fn retire(&mut self, item: Garbage<S, V, P>) {
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
    pub(super) fn discard(&mut self, value: Held<V>, shared: bool) {
        if shared {
            self.retire(Garbage::Value(value));
        } else {
            value.dispose::<P>();
        }
    }

    /// Frees a little of what has piled up.
    fn relieve(&mut self) {
        for _ in 0..RELIEF {
            let Some(item) = self.deferred.pop() else { break };
            // SAFETY: it was in a bag that nobody had any more.
            unsafe { item.free(&self.slab) };
        }
    }

    /// Makes the segment of `tag`, which has entries or room for them, the writer's alone.
    #[inline]
    fn own(&mut self, group: usize, tag: u32) -> Segment<S, V, P> {
        let (segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments.
        if unsafe { segment.header() }.epoch == self.epoch { segment } else { self.make_own(group, tag) }
    }

    #[cold]
    #[inline(never)]
    fn make_own(&mut self, group: usize, tag: u32) -> Segment<S, V, P> {
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
            if slot.epoch() == self.epoch {
                P::dispose(std::mem::replace(slot.value_place().as_mut(), value));
                return;
            }
        }
        self.replace_shared(group, tag, index, value);
    }

    #[cold]
    #[inline(never)]
    fn replace_shared(&mut self, group: usize, tag: u32, index: usize, value: V) {
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
                Held::Inline(std::mem::replace(slot.value_place().as_mut(), value))
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
        let segment = self.own(group, tag);
        // SAFETY: the segment is the writer's, and the index that of an occupied slot.
        unsafe {
            let slot = segment.slot(index);
            slot.set_epoch(self.epoch);
            segment.header_mut().set_dirty(index);
            slot
        }
    }

    /// Adds an entry whose key is new; `vacancy` is where the search for it ended.
    #[inline]
    pub(super) fn insert(
        &mut self,
        group: usize,
        tag: u32,
        mut vacancy: usize,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        let (mut segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments.
        let (header, is_empty) = unsafe { (segment.header(), segment.slot(vacancy).tag() == 0) };
        if is_empty && header.is_full() {
            segment = self.make_room(group, tag)?;
            // SAFETY: the writer's segment.
            vacancy = unsafe { segment.vacancy(tag) };
        } else if header.epoch != self.epoch {
            segment = self.make_own(group, tag);
        }
        let key = key();
        // SAFETY: the writer's segment, with room or a vacated slot.
        unsafe { segment.insert(vacancy, tag, self.epoch, key, value) };
        self.groups[group].len += 1;
        self.len += 1;
        Ok(())
    }

    /// Takes an entry out. Returns its value, and whether a snapshot may still read that.
    pub(super) fn remove_at(&mut self, group: usize, tag: u32, index: usize) -> (Held<V>, bool) {
        let (mut segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments, and the index is that of an occupied slot.
        let epoch = unsafe { segment.slot(index).epoch() };
        // In the current epoch the slot is the writer's alone, and so are all if there are no snapshots: then the header
        // need not be waited for.
        if epoch != self.epoch && !self.live.is_empty() {
            segment = self.own(group, tag);
        }
        // SAFETY: as above.
        let slot = unsafe { segment.slot(index) };
        // SAFETY: as above.
        let logged = self.tracks_removals.then(|| unsafe { slot.key() }.clone());
        let shared = self.is_value_needed(epoch, group, tag);
        // A key may be older than the epoch of its slot.
        let key_shared = needs_drop::<S>() && self.is_needed(0, group, tag);
        // SAFETY: the slot is the writer's; what is taken does not count any more when the slot is vacated.
        let (key, value) = unsafe {
            let taken = (slot.take_key(), slot.take());
            segment.vacate(index);
            taken
        };
        self.len -= 1;
        let entries = &mut self.groups[group];
        entries.len -= 1;
        if let Some(key) = logged {
            entries.removals.log(key, self.epoch, entries.len);
        }
        if key_shared {
            self.retire(Garbage::Key(key));
        }
        (value, shared)
    }

    /// The segment for an entry with `tag`, the writer's and with room for it.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, group: usize, tag: u32) -> Result<Segment<S, V, P>> {
        loop {
            let (segment, _) = self.groups[group].segment(tag);
            // SAFETY: the writer reads its own segments.
            let header = unsafe { segment.header() };
            if !header.is_full() {
                return Ok(self.own(group, tag));
            }
            self.relieve();
            let slots = usize::from(header.slots);
            // SAFETY: as above.
            let (room, entries) = unsafe { (u32::from(header.room()), segment.entries()) };
            // An eighth of the room is worth a new segment. So entries that come and go do not make one split that has room
            // for them.
            if entries * 8 < room * 7 {
                self.rebuild(group, tag, segment, slots);
            } else if let Some(next) = Segment::<S, V, P>::next_slots(slots) {
                self.rebuild(group, tag, segment, next);
            } else if !self.split(group, tag, segment) {
                if entries >= room {
                    return Err(Error::new(ErrorKind::Size, "too many keys with one hash"));
                }
                self.rebuild(group, tag, segment, slots);
            }
        }
    }

    /// Replaces a segment by one of so many slots, none of them vacated: more only if it is the group's one segment.
    pub(super) fn rebuild(&mut self, group: usize, tag: u32, old: Segment<S, V, P>, slots: usize) {
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
        } else {
            self.bytes -= Segment::<S, V, P>::size(old_slots);
            self.give_up(old, shared);
        }
    }

    /// Divides a full segment by the next bit of the tags, unless they are alike.
    fn split(&mut self, group: usize, tag: u32, old: Segment<S, V, P>) -> bool {
        // SAFETY: the writer reads its own segments.
        let (epoch, local_depth, spread) =
            unsafe { (old.header().epoch, old.header().local_depth, old.tag_spread(tag)) };
        if spread >> (TAG_BITS - DEPTH_MAX) == 0 {
            return false;
        }
        let shared = self.is_needed(epoch, group, tag);
        let half = || {
            let half = Segment::allocate(&self.slab, Segment::<S, V, P>::SLOTS);
            half.clear(local_depth + 1, self.epoch, self.confirmed)
        };
        let (low, high) = (half(), half());
        // SAFETY: the two are empty, and each has room for all.
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
        self.bytes += entries.directory_size() + Segment::<S, V, P>::FULL.size();
        self.give_up(old, shared);
        true
    }

    /// Parts with a segment that is not in the directory any more.
    fn give_up(&mut self, segment: Segment<S, V, P>, shared: bool) {
        if shared {
            self.retire(Garbage::Segment(segment));
        } else {
            // SAFETY: neither the table nor a snapshot will use it.
            unsafe { segment.free(&self.slab) };
        }
    }
}
