use std::borrow::Cow;
use std::collections::BTreeSet;

use super::values::{New, Values};
use crate::access::Access;
use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, BoxError, ReducingDescriptor, ReducingState, Result,
    StateKey, StateValue, function_failed,
};

/// A reducing state of a [`ByteBackend`](crate::ByteBackend).
pub struct ByteReducing<'a, T: StateValue, N> {
    pub(crate) access: Access<'a>,
    pub(crate) descriptor: &'a ReducingDescriptor<T, N>,
    pub(crate) values: Values<'a, T>,
    pub(crate) namespace: &'a N,
}

impl<T: StateValue, N: StateKey> ReducingState<T, N> for ByteReducing<'_, T, N> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        self.values.with(&mut self.access, f)
    }

    #[inline]
    fn add(&mut self, value: T) -> Result<()> {
        let (reduce, origin) = (self.descriptor.reduce(), self.access.origin);
        self.values.replace(&mut self.access, |old| {
            let new = match old {
                Some(old) => reduce(&old, &value).map_err(|error| origin.name(function_failed(error)))?,
                None => value,
            };
            Ok((New::Value(new), ()))
        })
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let reduce = self.descriptor.reduce();
        merge(&mut self.access, &self.values, self.namespace, sources, |into, other| {
            *into = reduce(into, other)?;
            Ok(())
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.values.clear(&mut self.access)
    }

    fn get(&mut self) -> Result<Option<T>> {
        self.values.get(&mut self.access)
    }
}

/// An aggregating state of a [`ByteBackend`](crate::ByteBackend).
pub struct ByteAggregating<'a, A: Aggregate, N> {
    pub(crate) access: Access<'a>,
    pub(crate) descriptor: &'a AggregatingDescriptor<A, N>,
    pub(crate) values: Values<'a, A::Accumulator>,
    pub(crate) namespace: &'a N,
}

impl<A: Aggregate, N: StateKey> AggregatingState<A, N> for ByteAggregating<'_, A, N> {
    #[inline]
    fn add(&mut self, input: A::Input) -> Result<()> {
        let (aggregate, origin) = (self.descriptor.aggregate(), self.access.origin);
        self.values.replace(&mut self.access, |old| {
            let mut accumulator = old.map_or_else(|| aggregate.create(), Cow::into_owned);
            aggregate.add(&mut accumulator, input).map_err(|error| origin.name(function_failed(error)))?;
            Ok((New::Value(accumulator), ()))
        })
    }

    fn get(&mut self) -> Result<Option<A::Output>> {
        let aggregate = self.descriptor.aggregate();
        self.values.with(&mut self.access, |accumulator| {
            accumulator.map(|accumulator| aggregate.result(accumulator))
        })
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let aggregate = self.descriptor.aggregate();
        merge(&mut self.access, &self.values, self.namespace, sources, |into, other| {
            aggregate.merge(into, other)
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.values.clear(&mut self.access)
    }
}

/// Folds the sources in their order, then the result into the target, as Flink's heap backend does.
fn merge<T: StateValue, N: StateKey>(
    access: &mut Access<'_>,
    values: &Values<'_, T>,
    target: &N,
    sources: &[N],
    merge: impl Fn(&mut T, &T) -> Result<(), BoxError>,
) -> Result<()> {
    let origin = access.origin;
    let merge =
        |into: &mut T, other: &T| merge(into, other).map_err(|error| origin.name(function_failed(error)));
    let mut seen = BTreeSet::from([target]);
    let (mut taken, mut folded) = (Vec::new(), None::<T>);
    for source in sources.iter().filter(|source| seen.insert(source)) {
        let Some(value) = values.get_in(access, source)? else { continue };
        taken.push(source);
        match &mut folded {
            Some(folded) => merge(folded, &value)?,
            None => folded = Some(value),
        }
    }
    let Some(folded) = folded else { return Ok(()) };
    let merged = match values.get(access)? {
        Some(mut value) => {
            merge(&mut value, &folded)?;
            value
        }
        None => folded,
    };
    // Written as one batch, so the store has all of it or none.
    values.put_merged(access, &merged, &taken)
}
