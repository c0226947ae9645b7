//! One state of each kind, and a plain account of their content.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, BoxError, ListDescriptor,
    ListState, ListToken, MapDescriptor, MapState, MapToken, ReducingDescriptor, ReducingState,
    ReducingToken, Result, StateBackend, StateKind, StateToken, TimerDescriptor, TimerState, TimerToken,
    ValueDescriptor, ValueState, ValueToken,
};

use crate::access::Access;

/// The keys that [`Kinds::change`] touches.
pub const KEYS: std::ops::Range<i32> = 0..40;

/// The sum and number of its inputs. Its result is its accumulator.
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

/// Tokens of one state of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    value: ValueToken<i64>,
    list: ListToken<String>,
    map: MapToken<i32, String>,
    sum: ReducingToken<i64>,
    tally: AggregatingToken<Tally>,
    timers: TimerToken,
}

/// A change of every kind of state at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds or sets.
    Write,
    /// Replaces, updates, and removes a part.
    Alter,
    /// Clears.
    Clear,
}

fn number(round: i32, key: i32) -> i64 {
    i64::from(round) * 1000 + i64::from(key)
}

fn added(round: i32) -> [String; 2] {
    [format!("{round}"), format!("{round}+")]
}

fn replacing(round: i32) -> Vec<String> {
    vec![format!("set {round}"), String::new()]
}

fn entries(round: i32, key: i32) -> [i32; 3] {
    [round, -round, key]
}

fn times(round: i32, key: i32) -> [i64; 3] {
    entries(round, key).map(i64::from)
}

/// The content of all states, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    value: BTreeMap<i32, i64>,
    list: BTreeMap<i32, Vec<String>>,
    map: BTreeMap<i32, BTreeMap<i32, String>>,
    sum: BTreeMap<i32, i64>,
    tally: BTreeMap<i32, (i64, u64)>,
    timers: BTreeMap<i32, BTreeSet<i64>>,
}

impl Content {
    /// Applies a change at a key, to every kind of state.
    pub fn apply(&mut self, change: Change, round: i32, key: i32) {
        for kind in Kinds::ALL {
            self.apply_to(kind, change, round, key);
        }
    }

    /// Applies a change at a key, to the state of one kind.
    pub fn apply_to(&mut self, kind: StateKind, change: Change, round: i32, key: i32) {
        match change {
            Change::Write => self.write(kind, round, key),
            Change::Alter => self.alter(kind, round, key),
            Change::Clear => self.clear(kind, key),
        }
    }

    fn write(&mut self, kind: StateKind, round: i32, key: i32) {
        let number = number(round, key);
        match kind {
            StateKind::Value => _ = self.value.insert(key, number),
            StateKind::List => self.list.entry(key).or_default().extend(added(round)),
            StateKind::Map => {
                let map = self.map.entry(key).or_default();
                map.extend(entries(round, key).map(|entry| (entry, format!("{round}"))));
            }
            StateKind::Reducing => *self.sum.entry(key).or_default() += number,
            StateKind::Aggregating => {
                let tally = self.tally.entry(key).or_default();
                *tally = (tally.0 + number, tally.1 + 1);
            }
            StateKind::Timer => self.timers.entry(key).or_default().extend(times(round, key)),
        }
    }

    fn alter(&mut self, kind: StateKind, round: i32, key: i32) {
        match kind {
            StateKind::Value => _ = self.value.entry(key).and_modify(|number| *number += 1),
            StateKind::List => _ = self.list.insert(key, replacing(round)),
            StateKind::Map => {
                if let Some(map) = self.map.get_mut(&key) {
                    map.remove(&(round - 1));
                    if map.is_empty() {
                        self.map.remove(&key);
                    }
                }
            }
            StateKind::Timer => {
                if let Some(times) = self.timers.get_mut(&key) {
                    times.remove(&i64::from(round - 1));
                    if times.is_empty() {
                        self.timers.remove(&key);
                    }
                }
            }
            StateKind::Reducing | StateKind::Aggregating => {}
        }
    }

    fn clear(&mut self, kind: StateKind, key: i32) {
        match kind {
            StateKind::Value => _ = self.value.remove(&key),
            StateKind::List => _ = self.list.remove(&key),
            StateKind::Map => _ = self.map.remove(&key),
            StateKind::Reducing => _ = self.sum.remove(&key),
            StateKind::Aggregating => _ = self.tally.remove(&key),
            StateKind::Timer => _ = self.timers.remove(&key),
        }
    }

    /// Adds the content of another backend. No key may be in both.
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
        join(&mut self.timers, other.timers);
    }
}

impl Kinds {
    /// The names of the states, sorted.
    pub const NAMES: [&str; 6] = ["list", "map", "sum", "tally", "timers", "value"];

    /// The kinds of the states.
    pub const ALL: [StateKind; 6] = [
        StateKind::Value,
        StateKind::List,
        StateKind::Map,
        StateKind::Reducing,
        StateKind::Aggregating,
        StateKind::Timer,
    ];

    /// Registers the states.
    ///
    /// # Errors
    /// Errors of the backend.
    pub fn register<B: StateBackend<Key = i32>>(backend: &mut B) -> Result<Self> {
        Ok(Self {
            value: backend.register(ValueDescriptor::new("value"))?,
            list: backend.register(ListDescriptor::new("list"))?,
            map: backend.register(MapDescriptor::new("map"))?,
            sum: backend.register(ReducingDescriptor::new("sum", |a, b| a + b))?,
            tally: backend.register(AggregatingDescriptor::new("tally", Tally))?,
            timers: backend.register(TimerDescriptor::event_time("timers"))?,
        })
    }

    /// Writes, changes and removes some entries of each kind at the backend's keys, and applies the same to
    /// `content`. Each round makes other changes.
    pub fn change<B: StateBackend<Key = i32>>(self, backend: &mut B, content: &mut Content, round: i32) {
        for key in KEYS {
            if backend.key(&key).is_err() {
                continue;
            }
            let change = match (key + round) % 4 {
                0 => Change::Write,
                1 => Change::Alter,
                2 => Change::Clear,
                _ => continue,
            };
            self.apply(change, backend, round, key);
            content.apply(change, round, key);
        }
    }

    /// Applies a change at a key of the backend, to every kind of state.
    pub fn apply<B: StateBackend<Key = i32>>(self, change: Change, backend: &mut B, round: i32, key: i32) {
        for kind in Self::ALL {
            self.apply_to(kind, change, backend, round, key);
        }
    }

    /// Applies a change at a key of the backend, to the state of one kind.
    pub fn apply_to<B: StateBackend<Key = i32>>(
        self,
        kind: StateKind,
        change: Change,
        backend: &mut B,
        round: i32,
        key: i32,
    ) {
        match change {
            Change::Write => self.write(kind, backend, round, key),
            Change::Alter => self.alter(kind, backend, round, key),
            Change::Clear => self.clear(kind, backend, key),
        }
    }

    fn write<B: StateBackend<Key = i32>>(self, kind: StateKind, backend: &mut B, round: i32, key: i32) {
        let number = number(round, key);
        match kind {
            StateKind::Value => backend.at(self.value, &key).set(number).unwrap(),
            StateKind::List => {
                for element in added(round) {
                    backend.at(self.list, &key).add(element).unwrap();
                }
            }
            StateKind::Map => {
                for entry in entries(round, key) {
                    backend.at(self.map, &key).put(entry, format!("{round}")).unwrap();
                }
            }
            StateKind::Reducing => backend.at(self.sum, &key).add(number).unwrap(),
            StateKind::Aggregating => backend.at(self.tally, &key).add(number).unwrap(),
            StateKind::Timer => {
                let at = backend.key(&key).unwrap();
                for time in times(round, key) {
                    backend.timers(self.timers).unwrap().add(at, &(), time).unwrap();
                }
            }
        }
    }

    fn alter<B: StateBackend<Key = i32>>(self, kind: StateKind, backend: &mut B, round: i32, key: i32) {
        match kind {
            StateKind::Value => {
                let mut value = backend.at(self.value, &key);
                value.update(|value| *value = value.map(|number| number + 1)).unwrap();
            }
            StateKind::List => backend.at(self.list, &key).set(replacing(round)).unwrap(),
            StateKind::Map => backend.at(self.map, &key).remove(&(round - 1)).unwrap(),
            StateKind::Timer => {
                let at = backend.key(&key).unwrap();
                backend.timers(self.timers).unwrap().remove(at, &(), i64::from(round - 1)).unwrap();
            }
            StateKind::Reducing | StateKind::Aggregating => {}
        }
    }

    fn clear<B: StateBackend<Key = i32>>(self, kind: StateKind, backend: &mut B, key: i32) {
        match kind {
            StateKind::Value => backend.at(self.value, &key).clear().unwrap(),
            StateKind::List => backend.at(self.list, &key).clear().unwrap(),
            StateKind::Map => backend.at(self.map, &key).clear().unwrap(),
            StateKind::Reducing => backend.at(self.sum, &key).clear().unwrap(),
            StateKind::Aggregating => backend.at(self.tally, &key).clear().unwrap(),
            StateKind::Timer => {
                let at = backend.key(&key).unwrap();
                let mut timers = backend.timers(self.timers).unwrap();
                let of_key = timers.of_key(at).unwrap().collect::<Result<Vec<_>>>().unwrap();
                for timer in of_key {
                    timers.remove(at, &(), timer.at).unwrap();
                }
            }
        }
    }

    /// The keys of each state, state by state.
    pub fn keys<B: StateBackend<Key = i32>>(self, backend: &mut B) -> Vec<Result<i32>> {
        fn add<B: StateBackend>(
            backend: &mut B,
            token: impl StateToken<Namespace = ()>,
            keys: &mut Vec<Result<B::Key>>,
        ) {
            keys.extend(backend.keys(token, &()).expect("the token is the backend's"));
        }
        let mut keys = Vec::new();
        add(backend, self.value, &mut keys);
        add(backend, self.list, &mut keys);
        add(backend, self.map, &mut keys);
        add(backend, self.sum, &mut keys);
        add(backend, self.tally, &mut keys);
        add(backend, self.timers, &mut keys);
        keys
    }

    /// Reads the content of all states.
    pub fn read<B: StateBackend<Key = i32>>(self, backend: &mut B) -> Content {
        let mut content = Content::default();
        for key in backend.sorted_keys(self.value) {
            content.value.insert(key, backend.at(self.value, &key).get().unwrap().unwrap());
        }
        for key in backend.sorted_keys(self.list) {
            content.list.insert(key, backend.at(self.list, &key).get().unwrap());
        }
        for key in backend.sorted_keys(self.map) {
            let mut map = backend.at(self.map, &key);
            let entries = map.iter().unwrap().map(|entry| {
                let (key, value) = entry.unwrap();
                (key.into_owned(), value.into_owned())
            });
            content.map.insert(key, entries.collect());
        }
        for key in backend.sorted_keys(self.sum) {
            content.sum.insert(key, backend.at(self.sum, &key).get().unwrap().unwrap());
        }
        for key in backend.sorted_keys(self.tally) {
            content.tally.insert(key, backend.at(self.tally, &key).get().unwrap().unwrap());
        }
        for timer in backend.timers(self.timers).unwrap().iter().unwrap() {
            let timer = timer.unwrap();
            content.timers.entry(timer.key).or_default().insert(timer.at);
        }
        content
    }
}

/// Registers the states in a restored backend, and reads their content.
pub fn content_of<B: StateBackend<Key = i32>>(backend: &mut B) -> Content {
    Kinds::register(backend).unwrap().read(backend)
}
