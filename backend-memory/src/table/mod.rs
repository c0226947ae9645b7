//! The table in which heap backends keep their state: segmented, and copied on write while a snapshot needs it.
//!
//! A [`Table`] has a number of groups (one per key group), each an extendible hash table: a directory of
//! segments of at most 256 slots, probed linearly. [`Table::snapshot`] takes the directories and opens a new
//! epoch. From then on the writer copies a segment before its first change to it, unless no snapshot
//! will read it any more, and replaces a value that lives on the heap by a clone before the first change to that.
//!
//! A snapshot looks at the groups that changed since the one before, and shares its view of all others with it.
//!
//! An epoch has two numbers. The even one is the table's while the epoch lasts. The odd one after it is that of the
//! snapshot which ends the epoch, and of entries that were added in the epoch and not changed in a later one.
//!
//! # Invariants
//!
//! 1. A slot's epoch is that of its entry's last change, and not later than its segment's epoch, which is not
//!    later than the table's. A segment of the table's epoch is the writer's alone.
//! 2. A snapshot of epoch `e` sees what is not later than `e`, and of that only what it has not passed.
//! 3. The table owns the keys and values in its own segments. What a snapshot may still read when it leaves
//!    the table goes into the newest bag, which outlives all snapshots taken so far.
//! 4. A segment that a snapshot can see is passed by it as a whole: one that is split, rebuilt or merged is replaced by
//!    others of a later epoch.
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

use std::hash::RandomState;
use std::sync::atomic::Ordering;

use backend_api::{Error, ErrorKind, Result};

pub use placement::{
    Container, DROPPED_IN_PLACE, Handle, KeyHash, Mode, Placement, TableKey, TableValue, UserValue,
};
pub use snapshot::TableSnapshot;

use crate::containers::SharedArray;
use crate::prefetch::{LINE, prefetch, prefetch_line};
use bag::{Bag, Estate, Garbage, Pile};
use group::{Directory, Group};
use segment::{Segment, TAG_BITS, TAG_MASK};
use slab::Slab;
use slot::Slot;
use snapshot::{GroupView, Progress};
use sync::{Arc, Weak, fence};

/// Bytes of a boxed value that are loaded ahead.
const BOXED_MAX: usize = 256;

/// The first epoch, and the distance from one to the next.
const EPOCH: u32 = 2;

/// Groups in a word of a bitmap.
const WORD: usize = u64::BITS as usize;

/// An odd number of random bits.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash table of stored keys `S` and values `V`, held as the policy `P` says.
///
/// Every operation on an entry is given its `group`, the `hash` of its key (the same for equal keys) and a function `eq`
/// that tells it from others with that hash. Where more keys have one hash than a segment takes, the rest is found by
/// another hash, which nobody can foresee.
///
/// Groups are counted from 0 to [`groups`](Self::groups); operations panic if there is no such group.
pub struct Table<S: TableKey, V: TableValue, P: Placement<V>> {
    groups: Vec<Group<S, V, P>>,
    /// The groups as the last snapshot saw them.
    view: SharedArray<GroupView<S, V, P>>,
    /// A bit for each group, set if the view of it is out of date.
    touched: Vec<u64>,
    /// The groups that have a log of removals.
    logged: Vec<u32>,
    /// The directory of a group without entries.
    nothing: Directory<S, V, P>,
    seed: u64,
    secret: RandomState,
    epoch: u32,
    /// No delta will be asked for on an earlier base than this.
    confirmed: u32,
    tracks_removals: bool,
    /// True if the last write added an entry, for which the segment's header is needed besides the slot. The next is likely
    /// to do the same, and then loads both at once.
    adds: bool,
    len: usize,
    /// Bytes of segments and directories.
    bytes: usize,
    segments: usize,
    /// Bytes of the logs of removals.
    log_bytes: usize,
    /// The snapshots that have not ended, oldest first.
    live: Vec<Live>,
    /// The newest bag; it is there as long as any snapshot is.
    bag: Weak<Bag<S, V, P>>,
    /// Garbage that came back to the writer, to be freed little by little.
    deferred: Pile<Garbage<S, V, P>>,
    slab: Arc<Slab>,
}

/// The index and address of an entry's slot, or else the index of the free slot for it.
type Found<S, V, P> = Result<(usize, Slot<S, V, P>), usize>;

struct Live {
    epoch: u32,
    progress: Arc<Progress>,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// A table without entries, whose order `seed` decides. It logs removals for deltas if it `tracks_removals`: see
    /// [`TableSnapshot::removed_since`].
    pub fn new(groups: usize, seed: u64, tracks_removals: bool) -> Self {
        let nothing = Directory::from([Segment::nothing()]);
        Self {
            groups: (0..groups).map(|_| Group::new(&nothing)).collect(),
            view: SharedArray::new(groups),
            touched: vec![0; groups.div_ceil(WORD)],
            logged: Vec::new(),
            nothing,
            seed,
            secret: RandomState::new(),
            epoch: EPOCH,
            confirmed: 0,
            tracks_removals,
            adds: false,
            len: 0,
            bytes: 0,
            segments: 0,
            log_bytes: 0,
            live: Vec::new(),
            bag: Weak::new(),
            deferred: Pile::new(),
            slab: Arc::new(Slab::new(Segment::<S, V, P>::FULL)),
        }
    }

    /// A table without entries, the like of this one when it was new, whose groups this one can [adopt](Self::adopt).
    pub fn sibling(&self) -> Self {
        let mut table = Self::new(self.groups.len(), self.seed, self.tracks_removals);
        table.slab = Arc::clone(&self.slab);
        table.secret = self.secret.clone();
        table
    }

    /// Takes over the groups of a sibling that have entries and have none here.
    ///
    /// # Panics
    ///
    /// If it is no sibling, or one of the two has had a snapshot.
    pub fn adopt(&mut self, sibling: &mut Self) {
        let fits = |table: &Self| table.epoch == EPOCH && table.live.is_empty();
        assert!(fits(self) && fits(sibling) && Arc::ptr_eq(&self.slab, &sibling.slab));
        for (index, (group, theirs)) in self.groups.iter_mut().zip(&mut sibling.groups).enumerate() {
            if group.len == 0 && theirs.len > 0 {
                std::mem::swap(group, theirs);
                self.touched[index / WORD] |= 1 << (index % WORD);
            }
        }
        for table in [self, sibling] {
            let groups = &table.groups;
            table.len = groups.iter().map(|group| group.len).sum();
            table.bytes = groups.iter().map(Self::group_bytes).sum();
            table.segments = groups.iter().map(|group| group.segments).sum();
            table.logged =
                (0..).zip(groups).filter(|(_, group)| group.log.is_some()).map(|(at, _)| at).collect();
            table.count_logs();
        }
    }

    /// Notes that a group changes in this epoch.
    #[inline]
    fn touch(&mut self, group: usize) {
        let entries = &mut self.groups[group];
        if entries.epoch != self.epoch {
            entries.epoch = self.epoch;
            self.touched[group / WORD] |= 1 << (group % WORD);
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

    /// True if removals are logged.
    pub fn tracks_removals(&self) -> bool {
        self.tracks_removals
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that the table holds for its entries, without what keys and values own themselves, and for its log of
    /// removals. What only snapshots hold is not counted.
    pub fn bytes(&self) -> usize {
        let boxes = if P::MODE == Mode::Boxed { self.len * size_of::<V>() } else { 0 };
        self.bytes + boxes + self.log_bytes
    }

    /// Bytes of the log of removals, in [`bytes`](Self::bytes).
    pub fn log_bytes(&self) -> usize {
        self.log_bytes
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
    fn find_tagged(&self, group: usize, tag: u32, eq: impl FnMut(&S) -> bool) -> Found<S, V, P> {
        let (segment, mask) = self.groups[group].segment(tag);
        // SAFETY: the table's segments are written to by the writer only, which `self` borrows.
        unsafe { segment.find(mask, tag, eq) }
    }

    /// The tag by which a key is found and its slot, or by which it belongs into the free slot.
    #[inline(always)]
    fn find(
        &self,
        group: usize,
        hash: impl KeyHash,
        mut eq: impl FnMut(&S) -> bool,
    ) -> (u32, Found<S, V, P>) {
        let tag = self.tag(hash.hash());
        let found = self.find_tagged(group, tag, &mut eq);
        if found.is_err() && self.groups[group].rehashed > 0 {
            return self.find_rehashed(group, hash, eq).unwrap_or((tag, found));
        }
        (tag, found)
    }

    /// The entry of a key that is found by another hash, as its segment was full.
    #[cold]
    #[inline(never)]
    fn find_rehashed(
        &self,
        group: usize,
        hash: impl KeyHash,
        mut eq: impl FnMut(&S) -> bool,
    ) -> Option<(u32, Found<S, V, P>)> {
        (1..=self.groups[group].rehashed).find_map(|attempt| {
            let tag = self.tag(hash.rehash(&self.secret, attempt));
            let found = self.find_tagged(group, tag, &mut eq).ok()?;
            Some((tag, Ok(found)))
        })
    }

    /// [`find`](Self::find) before a write, with the header on its way if that is likely to be needed.
    #[inline]
    fn find_to_write(
        &mut self,
        group: usize,
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
    ) -> (u32, Found<S, V, P>) {
        if self.adds {
            let tag = self.tag(hash.hash());
            let (segment, mask) = self.groups[group].segment(tag);
            prefetch_line(segment.address());
            // SAFETY: masked.
            prefetch_line(unsafe { segment.slot(tag as usize & mask) }.address().wrapping_add(LINE));
        }
        let found = self.find(group, hash, eq);
        self.adds = found.1.is_err();
        found
    }

    /// The value of a key.
    #[inline(always)]
    pub fn get(&self, group: usize, hash: impl KeyHash, eq: impl FnMut(&S) -> bool) -> Option<&V> {
        let (_, slot) = self.find(group, hash, eq).1.ok()?;
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
        if let Ok((_, slot)) = self.find_tagged(group, self.tag(hash), |_| true) {
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
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        value: V,
    ) -> Result<()> {
        let (tag, found) = self.find_to_write(group, hash, eq);
        match found {
            Ok((index, slot)) => self.replace(group, tag, index, slot, value),
            Err(vacancy) => self.insert(group, hash, (tag, vacancy), key, value)?,
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
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E> {
        let (tag, found) = self.find_to_write(group, hash, eq);
        // SAFETY: occupied, and not written to before `f` has returned.
        let mut value = found.ok().map(|(_, slot)| unsafe { slot.value() }.clone());
        let result = f(&mut value)?;
        match (found, value) {
            (Ok((index, slot)), Some(value)) => self.replace(group, tag, index, slot, value),
            (Err(vacancy), Some(value)) => self.insert(group, hash, (tag, vacancy), key, value)?,
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
    pub fn remove(&mut self, group: usize, hash: impl KeyHash, eq: impl FnMut(&S) -> bool) -> bool {
        let (tag, Ok((index, _))) = self.find(group, hash, eq) else { return false };
        let (value, shared) = self.remove_at(group, tag, index);
        self.discard(value, shared);
        true
    }

    /// Takes a snapshot, and begins the next epoch. It costs as much as groups have changed since the last one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Size`] after 2^31 snapshots.
    pub fn snapshot(&mut self) -> Result<TableSnapshot<S, V, P>> {
        let next = self
            .epoch
            .checked_add(EPOCH)
            .ok_or_else(|| Error::new(ErrorKind::Size, "too many snapshots of one table"))?;
        let mut garbage = std::mem::replace(&mut self.deferred, Pile::new());
        self.freeze_logs(&mut garbage);
        self.refresh_view();
        let bag = Bag::new(self.slab.clone(), garbage);
        if let Some(older) = self.bag.upgrade() {
            older.set_next(&bag);
            if let Some(garbage) = Bag::release(older) {
                self.deferred = garbage;
            }
        }
        self.bag = Arc::downgrade(&bag);
        let known_since = if self.tracks_removals { self.confirmed } else { u32::MAX };
        let snapshot = TableSnapshot::new(next - 1, known_since, self.segments, self.view.clone(), bag);
        self.live.push(Live { epoch: next - 1, progress: snapshot.progress() });
        self.epoch = next;
        Ok(snapshot)
    }

    /// Closes the logs of this epoch, and lets go of what no delta will ask for.
    fn freeze_logs(&mut self, garbage: &mut Pile<Garbage<S, V, P>>) {
        let Self { groups, logged, touched, epoch, confirmed, .. } = self;
        logged.retain(|&group| {
            let group = group as usize;
            touched[group / WORD] |= 1 << (group % WORD);
            let Some(log) = &mut groups[group].log else { return false };
            log.freeze(*epoch, *confirmed, |part| garbage.push(Garbage::Log(part)));
            let is_needed = !log.is_void(*confirmed);
            if !is_needed {
                groups[group].log = None;
            }
            is_needed
        });
        self.count_logs();
    }

    fn count_logs(&mut self) {
        let logs = self.logged.iter().filter_map(|&group| self.groups[group as usize].log.as_ref());
        self.log_bytes = logs.map(|log| log.bytes()).sum();
    }

    /// Brings the view of the groups up to date.
    fn refresh_view(&mut self) {
        for (word, bits) in self.touched.iter_mut().enumerate() {
            let mut rest = std::mem::take(bits);
            while rest != 0 {
                let at = word * WORD + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let group = &self.groups[at];
                let is_needed = group.len > 0 || group.epoch > self.confirmed;
                self.view.replace(at, is_needed.then(|| GroupView::of(group)));
            }
        }
    }

    /// Forgets all logged removals, to have their memory back: the next delta of the groups is all that they have.
    pub fn spill_removals(&mut self) {
        for &group in &self.logged {
            if let Some(log) = &mut self.groups[group as usize].log {
                log.spill(self.epoch);
            }
        }
        self.log_bytes = 0;
    }

    /// Tells that no delta will be asked for on an earlier base than `epoch`, the epoch of a snapshot that is
    /// known to be stored. Earlier confirmations stay in force.
    pub fn confirm(&mut self, epoch: u32) {
        self.confirmed = self.confirmed.max(epoch.min(self.epoch - 1));
    }
}

impl<S: TableKey, V: Handle> Table<S, V, Container> {
    /// The value of a key, if it is there and no snapshot can see it.
    #[inline]
    pub fn get_own(
        &mut self,
        group: usize,
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
    ) -> Option<&mut V> {
        let (_, slot) = self.find(group, hash, eq).1.ok()?;
        // SAFETY: occupied; of this epoch it is the writer's alone, which is borrowed.
        unsafe { (slot.epoch() >= self.epoch).then(|| slot.value_place().as_mut()) }
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
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
        key: impl FnOnce() -> S,
        init: impl FnOnce() -> V,
        f: impl FnOnce(&mut V) -> R,
    ) -> Result<R> {
        let (tag, found) = self.find_to_write(group, hash, eq);
        let (index, slot) = match found {
            Ok(found) => found,
            Err(vacancy) => {
                let mut value = init();
                let result = f(&mut value);
                self.insert(group, hash, (tag, vacancy), key, value)?;
                return Ok(result);
            }
        };
        // SAFETY: occupied, and not written to meanwhile.
        let epoch = unsafe { slot.epoch() };
        if epoch >= self.epoch {
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
