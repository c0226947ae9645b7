//! A block of slots that is copied, split and retired as a unit.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    marker::PhantomData,
    mem::needs_drop,
    ptr::NonNull,
};

use super::{
    Mode, Placement, TableKey, TableValue, prefetch_line,
    slab::Slab,
    slot::{Slot, Types},
    sync::taking,
};

/// Slots of the first segment of a group.
const SLOTS_MIN: usize = 16;
/// Bits of a tag that come from the hash. The top bit marks an occupied slot.
pub(super) const TAG_BITS: u32 = 31;
pub(super) const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
/// The tag of a slot whose entry was removed. Searches continue past it. A new entry or a rebuild reuses it.
/// A removal therefore writes to its slot only.
const VACATED: u32 = 1;
pub(super) const HEADER_SIZE: usize = size_of::<Header>();

#[repr(C, align(64))]
pub(super) struct Header {
    /// The epoch since which the memory is the writer's alone. No slot has a later one.
    pub(super) epoch: u32,
    /// Slots with a later epoch than this have their bit set in `dirty`.
    pub(super) dirty_since: u32,
    pub(super) slots: u16,
    /// Slots that are not empty, occupied or vacated.
    pub(super) len: u16,
    /// Number of leading tag bits that the directory uses to find this segment.
    pub(super) local_depth: u32,
    pub(super) dirty: [u64; 4],
}

impl Header {
    /// Most slots that may be in use, which keeps probes short.
    pub(super) fn room(&self) -> u16 {
        self.slots / 16 * 13
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= self.room()
    }

    #[inline]
    pub(super) fn set_dirty(&mut self, slot: usize) {
        self.dirty[slot >> 6 & 3] |= 1 << (slot & 63);
    }
}

/// A header and one empty slot, shared by the directories of all groups without entries. Never written to.
#[repr(C)]
struct Nothing {
    header: Header,
    slot: [u64; 8],
}

static NOTHING: Nothing = Nothing {
    header: Header { epoch: 0, dirty_since: 0, slots: 0, len: 0, local_depth: 0, dirty: [0; 4] },
    slot: [0; 8],
};

/// Address of a segment: a [`Header`] and a power of two of slots.
///
/// A plain pointer that owns nothing. Two rules hold for its unsafe methods:
///
/// - *Read access*: the segment has not been freed, and no other thread writes to it meanwhile.
/// - *Write access*: the segment has not been freed, and no other thread reads or writes it meanwhile.
pub(super) struct Segment<S, V, P> {
    at: NonNull<u8>,
    marker: Types<S, V, P>,
}

impl<S, V, P> Clone for Segment<S, V, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, V, P> Copy for Segment<S, V, P> {}

// SAFETY: what a segment contains can be sent and shared.
unsafe impl<S: Send + Sync, V: Send + Sync, P> Send for Segment<S, V, P> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync, V: Send + Sync, P> Sync for Segment<S, V, P> {}

impl<S, V, P> Segment<S, V, P> {
    /// The shared segment of groups without entries.
    pub(super) fn nothing() -> Self {
        Self { at: NonNull::from(&NOTHING).cast(), marker: PhantomData }
    }

    /// # Safety
    ///
    /// Requires read access for as long as the reference is used.
    #[inline]
    pub(super) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: a segment starts with its header.
        unsafe { self.at.cast().as_ref() }
    }

    #[inline]
    pub(super) fn address(self) -> *const u8 {
        self.at.as_ptr()
    }

    /// Prefetches the line of memory at an offset, if the segment has one there.
    #[inline]
    fn prefetch(self, offset: usize) {
        prefetch_line(self.address().wrapping_add(offset));
    }

    /// # Safety
    ///
    /// Requires write access for as long as the reference is used. Not for [`nothing`](Self::nothing).
    #[inline]
    pub(super) unsafe fn header_mut<'a>(self) -> &'a mut Header {
        // SAFETY: a segment starts with its header.
        unsafe { self.at.cast().as_mut() }
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Segment<S, V, P> {
    /// Slots of a segment of the full size.
    pub(super) const SLOTS: usize = match Slot::<S, V, P>::SIZE {
        0..=32 => 256,
        33..=64 => 128,
        _ => 64,
    };

    const fn layout(slots: usize) -> Layout {
        assert!(Slot::<S, V, P>::ALIGN <= align_of::<Header>());
        let size = (HEADER_SIZE + slots * Slot::<S, V, P>::SIZE).next_multiple_of(align_of::<Header>());
        match Layout::from_size_align(size, align_of::<Header>()) {
            Ok(layout) => layout,
            Err(_) => panic!("the slots are too large"),
        }
    }

    /// Layout of a segment of the full size.
    pub(super) const FULL: Layout = Self::layout(Self::SLOTS);

    /// Bytes of a segment of `slots` slots.
    pub(super) fn size(slots: usize) -> usize {
        Self::layout(slots).size()
    }

    /// Slots of the segment that replaces a full one of `slots` slots, or `None` if it must be split.
    pub(super) fn next_slots(slots: usize) -> Option<usize> {
        (slots < Self::SLOTS).then(|| (slots * 2).max(SLOTS_MIN))
    }

    /// Allocates a segment. The caller must [clear](Fresh::clear) it or [copy](Self::copy_to) into it before
    /// use.
    pub(super) fn allocate(slab: &Slab, slots: usize) -> Fresh<'_, S, V, P> {
        let (at, zeroed) = if slots == Self::SLOTS {
            slab.take()
        } else {
            let layout = Self::layout(slots);
            // SAFETY: the layout contains a header, so it is not empty.
            (NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout)), false)
        };
        let header =
            Header { epoch: 0, dirty_since: 0, slots: slots as u16, len: 0, local_depth: 0, dirty: [0; 4] };
        taking(at.as_ptr());
        // SAFETY: a block of that size, not shared yet.
        unsafe { at.cast().write(header) };
        Fresh { segment: Self { at, marker: PhantomData }, zeroed, slab }
    }

    /// Frees the memory of a segment, without dropping the contents of its slots.
    ///
    /// # Safety
    ///
    /// The segment was allocated from this `slab`, and is not used afterwards.
    pub(super) unsafe fn free(self, slab: &Slab) {
        taking(self.address());
        // SAFETY: the caller gives the segment up.
        let slots = usize::from(unsafe { self.header().slots });
        if slots == Self::SLOTS {
            slab.put(self.at);
        } else {
            // SAFETY: smaller segments come from the global allocator, with this layout.
            unsafe { dealloc(self.at.as_ptr(), Self::layout(slots)) };
        }
    }

    /// # Safety
    ///
    /// `index` is less than the number of slots. For [`nothing`](Self::nothing), 0 is allowed.
    #[inline(always)]
    pub(super) unsafe fn slot(self, index: usize) -> Slot<S, V, P> {
        // SAFETY: slots follow the header.
        unsafe { Slot::new(self.at.add(HEADER_SIZE + index * Slot::<S, V, P>::SIZE)) }
    }

    /// Returns the occupied slot with `tag` that `eq` accepts, or else the index of the free slot (empty or
    /// vacated) where such an entry belongs. For [`nothing`](Self::nothing) that index is meaningless.
    ///
    /// # Safety
    ///
    /// Requires read access. `mask` is the number of slots less one, or 0 for [`nothing`](Self::nothing).
    #[inline(always)]
    pub(super) unsafe fn find(
        self,
        mask: usize,
        tag: u32,
        mut eq: impl FnMut(&S) -> bool,
    ) -> Result<(usize, Slot<S, V, P>), usize> {
        let mut index = tag as usize & mask;
        let mut vacated = None;
        loop {
            // SAFETY: the index is masked, and the key is read from an occupied slot only.
            unsafe {
                let slot = self.slot(index);
                let found = slot.tag();
                if found == tag && eq(slot.key()) {
                    return Ok((index, slot));
                }
                if !is_occupied(found) {
                    // A segment is never full.
                    if found == 0 {
                        return Err(vacated.unwrap_or(index));
                    }
                    vacated = vacated.or(Some(index));
                }
            }
            index = (index + 1) & mask;
        }
    }

    /// Returns the index of the free slot where an entry with `tag` belongs.
    ///
    /// # Safety
    ///
    /// Requires read access. Not for [`nothing`](Self::nothing).
    #[inline]
    pub(super) unsafe fn vacancy(self, tag: u32) -> usize {
        // SAFETY: the index is masked, and a segment is never full.
        unsafe {
            let mask = usize::from(self.header().slots) - 1;
            let mut index = tag as usize & mask;
            while is_occupied(self.slot(index).tag()) {
                index = (index + 1) & mask;
            }
            index
        }
    }

    /// Adds an entry to the free slot at `index`, and marks it dirty.
    ///
    /// # Safety
    ///
    /// Requires write access. `index` comes from [`find`](Self::find) or [`vacancy`](Self::vacancy), and the
    /// segment has room or the slot is vacated.
    #[inline]
    pub(super) unsafe fn insert(self, index: usize, tag: u32, epoch: u32, key: S, value: V) {
        // SAFETY: required of the caller.
        unsafe {
            let slot = self.slot(index);
            let is_new = slot.tag() == 0;
            slot.fill(tag, epoch, key, value);
            let header = self.header_mut();
            header.len += u16::from(is_new);
            header.set_dirty(index);
        }
    }

    /// Copies an entry from another segment to where it belongs. `shared` is as for
    /// [`distribute`](Self::distribute).
    ///
    /// # Safety
    ///
    /// Requires read access to the slot and write access to `self`, which has room and no vacated slot.
    pub(super) unsafe fn adopt(self, slot: Slot<S, V, P>, shared: bool) {
        // SAFETY: required of the caller.
        unsafe {
            let index = self.vacancy(slot.tag());
            slot.transfer(shared, self.slot(index));
            let header = self.header_mut();
            header.len += 1;
            if slot.epoch() > header.dirty_since {
                header.set_dirty(index);
            }
        }
    }

    /// Vacates a slot whose key and value were moved out.
    ///
    /// # Safety
    ///
    /// Requires write access. The slot is occupied.
    #[inline]
    pub(super) unsafe fn vacate(self, index: usize) {
        // SAFETY: required of the caller.
        unsafe { self.slot(index).set_tag(VACATED) };
    }

    /// Moves the segment to `epoch`, in which it is the writer's alone. Clears dirty bits of changes up to
    /// `confirmed`.
    ///
    /// # Safety
    ///
    /// Requires write access.
    pub(super) unsafe fn enter(self, epoch: u32, confirmed: u32) {
        taking(self.address());
        // SAFETY: dirty bits are set for existing slots only.
        unsafe {
            let header = self.header_mut();
            let before = std::mem::replace(&mut header.epoch, epoch);
            if header.dirty_since >= confirmed {
                return;
            }
            header.dirty_since = confirmed;
            if before <= confirmed {
                header.dirty = [0; 4];
                return;
            }
            for (word, bits) in header.dirty.iter_mut().enumerate() {
                let mut rest = *bits;
                while rest != 0 {
                    let slot = self.slot(word * 64 + rest.trailing_zeros() as usize);
                    if !is_occupied(slot.tag()) || slot.epoch() <= confirmed {
                        *bits &= !(rest & rest.wrapping_neg());
                    }
                    rest &= rest - 1;
                }
            }
        }
    }

    /// Copies every entry to its place in `low`, or in `high` if its tag has `bit`. Both are empty.
    ///
    /// If `shared`, snapshots still read `self`, so values are copied as their placement allows. Otherwise
    /// `self` gives its entries up.
    ///
    /// # Safety
    ///
    /// Requires read access to `self`, and write access to `low` and `high`, which have room for all entries.
    pub(super) unsafe fn distribute(self, shared: bool, bit: u32, low: Self, high: Self) {
        // SAFETY: reads occupied slots, and writes each to a different empty slot.
        unsafe {
            let mut halves =
                [low, high].map(|half| (half, FreeSlots::none(usize::from(half.header().slots))));
            self.occupied().for_each(|slot| {
                let tag = slot.tag();
                let (half, taken) = &mut halves[usize::from(tag & bit != 0)];
                let place = taken.take(tag as usize);
                slot.transfer(shared, half.slot(place));
                let header = half.header_mut();
                header.len += 1;
                if slot.epoch() > header.dirty_since {
                    header.set_dirty(place);
                }
            });
        }
    }

    /// Copies all of `self`, which a snapshot reads, to `to`, which is empty and has the same size.
    ///
    /// # Safety
    ///
    /// Requires read access to `self` and write access to `to`.
    pub(super) unsafe fn copy_to(self, to: Self) {
        // SAFETY: the two do not overlap. The header is copied last, so `to` is consistent if a `Clone`
        // panics.
        unsafe {
            let header = self.header();
            let slots = usize::from(header.slots);
            if P::MODE == Mode::Plain {
                for index in 0..slots {
                    to.slot(index).set_tag(self.slot(index).tag());
                }
                for index in indices(self.occupancy()) {
                    self.slot(index).clone_to(to.slot(index));
                }
            } else {
                let size = slots * Slot::<S, V, P>::SIZE;
                self.at.add(HEADER_SIZE).copy_to_nonoverlapping(to.at.add(HEADER_SIZE), size);
            }
            self.at.cast::<Header>().copy_to_nonoverlapping(to.at.cast(), 1);
        }
    }

    /// Number of entries.
    ///
    /// # Safety
    ///
    /// Requires read access.
    pub(super) unsafe fn entries(self) -> u32 {
        // SAFETY: required of the caller.
        unsafe { self.occupancy() }.iter().map(|word| word.count_ones()).sum()
    }

    /// Bits in which the tag of some entry differs from `tag`.
    ///
    /// # Safety
    ///
    /// Requires read access.
    pub(super) unsafe fn tag_spread(self, tag: u32) -> u32 {
        // SAFETY: the indices are of existing slots.
        unsafe {
            (0..usize::from(self.header().slots))
                .map(|index| self.slot(index).tag())
                .filter(|&other| is_occupied(other))
                .fold(0, |spread, other| spread | (other ^ tag))
        }
    }

    /// One bit per slot, set if it is occupied. Computed without branches, which would be mispredicted.
    ///
    /// # Safety
    ///
    /// Requires read access.
    unsafe fn occupancy(self) -> [u64; 4] {
        let mut occupied = [0; 4];
        // SAFETY: the indices are of existing slots.
        unsafe {
            let slots = usize::from(self.header().slots);
            for (word, bits) in occupied.iter_mut().enumerate().take(slots.div_ceil(64)) {
                for bit in 0..slots.min(64) {
                    // The top bit of a tag marks an occupied slot.
                    *bits |= u64::from(self.slot(word * 64 + bit).tag() >> TAG_BITS) << bit;
                }
            }
        }
        occupied
    }

    /// The occupied slots.
    ///
    /// # Safety
    ///
    /// Requires read access for as long as the iterator and its items are used.
    pub(super) unsafe fn occupied(self) -> impl Iterator<Item = Slot<S, V, P>> {
        // SAFETY: required of the caller. The indices are of existing slots.
        unsafe { indices(self.occupancy()).map(move |index| self.slot(index)) }
    }

    /// The occupied slots from this index on, with their indices.
    ///
    /// # Safety
    ///
    /// As [`occupied`](Self::occupied).
    pub(super) unsafe fn occupied_from(self, first: usize) -> impl Iterator<Item = (usize, Slot<S, V, P>)> {
        // SAFETY: required of the caller.
        let slots = unsafe { usize::from(self.header().slots) };
        (first..slots).filter_map(move |index| {
            // SAFETY: required of the caller. The index is of an existing slot.
            let (slot, tag) = unsafe { (self.slot(index), self.slot(index).tag()) };
            // The top bit of a tag marks an occupied slot.
            (tag >> TAG_BITS != 0).then_some((index, slot))
        })
    }

    /// Calls `f` with the occupied slots until it fails. A plain loop, so that `f` is inlined. Prefetches
    /// `next` meanwhile, since a scan mostly waits for memory.
    ///
    /// # Safety
    ///
    /// Requires read access.
    #[inline]
    pub(super) unsafe fn try_each<E>(
        self,
        next: Option<Self>,
        mut f: impl FnMut(Slot<S, V, P>) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: required of the caller. The indices are of existing slots.
        unsafe {
            let part = Self::size(usize::from(self.header().slots)) / 4;
            for (word, mut rest) in self.occupancy().into_iter().enumerate() {
                if let Some(next) = next {
                    (word * part..(word + 1) * part).step_by(64).for_each(|at| next.prefetch(at));
                }
                while rest != 0 {
                    f(self.slot(word * 64 + rest.trailing_zeros() as usize))?;
                    rest &= rest - 1;
                }
            }
        }
        Ok(())
    }

    /// The occupied slots with a later epoch than `base`.
    ///
    /// # Safety
    ///
    /// Requires read access for as long as the iterator and its items are used.
    pub(super) unsafe fn changed(self, base: u32) -> impl Iterator<Item = Slot<S, V, P>> {
        // SAFETY: required of the caller.
        let header = unsafe { self.header() };
        let bits = if header.epoch <= base {
            [0; 4]
        } else if base < header.dirty_since {
            // The dirty bits start after `base`, so all slots are examined.
            // SAFETY: required of the caller.
            unsafe { self.occupancy() }
        } else {
            header.dirty
        };
        indices(bits).filter_map(move |index| {
            // SAFETY: bits are set for existing slots only, and the epoch is read from an occupied slot.
            unsafe {
                let slot = self.slot(index);
                (is_occupied(slot.tag()) && slot.epoch() > base).then_some(slot)
            }
        })
    }

    /// Drops the entries.
    ///
    /// # Safety
    ///
    /// Requires write access. The segment owns its entries, and is empty afterwards.
    pub(super) unsafe fn drop_entries(self) {
        if !needs_drop::<S>() && P::MODE == Mode::Plain {
            return;
        }
        // SAFETY: required of the caller. A slot is emptied before its key and value are dropped.
        unsafe {
            for slot in self.occupied() {
                slot.set_tag(0);
                let key = slot.take_key();
                drop(slot.take());
                drop(key);
            }
        }
    }
}

/// Bitmap of taken slots, which finds the next free slot without reading slots.
struct FreeSlots {
    words: [u64; 4],
    slots: usize,
}

impl FreeSlots {
    fn none(slots: usize) -> Self {
        // Slots beyond the end of a small segment count as taken.
        let beyond = if slots < 64 { !0 << slots } else { 0 };
        Self { words: [beyond; 4], slots }
    }

    /// Takes the first free slot for an entry with `tag`. There must be one.
    #[inline]
    fn take(&mut self, tag: usize) -> usize {
        let home = tag & (self.slots - 1);
        let mut word = home / 64 % 4;
        let mut free = !self.words[word] & (!0 << (home % 64));
        while free == 0 {
            word = (word + 1) * 64 % self.slots.next_multiple_of(64) / 64;
            free = !self.words[word];
        }
        self.words[word] |= free & free.wrapping_neg();
        word * 64 + free.trailing_zeros() as usize
    }
}

#[inline]
fn is_occupied(tag: u32) -> bool {
    tag > TAG_MASK
}

/// Indices of the set bits. Internal iteration (`for_each`) is fastest.
fn indices(bits: [u64; 4]) -> impl Iterator<Item = usize> {
    bits.into_iter().enumerate().flat_map(|(word, mut rest)| {
        std::iter::from_fn(move || {
            let index = (rest != 0).then(|| word * 64 + rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            index
        })
    })
}

/// A new segment. It is freed on drop unless [kept](Self::keep), since a `Clone` may panic while it is
/// filled.
pub(super) struct Fresh<'a, S: TableKey, V: TableValue, P: Placement<V>> {
    segment: Segment<S, V, P>,
    /// True if all slots are known to be zero.
    zeroed: bool,
    slab: &'a Slab,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Fresh<'_, S, V, P> {
    /// Makes it an empty segment.
    pub(super) fn clear(mut self, local_depth: u32, epoch: u32, dirty_since: u32) -> Self {
        let Segment { at, .. } = self.segment;
        // SAFETY: writes within the block, which is not shared yet. Zero is the tag of an empty slot.
        unsafe {
            let header = self.segment.header_mut();
            let slots = header.slots;
            // Memory fresh from the system is zero already, and stays untouched.
            if !std::mem::replace(&mut self.zeroed, true) {
                at.add(HEADER_SIZE).write_bytes(0, usize::from(slots) * Slot::<S, V, P>::SIZE);
            }
            *header = Header { epoch, dirty_since, slots, len: 0, local_depth, dirty: [0; 4] };
        }
        self
    }

    pub(super) fn segment(&self) -> Segment<S, V, P> {
        self.segment
    }

    pub(super) fn keep(self) -> Segment<S, V, P> {
        std::mem::ManuallyDrop::new(self).segment
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for Fresh<'_, S, V, P> {
    fn drop(&mut self) {
        // SAFETY: the segment is not shared yet.
        unsafe { self.segment.free(self.slab) };
    }
}
