//! A job of two sources and three operators on the driver, killed at random. With alignment the counts are
//! exact. Without it they are never too low.
//!
//! `JOB_KILLS` sets the number of kills (20 by default).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backend_api::{
    CheckpointTarget, Error, ErrorKind, JobFolder, KeySpace, MemoryStorage, Result, Storage, Subtask,
    TaskRestore,
};
use coordinator::{
    Attempt, CheckpointConfig, CheckpointStore, CheckpointStoreOptions, CheckpointingMode, Control, Input,
    Inputs, JobDriver, JobEnd, JobOutcome, Message, RestartStrategy, Task, TaskContext, TaskId,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use task_state::{OperatorListDescriptor, OperatorListToken, OperatorState, TaskSnapshot};

/// Words that are counted.
const WORDS: u64 = 7;

type Link = (Sender<Message<u64>>, Receiver<Message<u64>>);

fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    move |bound| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    }
}

/// A job, with what the test observes from outside.
struct Job {
    target: CheckpointTarget,
    kills: u64,
    /// Records of each source. Enough that the last kill comes before the end.
    records: u64,
    /// Records until the next kill.
    fuse: AtomicU64,
    result: std::sync::Mutex<BTreeMap<u64, u64>>,
}

/// One subtask with its operator state.
struct State {
    subtask: Subtask<u64>,
    target: CheckpointTarget,
    operator: OperatorState,
    token: OperatorListToken<(u64, u64)>,
}

impl State {
    fn open(target: &CheckpointTarget, task: &TaskId, restore: &TaskRestore) -> Result<Self> {
        let parallelism = if &*task.operator == "source" { 2 } else { 1 };
        let space = KeySpace::new(8)?;
        let subtask = Subtask::new(&*task.operator, space, parallelism, task.subtask)?;
        let mut operator = OperatorState::open(target, &subtask, restore.operator())?;
        let token = operator.register(OperatorListDescriptor::even_split("state"))?;
        Ok(Self { subtask, target: target.clone(), operator, token })
    }

    fn read(&mut self) -> Result<BTreeMap<u64, u64>> {
        Ok(self.operator.list(self.token)?.iter().copied().collect())
    }

    fn snapshot(
        &mut self,
        context: &mut TaskContext,
        barrier: &coordinator::Barrier,
        content: &BTreeMap<u64, u64>,
    ) -> Result<()> {
        self.operator.list(self.token)?.set(content.iter().map(|(key, value)| (*key, *value)));
        let Self { subtask, target, operator, .. } = self;
        context.snapshot(barrier, Default::default(), |request| {
            Ok(TaskSnapshot::new(target, subtask, request).operator(operator)?.into_task())
        });
        Ok(())
    }
}

impl Job {
    /// Counts a record. When the fuse has burnt down, the process is killed, which here ends a task.
    fn burn(&self) -> Result<()> {
        match self.fuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(1) => Err(Error::new(ErrorKind::Function, "killed")),
            _ => Ok(()),
        }
    }

    /// Sends numbers from the restored position on.
    fn source(&self, mut context: TaskContext, mut state: State, out: &Sender<Message<u64>>) -> Result<()> {
        let mut content = state.read()?;
        let index = u64::from(context.task().subtask);
        let mut position = content.get(&index).copied().unwrap_or(0);
        while position < self.records {
            let is_due = index == 0 && position % 50 == 49;
            let here = if is_due { context.checkpoint_here()? } else { None };
            let mut control = here.map(Control::Barrier);
            loop {
                match control {
                    Some(Control::Barrier(barrier)) => {
                        content.insert(index, position);
                        state.snapshot(&mut context, &barrier, &content)?;
                        send(out, Message::Barrier(barrier))?;
                    }
                    Some(Control::Stop) => return Ok(()),
                    Some(Control::Complete(_) | Control::Aborted(_)) => {}
                    None => {}
                }
                control = context.poll()?;
                if control.is_none() {
                    break;
                }
            }
            self.burn()?;
            send(out, Message::Record(position % WORDS))?;
            position += 1;
        }
        send(out, Message::End)
    }

    /// Joins both sources, and counts records: an operator with two inputs.
    fn join(
        &self,
        mut context: TaskContext,
        mut state: State,
        ins: Vec<Receiver<Message<u64>>>,
        out: &Sender<Message<u64>>,
    ) -> Result<()> {
        let mut content = state.read()?;
        let mut inputs = Inputs::new(ins, 1 << 10, |_| 8);
        loop {
            match inputs.next(&mut context)? {
                Input::Record { record, .. } => {
                    self.burn()?;
                    *content.entry(record).or_insert(0) += 1;
                    send(out, Message::Record(record))?;
                }
                Input::Barrier(barrier, _) => {
                    state.snapshot(&mut context, &barrier, &content)?;
                    send(out, Message::Barrier(barrier))?;
                }
                Input::Control(Control::Stop) => return Ok(()),
                Input::Control(_) => {}
                Input::End => {
                    *self.result.lock().unwrap() = content;
                    return send(out, Message::End);
                }
            }
        }
    }

    /// Counts all records again after the join.
    fn sink(&self, mut context: TaskContext, mut state: State, input: Receiver<Message<u64>>) -> Result<()> {
        let mut content = state.read()?;
        let mut inputs = Inputs::new(vec![input], 1 << 10, |_| 8);
        loop {
            match inputs.next(&mut context)? {
                Input::Record { .. } => *content.entry(WORDS).or_insert(0) += 1,
                Input::Barrier(barrier, _) => state.snapshot(&mut context, &barrier, &content)?,
                Input::Control(Control::Stop) => return Ok(()),
                Input::Control(_) => {}
                Input::End => {
                    self.result.lock().unwrap().extend(content);
                    return Ok(());
                }
            }
        }
    }

    fn tasks<'env>(
        &'env self,
        attempt: Attempt<'_>,
        chance: &mut impl FnMut(u64) -> u64,
    ) -> Result<Vec<Task<'env>>> {
        let fuse = if u64::from(attempt.failures) < self.kills { 1 + chance(500) } else { u64::MAX };
        self.fuse.store(fuse, Ordering::Relaxed);
        let open = |task: &TaskId| {
            let restore = match attempt.checkpoint {
                Some(checkpoint) => {
                    let parallelism = if &*task.operator == "source" { 2 } else { 1 };
                    checkpoint.restore(&Subtask::new(
                        &*task.operator,
                        KeySpace::<u64>::new(8)?,
                        parallelism,
                        task.subtask,
                    )?)?
                }
                None => TaskRestore::empty(),
            };
            State::open(&self.target, task, &restore)
        };
        let links: [Link; 3] = std::array::from_fn(|_| bounded(16));
        let [(first, one), (second, two), (joined, last)] = links;
        let mut tasks = Vec::new();
        for (index, out) in (0..).zip([first, second]) {
            let id = TaskId::new("source", index);
            let state = open(&id)?;
            tasks.push(Task::source(id, move |context| self.source(context, state, &out)));
        }
        let id = TaskId::new("join", 0);
        let state = open(&id)?;
        tasks.push(Task::operator(id, move |context| self.join(context, state, vec![one, two], &joined)));
        let id = TaskId::new("sink", 0);
        let state = open(&id)?;
        tasks.push(Task::operator(id, move |context| self.sink(context, state, last)));
        Ok(tasks)
    }
}

fn send(out: &Sender<Message<u64>>, message: Message<u64>) -> Result<()> {
    out.send(message).map_err(|_| Error::new(ErrorKind::Closed, "the task behind has ended"))
}

/// Runs the job with this many kills, and returns its counts.
fn run(mode: CheckpointingMode, kills: u64, seed: u64) -> (BTreeMap<u64, u64>, JobOutcome) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let folder = JobFolder::new("job").unwrap();
    let target = CheckpointTarget::files(Arc::clone(&storage), folder.clone());
    let store = CheckpointStore::open(CheckpointStoreOptions::in_storage(folder, storage)).unwrap();
    let config = CheckpointConfig { mode, tolerable_failures: 1000, ..CheckpointConfig::default() };
    let restart = RestartStrategy::FixedDelay { attempts: kills as u32, delay: Duration::ZERO };
    let (fuse, result) = (AtomicU64::new(0), Default::default());
    let job = Job { target, kills, records: records(kills), fuse, result };
    let mut chance = numbers(seed);
    let outcome =
        JobDriver::new("job", config, restart, store).run(|attempt| job.tasks(attempt, &mut chance));
    (job.result.into_inner().unwrap(), outcome.unwrap())
}

fn records(kills: u64) -> u64 {
    150 * kills
}

/// The counts if every record is counted once.
fn exact() -> BTreeMap<u64, u64> {
    let records = records(kills());
    let count = |word| 2 * (0..records).filter(|record| record % WORDS == word).count() as u64;
    (0..WORDS).map(|word| (word, count(word))).chain([(WORDS, 2 * records)]).collect()
}

fn kills() -> u64 {
    std::env::var("JOB_KILLS").map_or(20, |kills| kills.parse().unwrap())
}

#[test]
fn exactly_once_counts_are_exact_when_killed_at_random() {
    let (found, outcome) = run(CheckpointingMode::ExactlyOnce, kills(), 1);
    assert_eq!(found, exact());
    assert_eq!((outcome.end, u64::from(outcome.restarts)), (JobEnd::Finished, kills()));
    assert!(outcome.statistics.completed > 0);
}

#[test]
fn without_alignment_records_are_counted_at_least_once() {
    let mut too_many = 0;
    for seed in 0..4 {
        let (found, _) = run(CheckpointingMode::AtLeastOnce, kills(), seed);
        for (word, count) in exact() {
            assert!(found[&word] >= count, "word {word}: {} of {count}", found[&word]);
            too_many += found[&word] - count;
        }
    }
    // Otherwise the test of exact counts would prove nothing.
    assert!(too_many > 0);
}

#[test]
fn a_job_without_restarts_reports_why_it_failed() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = CheckpointStoreOptions::in_storage(JobFolder::new("job").unwrap(), storage);
    let store = CheckpointStore::open(options).unwrap();
    let driver = JobDriver::new("job", CheckpointConfig::default(), RestartStrategy::None, store);
    let failed = driver.run(|_| {
        let waits = |mut context: TaskContext| loop {
            if context.wait()? == Control::Stop {
                return Err(Error::new(ErrorKind::Closed, "told to stop"));
            }
        };
        let fails = |_| Err(Error::new(ErrorKind::Function, "no such luck"));
        Ok(vec![Task::source(TaskId::new("a", 0), waits), Task::source(TaskId::new("b", 0), fails)])
    });
    let error = failed.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Function, "no such luck"));
}

#[test]
fn a_handle_triggers_and_cancels() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let options = CheckpointStoreOptions::in_storage(JobFolder::new("job").unwrap(), storage);
    let store = CheckpointStore::open(options).unwrap();
    let driver = JobDriver::new("job", CheckpointConfig::default(), RestartStrategy::None, store);
    let handle = driver.handle();
    let target = CheckpointTarget::memory(1 << 20).unwrap();
    let answered = handle.trigger();
    let outcome = driver.run(|_| {
        let (target, handle, answered) = (target.clone(), handle.clone(), answered.clone());
        let work = move |mut context: TaskContext| {
            let mut state = State::open(&target, &TaskId::new("sink", 0), &TaskRestore::empty())?;
            loop {
                match context.wait()? {
                    Control::Barrier(barrier) => state.snapshot(&mut context, &barrier, &BTreeMap::new())?,
                    Control::Complete(id) => {
                        assert_eq!(answered.recv().unwrap().unwrap().id, id);
                        handle.cancel();
                    }
                    Control::Aborted(_) => {}
                    Control::Stop => return Ok(()),
                }
            }
        };
        Ok(vec![Task::source(TaskId::new("sink", 0), work)])
    });
    assert_eq!(outcome.unwrap().end, JobEnd::Cancelled);
}
