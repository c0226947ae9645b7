//! Compares Flink's backends with ours: same operations and inputs, in turns. Prints the ratios.
//!
//! Needs Java 17 with its compiler; `peers/flink/run.sh` fetches Flink unless `FLINK_DIR` says where it is.

use std::fs::File;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::rc::Rc;

use benches::flink;
use benches::measure::{Took, load_average, median};
use benches::ops::{Family, Load, Memory, Op, load, snapshots};
use benches::report::{CSV_HEAD, Figure, MARKDOWN_HEAD, Target, csv_row, markdown_row};
use clap::{Parser, ValueEnum};

/// Measures Flink's backend and ours in turns.
#[derive(Parser)]
struct Options {
    /// Only operations whose names contain one of these, separated by commas; `snapshots` are the checkpoints and restores.
    #[arg(default_value = "")]
    filter: String,
    /// Which backends are compared; RocksDB needs the feature of that name.
    #[arg(long, value_enum, default_value_t = Kind::Heap)]
    backend: Kind,
    /// Megabytes of memory for each RocksDB.
    #[arg(long, default_value_t = 512)]
    budget_mb: usize,
    /// Megabytes of our budget for decoded values; the default if not given.
    #[arg(long)]
    cache_mb: Option<usize>,
    /// Keys of each state.
    #[arg(long, default_value_t = 500_000)]
    keys: usize,
    /// Keys of the word counts.
    #[arg(long, default_value_t = 1_000_000)]
    app_keys: usize,
    /// Events of a round of the word counts.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Number of turns of each.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Rounds that only warm up, in each turn.
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Rounds that count, in each turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Target ratio of all operations, instead of each one's own.
    #[arg(long)]
    target: Option<f64>,
    /// Also write the figures to this file, as CSV.
    #[arg(long)]
    csv: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Heap,
    Rocksdb,
}

const SEED: u64 = 42;

const HEAP_OPS: &[Op] = &[
    Op::ValueUpdate,
    Op::ValueUpdateBatch,
    Op::ValueGet,
    Op::ValueGetBatch,
    Op::ListAppend,
    Op::ListAppendBatch,
    Op::MapGet,
    Op::MapGetBatch,
    Op::MapUpdate,
    Op::MapUpdateBatch,
    Op::MapIterator,
    Op::MapIteratorBatch,
    Op::ReducingAdd,
    Op::ReducingAddBatch,
    Op::AggregatingAdd,
    Op::AggregatingAddBatch,
    Op::WordcountUniform,
    Op::WordcountUniformBatch,
    Op::WordcountZipf,
    Op::WordcountZipfBatch,
];

#[cfg(feature = "rocksdb")]
const ROCKSDB_OPS: &[Op] = &[
    Op::ValueGet,
    Op::ValueUpdate,
    Op::ValueAdd,
    Op::ListAdd,
    Op::ListAppend,
    Op::ListGet,
    Op::ListAddAll,
    Op::MapGet,
    Op::MapUpdate,
    Op::MapContains,
    Op::MapIterator,
    Op::MapRemove,
    Op::MapPutAll,
    Op::ReducingAdd,
    Op::AggregatingAdd,
    Op::WordcountUniform,
    Op::WordcountZipf,
    Op::Dedup,
];

/// The snapshot operations, by the Flink peer's names.
const SNAPSHOT_OPS: &str = "ckptFull,ckptIncr,snapshotRun,restore,rescaleOut,rescaleIn";

/// Figures of the snapshot operations, and the target ratio of each.
const SNAPSHOT_FIGURES: &[(&str, Option<f64>)] = &[
    ("ckptFull.sync", None),
    ("ckptFull.total", Some(1.0)),
    ("ckptIncr.sync", None),
    ("ckptIncr.total", Some(1.0)),
    ("snapshotRun.async", None),
    ("snapshotRun.during.worstBatch", None),
    ("restore", Some(1.0)),
    ("rescaleOut", Some(1.0)),
    ("rescaleIn", Some(3.0)),
];

/// Limit of the synchronous part after one update of each key, in milliseconds.
const SYNC_MS: f64 = 5.0;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Operations per second.
#[derive(Clone, Copy)]
struct Rates {
    /// By the wall clock.
    wall: f64,
    /// By the CPU time of the thread.
    thread: f64,
    /// By the CPU time of the process, which includes garbage collection, compiler, flushes and compactions.
    process: f64,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.filter.split(',').any(|part| name.contains(part))
    }

    fn flink(&self, ops: &str) -> Fallible<flink::Told> {
        let (backend, managed) = match self.backend {
            Kind::Heap => ("heap", 0),
            Kind::Rocksdb => ("rocksdb", self.budget_mb),
        };
        let number = |number: usize| number.to_string();
        let options = [
            ("backend", backend.to_owned()),
            ("managed-mb", number(managed)),
            ("keys", number(self.keys)),
            ("ops", number(self.keys)),
            ("app-keys", number(self.app_keys)),
            ("events", number(self.events)),
            ("warmup", number(self.warmup)),
            ("rounds", number(self.rounds)),
            ("seed", SEED.to_string()),
        ];
        Ok(flink::run(ops, &options)?)
    }

    fn flink_rates(&self, op: Op) -> Fallible<Rates> {
        // Flink has no batches, so its rate one by one is compared with our batches.
        let name = op.name().split(',').next().unwrap_or_default();
        let told = self.flink(name)?;
        let rate = |unit| told.get(name, unit);
        Ok(Rates { wall: rate("ops/s")?, thread: rate("ops/cpu-s")?, process: rate("ops/proc-cpu-s")? })
    }

    fn our_rates<F: Family + Clone + 'static>(
        &self,
        family: &F,
        op: Op,
        inputs: &Rc<Load>,
    ) -> Fallible<Rates> {
        let mut state = load(family, op, inputs)?;
        let mut rounds = Vec::new();
        for round in 0..self.warmup + self.rounds {
            rounds.push(state.round(op, round)?);
        }
        let rate = |seconds: fn(&Took) -> f64| {
            median(rounds[self.warmup..].iter().map(|round| round.ops as f64 / seconds(&round.took)))
        };
        Ok(Rates {
            wall: rate(|took| took.wall.as_secs_f64()),
            thread: rate(|took| took.cpu.as_secs_f64()),
            process: rate(|took| took.process.as_secs_f64()),
        })
    }

    /// Runs both in turns. Each starts equally often.
    fn turns<A, B>(
        &self,
        mut ours: impl FnMut() -> Fallible<A>,
        mut theirs: impl FnMut() -> Fallible<B>,
    ) -> Fallible<Vec<(A, B)>> {
        let turn = |turn| {
            if turn % 2 == 0 {
                let theirs = theirs()?;
                return Ok((ours()?, theirs));
            }
            let ours = ours()?;
            Ok((ours, theirs()?))
        };
        (0..self.turns).map(turn).collect()
    }

    fn access<F: Family + Clone + 'static>(&self, family: &F, op: Op, inputs: &Rc<Load>) -> Fallible<Figure> {
        let turns = self.turns(|| self.our_rates(family, op, inputs), || self.flink_rates(op))?;
        let ratio =
            |rate: fn(&Rates) -> f64| median(turns.iter().map(|(own, theirs)| rate(own) / rate(theirs)));
        // Work of other threads counts too, where there are any.
        let (rate, clock): (fn(&Rates) -> f64, _) = match self.backend {
            Kind::Heap => (|rates| rates.thread, "CPU"),
            Kind::Rocksdb => (|rates| rates.wall, "wall"),
        };
        let ns = |rate: f64| 1e9 / rate;
        let detail = format!(
            "{:.0} ns {clock} against {:.0}; {:.1} x by the wall clock, {:.1} x CPU of the thread, {:.1} x of the process; turns {}",
            ns(median(turns.iter().map(|(own, _)| rate(own)))),
            ns(median(turns.iter().map(|(_, theirs)| rate(theirs)))),
            ratio(|rates| rates.wall),
            ratio(|rates| rates.thread),
            ratio(|rates| rates.process),
            turns
                .iter()
                .map(|(own, theirs)| format!("{:.1}", rate(own) / rate(theirs)))
                .collect::<Vec<_>>()
                .join(" "),
        );
        let words = op.name().starts_with("wordcount");
        let target = self.target.unwrap_or(match self.backend {
            Kind::Heap if words => 8.0,
            Kind::Heap => 5.0,
            Kind::Rocksdb if words => 10.0,
            Kind::Rocksdb => match op {
                Op::ValueUpdate | Op::ReducingAdd | Op::AggregatingAdd => 10.0,
                _ => 3.0,
            },
        });
        Ok(Figure::new(op.name(), ratio(rate), "x", detail).target(Target::AtLeast(target)))
    }

    fn snapshots<F: Family>(
        &self,
        family: &F,
        inputs: &Rc<Load>,
        publish: &mut dyn FnMut(Figure) -> Fallible<()>,
    ) -> Fallible<()> {
        let ours = || Ok(snapshots(family, inputs, (self.warmup, self.rounds))?);
        let turns = self.turns(ours, || self.flink(SNAPSHOT_OPS))?;
        let both = |name: &str, unit| -> Fallible<(Vec<f64>, Vec<f64>)> {
            let theirs = turns.iter().map(|(_, theirs)| theirs.get(name, unit)).collect::<Result<_, _>>()?;
            Ok((turns.iter().filter_map(|(own, _)| own.get(name).copied()).collect(), theirs))
        };
        let (own, theirs) = both("snapshotRun.sync", "ms")?;
        let detail = format!("after {} updates; Flink {:.3} ms", self.keys, median(theirs));
        publish(Figure::new("snapshotRun.sync", median(own), "ms", detail).target(Target::AtMost(SYNC_MS)))?;
        for (name, target) in SNAPSHOT_FIGURES {
            let (own, theirs) = both(name, "ms")?;
            let ratio = median(own.iter().zip(&theirs).map(|(own, theirs)| theirs / own));
            let detail = format!("{:.3} ms against {:.3}", median(own), median(theirs));
            let figure = Figure::new(*name, ratio, "x", detail);
            publish(target.map_or(figure.clone(), |target| figure.target(Target::AtLeast(target))))?;
        }
        for name in ["ckptFull", "ckptIncr.new"] {
            let (own, theirs) = both(name, "bytes")?;
            let (own, theirs) = (median(own), median(theirs));
            let detail = format!("{:.2} MB against {:.2}", own / 1e6, theirs / 1e6);
            publish(Figure::new(format!("bytes of {name}"), theirs / own, "x", detail))?;
        }
        Ok(())
    }

    fn compare<F: Family + Clone + 'static>(&self, family: &F, ops: &[Op]) -> Fallible<()> {
        let mut csv = self.csv.as_ref().map(File::create).transpose()?;
        if let Some(csv) = &mut csv {
            writeln!(csv, "{CSV_HEAD}")?;
        }
        let mut publish = |figure: Figure| -> Fallible<()> {
            writeln!(stdout(), "{}", markdown_row(&figure))?;
            if let Some(csv) = &mut csv {
                writeln!(csv, "{}", csv_row(&figure))?;
            }
            Ok(())
        };
        let inputs = Rc::new(Load::new(self.keys, self.keys, self.app_keys, self.events, SEED));
        writeln!(stdout(), "Load average: {:.2}\n\n{MARKDOWN_HEAD}", load_average().unwrap_or(f64::NAN))?;
        for op in ops.iter().copied().filter(|op| self.wants(op.name())) {
            publish(self.access(family, op, &inputs)?)?;
        }
        if self.backend == Kind::Rocksdb && self.wants("snapshots") {
            self.snapshots(family, &inputs, &mut publish)?;
        }
        Ok(())
    }
}

#[cfg(feature = "rocksdb")]
fn compare_rocksdb(options: &Options) -> Fallible<()> {
    let cache = options.cache_mb.map(|mb| mb << 20);
    options.compare(&benches::ops::Rocks::new(options.budget_mb << 20, cache)?, ROCKSDB_OPS)
}

#[cfg(not(feature = "rocksdb"))]
fn compare_rocksdb(_: &Options) -> Fallible<()> {
    Err("this was built without the feature rocksdb".into())
}

fn main() -> Fallible<()> {
    let options = Options::parse();
    match options.backend {
        Kind::Heap => options.compare(&Memory, HEAP_OPS),
        Kind::Rocksdb => compare_rocksdb(&options),
    }
}
