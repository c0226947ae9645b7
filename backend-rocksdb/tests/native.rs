//! Incremental checkpoints beyond the suite of all backends: parents with other states, mixed formats, and
//! switching between them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backend_api::{
    ErrorKind, JobFolder, KeySpace, KeyedStateHandle, ListDescriptor, ListState, MapDescriptor, MapState,
    SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState, row,
};
use backend_fs::{FsBackend, FsOptions};
use backend_rocksdb::{Profile, RocksDbBackend, RocksDbOptions, Tuned};

const GROUPS: u16 = 10;
const KEYS: u32 = 300;

fn options(folder: &Path, incremental: bool) -> RocksDbOptions {
    let (checkpoints, working) = (folder.join("checkpoints"), folder.join("working"));
    let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job").unwrap(), working).unwrap();
    options.with_profile(Profile::Tiny).with_memory_budget(4 << 20).unwrap().with_incremental(incremental)
}

fn part(parallelism: u16, index: u16) -> Subtask<u32> {
    Subtask::new("op", KeySpace::new(GROUPS).unwrap(), parallelism, index).unwrap()
}

fn own(subtask: &Subtask<u32>) -> Vec<u32> {
    (0..KEYS).filter(|key| subtask.key(key).is_ok()).collect()
}

fn numbers() -> ValueDescriptor<u64> {
    ValueDescriptor::new("numbers")
}

fn words() -> ListDescriptor<String> {
    ListDescriptor::new("words")
}

fn pairs() -> MapDescriptor<u32, u64> {
    MapDescriptor::new("pairs")
}

type Content = BTreeMap<u32, (Option<u64>, Vec<String>, Vec<(u32, u64)>)>;

fn write<B: StateBackend<Key = u32>>(backend: &mut B, round: u64) {
    let (numbers, words, pairs) = (
        backend.register(numbers()).unwrap(),
        backend.register(words()).unwrap(),
        backend.register(pairs()).unwrap(),
    );
    for key in own(&backend.subtask().clone()) {
        let context = backend.key(&key).unwrap();
        backend.value(numbers, context, &()).unwrap().set(u64::from(key) + round).unwrap();
        backend.list(words, context, &()).unwrap().add(format!("{key} {round}")).unwrap();
        backend.map(pairs, context, &()).unwrap().put(round as u32, u64::from(key)).unwrap();
    }
}

fn read<B: StateBackend<Key = u32>>(backend: &mut B) -> Content {
    let (pairs_token, words_token, numbers_token) = (
        backend.register(pairs()).unwrap(),
        backend.register(words()).unwrap(),
        backend.register(numbers()).unwrap(),
    );
    let mut content = Content::new();
    for key in own(&backend.subtask().clone()) {
        let context = backend.key(&key).unwrap();
        let number = backend.value(numbers_token, context, &()).unwrap().get().unwrap();
        let words = backend.list(words_token, context, &()).unwrap().get().unwrap();
        let mut map = backend.map(pairs_token, context, &()).unwrap();
        let pairs =
            map.iter().unwrap().map(|pair| pair.map(|(key, value)| (*key, *value)).unwrap()).collect();
        content.insert(key, (number, words, pairs));
    }
    let mut listed: Vec<u32> = Vec::new();
    listed.extend(backend.keys(numbers_token, &()).unwrap().map(Result::unwrap));
    listed.extend(backend.keys(words_token, &()).unwrap().map(Result::unwrap));
    listed.extend(backend.keys(pairs_token, &()).unwrap().map(Result::unwrap));
    assert!(listed.iter().all(|key| content.contains_key(key)), "a key of another subtask");
    content
}

fn expected(rounds: u64) -> Content {
    let of = |key: u32| {
        let last = (rounds > 0).then(|| u64::from(key) + rounds - 1);
        let words = (0..rounds).map(|round| format!("{key} {round}")).collect();
        (last, words, (0..rounds).map(|round| (round as u32, u64::from(key))).collect())
    };
    (0..KEYS).map(|key| (key, of(key))).collect()
}

fn checkpoint<B: StateBackend>(backend: &mut B, id: u64) -> KeyedStateHandle {
    let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap();
    backend.notify_complete(id).unwrap();
    handle
}

fn open(
    options: &RocksDbOptions,
    subtask: Subtask<u32>,
    handles: &[KeyedStateHandle],
) -> RocksDbBackend<u32> {
    RocksDbBackend::open(options, subtask, handles).unwrap()
}

#[test]
fn parents_that_number_their_states_differently_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true);
    let mut handles = Vec::new();
    for index in 0..3 {
        let mut backend = open(&options, part(3, index), &[]);
        // One parent has another state before the others, and one has them in another order.
        if index == 1 {
            backend.register(ListDescriptor::<u64>::new("only here")).unwrap();
        }
        if index == 2 {
            backend.register(pairs()).unwrap();
        }
        write(&mut backend, 0);
        checkpoint(&mut backend, 1);
        write(&mut backend, 1);
        handles.push(checkpoint(&mut backend, 2));
    }
    assert!(handles.iter().all(|handle| handle.format == "rocksdb/1"));
    let mut joined = open(&options, part(1, 0), &handles);
    assert_eq!(read(&mut joined), expected(2));
    write(&mut joined, 2);
    let handle = checkpoint(&mut joined, 3);
    drop(joined);
    let mut found = Content::new();
    for index in 0..4 {
        found.extend(read(&mut open(&options, part(4, index), std::slice::from_ref(&handle))));
    }
    assert_eq!(found, expected(3));
}

#[test]
fn key_groups_that_leave_a_subtask_and_return_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true);
    let mut handles: Vec<_> = (0..2)
        .map(|index| {
            let mut backend = open(&options, part(2, index), &[]);
            write(&mut backend, 0);
            checkpoint(&mut backend, 1)
        })
        .collect();
    // What has left is still in the files, marked as removed. What comes back is newer than that.
    for (id, parallelism) in [(2, 4), (3, 2), (4, 1)] {
        let parts = (0..parallelism).map(|index| {
            let subtask = part(parallelism, index);
            let own = |handle: &&KeyedStateHandle| handle.range.intersection(subtask.range()).is_some();
            let own: Vec<_> = handles.iter().filter(own).cloned().collect();
            checkpoint(&mut open(&options, subtask, &own), id)
        });
        handles = parts.collect();
    }
    assert_eq!(read(&mut open(&options, part(1, 0), &handles)), expected(1));
}

#[test]
fn a_large_state_is_joined() {
    const LARGE: usize = 10 << 10;
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true);
    let texts = || ValueDescriptor::<String>::new("texts");
    let text = |key: u32| format!("{key:>LARGE$}");
    let mut handles = Vec::new();
    for index in 0..2 {
        let mut backend = open(&options, part(2, index), &[]);
        if index == 1 {
            backend.register(numbers()).unwrap();
        }
        let token = backend.register(texts()).unwrap();
        for key in (0..10 * KEYS).filter(|key| part(2, index).key(key).is_ok()) {
            let context = backend.key(&key).unwrap();
            backend.value(token, context, &()).unwrap().set(text(key)).unwrap();
        }
        handles.push(checkpoint(&mut backend, 1));
    }
    let mut joined = open(&options, part(1, 0), &handles);
    let token = joined.register(texts()).unwrap();
    for key in 0..10 * KEYS {
        let context = joined.key(&key).unwrap();
        assert_eq!(joined.value(token, context, &()).unwrap().get().unwrap(), Some(text(key)));
    }
    assert_eq!(joined.keys(token, &()).unwrap().count(), 10 * KEYS as usize);
}

/// Enough numbers that a cache writes them as a file.
const MANY: u32 = 20_000;

/// The new number of a key: `Some(None)` removes it, `None` changes nothing.
type Step = fn(u32) -> Option<Option<u64>>;

/// Checkpoints of two subtasks. Each applies some steps, one per checkpoint, to all its keys.
fn parents_of_many(options: &RocksDbOptions, steps: &[Step]) -> Vec<KeyedStateHandle> {
    let parent = |index| {
        let mut backend = open(options, part(2, index), &[]);
        let token = backend.register(numbers()).unwrap();
        let own: Vec<u32> = (0..MANY).filter(|key| backend.key(key).is_ok()).collect();
        let checkpoints = (1..).zip(steps).map(|(id, step)| {
            for key in &own {
                let context = backend.key(key).unwrap();
                let mut number = backend.value(token, context, &()).unwrap();
                match step(*key) {
                    Some(Some(value)) => number.set(value).unwrap(),
                    Some(None) => number.clear().unwrap(),
                    None => (),
                }
            }
            checkpoint(&mut backend, id)
        });
        checkpoints.last().unwrap()
    };
    (0..2).map(parent).collect()
}

/// The numbers of all keys, read one by one, and the number of listed keys.
fn many(backend: &mut RocksDbBackend<u32>) -> (Vec<Option<u64>>, usize) {
    let token = backend.register(numbers()).unwrap();
    let mut number = |key: u32| {
        let context = backend.key(&key).unwrap();
        backend.value(token, context, &()).unwrap().get().unwrap()
    };
    ((0..MANY).map(&mut number).collect(), backend.keys(token, &()).unwrap().count())
}

#[test]
fn files_of_the_cache_are_linked_in_order() {
    let all = |_| Some(Some(1));
    let even = |key: u32| Some(key.is_multiple_of(2).then_some(2));
    let few = |key: u32| key.is_multiple_of(100).then_some((!key.is_multiple_of(300)).then_some(3));
    let histories: [(&[Step], bool); 4] = [
        (&[all], true),
        (&[all, even], true),
        // Removed keys return, and are removed again. Here the database may compact files by itself.
        (
            &[all, even, |key| Some(Some(key.into())), |key| Some((!key.is_multiple_of(3)).then_some(3))],
            false,
        ),
        // The cache does not write so few as a file. The database then knows by itself that they are newer.
        (&[all, even, few], false),
    ];
    for (steps, are_linked) in histories {
        let folder = tempfile::tempdir().unwrap();
        let options =
            options(folder.path(), true).with_inline_max(0).unwrap().with_memory_budget(64 << 20).unwrap();
        let handles = parents_of_many(&options, steps);
        let mut joined = open(&options, part(1, 0), &handles);
        let last = |key| steps.iter().rev().find_map(|step| step(key)).flatten();
        let expected: Vec<_> = (0..MANY).map(last).collect();
        let count = expected.iter().flatten().count();
        assert!(many(&mut joined) == (expected, count), "other numbers after {} steps", steps.len());
        let used = handles.iter().flat_map(|handle| &handle.files).filter(|file| file.name.contains(".sst"));
        let used: Vec<_> = used.map(|file| &file.name).collect();
        let checkpoints = files(&folder.path().join("checkpoints"));
        let is_linked = |path: &&PathBuf| {
            used.iter().any(|name| path.ends_with(name)) && std::fs::metadata(path).unwrap().nlink() == 2
        };
        if are_linked {
            assert_eq!(checkpoints.keys().filter(is_linked).count(), used.len(), "files were copied");
        }
    }
}

/// All files below a folder, with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn linked_checkpoint_files_never_change() {
    const ROUNDS: u64 = 5;
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true).with_inline_max(0).unwrap();
    let mut handles = Vec::new();
    for index in 0..2 {
        let mut backend = open(&options, part(2, index), &[]);
        // Each round has files with newer entries of the same keys.
        for round in 0..ROUNDS {
            write(&mut backend, round);
            let handle = checkpoint(&mut backend, round + 1);
            if round + 1 == ROUNDS {
                handles.push(handle);
            }
        }
    }
    let before = files(&folder.path().join("checkpoints"));
    assert!(before.len() > 4);
    for _ in 0..2 {
        let mut joined = open(&options, part(1, 0), &handles);
        assert_eq!(read(&mut joined), expected(ROUNDS));
        write(&mut joined, ROUNDS);
        assert_eq!(read(&mut joined), expected(ROUNDS + 1));
        joined.close().unwrap();
        assert_eq!(files(&folder.path().join("checkpoints")), before);
    }
    // Restores verify every file, linked or not.
    let mut restored = open(&options, part(2, 0), &handles);
    assert_eq!(read(&mut restored).len(), own(&part(2, 0)).len());
    drop(restored);
    for (path, bytes) in &before {
        let mut damaged = bytes.clone();
        if let Some(byte) = damaged.last_mut() {
            *byte ^= 1;
        }
        std::fs::write(path, damaged).unwrap();
        let named = handles.iter().flat_map(|handle| &handle.files).any(|file| path.ends_with(&file.name));
        let opened = RocksDbBackend::open(&options, part(1, 0), &handles);
        assert_eq!(opened.is_err(), named, "{path:?}");
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn unregistered_states_survive_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let (incremental, full) = (options(folder.path(), true), options(folder.path(), false));
    let mut backend = open(&full, part(1, 0), &[]);
    write(&mut backend, 0);
    let mut handle = checkpoint(&mut backend, 1);
    assert_eq!(handle.format, row::FORMAT);
    // Unregistered rows pass through RocksDB's format, and unregistered RocksDB entries through rows.
    for (id, options) in [(2, &incremental), (3, &full), (4, &incremental), (5, &full)] {
        let mut backend = open(options, part(1, 0), &[handle]);
        let waiting: Vec<String> = backend.states().into_iter().map(|state| state.name).collect();
        assert_eq!(waiting, ["numbers", "pairs", "words"], "checkpoint {id}");
        assert!(backend.states().iter().all(|state| !state.registered));
        if id == 3 {
            backend.register(words()).unwrap();
        }
        handle = checkpoint(&mut backend, id);
    }
    let mut backend = open(&full, part(1, 0), &[handle]);
    assert_eq!(read(&mut backend), expected(1));
    let handle = checkpoint(&mut backend, 6);
    assert_eq!(handle.format, row::FORMAT);
    let fs = FsOptions::in_folder(folder.path().join("checkpoints"), JobFolder::new("job").unwrap()).unwrap();
    assert_eq!(read(&mut FsBackend::open(&fs, part(1, 0), &[handle]).unwrap()), expected(1));
}

#[test]
fn parents_of_both_formats_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let mut handles = Vec::new();
    for index in 0..3 {
        let mut backend = open(&options(folder.path(), index != 1), part(3, index), &[]);
        write(&mut backend, 0);
        handles.push(checkpoint(&mut backend, 1));
    }
    let options = options(folder.path(), true);
    // Tested with the state registered, and from the checkpoint of a backend that did not register it.
    let mut joined = open(&options, part(1, 0), &handles);
    let waiting = checkpoint(&mut joined, 2);
    assert_eq!(read(&mut joined), expected(1));
    let mut again = open(&options, part(1, 0), &[waiting]);
    assert_eq!(read(&mut again), expected(1));
    write(&mut again, 1);
    let handle = checkpoint(&mut again, 3);
    assert_eq!(read(&mut open(&options, part(1, 0), &[handle])), expected(2));
}

#[test]
fn another_backend_refuses_files_of_rocksdb() {
    let folder = tempfile::tempdir().unwrap();
    let mut backend = open(&options(folder.path(), true), part(1, 0), &[]);
    write(&mut backend, 0);
    let handle = checkpoint(&mut backend, 1);
    let fs = FsOptions::in_folder(folder.path().join("checkpoints"), JobFolder::new("job").unwrap()).unwrap();
    let refused = FsBackend::open(&fs, part(1, 0), &[handle]).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("rocksdb/1"), "{refused}");
}

#[test]
fn a_snapshot_excludes_later_writes_whenever_its_task_runs() {
    let folder = tempfile::tempdir().unwrap();
    for incremental in [false, true] {
        for cache in [0, 1 << 20] {
            let options = options(folder.path(), incremental).with_cache_bytes(cache);
            let mut backend = open(&options, part(1, 0), &[]);
            write(&mut backend, 0);
            let first = backend.snapshot(SnapshotRequest::new(1)).unwrap();
            write(&mut backend, 1);
            let second = backend.snapshot(SnapshotRequest::new(2)).unwrap();
            let dropped = backend.snapshot(SnapshotRequest::new(3)).unwrap();
            drop(dropped);
            write(&mut backend, 2);
            let third = std::thread::scope(|scope| {
                let third = backend.snapshot(SnapshotRequest::new(4)).unwrap();
                let running = scope.spawn(|| third.run().unwrap().unwrap());
                write(&mut backend, 3);
                running.join().unwrap()
            });
            // Runs the later task first.
            let second = second.run().unwrap().unwrap();
            let first = first.run().unwrap().unwrap();
            for (handle, rounds) in [(first, 1), (second, 2), (third, 3)] {
                assert_eq!(read(&mut open(&options, part(1, 0), &[handle])), expected(rounds));
            }
            assert_eq!(read(&mut backend), expected(4));
        }
    }
}

#[test]
fn a_full_checkpoint_of_an_incremental_backend_is_portable() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true);
    let mut backend = open(&options, part(1, 0), &[]);
    write(&mut backend, 0);
    let increment = checkpoint(&mut backend, 1);
    assert_eq!(increment.format, "rocksdb/1");
    let full = backend.snapshot(SnapshotRequest::new(2).full()).unwrap().run().unwrap().unwrap();
    assert_eq!(full.format, row::FORMAT);
    let fs = FsOptions::in_folder(folder.path().join("checkpoints"), JobFolder::new("job").unwrap()).unwrap();
    assert_eq!(read(&mut FsBackend::open(&fs, part(1, 0), &[full]).unwrap()), expected(1));
    // It also contains unregistered states, restored from RocksDB's files or from rows.
    let mut restored = open(&options, part(1, 0), &[increment]);
    restored.register(words()).unwrap();
    let full = restored.snapshot(SnapshotRequest::new(3).full()).unwrap().run().unwrap().unwrap();
    assert_eq!(full.format, row::FORMAT);
    let mut again = open(&options, part(1, 0), std::slice::from_ref(&full));
    let once_more = again.snapshot(SnapshotRequest::new(4).full()).unwrap().run().unwrap().unwrap();
    for full in [full, once_more] {
        assert_eq!(full.format, row::FORMAT);
        assert_eq!(read(&mut FsBackend::open(&fs, part(1, 0), &[full]).unwrap()), expected(1));
    }
}

/// Ids of the checkpoints whose files a handle names.
fn creators(handle: &KeyedStateHandle) -> Vec<u64> {
    let mut creators: Vec<_> = handle.files.iter().map(|file| file.created_by).collect();
    creators.sort_unstable();
    creators.dedup();
    creators
}

#[test]
fn a_lost_notification_never_leaves_an_increment_on_files_that_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true).with_inline_max(0).unwrap();
    for is_full in [true, false] {
        let mut backend = open(&options, part(1, 0), &[]);
        write(&mut backend, 0);
        checkpoint(&mut backend, 1);
        write(&mut backend, 1);
        // Checkpoint 2 completes and subsumes 1, but the notification is lost.
        let request = SnapshotRequest::new(2);
        let request = if is_full { request.full() } else { request };
        let second = backend.snapshot(request).unwrap().run().unwrap().unwrap();
        write(&mut backend, 2);
        let third = backend.snapshot(SnapshotRequest::new(3).after(2)).unwrap().run().unwrap().unwrap();
        let kept: Vec<_> = second.files.iter().map(|file| &file.name).collect();
        let old = third.files.iter().filter(|file| file.created_by < 3);
        assert!(old.clone().all(|file| kept.contains(&&file.name)), "{:?}", creators(&third));
        assert_eq!(old.count() > 0, !is_full, "{:?}", creators(&third));
        assert_eq!(read(&mut open(&options, part(1, 0), &[third])), expected(3));
        // No request names the last completed checkpoint any more. After a few checkpoints one builds on
        // nothing.
        let alone = (4..12).any(|id| {
            let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap();
            creators(&handle) == [id]
        });
        assert!(alone);
    }
}

#[test]
fn a_checkpoint_after_an_abort_of_its_base_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), true).with_inline_max(0).unwrap();
    let mut backend = open(&options, part(1, 0), &[]);
    write(&mut backend, 0);
    checkpoint(&mut backend, 1);
    write(&mut backend, 1);
    for id in 2..4 {
        backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap();
    }
    backend.notify_aborted(3).unwrap();
    let handle = backend.snapshot(SnapshotRequest::new(4)).unwrap().run().unwrap().unwrap();
    assert_eq!(creators(&handle), [4]);
}

#[test]
fn small_tables_do_not_pile_up_in_the_handle() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing joins the tables of many small checkpoints.
    let options = options(folder.path(), true).with_tune(|what, options| {
        if what != Tuned::Database {
            options.set_disable_auto_compactions(true);
        }
    });
    let mut backend = open(&options, part(1, 0), &[]);
    let token = backend.register(numbers()).unwrap();
    let mut last = None;
    for id in 1..=60 {
        for key in 0..KEYS {
            let context = backend.key(&key).unwrap();
            backend.value(token, context, &()).unwrap().set(u64::from(key) + id).unwrap();
        }
        let handle = checkpoint(&mut backend, id);
        assert!(handle.inline_size() <= 300 << 10, "{} bytes in the handle", handle.inline_size());
        last = Some(handle);
    }
    drop(backend);
    let mut restored = open(&options, part(1, 0), last.as_slice());
    let token = restored.register(numbers()).unwrap();
    for key in 0..KEYS {
        let context = restored.key(&key).unwrap();
        assert_eq!(restored.value(token, context, &()).unwrap().get().unwrap(), Some(u64::from(key) + 60));
    }
}
