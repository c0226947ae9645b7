//! What timers cost: registering and firing them, uniform and clustered, and the longest batch beside a snapshot.
//!
//! ```text
//! cargo run --release -p benches [--features rocksdb] --example timer_costs [TIMERS]
//! ```
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::thread;

use benches::measure::timed;
#[cfg(feature = "rocksdb")]
use benches::ops::Rocks;
use benches::workload::mix64;
use state_backends::prelude::*;

/// Timers, unless another number is given.
const TIMERS: u64 = 10_000_000;
/// Keys that they belong to.
const KEYS: u64 = 1_000_000;
/// Key groups.
const GROUPS: u16 = 128;
/// Different times of clustered timers, such as the ends of windows.
const CLUSTERS: u64 = 1_000;
/// Timers that fire in one batch.
const BATCH: usize = 1_000;
/// Memory budget of RocksDB.
#[cfg(feature = "rocksdb")]
const BUDGET: usize = 256 << 20;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How the times of the timers are distributed.
#[derive(Clone, Copy, Debug)]
enum Times {
    Uniform,
    Clustered,
}

impl Times {
    /// Key and time of a timer. All timers are different.
    fn timer(self, n: u64) -> (u64, i64) {
        let (key, turn) = (n % KEYS, n / KEYS);
        let at = match self {
            Self::Uniform => mix64(n) >> 20,
            Self::Clustered => (mix64(key) % CLUSTERS + 37 * turn) % CLUSTERS * 60_000,
        };
        (key, at as i64)
    }
}

fn main() -> Fallible<()> {
    let timers = std::env::args().nth(1).map_or(Ok(TIMERS), |timers| timers.parse())?;
    for times in [Times::Uniform, Times::Clustered] {
        let folder = tempfile::tempdir()?;
        let options = FsOptions::in_folder(folder.path(), JobFolder::new("job")?)?.with_incremental(true);
        let open = |subtask| FsBackend::open(&options, subtask, &[]);
        measure("heap", times, timers, open, |backend: &FsBackend<u64>| Ok(backend.states()[0].bytes))?;
        #[cfg(feature = "rocksdb")]
        {
            let rocks = Rocks::new(BUDGET, None)?;
            let open = |subtask| RocksDbBackend::open(rocks.options(), subtask, &[]);
            measure("rocksdb", times, timers, open, |_| {
                bytes_in(rocks.checkpoints().parent().ok_or("no folder")?)
            })?;
        }
    }
    Ok(())
}

/// Registers timers, fires half of them, takes a snapshot, and fires the others while its task runs.
fn measure<B: StateBackend<Key = u64>>(
    name: &str,
    times: Times,
    timers: u64,
    open: impl FnOnce(Subtask<u64>) -> Result<B>,
    bytes: impl FnOnce(&B) -> Fallible<u64>,
) -> Fallible<()> {
    let print = |what: &str, value: f64, unit: &str| println!("{name} {times:?} {what} {value:.3} {unit}");
    let mut backend = open(Subtask::single("op", KeySpace::new(GROUPS)?)?)?;
    let token = backend.register(TimerDescriptor::event_time("timers"))?;
    let keys = backend.subtask().clone();

    let (registered, took) = timed(|| {
        let mut view = backend.timers(token)?;
        (0..timers).try_for_each(|n| {
            let (key, at) = times.timer(n);
            view.add(keys.key(&key)?, &(), at).map(drop)
        })
    });
    registered?;
    print("register", took.cpu_ns_per(timers), "ns CPU");
    print("register", took.wall_ns_per(timers), "ns wall");

    let half = timers / 2;
    let (fired, took) = timed(|| {
        let mut view = backend.timers(token)?;
        let fired = view.advance(i64::MAX).take(half as usize);
        fired
            .map(|timer| timer.map(|timer| timer.at))
            .try_fold(i64::MIN, |last, at| at.map(|at| last.max(at)))
    });
    let last = fired?;
    print("fire", took.cpu_ns_per(half), "ns CPU");
    print("fire", took.wall_ns_per(half), "ns wall");

    // What is left is as many as what has fired, so this is the size with tombstones.
    let left = timers - half;
    let (task, took) = timed(|| backend.snapshot(SnapshotRequest::new(1)));
    print("snapshot, synchronous part", took.wall.as_secs_f64() * 1e3, "ms");
    let task = task?;
    let writing = thread::spawn(move || timed(|| task.run()));
    let (mut longest, mut longest_cpu, mut batches, mut fired) = (0.0_f64, 0.0_f64, 0, 0);
    while !writing.is_finished() && fired < left {
        let (batch, took) = timed(|| backend.timers(token)?.advance(i64::MAX).take(BATCH).try_fold(0, count));
        fired += batch?;
        longest = longest.max(took.wall.as_secs_f64() * 1e3);
        longest_cpu = longest_cpu.max(took.cpu.as_secs_f64() * 1e3);
        batches += 1;
    }
    let (handle, took) = writing.join().map_err(|_| "the task panicked")?;
    let handle = handle?.ok_or("no handle")?;
    print("snapshot, task", took.wall.as_secs_f64() * 1e3, "ms");
    println!("{name} {times:?} batches of {BATCH} beside it: {batches}");
    print("longest of these batches", longest, "ms wall");
    print("longest of these batches", longest_cpu, "ms CPU");
    backend.notify_complete(1)?;
    print("bytes of a timer in the checkpoint", handle.delta_size() as f64 / left as f64, "bytes");
    print("bytes of a timer", bytes(&backend)? as f64 / (left - fired).max(1) as f64, "bytes");

    let (rest, took) = timed(|| backend.timers(token)?.advance(i64::MAX).try_fold(0, count));
    let rest = rest?;
    print("fire the rest", took.cpu_ns_per(rest.max(1)), "ns CPU");
    if fired + rest != left || last == i64::MIN {
        return Err(format!("{fired} and {rest} timers have fired of {left}").into());
    }
    backend.close()?;
    Ok(())
}

fn count<K, N>(number: u64, timer: Result<Timer<K, N>>) -> Result<u64> {
    timer.map(|_| number + 1)
}

/// Bytes of all files in a folder.
#[cfg(feature = "rocksdb")]
fn bytes_in(folder: &std::path::Path) -> Fallible<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
