//! The command line.

use std::path::PathBuf;

use backend_api::format::Compression;
use clap::{Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
PATH is the folder of a checkpoint or savepoint, its _metadata file, or the folder of a job, which stands for its newest
checkpoint; or that of a canonical savepoint of Apache Flink. The program that wrote it is not needed. Nothing is changed or deleted, except by `orphans --delete`.

Exit status: 0, or 1 if a checkpoint is damaged, or 2 if the input cannot be used.

Examples:
  state inspect checkpoints/job/chk-7
  state inspect --history checkpoints/job
  state inspect checkpoints/job/chk-7 --html report.html
  state verify checkpoints/job
  state dump checkpoints/job/chk-7 --state hits --format csv | head
  state diff checkpoints/job/chk-6 checkpoints/job/chk-7 --summary
  state rewrite checkpoints/job/chk-7 smaller --drop-state visits --max-parallelism 256
  state import flink/savepoint-7bec6e savepoint --operator 74a0e50443aaf8d196d9e77d9046894a=counts
  state orphans checkpoints/job";

/// Looks into the state of stream jobs: what is in a checkpoint or savepoint, whether it is intact, and what changed.
#[derive(Debug, Parser)]
#[command(name = "state", version, after_help = EXAMPLES)]
pub struct Args {
    /// Write JSON
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Operators, states, types, sizes, skew over key groups, largest keys
    Inspect(Inspect),
    /// Check every checksum, every reference, and that every row decodes
    Verify {
        /// Checkpoint, savepoint or job
        path: PathBuf,
    },
    /// Print all rows of a state: a value, an element of a list or an entry of a map each
    Dump(Dump),
    /// Rows that were added, removed and changed from A to B
    Diff {
        /// The earlier one: checkpoint, savepoint or job
        a: PathBuf,
        /// The later one
        b: PathBuf,
        /// Print only the number of rows
        #[arg(long)]
        summary: bool,
    },
    /// Write a savepoint with fewer rows, other names, another parallelism or max parallelism
    Rewrite(Rewrite),
    /// Write a savepoint of Apache Flink as one of this family
    Import(Import),
    /// Files of a job that no retained checkpoint needs
    Orphans {
        /// Folder of the job
        dir: PathBuf,
        /// Delete them. The job must be stopped: if it runs, it loses the folder, and its next checkpoint fails
        #[arg(long)]
        delete: bool,
    },
}

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// Checkpoint, savepoint or job
    #[arg(required_unless_present = "history")]
    pub path: Option<PathBuf>,
    /// Size, delta and shared files of all retained checkpoints of the job in this folder
    #[arg(long, value_name = "DIR")]
    pub history: Option<PathBuf>,
    /// Write the same as a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
pub struct Dump {
    /// Checkpoint, savepoint or job
    pub path: PathBuf,
    /// Name of the state
    #[arg(long, value_name = "NAME")]
    pub state: String,
    /// Id or name of the operator, if several have a state of that name
    #[arg(long, value_name = "NAME")]
    pub operator: Option<String>,
    /// Only this key, written as `dump` prints it; a string needs no quotes
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Format of the rows
    #[arg(long, value_enum, default_value_t = Format::Json, conflicts_with = "json")]
    pub format: Format,
}

/// Arguments of `rewrite`.
#[derive(Debug, clap::Args)]
pub struct Rewrite {
    /// Checkpoint, savepoint or job
    pub path: PathBuf,
    /// Folder of the new savepoint, which must not exist
    pub out: PathBuf,
    /// Keep only these keyed states
    #[arg(long, value_name = "NAME")]
    pub state: Vec<String>,
    /// Keep only these keys, written as `dump` prints them
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// Leave these keyed states out
    #[arg(long, value_name = "NAME")]
    pub drop_state: Vec<String>,
    /// Leave these operators out
    #[arg(long, value_name = "NAME")]
    pub drop_operator: Vec<String>,
    /// Give keyed states new names
    #[arg(long, value_name = "OLD=NEW")]
    pub rename_state: Vec<String>,
    /// Give operators new ids
    #[arg(long, value_name = "OLD=NEW")]
    pub rename_operator: Vec<String>,
    /// Number of subtasks of operators with keyed state
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32_768))]
    pub parallelism: Option<u16>,
    /// Number of key groups of operators with keyed state; keys are hashed again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32_768))]
    pub max_parallelism: Option<u16>,
    /// Compression of the rows
    #[arg(long, value_enum, default_value_t = Packing::Zstd)]
    pub compression: Packing,
}

impl Rewrite {
    /// A copy without changes.
    pub fn only_to(path: PathBuf, out: PathBuf, compression: Packing) -> Self {
        Self {
            path,
            out,
            state: Vec::new(),
            key: Vec::new(),
            drop_state: Vec::new(),
            drop_operator: Vec::new(),
            rename_state: Vec::new(),
            rename_operator: Vec::new(),
            parallelism: None,
            max_parallelism: None,
            compression,
        }
    }
}

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Folder of the canonical savepoint of Flink, or its _metadata file
    pub path: PathBuf,
    /// Folder of the new savepoint, which must not exist
    pub out: PathBuf,
    /// Give the operator with this uid, name or hash another id. By default it is the uid, or the hash if there is none
    #[arg(long, value_name = "UID=ID")]
    pub operator: Vec<String>,
    /// How keys are mapped to key groups in the new savepoint
    #[arg(long, value_enum, default_value_t = Mapping::Ours)]
    pub mapping: Mapping,
    /// Leave out states and rows that only Java reads, and say which, instead of failing
    #[arg(long)]
    pub skip_unreadable: bool,
}

/// Mappings of keys to key groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mapping {
    /// By Java's hash, as records are routed in Flink
    Flink,
    /// By the stable hash of this family: keys are hashed anew
    Ours,
}

/// Compression of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Packing {
    /// None
    None,
    /// LZ4
    Lz4,
    /// Zstandard
    Zstd,
}

impl From<Packing> for Compression {
    fn from(packing: Packing) -> Self {
        match packing {
            Packing::None => Self::None,
            Packing::Lz4 => Self::Lz4,
            Packing::Zstd => Self::Zstd(3),
        }
    }
}

/// Formats of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object per line
    Json,
    /// Comma-separated values with a header
    Csv,
    /// A Parquet file
    #[cfg(feature = "parquet")]
    Parquet,
}
