//! Joining and clipping databases.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use backend_api::{
    JobFolder, KeySpace, KeyedStateHandle, SnapshotRequest, StateBackend, StateData, Subtask,
    ValueDescriptor, ValueState,
};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions};

const GROUPS: u16 = 128;

type Backend = RocksDbBackend<u32>;

fn options(folder: &Path, profile: Profile) -> RocksDbOptions {
    let (checkpoints, working) = (folder.join("checkpoints"), folder.join("working"));
    let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job").unwrap(), working).unwrap();
    options
        .with_profile(profile)
        .with_memory_budget(16 << 20)
        .unwrap()
        .with_incremental(true)
        .with_inline_max(0)
        .unwrap()
}

fn part(parallelism: u16, index: u16) -> Subtask<u32> {
    Subtask::new("op", KeySpace::new(GROUPS).unwrap(), parallelism, index).unwrap()
}

fn set(backend: &mut Backend, key: u32, value: &[u8]) {
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
    let context = backend.key(&key).unwrap();
    backend.value(token, context, &()).unwrap().set(value.to_vec()).unwrap();
}

fn get(backend: &mut Backend, key: u32) -> Option<Vec<u8>> {
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
    let context = backend.key(&key).unwrap();
    backend.value(token, context, &()).unwrap().get().unwrap()
}

/// The number of keys that are listed.
fn count(backend: &mut Backend) -> usize {
    let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
    backend.keys(token, &()).unwrap().count()
}

fn checkpoint(backend: &mut Backend, id: u64) -> KeyedStateHandle {
    let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap();
    backend.notify_complete(id).unwrap();
    handle
}

fn keys(parallelism: u16, index: u16, count: usize) -> Vec<u32> {
    (0..).filter(|key| part(parallelism, index).key(key).is_ok()).take(count).collect()
}

/// A newer value of one key, alone in its file, has one sequence number, like a file that was written outside of the
/// database.
#[test]
fn a_single_value_in_a_file_is_joined() {
    let words: [&[u8]; 3] = [
        b"sst_file.global_seqno",
        b"rocksdb.external_sst_file.global_seqno",
        b"rocksdb.external_sst_file.version",
    ];
    for profile in [Profile::Tiny, Profile::Default] {
        for cache in [0, 1 << 20] {
            for word in words {
                let folder = tempfile::tempdir().unwrap();
                let options = options(folder.path(), profile).with_cache_bytes(cache);
                let parents: Vec<_> = [(0, 2000), (1, 300)]
                    .into_iter()
                    .map(|(index, count)| {
                        let mut backend = Backend::open(&options, part(2, index), &[]).unwrap();
                        let keys = keys(2, index, count);
                        keys.iter().for_each(|key| set(&mut backend, *key, b"old"));
                        checkpoint(&mut backend, 1);
                        if index == 1 {
                            set(&mut backend, keys[150], word);
                        }
                        checkpoint(&mut backend, 2)
                    })
                    .collect();
                let mut joined = Backend::open(&options, part(1, 0), &parents).unwrap();
                for (index, count) in [(0, 2000), (1, 300)] {
                    for (at, key) in keys(2, index, count).into_iter().enumerate() {
                        let expected = if (index, at) == (1, 150) { word } else { b"old" };
                        assert_eq!(
                            get(&mut joined, key).as_deref(),
                            Some(expected),
                            "{profile:?} {cache} {key}"
                        );
                    }
                }
                assert_eq!(count(&mut joined), 2300);
            }
        }
    }
}

/// Deletions that are newer than linked files still apply if files have to be copied.
#[test]
fn deleted_entries_stay_deleted_when_files_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), Profile::Default).with_cache_bytes(0);
    let parents: Vec<_> = (0..2)
        .map(|index| {
            let mut backend = Backend::open(&options, part(2, index), &[]).unwrap();
            let keys = keys(2, index, 300);
            keys.iter().for_each(|key| set(&mut backend, *key, b"old"));
            checkpoint(&mut backend, 1);
            let token = backend.register(ValueDescriptor::<Vec<u8>>::new("bytes")).unwrap();
            let context = backend.key(&keys[150]).unwrap();
            backend.value(token, context, &()).unwrap().clear().unwrap();
            checkpoint(&mut backend, 2)
        })
        .collect();
    let mut joined = Backend::open(&options, part(1, 0), &parents).unwrap();
    for index in 0..2 {
        assert_eq!(get(&mut joined, keys(2, index, 300)[150]), None);
    }
    assert_eq!(count(&mut joined), 598);
}

fn bytes(handle: &KeyedStateHandle) -> u64 {
    let length = |data: &StateData| match data {
        StateData::File { length, .. } => *length,
        StateData::Inline(bytes) => bytes.len() as u64,
    };
    handle.files.iter().map(|file| length(&file.data)).sum()
}

#[test]
fn subtasks_of_a_divided_database_upload_their_own_groups() {
    const PARTS: u16 = 8;
    for profile in [Profile::Tiny, Profile::Default] {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), profile);
        let mut whole = Backend::open(&options, part(1, 0), &[]).unwrap();
        for key in 0..10_000_u32 {
            // An incompressible value.
            let value: Vec<_> = (0..40_u32)
                .map(|at| (key.wrapping_add(at).wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect();
            set(&mut whole, key, &value);
        }
        let whole = checkpoint(&mut whole, 1);
        let divided: Vec<_> = (0..PARTS)
            .map(|index| {
                let mut backend =
                    Backend::open(&options, part(PARTS, index), std::slice::from_ref(&whole)).unwrap();
                checkpoint(&mut backend, 2)
            })
            .collect();
        let (before, after) = (bytes(&whole), divided.iter().map(bytes).sum::<u64>());
        assert!(after <= 2 * before, "{profile:?}: {after} bytes of {PARTS} subtasks, {before} before");
        let mut joined = Backend::open(&options, part(1, 0), &divided).unwrap();
        assert_eq!(count(&mut joined), 10_000);
    }
}
