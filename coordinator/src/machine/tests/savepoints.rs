//! Savepoints, and stops with them.

use super::*;

#[test]
fn m188_a_savepoint_neither_subsumes_nor_notifies() {
    let config = CheckpointConfig { savepoint_dir: Some("s".to_owned()), ..concurrent(2) };
    let mut world = World::new(config);
    world.trigger();
    world.act(|coordinator, now| _ = coordinator.savepoint(now, None, CANONICAL));
    world.complete(2);
    assert_eq!(world.count(&Output::NotifyComplete { id: 2 }), 0);
    assert_eq!((world.pending(), world.coordinator.latest()), (vec![1], None));
    // A running savepoint is not subsumed by a checkpoint.
    world.act(|coordinator, now| _ = coordinator.savepoint(now, None, CANONICAL));
    world.complete(1);
    assert_eq!(world.pending(), [3]);
}

#[test]
fn m189_a_savepoint_without_a_folder_is_refused() {
    let mut world = World::new(concurrent(1));
    world.act(|coordinator, now| _ = coordinator.savepoint(now, None, CANONICAL));
    world.act(|coordinator, now| _ = coordinator.stop_with_savepoint(now, None, CANONICAL, false));
    assert_eq!(world.refusals(), [Refusal::NoTarget, Refusal::NoTarget]);
}

#[test]
fn m190_concurrent_savepoints_have_separate_folders() {
    let mut world = World::new(concurrent(1));
    (0..2).for_each(|_| world.savepoint());
    (1..=2).for_each(|id| (0..2).for_each(|subtask| _ = world.ack(id, subtask)));
    let folders = world.seen.iter().filter_map(|output| match output {
        Output::Store { target: StoreAs::Savepoint { folder, .. }, .. } => Some(folder.to_string()),
        _ => None,
    });
    assert_eq!(folders.collect::<Vec<_>>(), ["s/savepoint-1", "s/savepoint-2"]);
    world.act(|coordinator, now| coordinator.stored(now, 1, Ok(())));
    let folder = Some("s/savepoint-1".into());
    let answer = Output::Answer { request: RequestId(1), result: Ok(Completed { id: 1, folder }) };
    assert_eq!(world.count(&answer), 1);
}

#[test]
fn a_stop_with_savepoint_ends_the_job_after_storing() {
    let config = CheckpointConfig { interval: Some(ms(10)), timeout: ms(1000), ..concurrent(1) };
    let mut world = World::new(config.clone());
    // A stop aborts running checkpoints and refuses waiting requests.
    (1..5).for_each(|n| world.tick_to(10 * n));
    world.stop_with_savepoint();
    assert_eq!((world.pending(), world.coordinator.waiting()), (vec![2], 0));
    assert_eq!(world.reports(), [(1, Some(AbortReason::Stopped))]);
    assert_eq!(world.refusals()[..3], [Refusal::Stopped, Refusal::Stopped, Refusal::Stopped]);
    (5..50).for_each(|n| world.tick_to(10 * n));
    assert_eq!(world.pending(), [2]);
    world.trigger();
    world.complete(2);
    assert_eq!(world.count(&Output::NotifyComplete { id: 2 }), 1);
    let folder = Some("s/savepoint-2".into());
    assert_eq!(world.seen.last(), Some(&Output::StopJob(Completed { id: 2, folder })));
    // It is not a checkpoint of the job, and it is the last output.
    assert_eq!((world.pending(), world.coordinator.latest()), (vec![], None));
    (50..90).for_each(|n| world.tick_to(10 * n));
    assert!(world.pending().is_empty());

    // A savepoint that expires lets the job continue. A savepoint that a task declines does not.
    let mut world = World::new(CheckpointConfig { tolerable_failures: u32::MAX, ..config });
    world.stop_with_savepoint();
    world.tick_to(1000);
    world.tick_to(1010);
    assert_eq!((world.pending(), world.has_failed()), (vec![2], false));
    world.complete(2);
    world.stop_with_savepoint();
    world.decline(3, DeclineReason::NotReady);
    assert!(world.has_failed());
}

#[test]
fn a_stop_without_a_folder_does_not_end_the_job() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    world.coordinator.stop_with_savepoint(0, Some("s"), CANONICAL, false);
    world.coordinator.outputs();
    world.act(|coordinator, now| coordinator.id_reserved(now, Err("no room".to_owned())));
    assert_eq!(world.refusals(), [Refusal::NoId("no room".to_owned())]);
    world.tick_to(10);
    assert_eq!((world.pending(), world.has_failed()), (vec![1], false));
}

#[test]
fn the_first_stop_that_is_stored_ends_the_job() {
    let config = CheckpointConfig { interval: Some(ms(10)), timeout: ms(1000), ..concurrent(1) };
    let mut world = World::new(config);
    world.stop_with_savepoint();
    world.stop_with_savepoint();
    world.act(|coordinator, now| {
        let task = TaskId::new("of another job", 0);
        coordinator.decline(now, 2, task, "");
    });
    assert_eq!(world.pending(), [1, 2]);
    // During a stop, no periodic checkpoint begins.
    (1..20).for_each(|n| world.tick_to(10 * n));
    assert_eq!(world.pending(), [1, 2]);
    world.complete(1);
    assert_eq!(world.reports(), [(1, None), (2, Some(AbortReason::Stopped))]);
    assert!(matches!(world.seen.last(), Some(Output::StopJob(Completed { id: 1, .. }))));
}

#[test]
fn without_a_claim_checkpoints_are_full_until_one_is_complete() {
    let mut world = World::new(concurrent(2));
    world.coordinator = world.coordinator.clone().without_claim();
    // A running checkpoint, an aborted one and a savepoint do not change that.
    world.trigger();
    world.decline(1, "no room");
    world.savepoint();
    world.complete(2);
    (0..2).for_each(|_| world.trigger());
    world.complete(3);
    world.trigger();
    let full: Vec<_> = world.barriers().iter().map(|barrier| (barrier.id, barrier.is_full)).collect();
    assert_eq!(full, [(1, true), (2, true), (3, true), (4, true), (5, false)]);
    let requests: Vec<_> = world.barriers().iter().map(|barrier| barrier.request().is_full()).collect();
    assert_eq!(requests, [true, true, true, true, false]);
}
