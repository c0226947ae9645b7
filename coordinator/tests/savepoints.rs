//! Savepoints of a coordinator: taken, found, restored, owned, disposed. Numbers refer to `BEHAVIOURS.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use backend_api::storage::{Storage, parent};
use backend_api::{
    Cancel, Checkpoint, ErrorKind, KeyGroupRange, NewFile, RawKeyedHandle, RestoreRules, SavepointFormat,
    TaskState,
};
use coordinator::{
    AbortReason, BarrierKind, CheckpointConfig, CheckpointStore, ClaimMode, JobEnd, JobHandle, Refusal,
    Retention, Savepoint, SavepointWriter,
};
use support::small_job::{SmallJob, answered, driver};
use support::{Faulty, job, open, options};

const CANONICAL: SavepointFormat = SavepointFormat::Canonical;
const OPERATORS: &[&str] = &["a", "b"];

fn config() -> CheckpointConfig {
    CheckpointConfig {
        retention: Retention::RetainOnCancellation,
        tolerable_failures: 10,
        ..CheckpointConfig::default()
    }
}

fn storage() -> Arc<Faulty> {
    Arc::new(Faulty::default())
}

fn find(storage: &Arc<Faulty>, pointer: &str) -> backend_api::Result<Savepoint> {
    Savepoint::open(Arc::clone(storage) as Arc<dyn Storage>, pointer)
}

fn take(handle: &JobHandle, target: &str) -> String {
    let taken = answered(handle.savepoint(Some(target), CANONICAL)).unwrap();
    taken.folder.unwrap().to_string()
}

/// Takes a checkpoint and a savepoint of a new job, and returns the savepoint's folder. Its lists are `[1,
/// 2]`.
fn taken(storage: &Arc<Faulty>) -> String {
    let mut folder = String::new();
    let driver = driver(storage, config());
    let run = |handle: &JobHandle| {
        answered(handle.trigger()).unwrap();
        folder = take(handle, "savepoints");
    };
    SmallJob::default().run(driver, storage, OPERATORS, run).unwrap();
    folder
}

/// The restored lists of a new job.
fn started(
    storage: &Arc<Faulty>,
    pointer: &str,
    operators: &[&str],
    rules: RestoreRules,
) -> backend_api::Result<Vec<(String, Vec<u64>)>> {
    storage.inner.delete_folder(job().path())?;
    let small = SmallJob::default();
    let driver = driver(storage, config()).start_from(find(storage, pointer)?, ClaimMode::NoClaim);
    small.run(driver.restore_rules(rules), storage, operators, |handle| _ = handle.trigger().recv())?;
    Ok(small.restored.into_inner().unwrap().into_iter().collect())
}

fn all() -> Vec<(String, Vec<u64>)> {
    OPERATORS.iter().map(|operator| ((*operator).to_owned(), vec![1, 2])).collect()
}

fn copy(storage: &Faulty, from: &str, to: &str) {
    for entry in storage.inner.list(from).unwrap() {
        let bytes = storage.inner.open(&entry.path).unwrap();
        let name = entry.path.strip_prefix(from).unwrap().trim_start_matches('/');
        storage.put(&format!("{to}/{name}"), &bytes.read(0, bytes.len() as usize).unwrap());
    }
}

#[test]
fn m186_m187_a_savepoint_is_self_contained_and_can_be_moved() {
    let storage = storage();
    let folder = taken(&storage);
    assert!(folder.starts_with("savepoints/savepoint-job-"), "{folder}");
    assert_eq!(started(&storage, &folder, OPERATORS, RestoreRules::default()).unwrap(), all());
    copy(&storage, &folder, "elsewhere/renamed");
    storage.inner.delete_folder(&folder).unwrap();
    assert_eq!(started(&storage, "elsewhere/renamed", OPERATORS, RestoreRules::default()).unwrap(), all());
}

#[test]
fn m188_a_savepoint_outlives_the_job() {
    for end in [JobEnd::Cancelled, JobEnd::Finished, JobEnd::Failed] {
        let storage = storage();
        let small = SmallJob::default();
        let mut folder = String::new();
        let driver = driver(&storage, CheckpointConfig { retention: Retention::None, ..config() });
        let outcome = small.run(driver, &storage, OPERATORS, |handle| {
            folder = take(handle, "savepoints");
            for _ in 0..3 {
                answered(handle.trigger()).unwrap();
            }
            *small.finishes.lock().unwrap() = end == JobEnd::Finished;
            *small.fails.lock().unwrap() = end == JobEnd::Failed;
            if end != JobEnd::Cancelled {
                // The job may end before this one is answered.
                while handle.trigger().recv().is_ok() {}
            }
        });
        assert_eq!(outcome.map_or(JobEnd::Failed, |outcome| outcome.end), end);
        // Nothing else is left, and the savepoint is unchanged.
        let found = find(&storage, &folder).unwrap();
        assert_eq!(found.checkpoint().id, 1);
        assert!(storage.paths().iter().all(|path| path.starts_with(&folder)), "{:?}", storage.paths());
    }
}

#[test]
fn m189_the_configured_folder_is_the_default() {
    let storage = storage();
    let without = driver(&storage, config());
    SmallJob::default()
        .run(without, &storage, OPERATORS, |handle| {
            assert_eq!(answered(handle.savepoint(None, CANONICAL)), Err(Refusal::NoTarget));
        })
        .unwrap();
    let with = driver(&storage, CheckpointConfig { savepoint_dir: Some("default".to_owned()), ..config() });
    SmallJob::default()
        .run(with, &storage, OPERATORS, |handle| {
            let taken = answered(handle.savepoint(None, CANONICAL)).unwrap();
            assert_eq!(parent(&taken.folder.unwrap()), "default");
        })
        .unwrap();
}

#[test]
fn m190_concurrent_savepoints_have_their_own_folders() {
    let storage = storage();
    let mut folders = Vec::new();
    SmallJob::default()
        .run(driver(&storage, config()), &storage, OPERATORS, |handle| {
            let both = [(); 2].map(|()| handle.savepoint(Some("s"), CANONICAL));
            folders = both.map(|answer| answered(answer).unwrap().folder.unwrap()).to_vec();
        })
        .unwrap();
    assert_ne!(folders[0], folders[1]);
    for folder in folders {
        find(&storage, &folder).unwrap();
    }
}

#[test]
fn m191_a_pointer_is_a_folder_or_a_metadata_file() {
    let storage = storage();
    let folder = taken(&storage);
    let found = find(&storage, &folder).unwrap().checkpoint().clone();
    for pointer in [format!("{folder}/"), format!("{folder}/_metadata")] {
        assert_eq!(find(&storage, &pointer).unwrap().checkpoint(), &found);
    }
    let bytes = storage.inner.open(&format!("{folder}/_metadata")).unwrap();
    let bytes = bytes.read(0, bytes.len() as usize).unwrap().into_owned();
    storage.put(&format!("{folder}/before the release"), &bytes);
    storage.inner.delete(&format!("{folder}/_metadata")).unwrap();
    assert_eq!(find(&storage, &format!("{folder}/before the release")).unwrap().checkpoint(), &found);
    // A folder without metadata, and missing ones.
    for pointer in [&*folder, "savepoints", "no/such folder", "gone"] {
        let error = find(&storage, pointer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(pointer), "{error}");
    }
    for pointer in ["../up", "/absolute", ".hidden"] {
        assert_eq!(find(&storage, pointer).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    // Also a retained checkpoint.
    let checkpoint = find(&storage, &job().checkpoint(1)).map(|found| found.checkpoint().id);
    assert_eq!(checkpoint.unwrap(), 1);
}

#[test]
fn a_missing_file_or_a_path_outside_the_folder_is_corrupt() {
    let storage = storage();
    let folder = taken(&storage);
    let found = find(&storage, &folder).unwrap();
    let mut outside = found.checkpoint().clone();
    for path in outside.tasks.iter_mut().flat_map(|task| &mut task.operator_state) {
        path.file.data = backend_api::StateData::File { path: "../secret".to_owned(), length: 1 };
    }
    storage.put("other/_metadata", &outside.encode().unwrap());
    assert_eq!(find(&storage, "other").unwrap_err().kind(), ErrorKind::Corrupt);
    let missing = found.checkpoint().files().find_map(|file| match &file.data {
        backend_api::StateData::File { path, .. } => Some(path.clone()),
        backend_api::StateData::Inline(_) => None,
    });
    storage.inner.delete(&missing.unwrap()).unwrap();
    assert_eq!(find(&storage, &folder).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn m193_unclaimed_state_is_refused_unless_allowed() {
    let storage = storage();
    let folder = taken(&storage);
    let error = started(&storage, &folder, &["a"], RestoreRules::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    assert!(error.message().contains("\"b\""), "{error}");
    let rules =
        [RestoreRules::default().allow_non_restored_state(), RestoreRules::default().leave_out_operator("b")];
    for rules in rules {
        assert_eq!(started(&storage, &folder, &["a"], rules).unwrap(), all()[..1]);
    }
}

#[test]
fn m193_a_state_that_an_operator_lacks_is_refused_unless_it_is_allowed() {
    let storage = storage();
    let (mut folder, small) = (String::new(), SmallJob { extra: Some("old"), ..SmallJob::default() });
    small.run(driver(&storage, config()), &storage, OPERATORS, |handle| folder = take(handle, "s")).unwrap();
    let error = started(&storage, &folder, OPERATORS, RestoreRules::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    let named = OPERATORS.iter().any(|operator| error.message().contains(&format!("{operator:?}")));
    assert!(named && error.message().contains("\"old\""), "{error}");
    let by_name = OPERATORS
        .iter()
        .fold(RestoreRules::default(), |rules, operator| rules.leave_out_state(*operator, "old"));
    for rules in [by_name, RestoreRules::default().allow_non_restored_state()] {
        let found = started(&storage, &folder, OPERATORS, rules).unwrap();
        assert!(found.iter().all(|(_, list)| list == &[1]), "{found:?}");
    }
}

#[test]
fn m194_a_new_operator_starts_empty() {
    let storage = storage();
    let folder = taken(&storage);
    let found = started(&storage, &folder, &["a", "b", "new"], RestoreRules::default()).unwrap();
    assert_eq!(found, [all(), vec![("new".to_owned(), vec![])]].concat());
}

#[test]
fn m195_metadata_is_deleted_before_files() {
    let storage = storage();
    let folder = taken(&storage);
    storage.put(&format!("{folder}/notes of the user"), b"x");
    let savepoint = find(&storage, &folder).unwrap();
    let files: Vec<String> =
        storage.inner.list(&folder).unwrap().into_iter().map(|entry| entry.path).collect();
    let [failing, last] = [0, 1].map(|n| files.iter().filter(|path| path.contains("-0-")).nth(n).unwrap());
    storage.fail(&[failing.clone().leak()]);
    storage.deleted.lock().unwrap().clear();
    let error = savepoint.dispose().unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some(&**failing)));
    assert_eq!(*storage.deleted.lock().unwrap(), [format!("{folder}/_metadata"), last.clone()]);

    // Without errors, only foreign files are left.
    storage.fail(&[]);
    storage.inner.delete_folder("savepoints").unwrap();
    storage.inner.delete_folder(job().path()).unwrap();
    let folder = taken(&storage);
    storage.put(&format!("{folder}/notes of the user"), b"x");
    find(&storage, &folder).unwrap().dispose().unwrap();
    let left: Vec<_> =
        storage.inner.list("savepoints").unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(left, [format!("{folder}/notes of the user")]);
}

#[test]
fn a_checkpoint_is_not_disposed_as_a_savepoint() {
    let storage = storage();
    taken(&storage);
    let before = storage.paths();
    let checkpoint = find(&storage, &job().checkpoint(1)).unwrap();
    assert_eq!(checkpoint.dispose().unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(storage.paths(), before);
}

#[test]
fn without_a_claim_the_next_checkpoint_is_full() {
    let storage = storage();
    let folder = taken(&storage);
    storage.inner.delete_folder(job().path()).unwrap();
    let before = storage.inner.list(&folder).unwrap();
    let small = SmallJob::default();
    let driver = driver(&storage, config()).start_from(find(&storage, &folder).unwrap(), ClaimMode::NoClaim);
    small
        .run(driver, &storage, OPERATORS, |handle| {
            take(handle, "others");
            for _ in 0..3 {
                answered(handle.trigger()).unwrap();
            }
        })
        .unwrap();
    let mut full: Vec<(u64, bool)> =
        small.barriers.into_inner().unwrap().into_iter().map(|(id, _, is_full)| (id, is_full)).collect();
    full.sort_unstable();
    full.dedup();
    // Ids continue after that of the savepoint, which is 2.
    assert_eq!(full, [(3, true), (4, true), (5, false), (6, false)]);
    assert_eq!(storage.inner.list(&folder).unwrap(), before);
}

#[test]
fn l177_a_claimed_savepoint_is_deleted_once_it_is_subsumed() {
    let storage = storage();
    let folder = taken(&storage);
    storage.inner.delete_folder(job().path()).unwrap();
    let small = SmallJob::default();
    let config = CheckpointConfig { retained: 2, ..config() };
    let driver = driver(&storage, config).start_from(find(&storage, &folder).unwrap(), ClaimMode::Claim);
    small
        .run(driver, &storage, OPERATORS, |handle| {
            let there = || !storage.inner.list(&folder).unwrap().is_empty();
            answered(handle.trigger()).unwrap();
            assert!(there());
            answered(handle.trigger()).unwrap();
            assert!(!there());
        })
        .unwrap();
    assert_eq!(*small.restored.lock().unwrap(), all().into_iter().collect());
    let paths = storage.paths();
    assert!(paths.iter().all(|path| path.starts_with("job/chk-")), "{paths:?}");
}

#[test]
fn l177_a_reopened_store_keeps_its_claim() {
    let storage = storage();
    let folder = taken(&storage);
    storage.inner.delete_folder(job().path()).unwrap();
    let savepoint = find(&storage, &folder).unwrap();
    {
        let mut store = open(&storage, 1);
        store.claim(&savepoint).unwrap();
        store.claim(&savepoint).unwrap();
    }
    let mut store = open(&storage, 1);
    assert_eq!(store.latest().map(|latest| latest.id), Some(2));
    assert_eq!(store.latest().unwrap().files().count(), 2);
    // A crash after the metadata is deleted. The next store continues.
    storage.fail(&["-0-"]);
    store.remove_all();
    assert!(find(&storage, &folder).is_err());
    assert!(!storage.inner.list(&folder).unwrap().is_empty());
    storage.fail(&[]);
    drop(store);
    let store = open(&storage, 1);
    assert_eq!((store.latest(), storage.paths()), (None, Vec::new()));
}

#[test]
fn a_claim_that_cannot_be_recorded_is_refused() {
    let storage = storage();
    let folder = taken(&storage);
    let savepoint = find(&storage, &folder).unwrap();
    let in_memory = coordinator::CheckpointStoreOptions::in_memory(job());
    let mut store = CheckpointStore::open(in_memory).unwrap();
    assert_eq!(store.claim(&savepoint).unwrap_err().kind(), ErrorKind::InvalidArgument);
    // A job with later checkpoints refuses it.
    let mut store = CheckpointStore::open(options(&storage)).unwrap();
    let id = (0..3).map(|_| store.begin().unwrap()).last().unwrap();
    store.complete(support::written(&storage, id, &[])).unwrap();
    assert_eq!(store.claim(&savepoint).unwrap_err().kind(), ErrorKind::IllegalState);
    find(&storage, &folder).unwrap();
}

#[test]
fn a_job_starts_from_the_savepoint_that_stopped_another() {
    for drain in [false, true] {
        let storage = storage();
        let small = SmallJob::default();
        let outcome = small.run(driver(&storage, config()), &storage, OPERATORS, |handle| {
            answered(handle.trigger()).unwrap();
            let taken = answered(handle.stop_with_savepoint(Some("s"), CANONICAL, drain)).unwrap();
            assert_eq!(taken.id, 2);
            while handle.trigger().recv().is_ok() {}
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.end, JobEnd::Finished);
        let kind = BarrierKind::StopWithSavepoint { format: CANONICAL, drain };
        assert!(small.barriers.into_inner().unwrap().contains(&(2, kind, true)));
        let folder = outcome.savepoint.unwrap().folder.unwrap();
        // The checkpoints of a finished job are deleted.
        assert!(storage.paths().iter().all(|path| path.starts_with(&*folder)));
        assert_eq!(started(&storage, &folder, OPERATORS, RestoreRules::default()).unwrap(), all());
    }
}

#[test]
fn a_failed_savepoint_leaves_no_files() {
    let storage = storage();
    let small = SmallJob::default();
    let ran = small.run(driver(&storage, config()), &storage, OPERATORS, |handle| {
        *small.declines.lock().unwrap() = Some("b");
        let refused = answered(handle.savepoint(Some("s"), CANONICAL)).unwrap_err();
        assert!(matches!(refused, Refusal::Aborted(1, AbortReason::Declined(..))), "{refused}");
        *small.declines.lock().unwrap() = None;
        storage.fail(&["create s/"]);
        let refused = answered(handle.savepoint(Some("s"), CANONICAL)).unwrap_err();
        assert!(matches!(refused, Refusal::Aborted(2, _)), "{refused}");
        storage.fail(&["list s/"]);
        let refused = answered(handle.savepoint(Some("s"), CANONICAL)).unwrap_err();
        assert!(matches!(&refused, Refusal::NoId(reason) if reason.contains("list s/")), "{refused}");
        storage.fail(&[]);
        // Not a path.
        let refused = answered(handle.savepoint(Some("../s"), CANONICAL)).unwrap_err();
        assert!(matches!(refused, Refusal::NoId(_)), "{refused}");
        answered(handle.trigger()).unwrap();
    });
    ran.unwrap();
    // A task that wrote before another one declined deletes nothing itself, and may be late. Its file is
    // deleted then.
    let left: Vec<_> = storage.paths().into_iter().filter(|path| !path.starts_with("job/")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_stop_that_a_task_declines_fails_the_job() {
    let storage = storage();
    let small = SmallJob::default();
    *small.declines.lock().unwrap() = Some("a");
    let failed = small.run(driver(&storage, config()), &storage, OPERATORS, |handle| {
        answered(handle.stop_with_savepoint(Some("s"), CANONICAL, false)).unwrap_err();
        while handle.trigger().recv().is_ok() {}
    });
    let error = failed.unwrap_err();
    assert!(error.message().contains("no room"), "{error}");
}

#[test]
fn a_savepoint_in_another_storage_is_complete_there() {
    let (storage, other) = (storage(), storage());
    let mut folder = String::new();
    let driver = driver(&storage, config()).savepoints_in(Arc::clone(&other) as Arc<dyn Storage>);
    SmallJob::default().run(driver, &storage, OPERATORS, |handle| folder = take(handle, "s")).unwrap();
    assert_eq!(find(&other, &folder).unwrap().checkpoint().tasks.len(), 2);
    assert!(storage.paths().is_empty(), "{:?}", storage.paths());
    let mut unused = other.inner.create("s/other", &Cancel::new()).unwrap();
    unused.write(b"x").unwrap();
}

#[test]
fn a_savepoint_in_the_root_of_a_storage_is_found_there() {
    let storage = storage();
    let mut writer = SavepointWriter::new(Arc::clone(&storage) as Arc<dyn Storage>, "job");
    let target = writer.target("").unwrap().with_inline_max(0).unwrap().for_attempt().unwrap();
    let new = NewFile {
        operator: "a",
        subtask: 0,
        checkpoint_id: 1,
        part: "state",
        format: "bytes/1",
        shared: false,
    };
    let file = target.write_part(new, &Cancel::new(), |sink| sink.write(b"state")).unwrap();
    let range = KeyGroupRange::new(0, 127).unwrap();
    let handle = RawKeyedHandle { checkpoint_id: 1, range, max_parallelism: 128, file };
    let mut task = TaskState::new("a", 0, 1, None);
    task.raw_keyed = Some(handle);
    let savepoint = writer.complete(Checkpoint::new(1, vec![task.clone()]), "", CANONICAL).unwrap();
    assert_eq!((savepoint.folder(), &savepoint.checkpoint().tasks), ("", &vec![task]));
    assert_eq!(find(&storage, "").unwrap().checkpoint(), savepoint.checkpoint());
}
