use std::sync::Arc;

use backend_api::{Aggregate, AggregatingState, Result, StateKey};

use super::{Lookup, Seat};
use crate::heap::content::Single;
use crate::heap::state::{Failure, HeapState};

/// An aggregating state, with its function.
pub(in crate::heap) type AggregatingTable<K, N, A> =
    HeapState<K, N, Single<<A as Aggregate>::Accumulator>, Function<A>>;

pub(in crate::heap) struct Function<A>(pub(in crate::heap) Arc<A>);

/// View of an aggregating state on the heap.
pub struct HeapAggregating<'a, K: StateKey, N: StateKey, A: Aggregate> {
    pub(in crate::heap) state: &'a mut AggregatingTable<K, N, A>,
    pub(in crate::heap) seat: Seat<'a, K, N>,
}

impl<K: StateKey, N: StateKey, A: Aggregate> HeapAggregating<'_, K, N, A> {
    fn merge(&self, mut into: A::Accumulator, other: &A::Accumulator) -> Result<A::Accumulator> {
        let merged = self.state.extra.0.merge(&mut into, other);
        merged.map_err(|cause| self.state.explain(Failure::Function(cause), self.seat.lookup.group))?;
        Ok(into)
    }

    /// What is at the places, merged in their order.
    fn fold(&self, places: &[Lookup<'_, K, N>]) -> Result<Option<A::Accumulator>> {
        let mut accumulators = places.iter().filter_map(|place| self.state.get(place));
        let Some(first) = accumulators.next().cloned() else { return Ok(None) };
        accumulators.try_fold(first, |folded, other| self.merge(folded, other)).map(Some)
    }
}

impl<K: StateKey, N: StateKey, A: Aggregate> AggregatingState<A, N> for HeapAggregating<'_, K, N, A> {
    #[inline]
    fn add(&mut self, input: A::Input) -> Result<()> {
        let added = self.state.try_update(&self.seat.lookup, |function, slot| {
            let accumulator = slot.get_or_insert_with(|| function.0.create());
            function.0.add(accumulator, input).map_err(Failure::Function)
        });
        added.map_err(|failure| self.state.explain(failure, self.seat.lookup.group))
    }

    #[inline]
    fn get(&mut self) -> Result<Option<A::Output>> {
        let accumulator = self.state.get(&self.seat.lookup);
        Ok(accumulator.map(|accumulator| self.state.extra.0.result(accumulator)))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let sources = self.seat.sources(sources);
        let Some(folded) = self.fold(&sources)? else { return Ok(()) };
        let merged = match self.state.get(&self.seat.lookup).cloned() {
            Some(target) => self.merge(target, &folded)?,
            None => folded,
        };
        self.state.merge(&self.seat.lookup, merged, &sources)
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Option<A::Output>> {
        let accumulator = self.fold(&self.seat.places(of))?;
        Ok(accumulator.map(|accumulator| self.state.extra.0.result(&accumulator)))
    }

    #[inline]
    fn clear(&mut self) -> Result<()> {
        self.state.remove(&self.seat.lookup);
        Ok(())
    }
}
