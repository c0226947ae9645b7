//! What canonical savepoints cost, compared with full checkpoints of the same state: time, bytes, restores, and the highest memory.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::sync::Arc;

use benches::measure::{median, timed};
use clap::{Parser, Subcommand};
use state_backends::prelude::*;

/// Compares canonical savepoints with full checkpoints.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Milliseconds and megabytes, in turns: values of u64 under u64 keys.
    Time {
        /// Number of entries.
        #[arg(default_value_t = 10_000_000)]
        entries: u64,
        /// Snapshots and restores of each kind. The medians are printed.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Only this backend: heap or rocksdb.
        #[arg(long)]
        backend: Option<String>,
    },
    /// The highest resident memory of the process: RocksDB, values of 100 bytes under u64 keys.
    #[cfg(feature = "rocksdb")]
    Memory {
        /// Number of entries.
        #[arg(default_value_t = 20_000_000)]
        entries: u64,
        /// Megabytes of memory of the backend.
        #[arg(long, default_value_t = 256)]
        budget_mb: usize,
    },
}

const GROUPS: u16 = 128;

/// Entries that are checked after a restore.
const CHECKED: usize = 1000;

const KINDS: [SnapshotKind; 2] = [SnapshotKind::Full, SnapshotKind::Savepoint(SavepointFormat::Canonical)];

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let storage = Arc::new(LocalStorage::open(folder.path())?);
    let job = JobFolder::new("job")?;
    match Arguments::parse().part {
        Part::Time { entries, rounds, backend } => {
            let wants = |name| backend.as_deref().is_none_or(|wanted| wanted == name);
            if wants("heap") {
                let options = FsOptions::new(Arc::clone(&storage) as _, job.clone());
                time::<FsBackend<u64>>("heap", &options, entries, rounds)?;
            }
            #[cfg(feature = "rocksdb")]
            if wants("rocksdb") {
                let options = RocksDbOptions::new(storage, job, folder.path().join("working"));
                time::<RocksDbBackend<u64>>("rocksdb", &options, entries, rounds)?;
            }
        }
        #[cfg(feature = "rocksdb")]
        Part::Memory { entries, budget_mb } => {
            let options = RocksDbOptions::new(storage, job, folder.path().join("working"));
            memory(&options.with_memory_budget(budget_mb << 20)?, entries)?;
        }
    }
    Ok(())
}

fn subtask() -> Result<Subtask<u64>> {
    Subtask::single("op", KeySpace::new(GROUPS)?)
}

fn name(kind: SnapshotKind) -> &'static str {
    if kind == SnapshotKind::Full { "full checkpoint" } else { "canonical savepoint" }
}

/// The keys, in no order.
fn keys(entries: u64) -> impl Iterator<Item = u64> {
    (0..entries).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn value_of(key: KeyContext<'_, u64>) -> u64 {
    key.hash() >> 20
}

/// Takes a snapshot, and returns its handle and milliseconds.
fn snapshot<B: StateBackend>(
    backend: &mut B,
    id: u64,
    kind: SnapshotKind,
) -> Fallible<(KeyedStateHandle, f64)> {
    let request = SnapshotRequest::new(id).with_kind(kind);
    let (handle, took) = timed(|| backend.snapshot(request)?.run());
    Ok((handle?.ok_or("there is no state")?, took.wall.as_secs_f64() * 1e3))
}

fn time<B: StateBackend<Key = u64>>(
    backend_name: &str,
    options: &B::Options,
    entries: u64,
    rounds: usize,
) -> Fallible<()> {
    let state = || ValueDescriptor::<u64>::new("values");
    let mut backend = B::open(options, subtask()?, &[])?;
    let values = backend.register(state())?;
    for key in keys(entries) {
        let key = backend.key(&key)?;
        backend.value(values, key, &())?.set(value_of(key))?;
    }
    let (mut handles, mut written, mut restored) = ([None, None], [vec![], vec![]], [vec![], vec![]]);
    let mut ids = 1..;
    for _ in 0..rounds {
        for (which, kind) in KINDS.into_iter().enumerate() {
            let id = ids.next().ok_or("too many rounds")?;
            let (handle, ms) = snapshot(&mut backend, id, kind)?;
            handles[which] = Some(handle);
            written[which].push(ms);
        }
    }
    drop(backend);
    for _ in 0..rounds {
        for (which, handle) in handles.iter().flatten().enumerate() {
            let (backend, took) = timed(|| -> Result<_> {
                let mut backend = B::open(options, subtask()?, std::slice::from_ref(handle))?;
                let values = backend.register(state())?;
                Ok((backend, values))
            });
            let (mut backend, values) = backend?;
            for key in keys(entries).take(CHECKED) {
                let key = backend.key(&key)?;
                let found = backend.value(values, key, &())?.get()?;
                assert_eq!(found, Some(value_of(key)), "the restore lost an entry");
            }
            drop(backend);
            restored[which].push(took.wall.as_secs_f64() * 1e3);
        }
    }
    for (which, handle) in handles.iter().flatten().enumerate() {
        println!(
            "{backend_name}, {}: written in {:.0} ms, {:.0} MB, restored in {:.0} ms",
            name(KINDS[which]),
            median(written[which].iter().copied()),
            handle.full_size() as f64 / 1e6,
            median(restored[which].iter().copied()),
        );
    }
    Ok(())
}

#[cfg(feature = "rocksdb")]
fn memory(options: &RocksDbOptions, entries: u64) -> Fallible<()> {
    use benches::measure::peak_resident_bytes;
    use benches::workload::{SplitMix64, Stream};

    let peak = |what: &str| -> Fallible<()> {
        println!("{what}: peak {:.0} MB", peak_resident_bytes()? as f64 / 1e6);
        // Forgets the peak so far (see proc(5)).
        Ok(std::fs::write("/proc/self/clear_refs", "5")?)
    };
    let mut backend = RocksDbBackend::<u64>::open(options, subtask()?, &[])?;
    let values = backend.register(ValueDescriptor::<Vec<u8>>::new("values"))?;
    for key in keys(entries) {
        let mut random = SplitMix64::new(key, Stream::Values);
        let value = (0..13).flat_map(|_| random.next_u64().to_le_bytes()).take(100).collect();
        let key = backend.key(&key)?;
        backend.value(values, key, &())?.set(value)?;
    }
    peak("load")?;
    for (id, kind) in (1..).zip(KINDS) {
        let (handle, ms) = snapshot(&mut backend, id, kind)?;
        let mb = handle.full_size() as f64 / 1e6;
        peak(&format!("{} of {mb:.0} MB in {ms:.0} ms", name(kind)))?;
    }
    Ok(())
}
