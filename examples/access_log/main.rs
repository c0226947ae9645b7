//! Counts hits, visitors and bytes for each path of an access log: a small stream job with state, checkpoints,
//! recovery after a crash, and rescaling. `--help` lists the options.

#![expect(clippy::print_stderr, reason = "a program reports to its user")]

mod args;
mod batch;
mod failure;
mod folder;
mod generate;
mod interrupt;
mod job;
mod lines;
mod log_line;
mod log_time;
mod output;
mod page_stats;
mod progress;
mod reading;
mod report;
mod router;
mod source;
mod subtask;
mod window;

use std::cmp::Reverse;
use std::io::{self, Write};
use std::process::ExitCode;

use state_backends::prelude::*;

use crate::args::Args;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::interrupt::Interrupt;
use crate::job::Ended;
use crate::output::Output;
use crate::page_stats::Path;

fn main() -> ExitCode {
    match run(&Args::read()) {
        Ok(text) => {
            // The reader may have closed the pipe.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("access_log: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

/// Runs the job. Returns what to show.
fn run(args: &Args) -> Result<String, Failure> {
    let interrupt = Interrupt::listen()?;
    let output = args.output.clone().map(Output::new).transpose()?;
    let folder = Folder::open(args)?;
    let options = folder.options(args)?;
    let mut outcome = match job::run::<AnyBackend<Path>>(args, &options, &folder, &interrupt) {
        Ok(Ended::Whole(outcome)) => outcome,
        Ok(Ended::WithSavepoint(path)) => return Ok(format!("stopped with savepoint {}\n", path.display())),
        Err(Failure::Interrupted { message, can_resume: true }) => {
            let message = format!("{message}; {}", folder.keep(args));
            return Err(Failure::Interrupted { message, can_resume: true });
        }
        Err(failure) => return Err(failure),
    };
    outcome.pages.sort_by(|a, b| (Reverse(a.hits), &a.path).cmp(&(Reverse(b.hits), &b.path)));
    if let Some(output) = output {
        output.write(&outcome.pages)?;
    }
    report::report(args, &outcome).map_err(|error| Failure::Job(error.to_string()))
}
