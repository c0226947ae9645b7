//! Runs the suite on one of our backends and prints a table of the groups.
#![allow(clippy::print_stdout, reason = "a program")]

use std::process::ExitCode;
use std::thread;

use clap::Parser;
use conformance_tests::family::FAMILY;
use conformance_tests::{Case, Outcome, run_cases};
use serde_json::json;

/// Runs the suite on a backend. Prints a table of groups with passed, failed and skipped cases, and the
/// failures in full. The exit status is 1 if there are failures.
#[derive(Parser)]
struct Arguments {
    /// Which backend.
    #[arg(long, value_parser = FAMILY.iter().map(|member| member.name).collect::<Vec<_>>())]
    backend: String,
    /// Prints a JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// Runs only cases whose group::name contains this text.
    filter: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let member = FAMILY.iter().find(|member| member.name == arguments.backend);
    let mut cases = (member.expect("the parser has checked the name").cases)();
    if let Some(filter) = &arguments.filter {
        cases.retain(|case| case.full_name().contains(filter));
    }
    let outcomes = run_cases(&cases, thread::available_parallelism().map_or(1, usize::from));
    let results: Vec<_> = cases.iter().zip(&outcomes).collect();
    if arguments.json {
        print_json(&arguments.backend, &results);
    } else {
        print_table(&arguments.backend, &results);
    }
    ExitCode::from(u8::from(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)))))
}

/// Numbers of passed, failed and skipped cases.
fn counts<'a>(results: impl Iterator<Item = &'a (&'a Case, &'a Outcome)>) -> [usize; 3] {
    results.fold([0; 3], |mut counts, (_, outcome)| {
        counts[match outcome {
            Outcome::Passed => 0,
            Outcome::Failed(_) => 1,
            Outcome::Skipped(_) => 2,
        }] += 1;
        counts
    })
}

fn print_table(backend: &str, results: &[(&Case, &Outcome)]) {
    println!("{backend:<16}{:>8}{:>8}{:>8}", "passed", "failed", "skipped");
    for group in results.chunk_by(|(a, _), (b, _)| a.group == b.group) {
        let [passed, failed, skipped] = counts(group.iter());
        println!("{:<16}{passed:>8}{failed:>8}{skipped:>8}", group[0].0.group);
    }
    let [passed, failed, skipped] = counts(results.iter());
    println!("{:<16}{passed:>8}{failed:>8}{skipped:>8}", "all");
    for (case, outcome) in results {
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed(why) => println!("\nfailed: {}\n{why}", case.full_name()),
            Outcome::Skipped(why) => println!("skipped: {} ({why})", case.full_name()),
        }
    }
}

fn print_json(backend: &str, results: &[(&Case, &Outcome)]) {
    let [passed, failed, skipped] = counts(results.iter());
    let cases = results.iter().map(|(case, outcome)| {
        let (outcome, why) = match outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(why) => ("failed", Some(why)),
            Outcome::Skipped(why) => ("skipped", Some(why)),
        };
        json!({"group": case.group, "name": case.name, "outcome": outcome, "why": why})
    });
    let cases: Vec<_> = cases.collect();
    println!(
        "{}",
        json!({"backend": backend, "passed": passed, "failed": failed, "skipped": skipped, "cases": cases})
    );
}
