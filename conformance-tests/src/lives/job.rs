//! A job that a program drives, and an account of its state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backend_api::{
    Checkpoint, Error, ErrorKind, KeyedStateHandle, Result, SnapshotTask, StateBackend, StateData, TaskState,
};
use coordinator::{CheckpointStore, JobContents};

use super::program::{Program, Step};
use super::states::{Account, States};
use crate::storage::{FailingStorage, Faults};
use crate::{Factory, OPERATOR, Setup, World, part};
use backend_api::SnapshotRequest;

/// Key groups of the operator.
const GROUPS: u16 = 10;

/// Checkpoints in a row that the store may refuse after a lost notification: the backend builds on a
/// checkpoint that is deleted until it takes a full one.
const REFUSALS_MAX: u32 = 5;

/// The result of a step: the broken promise, if there is one.
type Checked = Result<(), String>;

struct Subtask<F: Factory> {
    backend: F::Backend<i32>,
    states: States,
}

/// A running checkpoint.
struct UnderWay {
    id: u64,
    tasks: Vec<Option<SnapshotTask>>,
    acknowledged: Vec<TaskState>,
}

/// A coordinator that lost the job, with its running checkpoints.
struct Loser {
    store: CheckpointStore,
    under_way: Vec<UnderWay>,
}

/// A job with one operator.
pub(super) struct Job<F: Factory> {
    subtasks: Vec<Subtask<F>>,
    under_way: Vec<UnderWay>,
    late: Vec<(u16, u16, SnapshotTask)>,
    losers: Vec<Loser>,
    store: Option<CheckpointStore>,
    /// The state of the running attempt.
    account: Account,
    round: i32,
    /// The state that each checkpoint must contain, by id.
    contents: BTreeMap<u64, Account>,
    /// The last checkpoint that is certainly complete.
    completed: Option<u64>,
    /// Checkpoints with a failed completion: their metadata may exist.
    uncertain: BTreeSet<u64>,
    /// Completed checkpoints of the running attempt.
    to_notify: Vec<u64>,
    refusals: u32,
    failing: bool,
    names_last: bool,
    retained: usize,
    storage: Option<Arc<FailingStorage>>,
    // Must be dropped after the backends.
    world: World<F>,
}

fn text(error: &Error) -> String {
    format!("{error} ({:?})", error.kind())
}

impl<F: Factory> Job<F> {
    /// A job without state.
    pub fn start(program: &Program) -> Self {
        let (world, storage) = match Self::in_failing_storage(program.inline) {
            Some((world, storage)) => (world, Some(storage)),
            None => (World::new(), None),
        };
        let mut job = Self {
            subtasks: Vec::new(),
            under_way: Vec::new(),
            late: Vec::new(),
            losers: Vec::new(),
            store: Some(world.store(program.retained)),
            account: Account::default(),
            round: 0,
            contents: BTreeMap::new(),
            completed: None,
            uncertain: BTreeSet::new(),
            to_notify: Vec::new(),
            refusals: 0,
            failing: false,
            names_last: program.names_last,
            retained: program.retained,
            storage,
            world,
        };
        job.subtasks = job.attempt(program.parallelism, None).expect("an empty backend opens");
        job
    }

    fn in_failing_storage(inline: bool) -> Option<(World<F>, Arc<FailingStorage>)> {
        let capabilities = F::new().capabilities();
        if !capabilities.storage {
            return None;
        }
        let (mut world, storage) = World::<F>::over(Setup::default(), FailingStorage::new)?;
        if inline {
            world.set_up(Setup { storage: world.storage(), ..Setup::default() });
        }
        Some((world, storage))
    }

    fn store(&mut self) -> &mut CheckpointStore {
        self.store.as_mut().expect("a job has a store")
    }

    /// Opens the backends of a new attempt from a checkpoint.
    fn attempt(&self, parallelism: u16, from: Option<&Checkpoint>) -> Result<Vec<Subtask<F>>> {
        (0..parallelism)
            .map(|index| {
                let subtask = part::<i32>(GROUPS, parallelism, index);
                let handles = match from {
                    Some(checkpoint) => {
                        checkpoint.handles_for(OPERATOR, subtask.range()).expect("the operator is in it")
                    }
                    None => Vec::new(),
                };
                let mut backend = self.world.try_open(subtask, &handles)?;
                let states = States::register(&mut backend)?;
                Ok(Subtask { backend, states })
            })
            .collect()
    }

    /// Reads all state of an attempt.
    fn read(subtasks: &mut [Subtask<F>]) -> Account {
        let mut account = Account::default();
        for Subtask { backend, states } in subtasks {
            account.join(states.read(backend));
        }
        account
    }

    pub fn step(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Change => {
                self.round += 1;
                for Subtask { backend, states } in &mut self.subtasks {
                    states.change(backend, &mut self.account, self.round);
                }
            }
            Step::Write(write) => {
                self.round += 1;
                for Subtask { backend, states } in &mut self.subtasks {
                    states.write(backend, &mut self.account, self.round, write);
                }
            }
            Step::Begin { full } => return self.begin(full),
            Step::Run { checkpoint, task } => {
                if let Some(at) = chosen(&self.under_way, checkpoint) {
                    return self.run(at, usize::from(task));
                }
            }
            Step::Complete { checkpoint } => {
                if let Some(at) = chosen(&self.under_way, checkpoint) {
                    return self.complete(at);
                }
            }
            Step::Notify { checkpoint } => {
                if let Some(at) = chosen(&self.to_notify, checkpoint) {
                    return self.notify(self.to_notify[at]);
                }
            }
            Step::Abort { checkpoint, notify, drop_tasks } => {
                if let Some(at) = chosen(&self.under_way, checkpoint) {
                    let aborted = self.under_way.remove(at);
                    return self.abort(aborted, notify, drop_tasks);
                }
            }
            Step::Restart { parallelism } => return self.restart(parallelism),
            Step::Takeover { parallelism, old_lives } => return self.take_over(parallelism, old_lives),
            Step::RunLate { task } => {
                if let Some(at) = chosen(&self.late, task) {
                    self.run_late(at);
                }
            }
            Step::CompleteLate { coordinator } => {
                if let Some(at) = chosen(&self.losers, coordinator) {
                    return self.complete_late(at);
                }
            }
            Step::Fail { calls } => {
                if let Some(storage) = &self.storage {
                    storage.fail(calls.into(), Faults::FromThenOn);
                    self.failing = true;
                }
            }
            Step::Heal => self.heal(),
            Step::Look => return self.look(),
        }
        Ok(())
    }

    fn begin(&mut self, full: bool) -> Checked {
        let id = match self.store().begin() {
            Ok(id) => id,
            Err(_) if self.failing => return Ok(()),
            Err(error) => return Err(format!("no id for a checkpoint: {}", text(&error))),
        };
        if let Some(previous) = self.contents.keys().last().filter(|previous| **previous >= id) {
            return Err(format!("id {id} is given after {previous}"));
        }
        let mut request = SnapshotRequest::new(id);
        if self.names_last
            && let Some(latest) = self.store().latest().map(|latest| latest.id)
        {
            request = request.after(latest);
        }
        if full {
            request = request.full();
        }
        self.contents.insert(id, self.account.clone());
        let mut checkpoint = UnderWay { id, tasks: Vec::new(), acknowledged: Vec::new() };
        let mut refused = None;
        for Subtask { backend, .. } in &mut self.subtasks {
            match backend.snapshot(request.clone()) {
                Ok(task) => checkpoint.tasks.push(Some(task)),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            None => {
                self.under_way.push(checkpoint);
                Ok(())
            }
            Some(_) if self.failing => self.abort(checkpoint, true, true),
            Some(error) => Err(format!("snapshot {id} is refused: {}", text(&error))),
        }
    }

    /// Runs the task at `index`, or the next one that has not run.
    fn run(&mut self, at: usize, index: usize) -> Checked {
        let failing = self.failing;
        let checkpoint = &mut self.under_way[at];
        let count = checkpoint.tasks.len();
        let mut indices = (0..count).map(|offset| (index + offset) % count);
        let Some(index) = indices.find(|index| checkpoint.tasks[*index].is_some()) else { return Ok(()) };
        let task = checkpoint.tasks[index].take().expect("it has not run");
        match task.run() {
            Ok(handle) => {
                checkpoint.acknowledged.push(state(index as u16, count as u16, handle));
                Ok(())
            }
            Err(_) if failing => {
                let declined = self.under_way.remove(at);
                self.abort(declined, true, true)
            }
            Err(error) => Err(format!("a task of {} fails: {}", checkpoint.id, text(&error))),
        }
    }

    fn complete(&mut self, at: usize) -> Checked {
        let id = self.under_way[at].id;
        while let Some(at) = self.under_way.iter().position(|checkpoint| checkpoint.id == id) {
            if self.under_way[at].tasks.iter().all(Option::is_none) {
                break;
            }
            self.run(at, 0)?;
        }
        let Some(at) = self.under_way.iter().position(|checkpoint| checkpoint.id == id) else {
            return Ok(());
        };
        let checkpoint = self.under_way.remove(at);
        match self.store().complete(Checkpoint::new(id, checkpoint.acknowledged.clone())) {
            Ok(_) => {
                self.completed = Some(id);
                self.uncertain.clear();
                self.to_notify.push(id);
                self.refusals = 0;
                // A newer checkpoint subsumes the older running ones.
                while let Some(older) = self.under_way.iter().position(|older| older.id < id) {
                    let older = self.under_way.remove(older);
                    self.abort(older, true, false)?;
                }
                self.intact()
            }
            Err(error) => {
                if self.failing {
                    self.uncertain.insert(id);
                } else if self.names_last || error.kind() != ErrorKind::IllegalState {
                    return Err(format!("checkpoint {id} is refused: {}", text(&error)));
                } else {
                    self.refusals += 1;
                    if self.refusals > REFUSALS_MAX {
                        return Err(format!("no checkpoint is possible: {}", text(&error)));
                    }
                }
                self.abort(checkpoint, true, true)
            }
        }
    }

    /// Checks that every retained checkpoint has all its files.
    fn intact(&mut self) -> Checked {
        let Some(storage) = self.world.storage().filter(|_| !self.failing) else { return Ok(()) };
        for checkpoint in self.store().checkpoints() {
            for file in checkpoint.files() {
                if let StateData::File { path, .. } = &file.data
                    && let Err(error) = storage.open(path)
                {
                    return Err(format!("checkpoint {} lost a file: {}", checkpoint.id, text(&error)));
                }
            }
        }
        Ok(())
    }

    fn notify(&mut self, id: u64) -> Checked {
        for Subtask { backend, .. } in &mut self.subtasks {
            if let Err(error) = backend.notify_complete(id) {
                return Err(format!("confirming {id}: {}", text(&error)));
            }
        }
        Ok(())
    }

    fn abort(&mut self, checkpoint: UnderWay, notify: bool, drop_tasks: bool) -> Checked {
        let UnderWay { id, tasks, acknowledged } = checkpoint;
        if notify {
            for Subtask { backend, .. } in &mut self.subtasks {
                if let Err(error) = backend.notify_aborted(id) {
                    return Err(format!("aborting {id}: {}", text(&error)));
                }
            }
        }
        if !drop_tasks {
            self.keep_tasks(tasks);
        }
        self.discard(id, &acknowledged)
    }

    fn keep_tasks(&mut self, tasks: Vec<Option<SnapshotTask>>) {
        let count = tasks.len() as u16;
        let tasks = tasks.into_iter().enumerate();
        self.late.extend(tasks.filter_map(|(index, task)| Some((index as u16, count, task?))));
    }

    fn discard(&mut self, id: u64, states: &[TaskState]) -> Checked {
        self.store().discard(id, states);
        self.intact()
    }

    /// Ends the attempt.
    fn crash(&mut self) -> Vec<UnderWay> {
        self.subtasks.clear();
        self.to_notify.clear();
        self.refusals = 0;
        let mut under_way = std::mem::take(&mut self.under_way);
        for checkpoint in &mut under_way {
            let tasks = std::mem::take(&mut checkpoint.tasks);
            self.keep_tasks(tasks);
        }
        under_way
    }

    fn restart(&mut self, parallelism: u16) -> Checked {
        self.heal();
        for UnderWay { id, acknowledged, .. } in self.crash() {
            self.discard(id, &acknowledged)?;
        }
        self.resume(parallelism)
    }

    fn take_over(&mut self, parallelism: u16, old_lives: bool) -> Checked {
        if self.world.storage().is_none() {
            // Checkpoints in the coordinator's memory are lost with it.
            return self.restart(parallelism);
        }
        self.heal();
        let under_way = self.crash();
        let old = self.store.take().expect("a job has a store");
        if old_lives {
            self.losers.push(Loser { store: old, under_way });
        } else {
            drop(old);
        }
        let retained = self.retained;
        self.store = Some(
            self.world
                .try_store(retained)
                .map_err(|error| format!("the job's folder cannot be opened: {}", text(&error)))?,
        );
        self.resume(parallelism)
    }

    /// Starts an attempt from the latest checkpoint.
    fn resume(&mut self, parallelism: u16) -> Checked {
        let latest = self.store().latest().cloned();
        let id = latest.as_ref().map(|latest| latest.id);
        if id != self.completed && !id.is_some_and(|id| self.uncertain.contains(&id)) {
            return Err(format!("the latest checkpoint is {id:?}, not {:?}", self.completed));
        }
        let expected = id.map_or_else(Account::default, |id| self.contents[&id].clone());
        let restored = self.attempt(parallelism, latest.as_ref());
        let mut subtasks =
            restored.map_err(|error| format!("{id:?} cannot be restored: {}", text(&error)))?;
        if Self::read(&mut subtasks) != expected {
            return Err(format!("{id:?} restores to something else"));
        }
        self.subtasks = subtasks;
        self.account = expected;
        self.completed = id;
        self.uncertain.clear();
        Ok(())
    }

    fn run_late(&mut self, at: usize) {
        let (index, parallelism, task) = self.late.remove(at);
        let id = task.checkpoint_id();
        if let Ok(handle) = task.run() {
            // The acknowledgement of an ended checkpoint is discarded.
            self.store().discard(id, &[state(index, parallelism, handle)]);
        }
    }

    fn complete_late(&mut self, at: usize) -> Checked {
        let Some(UnderWay { id, acknowledged, .. }) = self.losers[at].under_way.pop() else {
            self.losers.remove(at);
            return Ok(());
        };
        let store = &mut self.losers[at].store;
        if !acknowledged.is_empty() && store.complete(Checkpoint::new(id, acknowledged.clone())).is_ok() {
            return Err(format!("a coordinator that lost the job completes {id}"));
        }
        store.discard(id, &acknowledged);
        if self.store().complete(Checkpoint::new(id, acknowledged)).is_ok() {
            return Err(format!("the checkpoint {id} of another coordinator is completed"));
        }
        self.intact()
    }

    fn heal(&mut self) {
        if let Some(storage) = &self.storage {
            storage.heal();
        }
        self.failing = false;
        self.store().retry_deletions();
    }

    fn look(&mut self) -> Checked {
        let Some(storage) = self.world.storage().filter(|_| !self.failing) else { return Ok(()) };
        let before = self.world.files();
        let contents = JobContents::read(&*storage, &self.world.job()).map_err(|error| text(&error))?;
        let found: Vec<_> = contents.checkpoints().iter().map(|checkpoint| checkpoint.id).collect();
        let mut kept: Vec<_> = self.store().checkpoints().map(|checkpoint| checkpoint.id).collect();
        kept.extend(&self.uncertain);
        if !found.iter().all(|id| kept.contains(id)) || found.len() + self.uncertain.len() < kept.len() {
            return Err(format!("a look finds checkpoints {found:?}, the store keeps {kept:?}"));
        }
        if self.world.files() == before { Ok(()) } else { Err("a look changes files".to_owned()) }
    }

    /// Ends the job: runs all late tasks, and checks the files that are left.
    pub fn end(mut self) -> Checked {
        self.heal();
        while !self.late.is_empty() {
            self.run_late(0);
        }
        while !self.losers.is_empty() {
            self.complete_late(0)?;
        }
        self.take_over(1, false)?;
        let checkpoints: Vec<_> = self.store().checkpoints().cloned().collect();
        for checkpoint in &checkpoints {
            let restored = self.attempt(2, Some(checkpoint)).map_err(|error| text(&error));
            let mut subtasks =
                restored.map_err(|why| format!("{} cannot be restored: {why}", checkpoint.id))?;
            if Self::read(&mut subtasks) != self.contents[&checkpoint.id] {
                return Err(format!("checkpoint {} restores to something else", checkpoint.id));
            }
        }
        self.subtasks.clear();
        self.no_orphans(&checkpoints)
    }

    fn no_orphans(&mut self, checkpoints: &[Checkpoint]) -> Checked {
        let job = self.world.job();
        let mut named: BTreeSet<String> =
            checkpoints.iter().map(|checkpoint| job.metadata(checkpoint.id)).collect();
        for file in checkpoints.iter().flat_map(Checkpoint::files) {
            if let StateData::File { path, .. } = &file.data {
                named.insert(path.clone());
            }
        }
        let of_the_store = [format!("{job}/reserved-ids/"), format!("{job}/_owner/")];
        let orphan = self.world.files().into_iter().find(|entry| {
            !named.contains(&entry.path) && !of_the_store.iter().any(|folder| entry.path.starts_with(folder))
        });
        match orphan {
            None => Ok(()),
            Some(entry) => Err(format!("{} is named by no checkpoint", entry.path)),
        }
    }
}

/// The element that a number selects.
fn chosen<T>(among: &[T], number: u8) -> Option<usize> {
    usize::from(number).checked_rem(among.len())
}

fn state(index: u16, parallelism: u16, handle: Option<KeyedStateHandle>) -> TaskState {
    TaskState::new(OPERATOR, index, parallelism, handle)
}
