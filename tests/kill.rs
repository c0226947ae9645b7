//! A job that is killed at any moment, again and again, ends with the result of an undisturbed run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use support::{Random, completed, program, run};

const KILLS: usize = 24;

/// Waits until the child has completed `more` checkpoints. Returns false if it ends before.
fn checkpoints_later(child: &mut Child, checkpoints: &Path, more: u64) -> bool {
    let newest = || completed(checkpoints).last().copied().unwrap_or(0);
    let start = newest();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if newest() >= start + more {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn killed_at_any_moment() {
    kill(["--generate", "2000000", "--backend", "fs", "--checkpoint-every", "20000"]);
}

#[cfg(feature = "rocksdb")]
#[test]
fn killed_at_any_moment_with_rocksdb() {
    let folder = kill(["--generate", "400000", "--backend", "rocksdb", "--checkpoint-every", "4000"]);
    let left = fs::read_dir(folder.path().join("checkpoints/working")).unwrap().count();
    assert_eq!(left, 0, "working folders of killed runs are left");
}

/// Kills the job again and again, then lets it end. Returns its folder.
fn kill(job: [&str; 6]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("result.tsv"));
    let whole_output = folder.path().join("whole.tsv");
    let whole =
        run(job[..2].iter().chain(&["--checkpoint-every", "0", "--output", whole_output.to_str().unwrap()]));
    assert_eq!(whole.status, Some(0), "{whole}");

    let mut random = Random(1);
    let mut killed = 0;
    let last = loop {
        let parallelism = (1 + random.below(4)).to_string();
        let mut args = vec!["--parallelism", &parallelism, "--checkpoint-dir", checkpoints.to_str().unwrap()];
        args.extend(["--output", output.to_str().unwrap()]);
        args.extend((killed > 0).then_some("--resume"));
        // Full and incremental checkpoints alternate. Each builds on the previous one.
        args.extend((random.below(4) > 0).then_some("--incremental"));
        let args: Vec<&str> = job.into_iter().chain(args).collect();
        if killed == KILLS {
            break run(args);
        }
        let mut child = program().args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let more = 1 + random.below(3);
        assert!(checkpoints_later(&mut child, &checkpoints, more), "ended after {killed} kills: {args:?}");
        // A random moment: while records are counted, or while the next checkpoint is written or completed.
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!output.exists(), "a killed run has made a result: {args:?}");
        killed += 1;
    };
    assert_eq!(last.status, Some(0), "{last}");
    assert!(
        fs::read(&output).unwrap() == fs::read(&whole_output).unwrap(),
        "another result: {last}\n{whole}"
    );
    let records = whole.stdout.lines().find(|line| line.contains(" records of ")).unwrap();
    assert_eq!(last.line(records), records);
    assert_eq!(last.line("windows:"), whole.line("windows:"));
    folder
}
