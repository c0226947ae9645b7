//! Filling an empty group, as a restore does. Fastest in the order of segments.

use std::ptr;

use backend_api::{Error, ErrorKind, Result};

use super::{
    KeyHash, Placement, Table, TableKey, TableValue,
    group::{Group, directory_index},
    prefetch_line,
    segment::Segment,
    slab::Slab,
    sync::Arc,
    writer::DEPTH_MAX,
};

/// Slots whose tags are compared at once.
const WINDOW: usize = 8;

/// Segments that are filled concurrently. One segment of the written table may be two in this one.
const CURSORS: usize = 2;

/// Puts entries into an empty group. See [`Table::fill`].
pub struct Filling<'t, S: TableKey, V: TableValue, P: Placement<V>> {
    table: &'t mut Table<S, V, P>,
    group: usize,
    /// The group's depth at the start. A segment that overflows may deepen the directory later. That does not
    /// change which tags go to the other segments.
    depth: u32,
    /// The group's mask.
    mask: usize,
    cursors: [Cursor<S, V, P>; CURSORS],
}

/// A segment that was empty when the cursor arrived. Its header is updated when the cursor leaves.
struct Cursor<S, V, P> {
    /// The leading [`Filling::depth`] bits of its tags, or an unused value if there is no segment.
    index: usize,
    segment: Segment<S, V, P>,
    len: u16,
    /// Entries that fit into the segment.
    room: u16,
    /// One bit per slot, set if it is occupied.
    occupied: [u64; 4],
    /// Address of the segment that is likely to be next.
    next: *const u8,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Cursor<S, V, P> {
    fn none() -> Self {
        Self {
            index: usize::MAX,
            segment: Segment::nothing(),
            len: 0,
            room: 0,
            occupied: [0; 4],
            next: ptr::null(),
        }
    }

    /// Returns the empty slot for an entry with `tag`, if one is near and no near slot has this tag. Free of
    /// branches, which would be mispredicted. The cursor must be at a segment.
    #[inline(always)]
    fn near_vacancy(&self, tag: u32, mask: usize) -> Option<usize> {
        let home = tag as usize & mask;
        let free = !self.occupied[home / 64 % 4] >> (home % 64);
        let slot = home + free.trailing_zeros() as usize;
        let window = home.min((mask + 1) - WINDOW);
        // SAFETY: a segment has more slots than a window, and belongs to the writer.
        let tags = (window..window + WINDOW).map(|slot| unsafe { self.segment.slot(slot).tag() });
        let is_known = tags.fold(false, |known, other| known | (other == tag));
        (free != 0 && slot < window + WINDOW && slot <= mask && !is_known).then_some(slot)
    }

    /// Writes an entry, and records it in the cursor.
    ///
    /// # Safety
    ///
    /// The segment has room, and `slot` is the empty slot where a new entry with `tag` belongs.
    #[inline(always)]
    unsafe fn put(&mut self, slot: usize, tag: u32, epoch: u32, key: S, value: V) {
        // SAFETY: required of the caller. The segment belongs to the writer.
        unsafe { self.segment.slot(slot).fill(tag, epoch, key, value) };
        // One line per entry: the next segment is in the cache by the time this one is full.
        prefetch_line(self.next.wrapping_add(usize::from(self.len) * 64));
        self.occupied[slot / 64 % 4] |= 1 << (slot % 64);
        self.len += 1;
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Filling<'_, S, V, P> {
    /// Adds an entry as [`Table::set`] does. Its key must be new.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if the key is present. [`ErrorKind::Size`] if too many keys have this hash.
    #[inline(always)]
    pub fn put(
        &mut self,
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        let tag = self.table.tag(hash.hash());
        let index = directory_index(tag, self.depth);
        let cursor = &mut self.cursors[index % CURSORS];
        if cursor.index == index
            && cursor.len < cursor.room
            && let Some(slot) = cursor.near_vacancy(tag, self.mask)
        {
            // SAFETY: the segment is the one for this tag and has room. The slot is where the search would
            // end.
            unsafe { cursor.put(slot, tag, self.table.epoch, key(), value) };
            return Ok(());
        }
        self.put_anywhere(hash, eq, key, value)
    }

    #[cold]
    #[inline(never)]
    fn put_anywhere(
        &mut self,
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        let index = directory_index(self.table.tag(hash.hash()), self.depth);
        self.come_to(index);
        let (tag, found) = self.table.find(self.group, hash, eq);
        let vacancy = found.err().ok_or_else(|| Error::new(ErrorKind::Corrupt, "a key occurs twice"))?;
        let cursor = &mut self.cursors[index % CURSORS];
        if cursor.index == index && cursor.len < cursor.room {
            // SAFETY: the segment is the one for this tag and has room. The slot is where the search ended.
            unsafe { cursor.put(vacancy, tag, self.table.epoch, key(), value) };
            return Ok(());
        }
        (0..CURSORS).for_each(|cursor| self.leave(cursor));
        let inserted = self.table.insert(self.group, hash, (tag, vacancy), key, value);
        // A failed insert may still have grown the group.
        self.mask = self.table.groups[self.group].mask;
        inserted
    }

    /// Moves a cursor to the segment for tags that begin with `index`, if there is exactly one and it is
    /// empty.
    fn come_to(&mut self, index: usize) {
        let group = &self.table.groups[self.group];
        if self.cursors[index % CURSORS].index == index || group.mask == 0 {
            return;
        }
        let deepened = group.depth - self.depth;
        let segment = group.directory[index << deepened];
        let next = group.directory.get((index + 1) << deepened).map_or(ptr::null(), |next| next.address());
        // SAFETY: the writer reads its own segments.
        let header = unsafe { segment.header() };
        if header.len == 0 && header.epoch == self.table.epoch && header.local_depth == self.depth {
            self.leave(index % CURSORS);
            let cursor = &mut self.cursors[index % CURSORS];
            (cursor.index, cursor.segment, cursor.room) = (index, segment, header.room());
            (cursor.occupied, cursor.next) = ([0; 4], next);
        }
    }

    /// Adds what a cursor has put to its segment's header and to the table.
    fn leave(&mut self, cursor: usize) {
        let cursor = &mut self.cursors[cursor];
        let len = std::mem::take(&mut cursor.len);
        cursor.index = usize::MAX;
        if len > 0 {
            // SAFETY: a cursor's segment belongs to the writer.
            let header = unsafe { cursor.segment.header_mut() };
            (header.len, header.dirty) = (len, cursor.occupied);
            self.table.groups[self.group].len += usize::from(len);
            self.table.len += usize::from(len);
        }
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for Filling<'_, S, V, P> {
    fn drop(&mut self) {
        (0..CURSORS).for_each(|cursor| self.leave(cursor));
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Starts to fill an empty group with about `entries` entries. Fastest in the order in which a table with
    /// the same seed iterates.
    pub fn fill(&mut self, group: usize, entries: usize) -> Filling<'_, S, V, P> {
        self.touch(group);
        if self.groups[group].mask == 0 {
            self.presize(group, entries);
        }
        let Group { depth, mask, .. } = self.groups[group];
        Filling { table: self, group, depth, mask, cursors: std::array::from_fn(|_| Cursor::none()) }
    }

    /// Starts a thread that allocates memory for [filling](Self::fill) groups with these numbers of entries,
    /// in this table and its siblings.
    pub fn supply(&self, entries: impl Iterator<Item = usize>) -> Supply {
        let segments = |entries| match Shape::of::<S, V, P>(entries) {
            Shape { slots, depth } if slots == Segment::<S, V, P>::SLOTS => 1 << depth,
            _ => 0,
        };
        self.slab.supply(entries.map(segments).sum());
        Supply(Arc::clone(&self.slab))
    }

    /// Gives an empty group the segments for `entries` entries.
    fn presize(&mut self, group: usize, entries: usize) {
        let Shape { slots, depth } = Shape::of::<S, V, P>(entries);
        if slots == 0 {
            return;
        }
        self.rebuild(group, 0, Segment::nothing(), slots);
        if depth == 0 {
            return;
        }
        let entries = &mut self.groups[group];
        let first = entries.directory[0];
        self.bytes -= entries.directory_size() + Segment::<S, V, P>::FULL.size();
        entries.directory = (0..1 << depth)
            .map(|index| {
                if index == 0 {
                    // SAFETY: the segment is empty and belongs to the writer.
                    unsafe { first.header_mut() }.local_depth = depth;
                    return first;
                }
                Segment::allocate(&self.slab, slots).clear(depth, self.epoch, self.confirmed).keep()
            })
            .collect();
        entries.depth = depth;
        (entries.segments, self.segments) = (1 << depth, self.segments + (1 << depth) - 1);
        self.bytes += entries.directory_size() + entries.segments * Segment::<S, V, P>::FULL.size();
    }
}

/// The segments for a number of entries: `1 << depth` segments of `slots` slots.
pub(super) struct Shape {
    pub(super) slots: usize,
    pub(super) depth: u32,
}

impl Shape {
    pub(super) fn of<S: TableKey, V: TableValue, P: Placement<V>>(entries: usize) -> Self {
        let full = Segment::<S, V, P>::SLOTS;
        let mut slots = 0;
        while slots / 16 * 13 < entries {
            match Segment::<S, V, P>::next_slots(slots) {
                Some(next) => slots = next,
                None => break,
            }
        }
        // Segments fill unevenly. At this mean, few overflow.
        let mean = full * 5 / 8;
        let mut depth = 0;
        while depth < DEPTH_MAX && entries > full / 16 * 13 && entries >> depth > mean {
            depth += 1;
        }
        Self { slots, depth }
    }
}

/// Memory [supplied](Table::supply) ahead, until it is dropped.
pub struct Supply(Arc<Slab>);

impl Drop for Supply {
    fn drop(&mut self) {
        self.0.end_supply();
    }
}
