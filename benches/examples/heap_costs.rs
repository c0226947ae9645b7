//! What the heap backends cost by themselves, without a peer: to compare two revisions, build this in each of them and run
//! the two programs in turns.
//!
//! Prints CPU nanoseconds of some accesses, and milliseconds of snapshots of many key groups. Arguments are the accesses
//! to run; with none the snapshots run, too.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::rc::Rc;

use benches::measure::{Took, least, timed};
use benches::ops::{Load, Memory, Op, load};
use state_backends::prelude::*;

const OPS: [Op; 6] =
    [Op::ValueGet, Op::ValueUpdate, Op::MapGet, Op::ReducingAdd, Op::WordcountUniform, Op::WordcountZipf];
const ROUNDS: usize = 7;
const GROUPS: u16 = 32_768;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let inputs = Rc::new(Load::new(500_000, 500_000, 1_000_000, 1_000_000, 42));
    for op in OPS {
        if wanted.is_empty() || wanted.iter().any(|name| name == op.name()) {
            let mut state = load(&Memory, op, &inputs)?;
            let rounds = (0..ROUNDS).map(|round| state.round(op, round)).collect::<Result<Vec<_>>>()?;
            let ns = least(rounds[1..].iter().map(|round| round.took.cpu_ns_per(round.ops)));
            println!("{} {ns:.1} ns", op.name());
        }
    }
    if wanted.is_empty() {
        empty_states()?;
        unchanged_increment()?;
        changed_everywhere()?;
        churn()?;
        merge()?;
    }
    Ok(())
}

fn ms(took: &Took) -> f64 {
    took.wall.as_secs_f64() * 1e3
}

fn options(folder: &tempfile::TempDir) -> Result<FsOptions> {
    Ok(FsOptions::in_folder(folder.path(), JobFolder::new("job")?)?.with_incremental(true))
}

fn open(folder: &tempfile::TempDir, groups: u16) -> Result<FsBackend<u64>> {
    FsBackend::open(&options(folder)?, Subtask::single("op", KeySpace::new(groups)?)?, &[])
}

/// Registers value states.
fn register_values(backend: &mut FsBackend<u64>, number: usize) -> Result<Vec<ValueToken<u64>>> {
    (0..number).map(|state| backend.register(ValueDescriptor::new(format!("state {state}")))).collect()
}

/// The synchronous part with 20 states of 32,768 key groups, one of them with entries.
fn empty_states() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let mut backend = open(&folder, GROUPS)?;
    let states = register_values(&mut backend, 20)?;
    let mut times = Vec::new();
    for id in 1..=10 {
        for key in 0..100 {
            let key = backend.key(&key)?;
            backend.value(states[0], key, &())?.set(id)?;
        }
        let (task, took) = timed(|| backend.snapshot(SnapshotRequest::new(id)));
        drop(task?);
        times.push(ms(&took));
    }
    println!("snapshot() of 20 states and {GROUPS} key groups {:.3} ms", least(times));
    Ok(())
}

/// The task of an increment without changes, with 4 states that have entries in each of 32,768 key groups.
fn unchanged_increment() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let mut backend = open(&folder, GROUPS)?;
    for state in register_values(&mut backend, 4)? {
        for key in 0..500_000 {
            let key = backend.key(&key)?;
            backend.value(state, key, &())?.set(1)?;
        }
    }
    let (mut sync, mut task) = (Vec::new(), Vec::new());
    for id in 1..=6 {
        let (snapshot, took) = timed(|| backend.snapshot(SnapshotRequest::new(id)));
        sync.push(ms(&took));
        let snapshot = snapshot?;
        let (handle, took) = timed(|| snapshot.run());
        handle?;
        task.push(ms(&took));
        backend.notify_complete(id)?;
    }
    println!("first snapshot() of 4 states with entries in {GROUPS} key groups {:.3} ms", sync[0]);
    println!("snapshot() of the same without changes {:.3} ms", least(sync[1..].iter().copied()));
    println!("task of an increment without changes {:.3} ms", least(task[1..].iter().copied()));
    Ok(())
}

/// The synchronous part after an entry has changed in every key group of 20 states.
fn changed_everywhere() -> Fallible<()> {
    const KEYS: u64 = 200_000;
    let folder = tempfile::tempdir()?;
    let mut backend = open(&folder, GROUPS)?;
    let states = register_values(&mut backend, 20)?;
    let mut times = Vec::new();
    for id in 1..=6 {
        for key in 0..KEYS {
            let key = backend.key(&key)?;
            for state in &states {
                backend.value(*state, key, &())?.set(id)?;
            }
        }
        let (task, took) = timed(|| backend.snapshot(SnapshotRequest::new(id)));
        task?.run()?;
        backend.notify_complete(id)?;
        times.push(ms(&took));
    }
    println!(
        "snapshot() after changes in all of {GROUPS} key groups of 20 states {:.3} ms",
        least(times[1..].iter().copied())
    );
    Ok(())
}

/// An increment and a full checkpoint of 10,000 values, after 100,000 others that came and went.
fn churn() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let mut backend = open(&folder, 128)?;
    let state = backend.register(ValueDescriptor::<u64>::new("state"))?;
    for key in 0..10_000 {
        let key = backend.key(&key)?;
        backend.value(state, key, &())?.set(1)?;
    }
    backend.snapshot(SnapshotRequest::new(1))?.run()?;
    backend.notify_complete(1)?;
    for key in 10_000..110_000 {
        let key = backend.key(&key)?;
        backend.value(state, key, &())?.set(1)?;
        backend.value(state, key, &())?.clear()?;
    }
    let increment = backend.snapshot(SnapshotRequest::new(2))?.run()?.ok_or("no handle")?;
    let full = backend.snapshot(SnapshotRequest::new(3).full())?.run()?.ok_or("no handle")?;
    println!("increment after churn {} bytes, full {} bytes", increment.delta_size(), full.delta_size());
    let bytes = |backend: &FsBackend<u64>| backend.states()[0].bytes;
    let before = bytes(&backend);
    for key in 0..10_000 {
        let key = backend.key(&key)?;
        backend.value(state, key, &())?.clear()?;
    }
    println!("bytes of a state with entries {before}, cleared {}", bytes(&backend));
    Ok(())
}

/// Merging a list of 100,000 strings into an empty namespace.
fn merge() -> Fallible<()> {
    let mut backend = MemoryBackend::open(
        &MemoryOptions::default(),
        Subtask::single("op", KeySpace::<u64>::new(128)?)?,
        &[],
    )?;
    let lists = backend.register(ListDescriptor::<String>::new("list").namespaced::<u32>())?;
    let key = 7;
    let key = backend.key(&key)?;
    backend.list(lists, key, &0)?.add_all((0..100_000).map(|n| format!("element {n}")))?;
    let mut times = Vec::new();
    for n in 0..10 {
        let (merged, took) = timed(|| backend.list(lists, key, &(n + 1))?.merge_from(&[n]));
        merged?;
        times.push(ms(&took));
    }
    println!("merging a list of 100,000 strings into an empty namespace {:.3} ms", least(times));
    Ok(())
}
