//! Runs the example `access_log` as people do: as a program.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What came of a run that has ended.
pub struct Run {
    /// `None` if it was killed.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The line of the summary that begins so.
    pub fn line(&self, begin: &str) -> &str {
        let line = self.stdout.lines().find(|line| line.starts_with(begin));
        line.unwrap_or_else(|| panic!("no line begins with {begin:?} in {self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, stdout, stderr } = self;
        write!(f, "status {status:?}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

/// The program. Cargo builds it with the tests, unless it is told to build one test alone.
pub fn program() -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let program = profile.join("examples/access_log").with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "cargo build --example access_log makes {}", program.display());
    Command::new(program)
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Run {
    run_with(args, b"")
}

/// The same, with something on standard input.
pub fn run_with<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, input: &[u8]) -> Run {
    let mut command = program();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that ends without reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Run {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The ids of the completed checkpoints in a folder, ascending.
pub fn completed(checkpoints: &Path) -> Vec<u64> {
    let Ok(folders) = std::fs::read_dir(checkpoints.join("access-log")) else { return Vec::new() };
    let id = |folder: PathBuf| {
        let id = folder.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok()?;
        folder.join("_metadata").exists().then_some(id)
    };
    let mut ids: Vec<u64> = folders.flatten().filter_map(|folder| id(folder.path())).collect();
    ids.sort_unstable();
    ids
}

/// Numbers that look random and are the same each time.
pub struct Random(pub u64);

impl Random {
    /// One of the numbers below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
