//! The command `state`: looks into checkpoints and savepoints, verifies, prints and compares them.
//!
//! It needs no types of the program that wrote them. [`run`] is the whole command; see the README for what it does.
//!
//! All files of a checkpoint are opened before the first row is read. An open file stays readable when its name is deleted,
//! so a job that runs meanwhile may subsume the checkpoint. Rows are streamed: at most one key group is in memory, and only
//! if its rows are spread over several files or are compared.

mod args;
mod diff;
mod dump;
mod failure;
mod flink;
mod history;
mod import;
mod inspect;
mod numbers;
mod orphans;
mod progress;
mod rewrite;
mod rows;
mod source;
mod types;
mod values;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Args, Command};
use failure::{Failure, Result};

/// Runs the command with these arguments, the first of them being the program's name. Writes the result to `out`, and
/// errors and progress to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut (dyn Write + Send)) -> ExitCode {
    let result = parse(arguments, out).and_then(|args| match args {
        Some(args) => execute(args, out),
        None => Ok(()),
    });
    let Err(failure) = result.and_then(|()| Ok(out.flush()?)) else { return ExitCode::SUCCESS };
    let message = failure.to_string();
    if !message.is_empty() {
        // An error of standard error cannot be reported.
        let _ = writeln!(io::stderr(), "error: {message}");
    }
    failure.exit_code()
}

/// Reads the arguments. `None` if they ask for help, which is printed.
fn parse(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> Result<Option<Args>> {
    let error = match Args::try_parse_from(arguments) {
        Ok(args) => return Ok(Some(args)),
        Err(error) => error,
    };
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        out.write_all(text.as_bytes())?;
        return Ok(None);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::usage("a command is missing; try `state --help`"));
    }
    // The rest of the text repeats the usage.
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    Err(Failure::usage(line.trim_start_matches("error: ")))
}

fn execute(args: Args, out: &mut (dyn Write + Send)) -> Result<()> {
    let json = args.json;
    match args.command {
        Command::Inspect(inspect) => inspect::inspect(&inspect, json, out),
        Command::Verify { path } => verify::verify(&path, json, out),
        Command::Dump(dump) => dump::dump(&dump, out),
        Command::Diff { a, b, summary } => diff::diff(&a, &b, summary, json, out),
        Command::Rewrite(rewrite) => rewrite::rewrite(&rewrite, json, out),
        Command::Import(args) => import::import(&args, json, out),
        Command::Orphans { dir, delete } => orphans::orphans(&dir, delete, json, out),
    }
}
