//! Savepoints and checkpoints that earlier versions have written are read, and damaged copies of them are refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the example that writes the fixtures uses the rest")]
#[path = "support/content.rs"]
mod content;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use content::{Bytes, bytes, memory, read};
use state_backends::api::{Cancel, MemoryStorage, Storage};
use state_backends::prelude::*;

/// Written by the example `write_fixtures`, by version of the formats.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/2");

/// Which backends read a fixture.
#[derive(Clone, Copy, PartialEq)]
enum By {
    All,
    Heap,
    Bytes,
    RocksDb,
}

/// The fixtures, by the paths of their metadata.
const ALL: &[(&str, By)] = &[
    ("heap-canonical", By::All),
    ("bytes-canonical", By::All),
    ("memory-canonical", By::All),
    ("heap-native", By::Heap),
    ("bytes-native", By::Bytes),
    ("full/chk-2", By::All),
    ("increments/chk-2", By::All),
    ("rocksdb-native", By::RocksDb),
    ("rocksdb/chk-2", By::RocksDb),
];

/// The files of all fixtures, by their paths.
fn files() -> Vec<(String, Vec<u8>)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let mut paths = Vec::new();
    walk(Path::new(FIXTURES), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(FIXTURES).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

fn storage<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Arc<dyn Storage> {
    let storage = MemoryStorage::new();
    for (path, bytes) in files {
        let mut file = storage.create(path, &Cancel::new()).unwrap();
        file.write(bytes).unwrap();
        file.finish().unwrap();
    }
    Arc::new(storage)
}

fn expected() -> String {
    fs::read_to_string(Path::new(FIXTURES).join("expected.txt")).unwrap()
}

fn read_by(by: By, storage: &Arc<dyn Storage>, fixture: &str) -> Result<String> {
    let savepoint = Savepoint::open(Arc::clone(storage), fixture)?;
    match by {
        By::All | By::Heap => read::<MemoryBackend<String>>(&memory(storage), savepoint.checkpoint()),
        By::Bytes => read::<Bytes>(&bytes(storage)?, savepoint.checkpoint()),
        #[cfg(feature = "rocksdb")]
        By::RocksDb => {
            let working = tempfile::tempdir().unwrap();
            let job = JobFolder::new("job")?;
            let options = RocksDbOptions::new(Arc::clone(storage), job, working.path().to_owned());
            read::<RocksDbBackend<String>>(&options, savepoint.checkpoint())
        }
        #[cfg(not(feature = "rocksdb"))]
        By::RocksDb => Ok(expected()),
    }
}

#[test]
fn fixtures_of_all_versions_are_read() {
    let (files, expected) = (files(), expected());
    let storage = storage(files.iter().map(|(path, bytes)| (&**path, &**bytes)));
    for &(fixture, by) in ALL {
        let readers = if by == By::All { &[By::Heap, By::Bytes, By::RocksDb][..] } else { &[by] };
        for reader in readers {
            assert!(read_by(*reader, &storage, fixture).unwrap() == expected, "{fixture}");
        }
        // A native savepoint is for its family only.
        for other in [By::Heap, By::Bytes] {
            if ![By::All, other].contains(&by) {
                let error = read_by(other, &storage, fixture).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{fixture}: {error}");
            }
        }
    }
}

#[test]
fn a_damaged_copy_is_refused_or_read_right() {
    let (files, expected) = (files(), expected());
    let check_fixture = |fixture: &str, by: By| {
        // The database is opened for every copy.
        let is_slow = by == By::RocksDb;
        let folder = fixture.split('/').next().unwrap();
        let own: Vec<_> = files.iter().filter(|(path, _)| path.starts_with(&format!("{folder}/"))).collect();
        for (damaged, bytes) in &own {
            let step = if is_slow { bytes.len() / 8 + 1 } else { 1 };
            let check = |copy: &[u8], what: &str| {
                let others = own.iter().filter(|(path, _)| path != damaged);
                let files = others.map(|(path, bytes)| (&**path, &**bytes)).chain([(&**damaged, copy)]);
                match read_by(by, &storage(files), fixture) {
                    Ok(text) => assert!(text == expected, "{damaged}, {what}"),
                    Err(error) => assert!(!error.message().is_empty(), "{damaged}, {what}"),
                }
            };
            for at in (0..bytes.len()).step_by(step) {
                let mut copy = bytes.clone();
                copy[at] ^= 1 << (at % 8);
                check(&copy, &format!("byte {at}"));
                check(&bytes[..at], &format!("{at} bytes"));
            }
        }
    };
    thread::scope(|scope| {
        for (fixture, by) in ALL.iter().copied() {
            let check_fixture = &check_fixture;
            scope.spawn(move || check_fixture(fixture, by));
        }
    });
}
