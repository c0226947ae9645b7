//! `verify` finds damage at every kind of place, and names file and offset.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use backend_fs::FsOptions;
use backend_memory::MemoryOptions;
use serde_json::Value;

use support::{Options, printed, state, three_checkpoints};

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

/// The faults that `verify` finds. The status must be 1.
fn faults(path: &Path) -> Vec<Value> {
    let output = state(&[&"verify", &"--json", &path]);
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{text}{error}");
    if text.is_empty() {
        // The metadata itself cannot be read.
        assert_eq!(error.lines().count(), 1);
        assert!(error.contains("_metadata at offset "), "{error}");
        return Vec::new();
    }
    serde_json::from_str::<Value>(&text).unwrap()["faults"].as_array().unwrap().clone()
}

fn intact<O: Options>() {
    let (job, models) = three_checkpoints::<O>();
    for (id, _) in models {
        let text = printed(&[&"verify", &job.checkpoint(id)]);
        assert!(text.trim_end().ends_with("rows: intact"), "{text}");
    }
}

#[test]
fn what_is_intact_is_called_so() {
    intact::<MemoryOptions>();
    intact::<FsOptions>();
}

#[test]
fn every_changed_byte_is_found_with_file_and_offset() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let newest = job.checkpoint(models.last().unwrap().0);
    let checkpoint_files = files(&job.path().join("shared"));
    assert!(checkpoint_files.len() >= 4);
    for file in checkpoint_files.iter().chain([&newest.join("_metadata")]) {
        let whole = fs::read(file).unwrap();
        let step = (whole.len() / 12).max(1);
        for at in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(file, &bytes).unwrap();
            for fault in faults(&newest) {
                let name = file.file_name().unwrap().to_str().unwrap();
                assert!(fault["file"].as_str().unwrap().ends_with(name), "{fault}");
                let offset = fault["offset"].as_u64().unwrap();
                assert!(offset <= whole.len() as u64, "{fault}");
            }
        }
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(file, &whole[..length]).unwrap();
            let faults = faults(&newest);
            assert!(faults.iter().all(|fault| fault["offset"].is_u64()), "{faults:?}");
        }
        fs::write(file, &whole).unwrap();
    }
    printed(&[&"verify", &newest]);
}

#[test]
fn a_file_that_is_gone_is_named() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let newest = job.checkpoint(models.last().unwrap().0);
    for file in files(&job.path().join("shared")) {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let faults = faults(&newest);
        assert!(faults.iter().any(|fault| fault["file"].as_str().unwrap().ends_with(name)), "{faults:?}");
        for command in ["inspect", "dump"] {
            let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &newest];
            if command == "dump" {
                arguments.extend::<[&dyn AsRef<std::ffi::OsStr>; 2]>([&"--state", &"hits"]);
            }
            let output = state(&arguments);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains(name) && error.lines().count() == 1, "{error}");
        }
        fs::write(&file, bytes).unwrap();
    }
}
