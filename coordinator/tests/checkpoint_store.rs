//! The store of completed checkpoints: completion, retention and deletion, also on a failing storage.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use backend_api::{ErrorKind, Storage};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

use support::{Faulty, checkpoint, ids, in_file, inline, job, open, options, path, written};

#[test]
fn a_completed_checkpoint_survives_a_restart() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    assert!(store.latest().is_none());
    let first = written(&storage, 1, &[]);
    store.complete(first.clone()).unwrap();
    drop(store);
    let store = open(&storage, 1);
    assert_eq!(store.latest(), Some(&first));
    assert!(store.orphans().unwrap().is_empty());
}

#[test]
fn the_newest_are_retained_and_others_deleted_completely() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 3);
    for id in 1..=5 {
        let uses = if id == 1 { vec![] } else { vec![id - 1] };
        store.complete(written(&storage, id, &uses)).unwrap();
    }
    assert_eq!(ids(&store), [3, 4, 5]);
    let expected = ["2 shared", "3 meta", "3 private", "3 shared", "4 meta", "4 private", "4 shared"];
    assert_eq!(storage.names(), [&expected[..], &["5 meta", "5 private", "5 shared"]].concat());
}

#[test]
fn metadata_is_deleted_before_its_files() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[])).unwrap();
    let deleted = storage.deleted.lock().unwrap().clone();
    let of_first = written(&storage, 1, &[]);
    assert_eq!(deleted.first(), Some(&job().metadata(1)));
    assert_eq!(deleted.iter().filter(|path| **path == job().metadata(1)).count(), 1);
    for file in of_first.files() {
        assert!(deleted.contains(&path(file).to_owned()));
    }
}

#[test]
fn an_id_not_above_the_latest_is_refused_without_effect() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 3, &[])).unwrap();
    let before = storage.paths();
    for id in [3, 2, 0] {
        let error = store.complete(checkpoint(id, vec![in_file(0, 3, false)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
    }
    assert_eq!((ids(&store), storage.paths()), (vec![3], before));
}

#[test]
fn a_failed_completion_leaves_nothing_and_keeps_older_checkpoints() {
    for fault in ["create job/chk-2/_metadata", "", "unknown file"] {
        let storage = Arc::new(Faulty::default());
        let limit = if fault.is_empty() { 400 } else { 10 << 20 };
        let mut store = CheckpointStore::open(
            options(&storage).with_retained(1).unwrap().with_max_message_bytes(limit).unwrap(),
        )
        .unwrap();
        store.complete(written(&storage, 1, &[])).unwrap();
        let before = storage.paths();
        let mut second = written(&storage, 2, &[1]);
        let expected = match fault {
            "" => {
                second.tasks[0].properties.insert("large".to_owned(), vec![0; 1000]);
                ErrorKind::Size
            }
            "unknown file" => {
                second = written(&storage, 2, &[1, 77]);
                ErrorKind::IllegalState
            }
            _ => ErrorKind::Io,
        };
        storage.fail(if expected == ErrorKind::Io { &["create job/chk-2/_metadata"] } else { &[] });
        assert_eq!(store.complete(second).unwrap_err().kind(), expected);
        storage.fail(&[]);
        assert_eq!((ids(&store), storage.paths()), (vec![1], before), "{fault:?}");
        // The shared file of the first checkpoint is still registered, and the next one may use it.
        store.complete(written(&storage, 3, &[1])).unwrap();
        assert_eq!(ids(&store), [3]);
        assert!(storage.names().contains(&"1 shared".to_owned()));
    }
}

#[test]
fn metadata_that_cannot_be_deleted_keeps_its_files() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let second = written(&storage, 2, &[]);
    storage.fail(&["create job/chk-2", "delete job/chk-2"]);
    assert_eq!(store.complete(second).unwrap_err().kind(), ErrorKind::Io);
    // The metadata may exist, so the files that it would name must exist too.
    assert_eq!(storage.names(), ["1 meta", "1 private", "1 shared", "2 private", "2 shared"]);
    storage.fail(&[]);
    drop(store);
    let store = open(&storage, 1);
    assert_eq!(ids(&store), [1]);
    assert_eq!(storage.names(), ["1 meta", "1 private", "1 shared"]);
}

/// A failed deletion holds back only the deletions that must come after it.
#[test]
fn failed_deletions_are_retried_and_hold_back_only_their_own_checkpoint() {
    for (fault, left) in [
        ("delete job/chk-1/_metadata", &["1 meta", "1 private", "1 shared"][..]),
        ("delete job/chk-1/op", &["1 private"]),
        ("delete job/shared/op-0-00000000000000ab-s-1", &["1 shared"]),
    ] {
        let storage = Arc::new(Faulty::default());
        let mut store = open(&storage, 1);
        store.complete(written(&storage, 1, &[])).unwrap();
        storage.fail(&[fault]);
        store.complete(written(&storage, 2, &[])).unwrap();
        // All files of other checkpoints are deleted: of a subsumed one, and of one that failed.
        let failed = written(&storage, 3, &[]);
        store.discard(3, &failed.tasks);
        store.complete(written(&storage, 4, &[])).unwrap();
        assert_eq!(ids(&store), [4], "{fault}");
        let expected = [left, &["4 meta", "4 private", "4 shared"]].concat();
        assert_eq!(storage.names(), expected, "{fault}");
        assert!(!store.orphans().unwrap().is_empty(), "{fault}");
        assert_ne!(store.retry_deletions(), 0, "{fault}");
        storage.fail(&[]);
        assert_eq!(store.retry_deletions(), 0, "{fault}");
        assert_eq!(storage.names(), ["4 meta", "4 private", "4 shared"], "{fault}");
    }
}

#[test]
fn a_restart_removes_leftovers_of_a_crash() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[1])).unwrap();
    let whole: BTreeSet<_> = storage.paths().into_iter().collect();
    // A crash before the metadata: the checkpoint's private and shared files.
    let third = written(&storage, 3, &[1]);
    storage.put("job/taskowned/log", b"x");
    let files = third.files().filter(|file| file.created_by == 3).map(path);
    assert_eq!(store.orphans().unwrap(), files.collect::<Vec<_>>());
    drop(store);
    let store = open(&storage, 2);
    assert_eq!(ids(&store), [1, 2]);
    let mut left: BTreeSet<_> = storage.paths().into_iter().collect();
    assert!(left.remove("job/taskowned/log"));
    assert_eq!(left, whole);
}

#[test]
fn a_restart_can_retain_fewer() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 3);
    for id in 1..=3 {
        store.complete(written(&storage, id, &[])).unwrap();
    }
    drop(store);
    let store = open(&storage, 1);
    assert_eq!(ids(&store), [3]);
    assert_eq!(storage.names(), ["3 meta", "3 private", "3 shared"]);
}

#[test]
fn damaged_metadata_is_an_error_and_nothing_is_deleted() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[1])).unwrap();
    let _ = written(&storage, 3, &[]);
    drop(store);
    let path = "job/chk-2/_metadata";
    let good = storage.inner.open(path).unwrap().read(0, storage_len(&storage, path)).unwrap().into_owned();
    let before = storage.paths();
    let flips = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cuts = (0..good.len()).map(|at| good[..at].to_vec());
    let other = checkpoint(9, vec![]).encode().unwrap();
    for damaged in flips.chain(cuts).chain([[&good[..], b"\0"].concat(), other]) {
        storage.put(path, &damaged);
        let error = CheckpointStore::open(options(&storage).with_retained(2).unwrap()).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(path)), "{error}");
        assert_eq!(storage.paths(), before);
    }
    storage.put(path, &good);
    assert_eq!(ids(&open(&storage, 2)), [1, 2]);
}

fn storage_len(storage: &Faulty, path: &str) -> usize {
    storage.inner.open(path).unwrap().len() as usize
}

#[test]
fn an_unreadable_storage_fails_the_start_and_loses_nothing() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let before = storage.paths();
    for fault in ["list", "open job/chk-1/_metadata"] {
        storage.fail(&[fault]);
        let error = CheckpointStore::open(options(&storage)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(storage.paths(), before);
    }
}

#[test]
fn limits_are_exact_and_errors_name_both_sizes() {
    let of = |bytes| checkpoint(1, vec![inline(bytes)]);
    let message_bytes = {
        let task = &of(1000).tasks[0];
        (0..).find(|limit| task.check_message_size(*limit).is_ok()).unwrap()
    };
    let in_memory = || CheckpointStoreOptions::in_memory(job());
    let mut store =
        CheckpointStore::open(in_memory().with_max_message_bytes(message_bytes).unwrap()).unwrap();
    store.complete(of(1000)).unwrap();
    let mut store =
        CheckpointStore::open(in_memory().with_max_message_bytes(message_bytes - 1).unwrap()).unwrap();
    let error = store.complete(of(1000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    for number in [message_bytes, message_bytes - 1] {
        assert!(error.message().contains(&number.to_string()), "{error}");
    }

    // Limits all retained checkpoints together. For a moment there is one more.
    let second = || checkpoint(2, vec![inline(500)]);
    let mut store = CheckpointStore::open(in_memory().with_max_total_bytes(1500).unwrap()).unwrap();
    store.complete(of(1000)).unwrap();
    store.complete(second()).unwrap();
    let mut store = CheckpointStore::open(in_memory().with_max_total_bytes(1499).unwrap()).unwrap();
    store.complete(of(1000)).unwrap();
    let error = store.complete(second()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    assert!(error.message().contains("1500") && error.message().contains("1499"), "{error}");
    assert_eq!(ids(&store), [1]);
}

#[test]
fn limits_and_numbers_of_zero_are_refused() {
    let options = || CheckpointStoreOptions::in_memory(job());
    let refused =
        [options().with_retained(0), options().with_max_message_bytes(0), options().with_max_total_bytes(0)];
    for refused in refused {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn discarding_a_failed_checkpoint_deletes_only_its_own_files() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    store.complete(written(&storage, 1, &[])).unwrap();
    let before = storage.paths();
    let failed = written(&storage, 2, &[1]);
    store.discard(2, &failed.tasks);
    assert_eq!(storage.paths(), before);
    store.discard(2, &failed.tasks);
    assert_eq!((ids(&store), storage.paths()), (vec![1], before));
}

#[test]
fn a_completed_checkpoint_cannot_be_discarded() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    let checkpoint = written(&storage, 1, &[]);
    store.complete(checkpoint.clone()).unwrap();
    store.discard(1, &checkpoint.tasks);
    assert_eq!(storage.names(), ["1 meta", "1 private", "1 shared"]);
    assert_eq!(ids(&store), [1]);
}

#[test]
fn a_partly_deleted_checkpoint_is_not_complete() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 2);
    store.complete(written(&storage, 1, &[])).unwrap();
    store.complete(written(&storage, 2, &[])).unwrap();
    drop(store);
    storage.delete(path(&in_file(0, 1, true))).unwrap();
    let store = open(&storage, 2);
    assert_eq!(ids(&store), [2]);
    assert_eq!(storage.names(), ["2 meta", "2 private", "2 shared"]);
    drop(store);
    // A missing file of the newest checkpoint is an error, and nothing is deleted.
    storage.delete(path(&in_file(0, 2, true))).unwrap();
    let before = storage.paths();
    let error = CheckpointStore::open(options(&storage).with_retained(2).unwrap()).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(path(&in_file(0, 2, true)))));
    assert_eq!(storage.paths(), before);
}
