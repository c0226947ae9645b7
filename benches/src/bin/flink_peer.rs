//! Flink's heap backend and ours on the same operations and inputs, in turns; prints the ratios.
//!
//! Needs Java 17 with its compiler; `peers/flink/run.sh` fetches Flink unless `FLINK_DIR` says where it is.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

use benches::measure::{Took, load_average, median};
use benches::ops::{Load, Memory, Op, load};
use benches::report::{Figure, MARKDOWN_HEAD, Target, csv_row, markdown_row};
use clap::Parser;

/// Measures Flink's heap backend and ours in turns.
#[derive(Parser)]
struct Options {
    /// Only operations whose names contain this.
    #[arg(default_value = "")]
    filter: String,
    /// Keys of each state.
    #[arg(long, default_value_t = 500_000)]
    keys: usize,
    /// Keys, and events of a round, of the word counts.
    #[arg(long, default_value_t = 1_000_000)]
    app_keys: usize,
    /// How often the two take turns.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Rounds that only warm up, in each turn.
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Rounds that count, in each turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Writes the figures here too.
    #[arg(long)]
    csv: Option<PathBuf>,
}

const SEED: u64 = 42;

const OPS: &[Op] = &[
    Op::ValueUpdate,
    Op::ValueGet,
    Op::ListAppend,
    Op::MapGet,
    Op::MapUpdate,
    Op::MapIterator,
    Op::ReducingAdd,
    Op::AggregatingAdd,
    Op::WordcountUniform,
    Op::WordcountZipf,
];

/// Operations a second.
#[derive(Clone, Copy, Default)]
struct Rates {
    /// Of the wall clock.
    wall: f64,
    /// Of the thread's CPU time.
    thread: f64,
    /// Of the process's CPU time, garbage collection and compiler included.
    process: f64,
}

fn flink(options: &Options, op: Op) -> Result<Rates, Box<dyn std::error::Error>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/flink/run.sh");
    let output = Command::new(script)
        .args(["bench", "--backend", "heap", "--op", op.name()])
        .args(["--keys", &options.keys.to_string(), "--ops", &options.keys.to_string()])
        .args(["--app-keys", &options.app_keys.to_string(), "--events", &options.app_keys.to_string()])
        .args(["--warmup", &options.warmup.to_string(), "--rounds", &options.rounds.to_string()])
        .args(["--seed", &SEED.to_string()])
        .stderr(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("{script} failed: {}", output.status).into());
    }
    let mut rates = Rates::default();
    for line in String::from_utf8(output.stdout)?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [_, _, _, unit, value] = fields[..] {
            let value: f64 = value.parse()?;
            match unit {
                "ops/s" => rates.wall = value,
                "ops/cpu-s" => rates.thread = value,
                "ops/proc-cpu-s" => rates.process = value,
                _ => {}
            }
        }
    }
    if rates.thread > 0.0 { Ok(rates) } else { Err(format!("{script} told no rate of {}", op.name()).into()) }
}

fn ours(options: &Options, op: Op, inputs: &Rc<Load>) -> Result<Rates, Box<dyn std::error::Error>> {
    let mut state = load(&Memory, op, inputs)?;
    let mut rounds = Vec::new();
    for round in 0..options.warmup + options.rounds {
        rounds.push(state.round(op, round)?);
    }
    let rate = |seconds: fn(&Took) -> f64| {
        median(rounds[options.warmup..].iter().map(|round| round.ops as f64 / seconds(&round.took)))
    };
    let thread = rate(|took| took.cpu.as_secs_f64());
    // There is no other thread.
    Ok(Rates { wall: rate(|took| took.wall.as_secs_f64()), thread, process: thread })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let mut csv = options.csv.as_ref().map(std::fs::File::create).transpose()?;
    if let Some(csv) = &mut csv {
        writeln!(csv, "{}", benches::report::CSV_HEAD)?;
    }
    let inputs = Rc::new(Load::new(options.keys, options.keys, options.app_keys, options.app_keys, SEED));
    let mut out = stdout();
    writeln!(out, "Load average: {:.2}\n\n{MARKDOWN_HEAD}", load_average().unwrap_or(f64::NAN))?;
    for op in OPS.iter().copied().filter(|op| op.name().contains(&options.filter)) {
        let mut turns = Vec::new();
        for turn in 0..options.turns {
            let (theirs, own);
            if turn % 2 == 0 {
                theirs = flink(&options, op)?;
                own = ours(&options, op, &inputs)?;
            } else {
                own = ours(&options, op, &inputs)?;
                theirs = flink(&options, op)?;
            }
            turns.push((own, theirs));
        }
        let ratio =
            |rate: fn(&Rates) -> f64| median(turns.iter().map(|(own, theirs)| rate(own) / rate(theirs)));
        let ns = |rate: f64| 1e9 / rate;
        let detail = format!(
            "{:.0} ns CPU against {:.0}; {:.1} x by the wall clock, {:.1} x with garbage collection; turns {}",
            ns(median(turns.iter().map(|(own, _)| own.thread))),
            ns(median(turns.iter().map(|(_, theirs)| theirs.thread))),
            ratio(|rates| rates.wall),
            ratio(|rates| rates.process),
            turns.iter().map(|(a, b)| format!("{:.1}", a.thread / b.thread)).collect::<Vec<_>>().join(" "),
        );
        let target = if op.name().starts_with("wordcount") { 8.0 } else { 5.0 };
        let figure =
            Figure::new(op.name(), ratio(|rates| rates.thread), "x", detail).target(Target::AtLeast(target));
        writeln!(out, "{}", markdown_row(&figure))?;
        if let Some(csv) = &mut csv {
            writeln!(csv, "{}", csv_row(&figure))?;
        }
    }
    Ok(())
}
