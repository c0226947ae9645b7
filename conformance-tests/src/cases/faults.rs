//! Failing storages and damaged bytes. These cases are not in Flink's list, but all others depend on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::{ErrorKind, KeyedStateHandle, MemoryStorage, Result, StateBackend, StateData, Storage};

use crate::access::kind;
use crate::kinds::{Change, Content, Kinds, content_of};
use crate::storage::{CrashingStorage, FailingStorage, Faults};
use crate::{Factory, Setup, World, checkpoint_of, killing, single, skip};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! faults_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* faults
            x01_a_checkpoint_that_fails_at_any_call_leaves_no_file
            x02_a_storage_that_stays_broken_gives_no_handle
            x03_a_restore_that_fails_at_any_call_changes_nothing
            x04_every_changed_byte_is_found
            x05_every_truncation_is_found
            x06_a_missing_file_is_not_found
            x07_after_a_crash_at_any_call_the_last_checkpoint_is_whole
            x08_after_a_crash_nothing_is_left_over
            x09_a_killed_process_loses_no_complete_checkpoint
        }
    };
}

/// A world whose checkpoints are in memory, behind a storage made by `wrap`. These cases write thousands of
/// short-lived files.
fn in_memory<F: Factory, S: Storage>(
    setup: Setup,
    wrap: impl FnOnce(Arc<dyn Storage>) -> S,
) -> Option<(World<F>, Arc<S>)> {
    World::over(setup, |_| wrap(Arc::new(MemoryStorage::new())))
}

/// Opens a backend with some content.
fn filled<F: Factory>(world: &World<F>) -> (F::Backend<i32>, Kinds, Content) {
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    (backend, kinds, content)
}

/// What a restore finds.
fn restored<F: Factory>(world: &World<F>, handle: &KeyedStateHandle) -> Result<Content> {
    let mut backend = world.try_open::<i32>(single(10), std::slice::from_ref(handle))?;
    let kinds = Kinds::register(&mut backend)?;
    Ok(kinds.read(&mut backend))
}

/// Lets the storage fail at its first call during a checkpoint, then at the second, and so on, until a
/// checkpoint succeeds. Calls `failed` after each failure.
fn fail_checkpoints<F: Factory>(faults: Faults, failed: impl Fn(&World<F>, usize, &str)) {
    let Some((world, storage)) = in_memory::<F, _>(Setup::default(), FailingStorage::new) else { return };
    let (mut backend, kinds, mut content) = filled(&world);
    for nth in 1.. {
        let before = world.files();
        storage.fail(nth, faults);
        let request = world.request();
        let written = backend.snapshot(request.clone()).and_then(|task| task.run());
        if storage.heal() == 0 {
            assert!(nth > 1, "the storage was not asked for anything");
            assert_eq!(restored(&world, &written.unwrap().unwrap()).unwrap(), content);
            return;
        }
        let error = written.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        failed(&world, before.len(), &error.to_string());
        backend.notify_aborted(request.checkpoint_id()).unwrap();
        // The backend continues, and the next checkpoint is complete.
        kinds.change(&mut backend, &mut content, nth as i32);
        let handle = world.checkpoint(&mut backend);
        assert_eq!(restored(&world, &handle).unwrap(), content, "call {nth}");
    }
}

/// X1: if any call of the storage fails, the checkpoint fails with an I/O error and leaves no file. The
/// backend continues, and the next checkpoint is complete.
pub fn x01_a_checkpoint_that_fails_at_any_call_leaves_no_file<F: Factory>() {
    fail_checkpoints::<F>(Faults::Once, |world, before, fault| {
        assert_eq!(world.files().len(), before, "{fault}")
    });
}

/// X2: if the storage stays broken, there is no handle. Once it works again, the next checkpoint is complete.
pub fn x02_a_storage_that_stays_broken_gives_no_handle<F: Factory>() {
    fail_checkpoints::<F>(Faults::FromThenOn, |_, _, _| {});
}

/// X3: if any call of the storage fails, the restore fails with an I/O error and changes no file. A second
/// try restores everything.
pub fn x03_a_restore_that_fails_at_any_call_changes_nothing<F: Factory>() {
    let Some((world, storage)) = in_memory::<F, _>(Setup::default(), FailingStorage::new) else { return };
    let (mut backend, kinds, mut content) = filled(&world);
    world.checkpoint(&mut backend);
    kinds.change(&mut backend, &mut content, 1);
    let handle = world.checkpoint(&mut backend);
    drop(backend);
    let files = world.files();
    for nth in 1.. {
        storage.fail(nth, Faults::Once);
        let opened = restored(&world, &handle);
        let failed = storage.heal();
        assert_eq!(world.files(), files, "call {nth}");
        if failed == 0 {
            assert!(nth > 1, "the storage was not asked for anything");
            assert_eq!(opened.unwrap(), content);
            return;
        }
        assert_eq!(kind(opened), ErrorKind::Io, "call {nth}");
        assert_eq!(restored(&world, &handle).unwrap(), content, "call {nth}");
    }
}

/// Number of damaged positions in a file. Shorter files are damaged at every byte.
const PLACES: usize = 400;

/// The positions at which a file of `len` bytes is damaged: all of them, or a quarter of [`PLACES`] at each
/// end, where headers, indexes and checksums are, and the rest evenly spaced.
fn places(len: usize) -> Vec<usize> {
    let end = PLACES / 4;
    if len <= PLACES {
        return (0..len).collect();
    }
    let step = (len - 2 * end).div_ceil(PLACES - 2 * end);
    (0..end).chain((end..len - end).step_by(step)).chain(len - end..len).collect()
}

/// Restores a small checkpoint with each of its files, inline or stored, damaged as `damages` says.
fn damage_every_file<F: Factory>(damages: impl Fn(&[u8]) -> Vec<(String, Vec<u8>)>) {
    let mut worlds = vec![World::<F>::new()];
    if F::new().capabilities().storage {
        worlds.extend(World::over(Setup::default(), |_| MemoryStorage::new()).map(|(world, _)| world));
    } else if worlds[0].storage().is_some() {
        worlds.extend(World::in_files(Setup::default()));
    }
    for world in worlds {
        let mut backend = world.open::<i32>();
        let kinds = Kinds::register(&mut backend).unwrap();
        let mut content = Content::default();
        for key in 0..4 {
            kinds.apply(Change::Write, &mut backend, 0, key);
            content.apply(Change::Write, 0, key);
        }
        world.checkpoint(&mut backend);
        for (key, change) in [(0, Change::Write), (1, Change::Alter), (2, Change::Clear)] {
            kinds.apply(change, &mut backend, 1, key);
            content.apply(change, 1, key);
        }
        let handle = world.checkpoint(&mut backend);
        drop(backend);
        for (index, file) in handle.files.iter().enumerate() {
            let good = world.bytes(file);
            for (what, bytes) in damages(&good) {
                let mut damaged = handle.clone();
                damaged.files[index] = world.put_bytes(file, bytes);
                let error = match restored(&world, &damaged) {
                    Err(error) => error,
                    // Rows that a later file replaces are not necessarily read.
                    Ok(found) if index + 1 < handle.files.len() && found == content => continue,
                    Ok(_) => panic!("{what} of {} was not found", file.name),
                };
                let known = [ErrorKind::Corrupt, ErrorKind::Unsupported].contains(&error.kind());
                assert!(known, "{what}: {error}");
                assert!(error.file().is_some() && error.offset().is_some(), "{what}: {error}");
            }
            world.put_bytes(file, good);
        }
        assert_eq!(restored(&world, &handle).unwrap(), content);
    }
}

/// X4: a restore finds every changed byte of a checkpoint, names file and position, and uses no damaged row.
/// Rows that a later file replaces are not necessarily read.
pub fn x04_every_changed_byte_is_found<F: Factory>() {
    damage_every_file::<F>(|good| {
        let flip = |at: usize| {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1 << (at % 8);
            (format!("the change of byte {at}"), bytes)
        };
        places(good.len()).into_iter().map(flip).collect()
    });
}

/// X5: a restore finds a checkpoint that was truncated at any position, or extended.
pub fn x05_every_truncation_is_found<F: Factory>() {
    damage_every_file::<F>(|good| {
        let cut = |at: usize| (format!("the end at byte {at}"), good[..at].to_vec());
        let longer = |more: &[u8]| (format!("{} bytes more", more.len()), [good, more].concat());
        places(good.len()).into_iter().map(cut).chain([longer(&[0]), longer(good)]).collect()
    });
}

/// X6: a missing file is a not-found error with its path.
pub fn x06_a_missing_file_is_not_found<F: Factory>() {
    let Some(world) = World::<F>::in_files(Setup::default()) else { return };
    let (mut backend, ..) = filled(&world);
    let handle = world.checkpoint(&mut backend);
    let Some(entry) = world.files().into_iter().next() else { return skip("no file was made") };
    world.storage().unwrap().delete(&entry.path).unwrap();
    let error = restored(&world, &handle).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.file(), Some(&*entry.path));
    let _ = content_of(&mut backend);
}

/// A job's knowledge of its checkpoints when the power fails.
#[derive(Default)]
struct Known {
    /// The state at each checkpoint that was started, by id.
    contents: BTreeMap<u64, Content>,
    /// The last checkpoint that was reported complete to the job.
    completed: u64,
}

/// Runs a job of some checkpoints, with one retained, from the last one in the storage. Stops at the first
/// error.
fn job<F: Factory>(world: &World<F>, known: &mut Known, rounds: i32) -> Result<()> {
    let mut store = world.try_store(1)?;
    let latest = store.latest().and_then(|checkpoint| checkpoint.handles().next()).cloned();
    let mut backend = world.try_open::<i32>(single(10), latest.as_slice())?;
    let kinds = Kinds::register(&mut backend)?;
    let mut content = kinds.read(&mut backend);
    if let Some(handle) = &latest {
        let id = handle.checkpoint_id;
        assert!(id >= known.completed, "checkpoint {id} was restored, and {} was complete", known.completed);
        assert_eq!(known.contents.get(&id), Some(&content), "checkpoint {id}");
    } else {
        assert_eq!(known.completed, 0, "the complete checkpoint was not found");
    }
    for _ in 0..rounds {
        let request = world.request();
        kinds.change(&mut backend, &mut content, request.checkpoint_id() as i32);
        known.contents.insert(request.checkpoint_id(), content.clone());
        let handle = backend.snapshot(request.clone())?.run()?.expect("there is state");
        store.complete(checkpoint_of([handle]))?;
        known.completed = request.checkpoint_id();
        backend.notify_complete(request.checkpoint_id())?;
    }
    let orphans = store.orphans()?;
    assert!(orphans.is_empty(), "left over: {orphans:?}");
    Ok(())
}

/// Lets a job crash at the first call of the storage, then `step` calls later, and so on, until it ends
/// without a crash. Calls `rebooted` after each crash.
fn crash_everywhere<F: Factory>(step: usize, rebooted: impl Fn(&World<F>, &mut Known, &str)) {
    let claiming = Setup { incremental: Some(true), claim_restored: Some(true), ..Setup::default() };
    let lacks = F::new().capabilities().lacking(&claiming);
    for setup in [Some(Setup::default()), lacks.is_none().then_some(claiming)].into_iter().flatten() {
        for nth in (1..).step_by(step) {
            let Some((world, storage)) = in_memory::<F, _>(setup.clone(), CrashingStorage::new) else {
                return;
            };
            let mut known = Known::default();
            job(&world, &mut known, 2).expect("a job that nothing disturbs");
            storage.crash(nth, nth);
            let ended = job(&world, &mut known, 3);
            if !storage.reboot().expect("the storage within is well") {
                ended.expect("a job that nothing disturbs");
                break;
            }
            rebooted(&world, &mut known, &format!("a crash at call {nth} with {setup:?}"));
        }
    }
}

/// X7: after a crash at any call of the storage, with partial writes and undone deletions, the last complete
/// checkpoint or a newer one restores exactly, and the job continues.
pub fn x07_after_a_crash_at_any_call_the_last_checkpoint_is_whole<F: Factory>() {
    crash_everywhere::<F>(1, |world, known, what| {
        job(world, known, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
    });
}

/// X8: after such a crash (here at every third call) and one more checkpoint, the storage has only the files
/// of that checkpoint, and no unfinished ones.
pub fn x08_after_a_crash_nothing_is_left_over<F: Factory>() {
    crash_everywhere::<F>(3, |world, known, what| {
        job(world, known, 1).unwrap_or_else(|error| panic!("{what}: {error}"));
        let unfinished = world.storage().expect("the one that crashed").sweep("").expect("it is well again");
        assert_eq!(unfinished, 0, "{what}: files that nobody finished are left");
        let store = world.store(1);
        let handles: Vec<_> = store.checkpoints().flat_map(|checkpoint| checkpoint.handles()).collect();
        let named = handles.iter().flat_map(|handle| &handle.files).filter_map(|file| match &file.data {
            StateData::File { path, .. } => Some(path.clone()),
            StateData::Inline(_) => None,
        });
        let mut expected: Vec<_> = named.chain([world.job().metadata(known.completed)]).collect();
        expected.sort();
        expected.dedup();
        let files: Vec<_> = world.files().into_iter().map(|entry| entry.path).collect();
        assert_eq!(files, expected, "{what}");
    });
}

/// X9: a process killed at any moment leaves its last complete checkpoint or a newer one intact, also at
/// another parallelism, and nothing else. The next process continues.
pub fn x09_a_killed_process_loses_no_complete_checkpoint<F: Factory>() {
    killing::check::<F>();
}
