//! Tokens, closing and cancelling: behaviours P228 to P238.

use std::thread;

use backend_api::{
    AggregatingDescriptor, ErrorKind, ListDescriptor, MapDescriptor, ReducingDescriptor, SnapshotTask,
    StateBackend, ValueDescriptor, ValueState,
};

use crate::access::{Access, Opens, kind};
use crate::functions::Sum;
use crate::kinds::{Content, Kinds, content_of};
use crate::storage::{FailingStorage, GatedStorage};
use crate::{Factory, Setup, World, part, single};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! lifecycle_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* lifecycle
            p228_a_token_of_another_backend_is_refused
            p229_closing_ends_a_blocked_snapshot
            p230_cancelling_ends_a_blocked_snapshot_and_the_backend_goes_on
            p231_a_task_cancelled_before_it_ran_does_nothing
            p232_a_closed_backend_returns_closed
            p233_closing_empties_the_working_folder_and_leaves_checkpoints
            p234_closing_twice_and_after_a_failed_restore_is_no_error
            p235_dropping_is_closing
            p236_a_cancelled_snapshot_leaves_no_file
            p237_backends_of_one_operator_do_not_share_files
            p237b_a_late_attempt_does_not_touch_the_files_of_another
            p237c_a_task_that_outlives_its_backend_leaves_the_next_one_alone
            p238_a_backend_and_its_tokens_move_between_threads
        }
    };
}

fn value() -> ValueDescriptor<i64> {
    ValueDescriptor::new("value")
}

/// P228: a token of another backend is refused for every kind of state, even if that backend has a state of
/// the same name and type, and so is a token from before a restore.
pub fn p228_a_token_of_another_backend_is_refused<F: Factory>() {
    fn refused<B: StateBackend<Key = i32>, T: Opens<B, Namespace = ()>>(backend: &mut B, token: T) {
        let key = backend.key(&1).unwrap();
        assert_eq!(token.open(backend, key, &()).err().unwrap().kind(), ErrorKind::ForeignToken);
    }
    let world = World::<F>::new();
    let (mut ours, mut theirs) = (world.open::<i32>(), world.open::<i32>());
    let list = || ListDescriptor::<i64>::new("list");
    let map = || MapDescriptor::<i32, i64>::new("map");
    let sum = || ReducingDescriptor::new("sum", |a: &i64, b| a + b);
    let aggregate = || AggregatingDescriptor::new("aggregate", Sum::default());
    ours.register(value()).unwrap();
    ours.register(list()).unwrap();
    ours.register(map()).unwrap();
    ours.register(sum()).unwrap();
    ours.register(aggregate()).unwrap();
    let token = theirs.register(value()).unwrap();
    refused(&mut ours, token);
    refused(&mut ours, theirs.register(list()).unwrap());
    refused(&mut ours, theirs.register(map()).unwrap());
    refused(&mut ours, theirs.register(sum()).unwrap());
    refused(&mut ours, theirs.register(aggregate()).unwrap());
    theirs.at(token, &1).set(1).unwrap();
    let mut theirs = world.reopen(theirs);
    refused(&mut theirs, token);
    // A hint ignores wrong tokens.
    let key = theirs.key(&1).unwrap();
    theirs.prefetch(token, key, &());
    theirs.prefetch_batch(token, &[key; 40], &());
}

/// P229: closing a backend ends a snapshot that is blocked in its storage as cancelled, without a file.
pub fn p229_closing_ends_a_blocked_snapshot<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), GatedStorage::new) else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    storage.hold_next();
    let task = backend.snapshot(world.request()).unwrap();
    let running = thread::spawn(|| task.run());
    storage.wait_until_held();
    backend.close().unwrap();
    assert_eq!(kind(running.join().unwrap()), ErrorKind::Cancelled);
    assert!(world.files().is_empty());
}

/// P230: cancelling a snapshot that is blocked in its storage ends it. The backend continues, and the next
/// checkpoint is complete.
pub fn p230_cancelling_ends_a_blocked_snapshot_and_the_backend_goes_on<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), GatedStorage::new) else { return };
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    for round in 0..3 {
        kinds.change(&mut backend, &mut content, round);
        let before = world.files();
        storage.hold_next();
        let task = backend.snapshot(world.request()).unwrap();
        let (id, cancel) = (task.checkpoint_id(), task.cancel_token());
        let running = thread::spawn(|| task.run());
        storage.wait_until_held();
        cancel.cancel();
        assert_eq!(kind(running.join().unwrap()), ErrorKind::Cancelled);
        assert_eq!(world.files(), before);
        backend.notify_aborted(id).unwrap();
        let handle = world.checkpoint(&mut backend);
        assert_eq!(content_of(&mut world.restore(&handle)), content, "round {round}");
    }
}

/// P231: a task cancelled before it runs ends as cancelled and does not use the storage. The next checkpoint
/// includes its changes.
pub fn p231_a_task_cancelled_before_it_ran_does_nothing<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), FailingStorage::new) else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let task = backend.snapshot(world.request()).unwrap();
    backend.at(token, &1).set(2).unwrap();
    task.cancel_token().cancel();
    let calls = storage.calls();
    assert_eq!(kind(task.run()), ErrorKind::Cancelled);
    assert_eq!(storage.calls(), calls);
    let mut backend = world.reopen(backend);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(2));
}

/// P232: every access to a closed backend is a closed error.
pub fn p232_a_closed_backend_returns_closed<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let sum = || ReducingDescriptor::new("sum", |a: &i64, b| a + b);
    let aggregate = || AggregatingDescriptor::new("aggregate", Sum::default());
    let value_token = backend.register(value()).unwrap();
    let list_token = backend.register(ListDescriptor::<i64>::new("list")).unwrap();
    let map_token = backend.register(MapDescriptor::<i32, i64>::new("map")).unwrap();
    let sum_token = backend.register(sum()).unwrap();
    let aggregate_token = backend.register(aggregate()).unwrap();
    backend.at(value_token, &1).set(1).unwrap();
    let key = backend.key(&1).unwrap();
    backend.close().unwrap();
    let answers = [
        backend.value(value_token, key, &()).err().unwrap().kind(),
        backend.list(list_token, key, &()).err().unwrap().kind(),
        backend.map(map_token, key, &()).err().unwrap().kind(),
        backend.reducing(sum_token, key, &()).err().unwrap().kind(),
        backend.aggregating(aggregate_token, key, &()).err().unwrap().kind(),
        kind(backend.register(value())),
        kind(backend.register(ValueDescriptor::<i64>::new("new"))),
        kind(backend.register(ListDescriptor::<i64>::new("list"))),
        kind(backend.register(MapDescriptor::<i32, i64>::new("map"))),
        kind(backend.register(sum())),
        kind(backend.register(aggregate())),
        kind(backend.keys(value_token, &())),
        kind(backend.keys_and_namespaces(value_token)),
        kind(backend.for_each_key(value_token, &(), |_, _| Ok(()))),
        kind(backend.get_batch(value_token, &[key], &(), |_, _| {})),
        kind(backend.update_batch(value_token, &[key], &(), |_, _| {})),
        kind(backend.snapshot(backend_api::SnapshotRequest::new(9))),
        kind(backend.notify_complete(1)),
        kind(backend.notify_aborted(1)),
    ];
    assert_eq!(answers, [ErrorKind::Closed; 19]);
    backend.prefetch(value_token, key, &());
    backend.prefetch_batch(value_token, &[key; 40], &());
    backend.states();
}

/// P233: closing removes all working files of the backend. Checkpoints stay and restore.
pub fn p233_closing_empties_the_working_folder_and_leaves_checkpoints<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let handle = world.checkpoint(&mut backend);
    let files = world.files();
    backend.close().unwrap();
    assert!(world.working_files().is_empty());
    assert_eq!(world.files(), files);
    assert_eq!(content_of(&mut world.restore(&handle)), content);
}

/// P234: closing twice is no error, nor is closing an unused backend, or another one after a failed restore.
pub fn p234_closing_twice_and_after_a_failed_restore_is_no_error<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    backend.register(value()).unwrap();
    let handle = world.checkpoint(&mut backend);
    backend.close().unwrap();
    backend.close().unwrap();
    world.try_open::<String>(single(10), std::slice::from_ref(&handle)).err().unwrap();
    let mut backend = world.restore::<i32>(&handle);
    backend.close().unwrap();
    drop(backend);
    assert!(world.working_files().is_empty());
}

/// P235: dropping a backend closes it: running snapshots are cancelled, working files are removed,
/// checkpoints stay.
pub fn p235_dropping_is_closing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let handle = world.checkpoint(&mut backend);
    backend.at(token, &1).set(2).unwrap();
    let files = world.files();
    let task = backend.snapshot(world.request()).unwrap();
    drop(backend);
    assert_eq!(kind(task.run()), ErrorKind::Cancelled);
    assert!(world.working_files().is_empty());
    assert_eq!(world.files(), files);
    let mut backend = world.restore::<i32>(&handle);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(1));
}

/// P236: a snapshot cancelled before it runs, or by closing its backend, leaves no file.
pub fn p236_a_cancelled_snapshot_leaves_no_file<F: Factory>() {
    let Some(world) = World::<F>::in_files(Setup::default()) else { return };
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let cancelled = backend.snapshot(world.request()).unwrap();
    cancelled.cancel_token().cancel();
    let closed = backend.snapshot(world.request()).unwrap();
    backend.close().unwrap();
    assert_eq!(kind(cancelled.run()), ErrorKind::Cancelled);
    assert_eq!(kind(closed.run()), ErrorKind::Cancelled);
    assert!(world.files().is_empty());
}

/// P237: two backends of one operator are independent: neither sees the other's state, closing one does not
/// affect the other, and both write separate files for one checkpoint.
pub fn p237_backends_of_one_operator_do_not_share_files<F: Factory>() {
    let world = World::<F>::new();
    let request = world.request();
    let (mut backends, mut contents, mut handles) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..2 {
        let mut backend = world.try_open::<i32>(part(10, 2, index), &[]).unwrap();
        let mut content = Content::default();
        Kinds::register(&mut backend).unwrap().change(&mut backend, &mut content, i32::from(index));
        backends.push(backend);
        contents.push(content);
    }
    for backend in &mut backends {
        handles.push(backend.snapshot(request.clone()).unwrap().run().unwrap().unwrap());
    }
    backends.remove(0).close().unwrap();
    assert_eq!(content_of(&mut backends[0]), contents[1]);
    for (index, (handle, content)) in (0..).zip(handles.into_iter().zip(contents)) {
        let mut backend = world.try_open::<i32>(part(10, 2, index), &[handle]).unwrap();
        assert_eq!(content_of(&mut backend), content);
    }
}

/// P237b: two attempts at one subtask write separate files for one checkpoint id, in any order. The late one
/// does not change the other's handle.
pub fn p237b_a_late_attempt_does_not_touch_the_files_of_another<F: Factory>() {
    for late_first in [false, true] {
        let world = World::<F>::new();
        let (request, other) = (world.request(), world.request());
        let mut attempts = [(), ()].map(|()| world.open::<i32>());
        let mut contents = [Content::default(), Content::default()];
        for (round, (backend, content)) in (1..).zip(attempts.iter_mut().zip(&mut contents)) {
            Kinds::register(backend).unwrap().change(backend, content, round);
        }
        let [mut tasks, mut next] = [request, other].map(|request| {
            attempts.each_mut().map(|backend| backend.snapshot(request.clone()).unwrap()).map(Some)
        });
        let run = |tasks: &mut [Option<SnapshotTask>; 2], index: usize| {
            tasks[index].take().unwrap().run().unwrap().unwrap()
        };
        let order = if late_first { [0, 1] } else { [1, 0] };
        let mut handles = [None, None];
        for index in order {
            handles[index] = Some(run(&mut tasks, index));
        }
        let after = order.map(|index| (index, run(&mut next, index)));
        let handles = handles.map(Option::unwrap).into_iter().enumerate().chain(after);
        for (index, handle) in handles {
            assert_eq!(
                content_of(&mut world.restore::<i32>(&handle)),
                contents[index],
                "late first: {late_first}"
            );
        }
    }
}

/// P237c: a task that is dropped or run after its backend was closed does not touch files of the subtask's
/// next backend, and leaves none of its own.
pub fn p237c_a_task_that_outlives_its_backend_leaves_the_next_one_alone<F: Factory>() {
    for (is_closed, is_run) in [(true, false), (false, false), (true, true), (false, true)] {
        let world = World::<F>::new();
        let mut old = world.open::<i32>();
        Kinds::register(&mut old).unwrap().change(&mut old, &mut Content::default(), 1);
        let task = old.snapshot(world.request()).unwrap();
        if is_closed {
            old.close().unwrap();
        }
        drop(old);
        let mut new = world.open::<i32>();
        let mut content = Content::default();
        let kinds = Kinds::register(&mut new).unwrap();
        kinds.change(&mut new, &mut content, 2);
        if is_run {
            task.run().unwrap_err();
        } else {
            drop(task);
        }
        kinds.change(&mut new, &mut content, 3);
        let handle = new.snapshot(world.request()).unwrap().run().unwrap().unwrap();
        assert_eq!(content_of(&mut new), content, "closed: {is_closed}, run: {is_run}");
        drop(new);
        assert!(world.working_files().is_empty(), "closed: {is_closed}, run: {is_run}");
        assert_eq!(content_of(&mut world.restore::<i32>(&handle)), content);
    }
}

/// P238: a backend can move to another thread, and its tokens stay valid.
pub fn p238_a_backend_and_its_tokens_move_between_threads<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let moved = thread::spawn(move || {
        backend.at(token, &1).update(|number| *number = number.map(|number| number + 1)).unwrap();
        backend
    });
    let mut backend = moved.join().unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(2));
}
