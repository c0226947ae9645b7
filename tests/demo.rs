//! `make demo`: a job that is killed and resumed has the result of an undisturbed one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support;

use std::process::Command;

#[test]
fn the_demo_kills_resumes_and_compares() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo.sh");
    let program = support::program().get_program().to_owned();
    let demo = Command::new("sh").arg(script).arg(program).arg("20000").output().unwrap();
    let stdout = String::from_utf8(demo.stdout).unwrap();
    let stderr = String::from_utf8(demo.stderr).unwrap();
    assert!(demo.status.success(), "{stdout}\n{stderr}");
    let line = |begin: &str| stdout.lines().find(|line| line.starts_with(begin));
    assert!(line("resumed from checkpoint ").is_some(), "{stdout}");
    assert!(line("fs backend, 2 subtasks").is_some() && line("fs backend, 3 subtasks").is_some(), "{stdout}");
    assert!(line("equal: ").is_some(), "{stdout}");
}
