//! A savepoint of the example `access_log` is read by a later program, whose types have more fields.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state_backends::api::Storage;
use state_backends::prelude::*;
use support::run;
use tempfile::TempDir;

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/access.log");
const EXPECTED: &str = include_str!("data/access.expected.tsv");

/// The example's windows, with other fields: one was added, and one removed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct LaterWindows {
    #[serde(default)]
    note: Option<String>,
    closed: u64,
    hits: u64,
    late: u64,
}

/// The mean of sizes, as in the example.
struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u128, u64);
    type Output = f64;

    fn create(&self) -> (u128, u64) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (u128, u64), bytes: u64) -> Result<(), BoxError> {
        *sum += u128::from(bytes);
        *count += 1;
        Ok(())
    }

    fn result(&self, (sum, count): &(u128, u64)) -> f64 {
        *sum as f64 / *count as f64
    }

    fn merge(&self, into: &mut (u128, u64), other: &(u128, u64)) -> Result<(), BoxError> {
        *into = (into.0 + other.0, into.1 + other.1);
        Ok(())
    }
}

/// Takes a savepoint of the job by the filesystem backend at parallelism 2, at the end of the log.
fn savepoint() -> (TempDir, Savepoint) {
    let folder = tempfile::tempdir().unwrap();
    let (savepoints, output) = (folder.path().join("savepoints"), folder.path().join("result"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (savepoints_text, output) = (text(&savepoints), text(&output));
    let args =
        ["--backend", "fs", "--parallelism", "2", "--savepoint", &savepoints_text, "--output", &output];
    let run = run([LOG].iter().chain(&args));
    assert_eq!(run.status, Some(0), "{run}");
    let path = run.line("stopped with savepoint ")["stopped with savepoint ".len()..].to_owned();
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(folder.path()).unwrap());
    let name = Path::new(&path).strip_prefix(folder.path()).unwrap();
    let savepoint = Savepoint::open(storage, name.to_str().unwrap()).unwrap();
    (folder, savepoint)
}

/// Restores the savepoint at some parallelism, and returns the result of the job and its closed windows.
fn restored<B: StateBackend<Key = Vec<u8>>>(
    options: &B::Options,
    savepoint: &Savepoint,
    parallelism: u16,
) -> (String, Vec<(Vec<u8>, LaterWindows)>) {
    let checkpoint = savepoint.checkpoint();
    let groups = checkpoint.max_parallelism("page-stats").unwrap();
    let (mut lines, mut closed) = (Vec::new(), Vec::new());
    for index in 0..parallelism {
        let keys = KeySpace::<Vec<u8>>::new(groups).unwrap();
        let subtask = Subtask::new("page-stats", keys, parallelism, index).unwrap();
        let restore = checkpoint.restore(&subtask).unwrap();
        let mut backend = B::open(options, subtask, restore.keyed()).unwrap();
        let hits = backend.register(ReducingDescriptor::new("hits", |a: &u64, b| a + b)).unwrap();
        let visitors =
            backend.register(MapDescriptor::<(Option<u32>, Vec<u8>), u64>::new("visitors")).unwrap();
        let bytes = backend.register(AggregatingDescriptor::new("bytes", Mean)).unwrap();
        let windows = backend.register(ValueDescriptor::<LaterWindows>::new("windows")).unwrap();
        let keys: Vec<_> = backend.keys(hits, &()).unwrap().collect::<Result<_>>().unwrap();
        for path in keys {
            let key = backend.key(&path).unwrap();
            let hits = backend.reducing(hits, key, &()).unwrap().get().unwrap().unwrap();
            let visitors = backend.map(visitors, key, &()).unwrap().keys().unwrap().count();
            let mean = backend.aggregating(bytes, key, &()).unwrap().get().unwrap().unwrap();
            let path_text = String::from_utf8_lossy(&path);
            lines.push(format!("{path_text}\t{hits}\t{visitors}\t{mean:.1}\n"));
            let mut value = backend.value(windows, key, &()).unwrap();
            if let Some(mut windows) = value.get().unwrap() {
                assert_eq!(windows.note, None);
                // What was read in the old form is written in the new one.
                windows.note = Some(format!("{} closed", windows.closed));
                value.set(windows.clone()).unwrap();
                assert_eq!(value.get().unwrap(), Some(windows.clone()));
                closed.push((path.clone(), windows));
            }
        }
    }
    lines.sort();
    closed.sort_by(|(a, _), (b, _)| a.cmp(b));
    (lines.concat(), closed)
}

#[test]
fn a_savepoint_is_read_by_later_types_on_other_backends() {
    let (folder, savepoint) = savepoint();
    let mut expected: Vec<_> = EXPECTED.split_inclusive('\n').collect();
    expected.sort_unstable();
    let expected = expected.concat();

    let options = MemoryOptions::default().with_storage(Arc::clone(savepoint.storage()));
    let (lines, windows) = restored::<MemoryBackend<Vec<u8>>>(&options, &savepoint, 1);
    assert!(lines == expected, "memory at parallelism 1");
    assert!(windows.iter().any(|(_, windows)| windows.hits > 0));

    let job = JobFolder::new("later").unwrap();
    let options = FsOptions::new(Arc::clone(savepoint.storage()), job.clone());
    let other = restored::<FsBackend<Vec<u8>>>(&options.with_incremental(true), &savepoint, 4);
    assert!(other == (lines.clone(), windows.clone()), "filesystem at parallelism 4");
    #[cfg(feature = "rocksdb")]
    {
        let working = folder.path().join("working");
        let options = RocksDbOptions::new(Arc::clone(savepoint.storage()), job, working);
        let other = restored::<RocksDbBackend<Vec<u8>>>(&options, &savepoint, 3);
        assert!(other == (lines, windows), "RocksDB at parallelism 3");
    }
    drop(folder);
}
