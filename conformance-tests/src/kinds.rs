//! One state of every kind, and what a program should find in them.

use std::collections::BTreeMap;

use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, BoxError, ListDescriptor,
    ListState, ListToken, MapDescriptor, MapState, MapToken, ReducingDescriptor, ReducingState,
    ReducingToken, Result, StateBackend, ValueDescriptor, ValueState, ValueToken,
};

use crate::access::Access;

/// The keys that [`Kinds::change`] touches.
pub const KEYS: std::ops::Range<i32> = 0..40;

/// Sum and number of what was added; shows its accumulator as it is.
#[derive(Clone, Copy, Debug)]
struct Tally;

impl Aggregate for Tally {
    type Input = i64;
    type Accumulator = (i64, u64);
    type Output = (i64, u64);

    fn create(&self) -> (i64, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (i64, u64), input: i64) -> Result<(), BoxError> {
        *sum += input;
        *count += 1;
        Ok(())
    }

    fn result(&self, accumulator: &(i64, u64)) -> (i64, u64) {
        *accumulator
    }

    fn merge(&self, into: &mut (i64, u64), other: &(i64, u64)) -> Result<(), BoxError> {
        *into = (into.0 + other.0, into.1 + other.1);
        Ok(())
    }
}

/// Tokens of one state of every kind.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    value: ValueToken<i64>,
    list: ListToken<String>,
    map: MapToken<i32, String>,
    sum: ReducingToken<i64>,
    tally: AggregatingToken<Tally>,
}

/// All that is in the states, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    value: BTreeMap<i32, i64>,
    list: BTreeMap<i32, Vec<String>>,
    map: BTreeMap<i32, BTreeMap<i32, String>>,
    sum: BTreeMap<i32, i64>,
    tally: BTreeMap<i32, (i64, u64)>,
}

impl Content {
    /// Adds what another backend holds; no key may be in both.
    pub fn join(&mut self, other: Self) {
        fn join<V>(ours: &mut BTreeMap<i32, V>, theirs: BTreeMap<i32, V>) {
            for (key, value) in theirs {
                assert!(ours.insert(key, value).is_none(), "key {key} is in two backends");
            }
        }
        join(&mut self.value, other.value);
        join(&mut self.list, other.list);
        join(&mut self.map, other.map);
        join(&mut self.sum, other.sum);
        join(&mut self.tally, other.tally);
    }
}

impl Kinds {
    /// The names of the states, sorted.
    pub const NAMES: [&str; 5] = ["list", "map", "sum", "tally", "value"];

    /// Registers the states.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn register<B: StateBackend<Key = i32>>(backend: &mut B) -> Result<Self> {
        Ok(Self {
            value: backend.register(ValueDescriptor::new("value"))?,
            list: backend.register(ListDescriptor::new("list"))?,
            map: backend.register(MapDescriptor::new("map"))?,
            sum: backend.register(ReducingDescriptor::new("sum", |a, b| a + b))?,
            tally: backend.register(AggregatingDescriptor::new("tally", Tally))?,
        })
    }

    /// Writes, changes, removes and leaves some of every kind at the keys that are the backend's own, and keeps
    /// account of it in `content`; each round does something else.
    pub fn change<B: StateBackend<Key = i32>>(self, backend: &mut B, content: &mut Content, round: i32) {
        for key in KEYS {
            if backend.key(&key).is_err() {
                continue;
            }
            match (key + round) % 4 {
                0 => self.write(backend, content, round, key),
                1 => self.alter(backend, content, round, key),
                2 => self.clear(backend, content, key),
                _ => {}
            }
        }
    }

    fn write<B: StateBackend<Key = i32>>(self, backend: &mut B, content: &mut Content, round: i32, key: i32) {
        let number = i64::from(round * 1000 + key);
        backend.at(self.value, &key).set(number).unwrap();
        content.value.insert(key, number);
        for element in [format!("{round}"), format!("{round}+")] {
            backend.at(self.list, &key).add(element.clone()).unwrap();
            content.list.entry(key).or_default().push(element);
        }
        for entry in [round, -round, key] {
            backend.at(self.map, &key).put(entry, format!("{round}")).unwrap();
            content.map.entry(key).or_default().insert(entry, format!("{round}"));
        }
        backend.at(self.sum, &key).add(number).unwrap();
        *content.sum.entry(key).or_default() += number;
        backend.at(self.tally, &key).add(number).unwrap();
        let tally = content.tally.entry(key).or_default();
        *tally = (tally.0 + number, tally.1 + 1);
    }

    fn alter<B: StateBackend<Key = i32>>(self, backend: &mut B, content: &mut Content, round: i32, key: i32) {
        backend.at(self.value, &key).update(|value| *value = value.map(|number| number + 1)).unwrap();
        content.value.entry(key).and_modify(|number| *number += 1);
        let elements = vec![format!("set {round}"), String::new()];
        backend.at(self.list, &key).set(elements.clone()).unwrap();
        content.list.insert(key, elements);
        backend.at(self.map, &key).remove(&(round - 1)).unwrap();
        if let Some(map) = content.map.get_mut(&key) {
            map.remove(&(round - 1));
            if map.is_empty() {
                content.map.remove(&key);
            }
        }
    }

    fn clear<B: StateBackend<Key = i32>>(self, backend: &mut B, content: &mut Content, key: i32) {
        backend.at(self.value, &key).clear().unwrap();
        content.value.remove(&key);
        backend.at(self.list, &key).clear().unwrap();
        content.list.remove(&key);
        backend.at(self.map, &key).clear().unwrap();
        content.map.remove(&key);
        backend.at(self.sum, &key).clear().unwrap();
        content.sum.remove(&key);
        backend.at(self.tally, &key).clear().unwrap();
        content.tally.remove(&key);
    }

    /// All that is in the states.
    pub fn read<B: StateBackend<Key = i32>>(self, backend: &mut B) -> Content {
        let mut content = Content::default();
        for key in backend.sorted_keys("value") {
            content.value.insert(key, backend.at(self.value, &key).get().unwrap().unwrap());
        }
        for key in backend.sorted_keys("list") {
            content.list.insert(key, backend.at(self.list, &key).get().unwrap());
        }
        for key in backend.sorted_keys("map") {
            let mut map = backend.at(self.map, &key);
            let entries = map.iter().unwrap().map(|entry| {
                let (key, value) = entry.unwrap();
                (key.into_owned(), value.into_owned())
            });
            content.map.insert(key, entries.collect());
        }
        for key in backend.sorted_keys("sum") {
            content.sum.insert(key, backend.at(self.sum, &key).get().unwrap().unwrap());
        }
        for key in backend.sorted_keys("tally") {
            content.tally.insert(key, backend.at(self.tally, &key).get().unwrap().unwrap());
        }
        content
    }
}

/// Registers the states in a restored backend, and gives all that is in them.
pub fn content_of<B: StateBackend<Key = i32>>(backend: &mut B) -> Content {
    Kinds::register(backend).unwrap().read(backend)
}
