//! Isolation of snapshots: behaviours J132 to J144.

use std::thread;

use backend_api::{
    ErrorKind, ListDescriptor, MapDescriptor, SnapshotRequest, StateBackend, StateKind, ValueDescriptor,
    ValueState,
};

use crate::access::{Access, kind};
use crate::kinds::{Content, Kinds, content_of};
use crate::storage::{FailingStorage, GatedStorage};
use crate::{Factory, Setup, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! isolation_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* isolation
            j132_overwriting_before_the_task_runs_does_not_show
            j133_a_second_snapshot_does_not_wait_for_a_blocked_one
            j134_tasks_may_run_in_any_order
            j135_states_registered_between_snapshots_are_in_the_later_ones
            j136_overlapping_snapshots_have_their_own_times
            j137_changes_of_every_kind_after_a_snapshot_do_not_show
            j138_a_state_registered_after_a_snapshot_is_not_in_it
            j139_an_unregistered_restored_state_is_passed_on
            j140_without_states_there_is_no_handle
            j141_a_state_without_entries_is_known_after_a_restore
            j142_a_task_that_is_dropped_leaves_nothing
            j144_checkpoint_ids_must_increase
        }
    };
}

fn value() -> ValueDescriptor<i64> {
    ValueDescriptor::new("value")
}

/// J132: overwriting a value between a snapshot and its task changes only the live state.
pub fn j132_overwriting_before_the_task_runs_does_not_show<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for key in 0..=10 {
        backend.at(token, &key).set(i64::from(key)).unwrap();
    }
    let task = backend.snapshot(world.request()).unwrap();
    for key in 0..=20 {
        backend.at(token, &key).set(100 + i64::from(key)).unwrap();
    }
    let handle = task.run().unwrap().unwrap();
    for key in 0..=20 {
        assert_eq!(backend.at(token, &key).get().unwrap(), Some(100 + i64::from(key)));
    }
    let mut backend = world.restore::<i32>(&handle);
    let token = backend.register(value()).unwrap();
    for key in 0..=20 {
        let expected = (key <= 10).then_some(i64::from(key));
        assert_eq!(backend.at(token, &key).get().unwrap(), expected);
    }
}

/// J133: a snapshot that is blocked in its storage delays neither the next snapshot nor the backend. It
/// completes once it is released, with the state of its own time (J134).
pub fn j133_a_second_snapshot_does_not_wait_for_a_blocked_one<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), GatedStorage::new) else { return };
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let first_content = content.clone();
    storage.hold_next();
    let task = backend.snapshot(world.request()).unwrap();
    let running = thread::spawn(move || task.run());
    storage.wait_until_held();
    kinds.change(&mut backend, &mut content, 1);
    let second = world.snapshot(&mut backend);
    let second_content = content.clone();
    kinds.change(&mut backend, &mut content, 2);
    assert_eq!(storage.held(), 1);
    storage.release();
    let first = running.join().unwrap().unwrap().unwrap();
    assert_eq!(kinds.read(&mut backend), content);
    assert_eq!(content_of(&mut world.restore(&first)), first_content);
    assert_eq!(content_of(&mut world.restore(&second)), second_content);
}

/// J134: of two snapshots the second can run first, or both concurrently.
pub fn j134_tasks_may_run_in_any_order<F: Factory>() {
    for at_once in [false, true] {
        let world = World::<F>::new();
        let mut backend = world.open::<i32>();
        let kinds = Kinds::register(&mut backend).unwrap();
        let (mut content, mut tasks, mut contents) = (Content::default(), Vec::new(), Vec::new());
        for round in 0..2 {
            kinds.change(&mut backend, &mut content, round);
            tasks.push(backend.snapshot(world.request()).unwrap());
            contents.push(content.clone());
        }
        let handles: Vec<_> = if at_once {
            let running: Vec<_> = tasks.into_iter().map(|task| thread::spawn(|| task.run())).collect();
            running.into_iter().map(|thread| thread.join().unwrap().unwrap().unwrap()).collect()
        } else {
            let mut handles: Vec<_> =
                tasks.into_iter().rev().map(|task| task.run().unwrap().unwrap()).collect();
            handles.reverse();
            handles
        };
        for (handle, content) in handles.iter().zip(contents) {
            assert_eq!(content_of(&mut world.restore(handle)), content);
        }
    }
}

/// J135: with a state registered before each of ten snapshots, each snapshot has exactly the states of its
/// time.
pub fn j135_states_registered_between_snapshots_are_in_the_later_ones<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let name = |i: i64| format!("state-{i}");
    let mut running = Vec::new();
    for i in 0..10 {
        let token = backend.register(ValueDescriptor::<i64>::new(name(i))).unwrap();
        backend.at(token, &1).set(i).unwrap();
        let task = backend.snapshot(world.request()).unwrap();
        running.push(thread::spawn(|| task.run()));
    }
    for (last, thread) in (0..).zip(running) {
        let handle = thread.join().unwrap().unwrap().unwrap();
        let mut backend = world.restore::<i32>(&handle);
        assert_eq!(backend.state_names(), (0..=last).map(name).collect::<Vec<_>>());
        for i in 0..=last {
            let token = backend.register(ValueDescriptor::<i64>::new(name(i))).unwrap();
            assert_eq!(backend.at(token, &1).get().unwrap(), Some(i));
        }
    }
}

/// J136: each of five snapshots that are taken before the first one runs has the state of its own time.
pub fn j136_overlapping_snapshots_have_their_own_times<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    let mut taken = Vec::new();
    for round in 0..5 {
        kinds.change(&mut backend, &mut content, round);
        taken.push((backend.snapshot(world.request()).unwrap(), content.clone()));
    }
    kinds.change(&mut backend, &mut content, 5);
    // Starts with the middle one.
    taken.swap(0, 2);
    for (task, content) in taken {
        let handle = task.run().unwrap().unwrap();
        assert_eq!(content_of(&mut world.restore(&handle)), content);
    }
    assert_eq!(kinds.read(&mut backend), content);
}

/// J137: writing, changing and clearing any kind of state after a snapshot does not change it, also in a
/// restored backend, round after round.
pub fn j137_changes_of_every_kind_after_a_snapshot_do_not_show<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let mut content = Content::default();
    for round in 0..6 {
        let kinds = Kinds::register(&mut backend).unwrap();
        kinds.change(&mut backend, &mut content, round);
        let task = backend.snapshot(world.request()).unwrap();
        let before = content.clone();
        kinds.change(&mut backend, &mut content, round + 1);
        let handle = task.run().unwrap().unwrap();
        backend.notify_complete(handle.checkpoint_id).unwrap();
        assert_eq!(kinds.read(&mut backend), content);
        assert_eq!(content_of(&mut world.restore(&handle)), before, "round {round}");
        if round % 2 == 1 {
            backend = world.reopen(backend);
        }
    }
}

/// J138: a state registered after a snapshot is not in it, nor are its entries.
pub fn j138_a_state_registered_after_a_snapshot_is_not_in_it<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let task = backend.snapshot(world.request()).unwrap();
    let late = backend.register(ValueDescriptor::<i64>::new("late")).unwrap();
    backend.at(late, &1).set(2).unwrap();
    let handle = task.run().unwrap().unwrap();
    assert_eq!(world.restore::<i32>(&handle).state_names(), ["value"]);
    let next = world.checkpoint(&mut backend);
    assert_eq!(world.restore::<i32>(&next).state_names(), ["late", "value"]);
}

/// J139: a restored state that is never registered is complete in later checkpoints, beside states that
/// change.
pub fn j139_an_unregistered_restored_state_is_passed_on<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    kinds.change(&mut backend, &mut content, 1);
    for generation in 0..3 {
        backend = world.reopen(backend);
        let other = backend.register(ValueDescriptor::<i64>::new("other")).unwrap();
        backend.at(other, &1).set(generation).unwrap();
        let infos = backend.states();
        assert_eq!(infos.len(), 1 + Kinds::ALL.len());
        assert!(infos.iter().all(|info| info.registered == (info.name == "other")), "{infos:?}");
        // Twice, so that the second one can build on the first.
        world.checkpoint(&mut backend);
        backend.at(other, &2).set(generation).unwrap();
    }
    let mut backend = world.reopen(backend);
    assert_eq!(content_of(&mut backend), content);
    let other = backend.register(ValueDescriptor::<i64>::new("other")).unwrap();
    assert_eq!(backend.at(other, &2).get().unwrap(), Some(2));
}

/// J140: a backend without states returns no handle and writes no file. Without handles a backend starts
/// empty.
pub fn j140_without_states_there_is_no_handle<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    assert!(world.try_snapshot(&mut backend).unwrap().is_none());
    assert!(world.files().is_empty());
    assert!(backend.states().is_empty());
    assert!(world.open::<i32>().states().is_empty());
}

/// J141: a state without entries is known after a restore, even if it was registered between two checkpoints,
/// and other types or kinds are refused.
pub fn j141_a_state_without_entries_is_known_after_a_restore<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    backend.register(value()).unwrap();
    world.checkpoint(&mut backend);
    backend.register(MapDescriptor::<i32, i64>::new("map")).unwrap();
    let mut backend = world.reopen(backend);
    let mut infos = backend.states();
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = infos.iter().map(|info| (info.name.as_str(), info.kind, info.registered)).collect();
    assert_eq!(found, [("map", StateKind::Map, false), ("value", StateKind::Value, false)]);
    assert!(infos.iter().all(|info| info.entries.is_none_or(|entries| entries == 0)), "{infos:?}");
    let as_list = backend.register(ListDescriptor::<i64>::new("value"));
    assert_eq!(kind(as_list), ErrorKind::IncompatibleKind);
    let as_text = backend.register(ValueDescriptor::<String>::new("value"));
    assert_eq!(kind(as_text), ErrorKind::Migration);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert_eq!(backend.entries("value", token), 0);
}

/// J142: a dropped task has written no file and not used the storage. The backend continues, and the next
/// checkpoint includes its changes.
pub fn j142_a_task_that_is_dropped_leaves_nothing<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), FailingStorage::new) else { return };
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let calls = storage.calls();
    let task = backend.snapshot(world.request()).unwrap();
    let id = task.checkpoint_id();
    drop(task);
    assert_eq!(storage.calls(), calls);
    assert!(world.files().is_empty());
    backend.notify_aborted(id).unwrap();
    kinds.change(&mut backend, &mut content, 1);
    let handle = world.checkpoint(&mut backend);
    assert_eq!(content_of(&mut world.restore(&handle)), content);
}

/// J144: a checkpoint id that is not greater than all earlier ones is refused, and the backend continues.
pub fn j144_checkpoint_ids_must_increase<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    backend.snapshot(SnapshotRequest::new(5)).unwrap().run().unwrap();
    for id in [5, 4, 0] {
        assert_eq!(kind(backend.snapshot(SnapshotRequest::new(id))), ErrorKind::IllegalState, "{id}");
        assert_eq!(kind(backend.snapshot(SnapshotRequest::new(id).full())), ErrorKind::IllegalState);
    }
    let handle = backend.snapshot(SnapshotRequest::new(7)).unwrap().run().unwrap().unwrap();
    assert_eq!(handle.checkpoint_id, 7);
    let mut backend = world.restore::<i32>(&handle);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(1));
}
