//! The rules of the coordinator. Tests have the numbers of `BEHAVIOURS.md`.

mod failures;
mod savepoints;

use std::time::Duration;

use backend_api::ErrorKind;

use super::*;
use crate::config::{CheckpointingMode, Retention};

const JOB: &str = "job";
const CANONICAL: SavepointFormat = SavepointFormat::Canonical;

/// A coordinator with a clock, a source of ids, and all its outputs.
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

    /// Handles all outputs: reserves ids, and records the others.
    fn settle(&mut self) {
        loop {
            let outputs = self.coordinator.outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::ReserveId { savepoint_in } => self.reserve(savepoint_in),
                    output => self.seen.push(output),
                }
            }
        }
    }

    /// Reserves the next id, and a new folder for a savepoint.
    fn reserve(&mut self, savepoint_in: Option<Arc<str>>) {
        let id = self.next_id;
        self.next_id += 1;
        let folder = savepoint_in.map(|target| Arc::from(format!("{target}/savepoint-{id}")));
        self.coordinator.id_reserved(self.now, Ok(Reserved { id, folder }));
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

    fn savepoint(&mut self) {
        self.act(|coordinator, now| _ = coordinator.savepoint(now, Some("s"), CANONICAL));
    }

    fn stop_with_savepoint(&mut self) {
        self.act(|coordinator, now| _ = coordinator.stop_with_savepoint(now, Some("s"), CANONICAL, true));
    }

    fn decline(&mut self, id: u64, reason: impl Into<DeclineReason>) {
        let task = self.tasks[0].clone();
        self.act(|coordinator, now| coordinator.decline(now, id, task, reason));
    }

    fn barriers(&self) -> Vec<Barrier> {
        let barrier = |output: &Output<_>| match output {
            Output::SendBarrier(barrier) => Some(barrier.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(barrier).collect()
    }

    fn is_stored(&self, stored: u64) -> bool {
        self.seen.iter().any(|output| matches!(output, Output::Store { id, .. } if *id == stored))
    }

    /// The completed requests, in the order of their answers.
    fn answered(&self) -> Vec<u64> {
        let answer = |output: &Output<_>| match output {
            Output::Answer { request: RequestId(request), result: Ok(_) } => Some(*request),
            _ => None,
        };
        self.seen.iter().filter_map(answer).collect()
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

    /// All tasks acknowledge, and the checkpoint is stored.
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
        // Each checkpoint takes 30 ms.
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
    assert!(world.is_stored(2) && !world.is_stored(1));
    // If the newer one cannot be stored, the older one is stored.
    world.act(|coordinator, now| coordinator.stored(now, 2, Err("full".to_owned())));
    assert!(world.is_stored(1));
}

#[test]
fn q247_ids_increase_and_barriers_carry_the_latest() {
    let mut world = World::new(concurrent(1));
    for id in 1..=3 {
        world.trigger();
        world.complete(id);
    }
    let barriers: Vec<_> = world.barriers().iter().map(|barrier| (barrier.id, barrier.latest)).collect();
    assert_eq!(barriers, [(1, None), (2, Some(1)), (3, Some(2))]);
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
    // A duplicate after the completion must not delete files of the complete checkpoint.
    world.complete(1);
    assert_eq!(world.ack(1, 0), Acknowledged::Duplicate);
    assert_eq!(discards(&world), 1);
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
    // A savepoint does not wait for a place.
    world.savepoint();
    let kinds: Vec<_> = world.barriers().iter().map(|barrier| (barrier.id, barrier.kind)).collect();
    assert_eq!(kinds, [(1, BarrierKind::Checkpoint), (2, BarrierKind::Savepoint(CANONICAL))]);
    (1..=5).for_each(|id| world.complete(id));
    // The first periodic one, the savepoint, both user requests, and the periodic one that waited.
    assert_eq!(world.answered(), [1, 5, 3, 4, 2]);
}

#[test]
fn q257_waiting_requests_begin_by_rank() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    // Nothing can begin now, not even a savepoint.
    world.act(|coordinator, now| coordinator.cleaning(now, 2));
    world.tick_to(10);
    world.trigger();
    world.savepoint();
    world.trigger();
    world.savepoint();
    assert_eq!((world.pending(), world.coordinator.waiting()), (vec![], 5));
    world.act(|coordinator, now| coordinator.cleaning(now, 0));
    // Both savepoints begin at once, and the others as places become free.
    assert_eq!(world.pending(), [1, 2]);
    (1..=5).for_each(|id| world.complete(id));
    assert_eq!(world.answered(), [3, 5, 2, 4, 1]);
}

#[test]
fn q258_at_most_a_thousand_requests_wait() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    world.tick_to(10);
    world.tick_to(20);
    (0..999).for_each(|_| world.trigger());
    assert_eq!((world.coordinator.waiting(), world.refusals().len()), (1000, 0));
    // A user's request replaces the periodic one. For the next one there is none to replace.
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
fn q242_the_pause_also_follows_savepoints_and_spares_users() {
    let config = CheckpointConfig { interval: Some(ms(10)), min_pause: ms(500), ..concurrent(1) };
    let mut world = World::new(config);
    world.tick_to(490);
    world.savepoint();
    world.complete(1);
    world.tick_to(500);
    // The request is refused, and the next checkpoint begins after the pause.
    assert_eq!((world.refusals(), world.pending()), (vec![Refusal::MinimumPause], vec![]));
    assert_eq!(world.coordinator.next_deadline(), Some(990));
    world.tick_to(989);
    assert!(world.pending().is_empty());
    world.trigger();
    assert_eq!(world.pending(), [2]);
    world.complete(2);
    world.tick_to(990);
    assert!(world.pending().is_empty());
    world.tick_to(1489);
    assert_eq!(world.pending(), [3]);
}

#[test]
fn q243_the_pause_is_at_most_a_year() {
    let year = 365 * 24 * 3600 * 1000;
    let mut world = World::new(CheckpointConfig {
        interval: Some(ms(10)),
        min_pause: Duration::MAX,
        timeout: Duration::MAX,
        ..concurrent(1)
    });
    world.tick_to(year - 1);
    assert!(world.pending().is_empty());
    world.tick_to(year);
    assert_eq!(world.pending(), [1]);
}

#[test]
fn q245_a_pause_makes_it_one_at_a_time() {
    let mut world = World::new(CheckpointConfig { min_pause: ms(1), ..concurrent(5) });
    (0..3).for_each(|_| world.trigger());
    assert_eq!(world.pending(), [1]);
}

#[test]
fn q245_a_savepoint_occupies_a_place_but_needs_none() {
    let mut world = World::new(concurrent(2));
    world.savepoint();
    (0..2).for_each(|_| world.trigger());
    assert_eq!(world.pending(), [1, 2]);
    world.savepoint();
    assert_eq!((world.pending(), world.coordinator.waiting()), (vec![1, 2, 3], 1));
    // One of three has ended. The limit is two.
    world.complete(1);
    assert_eq!(world.pending(), [2, 3]);
    world.complete(2);
    assert_eq!(world.pending(), [3, 4]);
}

#[test]
fn q247_times_do_not_decrease() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(2) });
    (1..40).for_each(|n| {
        world.tick_to(7 * n);
        let first = world.coordinator.pending().next();
        if let Some(id) = first.filter(|_| n % 3 == 0) {
            world.complete(id);
        }
    });
    let started: Vec<u64> = world
        .seen
        .iter()
        .filter_map(|output| match output {
            Output::Report(report) => Some(report.started),
            _ => None,
        })
        .collect();
    assert!(started.len() > 5 && started.is_sorted(), "{started:?}");
}

#[test]
fn q249_an_acknowledgement_of_an_unknown_checkpoint_is_discarded() {
    let mut world = World::new(concurrent(1));
    assert_eq!(world.ack(7, 0), Acknowledged::Discarded { was_pending: false });
    assert_eq!(world.count(&Output::Discard { id: 7, states: vec![(7, 0)] }), 1);
}

#[test]
fn q258_a_queue_of_user_requests_refuses_others() {
    let mut world = World::new(CheckpointConfig { interval: Some(ms(10)), ..concurrent(1) });
    world.trigger();
    (0..1000).for_each(|_| world.trigger());
    assert_eq!((world.coordinator.waiting(), world.refusals().len()), (1000, 0));
    world.tick_to(10);
    world.savepoint();
    assert_eq!(world.refusals(), [Refusal::TooManyRequests, Refusal::TooManyRequests]);
    assert_eq!((world.coordinator.waiting(), world.pending()), (1000, vec![1]));
}

#[test]
fn q260_an_id_of_a_refused_request_is_discarded() {
    let mut world = World::new(concurrent(1));
    world.coordinator.trigger(0);
    world.coordinator.stop(0);
    world.settle();
    assert!(world.pending().is_empty());
    assert_eq!(world.count(&Output::Discard { id: 1, states: vec![] }), 1);
}

#[test]
fn q261_requests_that_wait_are_refused_at_the_end() {
    let mut world = World::new(concurrent(1));
    (0..3).for_each(|_| world.trigger());
    world.act(|coordinator, now| coordinator.end(now, JobEnd::Failed));
    let aborted = Refusal::Aborted(1, AbortReason::Shutdown);
    assert_eq!(world.refusals(), [Refusal::Shutdown, Refusal::Shutdown, aborted]);
}

#[test]
fn q264_the_mode_is_passed_on() {
    for mode in [CheckpointingMode::ExactlyOnce, CheckpointingMode::AtLeastOnce] {
        let mut world = World::new(CheckpointConfig { mode, ..concurrent(1) });
        world.trigger();
        assert!(matches!(&world.seen[..], [Output::SendBarrier(barrier)] if barrier.mode == mode));
    }
}
