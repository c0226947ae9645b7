use backend_api::{BoxError, Result, StateKey, StateValue, ValueState};

use super::Seat;
use crate::heap::content::Single;
use crate::heap::state::{Failure, HeapState};

/// A value state, with its default.
pub(in crate::heap) type ValueTable<K, N, V> = HeapState<K, N, Single<V>, Fallback<V>>;

/// The result of a read before the first write.
pub(in crate::heap) struct Fallback<V>(pub(in crate::heap) Option<V>);

impl<V> Fallback<V> {
    /// Cold, so that a read of a present value does not pay for it.
    #[cold]
    #[inline(never)]
    fn value(&self) -> Option<&V> {
        self.0.as_ref()
    }
}

/// View of a value state on the heap.
pub struct HeapValue<'a, K: StateKey, N: StateKey, V: StateValue> {
    pub(in crate::heap) state: &'a mut ValueTable<K, N, V>,
    pub(in crate::heap) seat: Seat<'a, K, N>,
}

impl<K: StateKey, N: StateKey, V: StateValue> ValueState<V> for HeapValue<'_, K, N, V> {
    #[inline(always)]
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        Ok(f(self.state.get(&self.seat.lookup).or_else(|| self.state.extra.value())))
    }

    #[inline(always)]
    fn set(&mut self, value: V) -> Result<()> {
        self.state.set(&self.seat.lookup, value)
    }

    #[inline]
    fn try_update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>) -> Result<R> {
        let lookup = &self.seat.lookup;
        let updated = self.state.try_update(lookup, |default, value| {
            if value.is_none() {
                value.clone_from(&default.0);
            }
            f(value).map_err(Failure::Update)
        });
        updated.map_err(|failure| self.state.explain(failure, lookup.group))
    }

    #[inline]
    fn clear(&mut self) -> Result<()> {
        self.state.remove(&self.seat.lookup);
        Ok(())
    }
}
