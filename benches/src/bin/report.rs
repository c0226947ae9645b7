//! Measures the family against its targets and prints a table.

use std::fs::File;
use std::io::{Write, stdout};
use std::path::PathBuf;

use benches::figures::{self, TableScale};
use benches::measure::load_average;
use benches::report::{CSV_HEAD, Figure, MARKDOWN_HEAD, csv_row, markdown_row};
use benches::workload::url_key;
use clap::Parser;

/// Measures the state backends against their targets.
#[derive(Parser)]
struct Options {
    /// Only the parts whose names contain this: table-u64, table-string, snapshot, checkpoint, incremental, facade.
    #[arg(default_value = "")]
    filter: String,
    /// Entries of the large tables.
    #[arg(long, default_value_t = 10_000_000)]
    entries: usize,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also write the figures to this file, as CSV.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// A folder on the disk to measure.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let mut csv = options.csv.as_ref().map(File::create).transpose()?;
    if let Some(csv) = &mut csv {
        writeln!(csv, "{CSV_HEAD}")?;
    }
    writeln!(
        stdout(),
        "Load average at the start: {:.2}\n\n{MARKDOWN_HEAD}",
        load_average().unwrap_or(f64::NAN)
    )?;
    let mut failed = None;
    let mut publish = |figure: Figure| {
        let mut write = || {
            if let Some(csv) = &mut csv {
                writeln!(csv, "{}", csv_row(&figure))?;
            }
            writeln!(stdout(), "{}", markdown_row(&figure))
        };
        if let Err(error) = write() {
            failed.get_or_insert(error);
        }
    };
    let wanted = |part: &str| part.contains(&options.filter);
    for entries in [options.entries / 10, options.entries] {
        let scale = TableScale { entries, ops: entries.min(1_000_000), rounds: options.rounds };
        if wanted("table-u64") {
            figures::table("u64", |number| number, scale, &mut publish)?;
        }
        if wanted("table-string") {
            figures::table("24-byte strings", url_key, scale, &mut publish)?;
        }
    }
    let folder = options.folder.as_path();
    if wanted("snapshot") {
        figures::snapshot(options.entries, folder, &mut publish)?;
    }
    if wanted("checkpoint") {
        figures::checkpoint(options.entries, folder, &mut publish)?;
    }
    if wanted("incremental") {
        figures::incremental(options.entries, folder, &mut publish)?;
    }
    if wanted("facade") {
        for entries in [options.entries / 1000, options.entries / 10] {
            figures::facade(entries, options.rounds, &mut publish)?;
            #[cfg(feature = "rocksdb")]
            figures::facade_rocksdb(entries, options.rounds, folder, &mut publish)?;
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => {
            Ok(writeln!(stdout(), "\nLoad average at the end: {:.2}", load_average().unwrap_or(f64::NAN))?)
        }
    }
}
