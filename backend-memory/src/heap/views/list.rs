use std::borrow::Cow;
use std::mem::needs_drop;

use backend_api::{ListState, Result, StateKey, StateValue};

use super::{Lookup, Seat};
use crate::containers::Iter;
use crate::containers::ListCell;
use crate::heap::content::Elements;
use crate::heap::state::HeapState;

/// A list state.
pub(in crate::heap) type ListTable<K, N, T> = HeapState<K, N, Elements<T>, ()>;

/// View of a list state on the heap.
pub struct HeapList<'a, K: StateKey, N: StateKey, T: StateValue> {
    pub(in crate::heap) state: &'a mut ListTable<K, N, T>,
    pub(in crate::heap) seat: Seat<'a, K, N>,
}

impl<K: StateKey, N: StateKey, T: StateValue> HeapList<'_, K, N, T> {
    /// Collects `elements` and their owned bytes, so that a panic of the iterator or codec comes before any
    /// change.
    fn collect(&self, elements: impl IntoIterator<Item = T>) -> (Vec<T>, u64) {
        let elements = Vec::from_iter(elements);
        let owned = elements.iter().map(|element| self.state.content().owned(element)).sum();
        (elements, owned)
    }

    /// Adds an element that may need more memory.
    #[inline(never)]
    fn grow(state: &mut ListTable<K, N, T>, lookup: Lookup<'_, K, N>, element: T) -> Result<()> {
        let owned = state.content().owned(&element);
        state.afford(&lookup, size_of::<T>() as u64 + owned)?;
        state.modify(&lookup, ListCell::new, |_, cell, epoch| cell.push(element, owned, epoch))
    }

    /// Checks the budget for `elements` more elements, which own `owned` bytes.
    fn afford(&self, elements: usize, owned: u64) -> Result<()> {
        self.state.afford(&self.seat.lookup, (elements * size_of::<T>()) as u64 + owned)
    }
}

impl<K: StateKey, N: StateKey, T: StateValue> ListState<T, N> for HeapList<'_, K, N, T> {
    #[inline(always)]
    fn add(&mut self, element: T) -> Result<()> {
        if needs_drop::<T>() || self.state.is_limited() {
            return Self::grow(self.state, self.seat.lookup.aside(), element);
        }
        // If the list has room, no size changes, and no other check is needed.
        let rest = match self.state.own(&self.seat.lookup) {
            Some((cell, epoch)) => cell.push_within(element, epoch),
            None => Err(element),
        };
        rest.or_else(|element| Self::grow(self.state, self.seat.lookup.aside(), element))
    }

    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let (elements, owned) = self.collect(elements);
        if elements.is_empty() {
            return Ok(());
        }
        self.afford(elements.len(), owned)?;
        self.state
            .modify(&self.seat.lookup, ListCell::new, |_, cell, epoch| cell.extend(elements, owned, epoch))
    }

    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let (elements, owned) = self.collect(elements);
        if elements.is_empty() {
            return self.clear();
        }
        let mut cell = ListCell::new();
        cell.extend(elements, owned, self.state.epoch());
        self.state.set(&self.seat.lookup, cell)
    }

    #[inline]
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>> {
        let elements = self.state.get(&self.seat.lookup).map_or(Iter::from([].as_slice()), ListCell::iter);
        Ok(elements.map(|element| Ok(Cow::Borrowed(element))))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let sources = self.seat.sources(sources);
        let mut cells = sources.iter().filter_map(|source| self.state.get(source));
        let Some(first) = cells.next() else { return Ok(()) };
        // Built aside, so that a clone that panics leaves the state unchanged. The target's elements are
        // shared.
        let epoch = self.state.epoch();
        let mut merged = match self.state.get(&self.seat.lookup) {
            Some(target) => {
                let mut merged = target.clone();
                merged.append(first, epoch);
                merged
            }
            None => first.moved(epoch),
        };
        cells.for_each(|cell| merged.append(cell, epoch));
        self.state.merge(&self.seat.lookup, merged, &sources)
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Vec<T>> {
        let places = self.seat.places(of);
        let cells = places.iter().filter_map(|place| self.state.get(place));
        Ok(cells.flat_map(ListCell::iter).cloned().collect())
    }

    #[inline]
    fn clear(&mut self) -> Result<()> {
        self.state.remove(&self.seat.lookup);
        Ok(())
    }

    #[inline]
    fn is_empty(&mut self) -> Result<bool> {
        Ok(self.state.get(&self.seat.lookup).is_none())
    }
}
