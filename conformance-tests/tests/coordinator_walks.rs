//! Random walks of a coordinator over a storage that loses power. The last completed checkpoint always
//! restores, ids increase, and no unused file stays.
//!
//! `WALKS` sets the number of walks (200 by default), `WALK_SEED` replays one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backend_api::{
    Checkpoint, CheckpointTarget, JobFolder, KeySpace, MemoryStorage, Result, SnapshotTask, Storage, Subtask,
    TaskState,
};
use conformance_tests::storage::CrashingStorage;
use coordinator::{
    Ack, Barrier, CheckpointConfig, CheckpointCoordinator, CheckpointStore, CheckpointStoreOptions, Output,
    StoreAs, TaskId, TaskMetrics,
};
use task_state::{OperatorListDescriptor, OperatorState, TaskSnapshot};

const TASKS: u16 = 3;
const STEPS: u64 = 60;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        choices.get(self.below(choices.len().max(1) as u64) as usize).copied()
    }
}

fn subtask(index: u16) -> Subtask<u64> {
    Subtask::new("op", KeySpace::new(8).unwrap(), TASKS, index).unwrap()
}

fn descriptor() -> OperatorListDescriptor<u64> {
    OperatorListDescriptor::even_split("list")
}

/// The state of a subtask at a checkpoint: large enough for a file, and different for each.
fn content(id: u64, index: u16) -> Vec<u64> {
    (0..8).map(|n| 1000 * id + 10 * u64::from(index) + n).collect()
}

struct Walk {
    random: Random,
    storage: Arc<CrashingStorage>,
    store: CheckpointStore,
    coordinator: CheckpointCoordinator<TaskState>,
    states: Vec<OperatorState>,
    now: u64,
    retained: usize,
    /// Barriers that a task has not seen.
    barriers: Vec<(Barrier, u16)>,
    /// Acknowledgements on their way.
    acks: Vec<(u64, u16)>,
    written: BTreeMap<(u64, u16), TaskState>,
    /// The highest id so far.
    last_id: u64,
    /// The last checkpoint that the store reported complete.
    completed: Option<u64>,
}

fn options(storage: &Arc<CrashingStorage>, retained: usize) -> CheckpointStoreOptions {
    let storage = Arc::clone(storage) as Arc<dyn Storage>;
    CheckpointStoreOptions::in_storage(JobFolder::new("job").unwrap(), storage)
        .with_retained(retained)
        .unwrap()
}

fn coordinator(latest: Option<u64>, random: &mut Random) -> CheckpointCoordinator<TaskState> {
    let config = CheckpointConfig {
        max_concurrent: 1 + random.below(3) as usize,
        timeout: Duration::from_millis(50),
        tolerable_failures: u32::MAX,
        ..CheckpointConfig::default()
    };
    let tasks: Vec<_> = (0..TASKS).map(|index| TaskId::new("op", index)).collect();
    let mut coordinator = CheckpointCoordinator::new(config, "job", &tasks, latest).unwrap();
    coordinator.start(0);
    coordinator
}

fn states(storage: &Arc<CrashingStorage>) -> Vec<OperatorState> {
    let storage = Arc::clone(storage) as Arc<dyn Storage>;
    let target = CheckpointTarget::files(storage, JobFolder::new("job").unwrap()).with_inline_max(0).unwrap();
    (0..TASKS).map(|index| OperatorState::open(&target, &subtask(index), &[]).unwrap()).collect()
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let storage = Arc::new(CrashingStorage::new(Arc::new(MemoryStorage::new())));
        let retained = 1 + random.below(3) as usize;
        let store = CheckpointStore::open(options(&storage, retained)).unwrap();
        let (coordinator, states) = (coordinator(None, &mut random), states(&storage));
        let (barriers, acks, written) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (now, last_id, completed) = (0, 0, None);
        Self {
            random,
            storage,
            store,
            coordinator,
            states,
            now,
            retained,
            barriers,
            acks,
            written,
            last_id,
            completed,
        }
    }

    fn step(&mut self) {
        match self.random.below(14) {
            0 | 1 => _ = self.coordinator.trigger(self.now),
            2 => {
                self.now += self.random.below(20);
                self.coordinator.tick(self.now);
            }
            3..=6 => self.snapshot(),
            7..=10 => self.deliver(),
            11 => {
                // An acknowledgement is lost.
                if !self.acks.is_empty() {
                    self.acks.remove(self.random.below(self.acks.len() as u64) as usize);
                }
            }
            12 => {
                let oldest = self.coordinator.pending().next();
                if let Some(id) = oldest {
                    self.coordinator.decline(self.now, id, TaskId::new("op", 0), "");
                }
            }
            _ => {
                let (nth, seed) = (1 + self.random.below(12), self.random.below(u64::MAX));
                self.storage.crash(nth, seed);
            }
        }
        self.settle();
        if self.storage.list("").is_err() {
            self.storage.reboot().unwrap();
            self.restart();
        }
    }

    /// A task takes its snapshot, writes it and acknowledges.
    fn snapshot(&mut self) {
        if self.barriers.is_empty() {
            return;
        }
        let at = self.random.below(self.barriers.len() as u64) as usize;
        let (barrier, index) = self.barriers.remove(at);
        match self.write(&barrier, index) {
            Ok(state) => {
                self.written.insert((barrier.id, index), state);
                self.acks.push((barrier.id, index));
            }
            Err(error) => {
                let task = TaskId::new("op", index);
                self.coordinator.decline(self.now, barrier.id, task, error.to_string());
            }
        }
    }

    fn write(&mut self, barrier: &Barrier, index: u16) -> Result<TaskState> {
        let state = &mut self.states[usize::from(index)];
        let token = state.register(descriptor())?;
        state.list(token)?.set(content(barrier.id, index));
        let target = CheckpointTarget::memory(1)?;
        let snapshot = TaskSnapshot::new(&target, &subtask(index), barrier.request()).operator(state)?;
        SnapshotTask::run(snapshot.into_task())
    }

    /// An acknowledgement arrives, and may arrive again.
    fn deliver(&mut self) {
        let Some((checkpoint_id, index)) = self.random.one_of(&self.acks) else { return };
        if self.random.below(4) > 0 {
            self.acks.retain(|ack| *ack != (checkpoint_id, index));
        }
        let Some(state) = self.written.get(&(checkpoint_id, index)).cloned() else { return };
        let (job, task) = ("job".into(), TaskId::new("op", index));
        let metrics = TaskMetrics::default();
        self.coordinator.acknowledge(Ack { job, checkpoint_id, task, state, metrics });
    }

    fn settle(&mut self) {
        loop {
            let outputs = self.coordinator.outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::ReserveId { .. } => {
                        let id = self.store.begin().map(Into::into).map_err(|error| error.to_string());
                        self.coordinator.id_reserved(self.now, id);
                    }
                    Output::SendBarrier(barrier) => {
                        assert!(barrier.id > self.last_id, "id {} after {}", barrier.id, self.last_id);
                        self.last_id = barrier.id;
                        self.barriers.extend((0..TASKS).map(|index| (barrier.clone(), index)));
                    }
                    Output::Store { id, target, states } => {
                        assert_eq!(target, StoreAs::Checkpoint);
                        let result = self.store.complete(Checkpoint::new(id, states));
                        if result.is_ok() {
                            self.completed = Some(id);
                        }
                        self.coordinator.stored(self.now, id, result.map_err(|error| error.to_string()));
                    }
                    Output::Discard { id, states } => self.store.discard(id, &states),
                    Output::NotifyAborted { id, .. } => self.barriers.retain(|(barrier, _)| barrier.id != id),
                    _ => {}
                }
            }
        }
    }

    /// The power failed: everything restarts from the storage.
    fn restart(&mut self) {
        self.barriers.clear();
        self.store = CheckpointStore::open(options(&self.storage, self.retained)).unwrap();
        let latest = self.store.latest().map(|checkpoint| checkpoint.id);
        assert!(latest >= self.completed, "{latest:?} is restored, {:?} was complete", self.completed);
        self.completed = latest;
        self.coordinator = coordinator(latest, &mut self.random);
        self.states = states(&self.storage);
        self.check_restore();
    }

    /// Checks that every retained checkpoint restores what was written.
    fn check_restore(&self) {
        let storage = Arc::clone(&self.storage) as Arc<dyn Storage>;
        let target = CheckpointTarget::files(storage, JobFolder::new("job").unwrap());
        for checkpoint in self.store.checkpoints() {
            for index in 0..TASKS {
                let restore = checkpoint.restore(&subtask(index)).unwrap();
                let mut state = OperatorState::open(&target, &subtask(index), restore.operator()).unwrap();
                let token = state.register(descriptor()).unwrap();
                let found: Vec<u64> = state.list(token).unwrap().iter().copied().collect();
                assert_eq!(found, content(checkpoint.id, index), "checkpoint {}", checkpoint.id);
            }
        }
    }
}

fn walk(seed: u64) {
    let mut walk = Walk::new(seed);
    for _ in 0..STEPS {
        walk.step();
    }
    // Once it is quiet, only retained checkpoints are left.
    walk.storage.reboot().unwrap();
    walk.restart();
    assert_eq!(walk.store.orphans().unwrap(), Vec::<String>::new(), "seed {seed}");
}

#[test]
fn the_last_checkpoint_survives_and_no_unused_file_stays() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("WALK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WALKS").unwrap_or(200),
    };
    let next = AtomicU64::new(seeds.start);
    let walker = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        if std::panic::catch_unwind(|| walk(seed)).is_err() {
            panic!("replay with WALK_SEED={seed}");
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(walker)));
}
