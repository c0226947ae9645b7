//! Counts hits, visitors and bytes for each path of an access log: a small stream job with state, checkpoints,
//! recovery after a crash, and rescaling. `--help` tells the options.

#![expect(clippy::print_stderr, reason = "a program talks to people")]

mod args;
mod batch;
mod coordinator;
mod failure;
mod generate;
mod job;
mod lines;
mod log_line;
mod log_time;
mod output;
mod page_stats;
mod progress;
mod report;
mod router;
mod source;
mod subtask;
mod window;

use std::cmp::Reverse;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;

use state_backends::api::Storage;
use state_backends::prelude::*;

use crate::args::{Args, Backend, Parsed};
use crate::failure::Failure;
use crate::output::Output;
use crate::page_stats::Path;

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            // Whoever reads may have had enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("access_log: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

/// Does what the command line asks; answers what is to be shown.
fn run() -> Result<String, Failure> {
    let args = match Args::parse_from(std::env::args_os())? {
        Parsed::Run(args) => args,
        Parsed::Text(text) => return Ok(text),
    };
    let output = args.output.clone().map(Output::create).transpose()?;
    let temporary = temporary_folder(&args);
    let storage = args.checkpoint_dir.as_ref().or(temporary.as_ref()).map(storage).transpose()?;
    // What is resumed from is in the job's own store, so increments may go on from it.
    let options = match (args.backend, &storage) {
        (Backend::Fs, Some(storage)) => {
            let options = FsOptions::new(Arc::clone(storage), job::folder()?);
            AnyOptions::Fs(options.incremental(args.incremental).claim_restored(true))
        }
        #[cfg(feature = "rocksdb")]
        (Backend::Rocksdb, Some(storage)) => {
            let folder = args.checkpoint_dir.as_ref().or(temporary.as_ref());
            let working = folder.map(|folder| folder.join("working")).unwrap_or_default();
            let options = RocksDbOptions::new(Arc::clone(storage), job::folder()?, working);
            AnyOptions::RocksDb(options.incremental(args.incremental).claim_restored(true))
        }
        _ => AnyOptions::Memory(MemoryOptions::default()),
    };
    let mut outcome = job::run::<AnyBackend<Path>>(&args, &options, storage)?;
    outcome.pages.sort_by(|a, b| (Reverse(a.hits), &a.path).cmp(&(Reverse(b.hits), &b.path)));
    if let Some(output) = output {
        output.write(&outcome.pages)?;
    }
    if let Some(folder) = temporary {
        fs::remove_dir_all(&folder)
            .map_err(|error| Failure::Job(format!("{}: {error}", folder.display())))?;
    }
    report::report(&args, &outcome).map_err(|error| Failure::Job(error.to_string()))
}

/// Where checkpoints in files are kept if nobody says where. What is left of it after a crash can be resumed from.
fn temporary_folder(args: &Args) -> Option<PathBuf> {
    if args.backend == Backend::Memory || args.checkpoint_dir.is_some() {
        return None;
    }
    let folder = std::env::temp_dir().join(format!("access-log-{}", process::id()));
    eprintln!("access_log: checkpoints are kept in {} until the job is done", folder.display());
    Some(folder)
}

fn storage(folder: &PathBuf) -> Result<Arc<dyn Storage>, Failure> {
    let storage =
        LocalStorage::open(folder).map_err(|error| Failure::usage(folder.display(), error.message()))?;
    Ok(Arc::new(storage))
}
