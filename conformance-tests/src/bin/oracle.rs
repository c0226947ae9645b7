//! Runs a script of state operations on a backend and prints what `FlinkOracle` prints; see the README.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use conformance_tests::Setup;
use conformance_tests::family::{FAMILY, Member};
use conformance_tests::script::Interpreter;

/// Runs a script of state operations on a backend and prints the result of every read: line number, tab, result.
#[derive(Parser)]
struct Arguments {
    /// Name of the backend.
    #[arg(long, value_parser = FAMILY.iter().map(|member| member.name).collect::<Vec<_>>())]
    backend: String,
    /// The script; standard input if there is none.
    script: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let member = FAMILY.iter().find(|member| member.name == arguments.backend);
    let member = member.expect("the parser has checked the name");
    match run(member, arguments.script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(member: &Member, script: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    let input: Box<dyn BufRead> = match script {
        Some(path) => {
            let file = std::fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Box::new(io::BufReader::new(file))
        }
        None => Box::new(io::stdin().lock()),
    };
    // Small files too, so that increments are more than the handle that refers to them.
    let inline_max = (member.capabilities)().inline_max.then_some(256);
    let open = |keys, groups| (member.operator)(Setup { inline_max, ..Setup::default() }, keys, groups);
    let mut interpreter = Interpreter::new(open);
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in input.lines() {
        match interpreter.line(&line?) {
            Ok(answer) => answer.map_or(Ok(()), |answer| writeln!(output, "{answer}"))?,
            Err(error) => {
                // Results before the error are printed first.
                output.flush()?;
                return Err(error.into());
            }
        }
    }
    output.flush()?;
    Ok(interpreter.finish()?)
}
