//! A segment: a block of slots that is copied, split and retired as one.

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
/// Bits of a tag that tell keys apart; the top bit tells that the slot is occupied.
pub(super) const TAG_BITS: u32 = 31;
pub(super) const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
/// The tag of a slot whose entry was removed. Searches go past it, until a new entry takes it or the segment is rebuilt: so
/// a removal needs nothing but its slot.
const VACATED: u32 = 1;
pub(super) const HEADER_SIZE: usize = size_of::<Header>();

#[repr(C, align(64))]
pub(super) struct Header {
    /// The epoch in which the memory became the writer's alone; none of its slots has a later one.
    pub(super) epoch: u32,
    /// A slot of a later epoch than this has its bit in `dirty`.
    pub(super) dirty_since: u32,
    pub(super) slots: u16,
    /// Slots that are not empty: those of entries, and vacated ones.
    pub(super) len: u16,
    /// Leading bits that the tags of all entries have in common, as far as the directory is concerned.
    pub(super) local_depth: u32,
    pub(super) dirty: [u64; 4],
}

impl Header {
    /// Most slots that may be in use so that probes stay short.
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

/// A header and one empty slot: what the directory of a group without entries points to. Never written to.
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
/// A plain pointer, which owns nothing. Every accessor requires that the segment has not been freed. Reading
/// requires that nobody writes to the segment meanwhile, writing that nobody else reads or writes it.
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

// SAFETY: what can be reached through a segment may be sent and shared.
unsafe impl<S: Send + Sync, V: Send + Sync, P> Send for Segment<S, V, P> {}
// SAFETY: as above.
unsafe impl<S: Send + Sync, V: Send + Sync, P> Sync for Segment<S, V, P> {}

impl<S, V, P> Segment<S, V, P> {
    /// The segment without slots to fill.
    pub(super) fn nothing() -> Self {
        Self { at: NonNull::from(&NOTHING).cast(), marker: PhantomData }
    }

    /// # Safety
    ///
    /// As the type says, for as long as the reference is used.
    #[inline]
    pub(super) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: a segment starts with its header.
        unsafe { self.at.cast().as_ref() }
    }

    /// Where its header is.
    #[inline]
    pub(super) fn address(self) -> *const u8 {
        self.at.as_ptr()
    }

    /// Lets the line of memory at an offset be fetched, if there is one.
    #[inline]
    fn prefetch(self, offset: usize) {
        prefetch_line(self.address().wrapping_add(offset));
    }

    /// # Safety
    ///
    /// As the type says, for as long as the reference is used; not for the segment of nothing.
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

    /// Slots of the segment that takes over from one of `slots`, if one can.
    pub(super) fn next_slots(slots: usize) -> Option<usize> {
        (slots < Self::SLOTS).then(|| (slots * 2).max(SLOTS_MIN))
    }

    /// A segment of the caller's own, to be [cleared](Fresh::clear) or [copied to](Self::copy_to) before use.
    pub(super) fn allocate(slab: &Slab, slots: usize) -> Fresh<'_, S, V, P> {
        let (at, zeroed) = if slots == Self::SLOTS {
            slab.take()
        } else {
            let layout = Self::layout(slots);
            // SAFETY: a header is not empty.
            (NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout)), false)
        };
        let header =
            Header { epoch: 0, dirty_since: 0, slots: slots as u16, len: 0, local_depth: 0, dirty: [0; 4] };
        taking(at.as_ptr());
        // SAFETY: a block of that size, ours alone.
        unsafe { at.cast().write(header) };
        Fresh { segment: Self { at, marker: PhantomData }, zeroed, slab }
    }

    /// Frees the memory of a segment, not what its slots hold.
    ///
    /// # Safety
    ///
    /// `allocate` made it with this `slab`, and nobody uses it any more.
    pub(super) unsafe fn free(self, slab: &Slab) {
        taking(self.address());
        // SAFETY: it is the caller's alone.
        let slots = usize::from(unsafe { self.header().slots });
        if slots == Self::SLOTS {
            slab.put(self.at);
        } else {
            // SAFETY: smaller ones are from the global allocator, with this layout.
            unsafe { dealloc(self.at.as_ptr(), Self::layout(slots)) };
        }
    }

    /// # Safety
    ///
    /// `index` is less than the number of slots (for the segment of nothing, 0 is allowed).
    #[inline(always)]
    pub(super) unsafe fn slot(self, index: usize) -> Slot<S, V, P> {
        // SAFETY: slots follow the header.
        unsafe { Slot::new(self.at.add(HEADER_SIZE + index * Slot::<S, V, P>::SIZE)) }
    }

    /// The slot that holds the entry with `tag` that `eq` accepts, or else the index of the free one in which it belongs:
    /// empty, or vacated (in the segment of nothing there is none, and the index means nothing).
    ///
    /// # Safety
    ///
    /// As the type says, for reading; `mask` is the number of slots less one, 0 for the segment of nothing.
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
            // SAFETY: masked; the key is read of an occupied slot only.
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

    /// The index of the free slot in which an entry with `tag` belongs.
    ///
    /// # Safety
    ///
    /// As the type says, for reading; not for the segment of nothing.
    #[inline]
    pub(super) unsafe fn vacancy(self, tag: u32) -> usize {
        // SAFETY: masked; a segment is never full.
        unsafe {
            let mask = usize::from(self.header().slots) - 1;
            let mut index = tag as usize & mask;
            while is_occupied(self.slot(index).tag()) {
                index = (index + 1) & mask;
            }
            index
        }
    }

    /// Adds an entry, which is dirty, in the free slot in which it belongs.
    ///
    /// # Safety
    ///
    /// As the type says, for writing; [`find`](Self::find) or [`vacancy`](Self::vacancy) gave the index, and the
    /// segment is not full or the slot vacated.
    #[inline]
    pub(super) unsafe fn insert(self, index: usize, tag: u32, epoch: u32, key: S, value: V) {
        // SAFETY: the caller's.
        unsafe {
            let slot = self.slot(index);
            let is_new = slot.tag() == 0;
            slot.fill(tag, epoch, key, value);
            let header = self.header_mut();
            header.len += u16::from(is_new);
            header.set_dirty(index);
        }
    }

    /// Copies an entry of another segment to its place, as [`distribute`](Self::distribute) does.
    ///
    /// # Safety
    ///
    /// As the type says, for reading the slot and for writing; the segment is not full, and has no vacated slot.
    pub(super) unsafe fn adopt(self, slot: Slot<S, V, P>, shared: bool) {
        // SAFETY: the caller's.
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

    /// Vacates a slot whose key and value have been moved out.
    ///
    /// # Safety
    ///
    /// As the type says, for writing; the slot is occupied.
    #[inline]
    pub(super) unsafe fn vacate(self, index: usize) {
        // SAFETY: the caller's.
        unsafe { self.slot(index).set_tag(VACATED) };
    }

    /// Makes the segment the writer's in `epoch`, and forgets what was dirty until `confirmed`.
    ///
    /// # Safety
    ///
    /// As the type says, for writing.
    pub(super) unsafe fn enter(self, epoch: u32, confirmed: u32) {
        taking(self.address());
        // SAFETY: dirty bits are of slots that exist.
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

    /// Copies every entry to its place in `low` or, if the bit of its tag tells so, in `high`, both still
    /// empty. Afterwards the entries of `self` do not count any more, unless `shared`: then `self` is
    /// read by a snapshot, and only keys and values that may be shared are.
    ///
    /// # Safety
    ///
    /// As the type says, for reading `self` and for writing the two; they have room for all.
    pub(super) unsafe fn distribute(self, shared: bool, bit: u32, low: Self, high: Self) {
        // SAFETY: all occupied slots; each is put in an empty one.
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

    /// Copies all of `self`, which a snapshot reads, to `to`, which is empty and of the same size.
    ///
    /// # Safety
    ///
    /// As the type says, for reading `self` and for writing `to`.
    pub(super) unsafe fn copy_to(self, to: Self) {
        // SAFETY: the two do not overlap; the header is copied last, so that `to` is consistent if a `Clone`
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
    /// As the type says, for reading.
    pub(super) unsafe fn entries(self) -> u32 {
        // SAFETY: the caller's.
        unsafe { self.occupancy() }.iter().map(|word| word.count_ones()).sum()
    }

    /// OR of the differences of all entries' tags from `tag`.
    ///
    /// # Safety
    ///
    /// As the type says, for reading.
    pub(super) unsafe fn tag_spread(self, tag: u32) -> u32 {
        // SAFETY: indices of slots.
        unsafe {
            (0..usize::from(self.header().slots))
                .map(|index| self.slot(index).tag())
                .filter(|&other| is_occupied(other))
                .fold(0, |spread, other| spread | (other ^ tag))
        }
    }

    /// One bit for each slot, set if it is occupied. Without branches, which nobody could predict.
    ///
    /// # Safety
    ///
    /// As the type says, for reading.
    unsafe fn occupancy(self) -> [u64; 4] {
        let mut occupied = [0; 4];
        // SAFETY: indices of slots.
        unsafe {
            let slots = usize::from(self.header().slots);
            for (word, bits) in occupied.iter_mut().enumerate().take(slots.div_ceil(64)) {
                for bit in 0..slots.min(64) {
                    // The top bit of a tag tells.
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
    /// As the type says, for reading, as long as the iterator and its items are used.
    pub(super) unsafe fn occupied(self) -> impl Iterator<Item = Slot<S, V, P>> {
        // SAFETY: the caller's; indices of slots.
        unsafe { indices(self.occupancy()).map(move |index| self.slot(index)) }
    }

    /// Calls `f` with the occupied slots until it fails. The loop is plain, so that `f` becomes part of it. Meanwhile the
    /// memory of the segment that comes `next` is loaded: segments lie anywhere, and reading is all that a scan waits for.
    ///
    /// # Safety
    ///
    /// As the type says, for reading.
    #[inline]
    pub(super) unsafe fn try_each<E>(
        self,
        next: Option<Self>,
        mut f: impl FnMut(Slot<S, V, P>) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: the caller's; indices of slots.
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

    /// The occupied slots of a later epoch than `base`.
    ///
    /// # Safety
    ///
    /// As the type says, for reading, as long as the iterator and its items are used.
    pub(super) unsafe fn changed(self, base: u32) -> impl Iterator<Item = Slot<S, V, P>> {
        // SAFETY: the caller's.
        let header = unsafe { self.header() };
        let bits = if header.epoch <= base {
            [0; 4]
        } else if base < header.dirty_since {
            // The dirty bits do not reach back so far.
            // SAFETY: the caller's.
            unsafe { self.occupancy() }
        } else {
            header.dirty
        };
        indices(bits).filter_map(move |index| {
            // SAFETY: a bit is set for slots only; the epoch is read of an occupied one.
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
    /// As the type says, for writing; the entries count nowhere else, and not any more afterwards.
    pub(super) unsafe fn drop_entries(self) {
        if !needs_drop::<S>() && P::MODE == Mode::Plain {
            return;
        }
        // SAFETY: the caller's; a slot is emptied before anything of it is dropped.
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

/// Which slots of a segment are taken, so that the next free one is found without looking at them.
struct FreeSlots {
    words: [u64; 4],
    slots: usize,
}

impl FreeSlots {
    fn none(slots: usize) -> Self {
        // What a smaller segment does not have cannot be had.
        let beyond = if slots < 64 { !0 << slots } else { 0 };
        Self { words: [beyond; 4], slots }
    }

    /// Takes the first free slot for an entry with `tag`; there must be one.
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

/// True if a slot with this tag holds an entry.
#[inline]
fn is_occupied(tag: u32) -> bool {
    tag > TAG_MASK
}

/// Indices of the bits that are set; fastest when it is walked by `for_each` and the like.
fn indices(bits: [u64; 4]) -> impl Iterator<Item = usize> {
    bits.into_iter().enumerate().flat_map(|(word, mut rest)| {
        std::iter::from_fn(move || {
            let index = (rest != 0).then(|| word * 64 + rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            index
        })
    })
}

/// A new segment, freed unless it is kept: a `Clone` may panic while it is filled.
pub(super) struct Fresh<'a, S: TableKey, V: TableValue, P: Placement<V>> {
    segment: Segment<S, V, P>,
    /// True if the slots are all zero.
    zeroed: bool,
    slab: &'a Slab,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Fresh<'_, S, V, P> {
    /// Makes it a segment without entries.
    pub(super) fn clear(mut self, local_depth: u32, epoch: u32, dirty_since: u32) -> Self {
        let Segment { at, .. } = self.segment;
        // SAFETY: the whole block, which nobody else knows; zero is the tag of an empty slot.
        unsafe {
            let header = self.segment.header_mut();
            let slots = header.slots;
            // Memory that was never used need not even be touched.
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
        // SAFETY: nobody else knows it.
        unsafe { self.segment.free(self.slab) };
    }
}
