//! The kinds of state over a store and a cache.

mod collections;
mod either;
mod folded;
mod lists;
mod maps;
mod values;

#[cfg(test)]
mod tests;

use super::cache::{AnyCache, Cache, Object};
use either::Either;

pub use folded::{ByteAggregating, ByteReducing};
pub use lists::ByteList;
pub use maps::ByteMap;
pub use values::ByteValue;
pub(crate) use values::Values;

/// The cache of a state, if it has one. Its objects are of the state's own type.
#[inline]
pub(crate) fn typed<O: Object>(cache: Option<&dyn AnyCache>) -> Option<&Cache<O>> {
    cache.and_then(|cache| cache.as_any().downcast_ref())
}
