use std::collections::BTreeSet;

use super::access::Access;
use crate::{
    Aggregate, AggregatingDescriptor, AggregatingState, BoxError, Codec, Error, ErrorKind,
    ReducingDescriptor, ReducingState, Result, StateKey, StateValue,
};

/// A reducing state of a [`ByteBackend`](super::ByteBackend).
pub struct ByteReducing<'a, T, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a ReducingDescriptor<T, N>,
    pub(super) namespace: &'a N,
}

impl<T: StateValue, N: StateKey> ReducingState<T, N> for ByteReducing<'_, T, N> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        Ok(f(self.get()?.as_ref()))
    }

    fn add(&mut self, value: T) -> Result<()> {
        let (codec, reduce) = (&**self.descriptor.codec(), self.descriptor.reduce());
        let value = match self.access.read(codec)? {
            Some(old) => reduce(&old, &value).map_err(|error| self.access.place.name(failed(error)))?,
            None => value,
        };
        self.access.write(|access| access.put(&value, codec))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let reduce = self.descriptor.reduce();
        merge(&mut self.access, self.namespace, sources, &**self.descriptor.codec(), |into, other| {
            *into = reduce(into, other)?;
            Ok(())
        })
    }

    fn clear(&mut self) -> Result<()> {
        clear(&mut self.access)
    }

    fn get(&mut self) -> Result<Option<T>> {
        self.access.read(&**self.descriptor.codec())
    }
}

/// An aggregating state of a [`ByteBackend`](super::ByteBackend).
pub struct ByteAggregating<'a, A: Aggregate, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a AggregatingDescriptor<A, N>,
    pub(super) namespace: &'a N,
}

impl<A: Aggregate, N: StateKey> AggregatingState<A, N> for ByteAggregating<'_, A, N> {
    fn add(&mut self, input: A::Input) -> Result<()> {
        let (codec, aggregate) = (&**self.descriptor.codec(), self.descriptor.aggregate());
        let mut accumulator = self.access.read(codec)?.unwrap_or_else(|| aggregate.create());
        aggregate.add(&mut accumulator, input).map_err(|error| self.access.place.name(failed(error)))?;
        self.access.write(|access| access.put(&accumulator, codec))
    }

    fn get(&mut self) -> Result<Option<A::Output>> {
        let accumulator = self.access.read(&**self.descriptor.codec())?;
        Ok(accumulator.map(|accumulator| self.descriptor.aggregate().result(&accumulator)))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let aggregate = self.descriptor.aggregate();
        merge(&mut self.access, self.namespace, sources, &**self.descriptor.codec(), |into, other| {
            aggregate.merge(into, other)
        })
    }

    fn clear(&mut self) -> Result<()> {
        clear(&mut self.access)
    }
}

fn clear(access: &mut Access<'_>) -> Result<()> {
    access.write(|access| {
        access.delete();
        Ok(())
    })
}

/// Folds the sources in their order, and the result into the target: the order that Flink's heap backend has.
fn merge<T: StateValue, N: StateKey>(
    access: &mut Access<'_>,
    target: &N,
    sources: &[N],
    codec: &dyn Codec<T>,
    merge: impl Fn(&mut T, &T) -> Result<(), BoxError>,
) -> Result<()> {
    let mut seen = BTreeSet::from([target]);
    access.write(|access| {
        let mut folded: Option<T> = None;
        for source in sources.iter().filter(|source| seen.insert(source)) {
            let Some(value) = access.read_in(source, codec)? else { continue };
            access.delete_in(source)?;
            match &mut folded {
                Some(folded) => merge(folded, &value).map_err(failed)?,
                None => folded = Some(value),
            }
        }
        let Some(folded) = folded else { return Ok(()) };
        let merged = match access.read(codec)? {
            Some(mut merged) => {
                merge(&mut merged, &folded).map_err(failed)?;
                merged
            }
            None => folded,
        };
        access.put(&merged, codec)
    })
}

#[cold]
fn failed(error: BoxError) -> Error {
    Error::new(ErrorKind::Function, "the function of the state failed").with_source(error)
}
