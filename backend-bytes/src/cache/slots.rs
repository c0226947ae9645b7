//! The slots of a cache: an extendible hash table.

use compact_bytes::CompactBytes;

use backend_api::{Error, ErrorKind, Result};

/// Places in the index of a segment.
const PLACES: usize = 256;

/// Most entries of a segment. The number of each is a byte.
const ENTRIES_MAX: usize = PLACES / 16 * 13;

/// Most places that are not empty, so that searches end soon.
const USED_MAX: usize = PLACES / 16 * 15;

/// Most leading hash bits that select a segment.
const DEPTH_MAX: u32 = 22;

/// A place that was never used.
const EMPTY: u16 = 0;

/// A place whose entry was removed. No entry has this tag.
const REMOVED: u16 = 0xff00;

/// Entries of a state, in an extendible hash table.
///
/// A segment holds the entries whose hashes share their leading bits, and an index with two bytes per place.
/// The indexes of hundreds of thousands of entries stay in the CPU caches, so a lookup waits for memory once,
/// for the entry. The time of a step does not depend on the number of entries, except for copying the
/// directory, which has four bytes per segment.
pub(super) struct Slots<O> {
    /// The segment for each value of the first `depth` bits of a hash.
    directory: Vec<u32>,
    depth: u32,
    /// For each segment, the tag and number of an entry at each place.
    indexes: Vec<[u16; PLACES]>,
    segments: Vec<Segment<O>>,
    /// New numbers of entries that were moved since the last [`take_moved`](Self::take_moved).
    moved: Vec<u32>,
}

struct Segment<O> {
    slots: Vec<Slot<O>>,
    /// Free slots.
    holes: Vec<u8>,
    /// Places in the index that are not empty.
    used: usize,
    /// Number of leading bits shared by all its hashes.
    depth: u32,
}

pub(super) struct Slot<O> {
    pub key: CompactBytes,
    pub hash: u32,
    /// Bytes of memory; 0 if the slot is free.
    pub bytes: u32,
    /// The epoch in which it became dirty, or `CLEAN`.
    pub dirty: u32,
    pub group: u16,
    /// True if it was used since the clock hand passed.
    pub used: bool,
    /// True if it is frozen and encoded, but not known to be stored.
    pub encoded: bool,
    pub object: O,
}

impl<O: Default> Slot<O> {
    pub fn new(key: &[u8], hash: u32, group: u16, object: O) -> Self {
        let key = CompactBytes::new(key);
        Self { key, hash, bytes: 0, dirty: 0, group, used: false, encoded: false, object }
    }

    fn free() -> Self {
        Self::new(&[], 0, 0, O::default())
    }
}

impl<O> Segment<O> {
    fn new(depth: u32) -> Self {
        Self { slots: Vec::new(), holes: Vec::new(), used: 0, depth }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.holes.len()
    }

    /// Adds a slot to a segment that has room for it. Returns its number in the segment.
    fn add(&mut self, slot: Slot<O>) -> u8 {
        if let Some(hole) = self.holes.pop()
            && let Some(free) = self.slots.get_mut(usize::from(hole))
        {
            *free = slot;
            return hole;
        }
        if self.slots.len() == self.slots.capacity() {
            // Grows in small steps, so that all segments together waste little.
            self.slots.reserve_exact(self.slots.len() / 8 + 8);
        }
        self.slots.push(slot);
        // At most `ENTRIES_MAX`.
        (self.slots.len() - 1) as u8
    }
}

impl<O: Default> Slots<O> {
    pub fn new() -> Self {
        Self { directory: Vec::new(), depth: 0, indexes: Vec::new(), segments: Vec::new(), moved: Vec::new() }
    }

    /// An upper bound of all slot numbers. Some numbers below it have no slot.
    pub fn end(&self) -> usize {
        self.segments.len() << u8::BITS
    }

    #[inline]
    pub fn get(&self, at: u32) -> Option<&Slot<O>> {
        self.segments.get((at >> u8::BITS) as usize)?.slots.get(usize::from(at as u8))
    }

    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut Slot<O>> {
        self.segments.get_mut((at >> u8::BITS) as usize)?.slots.get_mut(usize::from(at as u8))
    }

    /// The number of the slot with this hash that `is_it` accepts. It is valid until the next insertion or
    /// removal.
    #[inline]
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(&Slot<O>) -> bool) -> Option<u32> {
        let segment = self.segment_of(hash)?;
        let index = self.indexes.get(segment as usize)?;
        let slots = &self.segments.get(segment as usize)?.slots;
        let mut place = home(hash);
        loop {
            let entry = index[usize::from(place)];
            if entry == EMPTY {
                return None;
            }
            if (entry ^ tag(hash)) < 1 << u8::BITS
                && slots.get(usize::from(entry as u8)).is_some_and(|slot| slot.hash == hash && is_it(slot))
            {
                return Some(segment << u8::BITS | u32::from(entry as u8));
            }
            // Ends, since there is always an empty place.
            place = place.wrapping_add(1);
        }
    }

    /// Adds a slot. Returns its number.
    ///
    /// # Errors
    /// [`Size`](ErrorKind::Size) if too many have one hash.
    pub fn insert(&mut self, slot: Slot<O>) -> Result<u32> {
        if self.segments.is_empty() {
            self.directory.push(0);
            self.add_segment(0);
        }
        loop {
            let segment = self.segment_of(slot.hash).unwrap_or_default();
            let own = &mut self.segments[segment as usize];
            if own.len() == ENTRIES_MAX {
                self.split(segment, slot.hash)?;
                continue;
            }
            let hash = slot.hash;
            let number = own.add(slot);
            if own.used == USED_MAX {
                self.index_again(segment as usize);
            } else {
                let place = free_place(&self.indexes[segment as usize], hash);
                own.used += usize::from(self.indexes[segment as usize][place] == EMPTY);
                self.indexes[segment as usize][place] = tag(hash) | u16::from(number);
            }
            return Ok(segment << u8::BITS | u32::from(number));
        }
    }

    /// Takes the entry out of a slot.
    pub fn remove(&mut self, at: u32) -> Option<Slot<O>> {
        let (segment, number) = ((at >> u8::BITS) as usize, at as u8);
        let hash = self.get(at)?.hash;
        let (index, own) = (self.indexes.get_mut(segment)?, self.segments.get_mut(segment)?);
        let places = (0..PLACES).map(|step| home(hash).wrapping_add(step as u8));
        let entry = tag(hash) | u16::from(number);
        let mut place = places.into_iter().find(|place| index[usize::from(*place)] == entry)?;
        let slot = std::mem::replace(own.slots.get_mut(usize::from(number))?, Slot::free());
        index[usize::from(place)] = REMOVED;
        // At the end of a run a removed entry can become an empty place.
        while index[usize::from(place.wrapping_add(1))] == EMPTY && index[usize::from(place)] == REMOVED {
            index[usize::from(place)] = EMPTY;
            own.used -= 1;
            place = place.wrapping_sub(1);
        }
        own.holes.push(number);
        Some(slot)
    }

    /// New numbers of entries that moved since the last call.
    pub fn take_moved(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.moved)
    }

    /// The segment for a hash, if there is one.
    #[inline]
    fn segment_of(&self, hash: u32) -> Option<u32> {
        self.directory.get(beginning(hash, self.depth)).copied()
    }

    fn add_segment(&mut self, depth: u32) -> u32 {
        self.indexes.push([EMPTY; PLACES]);
        self.segments.push(Segment::new(depth));
        (self.segments.len() - 1) as u32
    }

    /// Moves half of the entries of a full segment to a new one. `hash` belongs to the segment.
    #[cold]
    fn split(&mut self, segment: u32, hash: u32) -> Result<()> {
        let depth = self.segments[segment as usize].depth;
        if depth == DEPTH_MAX {
            return Err(Error::new(ErrorKind::Size, "too many keys with one hash"));
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|segment| [*segment; 2]).collect();
            self.depth += 1;
        }
        let other = self.add_segment(depth + 1);
        let own = std::mem::replace(&mut self.segments[segment as usize], Segment::new(depth + 1));
        for half in [segment, other] {
            self.segments[half as usize].slots.reserve_exact(ENTRIES_MAX / 8 * 5);
        }
        let slots = (0..).zip(own.slots).filter(|(number, _)| !own.holes.contains(number));
        for (_, slot) in slots {
            let to = if beginning(slot.hash, depth + 1) & 1 == 0 { segment } else { other };
            let number = self.segments[to as usize].add(slot);
            self.moved.push(to << u8::BITS | u32::from(number));
        }
        let shared = 1 << (self.depth - depth);
        let first = beginning(hash, self.depth) / shared * shared;
        self.directory[first + shared / 2..first + shared].fill(other);
        self.index_again(segment as usize);
        self.index_again(other as usize);
        Ok(())
    }

    /// Rebuilds the index of a segment without removed places.
    fn index_again(&mut self, segment: usize) {
        let own = &mut self.segments[segment];
        let mut index = [EMPTY; PLACES];
        for (number, slot) in (0..).zip(&own.slots).filter(|(number, _)| !own.holes.contains(number)) {
            let place = free_place(&index, slot.hash);
            index[place] = tag(slot.hash) | u16::from(number);
        }
        own.used = own.len();
        self.indexes[segment] = index;
    }
}

/// The first bits of a hash, as a number.
#[inline]
fn beginning(hash: u32, bits: u32) -> usize {
    (u64::from(hash) << bits >> u32::BITS) as usize
}

/// The place where a search for a hash starts.
#[inline]
fn home(hash: u32) -> u8 {
    hash as u8
}

/// A tag in the upper byte, which distinguishes most hashes with the same home. It is neither 0 nor the tag
/// of removed places.
#[inline]
fn tag(hash: u32) -> u16 {
    let tag = u16::from((hash >> u8::BITS) as u8);
    (tag.max(1) << u8::BITS).min(REMOVED - (1 << u8::BITS))
}

/// The first free place for an entry with this hash.
fn free_place(index: &[u16; PLACES], hash: u32) -> usize {
    let mut place = home(hash);
    while !matches!(index[usize::from(place)], EMPTY | REMOVED) {
        place = place.wrapping_add(1);
    }
    usize::from(place)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes with equal leading bits, hashes with the same home, and others.
    fn hash() -> impl Strategy<Value = u32> {
        prop_oneof![
            4 => any::<u32>(),
            2 => any::<u32>().prop_map(|hash| hash & 0xff),
            2 => any::<u32>().prop_map(|hash| hash << 10),
            1 => any::<u32>().prop_map(|hash| hash | 0xffff_ff00),
            1 => 0..4_u32,
        ]
    }

    fn check(slots: &Slots<u32>, model: &BTreeMap<u32, (u32, u32)>) {
        for (object, (hash, at)) in model {
            assert_eq!(slots.find(*hash, |slot| slot.object == *object), Some(*at));
            assert_eq!(slots.find(hash.wrapping_add(1), |slot| slot.object == *object), None);
        }
        let held = (0..slots.end() as u32).filter(|at| slots.get(*at).is_some_and(|slot| slot.bytes > 0));
        assert_eq!(held.count(), model.len());
    }

    proptest! {
        #[test]
        fn slots_match_a_map(
            steps in prop::collection::vec((hash(), any::<bool>(), any::<prop::sample::Index>()), 1..1500),
        ) {
            // By object, which are all different: hash and number of the slot.
            let (mut slots, mut model) = (Slots::new(), BTreeMap::<u32, (u32, u32)>::new());
            for (object, (hash, removes, which)) in (1..).zip(steps) {
                if removes && model.len() > 300 {
                    let (object, (_, at)) = model.iter().nth(which.index(model.len())).unwrap();
                    let (object, at) = (*object, *at);
                    prop_assert_eq!(slots.remove(at).map(|slot| slot.object), Some(object));
                    prop_assert!(slots.remove(at).is_none());
                    model.remove(&object);
                    continue;
                }
                let mut slot = Slot::new(b"key", hash, 0, object);
                slot.bytes = 1;
                let at = slots.insert(slot).unwrap();
                for moved in slots.take_moved() {
                    let slot = slots.get(moved).unwrap();
                    model.insert(slot.object, (slot.hash, moved));
                }
                model.insert(object, (hash, at));
            }
            check(&slots, &model);
        }
    }

    #[test]
    fn a_full_segment_of_one_hash_refuses_more() {
        let (mut slots, mut model) = (Slots::new(), BTreeMap::new());
        for object in 0..ENTRIES_MAX as u32 {
            let mut slot = Slot::new(b"key", 7, 0, object);
            slot.bytes = 1;
            model.insert(object, (7, slots.insert(slot).unwrap()));
        }
        let refused = slots.insert(Slot::new(b"key", 7, 0, 1000)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Size);
        for moved in slots.take_moved() {
            model.insert(slots.get(moved).unwrap().object, (7, moved));
        }
        check(&slots, &model);
        let mut other = Slot::new(b"key", 8 << 24, 0, 1000);
        other.bytes = 1;
        model.insert(1000, (8 << 24, slots.insert(other).unwrap()));
        check(&slots, &model);
    }
}
