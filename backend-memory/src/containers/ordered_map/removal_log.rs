//! Which keys were removed in which epoch, for incremental checkpoints.

use crate::containers::chunked_list::ChunkedList;

/// RemovalLog are remembered up to this number, or twice the number of entries if that is more.
pub(super) const REMOVALS_MIN: usize = 64;

/// A log of removals. Its clone is cheap: per epoch it copies two pointers.
pub(super) struct RemovalLog<K> {
    /// In ascending order of epochs.
    epochs: Vec<(u32, ChunkedList<K>)>,
    len: usize,
    /// The log was spilled in this epoch: it does not know the removals up to its end.
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

    /// Clones what the next [`push`](Self::push) would have to clone.
    pub(super) fn unshare(&mut self) {
        if let Some((_, keys)) = self.epochs.last_mut() {
            keys.unshare();
        }
    }

    /// Remembers the removal of `key`. Returns what is forgotten, for the caller to drop, if the log gets
    /// longer than `max` and is spilled. An epoch before the last one is taken as the last one.
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

    /// The keys removed after epoch `base`, some perhaps more than once; `None` if they are not known.
    pub(super) fn since(&self, base: u32) -> Option<impl Iterator<Item = &K>> {
        let known = self.unknown.is_none_or(|unknown| base >= unknown);
        known.then(|| {
            let start = self.epochs.partition_point(|&(epoch, _)| epoch <= base);
            self.epochs[start..].iter().flat_map(|(_, keys)| keys.iter())
        })
    }

    /// True if the log has nothing that [`forget`](Self::forget) would drop.
    pub(super) fn is_after(&self, confirmed: u32) -> bool {
        self.epochs.first().is_none_or(|&(epoch, _)| epoch > confirmed)
            && self.unknown.is_none_or(|unknown| unknown > confirmed)
    }

    /// Drops what is known about the epochs up to `confirmed`; returns whether nothing is left.
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
