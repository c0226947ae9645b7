//! Incremental checkpoints and shared files: behaviours L161 to L186.

use std::collections::BTreeSet;
use std::sync::Arc;

use backend_api::row::FORMAT;
use backend_api::{
    Checkpoint, ErrorKind, KeyedStateHandle, SnapshotRequest, StateBackend, StateData, ValueDescriptor,
    ValueState, ValueToken,
};
use coordinator::{CheckpointStore, SharedStateRegistry};

use crate::access::{Access, kind};
use crate::kinds::{Content, Kinds, content_of};
use crate::storage::{FailingStorage, Faults};
use crate::{Factory, Setup, World, checkpoint_of, single, skip};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! incremental_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* incremental
            l161_the_first_checkpoint_and_a_full_one_need_no_other
            l162_a_checkpoint_of_few_changes_is_small_and_refers_to_files
            l163_an_unconfirmed_checkpoint_is_not_built_on
            l164_an_aborted_checkpoint_is_not_built_on_and_loses_nothing
            l165_a_late_or_unknown_confirmation_changes_nothing
            l165b_confirming_a_checkpoint_that_was_not_written_changes_nothing
            l166_files_live_as_long_as_checkpoints_need_them
            l167_an_unregistered_handle_discards_its_own_files
            l170_overlapping_checkpoints_build_on_the_confirmed_one
            l170b_an_overlapping_checkpoint_completes_after_its_base_is_subsumed
            l171_removed_entries_do_not_return
            l171b_entries_removed_before_any_checkpoint_do_not_return
            l174_a_recovered_store_deletes_each_file_once
            l176_a_chain_restores_at_another_parallelism
            l177_a_claimed_checkpoint_lives_until_nothing_needs_it
            l178_an_unclaimed_checkpoint_is_not_built_on
            l179_a_failed_upload_leaves_nothing_and_loses_nothing
            l180_a_hundred_checkpoints_leave_the_files_of_the_last
            l181_an_increment_in_the_handle_makes_no_file
            l182_sizes_tell_what_was_written_and_what_is_needed
            l183_a_lost_confirmation_does_not_end_checkpointing
            l184_an_increment_is_not_larger_than_a_full_checkpoint
            l185_small_increments_do_not_accumulate_in_the_handle
            l186_a_lost_confirmation_does_no_harm
        }
    };
}

/// A world of incremental checkpoints in files.
fn world<F: Factory>() -> Option<World<F>> {
    World::in_files(Setup { incremental: Some(true), ..Setup::default() })
}

fn value() -> ValueDescriptor<i64> {
    ValueDescriptor::new("value")
}

/// Writes `number` to each of `keys`.
fn write<B: StateBackend<Key = i32>>(
    backend: &mut B,
    token: ValueToken<i64>,
    keys: impl IntoIterator<Item = i32>,
    number: i64,
) {
    for key in keys {
        backend.at(token, &key).set(number).unwrap();
    }
}

/// Asserts that the handle restores `number` at each of `keys`.
fn assert_restores<F: Factory>(
    world: &World<F>,
    handle: &KeyedStateHandle,
    keys: impl IntoIterator<Item = i32>,
    number: i64,
) {
    let mut backend = world.restore::<i32>(handle);
    let token = backend.register(value()).unwrap();
    for key in keys {
        assert_eq!(backend.at(token, &key).get().unwrap(), Some(number), "key {key}");
    }
}

/// The checkpoints that wrote the files of a handle.
fn writers(handle: &KeyedStateHandle) -> BTreeSet<u64> {
    handle.files.iter().map(|file| file.created_by).collect()
}

/// The files of a handle.
fn paths(handle: &KeyedStateHandle) -> BTreeSet<String> {
    let path = |data: &StateData| match data {
        StateData::File { path, .. } => Some(path.clone()),
        StateData::Inline(_) => None,
    };
    handle.files.iter().filter_map(|file| path(&file.data)).collect()
}

/// The files of the storage, without metadata.
fn stored<F: Factory>(world: &World<F>) -> BTreeSet<String> {
    let paths = world.files().into_iter().map(|entry| entry.path);
    paths.filter(|path| !path.ends_with("/_metadata")).collect()
}

/// L161: the first checkpoint and a full one refer to no earlier checkpoint. The one after a full one may.
pub fn l161_the_first_checkpoint_and_a_full_one_need_no_other<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let first = world.checkpoint(&mut backend);
    assert_eq!(writers(&first), BTreeSet::from([first.checkpoint_id]));
    write(&mut backend, token, 0..3, 2);
    let full = backend.snapshot(world.request().full()).unwrap().run().unwrap().unwrap();
    assert_eq!(writers(&full), BTreeSet::from([full.checkpoint_id]));
    assert_restores(&world, &full, 0..3, 2);
    assert_restores(&world, &full, 3..1000, 1);
}

/// L162: a checkpoint with few changes writes few bytes, and refers to unchanged files of the confirmed one.
pub fn l162_a_checkpoint_of_few_changes_is_small_and_refers_to_files<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..5000, 1);
    let first = world.checkpoint(&mut backend);
    write(&mut backend, token, 0..10, 2);
    let second = world.checkpoint(&mut backend);
    assert!(second.delta_size() * 10 < second.full_size(), "{second:?}");
    assert!(second.files.iter().any(|file| first.files.contains(file)), "{second:?}");
    assert_restores(&world, &second, 0..10, 2);
    assert_restores(&world, &second, 10..5000, 1);
}

/// L163: a checkpoint that is not confirmed is not built on. The next one has all its changes.
pub fn l163_an_unconfirmed_checkpoint_is_not_built_on<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..100, 1);
    let first = world.snapshot(&mut backend);
    write(&mut backend, token, 0..10, 2);
    let second = world.snapshot(&mut backend);
    assert!(!writers(&second).contains(&first.checkpoint_id));
    first.discard(&*world.storage().unwrap()).unwrap();
    assert_restores(&world, &second, 0..10, 2);
    assert_restores(&world, &second, 10..100, 1);
}

/// L164: the checkpoint after an aborted one builds on the last confirmed one, includes the changes of the
/// aborted one, and uses none of its files.
pub fn l164_an_aborted_checkpoint_is_not_built_on_and_loses_nothing<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let first = world.checkpoint(&mut backend);
    write(&mut backend, token, 0..20, 2);
    backend.at(token, &999).clear().unwrap();
    let second = world.snapshot(&mut backend);
    backend.notify_aborted(second.checkpoint_id).unwrap();
    write(&mut backend, token, 0..10, 3);
    let third = world.checkpoint(&mut backend);
    assert_eq!(writers(&third), BTreeSet::from([first.checkpoint_id, third.checkpoint_id]));
    second.discard(&*world.storage().unwrap()).unwrap();
    assert_restores(&world, &first, 0..1000, 1);
    assert_restores(&world, &third, 0..10, 3);
    assert_restores(&world, &third, 10..20, 2);
    assert_restores(&world, &third, 20..999, 1);
    let mut restored = world.restore::<i32>(&third);
    let token = restored.register(value()).unwrap();
    assert_eq!(restored.entries("value", token), 999);
}

/// L165: confirming or aborting a checkpoint that is older than the confirmed one, or unknown, does not
/// change what the next one builds on.
pub fn l165_a_late_or_unknown_confirmation_changes_nothing<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let first = world.snapshot(&mut backend);
    write(&mut backend, token, 0..10, 2);
    let second = world.snapshot(&mut backend);
    backend.notify_complete(second.checkpoint_id).unwrap();
    backend.notify_complete(first.checkpoint_id).unwrap();
    backend.notify_complete(900).unwrap();
    backend.notify_aborted(first.checkpoint_id).unwrap();
    backend.notify_aborted(901).unwrap();
    first.discard(&*world.storage().unwrap()).unwrap();
    write(&mut backend, token, 0..5, 3);
    let third = world.checkpoint(&mut backend);
    assert_eq!(writers(&third), BTreeSet::from([second.checkpoint_id, third.checkpoint_id]));
    assert_restores(&world, &third, 0..5, 3);
    assert_restores(&world, &third, 5..10, 2);
    assert_restores(&world, &third, 10..1000, 1);
}

/// L165: confirming a checkpoint whose task was dropped, failed or cancelled does not change what the next
/// one builds on. The next one includes its changes.
pub fn l165b_confirming_a_checkpoint_that_was_not_written_changes_nothing<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    world.checkpoint(&mut backend);
    write(&mut backend, token, 0..10, 2);
    let dropped = world.request();
    drop(backend.snapshot(dropped.clone()).unwrap());
    backend.notify_complete(dropped.checkpoint_id()).unwrap();
    backend.at(token, &10).clear().unwrap();
    let cancelled = world.request();
    let task = backend.snapshot(cancelled.clone()).unwrap();
    task.cancel_token().cancel();
    assert_eq!(kind(task.run()), ErrorKind::Cancelled);
    backend.notify_complete(cancelled.checkpoint_id()).unwrap();
    write(&mut backend, token, 20..25, 3);
    let last = world.checkpoint(&mut backend);
    assert_restores(&world, &last, 0..10, 2);
    assert_restores(&world, &last, 11..20, 1);
    assert_restores(&world, &last, 20..25, 3);
    let mut restored = world.restore::<i32>(&last);
    let token = restored.register(value()).unwrap();
    assert_eq!(restored.at(token, &10).get().unwrap(), None);
}

/// L166: deleting one of several checkpoints that share files does not harm the others. Deleting the last one
/// leaves no file.
pub fn l166_files_live_as_long_as_checkpoints_need_them<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let storage = world.storage().unwrap();
    let mut registry = SharedStateRegistry::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    let mut handles = Vec::new();
    for number in 1..=3 {
        write(&mut backend, token, 0..(4 - number) * 100, i64::from(number));
        let handle = world.checkpoint(&mut backend);
        registry.register(handle.checkpoint_id, &handle.files).unwrap();
        handles.push(handle);
    }
    let mut gone = |handle: &KeyedStateHandle| {
        for path in registry.release(handle.checkpoint_id) {
            storage.delete(&path).unwrap();
        }
        storage.delete_folder(&world.job().checkpoint(handle.checkpoint_id)).unwrap();
    };
    gone(&handles[0]);
    for handle in &handles[1..] {
        assert_restores(&world, handle, 200..300, 1);
    }
    gone(&handles[2]);
    assert_restores(&world, &handles[1], 0..200, 2);
    gone(&handles[1]);
    assert_eq!(stored(&world), BTreeSet::new());
}

/// L167: a handle that no checkpoint took over discards all files that it wrote, including shared ones, and
/// no others.
pub fn l167_an_unregistered_handle_discards_its_own_files<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let storage = world.storage().unwrap();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..100, 1);
    let first = world.checkpoint(&mut backend);
    let before = stored(&world);
    write(&mut backend, token, 0..10, 2);
    let second = world.snapshot(&mut backend);
    assert!(stored(&world).len() > before.len());
    second.discard(&*storage).unwrap();
    second.discard(&*storage).unwrap();
    assert_eq!(stored(&world), before);
    first.discard(&*storage).unwrap();
    assert_eq!(stored(&world), BTreeSet::new());
}

/// L170: several concurrent checkpoints build on the one that was confirmed before them, and each can be
/// confirmed or aborted independently.
pub fn l170_overlapping_checkpoints_build_on_the_confirmed_one<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let base = world.checkpoint(&mut backend);
    let mut taken = Vec::new();
    for round in 1..4 {
        kinds.change(&mut backend, &mut content, round);
        taken.push((backend.snapshot(world.request()).unwrap(), content.clone()));
    }
    let mut handles = Vec::new();
    for (task, content) in taken {
        let handle = task.run().unwrap().unwrap();
        let allowed = BTreeSet::from([base.checkpoint_id, handle.checkpoint_id]);
        assert!(writers(&handle).is_subset(&allowed), "{handle:?}");
        handles.push((handle, content));
    }
    backend.notify_aborted(handles[2].0.checkpoint_id).unwrap();
    backend.notify_complete(handles[0].0.checkpoint_id).unwrap();
    backend.notify_aborted(handles[1].0.checkpoint_id).unwrap();
    kinds.change(&mut backend, &mut content, 4);
    handles.push((world.checkpoint(&mut backend), content));
    for (handle, content) in handles {
        assert_eq!(content_of(&mut world.restore(&handle)), content);
    }
}

/// L170b: a checkpoint whose base is subsumed while it runs completes and restores. Afterwards no file of the
/// subsumed one is left.
pub fn l170b_an_overlapping_checkpoint_completes_after_its_base_is_subsumed<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut store = world.store(1);
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    let mut begun = Vec::new();
    for round in 0..6 {
        kinds.change(&mut backend, &mut content, round);
        let id = store.begin().unwrap();
        let handle = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap().unwrap();
        begun.push((id, handle));
        // Two checkpoints run at a time: each is completed and confirmed after the next one has started.
        if begun.len() == 2 {
            let (id, handle) = begun.remove(0);
            store.complete(checkpoint_of([handle])).unwrap();
            backend.notify_complete(id).unwrap();
            let latest = store.latest().unwrap().handles().next().unwrap().clone();
            drop(world.restore::<i32>(&latest));
        }
    }
    let (_, last) = begun.remove(0);
    store.complete(checkpoint_of([last.clone()])).unwrap();
    assert_eq!(content_of(&mut world.restore(&last)), content);
    assert_eq!(stored(&world), paths(&last));
}

/// L171: entries removed between two checkpoints are absent from the later ones, unless they were written
/// again.
pub fn l171_removed_entries_do_not_return<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..30, 1);
    world.checkpoint(&mut backend);
    for key in 0..20 {
        backend.at(token, &key).clear().unwrap();
    }
    world.checkpoint(&mut backend);
    write(&mut backend, token, 0..10, 2);
    let third = world.checkpoint(&mut backend);
    for key in 25..30 {
        backend.at(token, &key).clear().unwrap();
        backend.at(token, &key).set(3).unwrap();
        backend.at(token, &key).clear().unwrap();
    }
    let fourth = world.checkpoint(&mut backend);
    for (handle, keys) in [(third, (0..10).chain(20..30)), (fourth, (0..10).chain(20..25))] {
        let mut backend = world.restore::<i32>(&handle);
        let token = backend.register(value()).unwrap();
        assert_eq!(backend.sorted_keys(token), keys.collect::<Vec<_>>());
    }
}

/// L171: this holds for a removal before any checkpoint of a long sequence, including one that is due to
/// rewrite many files in full.
pub fn l171b_entries_removed_before_any_checkpoint_do_not_return<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for round in 1..=60 {
        // Every third round, so that rewrites are not always at even numbers of files.
        let number = (round % 3 != 0).then_some(round);
        for key in 0..80 {
            backend.at(token, &key).update(|value| *value = number).unwrap();
        }
        let handle = world.checkpoint(&mut backend);
        let mut restored = world.restore::<i32>(&handle);
        let token = restored.register(value()).unwrap();
        let found: Vec<_> = (0..80).map(|key| restored.at(token, &key).get().unwrap()).collect();
        assert_eq!(found, vec![number; 80], "round {round}");
    }
}

/// L174: a store reopened over the retained checkpoints deletes each file once, with its last user.
pub fn l174_a_recovered_store_deletes_each_file_once<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut store = world.store(3);
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for number in 1..=3 {
        write(&mut backend, token, 0..(4 - number) * 100, i64::from(number));
        world.complete(&mut store, &mut backend);
    }
    drop((store, backend));
    let before = world.files();
    let mut store = world.store(3);
    assert_eq!(world.files(), before);
    let latest = store.latest().unwrap().handles().next().unwrap().clone();
    let mut backend = world.restore::<i32>(&latest);
    let token = backend.register(value()).unwrap();
    for number in 4..=6 {
        assert_restores(&world, &latest, 200..300, 1);
        write(&mut backend, token, 0..300, number);
        world.complete(&mut store, &mut backend);
    }
    let live: BTreeSet<String> = store.checkpoints().flat_map(Checkpoint::handles).flat_map(paths).collect();
    assert_eq!(stored(&world), live);
    assert!(store.orphans().unwrap().is_empty());
}

/// L176: a chain of increments restores completely at another parallelism.
pub fn l176_a_chain_restores_at_another_parallelism<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    let mut handle = None;
    for round in 0..6 {
        kinds.change(&mut backend, &mut content, round);
        handle = Some(world.checkpoint(&mut backend));
    }
    let checkpoint = checkpoint_of(handle);
    let mut found = Content::default();
    for index in 0..3 {
        let subtask = crate::part::<i32>(10, 3, index);
        let handles = checkpoint.handles_for(crate::OPERATOR, subtask.range()).unwrap();
        found.join(content_of(&mut world.try_open(subtask, &handles).unwrap()));
    }
    assert_eq!(found, content);
}

/// L177: a claimed checkpoint is built on after the restore. Its files stay as long as a checkpoint names
/// them, even if it is no longer retained, and are deleted afterwards.
pub fn l177_a_claimed_checkpoint_lives_until_nothing_needs_it<F: Factory>() {
    let setup = Setup { incremental: Some(true), claim_restored: Some(true), ..Setup::default() };
    let Some(world) = World::<F>::in_files(setup) else { return };
    let mut store = world.store(1);
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let old = world.complete(&mut store, &mut backend);
    drop((store, backend));
    let mut store = world.store(1);
    let mut backend = world.restore::<i32>(&old);
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..10, 2);
    let first = world.complete(&mut store, &mut backend);
    assert_eq!(writers(&first), BTreeSet::from([old.checkpoint_id, first.checkpoint_id]));
    assert_eq!(stored(&world), paths(&first));
    assert_restores(&world, &first, 0..10, 2);
    assert_restores(&world, &first, 10..1000, 1);
    let last = backend.snapshot(world.request().full()).unwrap().run().unwrap().unwrap();
    store.complete(checkpoint_of([last.clone()])).unwrap();
    assert!(paths(&old).is_disjoint(&stored(&world)));
    assert_restores(&world, &last, 0..10, 2);
    assert_restores(&world, &last, 10..1000, 1);
}

/// L178: an unclaimed checkpoint is not built on after the restore, so it can be deleted at once. Later
/// checkpoints build on the first new one.
pub fn l178_an_unclaimed_checkpoint_is_not_built_on<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let old = world.checkpoint(&mut backend);
    let mut backend = world.restore::<i32>(&old);
    old.discard(&*world.storage().unwrap()).unwrap();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..10, 2);
    let first = world.checkpoint(&mut backend);
    assert_eq!(writers(&first), BTreeSet::from([first.checkpoint_id]));
    assert_restores(&world, &first, 0..10, 2);
    assert_restores(&world, &first, 10..1000, 1);
    write(&mut backend, token, 0..5, 3);
    let second = world.checkpoint(&mut backend);
    assert_eq!(writers(&second), BTreeSet::from([first.checkpoint_id, second.checkpoint_id]));
    assert_restores(&world, &second, 0..5, 3);
    assert_restores(&world, &second, 10..1000, 1);
}

/// L179: a failed upload leaves no files. The next checkpoint has all its changes, on the same base.
pub fn l179_a_failed_upload_leaves_nothing_and_loses_nothing<F: Factory>() {
    let setup = Setup { incremental: Some(true), ..Setup::default() };
    let Some((world, storage)) = World::<F>::over(setup, FailingStorage::new) else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let first = world.checkpoint(&mut backend);
    let before = world.files();
    for nth in 1.. {
        let number = nth as i64 + 1;
        write(&mut backend, token, [nth as i32], number);
        storage.fail(nth, Faults::Once);
        let written = world.try_snapshot(&mut backend);
        if storage.heal() == 0 {
            assert!(nth > 1, "the storage was not asked for anything");
            let handle = written.unwrap().unwrap();
            assert_eq!(writers(&handle), BTreeSet::from([first.checkpoint_id, handle.checkpoint_id]));
            for earlier in 1..=nth {
                assert_restores(&world, &handle, [earlier as i32], earlier as i64 + 1);
            }
            return;
        }
        assert_eq!(kind(written), ErrorKind::Io);
        assert_eq!(world.files(), before, "call {nth}");
    }
}

/// L180: a hundred checkpoints of overwrites, with one retained, leave only the files of the last one, which
/// are few.
pub fn l180_a_hundred_checkpoints_leave_the_files_of_the_last<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut store: CheckpointStore = world.store(1);
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 0);
    let mut last = world.complete(&mut store, &mut backend);
    let full = last.full_size();
    for number in 1..=100 {
        write(&mut backend, token, 0..100, number);
        last = world.complete(&mut store, &mut backend);
        assert_eq!(stored(&world), paths(&last), "checkpoint {number}");
    }
    assert!(last.full_size() < full * 4, "{} bytes for a state of {full}", last.full_size());
    assert_restores(&world, &last, 0..100, 100);
    assert_restores(&world, &last, 100..1000, 0);
}

/// L181: an increment small enough for the handle writes no file, and it and the next increment restore.
pub fn l181_an_increment_in_the_handle_makes_no_file<F: Factory>() {
    let setup = Setup { incremental: Some(true), inline_max: Some(4096), ..Setup::default() };
    let Some(world) = World::<F>::with(setup) else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..5000, 1);
    world.checkpoint(&mut backend);
    let files = world.files();
    assert!(!files.is_empty());
    write(&mut backend, token, 0..3, 2);
    let second = world.checkpoint(&mut backend);
    write(&mut backend, token, 3..6, 2);
    let third = world.checkpoint(&mut backend);
    assert_eq!(world.files(), files);
    for (handle, changed) in [(second, 3), (third, 6)] {
        assert_ne!(handle.inline_size(), 0);
        assert_restores(&world, &handle, 0..changed, 2);
        assert_restores(&world, &handle, changed..5000, 1);
    }
}

/// L182: a handle reports the bytes that its checkpoint wrote and the bytes that a restore reads, which match
/// its files.
pub fn l182_sizes_tell_what_was_written_and_what_is_needed<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let storage: Arc<dyn backend_api::Storage> = world.storage().unwrap();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    let first = world.checkpoint(&mut backend);
    assert_eq!(first.delta_size(), first.full_size());
    write(&mut backend, token, 0..10, 2);
    let second = world.checkpoint(&mut backend);
    let lengths = |wanted: &dyn Fn(&str) -> bool| -> u64 {
        let entries = storage.list("").unwrap().into_iter();
        entries.filter(|entry| wanted(&entry.path)).map(|entry| entry.len).sum()
    };
    let needed = paths(&second);
    assert_eq!(second.full_size(), lengths(&|path| needed.contains(path)));
    let first_ones = paths(&first);
    let new = |path: &str| needed.contains(path) && !first_ones.contains(path);
    assert_eq!(second.delta_size(), lengths(&new));
    assert_eq!(second.inline_size(), 0);
}

/// L183: if the confirmation of a checkpoint is lost and its predecessor is deleted, the next checkpoints
/// cannot complete. After a few aborts one does, with everything.
pub fn l183_a_lost_confirmation_does_not_end_checkpointing<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let mut store = world.store(1);
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    write(&mut backend, token, 0..1000, 1);
    world.complete(&mut store, &mut backend);
    write(&mut backend, token, 0..10, 2);
    let full = backend.snapshot(world.request().full()).unwrap().run().unwrap().unwrap();
    store.complete(checkpoint_of([full])).unwrap();
    for attempt in 3..8 {
        write(&mut backend, token, 10..20, attempt);
        let handle = world.snapshot(&mut backend);
        match store.complete(checkpoint_of([handle.clone()])) {
            Ok(_) => {
                assert_restores(&world, &handle, 0..10, 2);
                assert_restores(&world, &handle, 10..20, attempt);
                return assert_restores(&world, &handle, 20..1000, 1);
            }
            Err(_) => backend.notify_aborted(handle.checkpoint_id).unwrap(),
        }
    }
    panic!("five checkpoints in a row could not be completed");
}

/// A change of a value state.
type Change<'c, B> = &'c dyn Fn(&mut B, ValueToken<i64>);

/// L184: an increment of rows is not larger than a full checkpoint of the same state: after many keys were
/// added and removed, after most or all were cleared, and after all were changed.
pub fn l184_an_increment_is_not_larger_than_a_full_checkpoint<F: Factory>() {
    let Some(world) = world::<F>() else { return };
    let sizes = |change: Change<'_, F::Backend<i32>>| {
        let [increment, full] = [false, true].map(|full| {
            let mut backend = world.open::<i32>();
            let token = backend.register(value()).unwrap();
            write(&mut backend, token, 0..1000, 1);
            world.checkpoint(&mut backend);
            change(&mut backend, token);
            let request = if full { world.request().full() } else { world.request() };
            backend.snapshot(request).unwrap().run().unwrap().unwrap()
        });
        (increment.format == FORMAT).then(|| (increment.delta_size(), full.delta_size()))
    };
    let clear = |backend: &mut F::Backend<i32>, token: ValueToken<i64>, keys: std::ops::Range<i32>| {
        keys.for_each(|key| backend.at(token, &key).clear().unwrap());
    };
    for (name, sizes) in [
        ("nothing", sizes(&|_, _| ())),
        (
            "came and went",
            sizes(&|backend, token| {
                write(backend, token, 1000..5000, 2);
                clear(backend, token, 1000..5000);
            }),
        ),
        ("most cleared", sizes(&|backend, token| clear(backend, token, 10..1000))),
        ("all cleared", sizes(&|backend, token| clear(backend, token, 0..1000))),
        ("all changed", sizes(&|backend, token| write(backend, token, 0..1000, 2))),
        (
            "half cleared, half changed",
            sizes(&|backend, token| {
                clear(backend, token, 0..500);
                write(backend, token, 500..1000, 2);
            }),
        ),
    ] {
        let Some((increment, full)) = sizes else { return skip("its increments are not made of rows") };
        assert!(increment <= full, "{name}: {increment} bytes, all of it has {full}");
    }
}

/// L185: any number of small increments leaves few bytes of state in the handle, and restores.
pub fn l185_small_increments_do_not_accumulate_in_the_handle<F: Factory>() {
    let setup = Setup { incremental: Some(true), inline_max: Some(20_480), ..Setup::default() };
    let Some(world) = World::<F>::with(setup) else { return };
    let mut backend = world.try_open(single(64), &[]).unwrap();
    let token = backend.register(ValueDescriptor::<String>::new("text")).unwrap();
    let text = |key: i32, round: usize| format!("{key} {round} {}", "x".repeat(9_000));
    for key in 0..256 {
        backend.at(token, &key).set(text(key, 0)).unwrap();
    }
    world.checkpoint(&mut backend);
    let mut rounds = [0; 256];
    let mut last = None;
    for round in 1..200 {
        let key = round * 7 % 256;
        rounds[key] = round;
        backend.at(token, &(key as i32)).set(text(key as i32, round)).unwrap();
        let handle = world.checkpoint(&mut backend);
        assert!(handle.inline_size() <= 1 << 20, "{} bytes in the handle", handle.inline_size());
        last = Some(handle);
    }
    let mut restored = world.restore::<i32>(&last.unwrap());
    let token = restored.register(ValueDescriptor::<String>::new("text")).unwrap();
    for (key, round) in (0..).zip(rounds) {
        assert!(restored.at(token, &key).get().unwrap() == Some(text(key, round)), "key {key}");
    }
}

/// L186: a backend that misses confirmations, incremental or full, completes checkpoints that restore, if the
/// requests name the last completed one.
pub fn l186_a_lost_confirmation_does_no_harm<F: Factory>() {
    for full_at in [1, 2, 4] {
        let Some(world) = world::<F>() else { return };
        let mut store = world.store(1);
        let mut backend = world.open::<i32>();
        let kinds = Kinds::register(&mut backend).unwrap();
        let mut content = Content::default();
        for round in 1..=6 {
            kinds.change(&mut backend, &mut content, round);
            let id = store.begin().unwrap();
            let latest = store.latest().map(|latest| latest.id);
            let request = SnapshotRequest::new(id);
            let request = match latest {
                Some(latest) => request.after(latest),
                None => request,
            };
            let request = if round == full_at { request.full() } else { request };
            let handle = backend.snapshot(request).unwrap().run().unwrap().unwrap();
            store.complete(checkpoint_of([handle.clone()])).unwrap();
            // Only the first one is confirmed.
            if round == 1 {
                backend.notify_complete(id).unwrap();
            }
            assert_eq!(content_of(&mut world.restore(&handle)), content, "round {round}");
        }
    }
}
