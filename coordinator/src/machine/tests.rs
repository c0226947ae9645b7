//! The rules of the coordinator, by the numbers of `BEHAVIOURS.md`.

use std::time::Duration;

use backend_api::ErrorKind;

use super::*;
use crate::config::{CheckpointingMode, Retention};

const JOB: &str = "job";

/// A coordinator with its clock, its ids and its outputs.
struct World {
    coordinator: CheckpointCoordinator<(u64, u16)>,
    now: u64,
    next_id: u64,
    tasks: Vec<TaskId>,
    seen: Vec<Output<(u64, u16)>>,
}

impl World {
    fn new(config: CheckpointConfig) -> Self {
        let tasks: Vec<_> = (0..2).map(|subtask| TaskId::new("op", subtask)).collect();
        let mut coordinator = CheckpointCoordinator::new(config, JOB, &tasks, None).unwrap();
        coordinator.start(0);
        Self { coordinator, now: 0, next_id: 1, tasks, seen: Vec::new() }
    }

    /// Handles the outputs: reserves ids, and records the rest.
    fn settle(&mut self) {
        loop {
            let outputs = self.coordinator.outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                if output == Output::ReserveId {
                    self.coordinator.id_reserved(self.now, Ok(self.next_id));
                    self.next_id += 1;
                } else {
                    self.seen.push(output);
                }
            }
        }
    }

    fn act(&mut self, f: impl FnOnce(&mut CheckpointCoordinator<(u64, u16)>, u64)) {
        f(&mut self.coordinator, self.now);
        self.settle();
    }

    fn tick_to(&mut self, now: u64) {
        self.now = now;
        self.act(|coordinator, now| coordinator.tick(now));
    }

    fn trigger(&mut self) {
        self.act(|coordinator, now| _ = coordinator.trigger(now));
    }

    fn ack(&mut self, id: u64, subtask: u16) -> Acknowledged {
        let ack = self.ack_of(id, subtask);
        let answer = self.coordinator.acknowledge(ack);
        self.settle();
        answer
    }

    fn ack_of(&self, checkpoint_id: u64, subtask: u16) -> Ack<(u64, u16)> {
        let (job, task) = (JOB.into(), TaskId::new("op", subtask));
        Ack { job, checkpoint_id, task, state: (checkpoint_id, subtask), metrics: TaskMetrics::default() }
    }

    /// Acknowledges for all tasks, and stores the checkpoint.
    fn complete(&mut self, id: u64) {
        (0..2).for_each(|subtask| _ = self.ack(id, subtask));
        self.act(|coordinator, now| coordinator.stored(now, id, Ok(())));
    }

    fn pending(&self) -> Vec<u64> {
        self.coordinator.pending().collect()
    }

    fn reports(&self) -> Vec<(u64, Option<AbortReason>)> {
        let report = |output: &Output<_>| match output {
            Output::Report(report) => Some((report.id, report.failure.clone())),
            _ => None,
        };
        self.seen.iter().filter_map(report).collect()
    }

    fn count(&self, output: &Output<(u64, u16)>) -> usize {
        self.seen.iter().filter(|seen| *seen == output).count()
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refusal = |output: &Output<_>| match output {
            Output::Answer { result: Err(refusal), .. } => Some(refusal.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(refusal).collect()
    }

    fn has_failed(&self) -> bool {
        self.seen.iter().any(|output| matches!(output, Output::FailJob { .. }))
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn concurrent(max_concurrent: usize) -> CheckpointConfig {
    CheckpointConfig { max_concurrent, tolerable_failures: 100, ..CheckpointConfig::default() }
}

#[test]
fn q239_interval_and_timeout_are_at_least_10_ms() {
    for (interval, timeout, is_valid) in [(9, 10, false), (10, 9, false), (10, 10, true)] {
        let config = CheckpointConfig {
            interval: Some(ms(interval)),
            timeout: ms(timeout),
            ..CheckpointConfig::default()
        };
        let kind = config.check().map_err(|error| error.kind());
        assert_eq!(kind, if is_valid { Ok(()) } else { Err(ErrorKind::InvalidArgument) });
    }
}

#[test]
fn q240_numbers_out_of_range_are_refused() {
    for config in [concurrent(0), CheckpointConfig { retained: 0, ..concurrent(1) }] {
        assert_eq!(config.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert!(CheckpointCoordinator::<()>::new(config, JOB, &[], None).is_err());
    }
}

#[test]
fn q241_the_defaults_are_flinks() {
    let expected = CheckpointConfig {
        interval: None,
        mode: CheckpointingMode::ExactlyOnce,
        timeout: ms(600_000),
        min_pause: ms(0),
        max_concurrent: 1,
        tolerable_failures: 0,
        retained: 1,
        retention: Retention::None,
        checkpoint_dir: None,
        savepoint_dir: None,
    };
    assert_eq!(CheckpointConfig::default(), expected);
}

#[test]
fn q242_a_pause_is_kept_after_each_completion() {
    let config =
        CheckpointConfig { interval: Some(ms(10)), min_pause: ms(500), max_concurrent: 5, ..concurrent(5) };
    let mut world = World::new(config);
    let (mut last_end, mut started) = (None, 0);
    for now in 0..5000 {
        world.tick_to(now);
        // Each takes 30 ms.
        for id in world.pending() {
            let start = *last_end.get_or_insert(0);
            if started < id {
                assert!(
                    id == 1 || now >= start + 500,
                    "checkpoint {id} starts at {now}, {start} was the last end"
                );
                started = id;
                last_end = Some(now + 30);
            }
            if last_end == Some(now) {
                world.complete(id);
            }
        }
    }
    assert_eq!(started, 9);
}

#[test]
fn q243_an_interval_is_never_shorter_than_the_pause() {
    let mut world =
        World::new(CheckpointConfig { interval: Some(ms(10)), min_pause: ms(500), ..concurrent(1) });
    world.tick_to(499);
    assert!(world.pending().is_empty());
    world.tick_to(500);
    assert_eq!(world.pending(), [1]);
}

#[test]
fn q245_the_number_of_concurrent_checkpoints_is_limited() {
    for most in [1, 2, 5] {
        let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(most) });
        (1..100).for_each(|n| world.tick_to(10 * n));
        assert_eq!(world.pending(), (1..=most as u64).collect::<Vec<_>>());
        world.complete(1);
        assert_eq!(world.pending(), (2..=most as u64 + 1).collect::<Vec<_>>());
    }
}

#[test]
fn q246_a_newer_checkpoint_subsumes_older_ones() {
    let mut world = World::new(concurrent(2));
    (0..4).for_each(|_| world.trigger());
    assert_eq!(world.pending(), [1, 2]);
    world.ack(1, 0);
    world.complete(2);
    assert_eq!(world.reports(), [(1, Some(AbortReason::Subsumed)), (2, None)]);
    assert_eq!(world.count(&Output::Discard { id: 1, states: vec![(1, 0)] }), 1);
    assert_eq!(world.count(&Output::NotifyAborted { id: 1, latest: Some(2) }), 1);
    assert_eq!(world.pending(), [3, 4]);
}

#[test]
fn q246_an_older_checkpoint_is_not_stored_after_a_newer_one() {
    let mut world = World::new(concurrent(2));
    (0..2).for_each(|_| world.trigger());
    (0..2).for_each(|subtask| _ = world.ack(2, subtask));
    (0..2).for_each(|subtask| _ = world.ack(1, subtask));
    let is_stored = |world: &World, stored| {
        world.seen.iter().any(|output| matches!(output, Output::Store { id, .. } if *id == stored))
    };
    assert!(is_stored(&world, 2) && !is_stored(&world, 1));
    // If the newer one cannot be stored, the older one is stored.
    world.act(|coordinator, now| coordinator.stored(now, 2, Err("full".to_owned())));
    assert!(is_stored(&world, 1));
}

#[test]
fn q247_ids_increase_and_barriers_carry_the_latest() {
    let mut world = World::new(concurrent(1));
    for id in 1..=3 {
        world.trigger();
        world.complete(id);
    }
    let barriers = world.seen.iter().filter_map(|output| match output {
        Output::SendBarrier(barrier) => Some((barrier.id, barrier.latest)),
        _ => None,
    });
    assert_eq!(barriers.collect::<Vec<_>>(), [(1, None), (2, Some(1)), (3, Some(2))]);
}

#[test]
fn q248_a_timeout_aborts_and_discards() {
    let mut world = World::new(CheckpointConfig { timeout: ms(10), ..concurrent(1) });
    world.trigger();
    world.ack(1, 0);
    world.tick_to(9);
    assert_eq!((world.pending(), world.coordinator.next_deadline()), (vec![1], Some(10)));
    world.tick_to(10);
    assert_eq!(world.reports(), [(1, Some(AbortReason::Expired))]);
    assert_eq!(world.count(&Output::Discard { id: 1, states: vec![(1, 0)] }), 1);
    assert_eq!(world.count(&Output::NotifyAborted { id: 1, latest: None }), 1);
    assert_eq!(world.ack(1, 1), Acknowledged::Discarded { was_pending: true });
    assert_eq!(world.count(&Output::Discard { id: 1, states: vec![(1, 1)] }), 1);
}

#[test]
fn q248_a_checkpoint_being_stored_does_not_expire() {
    let mut world = World::new(CheckpointConfig { timeout: ms(10), ..concurrent(1) });
    world.trigger();
    (0..2).for_each(|subtask| _ = world.ack(1, subtask));
    world.tick_to(1000);
    world.act(|coordinator, now| coordinator.stored(now, 1, Ok(())));
    assert_eq!(world.reports(), [(1, None)]);
}

#[test]
fn q249_repeated_unknown_and_foreign_acknowledgements() {
    let mut world = World::new(concurrent(1));
    world.trigger();
    assert_eq!(world.ack(1, 0), Acknowledged::Accepted);
    assert_eq!(world.ack(1, 0), Acknowledged::Duplicate);
    let discards =
        |world: &World| world.seen.iter().filter(|seen| matches!(seen, Output::Discard { .. })).count();
    assert_eq!(discards(&world), 0);
    assert_eq!(world.ack(1, 7), Acknowledged::Discarded { was_pending: false });
    assert_eq!(discards(&world), 1);
    let ack = Ack { job: "another".into(), ..world.ack_of(1, 1) };
    assert_eq!(world.coordinator.acknowledge(ack), Acknowledged::OtherJob);
    // A repeated acknowledgement after the completion must not delete the files of the complete checkpoint.
    world.complete(1);
    assert_eq!(world.ack(1, 0), Acknowledged::Duplicate);
    assert_eq!(discards(&world), 1);
}

#[test]
fn q250_a_decline_aborts_and_discards() {
    let mut world = World::new(concurrent(1));
    world.trigger();
    world.ack(1, 0);
    let task = world.tasks[1].clone();
    world.act(|coordinator, now| coordinator.decline(now, 1, task, "no room"));
    assert!(
        matches!(&world.reports()[..], [(1, Some(AbortReason::Declined(_, reason)))] if reason == "no room")
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
        // A repeated failure counts once.
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
fn q256_retention_decides_about_completed_checkpoints() {
    let ends = [JobEnd::Finished, JobEnd::Cancelled, JobEnd::Failed, JobEnd::Suspended];
    let kept = [
        (Retention::None, [false, false, false, false]),
        (Retention::DeleteOnCancellation, [false, false, true, false]),
        (Retention::RetainOnCancellation, [false, true, true, true]),
    ];
    for (retention, kept) in kept {
        for (end, kept) in ends.into_iter().zip(kept) {
            let mut world = World::new(CheckpointConfig { retention, ..concurrent(1) });
            world.act(|coordinator, now| coordinator.end(now, end));
            world.act(|coordinator, now| coordinator.end(now, JobEnd::Finished));
            assert_eq!(world.count(&Output::DeleteCompleted), usize::from(!kept), "{retention:?}, {end:?}");
        }
    }
}

#[test]
fn q257_savepoints_come_first_then_older_user_requests() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    world.tick_to(10);
    world.tick_to(20);
    world.trigger();
    world.trigger();
    // A savepoint does not wait for other checkpoints.
    world.act(|coordinator, now| _ = coordinator.savepoint(now, Some("savepoints")));
    let kinds = |world: &World| -> Vec<(u64, BarrierKind)> {
        let barriers = world.seen.iter().filter_map(|output| match output {
            Output::SendBarrier(barrier) => Some((barrier.id, barrier.kind)),
            _ => None,
        });
        barriers.collect()
    };
    assert_eq!(kinds(&world), [(1, BarrierKind::Checkpoint), (2, BarrierKind::Savepoint)]);
    let answered = |world: &World| -> Vec<u64> {
        let answers = world.seen.iter().filter_map(|output| match output {
            Output::Answer { request: RequestId(request), result: Ok(_) } => Some(*request),
            _ => None,
        });
        answers.collect()
    };
    (1..=5).for_each(|id| world.complete(id));
    // The first periodic one, the savepoint, both user requests, and the periodic one that had waited.
    assert_eq!(answered(&world), [1, 5, 3, 4, 2]);
}

#[test]
fn q258_at_most_a_thousand_requests_wait() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    world.tick_to(10);
    world.tick_to(20);
    (0..999).for_each(|_| world.trigger());
    assert_eq!((world.coordinator.waiting(), world.refusals().len()), (1000, 0));
    // A user request displaces the periodic one. Then there is none left to displace.
    let periodic = RequestId(2);
    world.trigger();
    let too_many = |request| Output::Answer { request, result: Err(Refusal::TooManyRequests) };
    assert_eq!(world.count(&too_many(periodic)), 1);
    world.trigger();
    assert_eq!(world.count(&too_many(RequestId(1003))), 1);
    assert_eq!(world.coordinator.waiting(), 1000);
}

#[test]
fn q260_a_stopped_scheduler_triggers_nothing() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    world.tick_to(10);
    world.ack(1, 0);
    world.act(|coordinator, now| coordinator.stop(now));
    assert_eq!(world.reports(), [(1, Some(AbortReason::Stopped))]);
    (2..10).for_each(|n| world.tick_to(10 * n));
    world.trigger();
    assert_eq!((world.pending(), world.coordinator.waiting()), (vec![], 0));
    assert_eq!(world.refusals().last(), Some(&Refusal::Stopped));
    world.act(|coordinator, now| coordinator.start(now));
    world.tick_to(100);
    assert_eq!(world.pending(), [2]);
}

#[test]
fn q261_after_the_end_nothing_is_accepted() {
    let mut world = World::new(concurrent(1));
    world.trigger();
    world.act(|coordinator, now| coordinator.end(now, JobEnd::Cancelled));
    assert_eq!(world.reports(), [(1, Some(AbortReason::Shutdown))]);
    world.trigger();
    world.act(|coordinator, now| coordinator.start(now));
    world.trigger();
    assert_eq!(world.refusals()[1..], [Refusal::Shutdown, Refusal::Shutdown]);
    assert_eq!(world.ack(1, 0), Acknowledged::Discarded { was_pending: true });
    assert_eq!(world.count(&Output::Discard { id: 1, states: vec![(1, 0)] }), 1);
}

#[test]
fn q262_tasks_are_notified_once_after_storing() {
    let mut world = World::new(concurrent(1));
    world.trigger();
    (0..2).for_each(|subtask| _ = world.ack(1, subtask));
    assert_eq!(world.count(&Output::NotifyComplete { id: 1 }), 0);
    (0..2).for_each(|_| world.act(|coordinator, now| coordinator.stored(now, 1, Ok(()))));
    assert_eq!(world.count(&Output::NotifyComplete { id: 1 }), 1);
}

#[test]
fn q263_no_checkpoint_starts_while_too_many_are_being_deleted() {
    let mut world = World::new(concurrent(1));
    world.act(|coordinator, now| coordinator.cleaning(now, 2));
    world.trigger();
    assert!(world.pending().is_empty());
    world.act(|coordinator, now| coordinator.cleaning(now, 1));
    assert_eq!(world.pending(), [1]);
}

#[test]
fn q264_the_mode_is_passed_on() {
    for mode in [CheckpointingMode::ExactlyOnce, CheckpointingMode::AtLeastOnce] {
        let mut world = World::new(CheckpointConfig { mode, ..concurrent(1) });
        world.trigger();
        assert!(matches!(world.seen[..], [Output::SendBarrier(barrier)] if barrier.mode == mode));
    }
}

#[test]
fn m188_a_savepoint_neither_subsumes_nor_notifies() {
    let config = CheckpointConfig { savepoint_dir: Some("s".to_owned()), ..concurrent(2) };
    let mut world = World::new(config);
    world.trigger();
    world.act(|coordinator, now| _ = coordinator.savepoint(now, None));
    world.complete(2);
    assert_eq!(world.count(&Output::NotifyComplete { id: 2 }), 0);
    assert_eq!((world.pending(), world.coordinator.latest()), (vec![1], None));
    // A checkpoint does not abort a running savepoint.
    world.act(|coordinator, now| _ = coordinator.savepoint(now, None));
    world.complete(1);
    assert_eq!(world.pending(), [3]);
}

#[test]
fn m189_a_savepoint_without_a_folder_is_refused() {
    let mut world = World::new(concurrent(1));
    world.act(|coordinator, now| _ = coordinator.savepoint(now, None));
    world.act(|coordinator, now| _ = coordinator.stop_with_savepoint(now, None, false));
    assert_eq!(world.refusals(), [Refusal::NoTarget, Refusal::NoTarget]);
}

#[test]
fn m190_concurrent_savepoints_have_separate_folders() {
    let mut world = World::new(concurrent(1));
    (0..2).for_each(|_| world.act(|coordinator, now| _ = coordinator.savepoint(now, Some("s"))));
    (1..=2).for_each(|id| (0..2).for_each(|subtask| _ = world.ack(id, subtask)));
    let folders = world.seen.iter().filter_map(|output| match output {
        Output::Store { target: StoreAs::Savepoint(folder), .. } => Some(folder.clone()),
        _ => None,
    });
    assert_eq!(folders.collect::<Vec<_>>(), ["s/savepoint-job-1", "s/savepoint-job-2"]);
}

#[test]
fn a_stop_with_savepoint_ends_the_job_after_storing() {
    let config = CheckpointConfig { interval: Some(ms(10)), timeout: ms(1000), ..concurrent(1) };
    let mut world = World::new(config.clone());
    world.act(|coordinator, now| _ = coordinator.stop_with_savepoint(now, Some("s"), true));
    (1..50).for_each(|n| world.tick_to(10 * n));
    assert_eq!(world.pending(), [1]);
    world.complete(1);
    assert_eq!(world.count(&Output::NotifyComplete { id: 1 }), 1);
    assert_eq!(world.count(&Output::StopJob { id: 1 }), 1);

    // The job continues after an expired savepoint, and fails after a declined one.
    let mut world = World::new(config);
    world.act(|coordinator, now| _ = coordinator.stop_with_savepoint(now, Some("s"), false));
    world.tick_to(1000);
    world.tick_to(1010);
    assert_eq!((world.pending(), world.has_failed()), (vec![2], false));
    world.complete(2);
    world.act(|coordinator, now| _ = coordinator.stop_with_savepoint(now, Some("s"), false));
    let task = world.tasks[0].clone();
    world.act(|coordinator, now| coordinator.decline(now, 3, task, ""));
    assert!(world.has_failed());
}
