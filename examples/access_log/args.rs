//! The command line.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// Lines to generate if no log is named.
const DEFAULT_LINES: u64 = 1_000_000;

/// Subtasks and key groups are numbered by 15 bits.
const MAX_PARALLELISM: i64 = 1 << 15;

/// Hits, visitors and bytes for each path of an access log in the combined format: a stream job with keyed state that
/// survives being killed.
#[derive(Debug, Parser)]
#[command(name = "access_log")]
pub struct Args {
    /// The log; `-` is standard input. Without it, lines are generated
    pub log: Option<PathBuf>,

    /// Generate N lines instead of reading a log [default: 1000000]
    #[arg(long, value_name = "N", conflicts_with = "log")]
    pub generate: Option<u64>,

    /// Seed of the generated lines
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Where state is kept
    #[arg(long, value_enum, default_value_t = Backend::Memory)]
    pub backend: Backend,

    /// Number of subtasks, each a thread with its own backend
    #[arg(long, value_name = "P", default_value_t = 2, value_parser = parallelism())]
    pub parallelism: u16,

    /// Number of key groups, which no later parallelism can exceed
    #[arg(long, value_name = "M", value_parser = parallelism())]
    pub max_parallelism: Option<u16>,

    /// Read the log in N parts at once, each by a source of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parallelism())]
    pub sources: u16,

    /// Take a checkpoint every N lines of the first source; 0 for never
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub checkpoint_every: u64,

    /// Write only what changed since the last checkpoint (fs, rocksdb)
    #[arg(long)]
    pub incremental: bool,

    /// Keep checkpoints in this folder
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,

    /// Number of completed checkpoints to keep
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub retained: usize,

    /// Go on from the last completed checkpoint in --checkpoint-dir
    #[arg(long, requires = "checkpoint_dir")]
    pub resume: bool,

    /// Delete the checkpoints that an earlier run left in --checkpoint-dir
    #[arg(long, requires = "checkpoint_dir", conflicts_with = "resume")]
    pub overwrite: bool,

    /// Kill this process after line N of the first source
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub crash_at: Option<u64>,

    /// Number of rows to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub top: usize,

    /// Write all rows to this file: path, hits, visitors, mean bytes, separated by tabs
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The kinds of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// State on the heap, checkpoints in the coordinator's memory; up to 5 MiB for each subtask
    Memory,
    /// State on the heap, checkpoints in files
    Fs,
    /// State in RocksDB, checkpoints in files; needs the feature `rocksdb`
    Rocksdb,
}

/// Where the lines come from.
#[derive(Clone, Debug)]
pub enum Input {
    File(PathBuf),
    Stdin,
    Generated { lines: u64, seed: u64 },
}

impl Args {
    /// Reads the command line. Ends the program if it asks for help, or cannot be used.
    pub fn read() -> Self {
        let args = Self::parse();
        if let Err(reason) = args.check() {
            Self::command().error(ErrorKind::ArgumentConflict, reason).exit();
        }
        args
    }

    /// Where the lines come from.
    pub fn input(&self) -> Input {
        match &self.log {
            Some(path) if path.as_os_str() == "-" => Input::Stdin,
            Some(path) => Input::File(path.clone()),
            None => Input::Generated { lines: self.generate.unwrap_or(DEFAULT_LINES), seed: self.seed },
        }
    }

    /// Refuses options that do not fit together.
    fn check(&self) -> Result<(), String> {
        if let Some(most) = self.max_parallelism.filter(|most| self.parallelism > *most) {
            let parallelism = self.parallelism;
            return Err(format!("--parallelism {parallelism} is above --max-parallelism {most}"));
        }
        if self.backend == Backend::Rocksdb && !cfg!(feature = "rocksdb") {
            return Err("this build has no RocksDB backend: build it with --features rocksdb".to_owned());
        }
        if self.incremental && self.backend == Backend::Memory {
            return Err("--incremental needs --backend fs or --backend rocksdb".to_owned());
        }
        if self.sources > 1 && matches!(self.input(), Input::Stdin) {
            return Err("--sources cannot cut standard input into parts: name a file".to_owned());
        }
        if self.resume && matches!(self.input(), Input::Stdin) {
            return Err("--resume cannot go back in standard input: name a file".to_owned());
        }
        Ok(())
    }
}

fn parallelism() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=MAX_PARALLELISM)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("the least is 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
