//! A job in another process, which is killed repeatedly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio, exit};
use std::thread;
use std::time::Duration;

use backend_api::{
    KeyedStateHandle, Result, SnapshotRequest, StateBackend, ValueDescriptor, ValueState, ValueToken,
};
use coordinator::CheckpointStore;

use crate::access::Access;
use crate::kinds::{Change, Content, Kinds};
use crate::random::Random;
use crate::runner::{again, is_again};
use crate::{Factory, OPERATOR, Setup, World, checkpoint_of, part, skip};

/// Number of kills, unless `KILL_ROUNDS` is set.
const KILLS: u64 = 6;

/// Longest time from the chosen checkpoint until the kill.
const DELAY_MICROS: u64 = 40_000;

/// Number of keys that rounds change.
const KEYS: u64 = 200;

/// The key with the number of rounds.
const ROUNDS_KEY: i32 = 0;

/// The changes of a round, the same each time.
fn changes(round: i32) -> impl Iterator<Item = (Change, i32)> {
    let mut random = Random(round as u64);
    (0..random.below(300)).map(move |_| {
        let key = random.below(KEYS) as i32;
        let change = match random.below(8) {
            0..5 => Change::Write,
            5..7 => Change::Alter,
            _ => Change::Clear,
        };
        (change, key)
    })
}

/// The content of the state after this many rounds.
fn expected(rounds: i32) -> Content {
    let mut content = Content::default();
    for round in 1..=rounds {
        changes(round).for_each(|(change, key)| content.apply(change, round, key));
    }
    content
}

struct Subtask<F: Factory> {
    backend: F::Backend<i32>,
    kinds: Kinds,
    rounds: ValueToken<i64>,
}

/// A job whose state contains the number of its rounds.
struct Job<F: Factory> {
    store: CheckpointStore,
    subtasks: Vec<Subtask<F>>,
    rounds: i32,
    world: World<F>,
}

impl<F: Factory> Job<F> {
    /// Starts from the latest checkpoint of the world in a folder, and checks that it is the result of some
    /// number of rounds. `life` selects the parallelism and if the checkpoint is claimed.
    fn open(folder: &Path, life: u64) -> Self {
        let mut setup = Setup { claim_restored: Some(life % 3 == 2), ..Setup::default() };
        if F::new().capabilities().lacking(&setup).is_some() {
            setup.claim_restored = None;
        }
        let world = World::<F>::in_folder(setup, folder).expect("another process had one there");
        let store = world.store(2);
        let parallelism = 1 + (life % 3) as u16;
        let mut found = Content::default();
        let mut rounds = 0;
        let subtasks = (0..parallelism).map(|index| {
            let subtask = part::<i32>(10, parallelism, index);
            let range = subtask.range();
            let handles = store
                .latest()
                .map(|latest| latest.handles_for(OPERATOR, range).expect("the operator is in it"))
                .unwrap_or_default();
            let mut backend = world.try_open(subtask, &handles).unwrap();
            let kinds = Kinds::register(&mut backend).unwrap();
            let token = backend.register(ValueDescriptor::new("rounds")).unwrap();
            found.join(kinds.read(&mut backend));
            if backend.key(&ROUNDS_KEY).is_ok() {
                rounds = backend.at(token, &ROUNDS_KEY).get().unwrap().unwrap_or(0) as i32;
            }
            Subtask { backend, kinds, rounds: token }
        });
        let subtasks = subtasks.collect();
        assert_eq!(found, expected(rounds), "after {rounds} rounds");
        Self { store, subtasks, rounds, world }
    }

    /// Closes all backends.
    fn close(self) -> World<F> {
        self.world
    }

    /// Makes the changes of the next round.
    fn change(subtasks: &mut [Subtask<F>], round: i32) {
        for (change, key) in changes(round) {
            let owner = subtasks.iter_mut().find(|subtask| subtask.backend.key(&key).is_ok());
            let Subtask { backend, kinds, .. } = owner.expect("every key is some subtask's");
            kinds.apply(change, backend, round, key);
        }
        for Subtask { backend, rounds, .. } in subtasks {
            if backend.key(&ROUNDS_KEY).is_ok() {
                backend.at(*rounds, &ROUNDS_KEY).set(round.into()).unwrap();
            }
        }
    }

    /// Runs rounds, each with a checkpoint that is written during the next one. Stops when `completed`, which
    /// is called with the number of rounds in a complete checkpoint, returns true.
    fn run(&mut self, mut completed: impl FnMut(i32) -> bool) {
        Self::change(&mut self.subtasks, self.rounds + 1);
        loop {
            self.rounds += 1;
            let id = self.store.begin().unwrap();
            let request = SnapshotRequest::new(id);
            let tasks: Vec<_> = self
                .subtasks
                .iter_mut()
                .map(|subtask| subtask.backend.snapshot(request.clone()).unwrap())
                .collect();
            let handles: Result<Vec<Option<KeyedStateHandle>>> = thread::scope(|scope| {
                let written = scope.spawn(|| tasks.into_iter().map(|task| task.run()).collect());
                Self::change(&mut self.subtasks, self.rounds + 1);
                written.join().unwrap()
            });
            self.store.complete(checkpoint_of(handles.unwrap().into_iter().flatten())).unwrap();
            for subtask in &mut self.subtasks {
                subtask.backend.notify_complete(id).unwrap();
            }
            if completed(self.rounds) {
                return;
            }
        }
    }
}

/// The file in which a process records the rounds of its last complete checkpoint.
fn noted_in(folder: &Path) -> PathBuf {
    folder.join("noted")
}

/// The last number in that file. An incomplete line at the end does not count.
fn noted(folder: &Path) -> i32 {
    let bytes = fs::read(noted_in(folder)).unwrap_or_default();
    bytes.as_chunks().0.last().map_or(0, |number| i32::from_le_bytes(*number))
}

/// The process to be killed. It exits when its parent is gone.
fn live<F: Factory>() -> ! {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).expect("the parent tells what to do");
    let (life, folder) = line.trim_end().split_once(' ').expect("a number and a folder");
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        exit(0);
    });
    let folder = Path::new(folder);
    let mut note = OpenOptions::new().append(true).create(true).open(noted_in(folder)).unwrap();
    let mut job = Job::<F>::open(&state_in(folder), life.parse().expect("a number"));
    job.run(|rounds| {
        note.write_all(&rounds.to_le_bytes()).unwrap();
        false
    });
    exit(1);
}

fn state_in(folder: &Path) -> PathBuf {
    folder.join("state")
}

/// Starts a process that works in a folder.
fn begin(folder: &Path, life: u64) -> Child {
    let errors = File::create(folder.join("errors")).unwrap();
    let mut command = again().expect("this program can be run again");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors).spawn().expect("it runs");
    let told = child.stdin.as_mut().expect("a pipe");
    writeln!(told, "{life} {}", folder.to_str().expect("a plain path")).unwrap();
    child
}

/// Waits until a process has recorded this many rounds.
///
/// # Panics
/// If the process ends before, with its output.
fn wait_for(child: &mut Child, folder: &Path, rounds: i32) {
    while noted(folder) < rounds {
        if let Some(status) = child.try_wait().unwrap() {
            let errors = fs::read_to_string(folder.join("errors")).unwrap_or_default();
            panic!("the process ended by itself ({status}) before round {rounds}: {errors}");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Lets processes continue one job, and kills each of them.
///
/// # Panics
/// If the state after a kill is not that of the last complete checkpoint or a newer one.
pub(crate) fn check<F: Factory>() {
    if is_again() {
        live::<F>();
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if F::in_folder(&state_in(folder)).is_none_or(|factory| factory.storage().is_none()) {
        return skip("the backend keeps no checkpoints in a folder");
    }
    let kills = std::env::var("KILL_ROUNDS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let mut random = Random(kills);
    let mut rounds = 0;
    for life in 0..kills {
        let mut child = begin(folder, life);
        // Possibly no further round: it may be killed while it restores.
        wait_for(&mut child, folder, rounds + random.below(4) as i32);
        thread::sleep(Duration::from_micros(random.below(DELAY_MICROS)));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = noted(folder);
        let job = Job::<F>::open(&state_in(folder), life + 1);
        assert!(job.rounds >= told, "round {} was restored, and {told} was complete", job.rounds);
        assert_eq!(job.store.orphans().unwrap(), Vec::<String>::new());
        rounds = job.rounds;
        let world = job.close();
        assert_eq!(world.storage().expect("it is there").sweep("").unwrap(), 0, "unfinished files are left");
        assert_eq!(world.working_files(), Vec::<PathBuf>::new(), "of processes that are gone");
    }
    Job::<F>::open(&state_in(folder), kills).run(|done| done > rounds);
    assert_eq!(Job::<F>::open(&state_in(folder), 0).rounds, rounds + 1);
}
