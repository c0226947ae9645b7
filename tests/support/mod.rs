//! Runs the example `access_log` as a program.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The result of a run.
pub struct Run {
    /// `None` if it was killed.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The line of the summary with this beginning.
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
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("examples/access_log");
        // Cargo lists the sources of the program. Testing one that is out of date proves nothing.
        let sources = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
        let program = program.with_extension(std::env::consts::EXE_EXTENSION);
        let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let made = changed(&program);
        let is_new = sources.split_whitespace().skip(1).all(|source| changed(Path::new(source)) <= made);
        assert!(made.is_some() && is_new, "run `cargo build --example access_log` first");
        program
    });
    Command::new(&*PROGRAM)
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Run {
    run_with(args, b"")
}

/// The same, with `input` on standard input.
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
    let Ok(folders) = fs::read_dir(checkpoints.join("access-log-job")) else { return Vec::new() };
    let id = |folder: PathBuf| {
        let id = folder.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok()?;
        folder.join("_metadata").exists().then_some(id)
    };
    let mut ids: Vec<u64> = folders.flatten().filter_map(|folder| id(folder.path())).collect();
    ids.sort_unstable();
    ids
}

/// Pseudo-random numbers, the same in every run.
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
