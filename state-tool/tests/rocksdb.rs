//! The commands on checkpoints of RocksDB.

#![cfg(feature = "rocksdb")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backend_api::{JobFolder, Storage};
use backend_fs::FsOptions;
use backend_rocksdb::{RocksDbBackend, RocksDbOptions};
use serde_json::Value;

use support::{Options, lines, printed, state, three_checkpoints};

impl Options for RocksDbOptions {
    type Backend = RocksDbBackend<String>;

    fn of(storage: Arc<dyn Storage>, job: JobFolder, folder: &Path) -> Self {
        Self::new(storage, job, folder.join("working")).with_incremental(true).with_inline_max(0).unwrap()
    }
}

/// The state of RocksDB's files is that of the heap's, row by row, and as large.
#[test]
fn increments_of_rocksdb_are_read() {
    let (rocksdb, models) = three_checkpoints::<RocksDbOptions>();
    let (heap, _) = three_checkpoints::<FsOptions>();
    for (id, _) in models {
        let (a, b) = (heap.checkpoint(id), rocksdb.checkpoint(id));
        printed(&[&"verify", &b]);
        let summary = printed(&[&"diff", &"--summary", &a, &b]);
        assert_eq!(summary.lines().count(), 4);
        assert!(summary.lines().all(|line| line.contains(": 0 added, 0 removed, 0 changed, ")), "{summary}");
        let states =
            |path| lines(&[&"inspect", &"--json", path])[0]["operators"][0]["keyed"]["states"].clone();
        assert_eq!(states(&a), states(&b));
    }
}

#[test]
fn damaged_tables_and_manifests_are_found() {
    let (job, models) = three_checkpoints::<RocksDbOptions>();
    let newest = job.checkpoint(models.last().unwrap().0);
    let shared = job.path().join("shared");
    let metadata = fs::read(newest.join("_metadata")).unwrap();
    let is_named = |name: &str| metadata.windows(name.len()).any(|part| part == name.as_bytes());
    let files = [&shared, &newest].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut damaged = 0;
    for file in files.map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        // Files that only older checkpoints need, and the metadata itself.
        if !is_named(name) {
            continue;
        }
        damaged += 1;
        let whole = fs::read(&file).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
            let output = state(&[&"verify", &"--json", &newest]);
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(1));
            let fault = &report["faults"][0];
            assert!(fault["file"].as_str().unwrap().ends_with(name) && fault["offset"].is_u64(), "{fault}");
        }
        fs::write(&file, whole).unwrap();
    }
    // A table and a manifest of each subtask at least.
    assert!(damaged >= 4);
}

#[test]
fn timers_are_shown() {
    support::check_timers::<RocksDbOptions>();
}
