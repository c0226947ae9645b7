//! Views of heap states: what an engine reads and writes through.

mod aggregating;
mod list;
mod map;
mod reducing;
mod value;

pub use aggregating::HeapAggregating;
pub use list::HeapList;
pub use map::HeapMap;
pub use reducing::HeapReducing;
pub use value::HeapValue;

pub(super) use aggregating::{AggregatingTable, Function};
pub(super) use list::ListTable;
pub(super) use map::MapTable;
pub(super) use reducing::{Reduce, ReducingTable};
pub(super) use value::{Fallback, ValueTable};

use backend_api::{KeyContext, StateKey};

use super::row_key::{Place, place_hash};

/// The place of a view, and what those in other namespaces follow from.
pub(super) struct Seat<'a, K, N> {
    key_hash: u64,
    pub(super) place: Place<'a, K, N>,
}

impl<'a, K: StateKey, N: StateKey> Seat<'a, K, N> {
    #[inline(always)]
    pub(super) fn new(key: KeyContext<'a, K>, group: usize, namespace: &'a N) -> Self {
        Self { key_hash: key.hash(), place: Place::new(key, group, namespace) }
    }

    /// The places of the namespaces to merge: each once, and not that of the view itself.
    fn sources<'s>(&self, namespaces: &'s [N]) -> Vec<Place<'s, K, N>>
    where
        'a: 's,
    {
        let mut places: Vec<Place<'s, K, N>> = Vec::with_capacity(namespaces.len());
        for namespace in namespaces {
            if namespace != self.place.namespace && places.iter().all(|place| place.namespace != namespace) {
                let hash = place_hash(self.key_hash, namespace);
                places.push(Place { key: self.place.key, namespace, group: self.place.group, hash });
            }
        }
        places
    }
}
