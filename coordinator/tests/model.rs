//! Model checking: a coordinator with two subtasks, an unreliable network, a storage and a crash, in every order.
//!
//! `COORDINATOR_MODEL=large` checks a larger space.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the number of states is a result")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use coordinator::{
    AbortReason, Ack, CheckpointConfig, CheckpointCoordinator, JobEnd, Output, Retention, StoreAs, TaskId,
    TaskMetrics,
};
use stateright::{Checker, Model, Property};

const JOB: &str = "job";
const TASKS: u16 = 2;
const TIMEOUT: u64 = 20;

/// A state file, by checkpoint and subtask.
type File = (u64, u16);

#[derive(Clone, Debug)]
struct Bounds {
    /// User requests.
    requests: u8,
    /// The last moment.
    end: u64,
    max_concurrent: usize,
    /// Time between periodic checkpoints, which is also their pause.
    interval: Option<u64>,
    retained: usize,
    retention: Retention,
}

/// Coordinator, network, tasks and storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    coordinator: CheckpointCoordinator<File>,
    now: u64,
    requests: u8,
    crashes: u8,
    has_ended: bool,
    /// Barriers on their way to tasks.
    barriers: BTreeSet<File>,
    /// Acknowledgements on their way, and how often each may still arrive.
    acks: BTreeMap<File, u8>,
    /// Pending work of the storage, in order.
    stores: VecDeque<(u64, Vec<File>)>,
    storage: Storage,
    told: BTreeMap<u64, Told>,
    last_completion: Option<u64>,
    fault: Option<&'static str>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Storage {
    last_id: u64,
    files: BTreeSet<File>,
    /// Completed checkpoints, with the files that they need.
    completed: BTreeMap<u64, Vec<File>>,
    /// True if a checkpoint completed.
    has_completed: bool,
    /// Files whose acknowledgement was lost, so that no coordinator can know them.
    lost: BTreeSet<File>,
}

/// Notifications that tasks received for a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    complete: u8,
    aborted: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Request,
    Tick,
    /// A task takes its snapshot and acknowledges.
    Snapshot(File),
    /// A task declines.
    Decline(File),
    Deliver(File),
    Lose(File),
    Store,
    FailStore,
    /// Coordinator and tasks start again.
    Crash,
    End,
}

impl Bounds {
    fn coordinator(&self, latest: Option<u64>, now: u64) -> CheckpointCoordinator<File> {
        let config = CheckpointConfig {
            interval: self.interval.map(Duration::from_millis),
            timeout: Duration::from_millis(TIMEOUT),
            min_pause: Duration::from_millis(self.interval.unwrap_or_default()),
            max_concurrent: self.max_concurrent,
            tolerable_failures: 100,
            retained: self.retained,
            retention: self.retention,
            ..CheckpointConfig::default()
        };
        let tasks: Vec<_> = (0..TASKS).map(|subtask| TaskId::new("op", subtask)).collect();
        let mut coordinator = CheckpointCoordinator::new(config, JOB, &tasks, latest).unwrap();
        coordinator.start(now);
        coordinator
    }
}

impl World {
    fn settle(&mut self, bounds: &Bounds) {
        loop {
            let outputs = self.coordinator.outputs();
            if outputs.is_empty() {
                break;
            }
            outputs.into_iter().for_each(|output| self.carry_out(output, bounds));
        }
        if self.coordinator.pending().len() > bounds.max_concurrent {
            self.fault = Some("more under way than may be");
        }
    }

    fn carry_out(&mut self, output: Output<File>, bounds: &Bounds) {
        match output {
            Output::ReserveId { .. } => {
                self.storage.last_id += 1;
                self.coordinator.id_reserved(self.now, Ok(self.storage.last_id.into()));
            }
            Output::SendBarrier(barrier) => {
                if barrier.id != self.storage.last_id || self.told.contains_key(&barrier.id) {
                    self.fault = Some("an id does not increase");
                }
                let pause = bounds.interval.unwrap_or_default();
                if bounds.requests == 0 && self.last_completion.is_some_and(|last| self.now < last + pause) {
                    self.fault = Some("the pause is not kept");
                }
                self.told.insert(barrier.id, Told::default());
                self.barriers.extend((0..TASKS).map(|subtask| (barrier.id, subtask)));
            }
            Output::Store { id, target, states } => {
                assert_eq!(target, StoreAs::Checkpoint);
                self.stores.push_back((id, states));
            }
            Output::NotifyComplete { id } => {
                if !self.storage.completed.contains_key(&id) {
                    self.fault = Some("tasks are told of a checkpoint that is not stored");
                }
                self.told.entry(id).or_default().complete += 1;
            }
            Output::NotifyAborted { id, .. } => self.told.entry(id).or_default().aborted += 1,
            Output::Discard { id, states } => self.discard(id, &states),
            Output::DeleteCompleted => {
                if !self.stores.is_empty() {
                    self.fault = Some("what is being stored would stay");
                }
                for (_, files) in std::mem::take(&mut self.storage.completed) {
                    files.iter().for_each(|file| _ = self.storage.files.remove(file));
                }
                self.storage.has_completed = false;
            }
            Output::Report(report) => {
                if report.failure == Some(AbortReason::Subsumed)
                    && self.coordinator.latest() < Some(report.id)
                {
                    self.fault = Some("subsumed by nothing");
                }
            }
            Output::Answer { .. } | Output::FailJob { .. } | Output::StopJob(_) => {}
        }
    }

    /// As `CheckpointStore::discard`: a completed checkpoint stays.
    fn discard(&mut self, id: u64, states: &[File]) {
        if states.iter().any(|file| self.storage.completed.values().flatten().any(|used| used == file)) {
            self.fault = Some("live state is to be discarded");
        }
        if !self.storage.completed.contains_key(&id) {
            states.iter().for_each(|file| _ = self.storage.files.remove(file));
        }
    }

    /// As `CheckpointStore::complete`.
    fn store(&mut self, bounds: &Bounds) {
        let Some((id, files)) = self.stores.pop_front() else { return };
        if self.storage.completed.last_key_value().is_some_and(|(latest, _)| *latest >= id) {
            self.fault = Some("an older checkpoint is stored after a newer one");
        }
        if files.len() != usize::from(TASKS) || files.iter().any(|file| !self.storage.files.contains(file)) {
            self.fault = Some("a checkpoint is stored that cannot be restored");
        }
        self.storage.completed.insert(id, files);
        self.storage.has_completed = true;
        while self.storage.completed.len() > bounds.retained {
            let (_, files) = self.storage.completed.pop_first().unwrap();
            files.iter().for_each(|file| _ = self.storage.files.remove(file));
        }
        self.last_completion = Some(self.now);
        self.coordinator.stored(self.now, id, Ok(()));
    }
}

impl Model for Bounds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            coordinator: self.coordinator(None, 0),
            now: 0,
            requests: self.requests,
            crashes: 1,
            has_ended: false,
            barriers: BTreeSet::new(),
            acks: BTreeMap::new(),
            stores: VecDeque::new(),
            storage: Storage::default(),
            told: BTreeMap::new(),
            last_completion: None,
            fault: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.requests > 0 {
            actions.push(Action::Request);
        }
        if world.now < self.end {
            actions.push(Action::Tick);
        }
        for &file in &world.barriers {
            actions.extend([Action::Snapshot(file), Action::Decline(file)]);
        }
        for &file in world.acks.keys() {
            actions.extend([Action::Deliver(file), Action::Lose(file)]);
        }
        if !world.stores.is_empty() {
            actions.extend([Action::Store, Action::FailStore]);
        }
        if world.crashes > 0 {
            actions.push(Action::Crash);
        }
        if !world.has_ended {
            actions.push(Action::End);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Request => {
                world.requests -= 1;
                world.coordinator.trigger(world.now);
            }
            Action::Tick => {
                world.now += TIMEOUT / 2;
                world.coordinator.tick(world.now);
            }
            Action::Snapshot(file) => {
                world.barriers.remove(&file);
                world.storage.files.insert(file);
                world.acks.insert(file, 2);
            }
            Action::Decline(file) => {
                world.barriers.remove(&file);
                world.coordinator.decline(world.now, file.0, TaskId::new("op", file.1), "");
            }
            Action::Deliver(file) => {
                match world.acks.get_mut(&file) {
                    Some(left) if *left > 1 => *left -= 1,
                    _ => _ = world.acks.remove(&file),
                }
                let (job, task) = (JOB.into(), TaskId::new("op", file.1));
                let metrics = TaskMetrics::default();
                world.coordinator.acknowledge(Ack { job, checkpoint_id: file.0, task, state: file, metrics });
            }
            Action::Lose(file) => {
                // The coordinator knows if it had arrived before.
                if world.acks.remove(&file) == Some(2) {
                    world.storage.lost.insert(file);
                }
            }
            Action::Store => world.store(self),
            Action::FailStore => {
                let (id, files) = world.stores.pop_front()?;
                world.discard(id, &files);
                world.coordinator.stored(world.now, id, Err("no room".to_owned()));
            }
            Action::Crash => {
                world.crashes -= 1;
                world.barriers.clear();
                world.stores.clear();
                // Recovery: files that no completed checkpoint names are deleted. Acknowledgements may still
                // arrive.
                let live: BTreeSet<File> = world.storage.completed.values().flatten().copied().collect();
                world.storage.files.retain(|file| live.contains(file));
                world.storage.lost.retain(|file| live.contains(file));
                let latest = world.storage.completed.last_key_value().map(|(id, _)| *id);
                if !world.has_ended {
                    world.coordinator = self.coordinator(latest, world.now);
                }
                // A new coordinator knows nothing about earlier times.
                world.last_completion = None;
                world.told.clear();
                for id in 1..=world.storage.last_id {
                    world.told.insert(id, Told::default());
                }
            }
            Action::End => {
                world.has_ended = true;
                world.coordinator.end(world.now, JobEnd::Cancelled);
            }
        }
        world.settle(self);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no rule is broken", |_, world: &World| world.fault.is_none()),
            Property::always("every completed checkpoint can be restored", |_, world: &World| {
                let storage = &world.storage;
                storage.completed.values().flatten().all(|file| storage.files.contains(file))
                    && storage.completed.is_empty() != storage.has_completed
            }),
            Property::always("tasks are told once how a checkpoint ends", |_, world: &World| {
                world.told.values().all(|told| told.complete + told.aborted <= 1)
            }),
            Property::always("nothing dead stays", |_, world: &World| {
                let is_quiet = world.barriers.is_empty() && world.acks.is_empty() && world.stores.is_empty();
                let live: BTreeSet<&File> = world.storage.completed.values().flatten().collect();
                let is_known = |file: &File| live.contains(file) || world.storage.lost.contains(file);
                !is_quiet || world.coordinator.pending().len() > 0 || world.storage.files.iter().all(is_known)
            }),
            Property::sometimes("two complete", |_, world: &World| {
                world.storage.completed.last_key_value().is_some_and(|(id, _)| *id == 2)
            }),
            Property::sometimes("a crash after a completion", |_, world: &World| {
                world.crashes == 0 && world.storage.has_completed
            }),
            Property::sometimes("one is subsumed", |bounds, world: &World| {
                bounds.max_concurrent == 1
                    || (world.told.get(&1).is_some_and(|told| told.aborted == 1)
                        && world.told.get(&2).is_some_and(|told| told.complete == 1))
            }),
        ]
    }
}

fn check(bounds: Bounds) {
    let checker = bounds.clone().checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let (unique, total) = (checker.unique_state_count(), checker.state_count());
    println!("{bounds:?}: {unique} states, {total} transitions");
    assert!(checker.is_done());
}

fn is_large() -> bool {
    std::env::var("COORDINATOR_MODEL").is_ok_and(|size| size == "large")
}

#[test]
fn two_at_a_time() {
    let (requests, end) = if is_large() { (2, TIMEOUT) } else { (2, 0) };
    let retention = Retention::RetainOnCancellation;
    check(Bounds { requests, end, max_concurrent: 2, interval: None, retained: 1, retention });
}

#[test]
fn one_at_a_time_without_retention() {
    let (requests, end) = if is_large() { (3, TIMEOUT) } else { (2, TIMEOUT / 2) };
    let retention = Retention::None;
    check(Bounds { requests, end, max_concurrent: 1, interval: None, retained: 1, retention });
}

#[test]
fn periodic_with_a_pause() {
    let end = if is_large() { 5 * TIMEOUT } else { 7 * TIMEOUT / 2 };
    let retention = Retention::DeleteOnCancellation;
    let interval = Some(3 * TIMEOUT / 2);
    check(Bounds { requests: 0, end, max_concurrent: 1, interval, retained: 1, retention });
}
