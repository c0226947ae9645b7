//! Removed keys by epoch, for incremental checkpoints.

use crate::containers::chunked_list::ChunkedList;

/// Most logged removals, unless the map has more than half as many entries. Then the limit is twice their
/// number.
pub(super) const REMOVALS_MIN: usize = 64;

/// A log of removals. A clone copies two pointers per epoch.
pub(super) struct RemovalLog<K> {
    /// In ascending order of epochs.
    epochs: Vec<(u32, ChunkedList<K>)>,
    len: usize,
    /// The epoch in which the log was spilled. The removals up to its end are unknown.
    unknown: Option<u32>,
}

impl<K> Clone for RemovalLog<K> {
    fn clone(&self) -> Self {
        Self { epochs: self.epochs.clone(), ..*self }
    }
}

impl<K: Clone> RemovalLog<K> {
    pub(super) const fn new() -> Self {
        Self { epochs: Vec::new(), len: 0, unknown: None }
    }

    /// Clones what the next [`push`](Self::push) would clone.
    pub(super) fn unshare(&mut self) {
        if let Some((_, keys)) = self.epochs.last_mut() {
            keys.unshare();
        }
    }

    /// Logs the removal of `key`. If the log gets longer than `max`, it is spilled, and its contents are
    /// returned for the caller to drop. An epoch before the last one is replaced by the last one.
    pub(super) fn push(&mut self, key: K, epoch: u32, max: usize) -> Vec<(u32, ChunkedList<K>)> {
        let epoch = self.epochs.last().map_or(epoch, |&(last, _)| last.max(epoch));
        if self.unknown.is_some_and(|unknown| epoch <= unknown) {
            return Vec::new();
        }
        if self.len >= max {
            return self.spill(epoch);
        }
        match self.epochs.last_mut() {
            Some((last, keys)) if *last == epoch => keys.push(key, epoch),
            _ => self.epochs.push((epoch, ChunkedList::new(key, epoch))),
        }
        self.len += 1;
        Vec::new()
    }

    /// Forgets all removals until the end of `epoch`, and returns them for the caller to drop.
    pub(super) fn spill(&mut self, epoch: u32) -> Vec<(u32, ChunkedList<K>)> {
        (self.len, self.unknown) = (0, Some(epoch));
        std::mem::take(&mut self.epochs)
    }

    /// The keys removed after epoch `base`, possibly repeated. `None` if they are unknown.
    pub(super) fn since(&self, base: u32) -> Option<impl Iterator<Item = &K>> {
        let known = self.unknown.is_none_or(|unknown| base >= unknown);
        known.then(|| {
            let start = self.epochs.partition_point(|&(epoch, _)| epoch <= base);
            self.epochs[start..].iter().flat_map(|(_, keys)| keys.iter())
        })
    }

    /// True if [`forget`](Self::forget) would drop nothing.
    pub(super) fn is_after(&self, confirmed: u32) -> bool {
        self.epochs.first().is_none_or(|&(epoch, _)| epoch > confirmed)
            && self.unknown.is_none_or(|unknown| unknown > confirmed)
    }

    /// Drops the removals up to epoch `confirmed`. Returns true if the log is empty now.
    pub(super) fn forget(&mut self, confirmed: u32) -> bool {
        self.unknown = self.unknown.filter(|&unknown| unknown > confirmed);
        let end = self.epochs.partition_point(|&(epoch, _)| epoch <= confirmed);
        let forgotten: Vec<_> = self.epochs.drain(..end).collect();
        self.len -= forgotten.iter().map(|(_, keys)| keys.len()).sum::<usize>();
        self.epochs.is_empty() && self.unknown.is_none()
    }

    pub(super) fn heap_size(&self) -> usize {
        let keys: usize = self.epochs.iter().map(|(_, keys)| keys.heap_size()).sum();
        size_of::<usize>()
            + size_of::<Self>()
            + self.epochs.capacity() * size_of::<(u32, ChunkedList<K>)>()
            + keys
    }
}
