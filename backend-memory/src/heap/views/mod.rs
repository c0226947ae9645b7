//! Views of heap states, which are what an engine reads and writes through.

mod aggregating;
mod list;
mod map;
mod reducing;
mod timers;
mod value;

pub use aggregating::HeapAggregating;
pub use list::HeapList;
pub use map::HeapMap;
pub use reducing::HeapReducing;
pub use timers::HeapTimers;
pub use value::HeapValue;

pub(super) use aggregating::{AggregatingTable, Function};
pub(super) use list::ListTable;
pub(super) use map::MapTable;
pub(super) use reducing::{Reduce, ReducingTable};
pub(super) use value::{Fallback, ValueTable};

use std::collections::BTreeSet;

use backend_api::{KeyContext, StateKey};

use super::row_key::{Lookup, entry_hash};

/// The place of a view, and what places in other namespaces are computed from.
pub(super) struct Seat<'a, K: StateKey, N> {
    key_hash: u64,
    pub(super) lookup: Lookup<'a, K, N>,
}

impl<'a, K: StateKey, N: StateKey> Seat<'a, K, N> {
    #[inline(always)]
    pub(super) fn new(key: KeyContext<'a, K>, group: usize, namespace: &'a N) -> Self {
        Self { key_hash: key.hash(), lookup: Lookup::new(key, group, namespace) }
    }

    /// The places of the namespaces to merge, without duplicates and without the view's own.
    fn sources<'s>(&self, namespaces: &'s [N]) -> Vec<Lookup<'s, K, N>>
    where
        'a: 's,
    {
        let mut places = self.places(namespaces);
        places.retain(|place| place.namespace != self.lookup.namespace);
        places
    }

    /// The places of the namespaces, without duplicates.
    fn places<'s>(&self, namespaces: &'s [N]) -> Vec<Lookup<'s, K, N>>
    where
        'a: 's,
    {
        let mut seen = BTreeSet::new();
        let each = namespaces.iter().filter(|namespace| seen.insert(*namespace));
        let place = |namespace| {
            let hash = entry_hash(self.key_hash, namespace);
            Lookup { key: self.lookup.key, namespace, group: self.lookup.group, hash }
        };
        each.map(place).collect()
    }
}
