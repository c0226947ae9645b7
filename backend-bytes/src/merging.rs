use std::collections::BTreeSet;

use super::access::Access;
use super::values::Values;
use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, BoxError, Error, ErrorKind, ReducingDescriptor,
    ReducingState, Result, StateKey, StateValue,
};

/// A reducing state of a [`ByteBackend`](super::ByteBackend).
pub struct ByteReducing<'a, T: StateValue, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a ReducingDescriptor<T, N>,
    pub(super) values: Values<'a, T>,
    pub(super) namespace: &'a N,
}

impl<T: StateValue, N: StateKey> ReducingState<T, N> for ByteReducing<'_, T, N> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        self.values.with(&self.access, f)
    }

    fn add(&mut self, value: T) -> Result<()> {
        let reduce = self.descriptor.reduce();
        let reduced = self.values.with(&self.access, |old| old.map(|old| reduce(old, &value)))?;
        let value = match reduced {
            Some(reduced) => reduced.map_err(|error| self.access.place.name(failed(error)))?,
            None => value,
        };
        self.values.set(&mut self.access, value)
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
        self.values.get(&self.access)
    }
}

/// An aggregating state of a [`ByteBackend`](super::ByteBackend).
pub struct ByteAggregating<'a, A: Aggregate, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a AggregatingDescriptor<A, N>,
    pub(super) values: Values<'a, A::Accumulator>,
    pub(super) namespace: &'a N,
}

impl<A: Aggregate, N: StateKey> AggregatingState<A, N> for ByteAggregating<'_, A, N> {
    fn add(&mut self, input: A::Input) -> Result<()> {
        let aggregate = self.descriptor.aggregate();
        let mut accumulator = self.values.get(&self.access)?.unwrap_or_else(|| aggregate.create());
        aggregate.add(&mut accumulator, input).map_err(|error| self.access.place.name(failed(error)))?;
        self.values.set(&mut self.access, accumulator)
    }

    fn get(&mut self) -> Result<Option<A::Output>> {
        let aggregate = self.descriptor.aggregate();
        self.values
            .with(&self.access, |accumulator| accumulator.map(|accumulator| aggregate.result(accumulator)))
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

/// Folds the sources in their order, and the result into the target: the order that Flink's heap backend has.
fn merge<T: StateValue, N: StateKey>(
    access: &mut Access<'_>,
    values: &Values<'_, T>,
    target: &N,
    sources: &[N],
    merge: impl Fn(&mut T, &T) -> Result<(), BoxError>,
) -> Result<()> {
    let mut seen = BTreeSet::from([target]);
    let mut taken = Vec::new();
    access.write(|access| {
        let mut folded: Option<T> = None;
        for source in sources.iter().filter(|source| seen.insert(source)) {
            let Some(value) = values.get_in(access, source)? else { continue };
            access.delete_in(source)?;
            taken.push(source);
            match &mut folded {
                Some(folded) => merge(folded, &value).map_err(failed)?,
                None => folded = Some(value),
            }
        }
        let Some(folded) = folded else { return Ok(()) };
        let value = match values.get(access)? {
            Some(mut value) => {
                merge(&mut value, &folded).map_err(failed)?;
                value
            }
            None => folded,
        };
        access.put(&value, values.codec())
    })?;
    // The store knows these now. Of the others the cache may know what the store does not.
    if taken.is_empty() { Ok(()) } else { values.forget(access, &taken) }
}

#[cold]
fn failed(error: BoxError) -> Error {
    Error::new(ErrorKind::Function, "the function of the state failed").with_source(error)
}
