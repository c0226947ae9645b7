//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::failure::Failure;

/// Lines made if no log is named.
const DEFAULT_LINES: u64 = 1_000_000;

/// Key groups and subtasks are numbered by 15 bits.
const MAX_PARALLELISM: u64 = 1 << 15;

/// Hits, visitors and bytes for each path of an access log in the combined format: a stream job with keyed state that
/// survives being killed.
#[derive(Debug, Parser)]
#[command(name = "access_log")]
pub struct Args {
    /// The log; `-` is standard input. Without it, lines are generated.
    pub log: Option<PathBuf>,

    /// Generate N lines in place of a log [default: 1000000]
    #[arg(long, value_name = "N", conflicts_with = "log")]
    pub generate: Option<u64>,

    /// Seed of the generated lines
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Where state is kept
    #[arg(long, value_enum, default_value_t = Backend::Memory)]
    pub backend: Backend,

    /// Subtasks, each a thread with a backend of its own
    #[arg(long, value_name = "P", default_value_t = 2)]
    pub parallelism: u64,

    /// Key groups; the bound of the parallelism for the life of the job
    #[arg(long, value_name = "M")]
    pub max_parallelism: Option<u64>,

    /// A checkpoint every so many lines; 0 for never
    #[arg(long, value_name = "RECORDS", default_value_t = 100_000)]
    pub checkpoint_every: u64,

    /// Write only what changed since the last checkpoint (fs, rocksdb)
    #[arg(long)]
    pub incremental: bool,

    /// Where checkpoints are kept. A run without --resume removes those of an earlier run.
    #[arg(long, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,

    /// Completed checkpoints to keep
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub retained: usize,

    /// Kill this process when so many lines of the log have been read
    #[arg(long, value_name = "RECORD")]
    pub crash_at: Option<u64>,

    /// Start from the last complete checkpoint in --checkpoint-dir
    #[arg(long)]
    pub resume: bool,

    /// Rows of the table on the screen
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,

    /// Write all rows here: path, hits, visitors, mean bytes, separated by tabs
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

/// What the command line came to.
pub enum Parsed {
    Run(Args),
    /// Help was asked for.
    Text(String),
}

impl Args {
    /// Reads and checks a command line.
    pub fn parse_from(line: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
        match Self::try_parse_from(line) {
            Ok(args) => args.check().map(|()| Parsed::Run(args)),
            Err(error) if error.use_stderr() => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                Err(Failure::Usage(line.trim_start_matches("error: ").to_owned()))
            }
            Err(help) => Ok(Parsed::Text(help.to_string())),
        }
    }

    /// Where the lines come from.
    pub fn input(&self) -> Input {
        match &self.log {
            Some(path) if path.as_os_str() == "-" => Input::Stdin,
            Some(path) => Input::File(path.clone()),
            None => Input::Generated { lines: self.generate.unwrap_or(DEFAULT_LINES), seed: self.seed },
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let most = self.max_parallelism.unwrap_or(MAX_PARALLELISM);
        let in_range = |name: &str, value: u64, most: u64| match value {
            value if (1..=most).contains(&value) => Ok(()),
            value => Err(Failure::Usage(format!("--{name} {value} is not within 1 to {most}"))),
        };
        let usage = |wrong: bool, message: &str| match wrong {
            true => Err(Failure::Usage(message.to_owned())),
            false => Ok(()),
        };
        in_range("max-parallelism", most, MAX_PARALLELISM)?;
        in_range("parallelism", self.parallelism, most)?;
        in_range("top", self.top as u64, u64::MAX)?;
        in_range("retained", self.retained as u64, u64::MAX)?;
        in_range("crash-at", self.crash_at.unwrap_or(1), u64::MAX)?;
        let rocksdb = self.backend == Backend::Rocksdb;
        usage(rocksdb && !cfg!(feature = "rocksdb"), "this build has no RocksDB backend")?;
        let in_memory = self.backend == Backend::Memory;
        usage(self.incremental && in_memory, "--incremental needs --backend fs or rocksdb")?;
        usage(self.resume && self.checkpoint_dir.is_none(), "--resume needs --checkpoint-dir")?;
        let stdin = matches!(self.input(), Input::Stdin);
        usage(self.resume && stdin, "--resume cannot read standard input again from where it was")
    }
}
