//! An append-only list whose clones share elements: the value of list state, unless it is short.
//!
//! Elements lie in chunks of at most 128 elements or 4 KiB. All chunks but the last are full, and are the
//! leaves of a radix tree. A clone copies three words. The first append after a clone copies the last chunk,
//! for any length of the list. Further appends copy nothing.
//!
//! A list is never empty. The niche lets an `Option` of a list have the size of a list.
//!
//! Every append has an *epoch*, the number of the checkpoint interval it happens in. Epochs must not
//! decrease. A smaller epoch is replaced by the previous one.

mod spine;
#[cfg(test)]
mod tests;

use std::fmt;

use spine::{Chunk, Spine};

/// A list of one or more `T` with copy-on-write chunks.
pub struct ChunkedList<T> {
    /// Never empty.
    last: Chunk<T>,
    full: Spine<T>,
}

const _: () = assert!(size_of::<Option<ChunkedList<u64>>>() == 3 * size_of::<usize>());

const CHUNK_BYTES_MAX: usize = 4096;
const CHUNK_ITEMS_MAX: usize = 128;
const CHUNK_ITEMS_MIN: usize = 8;
const ALLOCATION_MIN: usize = 24;

impl<T> Clone for ChunkedList<T> {
    fn clone(&self) -> Self {
        Self { last: self.last.clone(), full: self.full.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for ChunkedList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T> ChunkedList<T> {
    const CHUNK_ITEMS: usize = {
        let item = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let items = CHUNK_BYTES_MAX / item;
        if items > CHUNK_ITEMS_MAX {
            CHUNK_ITEMS_MAX
        } else if items < CHUNK_ITEMS_MIN {
            CHUNK_ITEMS_MIN
        } else {
            items
        }
    };

    pub fn len(&self) -> usize {
        self.full.len() * Self::CHUNK_ITEMS + self.last.len()
    }

    /// The elements in insertion order.
    pub fn iter(&self) -> Iter<'_, T> {
        self.chunks_from(0)
    }

    /// The chunks in order, each with the index of its first element, the epoch of its last append, and its
    /// elements.
    pub fn chunks(&self) -> impl Iterator<Item = (usize, u32, &[T])> {
        (0..).map_while(|number| {
            let chunk = self.chunk(number)?;
            Some((number * Self::CHUNK_ITEMS, chunk.note, &**chunk))
        })
    }

    /// The difference from the list at the end of epoch `base`: the length to cut that list to, and the
    /// elements to append then. It starts at a chunk boundary, or at the end of the list if nothing was
    /// appended.
    pub fn changed_since(&self, base: u32) -> (usize, Iter<'_, T>) {
        let changed = |number| self.chunk(number).is_some_and(|chunk| chunk.note > base);
        let (mut low, mut high) = (0, self.full.len() + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if changed(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        ((low * Self::CHUNK_ITEMS).min(self.len()), self.chunks_from(low))
    }

    /// Bytes held by the list, shared ones included, without what the elements point to. O(1).
    pub fn heap_size(&self) -> usize {
        self.full.len() * Chunk::<T>::bytes_for(Self::CHUNK_ITEMS) + self.full.heap_size() + self.last.bytes()
    }

    /// Prefetches what an append needs.
    pub(crate) fn prefetch(&self) {
        self.last.prefetch_end();
    }

    fn chunk(&self, number: usize) -> Option<&Chunk<T>> {
        if number == self.full.len() { Some(&self.last) } else { self.full.get(number) }
    }

    /// The elements from `index` on. Skips the chunks before it.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &T> {
        self.chunks_from(index / Self::CHUNK_ITEMS).skip(index % Self::CHUNK_ITEMS)
    }

    fn chunks_from(&self, chunk: usize) -> Iter<'_, T> {
        let left = self.len().saturating_sub(chunk * Self::CHUNK_ITEMS);
        Iter { list: Some(self), chunk, items: [].iter(), left }
    }
}

impl<T: Clone> ChunkedList<T> {
    /// Returns a list of one element, appended in `epoch`.
    pub fn new(item: T, epoch: u32) -> Self {
        Self::moved(&[], item, 0, epoch)
    }

    /// Returns a list of clones of `items`, which fit into one chunk, and `item`. Reserves room for `more`
    /// elements.
    pub(crate) fn moved(items: &[T], item: T, more: usize, epoch: u32) -> Self {
        let capacity = Self::capacity_for(items.len() + 1 + more);
        let mut list = Self { last: Chunk::of(items, capacity, epoch), full: Spine::EMPTY };
        list.push(item, epoch);
        list
    }

    /// Appends `item` in `epoch` if that allocates and copies nothing. Otherwise returns it.
    #[inline]
    pub(crate) fn push_within(&mut self, item: T, epoch: u32) -> Result<(), T> {
        let last = &mut self.last;
        if last.len() == last.capacity() {
            return Err(item);
        }
        let latest = last.note.max(epoch);
        let Some(mut own) = last.unique() else { return Err(item) };
        own.push(item);
        last.note = latest;
        Ok(())
    }

    pub fn push(&mut self, item: T, epoch: u32) {
        if let Err(item) = self.push_within(item, epoch) {
            self.make_room(1);
            // There is room now.
            self.push_within(item, epoch).unwrap_or(());
        }
    }

    /// Appends all of `items` in `epoch`, or none if the iterator or a clone panics.
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>, epoch: u32) {
        let mut items = Vec::from_iter(items).into_iter();
        while items.len() > 0 {
            self.make_room(items.len());
            self.last.note = self.last.note.max(epoch);
            let Some(mut own) = self.last.unique() else { return };
            while own.has_room()
                && let Some(item) = items.next()
            {
                own.push(item);
            }
        }
    }

    /// Drops the elements from index `len` on, but never the first one.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        let number = len.saturating_sub(1) / Self::CHUNK_ITEMS;
        let keep = len.max(1) - number * Self::CHUNK_ITEMS;
        if number == self.full.len()
            && let Some(mut own) = self.last.unique()
        {
            return own.truncate(keep);
        }
        // Cloned before anything is dropped, so a clone that panics leaves the list as it was.
        let cut = (keep < Self::CHUNK_ITEMS)
            .then(|| self.chunk(number))
            .flatten()
            .map(|chunk| Chunk::of(chunk.get(..keep).unwrap_or(chunk), 0, chunk.note));
        let mut dropped = Vec::new();
        while self.full.len() > number
            && let Some(chunk) = self.full.pop()
        {
            dropped.push(std::mem::replace(&mut self.last, chunk));
        }
        if let Some(cut) = cut {
            dropped.push(std::mem::replace(&mut self.last, cut));
        }
    }

    /// Marks all elements as appended in `epoch`, because the list moves to another key or namespace. Clones
    /// handles only.
    pub(crate) fn renew(&mut self, epoch: u32) {
        self.full.renew(epoch);
        self.last.note = self.last.note.max(epoch);
    }

    /// Clones the last chunk if it is shared, so that the next push clones nothing.
    pub(crate) fn unshare(&mut self) {
        if self.last.len() < Self::CHUNK_ITEMS && !self.last.is_unique() {
            self.last.resize(Self::capacity_for(self.last.len() + 1));
        }
    }

    /// Makes the last chunk unshared, with room for `wanted` elements (at least 1) or for as many as a chunk
    /// can take.
    ///
    /// The chunk may be empty afterwards, so the caller must fill it at once. Clones come before any change.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, wanted: usize) {
        let len = self.last.len();
        if len >= Self::CHUNK_ITEMS {
            let capacity = Self::capacity_for(wanted).max(Self::CHUNK_ITEMS / 4);
            let next = Chunk::with_capacity(capacity, self.last.note);
            self.full.push(std::mem::replace(&mut self.last, next));
        } else if self.last.capacity() < (len + wanted).min(Self::CHUNK_ITEMS) || !self.last.is_unique() {
            self.last.resize(Self::capacity_for(len + wanted));
        }
    }

    /// Capacity for `len` elements, rounded up to the smallest size that allocators return.
    fn capacity_for(len: usize) -> usize {
        let least = (ALLOCATION_MIN - Chunk::<T>::bytes_for(0).min(ALLOCATION_MIN)) / size_of::<T>().max(1);
        len.next_power_of_two().max(least).min(Self::CHUNK_ITEMS)
    }
}

impl<'a, T> IntoIterator for &'a ChunkedList<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The elements of a [`ChunkedList`] from some chunk on, or of a slice.
pub struct Iter<'a, T> {
    list: Option<&'a ChunkedList<T>>,
    /// Index of the chunk after `items`.
    chunk: usize,
    items: std::slice::Iter<'a, T>,
    left: usize,
}

impl<'a, T> From<&'a [T]> for Iter<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self { list: None, chunk: 0, items: items.iter(), left: items.len() }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.items.next() {
                self.left -= 1;
                return Some(item);
            }
            self.items = self.list?.chunk(self.chunk)?.iter();
            self.chunk += 1;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
