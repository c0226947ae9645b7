//! The view of a table at one moment.

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

/// How far a snapshot has been scanned, for the writer to see.
pub(super) struct Progress(AtomicU64);

const ENDED: u64 = u64::MAX;

/// Order of the scan: by group, then by the leading bits of the tags.
fn position(group: usize, tag_bits: u64) -> u64 {
    (group as u64) << 32 | tag_bits
}

impl Progress {
    fn publish(&self, position: u64) {
        // Release: what was read before has been read when the writer sees this.
        self.0.store(position, Ordering::Release);
    }

    /// True if the snapshot will not read the entries of `group` with these tag bits any more.
    pub(super) fn has_passed(&self, group: usize, tag_bits: u32) -> bool {
        position(group, u64::from(tag_bits)) < self.0.load(Ordering::Acquire)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) == ENDED
    }
}

/// A group as it was at a snapshot.
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

/// The entries of a [`Table`](super::Table) as they were when it was taken.
///
/// It can be sent to another thread, which reads it once and in order; what it has passed, or never comes to
/// read because it is dropped, costs the table nothing more.
pub struct TableSnapshot<S: TableKey, V: TableValue, P: Placement<V>> {
    epoch: u32,
    /// For a delta on an earlier base than this it is not known what was removed.
    known_since: u32,
    segments: usize,
    /// The next group that may be scanned.
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

    /// The epoch that ended with the snapshot. It is the base of a later delta, if it is
    /// [confirmed](super::Table::confirm).
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Number of entries of a group; 0 if there is no such group.
    pub fn group_len(&self, group: usize) -> usize {
        self.groups.get(group).map_or(0, |group| group.len)
    }

    /// The groups that have entries, in ascending order.
    pub fn groups(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().filter(|(_, group)| group.len > 0).map(|(index, _)| index)
    }

    /// The groups that were changed after the snapshot of epoch `base`, in ascending order; some may have no entries any
    /// more.
    pub fn changed_groups(&self, base: u32) -> impl Iterator<Item = usize> {
        self.groups.iter().filter(move |(_, group)| group.epoch > base).map(|(index, _)| index)
    }

    /// Number of segments: as many as the table may have to copy while the snapshot is read.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Sees to it that the table can copy `segments` segments (no more than there are in the snapshot)
    /// without waiting for fresh memory. Meant for the thread that is about to scan.
    pub fn prepare(&self, segments: usize) {
        self.bag.slab().prepare(segments.min(self.segments));
    }

    /// The keys of a group that the snapshot of epoch `base` may have and that were removed after it, some perhaps more
    /// than once and some of them put in again since: a delta is applied removals first.
    ///
    /// `None` if they are not all known: the delta of this group must be all of it.
    pub fn removed_since(&self, group: usize, base: u32) -> Option<impl Iterator<Item = &S>> {
        let removed = match self.groups.get(group).and_then(|group| group.log.as_ref()) {
            Some(log) => Some(log.since(base)?),
            None => None,
        };
        (base >= self.known_since).then(|| removed.into_iter().flatten())
    }

    /// Hands the entries of a group with the epoch of their last change to `f`, in the order of segments:
    /// those that were changed after the snapshot of epoch `base`, or all.
    ///
    /// A group can be scanned once, and groups in ascending order only, with or without gaps.
    ///
    /// # Errors
    ///
    /// The first of `f`, which ends the scan of the group. [`ErrorKind::IllegalState`] if the scan has passed
    /// the group; [`ErrorKind::InvalidArgument`] if there is no such group.
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

    /// As [`scan`](Self::scan), but the group can be looked at or scanned again.
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
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

    /// Reads a group, and calls `passed` with the number of directory entries that have been read so far.
    fn read<E>(
        frozen: &GroupView<S, V, P>,
        base: Option<u32>,
        mut f: impl FnMut(&S, &V, u32) -> Result<(), E>,
        passed: impl Fn(usize),
    ) -> Result<(), E> {
        let mut index = 0;
        while let Some(&segment) = frozen.directory.get(index) {
            // SAFETY: the writer leaves alone what no published position has passed, and the references
            // that `f` is given do not outlive its call.
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
