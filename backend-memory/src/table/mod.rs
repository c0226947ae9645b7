//! The table in which heap backends keep their state: segmented, and copied on write while a snapshot needs it.
//!
//! A [`Table`] has a number of groups (one per key group), each an extendible hash table: a directory of
//! segments of at most 256 slots, probed linearly. [`Table::snapshot`] takes the directories and opens a new
//! epoch. From then on the writer copies a segment before its first change to it, unless no snapshot
//! will read it any more, and replaces a value that lives on the heap by a clone before the first change to that.
//!
//! # Invariants
//!
//! 1. A slot's epoch is that of its entry's last change, and not later than its segment's epoch, which is not
//!    later than the table's. A segment of the table's epoch is the writer's alone.
//! 2. A snapshot of epoch `e` sees what is not later than `e`, and of that only what it has not passed.
//! 3. The table owns the keys and values in its own segments. What a snapshot may still read when it leaves
//!    the table goes into the newest bag, which outlives all snapshots taken so far.
//! 4. Segments are only ever split or rebuilt, so what a snapshot has passed of the table is always whole segments.
//! 5. Every segment has an empty slot, where searches end; one that was occupied and is free again is not empty.
//! 6. User code (`Clone`, `Drop`, closures) runs when the table is consistent, and may panic.

#![expect(unsafe_code, reason = "segments are raw memory that the writer and snapshots share by epochs")]

mod bag;
mod filling;
mod group;
mod placement;
mod removal_log;
mod segment;
mod slab;
mod slot;
mod snapshot;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::atomic::Ordering;

use backend_api::{Error, ErrorKind, Result};

pub use placement::{Container, DROPPED_IN_PLACE, Handle, Mode, Placement, TableKey, TableValue, UserValue};
pub use snapshot::TableSnapshot;

use crate::prefetch::{LINE, prefetch, prefetch_line};
use bag::{Bag, Estate, Garbage, Pile};
use group::{Directory, Group};
use segment::{Segment, TAG_BITS, TAG_MASK};
use slab::Slab;
use slot::Slot;
use snapshot::{GroupSnapshot, Progress};
use sync::{Arc, Weak, fence};

/// Bytes of a boxed value that are loaded ahead.
const BOXED_MAX: usize = 256;

/// An odd number of random bits.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash table of stored keys `S` and values `V`, held as the policy `P` says.
///
/// Every operation on an entry is given its `group`, the `hash` of its key (the same for equal keys) and a
/// function `eq` that tells it from others with that hash.
///
/// Groups are counted from 0 to [`groups`](Self::groups); operations panic if there is no such group.
pub struct Table<S: TableKey, V: TableValue, P: Placement<V>> {
    groups: Vec<Group<S, V, P>>,
    seed: u64,
    epoch: u32,
    /// No delta will be asked for on an earlier base than this.
    confirmed: u32,
    tracks_removals: bool,
    /// Whether the last write added an entry, for which the segment's header is needed besides the slot. The next is likely
    /// to do the same, and then loads both at once.
    adds: bool,
    len: usize,
    /// Bytes of segments and directories.
    bytes: usize,
    /// The snapshots that have not ended, oldest first.
    live: Vec<Live>,
    /// The newest bag; it is there as long as any snapshot is.
    bag: Weak<Bag<S, V, P>>,
    /// Garbage that came back to the writer, to be freed little by little.
    deferred: Pile<Garbage<S, V, P>>,
    slab: Arc<Slab>,
}

struct Live {
    epoch: u32,
    progress: Arc<Progress>,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// A table without entries. `seed` decides their order; with a random one nobody can choose keys that collide.
    pub fn new(groups: usize, seed: u64) -> Self {
        let nothing = Directory::from([Segment::nothing()]);
        Self {
            groups: (0..groups).map(|_| Group::new(&nothing)).collect(),
            seed,
            epoch: 1,
            confirmed: 0,
            tracks_removals: false,
            adds: false,
            len: 0,
            bytes: 0,
            live: Vec::new(),
            bag: Weak::new(),
            deferred: Pile::new(),
            slab: Arc::new(Slab::new(Segment::<S, V, P>::FULL)),
        }
    }

    /// A table without entries, the like of this one when it was new, whose groups this one can [adopt](Self::adopt).
    pub fn sibling(&self) -> Self {
        let mut table = Self::new(self.groups.len(), self.seed);
        table.slab = Arc::clone(&self.slab);
        table.track_removals(self.tracks_removals);
        table
    }

    /// Takes over the groups of a sibling that have entries and have none here.
    ///
    /// # Panics
    ///
    /// If it is no sibling, or one of the two has had a snapshot.
    pub fn adopt(&mut self, sibling: &mut Self) {
        let fits = |table: &Self| table.epoch == 1 && table.live.is_empty();
        assert!(fits(self) && fits(sibling) && Arc::ptr_eq(&self.slab, &sibling.slab));
        for (group, theirs) in self.groups.iter_mut().zip(&mut sibling.groups) {
            if group.len == 0 && theirs.len > 0 {
                std::mem::swap(group, theirs);
            }
        }
        for table in [self, sibling] {
            table.len = table.groups.iter().map(|group| group.len).sum();
            table.bytes = table.groups.iter().map(Self::group_bytes).sum();
        }
    }

    /// Bytes of a group's directory and segments.
    fn group_bytes(group: &Group<S, V, P>) -> usize {
        match group.mask {
            0 => 0,
            mask => group.directory_size() + group.segments * Segment::<S, V, P>::size(mask + 1),
        }
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that the table holds for its entries, without what keys and values own themselves. What only
    /// snapshots hold is not counted.
    pub fn bytes(&self) -> usize {
        let boxes = if P::MODE == Mode::Boxed { self.len * size_of::<V>() } else { 0 };
        self.bytes + boxes
    }

    /// Most bytes by which an insert into `group` may let [`bytes`](Self::bytes) grow; 0 if there is room for sure.
    pub fn growth(&self, group: usize) -> usize {
        let group = &self.groups[group];
        let boxed = if P::MODE == Mode::Boxed { size_of::<V>() } else { 0 };
        // SAFETY: nobody writes as long as `self` is borrowed.
        let header = unsafe { group.directory[0].header() };
        let segment = match Segment::<S, V, P>::next_slots(usize::from(header.slots)) {
            _ if group.depth == 0 && !header.is_full() => return boxed,
            Some(next) => Segment::<S, V, P>::size(next),
            None => Segment::<S, V, P>::FULL.size(),
        };
        // The directory is as much again, at most.
        segment + size_of_val(&*group.directory) + boxed
    }

    /// The current epoch: that of the next snapshot.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    #[inline(always)]
    fn tag(&self, hash: u64) -> u32 {
        let product = u128::from(hash ^ self.seed) * u128::from(MULTIPLIER);
        let folded = (product >> 64) as u64 ^ product as u64;
        (folded >> (u64::BITS - TAG_BITS)) as u32 | !TAG_MASK
    }

    #[inline(always)]
    fn find(
        &self,
        group: usize,
        tag: u32,
        eq: impl FnMut(&S) -> bool,
    ) -> Result<(usize, Slot<S, V, P>), usize> {
        let (segment, mask) = self.groups[group].segment(tag);
        // SAFETY: the table's segments are written to by the writer only, which `self` borrows.
        unsafe { segment.find(mask, tag, eq) }
    }

    /// [`find`](Self::find) before a write, with the header on its way if that is likely to be needed.
    #[inline]
    fn find_to_write(
        &mut self,
        group: usize,
        tag: u32,
        eq: impl FnMut(&S) -> bool,
    ) -> Result<(usize, Slot<S, V, P>), usize> {
        let (segment, mask) = self.groups[group].segment(tag);
        if self.adds {
            prefetch_line(segment.address());
            // SAFETY: masked.
            prefetch_line(unsafe { segment.slot(tag as usize & mask) }.address().wrapping_add(LINE));
        }
        // SAFETY: the table's segments are written to by the writer only, which `self` borrows.
        let found = unsafe { segment.find(mask, tag, eq) };
        self.adds = found.is_err();
        found
    }

    /// The value of a key.
    #[inline(always)]
    pub fn get(&self, group: usize, hash: u64, eq: impl FnMut(&S) -> bool) -> Option<&V> {
        let (_, slot) = self.find(group, self.tag(hash), eq).ok()?;
        // SAFETY: occupied, and not written to as long as `self` is borrowed.
        Some(unsafe { slot.value() })
    }

    /// Loads the memory that an operation on this key will need first, without waiting for it.
    #[inline]
    pub fn prefetch(&self, group: usize, hash: u64) {
        let tag = self.tag(hash);
        let (segment, mask) = self.groups[group].segment(tag);
        // SAFETY: masked.
        let slot = unsafe { segment.slot(tag as usize & mask) }.address();
        prefetch_line(slot);
        // The next line has the rest of the slot, or those that are looked at after it.
        prefetch_line(slot.wrapping_add(if self.adds { LINE } else { Slot::<S, V, P>::SIZE - 1 }));
        if self.adds {
            prefetch_line(segment.address());
        }
    }

    /// Loads the memory to which the value of this key points. It waits for the entry itself, so
    /// [`prefetch`](Self::prefetch) comes first.
    #[inline]
    pub fn prefetch_value(&self, group: usize, hash: u64) {
        if P::MODE == Mode::Plain {
            return;
        }
        // Another key of that tag would do no harm.
        if let Ok((_, slot)) = self.find(group, self.tag(hash), |_| true) {
            // SAFETY: occupied, and not written to as long as `self` is borrowed.
            let value = unsafe { slot.value() };
            if P::MODE == Mode::Boxed {
                prefetch(value, size_of::<V>().min(BOXED_MAX));
            }
            P::prefetch(value);
        }
    }

    /// All entries, group by group, in the order of segments.
    pub fn iter(&self) -> impl Iterator<Item = (&S, &V)> {
        (0..self.groups.len()).flat_map(|group| self.iter_group(group))
    }

    /// The entries of a group in the order of segments.
    pub fn iter_group(&self, group: usize) -> impl Iterator<Item = (&S, &V)> {
        self.groups[group]
            .segments()
            // SAFETY: nobody writes as long as `self` is borrowed.
            .flat_map(|segment| unsafe { segment.occupied() })
            // SAFETY: as above.
            .map(|slot| unsafe { (slot.key(), slot.value()) })
    }

    /// Sets the value of a key; `key` makes its stored form if it is new.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Size`] if too many keys have this hash.
    #[inline]
    pub fn set(
        &mut self,
        group: usize,
        hash: u64,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        let tag = self.tag(hash);
        match self.find_to_write(group, tag, eq) {
            Ok((index, slot)) => self.replace(group, tag, index, slot, value),
            Err(vacancy) => self.insert(group, tag, vacancy, key, value)?,
        }
        Ok(())
    }

    /// Lets `f` change, make or (by `None`) remove the value of a key. It works on a clone: if it fails or
    /// panics, nothing has changed.
    ///
    /// # Errors
    ///
    /// Those of `f`. [`ErrorKind::Size`] if too many keys have this hash.
    #[inline]
    pub fn try_update<R, E: From<Error>>(
        &mut self,
        group: usize,
        hash: u64,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E> {
        let tag = self.tag(hash);
        let found = self.find_to_write(group, tag, eq);
        // SAFETY: occupied, and not written to before `f` has returned.
        let mut value = found.ok().map(|(_, slot)| unsafe { slot.value() }.clone());
        let result = f(&mut value)?;
        match (found, value) {
            (Ok((index, slot)), Some(value)) => self.replace(group, tag, index, slot, value),
            (Err(vacancy), Some(value)) => self.insert(group, tag, vacancy, key, value)?,
            (Ok((index, _)), None) => {
                let (value, shared) = self.remove_at(group, tag, index);
                self.discard(value, shared);
            }
            (Err(_), None) => {}
        }
        Ok(result)
    }

    /// Removes a key. Returns whether it was there.
    #[inline]
    pub fn remove(&mut self, group: usize, hash: u64, eq: impl FnMut(&S) -> bool) -> bool {
        let tag = self.tag(hash);
        let Ok((index, _)) = self.find(group, tag, eq) else { return false };
        let (value, shared) = self.remove_at(group, tag, index);
        self.discard(value, shared);
        true
    }

    /// Takes a snapshot, which costs as much as there are groups, and begins the next epoch.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Size`] after 2^32 snapshots.
    pub fn snapshot(&mut self) -> Result<TableSnapshot<S, V, P>> {
        let epoch = self.epoch;
        let next = epoch
            .checked_add(1)
            .ok_or_else(|| Error::new(ErrorKind::Size, "too many snapshots of one table"))?;
        let mut garbage = std::mem::replace(&mut self.deferred, Pile::new());
        let mut segments = 0;
        let groups = self
            .groups
            .iter_mut()
            .map(|group| {
                segments += group.segments;
                GroupSnapshot {
                    directory: group.directory.clone(),
                    depth: group.depth,
                    len: group.len,
                    removals: group
                        .removals
                        .freeze(epoch, self.confirmed, |part| garbage.push(Garbage::Log(part))),
                }
            })
            .collect();
        let bag = Bag::new(self.slab.clone(), garbage);
        if let Some(older) = self.bag.upgrade() {
            older.set_next(&bag);
            if let Some(garbage) = Bag::release(older) {
                self.deferred = garbage;
            }
        }
        self.bag = Arc::downgrade(&bag);
        let snapshot = TableSnapshot::new(epoch, segments, groups, bag);
        self.live.push(Live { epoch, progress: snapshot.progress() });
        self.epoch = next;
        Ok(snapshot)
    }

    /// Tells that no delta will be asked for on an earlier base than `epoch`, the epoch of a snapshot that is
    /// known to be stored. Earlier confirmations stay in force.
    pub fn confirm(&mut self, epoch: u32) {
        self.confirmed = self.confirmed.max(epoch.min(self.epoch - 1));
    }

    /// Switches the log of removed keys on or off; it begins switched off. See [`TableSnapshot::removed_since`].
    pub fn track_removals(&mut self, on: bool) {
        if self.tracks_removals != on {
            self.tracks_removals = on;
            for group in &mut self.groups {
                group.removals.give_up(if on { self.epoch } else { u32::MAX });
            }
        }
    }
}

impl<S: TableKey, V: Handle> Table<S, V, Container> {
    /// The value of a key, if it is there and no snapshot can see it.
    #[inline]
    pub fn get_own(&mut self, group: usize, hash: u64, eq: impl FnMut(&S) -> bool) -> Option<&mut V> {
        let (_, slot) = self.find(group, self.tag(hash), eq).ok()?;
        // SAFETY: occupied; of this epoch it is the writer's alone, which is borrowed.
        unsafe { (slot.epoch() == self.epoch).then(|| slot.value_place().as_mut()) }
    }

    /// Changes the value of a key in place; a new one is made by `init`, and `key` makes its stored form.
    ///
    /// If `f` panics the value is as `f` left it, unless a snapshot needed it as it was before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Size`] if too many keys have this hash.
    #[inline]
    pub fn modify<R>(
        &mut self,
        group: usize,
        hash: u64,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        init: impl FnOnce() -> V,
        f: impl FnOnce(&mut V) -> R,
    ) -> Result<R> {
        let tag = self.tag(hash);
        let (index, slot) = match self.find_to_write(group, tag, eq) {
            Ok(found) => found,
            Err(vacancy) => {
                let mut value = init();
                let result = f(&mut value);
                self.insert(group, tag, vacancy, key, value)?;
                return Ok(result);
            }
        };
        // SAFETY: occupied, and not written to meanwhile.
        let epoch = unsafe { slot.epoch() };
        if epoch == self.epoch {
            // SAFETY: occupied, and of this epoch, so the writer's alone, which is borrowed.
            return Ok(f(unsafe { slot.value_place().as_mut() }));
        }
        if self.is_value_needed(epoch, group, tag) {
            // SAFETY: occupied, and not written to before the next statement but one.
            let mut value = unsafe { slot.value() }.clone();
            let result = f(&mut value);
            self.replace(group, tag, index, slot, value);
            return Ok(result);
        }
        let slot = self.renew(group, tag, index);
        // SAFETY: occupied, and not needed by any snapshot, so the writer's alone, which is borrowed.
        Ok(f(unsafe { slot.value_place().as_mut() }))
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for Table<S, V, P> {
    fn drop(&mut self) {
        let estate = Estate { groups: std::mem::take(&mut self.groups), slab: self.slab.clone() };
        let deferred = std::mem::replace(&mut self.deferred, Pile::new());
        match self.bag.upgrade() {
            Some(bag) => {
                // The last to let go of the bag frees it.
                bag.append(deferred);
                bag.push(Garbage::Estate(estate));
            }
            None => {
                // As where the writer frees: the snapshots' reads come first.
                fence(Ordering::Acquire);
                drop(estate);
                drop(Bag::new(self.slab.clone(), deferred));
            }
        }
    }
}
