//! A consistent view of a table, read by another thread while the table changes.

use std::sync::atomic::Ordering;

use backend_api::{Error, ErrorKind};

use crate::containers::SharedArray;

use super::{
    Placement, TableKey, TableValue,
    bag::Bag,
    group::{Directory, Group},
    removal_log::LogView,
    segment::TAG_BITS,
    sync::{Arc, AtomicU64, reading},
};

/// How far a snapshot has been scanned. The writer reads it.
pub(super) struct Progress(AtomicU64);

const ENDED: u64 = u64::MAX;

/// Position in the order of the scan: by group, then by leading tag bits.
fn position(group: usize, tag_bits: u64) -> u64 {
    (group as u64) << 32 | tag_bits
}

impl Progress {
    fn publish(&self, position: u64) {
        // Release: when the writer sees this position, all reads before it are complete.
        self.0.store(position, Ordering::Release);
    }

    /// True if the snapshot will not read entries of `group` with these tag bits any more.
    pub(super) fn has_passed(&self, group: usize, tag_bits: u32) -> bool {
        position(group, u64::from(tag_bits)) < self.0.load(Ordering::Acquire)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) == ENDED
    }
}

/// A group at the time of a snapshot.
pub(super) struct GroupView<S, V, P> {
    directory: Directory<S, V, P>,
    len: usize,
    log: Option<Arc<LogView<S>>>,
    depth: u32,
    /// The epoch of the last change.
    epoch: u32,
}

impl<S: TableKey, V, P> GroupView<S, V, P> {
    pub(super) fn of(group: &Group<S, V, P>) -> Self {
        Self {
            directory: group.directory.clone(),
            len: group.len,
            log: group.log.as_ref().map(|log| Arc::new(log.view())),
            depth: group.depth,
            epoch: group.epoch,
        }
    }
}

impl<S, V, P> Clone for GroupView<S, V, P> {
    fn clone(&self) -> Self {
        Self { directory: self.directory.clone(), log: self.log.clone(), ..*self }
    }
}

/// The entries of a [`Table`](super::Table) at the time of the snapshot.
///
/// It can be sent to another thread, which reads it once and in order. Entries that were read, or that are
/// skipped by dropping the snapshot, cost the table nothing more.
pub struct TableSnapshot<S: TableKey, V: TableValue, P: Placement<V>> {
    epoch: u32,
    /// Deltas on an earlier base lack the removals.
    known_since: u32,
    segments: usize,
    /// The next group that can be scanned.
    next: usize,
    progress: Arc<Progress>,
    groups: SharedArray<GroupView<S, V, P>>,
    bag: Arc<Bag<S, V, P>>,
}

impl<S: TableKey, V: TableValue, P: Placement<V>> TableSnapshot<S, V, P> {
    pub(super) fn new(
        epoch: u32,
        known_since: u32,
        segments: usize,
        groups: SharedArray<GroupView<S, V, P>>,
        bag: Arc<Bag<S, V, P>>,
    ) -> Self {
        let progress = Arc::new(Progress(AtomicU64::new(0)));
        Self { epoch, known_since, segments, next: 0, progress, groups, bag }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The epoch that the snapshot ended. A later delta can have it as base once it is
    /// [confirmed](super::Table::confirm).
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Number of entries of a group, or 0 for a group out of range.
    pub fn group_len(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.len)
    }

    /// The groups that have entries, in ascending order.
    pub fn groups(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().filter(|(_, group)| group.len > 0).map(|(index, _)| index)
    }

    /// The groups that changed after the snapshot of epoch `base`, in ascending order. Some may be empty now.
    pub fn changed_groups(&self, base: u32) -> impl Iterator<Item = usize> {
        self.groups.iter().filter(move |(_, group)| group.epoch > base).map(|(index, _)| index)
    }

    /// Number of segments, which is the most that the table copies while the snapshot is read.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Ensures that the table can copy up to `segments` segments without page faults. Call it in the thread
    /// that is about to scan.
    pub fn prepare(&self, segments: usize) {
        self.bag.slab().prepare(segments.min(self.segments));
    }

    /// The keys of a group that were removed after the snapshot of epoch `base` and that it may have. Keys
    /// can repeat, and can have been added again: a delta applies removals first.
    ///
    /// `None` if the log is incomplete. The delta must then contain the group in full.
    pub fn removed_since(&self, group: usize, base: u32) -> Option<impl Iterator<Item = &S>> {
        let removed = match self.groups.get(group).and_then(|group| group.log.as_ref()) {
            Some(log) => Some(log.since(base)?),
            None => None,
        };
        (base >= self.known_since).then(|| removed.into_iter().flatten())
    }

    /// Calls `f` with the entries of a group and the epochs of their last changes, in the order of segments.
    /// With a `base`, only entries that changed after the snapshot of that epoch.
    ///
    /// A group can be scanned once. Groups must be scanned in ascending order, with or without gaps.
    ///
    /// # Errors
    ///
    /// The first error of `f`, which ends the scan of the group. [`ErrorKind::IllegalState`] if the scan has
    /// passed the group. [`ErrorKind::InvalidArgument`] for a group out of range.
    pub fn scan<E: From<Error>>(
        &mut self,
        group: usize,
        base: Option<u32>,
        f: impl FnMut(&S, &V, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(group)?;
        self.next = group + 1;
        self.progress.publish(position(group, 0));
        let Some(frozen) = self.groups.get(group) else { return Ok(()) };
        let passed = |index: usize| {
            self.progress.publish(position(group, (index as u64) << (TAG_BITS - frozen.depth)));
        };
        Self::read(frozen, base, f, passed)
    }

    /// [`scan`](Self::scan), but the group can be read again.
    ///
    /// # Errors
    ///
    /// Same as [`scan`](Self::scan).
    pub fn look<E: From<Error>>(
        &self,
        group: usize,
        base: Option<u32>,
        f: impl FnMut(&S, &V, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(group)?;
        self.groups.get(group).map_or(Ok(()), |frozen| Self::read(frozen, base, f, |_| ()))
    }

    fn check(&self, group: usize) -> Result<(), Error> {
        let (kind, message) = if group < self.next {
            (ErrorKind::IllegalState, format!("group {group} of the snapshot has been passed"))
        } else if group >= self.groups.len() {
            (ErrorKind::InvalidArgument, format!("group {group} of {}", self.groups.len()))
        } else {
            return Ok(());
        };
        Err(Error::new(kind, message))
    }

    /// Reads a group. Calls `passed` with the number of directory entries read so far.
    fn read<E>(
        frozen: &GroupView<S, V, P>,
        base: Option<u32>,
        mut f: impl FnMut(&S, &V, u32) -> Result<(), E>,
        passed: impl Fn(usize),
    ) -> Result<(), E> {
        let mut index = 0;
        while let Some(&segment) = frozen.directory.get(index) {
            // SAFETY: the writer does not touch what no published position has passed, and the references
            // passed to `f` do not outlive its call.
            unsafe {
                let _reading = reading(segment.address());
                index += 1 << (frozen.depth - segment.header().local_depth);
                let next = frozen.directory.get(index).copied();
                match base {
                    None => segment.try_each(next, |slot| f(slot.key(), slot.value(), slot.epoch())),
                    Some(base) => {
                        segment.changed(base).try_for_each(|slot| f(slot.key(), slot.value(), slot.epoch()))
                    }
                }?;
            }
            passed(index);
        }
        Ok(())
    }
}

impl<S: TableKey, V: TableValue, P: Placement<V>> Drop for TableSnapshot<S, V, P> {
    fn drop(&mut self) {
        self.progress.publish(ENDED);
    }
}
