//! The list under one key and namespace of list state. Short lists lie in the table itself.

#[cfg(test)]
mod tests;

use backend_api::StateValue;

use crate::containers::chunked_list::{ChunkedList, Iter};
use crate::containers::short_list::ShortList;
use crate::table::DROPPED_IN_PLACE;
use crate::table::Handle;

/// A list, and the bytes that its elements own.
#[derive(Clone)]
pub(crate) enum ListCell<T> {
    /// In the table's slot, so a read waits for no other memory. Its elements own nothing. When one is added,
    /// the slot's epoch marks all of them as changed.
    Short(ShortList<T>),
    /// In chunks, with the bytes that the elements own.
    Long(ChunkedList<T>, u64),
}

// More words for short lists would enlarge the slots of all lists.
const _: () = assert!(size_of::<ListCell<u64>>() == size_of::<(ChunkedList<u64>, u64)>());

// SAFETY: plain numbers, or counted pointers to chunks. Their bits may be copied, and they have no interior
// mutability of their own.
#[expect(unsafe_code, reason = "the table shares the bits of this crate's own containers")]
unsafe impl<T: StateValue> Handle for ListCell<T> {
    fn is_large(&self) -> bool {
        self.bytes() > DROPPED_IN_PLACE
    }

    fn prefetch(&self) {
        if let Self::Long(list, _) = self {
            list.prefetch();
        }
    }
}

impl<T: StateValue> ListCell<T> {
    pub(crate) fn new() -> Self {
        Self::Short(ShortList::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Short(items) => items.len(),
            Self::Long(list, _) => list.len(),
        }
    }

    /// The element at an index.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match self {
            Self::Short(items) => items.get(index),
            Self::Long(list, _) => list.iter_from(index).next(),
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        match self {
            Self::Short(items) => Iter::from(&**items),
            Self::Long(list, _) => list.iter(),
        }
    }

    /// Slices of elements, each with the index of its first element. Without a `base`, all elements. With
    /// one, the elements to append to the list of that epoch after it is cut at the first index.
    pub(crate) fn parts(&self, base: Option<u32>) -> impl Iterator<Item = (usize, &[T])> {
        let (short, long) = match self {
            Self::Short(items) => (Some((0, &**items)), None),
            Self::Long(list, _) => (None, Some(list)),
        };
        let chunks = long.into_iter().flat_map(move |list| {
            let first = base.map_or(0, |base| list.changed_since(base).0);
            list.chunks().skip_while(move |(start, ..)| *start < first)
        });
        short.into_iter().chain(chunks.map(|(start, _, elements)| (start, elements)))
    }

    /// Bytes outside of the slot, including what elements own.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Short(_) => 0,
            Self::Long(list, owned) => (list.heap_size() as u64).saturating_add(*owned),
        }
    }

    /// Appends an element that owns nothing, if that allocates and copies nothing. Otherwise returns the
    /// element.
    #[inline(always)]
    pub(crate) fn push_within(&mut self, element: T, epoch: u32) -> Result<(), T> {
        match self {
            Self::Short(items) => items.push(element),
            Self::Long(list, _) => list.push_within(element, epoch),
        }
    }

    /// Appends an element that owns `owned` bytes.
    pub(crate) fn push(&mut self, element: T, owned: u64, epoch: u32) {
        match self {
            Self::Short(items) => {
                if let Err(element) = items.push(element) {
                    *self = Self::Long(ChunkedList::moved(items, element, 0, epoch), owned);
                }
            }
            Self::Long(list, all) => {
                list.push(element, epoch);
                *all = all.saturating_add(owned);
            }
        }
    }

    /// Appends elements that together own `owned` bytes.
    pub(crate) fn extend(&mut self, elements: Vec<T>, owned: u64, epoch: u32) {
        match self {
            Self::Short(items) if items.has_room(elements.len()) => {
                // There is room.
                elements.into_iter().for_each(|element| items.push(element).unwrap_or(()));
            }
            Self::Short(items) => {
                let mut elements = elements.into_iter();
                let Some(first) = elements.next() else { return };
                let mut list = ChunkedList::moved(items, first, elements.len(), epoch);
                list.extend(elements, epoch);
                *self = Self::Long(list, owned);
            }
            Self::Long(list, all) => {
                list.extend(elements, epoch);
                *all = all.saturating_add(owned);
            }
        }
    }

    /// Returns the same elements for another key or namespace, where all count as added in `epoch`. They are
    /// shared, not cloned.
    pub(crate) fn moved(&self, epoch: u32) -> Self {
        let mut moved = self.clone();
        if let Self::Long(list, _) = &mut moved {
            list.renew(epoch);
        }
        moved
    }

    /// Appends clones of the elements of `other`.
    pub(crate) fn append(&mut self, other: &Self, epoch: u32) {
        let owned = match other {
            Self::Short(_) => 0,
            Self::Long(_, owned) => *owned,
        };
        self.extend(other.iter().cloned().collect(), owned, epoch);
    }

    /// Drops the elements from index `len` on. `owned` returns the bytes that an element owns.
    pub(crate) fn truncate(&mut self, len: usize, owned: impl Fn(&T) -> u64) {
        match self {
            _ if len == 0 => *self = Self::new(),
            Self::Short(items) => items.truncate(len),
            Self::Long(list, all) => {
                let cut = list.iter_from(len).map(owned).fold(0, u64::saturating_add);
                list.truncate(len);
                *all = all.saturating_sub(cut);
            }
        }
    }
}
