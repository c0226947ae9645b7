//! The command line.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use state_backends::coordinator::BackendKind;
use state_backends::prelude::JobConfig;

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

    /// Take backend, checkpoints and restarts from this file, with Flink's keys
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["backend", "incremental", "checkpoint_dir", "retained"]
    )]
    pub config: Option<PathBuf>,

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
    #[arg(long)]
    pub resume: bool,

    /// Delete the checkpoints that an earlier run left in --checkpoint-dir
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,

    /// Start from this savepoint: its folder, or its metadata file
    #[arg(long, value_name = "PATH", conflicts_with = "resume")]
    pub start_from: Option<PathBuf>,

    /// Stop with a savepoint in a new folder within DIR
    #[arg(long, value_name = "DIR")]
    pub savepoint: Option<PathBuf>,

    /// Stop with the savepoint after line N of the first source [default: at the end]
    #[arg(long, value_name = "N", requires = "savepoint", value_parser = clap::value_parser!(u64).range(1..))]
    pub savepoint_at: Option<u64>,

    /// Kill this process after line N of the first source
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub crash_at: Option<u64>,

    /// Number of rows to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub top: usize,

    /// Write all rows to this file: path, hits, visitors, mean bytes, separated by tabs
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The content of the file of `--config`.
    #[arg(skip)]
    pub job: Option<JobConfig>,
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

/// The source of lines.
#[derive(Clone, Debug)]
pub enum Input {
    File(PathBuf),
    Stdin,
    Generated { lines: u64, seed: u64 },
}

impl Args {
    /// Parses the command line. Ends the program for a request for help, or an invalid command line.
    pub fn read() -> Self {
        let mut args = Self::parse();
        if let Err(reason) = args.read_config() {
            Self::command().error(ErrorKind::InvalidValue, reason).exit();
        }
        if let Err(reason) = args.check() {
            Self::command().error(ErrorKind::ArgumentConflict, reason).exit();
        }
        args
    }

    /// The source of lines.
    pub fn input(&self) -> Input {
        match &self.log {
            Some(path) if path.as_os_str() == "-" => Input::Stdin,
            Some(path) => Input::File(path.clone()),
            None => Input::Generated { lines: self.generate.unwrap_or(DEFAULT_LINES), seed: self.seed },
        }
    }

    /// Reads the file of `--config`, and sets the options that correspond to its settings.
    fn read_config(&mut self) -> Result<(), String> {
        let Some(path) = &self.config else { return Ok(()) };
        let named = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
        let job = JobConfig::from_yaml(&text).map_err(|error| named(&error.message()))?;
        self.backend = match job.backend.kind {
            BackendKind::Memory => Backend::Memory,
            BackendKind::Filesystem => Backend::Fs,
            BackendKind::RocksDb => Backend::Rocksdb,
        };
        self.incremental = job.backend.incremental;
        self.checkpoint_dir = job.checkpoints.checkpoint_dir.as_ref().map(PathBuf::from);
        self.retained = job.checkpoints.retained;
        self.job = Some(job);
        Ok(())
    }

    /// Refuses options that exclude each other.
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
        for (is_given, name) in [(self.resume, "--resume"), (self.overwrite, "--overwrite")] {
            if is_given && self.checkpoint_dir.is_none() {
                return Err(format!("{name} needs --checkpoint-dir <DIR>"));
            }
        }
        if self.start_from.is_some() && matches!(self.input(), Input::Stdin) {
            return Err("--start-from cannot go back in standard input: name a file".to_owned());
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
