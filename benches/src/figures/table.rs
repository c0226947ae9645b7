//! Read-modify-write, insert and remove against flat hash tables.

use std::hash::Hash;
use std::hint::black_box;

use state_backends::prelude::*;

use super::Figures;
use crate::counts::{Counts, in_memory, subtask};
use crate::measure::{Took, least, median, timed};
use crate::peers::{GroupedTables, PlainMap};
use crate::report::{Figure, Target};
use crate::workload::{SplitMix64, Stream, Zipf, mix64, shuffled};

/// Sizes of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct TableScale {
    /// Entries of the tables.
    pub entries: usize,
    /// Operations of a round.
    pub ops: usize,
    /// Rounds. The median counts.
    pub rounds: usize,
}

/// A table to measure.
enum Variant<K: StateKey> {
    Single(Counts<MemoryBackend<K>>),
    Batched(Counts<MemoryBackend<K>>),
    Grouped(GroupedTables<K>, KeySpace<K>),
    Plain(PlainMap<K>),
}

impl<K: StateKey + Hash> Variant<K> {
    fn all() -> Result<Vec<Self>> {
        Ok(vec![
            Self::Single(in_memory()?),
            Self::Batched(in_memory()?),
            Self::Grouped(GroupedTables::new(128), subtask()?.key_space().clone()),
            Self::Plain(PlainMap::new()),
        ])
    }

    fn add_one_each(&mut self, keys: &[K]) -> Result<()> {
        match self {
            Self::Single(counts) => keys.iter().try_for_each(|key| counts.add_one(key)),
            Self::Batched(counts) => counts.add_one_each(keys),
            Self::Grouped(tables, space) => keys.iter().try_for_each(|key| {
                tables.add_one(space.key(key)?, key);
                Ok(())
            }),
            Self::Plain(map) => {
                keys.iter().for_each(|key| map.add_one(key));
                Ok(())
            }
        }
    }

    fn remove_each(&mut self, keys: &[K]) -> Result<()> {
        match self {
            Self::Single(counts) => keys.iter().try_for_each(|key| counts.remove(key)),
            Self::Batched(counts) => counts.remove_each(keys),
            Self::Grouped(tables, space) => keys.iter().try_for_each(|key| {
                tables.remove(space.key(key)?, key);
                Ok(())
            }),
            Self::Plain(map) => {
                keys.iter().for_each(|key| map.remove(key));
                Ok(())
            }
        }
    }

    fn entries(&self) -> u64 {
        match self {
            Self::Single(counts) | Self::Batched(counts) => counts.info().entries.unwrap_or(0),
            Self::Grouped(tables, _) => tables.totals().0,
            Self::Plain(map) => map.totals().0,
        }
    }

    /// The sum of the counts of keys. All of them must exist.
    fn sum(&mut self, keys: &mut dyn Iterator<Item = K>) -> Result<u64> {
        match self {
            Self::Single(counts) | Self::Batched(counts) => {
                let mut sum = 0;
                for key in keys {
                    sum += counts.get(&key)?;
                }
                Ok(sum)
            }
            Self::Grouped(tables, _) => Ok(tables.totals().1),
            Self::Plain(map) => Ok(map.totals().1),
        }
    }
}

/// Indexes of the variants.
const SINGLE: usize = 0;
const BATCHED: usize = 1;
const GROUPED: usize = 2;
const PLAIN: usize = 3;

/// Times of the variants, round by round.
struct Contest {
    took: [Vec<Took>; 4],
    ops: u64,
}

impl Contest {
    fn new(ops: usize) -> Self {
        Self { took: Default::default(), ops: ops as u64 }
    }

    /// Measures `work` of each variant in turn. Each round starts with another variant.
    fn round<K: StateKey>(
        &mut self,
        round: usize,
        variants: &mut [Variant<K>],
        mut work: impl FnMut(&mut Variant<K>) -> Result<()>,
    ) -> Result<()> {
        for turn in 0..variants.len() {
            let at = (turn + round) % variants.len();
            let (result, took) = timed(|| work(&mut variants[at]));
            result?;
            self.took[at].push(took);
        }
        Ok(())
    }

    fn ratio(&self, ours: usize, peer: usize) -> f64 {
        median(
            self.took[ours]
                .iter()
                .zip(&self.took[peer])
                .map(|(a, b)| a.cpu.as_secs_f64() / b.cpu.as_secs_f64()),
        )
    }

    /// Reports the ratios one by one and in batches, with their targets.
    fn publish(&self, name: &str, targets: [Target; 2], figures: &mut Figures<'_>) {
        let all = |at: usize| self.took[at].iter().map(|took| took.cpu_ns_per(self.ops));
        let wall = |at: usize| median(self.took[at].iter().map(|took| took.wall_ns_per(self.ops)));
        for ((ours, call), target) in
            [(SINGLE, "single"), (BATCHED, "batches of 32")].into_iter().zip(targets)
        {
            let detail = format!(
                "{:.0} ({:.0}) ns against {:.0} ({:.0}) of a table a group, {:.0} ({:.0}) of one map with its own \
                 hasher ({:.2} x); wall {:.0} / {:.0} / {:.0} ns",
                median(all(ours)),
                least(all(ours)),
                median(all(GROUPED)),
                least(all(GROUPED)),
                median(all(PLAIN)),
                least(all(PLAIN)),
                self.ratio(ours, PLAIN),
                wall(ours),
                wall(GROUPED),
                wall(PLAIN),
            );
            let figure = Figure::new(format!("{name}, {call}"), self.ratio(ours, GROUPED), "x", detail);
            figures(figure.target(target));
        }
    }
}

/// Measures tables of counts under `key(0)`, `key(1)` and so on; `label` names the keys.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If a table has a wrong count.
pub fn table<K: StateKey + Hash>(
    label: &str,
    key: fn(u64) -> K,
    scale: TableScale,
    figures: &mut Figures<'_>,
) -> Result<()> {
    let TableScale { entries, ops, rounds } = scale;
    let ops = ops.min(entries);
    let name = |op: &str| format!("{op} {label}, {} entries", entries_text(entries));
    // Flat tables keep strings outside of the slot, ours keep short ones in it.
    let single = if std::mem::needs_drop::<K>() { 1.0 } else { 1.3 };
    let targets = [Target::AtMost(single), Target::AtMost(1.0)];
    let order = shuffled(0, entries, 42, Stream::NewKeys);

    let mut inserts = Contest::new(entries);
    let mut variants = Vec::new();
    {
        let all: Vec<K> = order.iter().map(|number| key(*number as u64)).collect();
        for round in 0..rounds.min(3) {
            drop(std::mem::take(&mut variants));
            variants = Variant::all()?;
            inserts.round(round, &mut variants, |variant| variant.add_one_each(&all))?;
        }
    }
    inserts.publish(&name("insert"), targets, figures);

    let mut expected = entries as u64;
    let mut zipf = Zipf::new(entries as u64, 0.99, 42);
    let mut uniform = SplitMix64::new(42, Stream::Uniform);
    type Draw = Box<dyn FnMut() -> u64>;
    let mut draws: [(&str, Draw); 2] = [
        ("uniform", Box::new(move || uniform.below(entries as u64))),
        ("zipf 0.99", Box::new(move || zipf.next().unwrap_or(0))),
    ];
    for (distribution, draw) in &mut draws {
        let mut contest = Contest::new(ops);
        for round in 0..=rounds {
            let events: Vec<K> = (0..ops).map(|_| key(draw())).collect();
            let mut warm_up = Contest::new(ops);
            // The first round only warms up.
            let to = if round == 0 { &mut warm_up } else { &mut contest };
            to.round(round, &mut variants, |variant| variant.add_one_each(black_box(&events)))?;
            expected += ops as u64;
        }
        contest.publish(&format!("{}, {distribution}", name("read-modify-write")), targets, figures);
    }
    for variant in &mut variants {
        assert_eq!(variant.entries(), entries as u64, "a table lost or made up entries");
        assert_eq!(
            variant.sum(&mut (0..entries as u64).map(key))?,
            expected,
            "a table lost or made up counts"
        );
    }

    let mut removals = Contest::new(ops);
    for round in 0..rounds {
        let from = mix64(round as u64) as usize % (entries - ops + 1);
        let some: Vec<K> = order[from..from + ops].iter().map(|number| key(*number as u64)).collect();
        removals.round(round, &mut variants, |variant| variant.remove_each(black_box(&some)))?;
        for variant in &mut variants {
            assert_eq!(variant.entries(), (entries - ops) as u64, "a table did not remove");
            variant.add_one_each(&some)?;
        }
    }
    removals.publish(&name("remove"), targets, figures);
    Ok(())
}

fn entries_text(entries: usize) -> String {
    match entries {
        _ if entries.is_multiple_of(1_000_000) => format!("{} M", entries / 1_000_000),
        _ if entries.is_multiple_of(1_000) => format!("{} k", entries / 1_000),
        _ => entries.to_string(),
    }
}
