use super::super::EntryKey;
use super::super::runs::encode_element;
use super::COLLECTION_BYTES_MAX;
use super::object::{Base, Changes, Collection, Object, grow};
use backend_api::{Codec, Result, StateValue};

/// Lists of more elements are not kept.
const ELEMENTS_MAX: usize = 1024;

/// What is known of a list: all of it, or some elements at its end that the store does not have.
pub(in super::super) struct CachedList<T> {
    elements: Vec<T>,
    /// So many of the elements are in the store.
    stored: usize,
    /// Sequence number of the first element that is not in the store, the others follow. Those in the store have lower ones.
    first: u64,
    /// Bytes that the elements own on the heap.
    heap: usize,
    base: Base,
    /// Whether the list is known to be too long to be kept.
    is_long: bool,
}

impl<T: StateValue> CachedList<T> {
    /// Whether it is too long to be kept.
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// Whether so many elements with so many bytes on the heap are more than should be kept.
    pub fn exceeds(elements: usize, heap: usize) -> bool {
        elements > ELEMENTS_MAX || elements * size_of::<T>() + heap > COLLECTION_BYTES_MAX
    }

    /// The known elements, which are all if it is whole.
    pub fn elements(&self) -> &[T] {
        &self.elements
    }

    /// The number from which on the store has no element that is not known here.
    pub fn first(&self) -> Option<u64> {
        (self.stored < self.elements.len()).then_some(self.first)
    }

    /// Adds elements that take so many bytes on the heap. All numbers below `number` may have been used, and none from it on.
    pub fn append(&mut self, elements: impl ExactSizeIterator<Item = T>, heap: usize, number: u64) {
        if self.stored == self.elements.len() {
            // What was in the store of these goes before, so that numbers are used again: a store that keeps what was
            // removed until it has time for it would have to step over that at each further read.
            self.first = if matches!(self.base, Base::Gone | Base::Nothing) { 0 } else { number };
        }
        grow(&mut self.elements, elements.len());
        self.elements.extend(elements);
        self.heap += heap;
    }

    /// Adds what the store has before [`first`](Self::first), with its bytes on the heap.
    pub fn complete(&mut self, mut stored: Vec<T>, heap: usize) {
        self.stored = stored.len();
        stored.append(&mut self.elements);
        self.elements = stored;
        self.heap += heap;
        self.base = Base::Whole.settled(self.elements.is_empty());
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
        if self.base == Base::Gone {
            changes.remove_all(key);
        }
        let Changes { batch, scratch, .. } = changes;
        scratch.clear();
        scratch.extend_from_slice(&key.head());
        scratch.extend_from_slice(key.own);
        // Those that come later leave the entries of these as they are, or make the last one longer.
        for (index, element) in (0..).zip(self.elements.iter().skip(self.stored)) {
            let number = || (self.first + index).to_be_bytes();
            batch.put_element(scratch, number, index > 0, |out| encode_element(element, codec, out))?;
        }
        Ok(())
    }

    fn settle(&mut self) {
        if self.is_whole() {
            self.stored = self.elements.len();
            self.base = self.base.settled(self.elements.is_empty());
        } else {
            // What comes before them is not known.
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

    fn clear(&mut self) {
        *self = Self { base: self.base.cleared(), ..Self::default() };
    }

    fn least(&self, codec: &dyn Codec<T>) -> u64 {
        let mut bytes = Vec::new();
        let lengths = self.elements.iter().map(|element| {
            bytes.clear();
            encode_element(element, codec, &mut bytes).map_or(0, |()| bytes.len() as u64)
        });
        lengths.sum()
    }
}
