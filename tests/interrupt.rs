//! Ctrl-C ends the example `access_log` cleanly: the terminal and the folders are clean, and the job can be
//! resumed.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use support::{completed, program, run};

const JOB: [&str; 6] = ["--generate", "100000", "--backend", "fs", "--checkpoint-every", "5000"];

/// A terminal for standard error. The thread returns everything that was written to it.
fn terminal() -> (File, JoinHandle<String>) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
    let far = OpenOptions::new().read(true).write(true).open(name).unwrap();
    (far, thread::spawn(move || read(near)))
}

fn read(near: OwnedFd) -> String {
    let (mut near, mut bytes, mut buffer) = (File::from(near), Vec::new(), [0; 4096]);
    // The end of a terminal is an error.
    while let Ok(len @ 1..) = near.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Waits until `ready`, and presses Ctrl-C. Returns the exit status.
fn interrupt(mut child: Child, ready: impl Fn() -> bool) -> Option<i32> {
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "the job ended before it was interrupted");
        thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child.wait().unwrap().code()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn the_progress_bar_disappears_and_the_job_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("result"));
    let folders = ["--checkpoint-dir", checkpoints.to_str().unwrap(), "--output", output.to_str().unwrap()];
    let (stderr, written) = terminal();
    let child = program().args(JOB).args(folders).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    let status = interrupt(child, || !completed(&checkpoints).is_empty());
    let written = written.join().unwrap();
    assert_eq!(status, Some(130), "{written}");

    let (bar, message) = written.rsplit_once("access_log: ").unwrap();
    for shown in ["%", "lines/s", "left", "checkpoints"] {
        assert!(bar.contains(shown), "{shown} is not in the bar: {written:?}");
    }
    assert!(bar.ends_with("\u{1b}[2K"), "the bar is still there: {written:?}");
    assert!(message.starts_with("interrupted at line "), "{message}");
    assert!(message.contains("; to go on, run the same command with --resume\r\n"), "{message}");
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "only the folder of the checkpoints is left");

    let resumed = run(JOB.iter().chain(&folders).chain(&["--resume"]));
    assert_eq!(resumed.status, Some(0), "{resumed}");
    assert!(resumed.line("resumed from checkpoint").contains("after line"), "{resumed}");
}

#[test]
fn a_temporary_folder_stays_only_if_it_can_be_resumed_from() {
    let temporary = tempfile::tempdir().unwrap();
    let spawn = |every: &str| {
        let mut command = program();
        command.args(["--generate", "100000000", "--backend", "fs", "--checkpoint-every", every]);
        command.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let finished = |mut child: Child, ready: &dyn Fn() -> bool| {
        let mut stderr = child.stderr.take().unwrap();
        assert_eq!(interrupt(child, ready), Some(130));
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    };

    let text = finished(spawn("0"), &|| !is_empty(temporary.path()));
    assert!(text.contains("before a checkpoint was complete"), "{text}");
    assert!(is_empty(temporary.path()), "{text}");

    let newest = || {
        let folder = fs::read_dir(temporary.path()).unwrap().next()?.unwrap().path();
        completed(&folder).last().copied()
    };
    let text = finished(spawn("5000"), &|| newest().is_some());
    let folder = fs::read_dir(temporary.path()).unwrap().next().unwrap().unwrap().path();
    assert!(text.contains(&format!("with --resume --checkpoint-dir {}\n", folder.display())), "{text}");
}
