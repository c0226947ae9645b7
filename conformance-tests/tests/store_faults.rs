//! The coordinator's store on a storage that fails or loses power at each call in turn.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use backend_api::{
    Cancel, Checkpoint, ErrorKind, FileName, JobFolder, KeyGroupRange, KeyedStateHandle, MemoryStorage,
    Result, StateData, StateFile, Storage, TaskState,
};
use conformance_tests::storage::{CrashingStorage, FailingStorage, Faults};
use coordinator::{CheckpointStore, CheckpointStoreOptions};

fn job() -> JobFolder {
    JobFolder::new("job").unwrap()
}

/// The file that the only subtask of `op` writes for a checkpoint, private or shared.
fn in_file(created_by: u64, shared: bool) -> StateFile {
    let folder = if shared { job().shared() } else { job().checkpoint(created_by) };
    let name = FileName { operator: "op", subtask: 0, attempt: 7, part: None, checkpoint_id: created_by }
        .to_string();
    let data = StateData::File { path: format!("{folder}/{name}"), length: 1 };
    StateFile { name, format: "test".to_owned(), created_by, shared, data }
}

fn path(file: &StateFile) -> &str {
    let StateData::File { path, .. } = &file.data else { panic!("{file:?} is inline") };
    path
}

/// A checkpoint of one subtask with these files.
fn checkpoint(id: u64, files: Vec<StateFile>) -> Checkpoint {
    let handle = KeyedStateHandle {
        format: "test".to_owned(),
        checkpoint_id: id,
        operator: "op".to_owned(),
        range: KeyGroupRange::all(10).unwrap(),
        max_parallelism: 10,
        key_group_mapping: "test".to_owned(),
        key_schema: "i32".to_owned(),
        files,
    };
    Checkpoint::new(id, vec![TaskState::new("op", 0, 1, Some(handle))])
}

/// A job's state as seen from outside.
#[derive(Default)]
struct Known {
    /// All assigned ids.
    given: BTreeSet<u64>,
    /// The last one that completed without an error.
    completed: u64,
    /// Later ones that may be complete despite an error.
    unsure: BTreeSet<u64>,
}

fn open(storage: &Arc<dyn Storage>, retained: usize) -> Result<CheckpointStore> {
    let options = CheckpointStoreOptions::in_storage(job(), Arc::clone(storage));
    CheckpointStore::open(options.with_retained(retained)?)
}

fn put(storage: &dyn Storage, file: &StateFile) -> Result<()> {
    let mut writer = storage.create(path(file), &Cancel::new())?;
    writer.write(b"x")?;
    writer.finish()
}

/// A checkpoint with a private and a shared file, and the shared ones of `base`.
fn written(storage: &dyn Storage, id: u64, base: Option<&Checkpoint>) -> Result<Checkpoint> {
    let mut files = vec![in_file(id, false), in_file(id, true)];
    files.iter().try_for_each(|file| put(storage, file))?;
    // Files of the last two checkpoints, so that files are also dropped.
    let shared = base.into_iter().flat_map(Checkpoint::files).filter(|file| file.shared);
    files.extend(shared.take(2).cloned());
    Ok(checkpoint(id, files))
}

/// Runs some overlapping checkpoints of a job and discards some. Each step may fail, and the job continues.
fn run(storage: &Arc<dyn Storage>, known: &mut Known, rounds: u64) -> Result<()> {
    let mut store = open(storage, 2)?;
    let latest = store.latest().map_or(0, |latest| latest.id);
    assert!(latest == known.completed || known.unsure.contains(&latest), "{latest} was restored");
    known.completed = latest;
    let mut under_way = Vec::new();
    let mut result = Ok(());
    for round in 0..rounds {
        let base = store.latest().cloned();
        match store.begin() {
            Ok(id) => {
                assert!(known.given.last().is_none_or(|last| *last < id), "{id} was given out before");
                known.given.insert(id);
                under_way.push((id, written(&**storage, id, base.as_ref())));
            }
            Err(error) => result = Err(error),
        }
        if under_way.len() < 2 && round + 1 < rounds {
            continue;
        }
        for (id, written) in under_way.drain(..under_way.len().min(1)).collect::<Vec<_>>() {
            match written {
                Ok(written) if round % 4 != 3 => match store.complete(written) {
                    Ok(()) => {
                        known.completed = id;
                        known.unsure.clear();
                    }
                    Err(error) => {
                        known.unsure.insert(id);
                        result = Err(error);
                    }
                },
                Ok(written) => store.discard(id, &written.tasks),
                Err(error) => {
                    store.discard(id, &[]);
                    result = Err(error);
                }
            }
        }
    }
    // Those still running end with the store.
    result
}

/// Checks that all complete checkpoints are intact, that another one completes, and that nothing is left
/// over.
fn check(storage: &Arc<dyn Storage>, known: &mut Known, what: &str) {
    run(storage, known, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
    let store = open(storage, 2).unwrap_or_else(|error| panic!("{what}: {error}"));
    for checkpoint in store.checkpoints() {
        for file in checkpoint.files() {
            assert_eq!(storage.open(path(file)).unwrap().len(), 1, "{what}");
        }
    }
    assert_eq!(store.orphans().unwrap(), [""; 0], "{what}");
    let named = store.checkpoints().flat_map(Checkpoint::files).map(|file| path(file).to_owned());
    let metadata = store.checkpoints().map(|checkpoint| job().metadata(checkpoint.id));
    let needed: BTreeSet<String> = named.chain(metadata).collect();
    let notes = [job().owner(), job().reserved()];
    let all = storage.list("").unwrap().into_iter().map(|entry| entry.path);
    let files: BTreeSet<String> =
        all.filter(|path| !notes.iter().any(|folder| path.starts_with(folder))).collect();
    assert_eq!(files, needed, "{what}");
    assert_eq!(storage.sweep("").unwrap(), 0, "{what}");
}

#[test]
fn any_call_can_fail_once_or_permanently() {
    for faults in [Faults::Once, Faults::FromThenOn] {
        for nth in 1.. {
            let failing = Arc::new(FailingStorage::new(Arc::new(MemoryStorage::new())));
            let storage: Arc<dyn Storage> = Arc::clone(&failing) as _;
            let mut known = Known::default();
            run(&storage, &mut known, 3).unwrap();
            failing.fail(nth, faults);
            let result = run(&storage, &mut known, 8);
            if failing.heal() == 0 {
                result.unwrap();
                break;
            }
            if let Err(error) = result {
                assert!(
                    matches!(error.kind(), ErrorKind::Io | ErrorKind::IllegalState),
                    "call {nth}: {error}"
                );
            }
            check(&storage, &mut known, &format!("call {nth} failed, {faults:?}"));
        }
    }
}

#[test]
fn power_can_fail_at_any_call() {
    for seed in 0..4 {
        for nth in 1.. {
            let crashing = Arc::new(CrashingStorage::new(Arc::new(MemoryStorage::new())));
            let storage: Arc<dyn Storage> = Arc::clone(&crashing) as _;
            let mut known = Known::default();
            run(&storage, &mut known, 3).unwrap();
            crashing.crash(nth, nth * 7 + seed);
            let result = run(&storage, &mut known, 8);
            if !crashing.reboot().unwrap() {
                result.unwrap();
                break;
            }
            check(&storage, &mut known, &format!("power went off at call {nth}, seed {seed}"));
        }
    }
}
