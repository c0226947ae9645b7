//! The operations that the Flink peer measures (`peers/flink`), driven through [`StateBackend`].
//!
//! First a state with keys 0 to K-1 is loaded, in order. A round takes the next M of the shuffled existing or new keys
//! and continues where the last round stopped. Checking a round and undoing its lasting changes is not timed.

mod fold;
mod list;
mod map;
#[cfg(feature = "rocksdb")]
mod rocks;
mod snapshots;
mod value;
mod words;

use std::rc::Rc;

use state_backends::api::StateToken;
use state_backends::prelude::*;

use crate::counts::subtask;
use crate::measure::Took;
use crate::workload::{Stream, shuffled, values};

#[cfg(feature = "rocksdb")]
pub use rocks::Rocks;
pub use snapshots::snapshots;

/// Entries of each map.
pub const MAP_ENTRIES: usize = 10;

/// Elements of one `add_all`.
pub const LIST_ELEMENTS: usize = 100;

/// Accesses that are prefetched together.
const BATCH: usize = 32;

macro_rules! operations {
    ($($(#[$doc:meta])* $op:ident = $name:literal,)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Op {
            $($(#[$doc])* $op,)*
        }

        impl Op {
            /// All operations.
            pub const ALL: &[Self] = &[$(Self::$op),*];

            /// Its name. It is the Flink peer's, except for operations that only we have.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$op => $name,)*
                }
            }
        }
    };
}

operations! {
    /// Sets the value of an existing key.
    ValueUpdate = "valueUpdate",
    /// Sets the values of existing keys, 32 that are known ahead.
    ValueUpdateBatch = "valueUpdate, batches of 32",
    /// Reads the value of an existing key.
    ValueGet = "valueGet",
    /// Reads the values of existing keys, 32 that are known ahead.
    ValueGetBatch = "valueGet, batches of 32",
    /// Sets the value of a new key.
    ValueAdd = "valueAdd",
    /// Replaces a list of one element.
    ListUpdate = "listUpdate",
    /// Sets a list of one element, of a new key.
    ListAdd = "listAdd",
    /// Adds an element to a list of one.
    ListAppend = "listAppend",
    /// Adds an element to each of 32 lists that are known ahead.
    ListAppendBatch = "listAppend, batches of 32",
    /// Opens a list.
    ListGet = "listGet",
    /// Adds 100 elements to a list of one.
    ListAddAll = "listAddAll",
    /// Replaces an entry of a map of 10.
    MapUpdate = "mapUpdate",
    /// Replaces an entry in each of 32 maps that are known ahead.
    MapUpdateBatch = "mapUpdate, batches of 32",
    /// Reads an entry.
    MapGet = "mapGet",
    /// Reads an entry of each of 32 maps that are known ahead.
    MapGetBatch = "mapGet, batches of 32",
    /// Asks for an entry that half of the maps have.
    MapContains = "mapContains",
    /// Walks over all entries, by which it is counted.
    MapIterator = "mapIterator",
    /// Walks over all entries of 32 maps that are known ahead.
    MapIteratorBatch = "mapIterator, batches of 32",
    /// Removes an entry.
    MapRemove = "mapRemove",
    /// Replaces all entries; one call is one operation.
    MapPutAll = "mapPutAll",
    /// Adds to a sum.
    ReducingAdd = "reducingAdd",
    /// Adds to 32 sums that are known ahead.
    ReducingAddBatch = "reducingAdd, batches of 32",
    /// Adds to a mean.
    AggregatingAdd = "aggregatingAdd",
    /// Adds to 32 means that are known ahead.
    AggregatingAddBatch = "aggregatingAdd, batches of 32",
    /// Counts words that are all equally likely.
    WordcountUniform = "wordcount-uniform",
    /// The same, 32 words together.
    WordcountUniformBatch = "wordcount-uniform, batches of 32",
    /// Counts words by Zipf's law.
    WordcountZipf = "wordcount-zipf",
    /// The same, 32 words together.
    WordcountZipfBatch = "wordcount-zipf, batches of 32",
    /// Notes which words were seen before.
    Dedup = "dedup",
}

/// Sizes and inputs of the operations.
#[derive(Debug)]
pub struct Load {
    /// Keys that exist.
    pub keys: usize,
    /// Operations of a round, at most `keys`.
    pub ops: usize,
    /// Keys of the words.
    pub app_keys: usize,
    /// Words of a round.
    pub events: usize,
    /// Seed of all inputs.
    pub seed: u64,
    existing: Vec<i64>,
    fresh: Vec<i64>,
    values: Vec<i64>,
    map_keys: Vec<i64>,
}

impl Load {
    /// The inputs of a seed.
    pub fn new(keys: usize, ops: usize, app_keys: usize, events: usize, seed: u64) -> Self {
        Self {
            keys,
            ops: ops.min(keys),
            app_keys,
            events,
            seed,
            existing: shuffled(0, keys, seed, Stream::ExistingKeys),
            fresh: shuffled(keys as u64, keys, seed, Stream::NewKeys),
            values: values(keys.max(1_000_000), seed),
            map_keys: shuffled(0, MAP_ENTRIES, seed, Stream::MapKeys),
        }
    }

    /// Positions of a round's `n` operations in the shuffled keys.
    fn positions(&self, round: usize, n: usize) -> impl Iterator<Item = usize> + use<> {
        let keys = self.keys;
        let mut at = round * self.ops % keys;
        (0..n).map(move |_| {
            let here = at;
            at = if at + 1 == keys { 0 } else { at + 1 };
            here
        })
    }

    /// Existing keys of a round, each with the value of its operation.
    fn existing(&self, round: usize, n: usize) -> impl Iterator<Item = (i64, i64)> {
        self.positions(round, n).zip(&self.values).map(|(at, value)| (self.existing[at], *value))
    }

    /// New keys of a round, each with the value of its operation.
    fn fresh(&self, round: usize) -> impl Iterator<Item = (i64, i64)> {
        self.positions(round, self.ops).zip(&self.values).map(|(at, value)| (self.fresh[at], *value))
    }

    /// The value with which key number `i` is loaded.
    fn loaded(&self, i: usize) -> i64 {
        self.values[i % self.values.len()]
    }

    /// Operations of a round that makes 10 operations for each key.
    fn tenth(&self) -> usize {
        (self.ops / 10).max(1)
    }
}

/// A kind of backend, for keys of any type.
pub trait Family {
    /// The backend.
    type Backend<K: StateKey>: StateBackend<Key = K>;

    /// Opens the backend of a subtask and restores its part of the handles.
    ///
    /// # Errors
    /// Errors of the backend.
    fn open<K: StateKey>(
        &self,
        subtask: Subtask<K>,
        restore: &[KeyedStateHandle],
    ) -> Result<Self::Backend<K>>;

    /// Opens an empty backend for all keys.
    ///
    /// # Errors
    /// Errors of the backend.
    fn open_empty<K: StateKey>(&self) -> Result<Self::Backend<K>> {
        self.open(subtask()?, &[])
    }
}

/// The [`MemoryBackend`].
#[derive(Clone, Copy, Debug)]
pub struct Memory;

impl Family for Memory {
    type Backend<K: StateKey> = MemoryBackend<K>;

    fn open<K: StateKey>(
        &self,
        subtask: Subtask<K>,
        restore: &[KeyedStateHandle],
    ) -> Result<MemoryBackend<K>> {
        MemoryBackend::open(&MemoryOptions::default(), subtask, restore)
    }
}

/// The [`AnyBackend`], with the [`MemoryBackend`] chosen.
#[derive(Clone, Copy, Debug)]
pub struct Any;

impl Family for Any {
    type Backend<K: StateKey> = AnyBackend<K>;

    fn open<K: StateKey>(&self, subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Result<AnyBackend<K>> {
        AnyBackend::open(&AnyOptions::Memory(MemoryOptions::default()), subtask, restore)
    }
}

/// The result of a round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Operations, as the peer counts them.
    pub ops: u64,
    /// Their time.
    pub took: Took,
}

/// A loaded state, and the operations on it.
pub trait Operations {
    /// Runs round number `round` of an operation, checks it and undoes it.
    ///
    /// # Errors
    /// Errors of the backend.
    ///
    /// # Panics
    /// If the backend has a wrong value.
    fn round(&mut self, op: Op, round: usize) -> Result<Round>;
}

/// Opens a backend and loads the state of an operation. Other operations on that kind of state can run on it too.
///
/// # Errors
/// Errors of the backend.
pub fn load<F: Family + Clone + 'static>(family: &F, op: Op, load: &Rc<Load>) -> Result<Box<dyn Operations>> {
    use Op::*;
    Ok(match op {
        ValueUpdate | ValueUpdateBatch | ValueGet | ValueGetBatch | ValueAdd => {
            Box::new(value::Values::load(family.open_empty()?, load)?)
        }
        ListUpdate | ListAdd | ListAppend | ListAppendBatch | ListGet | ListAddAll => {
            Box::new(list::Lists::load(family.open_empty()?, load)?)
        }
        MapUpdate | MapUpdateBatch | MapGet | MapGetBatch | MapContains | MapIterator | MapIteratorBatch
        | MapRemove | MapPutAll => Box::new(map::Maps::load(family.open_empty()?, load)?),
        ReducingAdd | ReducingAddBatch => Box::new(fold::Sums::load(family.open_empty()?, load)?),
        AggregatingAdd | AggregatingAddBatch => Box::new(fold::Means::load(family.open_empty()?, load)?),
        WordcountUniform | WordcountUniformBatch | WordcountZipf | WordcountZipfBatch => {
            Box::new(words::Counting::load(family.open_empty()?, op, load)?)
        }
        Dedup => Box::new(words::Deduplication::new(family.clone(), load)),
    })
}

/// Makes the accesses in batches: prefetches the keys of each batch, then calls `f` for each.
fn in_batches<B: StateBackend<Key = i64>, T: StateToken<Namespace = ()>, A>(
    backend: &mut B,
    token: T,
    mut accesses: impl Iterator<Item = (i64, A)>,
    mut f: impl FnMut(&mut B, KeyContext<'_, i64>, A) -> Result<()>,
) -> Result<()> {
    let (mut keys, mut rest) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        keys.clear();
        rest.clear();
        for (key, access) in accesses.by_ref().take(BATCH) {
            keys.push(key);
            rest.push(access);
        }
        if keys.is_empty() {
            return Ok(());
        }
        let mut contexts = Vec::with_capacity(keys.len());
        for key in &keys {
            contexts.push(backend.key(key)?);
        }
        backend.prefetch_batch(token, &contexts, &());
        for (key, access) in contexts.into_iter().zip(rest.drain(..)) {
            f(backend, key, access)?;
        }
    }
}

/// True if the backend's only state has `entries` entries, or the backend does not count them.
fn has_entries<B: StateBackend>(backend: &B, entries: usize) -> bool {
    let states = backend.states();
    let told = states.first().and_then(|state| state.entries);
    told.is_none_or(|told| told == entries as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_correct_on_every_family() {
        let sizes = Rc::new(Load::new(500, 300, 400, 1000, 42));
        for op in Op::ALL.iter().copied() {
            let mut families = vec![load(&Memory, op, &sizes).unwrap(), load(&Any, op, &sizes).unwrap()];
            #[cfg(feature = "rocksdb")]
            families.push(load(&Rocks::new(8 << 20, None).unwrap(), op, &sizes).unwrap());
            for family in &mut families {
                for round in 0..4 {
                    let done = family.round(op, round).unwrap();
                    let expected = match op {
                        Op::ListAddAll | Op::MapPutAll => 30,
                        Op::WordcountUniform
                        | Op::WordcountUniformBatch
                        | Op::WordcountZipf
                        | Op::WordcountZipfBatch
                        | Op::Dedup => 1000,
                        _ => 300,
                    };
                    assert_eq!(done.ops, expected, "{}", op.name());
                }
            }
        }
    }
}
