use std::borrow::Cow;

use super::distinct;
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

    fn get_merged(&mut self, of: &[N]) -> Result<Option<T>> {
        let reduce = self.descriptor.reduce();
        let folded = fold(&mut self.access, &self.values, distinct(of), |into, other| {
            *into = reduce(into, other)?;
            Ok(())
        });
        Ok(folded?.1)
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

    fn get_merged(&mut self, of: &[N]) -> Result<Option<A::Output>> {
        let aggregate = self.descriptor.aggregate();
        let folded =
            fold(&mut self.access, &self.values, distinct(of), |into, other| aggregate.merge(into, other));
        Ok(folded?.1.map(|accumulator| aggregate.result(&accumulator)))
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
    let sources = distinct(sources).filter(|source| *source != target);
    let (taken, Some(folded)) = fold(access, values, sources, &merge)? else { return Ok(()) };
    let merged = match values.get(access)? {
        Some(mut value) => {
            merge(&mut value, &folded).map_err(|error| origin.name(function_failed(error)))?;
            value
        }
        None => folded,
    };
    // Written as one batch, so the store has all of it or none.
    values.put_merged(access, &merged, &taken)
}

/// Folds what the namespaces hold, in their order. Gives those that hold something, too.
fn fold<'n, T: StateValue, N: StateKey>(
    access: &mut Access<'_>,
    values: &Values<'_, T>,
    namespaces: impl Iterator<Item = &'n N>,
    merge: impl Fn(&mut T, &T) -> Result<(), BoxError>,
) -> Result<(Vec<&'n N>, Option<T>)> {
    let origin = access.origin;
    let (mut taken, mut folded) = (Vec::new(), None::<T>);
    for namespace in namespaces {
        let Some(value) = values.get_in(access, namespace)? else { continue };
        taken.push(namespace);
        match &mut folded {
            Some(folded) => {
                merge(folded, &value).map_err(|error| origin.name(function_failed(error)))?;
            }
            None => folded = Some(value),
        }
    }
    Ok((taken, folded))
}
