//! Failures: which events count.

use super::*;

#[test]
fn q250_a_decline_aborts_and_discards() {
    let mut world = World::new(concurrent(1));
    world.trigger();
    world.ack(1, 0);
    let task = world.tasks[1].clone();
    world.act(|coordinator, now| coordinator.decline(now, 1, task, "no room"));
    assert!(
        matches!(&world.reports()[..], [(1, Some(AbortReason::Declined(_, reason)))] if *reason == "no room".into())
    );
    assert_eq!(world.count(&Output::Discard { id: 1, states: vec![(1, 0)] }), 1);
    assert_eq!(world.ack(1, 0), Acknowledged::Discarded { was_pending: true });
}

#[test]
fn q251_too_many_consecutive_failures_fail_the_job() {
    let mut world = World::new(CheckpointConfig { tolerable_failures: 1, ..concurrent(1) });
    let decline = |world: &mut World, id| {
        world.trigger();
        let task = world.tasks[0].clone();
        world.act(|coordinator, now| coordinator.decline(now, id, task.clone(), ""));
        // A repeated decline does not count.
        world.act(|coordinator, now| coordinator.decline(now, id, task, ""));
    };
    decline(&mut world, 1);
    world.trigger();
    world.complete(2);
    decline(&mut world, 3);
    assert!(!world.has_failed());
    decline(&mut world, 4);
    assert!(world.has_failed());
}

#[test]
fn q252_only_failures_of_the_checkpoint_itself_count() {
    let mut world = World::new(CheckpointConfig { min_pause: ms(100), ..concurrent(1) });
    world.coordinator.config.tolerable_failures = 0;
    world.coordinator.failures = Failures::new(0);
    world.trigger();
    world.act(|coordinator, now| coordinator.task_failed(now));
    world.trigger();
    world.act(|coordinator, now| coordinator.start(now));
    world.trigger();
    world.act(|coordinator, now| coordinator.stop(now));
    world.act(|coordinator, now| coordinator.start(now));
    world.trigger();
    let id = world.pending()[0];
    (0..2).for_each(|subtask| _ = world.ack(id, subtask));
    world.act(|coordinator, now| coordinator.stored(now, id, Err("no room".to_owned())));
    world.act(|coordinator, now| coordinator.end(now, JobEnd::Cancelled));
    world.trigger();
    assert!(!world.has_failed());
    let refusals = world.refusals();
    for refusal in [Refusal::TasksNotReady, Refusal::Shutdown] {
        assert!(refusals.contains(&refusal), "{refusals:?}");
    }
}

#[test]
fn q250_a_foreign_or_late_decline_is_ignored() {
    let mut world = World::new(CheckpointConfig { tolerable_failures: 0, ..concurrent(1) });
    world.trigger();
    world.act(|coordinator, now| coordinator.decline(now, 1, TaskId::new("op", 7), ""));
    world.decline(9, "no room");
    assert_eq!(world.pending(), [1]);
    (0..2).for_each(|subtask| _ = world.ack(1, subtask));
    world.decline(1, "too late");
    world.act(|coordinator, now| coordinator.stored(now, 1, Ok(())));
    assert_eq!((world.reports(), world.has_failed()), (vec![(1, None)], false));
}

#[test]
fn q251_expiry_counts_and_a_failed_job_resets_the_count() {
    let config = CheckpointConfig { timeout: ms(10), tolerable_failures: 1, ..concurrent(1) };
    let mut world = World::new(config);
    let failures =
        |world: &World| world.seen.iter().filter(|output| matches!(output, Output::FailJob { .. })).count();
    for (n, expected) in (1..).zip([0, 1, 1, 2]) {
        world.trigger();
        world.tick_to(10 * n);
        assert_eq!(failures(&world), expected, "after {n}");
    }
}

#[test]
fn q251_a_failure_older_than_the_last_success_does_not_count() {
    let mut world = World::new(CheckpointConfig { tolerable_failures: 0, ..concurrent(3) });
    world.savepoint();
    world.trigger();
    world.complete(2);
    // The savepoint was not subsumed, and fails now.
    world.decline(1, "no room");
    assert!(!world.has_failed());
    world.savepoint();
    world.decline(3, "no room");
    assert!(world.has_failed());
}

#[test]
fn q251_errors_of_the_coordinator_count_for_checkpoints_only() {
    let mut world = World::new(CheckpointConfig { tolerable_failures: 1, ..concurrent(1) });
    let fail = |world: &mut World| {
        assert!(matches!(world.coordinator.outputs()[..], [Output::ReserveId { .. }]));
        world.act(|coordinator, now| coordinator.id_reserved(now, Err("no room".to_owned())));
    };
    for _ in 0..3 {
        world.coordinator.savepoint(0, Some("s"), CANONICAL);
        fail(&mut world);
    }
    world.coordinator.trigger(0);
    fail(&mut world);
    assert!(!world.has_failed());
    world.coordinator.trigger(0);
    fail(&mut world);
    let reason = Refusal::NoId("no room".to_owned());
    assert_eq!(world.count(&Output::FailJob { reason }), 1);
}

#[test]
fn q252_an_expired_savepoint_does_not_count() {
    let mut world = World::new(CheckpointConfig { timeout: ms(10), tolerable_failures: 0, ..concurrent(1) });
    world.savepoint();
    world.tick_to(10);
    assert_eq!((world.reports(), world.has_failed()), (vec![(1, Some(AbortReason::Expired))], false));
}

#[test]
fn q252_not_ready_and_overtaken_do_not_count() {
    let mut world = World::new(CheckpointConfig { tolerable_failures: 0, ..concurrent(1) });
    for (id, reason) in (1..).zip([DeclineReason::NotReady, DeclineReason::Overtaken]) {
        world.trigger();
        world.decline(id, reason);
    }
    assert_eq!((world.reports().len(), world.has_failed()), (2, false));
}

#[test]
fn q252_subsumption_and_the_pause_do_not_count() {
    let config = CheckpointConfig { interval: Some(ms(10)), tolerable_failures: 0, ..concurrent(2) };
    let mut world = World::new(config.clone());
    (0..2).for_each(|_| world.trigger());
    world.complete(2);
    assert_eq!(world.reports()[0], (1, Some(AbortReason::Subsumed)));
    assert!(!world.has_failed());
    let mut world = World::new(CheckpointConfig { min_pause: ms(100), ..config });
    world.tick_to(99);
    world.trigger();
    world.complete(1);
    world.tick_to(100);
    assert_eq!((world.refusals(), world.has_failed()), (vec![Refusal::MinimumPause], false));
}

#[test]
fn a_checkpoint_that_cannot_be_stored_is_aborted_everywhere() {
    let mut world = World::new(concurrent(1));
    world.trigger();
    world.complete(1);
    (0..2).for_each(|_| world.trigger());
    (0..2).for_each(|subtask| _ = world.ack(2, subtask));
    world.act(|coordinator, now| coordinator.stored(now, 2, Err("no room".to_owned())));
    // Tasks learn which checkpoint they can build on, and the next one begins.
    assert_eq!(world.count(&Output::NotifyAborted { id: 2, latest: Some(1) }), 1);
    assert_eq!(world.reports()[1], (2, Some(AbortReason::NotStored("no room".to_owned()))));
    assert_eq!((world.pending(), world.coordinator.latest()), (vec![3], Some(1)));
}
