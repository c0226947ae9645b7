use std::sync::Arc;

use backend_api::{ReduceFunction, ReducingState, Result, StateKey, StateValue};

use super::{Lookup, Seat};
use crate::heap::content::Single;
use crate::heap::state::{Failure, HeapState};

/// A reducing state, with its function.
pub(in crate::heap) type ReducingTable<K, N, T> = HeapState<K, N, Single<T>, Reduce<T>>;

pub(in crate::heap) struct Reduce<T>(pub(in crate::heap) Arc<ReduceFunction<T>>);

/// View of a reducing state on the heap.
pub struct HeapReducing<'a, K: StateKey, N: StateKey, T: StateValue> {
    pub(in crate::heap) state: &'a mut ReducingTable<K, N, T>,
    pub(in crate::heap) seat: Seat<'a, K, N>,
}

impl<K: StateKey, N: StateKey, T: StateValue> HeapReducing<'_, K, N, T> {
    fn reduce(&self, sum: &T, value: &T) -> Result<T> {
        let reduced = (self.state.extra.0)(sum, value);
        reduced.map_err(|cause| self.state.explain(Failure::Function(cause), self.seat.lookup.group))
    }

    /// What is at the places, folded in their order.
    fn fold(&self, places: &[Lookup<'_, K, N>]) -> Result<Option<T>> {
        let mut values = places.iter().filter_map(|place| self.state.get(place));
        let Some(first) = values.next().cloned() else { return Ok(None) };
        values.try_fold(first, |sum, value| self.reduce(&sum, value)).map(Some)
    }
}

impl<K: StateKey, N: StateKey, T: StateValue> ReducingState<T, N> for HeapReducing<'_, K, N, T> {
    #[inline]
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        Ok(f(self.state.get(&self.seat.lookup)))
    }

    #[inline]
    fn add(&mut self, value: T) -> Result<()> {
        let lookup = &self.seat.lookup;
        if !std::mem::needs_drop::<T>() {
            let added = self.state.try_update(lookup, |reduce, slot| {
                *slot = Some(match slot {
                    Some(old) => (reduce.0)(old, &value).map_err(Failure::Function)?,
                    None => value,
                });
                Ok(())
            });
            return added.map_err(|failure| self.state.explain(failure, lookup.group));
        }
        // `update` would clone the old value, which the function only borrows.
        let new = match self.state.get(lookup) {
            Some(old) => self.reduce(old, &value)?,
            None => value,
        };
        self.state.set(lookup, new)
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let sources = self.seat.sources(sources);
        let Some(mut merged) = self.fold(&sources)? else { return Ok(()) };
        if let Some(target) = self.state.get(&self.seat.lookup) {
            merged = self.reduce(target, &merged)?;
        }
        self.state.merge(&self.seat.lookup, merged, &sources)
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Option<T>> {
        self.fold(&self.seat.places(of))
    }

    #[inline]
    fn clear(&mut self) -> Result<()> {
        self.state.remove(&self.seat.lookup);
        Ok(())
    }
}
