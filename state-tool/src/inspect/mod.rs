//! `state inspect`.

mod collect;
mod page;
mod plot;
mod text;

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::args::Inspect;
use crate::failure::{Failure, Result};
use crate::history::{self, Past};
use crate::source::Source;

/// What is in a checkpoint.
#[derive(Debug, Serialize)]
struct Report {
    path: String,
    checkpoint: u64,
    /// Bytes of all state.
    bytes: u64,
    /// Bytes that this checkpoint wrote itself.
    delta_bytes: u64,
    /// Bytes of state that are inline in the metadata.
    inline_bytes: u64,
    files: u64,
    operators: Vec<OperatorReport>,
}

#[derive(Debug, Serialize)]
struct OperatorReport {
    id: String,
    name: Option<String>,
    parallelism: u16,
    keyed: Option<KeyedReport>,
    operator_states: Vec<OperatorStateReport>,
    /// Bytes of raw keyed state.
    raw_keyed_bytes: u64,
    raw_operator_partitions: u64,
    /// Bytes of raw operator state.
    raw_operator_bytes: u64,
}

#[derive(Debug, Serialize)]
struct KeyedReport {
    format: String,
    max_parallelism: u16,
    key_type: String,
    key_group_mapping: String,
    states: Vec<StateReport>,
}

#[derive(Debug, Serialize)]
struct StateReport {
    name: String,
    kind: String,
    value_type: String,
    codecs: Vec<String>,
    namespace_type: String,
    /// Values, elements of lists, entries of maps.
    rows: u64,
    /// Bytes of keys, namespaces and values of all rows.
    bytes: u64,
    bytes_per_row: f64,
    /// Bytes of the largest key group divided by the mean.
    skew: f64,
    /// Rows and bytes of each key group.
    key_groups: Vec<Size>,
    largest_keys: Vec<LargeKey>,
    /// Why the rows could not be read. Rows and bytes are then those of the files.
    unread: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Size {
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct LargeKey {
    key: String,
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct OperatorStateReport {
    name: String,
    redistribution: String,
    value_type: String,
    elements: u64,
}

/// What `inspect` shows.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Past>>,
}

/// Shows what is in a checkpoint, how the retained checkpoints of a job have grown, or both.
pub fn inspect(args: &Inspect, json: bool, out: &mut dyn Write) -> Result<()> {
    let history = args.history.as_deref().map(history::read).transpose()?;
    let report = args.path.as_deref().map(|path| collect::collect(&Source::open(path)?)).transpose()?;
    let shown = Shown { report, history };
    if let Some(file) = &args.html {
        write_page(&shown, file)?;
    }
    if json {
        serde_json::to_writer(&mut *out, &shown)?;
        return Ok(writeln!(out)?);
    }
    text::write(&shown, out)
}

fn write_page(shown: &Shown, file: &Path) -> Result<()> {
    let page = page::page(shown)?;
    fs::write(file, page).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}
