//! A checkpoint completes only if it can be restored, and a wrong one never replaces a right one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use backend_api::{
    Checkpoint, ErrorKind, KeyGroupRange, OperatorStateHandle, RawKeyedHandle, Storage, TaskState,
};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

use support::{Faulty, checkpoint, ids, in_file, inline, job, open, path, task, written};

/// Completes checkpoint 1, and checks that `wrong` is refused as the second one.
fn refused(storage: &Arc<Faulty>, wrong: Checkpoint) -> String {
    let mut store = open(storage, 1);
    let error = store.complete(wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState, "{error}");
    assert_eq!(ids(&store), [1]);
    drop(store);
    let store = open(storage, 1);
    assert_eq!((ids(&store), store.orphans().unwrap()), (vec![1], vec![]), "{error}");
    error.to_string()
}

/// A storage with checkpoint 1.
fn with_first() -> Arc<Faulty> {
    let storage = Arc::new(Faulty::default());
    open(&storage, 1).complete(written(&storage, 1, &[])).unwrap();
    storage
}

#[test]
fn a_discarded_checkpoint_cannot_be_completed() {
    let storage = with_first();
    let mut store = open(&storage, 1);
    let second = written(&storage, 2, &[1]);
    store.discard(2, &second.tasks);
    let before = storage.paths();
    // Even if the files exist again, because a late task wrote them.
    for again in [second.clone(), written(&storage, 2, &[1])] {
        let error = store.complete(again).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
    }
    store.discard(2, &second.tasks);
    assert_eq!((ids(&store), storage.paths()), (vec![1], before));
    store.complete(written(&storage, 3, &[1])).unwrap();
}

#[test]
fn a_failed_completion_cannot_be_repeated() {
    for fault in ["create job/chk-2/_metadata", "list job/_owner", "list job/shared"] {
        let storage = with_first();
        let mut store = open(&storage, 1);
        let second = written(&storage, 2, &[1]);
        storage.fail(&[fault]);
        assert_eq!(store.complete(second.clone()).unwrap_err().kind(), ErrorKind::Io, "{fault}");
        storage.fail(&[]);
        assert_eq!(store.complete(second).unwrap_err().kind(), ErrorKind::IllegalState, "{fault}");
        assert_eq!(ids(&store), [1]);
        store.complete(written(&storage, 3, &[1])).unwrap();
    }
}

/// Opening the store again deletes the files of running tasks.
#[test]
fn a_checkpoint_running_at_open_cannot_be_completed() {
    let storage = with_first();
    let mut first = open(&storage, 1);
    let id = first.begin().unwrap();
    let late = written(&storage, id, &[1]);
    let mut second = open(&storage, 1);
    for store in [&mut first, &mut second] {
        assert_eq!(store.complete(late.clone()).unwrap_err().kind(), ErrorKind::IllegalState);
    }
    let id = second.begin().unwrap();
    second.complete(written(&storage, id, &[1])).unwrap();
}

#[test]
fn each_file_must_exist_with_its_length() {
    let second = |storage: &Faulty| written(storage, 2, &[1]);
    let names: Vec<String> = second(&Faulty::default()).files().map(|file| path(file).to_owned()).collect();
    assert_eq!(names.len(), 3, "a private one, a shared one, and one of checkpoint 1");
    for name in names {
        for bytes in [None, Some(&b""[..]), Some(b"xx")] {
            let storage = with_first();
            let mut store = open(&storage, 1);
            let second = second(&storage);
            storage.inner.delete(&name).unwrap();
            if let Some(bytes) = bytes {
                storage.put(&name, bytes);
            }
            let error = store.complete(second).unwrap_err();
            assert_eq!((error.kind(), error.file()), (ErrorKind::IllegalState, Some(&*name)), "{error}");
            assert_eq!(ids(&store), [1]);
        }
    }
}

#[test]
fn only_shared_files_of_kept_checkpoints_can_be_used() {
    // An unregistered file that exists, a file of a later checkpoint, and a private file of another one.
    for (subtask, created_by, shared) in [(7, 1, true), (0, 3, true), (0, 1, false)] {
        let storage = with_first();
        let file = in_file(subtask, created_by, shared);
        storage.put(path(&file), b"x");
        let mut wrong = written(&storage, 2, &[]);
        wrong.tasks[0].keyed.as_mut().unwrap().files.push(file);
        let mut store = open(&storage, 1);
        assert_eq!(
            store.complete(wrong).unwrap_err().kind(),
            ErrorKind::IllegalState,
            "{created_by} {shared}"
        );
        assert_eq!(ids(&store), [1]);
    }
}

#[test]
fn each_subtask_must_occur_once() {
    let subtask = |number| task(2, number, 2, vec![inline(1)]);
    let wrong: [(&str, Vec<TaskState>); 7] = [
        ("missing", vec![subtask(0)]),
        ("missing", vec![subtask(1)]),
        ("twice", vec![subtask(0), subtask(1), subtask(1)]),
        ("twice", vec![subtask(0), subtask(0)]),
        ("parallelism", vec![subtask(0), task(2, 0, 1, vec![])]),
        ("of 1", vec![TaskState::new("op", 1, 1, None)]),
        ("of 0", vec![TaskState::new("op", 0, 0, None)]),
    ];
    for (word, tasks) in wrong {
        let error = refused(&with_first(), Checkpoint::new(2, tasks));
        assert!(error.contains(word) && error.contains("\"op\""), "{error}");
    }
    // Operators are counted separately, in any order.
    let other = |number| TaskState::new("other", number, 3, None);
    let tasks = vec![other(2), subtask(1), other(0), subtask(0), other(1)];
    open(&with_first(), 1).complete(Checkpoint::new(2, tasks)).unwrap();
}

#[test]
fn key_groups_must_match_the_subtasks() {
    let range = |start, end| KeyGroupRange::new(start, end).unwrap();
    // A gap, an overlap, too few and too many, and another number of groups.
    for (first, second) in
        [((0, 3), (5, 9)), ((0, 5), (5, 9)), ((0, 4), (5, 8)), ((0, 4), (5, 10)), ((0, 9), (0, 9))]
    {
        let mut tasks = [0, 1].map(|number| task(2, number, 2, vec![inline(1)]));
        for (task, (start, end)) in tasks.iter_mut().zip([first, second]) {
            task.keyed.as_mut().unwrap().range = range(start, end);
        }
        let error = refused(&with_first(), Checkpoint::new(2, tasks.into()));
        assert!(error.contains("key groups"), "{error}");
    }
    let mut other = [0, 1].map(|number| task(2, number, 2, vec![]));
    let handle = other[1].keyed.as_mut().unwrap();
    (handle.max_parallelism, handle.range) = (20, range(10, 19));
    refused(&with_first(), Checkpoint::new(2, other.into()));

    // Streams of raw state are checked in the same way.
    let raw = |range| RawKeyedHandle { checkpoint_id: 2, range, max_parallelism: 10, file: inline(1) };
    let with_raw = |range| TaskState { raw_keyed: Some(raw(range)), ..task(2, 0, 1, vec![]) };
    refused(&with_first(), Checkpoint::new(2, vec![with_raw(range(0, 8))]));
    open(&with_first(), 1).complete(Checkpoint::new(2, vec![with_raw(range(0, 9))])).unwrap();
}

#[test]
fn all_parts_must_match_checkpoint_operator_and_keys() {
    let parts = || [0, 1].map(|number| task(2, number, 2, vec![]));
    let changed = |change: &dyn Fn(&mut TaskState)| {
        let mut parts = parts();
        change(&mut parts[1]);
        refused(&with_first(), Checkpoint::new(2, parts.into()));
    };
    changed(&|task| task.keyed.as_mut().unwrap().checkpoint_id = 1);
    changed(&|task| task.keyed.as_mut().unwrap().operator = "other".to_owned());
    changed(&|task| task.keyed.as_mut().unwrap().key_schema = "u64".to_owned());
    changed(&|task| task.keyed.as_mut().unwrap().key_group_mapping = "other".to_owned());
    let other = OperatorStateHandle { checkpoint_id: 1, states: vec![], file: inline(1) };
    changed(&|task| task.operator_state = Some(other.clone()));
    open(&with_first(), 1).complete(Checkpoint::new(2, parts().into())).unwrap();
}

/// The key groups of a subtask without registered state are empty.
#[test]
fn a_subtask_without_keyed_state_leaves_no_gap() {
    let tasks = vec![task(2, 0, 2, vec![]), TaskState::new("op", 1, 2, None)];
    open(&with_first(), 1).complete(Checkpoint::new(2, tasks)).unwrap();
}

/// Two operators of one name would overwrite each other's files.
#[test]
fn two_subtasks_cannot_own_one_file() {
    let storage = with_first();
    let file = in_file(0, 2, false);
    storage.put(path(&file), b"x");
    let tasks = [0, 1].map(|number| task(2, number, 2, vec![file.clone()]));
    refused(&storage, Checkpoint::new(2, tasks.into()));
}

#[test]
fn no_id_is_assigned_twice() {
    let storage = Arc::new(Faulty::default());
    let mut given = std::collections::BTreeSet::new();
    for round in 0..5_u64 {
        let mut store = open(&storage, 1);
        for number in 0..round * 40 {
            let id = store.begin().unwrap();
            assert!(given.insert(id), "{id} was given out before");
            assert!(given.last() == Some(&id), "{id} is not above those before");
            match number % 7 {
                0 => store.complete(written(&storage, id, &[])).unwrap(),
                1 => store.discard(id, &[]),
                _ => {}
            }
        }
    }
    let reserved = storage.inner.list(&job().reserved()).unwrap();
    assert_eq!(reserved.len(), 1, "{reserved:?}");
}

/// A failed reservation assigns no id, and is repeated.
#[test]
fn an_unreserved_id_is_not_assigned() {
    let storage = Arc::new(Faulty::default());
    let mut store = open(&storage, 1);
    storage.fail(&["create job/reserved-ids"]);
    for _ in 0..3 {
        assert_eq!(store.begin().unwrap_err().kind(), ErrorKind::Io);
    }
    storage.fail(&["delete job/reserved-ids", "list job/reserved-ids"]);
    let first = store.begin().unwrap();
    storage.fail(&[]);
    drop(store);
    assert!(open(&storage, 1).begin().unwrap() > first);
}

#[test]
fn ids_begin_above_the_checkpoint_of_another_job() {
    let storage = Arc::new(Faulty::default());
    for mut store in
        [open(&storage, 1), CheckpointStore::open(CheckpointStoreOptions::in_memory(job())).unwrap()]
    {
        store.start_from(&checkpoint(1000, vec![]));
        let id = store.begin().unwrap();
        assert!(id > 1000);
        store.start_from(&checkpoint(7, vec![]));
        assert!(store.begin().unwrap() > id);
        store.complete(checkpoint(id, vec![])).unwrap();
    }
    assert!(open(&storage, 1).begin().unwrap() > 1001);
}

#[test]
fn ids_end_with_an_error() {
    let storage = Arc::new(Faulty::default());
    for from in [u64::MAX, u64::MAX - 10, u64::MAX - 64] {
        let mut store = open(&storage, 1);
        store.start_from(&checkpoint(from, vec![]));
        let ends = (0..70).find_map(|_| store.begin().err());
        assert_eq!(ends.unwrap().kind(), ErrorKind::IllegalState);
    }
}
