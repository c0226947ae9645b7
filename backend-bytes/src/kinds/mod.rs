//! The kinds of state over a store and a cache.

mod collections;
mod folded;
mod lists;
mod maps;
mod timers;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use backend_api::StateKey;

use super::cache::{AnyCache, Cache, Object};

pub use folded::{ByteAggregating, ByteReducing};
pub use lists::ByteList;
pub use maps::ByteMap;
pub use timers::ByteTimers;
pub use values::ByteValue;
pub(crate) use values::Values;

/// The namespaces, each once.
fn distinct<N: StateKey>(namespaces: &[N]) -> impl Iterator<Item = &N> {
    let mut seen = BTreeSet::new();
    namespaces.iter().filter(move |namespace| seen.insert(*namespace))
}

/// The cache of a state, if it has one. Its objects are of the state's own type.
#[inline]
pub(crate) fn typed<O: Object>(cache: Option<&dyn AnyCache>) -> Option<&Cache<O>> {
    cache.and_then(|cache| cache.as_any().downcast_ref())
}
