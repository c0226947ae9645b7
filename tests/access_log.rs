//! The example `access_log` on a real log has the correct result on every backend, at any parallelism, and
//! after any crash.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Random, Run, completed, run, run_with};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/access.log");
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/access.expected.tsv");

/// One way to run the job.
#[derive(Clone, Copy, Debug)]
struct Setup {
    backend: &'static [&'static str],
    parallelism: u64,
}

const BACKENDS: &[&[&str]] = &[
    &["--backend", "memory"],
    &["--backend", "fs"],
    &["--backend", "fs", "--incremental"],
    #[cfg(feature = "rocksdb")]
    &["--backend", "rocksdb"],
    #[cfg(feature = "rocksdb")]
    &["--backend", "rocksdb", "--incremental"],
];

/// A folder for checkpoints and results.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn output(&self) -> PathBuf {
        self.0.path().join("result.tsv")
    }

    fn checkpoints(&self) -> PathBuf {
        self.0.path().join("checkpoints")
    }

    /// Runs the job on the real log in this folder.
    fn run(&self, setup: Setup, more: &[&str]) -> Run {
        let parallelism = setup.parallelism.to_string();
        let (output, checkpoints) = (self.output(), self.checkpoints());
        let own = [
            "--parallelism",
            &parallelism,
            "--output",
            text(&output),
            "--checkpoint-dir",
            text(&checkpoints),
        ];
        run([LOG].iter().chain(&own).chain(setup.backend).chain(more))
    }

    /// The result equals that of an independent program, and no temporary file is left.
    fn check_result(&self, what: &str) {
        let (found, expected) = (fs::read(self.output()).unwrap(), fs::read(EXPECTED).unwrap());
        assert!(found == expected, "another result: {what}");
        assert_eq!(names(self.0.path()), ["checkpoints", "result.tsv"]);
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_real_log_on_every_backend() {
    for &backend in BACKENDS {
        for parallelism in [1, 2, 5] {
            let (folder, setup) = (Folder::new(), Setup { backend, parallelism });
            let run = folder.run(setup, &["--checkpoint-every", "2500"]);
            assert_eq!(run.status, Some(0), "{run}");
            folder.check_result(&format!("{setup:?}"));
            assert_eq!(run.line("9999 records"), "9999 records of 1498 paths, 1 malformed lines skipped");
            assert!(
                run.line("windows:").ends_with(" with 9999 hits, 19 in the busiest, 0 hits too late"),
                "{run}"
            );
            assert_eq!(run.line("checkpoints:"), "checkpoints: 4 completed, 0 failed");
            assert_eq!(run.stderr, "");
        }
    }
}

#[test]
fn killed_and_resumed_at_another_parallelism() {
    let whole = Folder::new().run(Setup { backend: BACKENDS[0], parallelism: 3 }, &[]);
    let mut random = Random(1);
    for &backend in BACKENDS {
        for _ in 0..6 {
            let folder = Folder::new();
            let mut history = Vec::new();
            let mut resume = false;
            // From line 2,000 on, one checkpoint is certainly complete: the second one waits for the first.
            let mut line = 2000 + random.below(1500);
            let last = loop {
                let setup = Setup { backend, parallelism: 1 + random.below(5) };
                let crash_at = line.to_string();
                let mut more = vec!["--checkpoint-every", "1000", "--crash-at", &crash_at];
                more.extend(resume.then_some("--resume"));
                let run = folder.run(setup, &more);
                history.push((setup, line));
                if run.status.is_some() {
                    break run;
                }
                assert!(!folder.output().exists(), "a killed run has made a result: {history:?}");
                resume = true;
                line += random.below(4000);
            };
            assert_eq!(last.status, Some(0), "{history:?}: {last}");
            folder.check_result(&format!("{history:?}"));
            // No window is counted twice or forgotten.
            for begin in ["9999 records", "windows:"] {
                assert_eq!(last.line(begin), whole.line(begin), "{history:?}");
            }
        }
    }
}

#[test]
fn a_log_in_four_parts_is_read_at_any_number_of_sources_and_subtasks() {
    for &backend in BACKENDS {
        let folder = Folder::new();
        for (parallelism, sources, crash_at) in [(1, "4", 900), (3, "4", 1500), (2, "2", 4500), (5, "5", 0)] {
            let crash_at = crash_at.to_string();
            let mut more = vec!["--sources", sources, "--checkpoint-every", "200"];
            if crash_at != "0" {
                more.extend(["--crash-at", &crash_at]);
            }
            more.extend((parallelism != 1).then_some("--resume"));
            let run = folder.run(Setup { backend, parallelism }, &more);
            assert_eq!(run.status, if crash_at == "0" { Some(0) } else { None }, "{backend:?}: {run}");
            if run.status.is_some() {
                assert!(run.stdout.contains("resumed from checkpoint"), "{run}");
                assert_eq!(run.line("9999 records"), "9999 records of 1498 paths, 1 malformed lines skipped");
                let windows = run.line("windows:");
                assert!(windows.ends_with(" with 9999 hits, 19 in the busiest, 0 hits too late"), "{run}");
            }
        }
        folder.check_result(&format!("{backend:?}"));
    }
}

#[test]
fn restored_lines_are_not_read_again() {
    let (folder, setup) = (Folder::new(), Setup { backend: BACKENDS[1], parallelism: 2 });
    let crashed = folder.run(setup, &["--checkpoint-every", "1000", "--crash-at", "5999"]);
    assert_eq!(crashed.status, None);
    let ids = completed(&folder.checkpoints());
    let resumed = folder.run(Setup { parallelism: 4, ..setup }, &["--resume", "--checkpoint-every", "0"]);
    // The fifth checkpoint was running.
    let id = *ids.last().unwrap();
    assert!((4..=5).contains(&id), "{ids:?}");
    assert_eq!(resumed.line("resumed"), format!("resumed from checkpoint {id}, after line {id}000"));
    assert!(resumed.stdout.contains(&format!("\n{} lines in ", 10_000 - id * 1000)), "{resumed}");
    folder.check_result("resumed");
}

#[test]
fn a_savepoint_is_restored_by_every_backend_at_another_parallelism() {
    for &from in BACKENDS {
        for at in [&["--savepoint-at", "4321"][..], &[]] {
            let written = Folder::new();
            let savepoints = written.0.path().join("savepoints");
            let mut more = vec!["--sources", "2", "--checkpoint-every", "1000"];
            more.extend(["--savepoint", text(&savepoints)]);
            more.extend(at);
            let stopped = written.run(Setup { backend: from, parallelism: 2 }, &more);
            assert_eq!(stopped.status, Some(0), "{from:?}: {stopped}");
            let savepoint =
                stopped.line("stopped with savepoint ")["stopped with savepoint ".len()..].to_owned();
            assert!(Path::new(&savepoint).parent() == Some(&*savepoints), "{savepoint}");
            let metadata = format!("{savepoint}/_metadata");
            // M197: a checkpoint in memory is in its metadata.
            if from == BACKENDS[0] {
                assert_eq!(names(Path::new(&savepoint)), ["_metadata"]);
            }
            // Every backend restores the savepoints of all others.
            let restoring = if at.is_empty() { &BACKENDS[..1] } else { BACKENDS };
            for &to in restoring {
                for (parallelism, sources, pointer) in [(3, "1", &savepoint), (1, "3", &metadata)] {
                    let (folder, setup) = (Folder::new(), Setup { backend: to, parallelism });
                    let more = ["--sources", sources, "--checkpoint-every", "2000", "--start-from", pointer];
                    let run = folder.run(setup, &more);
                    assert_eq!(run.status, Some(0), "from {from:?} to {setup:?}: {run}");
                    folder.check_result(&format!("from {from:?} to {setup:?}"));
                    assert!(
                        run.line("windows:").ends_with(" with 9999 hits, 19 in the busiest, 0 hits too late"),
                        "{run}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_configuration_file_chooses_backend_and_checkpoints() {
    let (folder, config) = (Folder::new(), tempfile::NamedTempFile::new().unwrap());
    let file = |more: &str| {
        let dir = folder.checkpoints();
        let text = format!(
            "state.backend.type: hashmap\nstate.backend.incremental: true\nexecution.checkpointing:\n  dir: {}\n{more}",
            text(&dir)
        );
        fs::write(config.path(), text).unwrap();
    };
    let run_with = |more: &[&str]| {
        let output = folder.output();
        let own =
            [LOG, "--config", text(config.path()), "--output", text(&output), "--checkpoint-every", "1000"];
        run(own.iter().chain(more))
    };
    file("  num-retained: 3\n  externalized-checkpoint-retention: RETAIN_ON_CANCELLATION\n");
    let whole = run_with(&[]);
    assert_eq!(whole.status, Some(0), "{whole}");
    folder.check_result("configured");
    assert_eq!(completed(&folder.checkpoints()), [8, 9, 10]);
    failed(run_with(&[]), "checkpoints of an earlier run");
    let resumed = run_with(&["--resume"]);
    assert_eq!(resumed.line("resumed"), "resumed from checkpoint 10, after line 10000");
    file("  num-retained: some\n");
    refused(run_with(&[]), "execution.checkpointing.num-retained: \"some\" is not a whole number");
    file("  numretained: 3\n");
    refused(run_with(&[]), "execution.checkpointing.numretained: there is no setting of this name");
    refused(run_with(&["--backend", "memory"]), "cannot be used with");
    refused(run([LOG, "--config", "/gone"]), "/gone: No such file");
}

#[test]
fn retained_checkpoints_are_kept() {
    let (folder, setup) = (Folder::new(), Setup { backend: BACKENDS[2], parallelism: 2 });
    folder.run(setup, &["--checkpoint-every", "1000", "--retained", "3"]);
    assert_eq!(completed(&folder.checkpoints()), [8, 9, 10]);
}

#[test]
fn checkpoints_of_an_earlier_run_are_deleted_only_if_asked() {
    for &backend in BACKENDS {
        let (folder, setup) = (Folder::new(), Setup { backend, parallelism: 2 });
        folder.run(setup, &["--checkpoint-every", "3000", "--retained", "2"]);
        let before = completed(&folder.checkpoints());
        assert_eq!(before.len(), 2);
        let again = folder.run(setup, &["--checkpoint-every", "9000"]);
        failed(again, "checkpoints of an earlier run: --resume goes on from them, --overwrite deletes them");
        assert_eq!(completed(&folder.checkpoints()), before);

        let again = folder.run(setup, &["--checkpoint-every", "9000", "--overwrite"]);
        assert_eq!(again.status, Some(0), "{again}");
        assert_eq!(completed(&folder.checkpoints()).len(), 1);
        folder.check_result("overwritten");
    }
}

#[test]
fn a_failed_checkpoint_does_not_fail_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let (log, output) = (folder.path().join("log"), folder.path().join("result"));
    let path = |n| format!("/{n:0>1000}");
    let line = |n| {
        format!("::1 - - [17/May/2015:10:05:03 +0000] \"GET {} HTTP/1.1\" 200 {n} \"-\" \"-\"\n", path(n))
    };
    fs::write(&log, (0..8000).map(line).collect::<String>()).unwrap();
    // Paths are in several states, so soon there are more than the 5 MiB of the memory backend.
    let args = [text(&log), "--parallelism", "1", "--checkpoint-every", "500", "--output", text(&output)];
    let run = run(args);
    assert_eq!(run.status, Some(0), "{run}");
    let counts: Vec<u64> = run.line("checkpoints:").split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(counts[0] >= 1 && counts[1] >= 1 && counts[0] + counts[1] == 16, "{run}");
    assert!(run.line("  first failure:").contains("size: "), "{run}");
    let expected: String = (0..8000).map(|n| format!("{}\t1\t1\t{n}.0\n", path(n))).collect();
    assert_eq!(fs::read_to_string(output).unwrap(), expected);
}

#[test]
fn paths_are_bytes_and_lines_end_in_three_ways() {
    let line = |path: &[u8], bytes: &str| {
        let rest = format!(" HTTP/1.1\" 200 {bytes} \"-\" \"-\"");
        [b"h - - [17/May/2015:10:05:03 +0000] \"GET ", path, rest.as_bytes()].concat()
    };
    let log = [
        line(b"/\xff\xfe", "1").as_slice(),
        b"\r\n",
        &line(b"/\xff\xfe", "2"),
        b"\r",
        &line("/caf\u{e9}".as_bytes(), "-"),
        b"\n\n",
        &line(b"/end", "18446744073709551615"),
    ]
    .concat();
    let folder = Folder::new();
    let run = run_with(["-", "--output", text(&folder.output())], &log);
    assert_eq!(run.status, Some(0), "{run}");
    assert_eq!(run.line("4 records"), "4 records of 3 paths, 1 malformed lines skipped");
    let expected = b"/\xff\xfe\t2\t1\t1.5\n/caf\xc3\xa9\t1\t1\t0.0\n/end\t1\t1\t18446744073709551616.0\n";
    let mut lines: Vec<_> = expected.split_inclusive(|byte| *byte == b'\n').collect();
    lines[1..].sort();
    assert_eq!(fs::read(folder.output()).unwrap(), lines.concat());
}

#[test]
fn an_empty_log_has_an_empty_result() {
    let folder = Folder::new();
    let run = run(["--generate", "0", "--output", text(&folder.output())]);
    assert_eq!(run.status, Some(0), "{run}");
    assert_eq!(fs::read(folder.output()).unwrap(), b"");
}

/// Status 2 for an invalid command line, with clap's message.
#[track_caller]
fn refused(run: Run, reason: &str) {
    assert_eq!(run.status, Some(2), "{run}");
    assert_eq!(run.stdout, "", "{run}");
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains(reason), "{reason:?}: {run}");
    assert!(run.stderr.contains("try '--help'"), "{run}");
}

/// Status 1 and one line on standard error for other errors.
#[track_caller]
fn failed(run: Run, reason: &str) {
    assert_eq!(run.status, Some(1), "{run}");
    assert_eq!(run.stdout, "", "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    assert!(run.stderr.starts_with("access_log: ") && run.stderr.contains(reason), "{reason:?}: {run}");
}

#[test]
fn a_wrong_command_line_is_refused_with_help() {
    let cases: &[(&[&str], &str)] = &[
        (&["--paralelism", "3"], "a similar argument exists: '--parallelism'"),
        (&["--parallelism", "0"], "0 is not in 1..=32768"),
        (&["--parallelism", "5", "--max-parallelism", "4"], "--parallelism 5 is above --max-parallelism 4"),
        (&["--parallelism", "100000"], "100000 is not in 1..=32768"),
        (&["--max-parallelism", "0"], "0 is not in 1..=32768"),
        (&["--max-parallelism", "32769"], "32769 is not in 1..=32768"),
        (&["--parallelism", "two"], "invalid value 'two' for '--parallelism <P>'"),
        (&["--top", "0"], "invalid value '0' for '--top <N>': the least is 1"),
        (&["--retained", "0"], "invalid value '0' for '--retained <N>': the least is 1"),
        (&["--crash-at", "0"], "invalid value '0' for '--crash-at <N>'"),
        #[cfg(not(feature = "rocksdb"))]
        (&["--backend", "rocksdb"], "this build has no RocksDB backend"),
        (&["--backend", "tape"], "[possible values: memory, fs, rocksdb]"),
        (&["--incremental"], "--incremental needs --backend fs"),
        (&["--savepoint-at", "5"], "--savepoint <DIR>"),
        (&["--start-from", "/gone", "--resume", "--checkpoint-dir", "/gone"], "cannot be used with"),
        (&["-", "--start-from", "/gone"], "--start-from cannot go back in standard input"),
        (&["--resume"], "--checkpoint-dir <DIR>"),
        (&["--overwrite"], "--checkpoint-dir <DIR>"),
        (&["--resume", "--overwrite", "--checkpoint-dir", "/gone"], "cannot be used with"),
        (&["-", "--resume", "--checkpoint-dir", "/gone"], "--resume cannot go back in standard input"),
        (&[LOG, "--generate", "5"], "cannot be used with"),
    ];
    for (args, reason) in cases {
        refused(run(*args), reason);
    }
}

#[test]
fn errors_name_the_file_or_folder() {
    let folder = tempfile::tempdir().unwrap();
    let here = text(folder.path());
    let gone = format!("{here}/gone");
    let cases: &[(&[&str], &str)] = &[
        (&[&gone], "gone: No such file"),
        (&[here], "is a directory"),
        (&[LOG, "--output", "/gone/result"], "/gone/result: there is no folder /gone"),
        (&[LOG, "--output", here], "is a directory"),
        (&[LOG, "--checkpoint-dir", LOG], "access.log: this is a file; --checkpoint-dir takes a folder"),
        (&["--resume", "--checkpoint-dir", &gone], "gone: there is no such folder; --resume takes"),
        (&[LOG, "--start-from", &gone], "gone: No such file"),
        (&[LOG, "--start-from", LOG], "access.log: "),
        (&["--resume", "--checkpoint-dir", here], "the folder has no checkpoints of this job"),
    ];
    for (args, reason) in cases {
        failed(run(*args), reason);
        assert_eq!(names(folder.path()), [""; 0], "{args:?}");
    }
}

#[test]
fn a_folder_without_a_complete_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("access-log-job/chk-1")).unwrap();
    failed(run(["--resume", "--checkpoint-dir", text(folder.path())]), "no completed checkpoint");
}

#[test]
fn a_file_that_is_not_a_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("file"), folder.path().join("result"));
    // A few lines, and many: the program need not read all of them.
    for (lines, found) in [(3, "its first 3 lines"), (100_000, "its first 1000 lines")] {
        fs::write(&file, "key = value\n".repeat(lines)).unwrap();
        let run = run([text(&file), "--output", text(&output)]);
        failed(run, &format!("file is no access log: none of {found}"));
        assert_eq!(names(folder.path()), ["file"]);
    }
}

#[test]
fn settings_that_contradict_the_checkpoint_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (log, checkpoints) = (folder.path().join("log"), folder.path().join("checkpoints"));
    fs::copy(LOG, &log).unwrap();
    let resumed = |args: &[&str]| {
        let always = ["--resume", "--checkpoint-dir", text(&checkpoints)];
        run(args.iter().chain(&always))
    };
    let made = run([text(&log), "--checkpoint-dir", text(&checkpoints), "--checkpoint-every", "5000"]);
    assert_eq!(made.status, Some(0), "{made}");
    failed(resumed(&[text(&log), "--max-parallelism", "64"]), "max parallelism is set to 64");
    failed(resumed(&[text(&log), "--parallelism", "129"]), "parallelism 129 is above");
    failed(resumed(&["--generate", "10000"]), "a log, not 10000 lines generated");
    fs::write(&log, &fs::read(LOG).unwrap()[..100_000]).unwrap();
    failed(resumed(&[text(&log)]), "the log has 100000 bytes, the checkpoint is at 2370789");

    let generated = ["--generate", "3000", "--seed", "7"];
    let fresh = ["--overwrite", "--checkpoint-dir", text(&checkpoints), "--checkpoint-every", "1000"];
    let made = run(generated.iter().chain(&fresh));
    assert_eq!(made.status, Some(0), "{made}");
    failed(resumed(&["--generate", "3000", "--seed", "8"]), "generated from seed 7, not");
    failed(resumed(&["--generate", "3001", "--seed", "7"]), "3000 lines generated from seed 7, not 3001");
    failed(resumed(&[LOG]), "seed 7, not a log");
    assert_eq!(resumed(&generated).status, Some(0));
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let (folder, setup) = (Folder::new(), Setup { backend: BACKENDS[0], parallelism: 2 });
    folder.run(setup, &["--checkpoint-every", "5000"]);
    let metadata = folder.checkpoints().join("access-log-job/chk-2/_metadata");
    let mut bytes = fs::read(&metadata).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&metadata, bytes).unwrap();
    let run = folder.run(setup, &["--resume"]);
    assert_eq!(run.status, Some(1), "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    assert!(run.stderr.contains("corrupt") && run.stderr.contains("chk-2/_metadata"), "{run}");
}
