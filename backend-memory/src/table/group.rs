//! The entries of one key group: a directory of segments.

use std::sync::Arc;

use super::{
    removal_log::RemovalLog,
    segment::{Segment, TAG_BITS, TAG_MASK},
};

pub(super) type Directory<S, V, P> = Arc<[Segment<S, V, P>]>;

/// An extendible hash table. The leading `depth` bits of a tag are its index in the directory. A segment
/// fills all directory entries that start with its own leading bits.
pub(super) struct Group<S, V, P> {
    /// `1 << depth` entries, shared with snapshots until it changes.
    pub(super) directory: Directory<S, V, P>,
    /// Slots per segment less one, or 0 if there is no segment.
    pub(super) mask: usize,
    pub(super) len: usize,
    pub(super) segments: usize,
    /// Removals to be reported by deltas, if any.
    pub(super) log: Option<Box<RemovalLog<S>>>,
    pub(super) depth: u32,
    /// The epoch of the last change.
    pub(super) epoch: u32,
    /// Number of attempts by which some key was rehashed. See [`KeyHash`](super::KeyHash::rehash).
    pub(super) rehashed: u8,
}

/// Index of `tag` in a directory.
#[inline(always)]
pub(super) fn directory_index(tag: u32, depth: u32) -> usize {
    ((tag & TAG_MASK) >> (TAG_BITS - depth)) as usize
}

impl<S, V, P> Group<S, V, P> {
    /// Returns an empty group. All empty groups of a table share one directory.
    pub(super) fn new(nothing: &Directory<S, V, P>) -> Self {
        debug_assert_eq!(nothing.len(), 1);
        Self {
            directory: nothing.clone(),
            mask: 0,
            len: 0,
            segments: 0,
            log: None,
            depth: 0,
            epoch: 0,
            rehashed: 0,
        }
    }

    /// The segment for entries with `tag`, and the mask for its slots.
    #[inline(always)]
    pub(super) fn segment(&self, tag: u32) -> (Segment<S, V, P>, usize) {
        // SAFETY: the index has `depth` bits.
        let segment = unsafe { *self.directory.get_unchecked(directory_index(tag, self.depth)) };
        (segment, self.mask)
    }

    /// Replaces the segment that holds `tag` and has `local_depth` by `low` and `high`. Each takes half of
    /// its directory entries.
    pub(super) fn replace(
        &mut self,
        tag: u32,
        local_depth: u32,
        low: Segment<S, V, P>,
        high: Segment<S, V, P>,
    ) {
        let aliases = 1 << (self.depth - local_depth);
        let first = directory_index(tag, self.depth) & !(aliases - 1);
        let entries = &mut Arc::make_mut(&mut self.directory)[first..first + aliases];
        entries[..aliases / 2].fill(low);
        entries[aliases / 2..].fill(high);
    }

    /// Doubles the directory.
    pub(super) fn deepen(&mut self) {
        self.directory = (0..2 * self.directory.len()).map(|index| self.directory[index / 2]).collect();
        self.depth += 1;
    }

    pub(super) fn directory_size(&self) -> usize {
        if self.mask == 0 { 0 } else { size_of_val(&*self.directory) }
    }

    /// The segments in the order of their leading bits.
    pub(super) fn segments(&self) -> impl Iterator<Item = Segment<S, V, P>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            if self.mask == 0 {
                return None;
            }
            let segment = *self.directory.get(next)?;
            // SAFETY: a group's segments outlive it, and its borrow excludes the writer.
            next += 1 << (self.depth - unsafe { segment.header() }.local_depth);
            Some(segment)
        })
    }
}
