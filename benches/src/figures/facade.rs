//! `AnyBackend` against the backend that it contains.

use state_backends::prelude::*;

use super::Figures;
use crate::counts::subtask;
use crate::measure::{median, timed};
use crate::report::{Figure, Target};
use crate::workload::{SplitMix64, Stream};

/// Accesses of a round.
const EVENTS: usize = 500_000;

/// Measures reads and writes of every kind of state at `entries` keys, in turns, `rounds` times.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If the two have different values.
pub fn facade(entries: usize, rounds: usize, figures: &mut Figures<'_>) -> Result<()> {
    let bare = MemoryBackend::open(&MemoryOptions::default(), subtask()?, &[])?;
    let any = AnyBackend::open(&AnyOptions::Memory(MemoryOptions::default()), subtask()?, &[])?;
    contest("AnyBackend against MemoryBackend", bare, any, entries, rounds, figures)?;
    let bare = MemoryBackend::open(&MemoryOptions::default(), subtask()?, &[])?;
    let any = Own::open(&OwnOptions::Memory(MemoryOptions::default()), subtask()?, &[])?;
    contest("an enum with ByteBackend against MemoryBackend", bare, any, entries, rounds, figures)
}

any_backend! {
    /// An application's own choice, with a backend whose views are larger.
    enum Own: OwnOptions {
        Memory(MemoryBackend),
        Bytes(state_backends::bytes::ByteBackend),
    }
}

/// Measures the same on RocksDB, in memory: the cache holds all values.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If the two have different values.
#[cfg(feature = "rocksdb")]
pub fn facade_rocksdb(
    entries: usize,
    rounds: usize,
    folder: &std::path::Path,
    figures: &mut Figures<'_>,
) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let options = RocksDbOptions::in_folder(
        folder.path().join("checkpoints"),
        JobFolder::new("job")?,
        folder.path().join("work"),
    )?;
    let bare = RocksDbBackend::open(&options, subtask()?, &[])?;
    let any = AnyBackend::open(&AnyOptions::RocksDb(options), subtask()?, &[])?;
    contest("AnyBackend against RocksDbBackend", bare, any, entries, rounds, figures)
}

fn contest<A: StateBackend<Key = u64>, B: StateBackend<Key = u64>>(
    name: &str,
    bare: A,
    any: B,
    entries: usize,
    rounds: usize,
    figures: &mut Figures<'_>,
) -> Result<()> {
    let (mut bare, mut any) = (States::new(bare)?, States::new(any)?);
    let all: Vec<u64> = (0..entries as u64).collect();
    // In turns: the memory that is filled later is slower to reach.
    for some in all.chunks(64) {
        bare.fill(some)?;
        any.fill(some)?;
    }
    let mut random = SplitMix64::new(42, Stream::Uniform);
    for (op, of_bare, of_any) in States::<A>::OPS.iter().zip(States::<B>::OPS).map(|(a, b)| (a.0, a.1, b.1)) {
        let (mut times, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let events: Vec<u64> = (0..EVENTS).map(|_| random.below(entries as u64)).collect();
            let (mut took, mut sums) = ([0.0; 2], [0; 2]);
            for turn in 0..2 {
                let at = (turn + round) % 2;
                let (sum, time) =
                    timed(|| if at == 0 { of_bare(&mut bare, &events) } else { of_any(&mut any, &events) });
                (sums[at], took[at]) = (sum?, time.cpu_ns_per(events.len() as u64));
            }
            assert_eq!(sums[0], sums[1], "the two answer differently");
            times.push(took[0]);
            ratios.push(took[1] / took[0]);
        }
        let bare = median(times);
        let detail = format!("{bare:.1} ns CPU bare");
        let name = format!("{name}, {op}, {entries} keys");
        let most = if bare < 30.0 { 1.15 } else { 1.1 };
        figures(Figure::new(name, median(ratios), "x", detail).target(Target::AtMost(most)));
    }
    Ok(())
}

/// A state of each kind.
struct States<B: StateBackend> {
    backend: B,
    value: ValueToken<u64>,
    list: ListToken<u64>,
    map: MapToken<u64, u64>,
    reducing: ReducingToken<u64>,
    aggregating: AggregatingToken<Sum>,
}

struct Sum;

impl Aggregate for Sum {
    type Input = u64;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, sum: &mut u64, input: u64) -> Result<(), BoxError> {
        *sum = sum.wrapping_add(input);
        Ok(())
    }

    fn result(&self, sum: &u64) -> u64 {
        *sum
    }

    fn merge(&self, into: &mut u64, other: &u64) -> Result<(), BoxError> {
        self.add(into, *other)
    }
}

/// Does something with each key, and answers a number that depends on what it read.
type Run<B> = fn(&mut States<B>, &[u64]) -> Result<u64>;

/// An operation as a function of its own, so that none is compiled together with another.
macro_rules! ops {
    ($($op:literal: |$states:ident, $context:ident, $key:ident| $access:expr;)+) => {
        const OPS: &'static [(&'static str, Run<B>)] = &[$(($op, {
            fn run<B: StateBackend<Key = u64>>($states: &mut States<B>, keys: &[u64]) -> Result<u64> {
                let mut sum = 0_u64;
                for $key in keys {
                    let $context = $states.backend.key($key)?;
                    sum = sum.wrapping_add($access);
                }
                Ok(sum)
            }
            run::<B>
        })),+];
    };
}

impl<B: StateBackend<Key = u64>> States<B> {
    ops! {
        "value get": |s, at, key| s.backend.value(s.value, at, &())?.get()?.unwrap_or(0);
        "value set": |s, at, key| { s.backend.value(s.value, at, &())?.set(*key)?; 0 };
        "value update": |s, at, key| s.backend.value(s.value, at, &())?.update(|value| {
            let value = value.get_or_insert(0);
            *value += 1;
            *value
        })?;
        "list iter": |s, at, key| {
            let mut list = s.backend.list(s.list, at, &())?;
            list.iter()?.try_fold(0, |sum: u64, element| Ok::<_, Error>(sum.wrapping_add(*element?)))?
        };
        "list is_empty": |s, at, key| u64::from(s.backend.list(s.list, at, &())?.is_empty()?);
        "list set": |s, at, key| { s.backend.list(s.list, at, &())?.set([*key, 1])?; 0 };
        "list add": |s, at, key| { s.backend.list(s.list, at, &())?.add(*key)?; 0 };
        "map get": |s, at, key| s.backend.map(s.map, at, &())?.get(&(*key % 4))?.unwrap_or(0);
        "map contains": |s, at, key| u64::from(s.backend.map(s.map, at, &())?.contains(&(*key % 4))?);
        "map iter": |s, at, key| {
            let mut map = s.backend.map(s.map, at, &())?;
            map.iter()?.try_fold(0, |sum: u64, entry| Ok::<_, Error>(sum.wrapping_add(*entry?.1)))?
        };
        "map put": |s, at, key| { s.backend.map(s.map, at, &())?.put(*key % 4, *key)?; 0 };
        "map update": |s, at, key| s.backend.map(s.map, at, &())?.update(*key % 4, |value| {
            let value = value.get_or_insert(0);
            *value += 1;
            *value
        })?;
        "reducing get": |s, at, key| s.backend.reducing(s.reducing, at, &())?.get()?.unwrap_or(0);
        "reducing add": |s, at, key| { s.backend.reducing(s.reducing, at, &())?.add(*key)?; 0 };
        "aggregating get": |s, at, key| s.backend.aggregating(s.aggregating, at, &())?.get()?.unwrap_or(0);
        "aggregating add": |s, at, key| { s.backend.aggregating(s.aggregating, at, &())?.add(*key)?; 0 };
    }

    fn new(mut backend: B) -> Result<Self> {
        Ok(Self {
            value: backend.register(ValueDescriptor::new("value"))?,
            list: backend.register(ListDescriptor::new("list"))?,
            map: backend.register(MapDescriptor::new("map"))?,
            reducing: backend
                .register(ReducingDescriptor::new("reducing", |sum: &u64, new| sum.wrapping_add(*new)))?,
            aggregating: backend.register(AggregatingDescriptor::new("aggregating", Sum))?,
            backend,
        })
    }

    /// Gives each key something in each state.
    fn fill(&mut self, keys: &[u64]) -> Result<()> {
        for key in keys {
            let at = self.backend.key(key)?;
            self.backend.value(self.value, at, &())?.set(*key)?;
            self.backend.list(self.list, at, &())?.add(*key)?;
            self.backend.map(self.map, at, &())?.put_all((0..4).map(|at| (at, *key)))?;
            self.backend.reducing(self.reducing, at, &())?.add(*key)?;
            self.backend.aggregating(self.aggregating, at, &())?.add(*key)?;
        }
        Ok(())
    }
}
