//! The cost of coordination: `cargo run --release -p coordinator --example cost`.

#![expect(clippy::print_stdout, reason = "a program talks to people")]

use std::time::{Duration, Instant};

use backend_api::{
    Checkpoint, CheckpointTarget, JobFolder, KeySpace, Result, SnapshotRequest, Subtask, TaskState,
};
use coordinator::{
    Ack, CheckpointConfig, CheckpointCoordinator, CheckpointStore, CheckpointStoreOptions, Output, TaskId,
    TaskMetrics,
};
use task_state::{OperatorListDescriptor, OperatorState, TaskSnapshot};

const SUBTASKS: u16 = 1000;

fn main() -> Result<()> {
    acknowledgements()?;
    checkpoint()?;
    synchronous_part()
}

fn tasks() -> Vec<TaskId> {
    (0..SUBTASKS).map(|subtask| TaskId::new("op", subtask)).collect()
}

/// The best of several rounds, because other programs use this machine too.
fn best(rounds: usize, mut round: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        best = best.min(round()?);
    }
    Ok(best)
}

/// Measures `acknowledge`, except the last call, which completes the checkpoint.
fn acknowledgements() -> Result<()> {
    let tasks = tasks();
    let mut coordinator = CheckpointCoordinator::new(CheckpointConfig::default(), "job", &tasks, None)?;
    coordinator.start(0);
    let mut id = 0;
    let time = best(100, || {
        id += 1;
        coordinator.trigger(id);
        coordinator.id_reserved(id, Ok(id.into()));
        coordinator.outputs();
        let job = std::sync::Arc::from("job");
        let acks: Vec<_> = tasks.iter().map(|task| ack(&job, id, task, ())).collect();
        let start = Instant::now();
        for ack in acks {
            coordinator.acknowledge(ack);
        }
        let time = start.elapsed();
        coordinator.stored(id, id, Ok(()));
        coordinator.outputs();
        Ok(time)
    })?;
    println!("acknowledge at {SUBTASKS} subtasks: {:?}", time / u32::from(SUBTASKS));
    Ok(())
}

fn ack<S>(job: &std::sync::Arc<str>, checkpoint_id: u64, task: &TaskId, state: S) -> Ack<S> {
    Ack { job: job.clone(), checkpoint_id, task: task.clone(), state, metrics: TaskMetrics::default() }
}

/// Measures from the trigger until the checkpoint is complete, with a few bytes of state per subtask and a
/// store in memory.
fn checkpoint() -> Result<()> {
    let tasks = tasks();
    let target = CheckpointTarget::memory(5 << 20)?;
    let space = KeySpace::<u64>::new(4096)?;
    let mut states = Vec::new();
    for index in 0..SUBTASKS {
        let subtask = Subtask::new("op", space.clone(), SUBTASKS, index)?;
        let mut state = OperatorState::open(&target, &subtask, &[])?;
        let token = state.register(OperatorListDescriptor::<u64>::even_split("positions"))?;
        state.list(token)?.set([u64::from(index)]);
        states.push((subtask, state));
    }
    let mut store = CheckpointStore::open(CheckpointStoreOptions::in_memory(JobFolder::new("job")?))?;
    let mut coordinator =
        CheckpointCoordinator::<TaskState>::new(CheckpointConfig::default(), "job", &tasks, None)?;
    coordinator.start(0);
    let job = std::sync::Arc::from("job");
    let (mut snapshots, mut bytes) = (Duration::MAX, 0);
    let time = best(10, || {
        let start = Instant::now();
        coordinator.trigger(0);
        let mut writing = Duration::ZERO;
        loop {
            let outputs = coordinator.outputs();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::ReserveId { .. } => {
                        let id = store.begin()?;
                        coordinator.id_reserved(0, Ok(id.into()));
                    }
                    Output::SendBarrier(barrier) => {
                        let begin = Instant::now();
                        let request: SnapshotRequest = barrier.request();
                        for (task, (subtask, state)) in tasks.iter().zip(&mut states) {
                            let snapshot =
                                TaskSnapshot::new(&target, subtask, request.clone()).operator(state)?;
                            let state = snapshot.into_task().run()?;
                            coordinator.acknowledge(ack(&job, barrier.id, task, state));
                        }
                        writing = begin.elapsed();
                    }
                    Output::Store { id, states, .. } => {
                        let checkpoint = Checkpoint::new(id, states);
                        bytes = checkpoint.encode()?.len();
                        store.complete(checkpoint)?;
                        coordinator.stored(0, id, Ok(()));
                    }
                    _ => {}
                }
            }
        }
        snapshots = snapshots.min(writing);
        Ok(start.elapsed())
    })?;
    println!(
        "checkpoint of {SUBTASKS} subtasks: {time:?}, of which snapshots {snapshots:?}; {bytes} bytes of metadata"
    );
    Ok(())
}

/// Measures the synchronous part of a list's snapshot, and the first change after it.
fn synchronous_part() -> Result<()> {
    let subtask = Subtask::single("source", KeySpace::<u64>::new(128)?)?;
    let target = CheckpointTarget::memory(1 << 30)?;
    let mut state = OperatorState::open(&target, &subtask, &[])?;
    let token = state.register(OperatorListDescriptor::<u64>::union("elements"))?;
    state.list(token)?.add_all(0..1_000_000);
    let (mut id, mut change) = (0, Duration::MAX);
    let time = best(20, || {
        id += 1;
        let start = Instant::now();
        let task = state.snapshot(SnapshotRequest::new(id))?;
        let time = start.elapsed();
        let start = Instant::now();
        state.list(token)?.update(500_000, |element| *element += 1);
        change = change.min(start.elapsed());
        drop(task);
        Ok(time)
    })?;
    println!("sync part of 1,000,000 elements: {time:?}, first change after it {change:?}");
    Ok(())
}
