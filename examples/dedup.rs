//! Drops the duplicates of a stream whose source sends some events again, seconds or minutes later.
//!
//! One value per id remembers that the event was seen. It has a time to live, so the state holds the ids of the last
//! minutes and not all ids ever. The time is the largest time of the events so far. A duplicate does not renew the time
//! to live: an event that comes again after [`REMEMBERED`] counts as a new one.
//!
//! The job crashes in between, and continues from its last checkpoint with another number of subtasks.
//!
//! ```text
//! cargo run --release --example dedup
//! ```
#![allow(clippy::print_stdout, reason = "a program")]

use state_backends::prelude::*;

/// How long an id is remembered, in milliseconds.
pub(crate) const REMEMBERED: i64 = 60_000;
/// Events between two checkpoints.
const CHECKPOINT_EVERY: usize = 1_000;
/// Key groups.
const GROUPS: u16 = 32;

/// An event of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    /// When it was sent, in milliseconds.
    pub(crate) at: i64,
}

/// A subtask of the operator. An engine would run each in a thread of its own.
struct Dedup<B> {
    backend: B,
    seen: ValueToken<()>,
    /// The events that it let pass since the last checkpoint.
    passed: Vec<Event>,
}

impl<B: StateBackend<Key = u64>> Dedup<B> {
    /// Lets an event pass if it is not a duplicate.
    fn process(&mut self, event: &Event) -> Result<()> {
        let id = self.backend.key(&event.id)?;
        let mut seen = self.backend.value(self.seen, id, &())?;
        if seen.get()?.is_none() {
            seen.set(())?;
            self.passed.push(event.clone());
        }
        Ok(())
    }
}

/// Starts the subtasks at a time, from a checkpoint if there is one.
fn start<B: StateBackend<Key = u64>>(
    options: &B::Options,
    parallelism: u16,
    from: Option<&Checkpoint>,
    now: i64,
) -> Result<Vec<Dedup<B>>> {
    let keys = KeySpace::new(GROUPS)?;
    let start = |index| {
        let subtask = Subtask::new("dedup", keys.clone(), parallelism, index)?;
        let restore = from.map(|checkpoint| checkpoint.restore(&subtask)).transpose()?;
        let handles = restore.as_ref().map(|restore| restore.keyed()).unwrap_or_default();
        let mut backend = B::open(options, subtask, handles)?;
        backend.advance_to(now)?;
        let seen = backend.register(ValueDescriptor::new("seen").ttl(Ttl::millis(REMEMBERED)?))?;
        Ok(Dedup { backend, seen, passed: Vec::new() })
    };
    (0..parallelism).map(start).collect()
}

/// Completes a checkpoint. Returns the events that passed before it.
fn checkpoint<B: StateBackend<Key = u64>>(
    subtasks: &mut [Dedup<B>],
    store: &mut CheckpointStore,
) -> Result<Vec<Event>> {
    let id = store.begin()?;
    let (mut tasks, mut passed) = (Vec::new(), Vec::new());
    for Dedup { backend, passed: new, .. } in &mut *subtasks {
        let keyed = backend.snapshot(SnapshotRequest::new(id))?.run()?;
        tasks.push(TaskState::of(backend.subtask(), keyed));
        passed.append(new);
    }
    store.complete(Checkpoint::new(id, tasks))?;
    subtasks.iter_mut().try_for_each(|subtask| subtask.backend.notify_complete(id))?;
    Ok(passed)
}

/// Runs the job over all events. At each position in `crashes` it loses everything since the last checkpoint, and continues
/// with the parallelism beside it. Returns the events that passed, in the order of time, and the number of ids that are
/// still remembered. Events become visible when their checkpoint is complete, so a crash repeats none.
///
/// # Errors
/// Errors of the backend and of the store.
pub(crate) fn run<B: StateBackend<Key = u64>>(
    options: &B::Options,
    store: &mut CheckpointStore,
    events: &[Event],
    parallelism: u16,
    crashes: &[(usize, u16)],
) -> Result<(Vec<Event>, usize)> {
    let mut visible = Vec::new();
    // The position in the source and the time. An engine keeps them in the checkpoint.
    let (mut next, mut now) = (0, 0);
    let mut completed = (next, now);
    let mut crashes = crashes.iter().peekable();
    let mut subtasks = start::<B>(options, parallelism, None, now)?;
    while let Some(event) = events.get(next) {
        if let Some((_, parallelism)) = crashes.next_if(|(at, _)| *at == next) {
            (next, now) = completed;
            drop(subtasks);
            subtasks = start(options, *parallelism, store.latest(), now)?;
            continue;
        }
        if event.at > now {
            now = event.at;
            subtasks.iter_mut().try_for_each(|subtask| subtask.backend.advance_to(now))?;
        }
        if let Some(owner) = subtasks.iter_mut().find(|subtask| subtask.backend.key(&event.id).is_ok()) {
            owner.process(event)?;
        }
        next += 1;
        if next.is_multiple_of(CHECKPOINT_EVERY) || next == events.len() {
            visible.extend(checkpoint(&mut subtasks, store)?);
            completed = (next, now);
        }
    }
    visible.sort_by_key(|event| (event.at, event.id));
    let mut remembered = 0;
    for Dedup { backend, seen, .. } in &mut subtasks {
        remembered += backend.keys(*seen, &())?.count();
    }
    Ok((visible, remembered))
}

/// Events with growing times. One in five was sent before: mostly seconds, sometimes minutes ago. They depend on the seed
/// only.
pub(crate) fn events(seed: u64, number: usize) -> Vec<Event> {
    let mut state = seed;
    let mut below = move |bound: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    };
    let mut events = Vec::<Event>::new();
    for n in 0..number {
        let back = if below(10) == 0 { below(4_000) } else { below(300) };
        let old = events.len().checked_sub(1 + back as usize).filter(|_| below(5) == 0);
        let id = old.map_or(n as u64, |old| events[old].id);
        events.push(Event { id, at: n as i64 * 40 });
    }
    events
}

fn main() -> Result<()> {
    let events = events(1, 100_000);
    let run = |crashes: &[(usize, u16)]| {
        let options_of_store = CheckpointStoreOptions::in_memory(JobFolder::new("dedup")?);
        let mut store = CheckpointStore::open(options_of_store)?;
        run::<MemoryBackend<_>>(&MemoryOptions::default(), &mut store, &events, 2, crashes)
    };
    let (undisturbed, _) = run(&[])?;
    let (passed, remembered) = run(&[(33_333, 3), (70_001, 1)])?;
    println!("{} events, {} passed", events.len(), passed.len());
    println!("{remembered} ids are remembered");
    println!("the same without a crash: {}", passed == undisturbed);
    Ok(())
}
