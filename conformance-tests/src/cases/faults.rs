//! Storages that fail and bytes that are not what was written: no case of Flink's list, and what all of them rest on.

use backend_api::{ErrorKind, KeyedStateHandle, Result, StateBackend};

use crate::access::kind;
use crate::kinds::{Content, Kinds, content_of};
use crate::storage::{FailingStorage, Faults};
use crate::{Factory, Setup, World, single, skip};

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
        }
    };
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

/// Lets the checkpoints of one backend fail at the first call of the storage, the second, and so on, until one does
/// not; `failed` is called after each that did.
fn fail_checkpoints<F: Factory>(faults: Faults, failed: impl Fn(&World<F>, usize, &str)) {
    let Some((world, storage)) = World::<F>::over(Setup::default(), FailingStorage::new) else { return };
    let (mut backend, kinds, mut content) = filled(&world);
    for nth in 1.. {
        let before = world.files();
        storage.fail(nth, faults);
        let request = world.request();
        let written = backend.snapshot(request).and_then(|task| task.run());
        if storage.heal() == 0 {
            assert!(nth > 1, "the storage was not asked for anything");
            assert_eq!(restored(&world, &written.unwrap().unwrap()).unwrap(), content);
            return;
        }
        let error = written.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        failed(&world, before.len(), &error.to_string());
        backend.notify_aborted(request.checkpoint_id()).unwrap();
        // The backend goes on, and the next checkpoint is whole.
        kinds.change(&mut backend, &mut content, nth as i32);
        let handle = world.checkpoint(&mut backend);
        assert_eq!(restored(&world, &handle).unwrap(), content, "call {nth}");
    }
}

/// X1: whichever call of the storage fails, the checkpoint is the I/O error and leaves no file; the backend goes on,
/// and the next checkpoint is whole.
pub fn x01_a_checkpoint_that_fails_at_any_call_leaves_no_file<F: Factory>() {
    fail_checkpoints::<F>(Faults::Once, |world, before, fault| {
        assert_eq!(world.files().len(), before, "{fault}")
    });
}

/// X2: if the storage stays broken from some call on, there is no handle, and once it is well again the next
/// checkpoint is whole.
pub fn x02_a_storage_that_stays_broken_gives_no_handle<F: Factory>() {
    fail_checkpoints::<F>(Faults::FromThenOn, |_, _, _| {});
}

/// X3: whichever call of the storage fails, the restore is the I/O error and changes no file, and a second try
/// finds everything.
pub fn x03_a_restore_that_fails_at_any_call_changes_nothing<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), FailingStorage::new) else { return };
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

/// Restores a small checkpoint of each of which the bytes are damaged in the ways that `damages` gives, in the
/// handle or in a file.
fn damage_every_file<F: Factory>(damages: impl Fn(&[u8]) -> Vec<(String, Vec<u8>)>) {
    let mut worlds = vec![World::<F>::new()];
    if worlds[0].storage().is_some() {
        worlds.extend(World::in_files(Setup::default()));
    }
    for world in worlds {
        let mut backend = world.open::<i32>();
        let kinds = Kinds::register(&mut backend).unwrap();
        let mut content = Content::default();
        kinds.change(&mut backend, &mut content, 0);
        world.checkpoint(&mut backend);
        kinds.change(&mut backend, &mut content, 3);
        let handle = world.checkpoint(&mut backend);
        drop(backend);
        for (index, file) in handle.files.iter().enumerate() {
            let good = world.bytes(file);
            for (what, bytes) in damages(&good) {
                let mut damaged = handle.clone();
                damaged.files[index] = world.put_bytes(file, bytes);
                let Err(error) = restored(&world, &damaged) else {
                    panic!("{} of {} was not found", what, file.name);
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

/// X4: every byte of a checkpoint that is not what was written is found when it is restored, with the file and the
/// place, and no row of it is used.
pub fn x04_every_changed_byte_is_found<F: Factory>() {
    damage_every_file::<F>(|good| {
        let flip = |at: usize| {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1 << (at % 8);
            (format!("the change of byte {at}"), bytes)
        };
        (0..good.len()).map(flip).collect()
    });
}

/// X5: a checkpoint that is cut off anywhere, or goes on after its end, is found when it is restored.
pub fn x05_every_truncation_is_found<F: Factory>() {
    damage_every_file::<F>(|good| {
        let cut = |at: usize| (format!("the end at byte {at}"), good[..at].to_vec());
        let longer = |more: &[u8]| (format!("{} bytes more", more.len()), [good, more].concat());
        (0..good.len()).map(cut).chain([longer(&[0]), longer(good)]).collect()
    });
}

/// X6: a file that is gone is the not-found error, with its path.
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
