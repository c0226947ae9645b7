use super::object::{Base, grow};
use super::{COLLECTION_BYTES_MAX, Changes, Collection, Object};
use crate::EntryKey;
use crate::runs::encode_element;
use backend_api::{Codec, Expiry, Result, StateValue};

/// Lists of more elements are not cached.
const ELEMENTS_MAX: usize = 1024;

/// The known part of a list: all of it, or some elements at its end that the store lacks.
pub(crate) struct CachedList<T> {
    elements: Vec<T>,
    /// Number of elements that the store has.
    stored: usize,
    /// Sequence number of the first element that the store lacks. The others follow it. Elements in the store
    /// have lower numbers.
    first: u64,
    /// Bytes that the elements own on the heap.
    heap: usize,
    base: Base,
    /// True if the list is known to be too long to be kept.
    is_long: bool,
}

impl<T: StateValue> CachedList<T> {
    /// True if the list is known to be too long to be kept.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// True if a list of this size is too long to be kept. `heap` is what its elements own on the heap.
    pub fn exceeds(elements: usize, heap: usize) -> bool {
        elements > ELEMENTS_MAX || elements * size_of::<T>() + heap > COLLECTION_BYTES_MAX
    }

    /// The known elements. These are all if the list is whole.
    pub fn elements(&self) -> &[T] {
        &self.elements
    }

    /// The sequence number of the first element that the store lacks.
    pub fn first(&self) -> Option<u64> {
        (self.stored < self.elements.len()).then_some(self.first)
    }

    /// Adds elements that own `heap` bytes. Sequence numbers from `number` on are free.
    pub fn append(&mut self, elements: impl ExactSizeIterator<Item = T>, heap: usize, number: u64) {
        if self.stored == self.elements.len() {
            // A cleared list starts with 0 again, because a store that compacts late would step over removed
            // elements at each read. The old elements are removed first.
            self.first = if self.base.is_cleared() { 0 } else { number };
        }
        grow(&mut self.elements, elements.len());
        self.elements.extend(elements);
        self.heap += heap;
    }

    /// Adds the elements in the store, which come before [`first`](Self::first). `heap` is what they own on
    /// the heap.
    pub fn complete(&mut self, mut stored: Vec<T>, heap: usize) {
        self.stored = stored.len();
        stored.append(&mut self.elements);
        self.elements = stored;
        self.heap += heap;
        self.base = Base::Whole.stored(self.elements.is_empty());
    }

    fn bytes(&self) -> usize {
        self.elements.capacity() * size_of::<T>() + self.heap
    }
}

impl<T> Default for CachedList<T> {
    fn default() -> Self {
        Self { elements: Vec::new(), stored: 0, first: 0, heap: 0, base: Base::Partial, is_long: false }
    }
}

impl<T: StateValue> Object for CachedList<T> {
    type Value = T;

    fn encode(&self, key: EntryKey<'_>, codec: &dyn Codec<T>, changes: &mut Changes) -> Result<()> {
        if self.base == Base::ClearPending {
            changes.remove_all(key);
        }
        let Changes { batch, scratch, .. } = changes;
        scratch.clear();
        scratch.extend_from_slice(&key.head());
        scratch.extend_from_slice(key.own);
        // Later elements leave the entries of these unchanged, or extend the last one.
        for (index, element) in (0..).zip(self.elements.iter().skip(self.stored)) {
            let number = || (self.first + index).to_be_bytes();
            batch.put_element(scratch, number, index > 0, |out| encode_element(element, codec, out))?;
        }
        Ok(())
    }

    fn has_expired(&self, codec: &dyn Codec<T>, expiry: &Expiry) -> bool {
        let mut elements = self.elements.iter();
        self.is_whole() && elements.len() > 0 && elements.all(|element| expiry.has_expired(element, codec))
    }

    fn clear(&mut self) {
        *self = Self { base: self.base.cleared(), ..Self::default() };
    }

    fn mark_stored(&mut self) {
        if self.is_whole() {
            self.stored = self.elements.len();
            self.base = self.base.stored(self.elements.is_empty());
        } else {
            // The elements before them are not known.
            *self = Self { is_long: self.is_long, ..Self::default() };
        }
    }

    fn preserve(&mut self) {
        self.base = self.base.preserved();
    }

    fn heap_size(&self, _: &dyn Codec<T>) -> usize {
        self.bytes()
    }
}

impl<T: StateValue> Collection for CachedList<T> {
    fn long() -> Self {
        Self { is_long: true, ..Self::default() }
    }

    fn is_whole(&self) -> bool {
        self.base.is_whole()
    }

    fn is_too_long(&self) -> bool {
        self.elements.len() > ELEMENTS_MAX || self.bytes() > COLLECTION_BYTES_MAX
    }

    fn is_clear(&self) -> bool {
        self.elements.is_empty() && self.is_whole()
    }

    fn lower_bound_bytes(&self, codec: &dyn Codec<T>) -> u64 {
        let mut bytes = Vec::new();
        let lengths = self.elements.iter().map(|element| {
            bytes.clear();
            encode_element(element, codec, &mut bytes).map_or(0, |()| bytes.len() as u64)
        });
        lengths.sum()
    }
}
