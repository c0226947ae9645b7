//! The hash table that holds the state of heap backends. It is segmented, and copied on write under
//! snapshots.
//!
//! A [`Table`] has one group per key group. A group is an extendible hash table: a directory of segments with
//! at most 256 slots each, probed linearly. [`Table::snapshot`] shares the directories and starts a new
//! epoch. From then on, the writer copies a segment before its first change to it, and clones a value on the
//! heap before its first change to that. It skips the copy once no snapshot will read the original.
//!
//! A snapshot visits only the groups that changed since the previous one. It shares its view of all others.
//!
//! An epoch has two numbers. The even one is the table's number while the epoch lasts. The odd one after it
//! belongs to the snapshot that ends the epoch, and to entries that were added in the epoch and not changed
//! since.
//!
//! # Invariants
//!
//! 1. A slot's epoch is the epoch of its entry's last change. It is at most its segment's epoch, which is at
//!    most the table's. Only the writer uses a segment of the table's epoch.
//! 2. A snapshot of epoch `e` sees only what has an epoch of at most `e`, and reads only what it has not
//!    passed.
//! 3. The table owns the keys and values in its own segments. What leaves the table while a snapshot may
//!    still read it goes into the newest bag, which outlives all snapshots taken so far.
//! 4. A snapshot passes a segment as a whole. Splitting, rebuilding and merging replace a segment by new ones
//!    of a later epoch.
//! 5. Every segment has an empty slot, where searches end. A vacated slot is not empty.
//! 6. User code (`Clone`, `Drop`, closures) runs only while the table is consistent, and may panic.

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
use std::ops::ControlFlow;
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

/// Bytes of a boxed value that are prefetched.
const BOXED_MAX: usize = 256;

/// The first epoch, and the step from one epoch to the next.
const EPOCH: u32 = 2;

/// Groups per word of a bitmap.
const WORD: usize = u64::BITS as usize;

/// An odd number of random bits.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash table of stored keys `S` and values `V`, stored in the places that `P` defines.
///
/// Every operation on an entry takes its `group`, the `hash` of its key, and a function `eq` that is true
/// for its key alone among keys with that hash. If more keys have one hash than a segment takes, the rest are placed by a
/// secret second hash.
///
/// Groups are numbered from 0 to [`groups`](Self::groups). Operations panic on a group out of range.
pub struct Table<S: TableKey, V: TableValue, P: Placement<V>> {
    groups: Vec<Group<S, V, P>>,
    /// The groups as the last snapshot saw them.
    view: SharedArray<GroupView<S, V, P>>,
    /// One bit per group, set if the view of the group is out of date.
    touched: Vec<u64>,
    /// Groups that have a removal log.
    logged: Vec<u32>,
    /// The directory of a group without entries.
    nothing: Directory<S, V, P>,
    seed: u64,
    secret: RandomState,
    epoch: u32,
    /// The last confirmed epoch. Deltas have this base or a later one.
    confirmed: u32,
    tracks_removals: bool,
    /// True if the last write added an entry. Adding also needs the segment's header, so the next write
    /// prefetches it too.
    adds: bool,
    len: usize,
    /// Bytes of segments and directories.
    bytes: usize,
    segments: usize,
    /// Bytes of the removal logs.
    log_bytes: usize,
    /// Snapshots that still exist, oldest first.
    live: Vec<Live>,
    /// The newest bag. It exists while any snapshot does.
    bag: Weak<Bag<S, V, P>>,
    /// Garbage handed back to the writer, which frees a little with each step.
    deferred: Pile<Garbage<S, V, P>>,
    slab: Arc<Slab>,
}

/// The index and address of an entry's slot, or else the index of the free slot for it.
type Found<S, V, P> = Result<(usize, Slot<S, V, P>), usize>;

/// Segments and groups in which [`Table::visit_next`] looks for entries.
const PLACES_PER_VISIT: usize = 16;

/// How far [`Table::visit_next`] has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    group: usize,
    /// Index in the group's directory.
    segment: usize,
    slot: usize,
}

struct Live {
    epoch: u32,
    progress: Arc<Progress>,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Returns an empty table whose order is decided by `seed`. With `tracks_removals`, removals are logged
    /// for deltas: see [`TableSnapshot::removed_since`].
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

    /// Returns an empty table with the same seed and slab. This table can [adopt](Self::adopt) its groups.
    pub fn sibling(&self) -> Self {
        let mut table = Self::new(self.groups.len(), self.seed, self.tracks_removals);
        table.slab = Arc::clone(&self.slab);
        table.secret = self.secret.clone();
        table
    }

    /// Moves in all groups of a sibling that have entries there and none here.
    ///
    /// # Panics
    ///
    /// If `sibling` is not a sibling of this table, or a snapshot was taken of either.
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

    /// Marks a group as changed in this epoch.
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

    /// Bytes held for entries and for the removal logs. Excludes what keys and values own themselves, and
    /// what only snapshots hold.
    pub fn bytes(&self) -> usize {
        let boxes = if P::MODE == Mode::Boxed { self.len * size_of::<V>() } else { 0 };
        self.bytes + boxes + self.log_bytes
    }

    /// Bytes of the removal logs, which are part of [`bytes`](Self::bytes).
    pub fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// Upper bound of how much an insert into `group` can add to [`bytes`](Self::bytes). 0 if there is room.
    pub fn growth(&self, group: usize) -> usize {
        let group = &self.groups[group];
        let boxed = if P::MODE == Mode::Boxed { size_of::<V>() } else { 0 };
        // SAFETY: the borrow of `self` excludes the writer.
        let header = unsafe { group.directory[0].header() };
        let segment = match Segment::<S, V, P>::next_slots(usize::from(header.slots)) {
            _ if group.depth == 0 && !header.is_full() => return boxed,
            Some(next) => Segment::<S, V, P>::size(next),
            None => Segment::<S, V, P>::FULL.size(),
        };
        // A directory at most doubles.
        segment + size_of_val(&*group.directory) + boxed
    }

    /// The current epoch, which is also that of the next snapshot.
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
        // SAFETY: only the writer writes to the table's segments, and `self` borrows it.
        unsafe { segment.find(mask, tag, eq) }
    }

    /// Returns the tag by which a key was found and its slot, or the tag and free slot for inserting it.
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

    /// Finds a key that was placed by another hash because its segment was full.
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

    /// [`find`](Self::find) before a write. Prefetches the header if the write is likely to need it.
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
        // SAFETY: the slot is occupied, and the borrow of `self` excludes the writer.
        Some(unsafe { slot.value() })
    }

    /// Prefetches the memory that an operation on this key needs first.
    #[inline]
    pub fn prefetch(&self, group: usize, hash: u64) {
        let tag = self.tag(hash);
        let (segment, mask) = self.groups[group].segment(tag);
        // SAFETY: masked.
        let slot = unsafe { segment.slot(tag as usize & mask) }.address();
        prefetch_line(slot);
        // The next line has the rest of the slot, or the slots probed after it.
        prefetch_line(slot.wrapping_add(if self.adds { LINE } else { Slot::<S, V, P>::SIZE - 1 }));
        if self.adds {
            prefetch_line(segment.address());
        }
    }

    /// Prefetches the memory to which the value of this key points. Reads the entry itself, so call
    /// [`prefetch`](Self::prefetch) first.
    #[inline]
    pub fn prefetch_value(&self, group: usize, hash: u64) {
        if P::MODE == Mode::Plain {
            return;
        }
        // A different key with that tag only makes the prefetch useless.
        if let Ok((_, slot)) = self.find_tagged(group, self.tag(hash), |_| true) {
            // SAFETY: the slot is occupied, and the borrow of `self` excludes the writer.
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
            // SAFETY: the borrow of `self` excludes the writer.
            .flat_map(|segment| unsafe { segment.occupied() })
            // SAFETY: as above.
            .map(|slot| unsafe { (slot.key(), slot.value()) })
    }

    /// Calls `f` with the keys and values of the next entries, at most `most` times, until it breaks. The next call begins
    /// with the entry at which it broke with false, or behind the last one. A call ends at the last entry of the table, and the
    /// next one begins with the first. One call passes few places without entries. An entry that moves meanwhile may be
    /// missed until the next round. Returns how often it called `f`.
    pub fn visit_next(
        &self,
        walk: &mut Walk,
        most: usize,
        mut f: impl FnMut(&S, &V) -> ControlFlow<bool>,
    ) -> usize {
        let mut visited = 0;
        for _ in 0..PLACES_PER_VISIT {
            let Some(group) = self.groups.get(walk.group) else {
                *walk = Walk::default();
                break;
            };
            let segment = if group.mask == 0 { None } else { group.directory.get(walk.segment) };
            let Some(segment) = segment else {
                *walk = Walk { group: walk.group + 1, ..Walk::default() };
                continue;
            };
            // SAFETY: the borrow of `self` excludes the writer.
            let (local_depth, slots) =
                unsafe { (segment.header().local_depth, segment.occupied_from(walk.slot)) };
            for (index, slot) in slots.take(most - visited) {
                visited += 1;
                // SAFETY: as above.
                let flow = unsafe { f(slot.key(), slot.value()) };
                walk.slot = index + usize::from(flow != ControlFlow::Break(false));
                if flow.is_break() {
                    return visited;
                }
            }
            if visited == most {
                break;
            }
            // A segment fills all directory entries with its leading bits. It may have been split meanwhile.
            let aliases = 1 << (group.depth - local_depth);
            walk.segment = (walk.segment & !(aliases - 1)) + aliases;
            walk.slot = 0;
        }
        visited
    }

    /// Sets the value of a key. `key` makes the stored key if the entry is new.
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

    /// Lets `f` change, make or (by `None`) remove the value of a key. `f` works on a clone, so nothing
    /// changes if it fails or panics.
    ///
    /// # Errors
    ///
    /// Errors of `f`. [`ErrorKind::Size`] if too many keys have this hash.
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
        // SAFETY: the slot is occupied, and nothing writes to it until `f` returns.
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

    /// Removes a key. Returns true if it was present.
    #[inline]
    pub fn remove(&mut self, group: usize, hash: impl KeyHash, eq: impl FnMut(&S) -> bool) -> bool {
        let (tag, Ok((index, _))) = self.find(group, hash, eq) else { return false };
        let (value, shared) = self.remove_at(group, tag, index);
        self.discard(value, shared);
        true
    }

    /// Takes a snapshot and starts the next epoch. The cost grows with the number of groups that changed
    /// since the last one.
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

    /// Closes the logs of this epoch, and discards parts that no delta needs.
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

    /// Updates the view of the groups that changed.
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

    /// Discards all logged removals to free their memory. The next delta then contains these groups in full.
    pub fn spill_removals(&mut self) {
        for &group in &self.logged {
            if let Some(log) = &mut self.groups[group as usize].log {
                log.spill(self.epoch);
            }
        }
        self.log_bytes = 0;
    }

    /// Confirms that the snapshot of `epoch` is stored. No later delta has an earlier base. An earlier
    /// `epoch` than the last confirmed one changes nothing.
    pub fn confirm(&mut self, epoch: u32) {
        self.confirmed = self.confirmed.max(epoch.min(self.epoch - 1));
    }
}

impl<S: TableKey, V: Handle> Table<S, V, Container> {
    /// Returns the value of a key if it is present and no snapshot can see it.
    #[inline]
    pub fn get_own(
        &mut self,
        group: usize,
        hash: impl KeyHash,
        eq: impl FnMut(&S) -> bool,
    ) -> Option<&mut V> {
        let (_, slot) = self.find(group, hash, eq).1.ok()?;
        // SAFETY: the slot is occupied. A slot of this epoch is the writer's alone, and the writer is
        // borrowed.
        unsafe { (slot.epoch() >= self.epoch).then(|| slot.value_place().as_mut()) }
    }

    /// Changes the value of a key in place. `init` makes a missing value, and `key` its stored key.
    ///
    /// If `f` panics, the value stays as `f` left it, or as it was before if a snapshot needs that.
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
        // SAFETY: the slot is occupied, and nothing writes to it meanwhile.
        let epoch = unsafe { slot.epoch() };
        if epoch >= self.epoch {
            // SAFETY: the slot is occupied and of this epoch, so it is the writer's alone, which is borrowed.
            return Ok(f(unsafe { slot.value_place().as_mut() }));
        }
        if self.is_value_needed(epoch, group, tag) {
            // SAFETY: the slot is occupied, and nothing writes to it before the value is replaced below.
            let mut value = unsafe { slot.value() }.clone();
            let result = f(&mut value);
            self.replace(group, tag, index, slot, value);
            return Ok(result);
        }
        let slot = self.renew(group, tag, index);
        // SAFETY: the slot is occupied and no snapshot needs it, so it is the writer's alone, which is
        // borrowed.
        Ok(f(unsafe { slot.value_place().as_mut() }))
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for Table<S, V, P> {
    fn drop(&mut self) {
        let estate = Estate { groups: std::mem::take(&mut self.groups), slab: self.slab.clone() };
        let deferred = std::mem::replace(&mut self.deferred, Pile::new());
        match self.bag.upgrade() {
            Some(bag) => {
                // The last owner of the bag frees it.
                bag.append(deferred);
                bag.push(Garbage::Estate(estate));
            }
            None => {
                // As in `retire`: pairs with the release of the snapshots, whose reads come first.
                fence(Ordering::Acquire);
                drop(estate);
                drop(Bag::new(self.slab.clone(), deferred));
            }
        }
    }
}
