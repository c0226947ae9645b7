//! What a time to live costs: reads and updates of values with it against without, and the memory or disk that remains after
//! most entries have expired.
//!
//! ```text
//! cargo run --release -p benches [--features rocksdb] --example ttl_costs [ENTRIES]
//! ```
#![expect(clippy::print_stdout, reason = "it prints figures")]

use benches::measure::{median, timed};
#[cfg(feature = "rocksdb")]
use benches::ops::Rocks;
use benches::workload::mix64;
use state_backends::prelude::*;

/// Entries that expire, or not, unless another number is given.
const ENTRIES: u64 = 10_000_000;
/// Keys of the accesses with and without a time to live.
const KEYS: u64 = 200_000;
/// Rounds of accesses to all keys.
const ROUNDS: u64 = 15;
/// The setting of Flink's benchmarks: milliseconds, spread over the entries; the clock gains 3 % of it in each round.
const TTL: i64 = 1_000_000;
/// Key groups.
const GROUPS: u16 = 128;
/// Memory budget of RocksDB.
#[cfg(feature = "rocksdb")]
const BUDGET: usize = 256 << 20;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Fallible<()> {
    let entries = std::env::args().nth(1).map_or(Ok(ENTRIES), |entries| entries.parse())?;
    let open = |subtask| MemoryBackend::<u64>::open(&MemoryOptions::default(), subtask, &[]);
    accesses("heap", open)?;
    expiry("heap", entries, open, |backend| {
        Ok(backend.states().iter().map(|state| state.bytes).sum::<u64>())
    })?;
    #[cfg(feature = "rocksdb")]
    {
        let rocks = Rocks::new(BUDGET, None)?;
        let open = |subtask| RocksDbBackend::<u64>::open(rocks.options(), subtask, &[]);
        accesses("rocksdb, in its cache", open)?;
        expiry("rocksdb", entries, open, |_| bytes_in(rocks.options().working_folder()))?;
    }
    Ok(())
}

/// Reads and updates all values in turns with and without a time to live.
fn accesses<B: StateBackend<Key = u64>>(
    name: &str,
    open: impl FnOnce(Subtask<u64>) -> Result<B>,
) -> Fallible<()> {
    let mut backend = open(Subtask::single("op", KeySpace::new(GROUPS)?)?)?;
    backend.advance_to(0)?;
    let ttl = Ttl::millis(TTL)?;
    let tokens = [
        backend.register(ValueDescriptor::<u64>::new("plain"))?,
        backend.register(ValueDescriptor::<u64>::new("expiring").ttl(ttl))?,
    ];
    for n in 0..KEYS {
        backend.advance_to(TTL * n as i64 / KEYS as i64)?;
        for token in tokens {
            set(&mut backend, token, n, n)?;
        }
    }
    let (mut reads, mut updates) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        backend.advance_to(TTL + TTL * round as i64 * 3 / 100)?;
        for (which, token) in tokens.into_iter().enumerate() {
            let (read, took) = timed(|| {
                (0..KEYS).try_fold(0, |sum: u64, n| {
                    let key = mix64(n ^ round) % KEYS;
                    let value = backend.value(token, backend.key(&key)?, &())?.get()?;
                    Ok::<_, Error>(sum.wrapping_add(value.unwrap_or_default()))
                })
            });
            read?;
            reads[which].push(took.cpu_ns_per(KEYS));
            let (updated, took) =
                timed(|| (0..KEYS).try_for_each(|n| set(&mut backend, token, mix64(n ^ round) % KEYS, n)));
            updated?;
            updates[which].push(took.cpu_ns_per(KEYS));
        }
    }
    for (what, [plain, expiring]) in [("valueGet", reads), ("valueUpdate", updates)] {
        let (plain, expiring) = (median(plain), median(expiring));
        let ratio = expiring / plain;
        println!("{name} {what}: {plain:.0} ns, with a time to live {expiring:.0} ns CPU: {ratio:.2}");
    }
    backend.close()?;
    Ok(())
}

fn set<B: StateBackend<Key = u64>>(backend: &mut B, token: ValueToken<u64>, key: u64, to: u64) -> Result<()> {
    backend.value(token, backend.key(&key)?, &())?.set(to)
}

/// Lets nine in ten entries expire, and then accesses keys at random: as many as there are entries in each round.
fn expiry<B: StateBackend<Key = u64>>(
    name: &str,
    entries: u64,
    open: impl FnOnce(Subtask<u64>) -> Result<B>,
    bytes: impl Fn(&B) -> Fallible<u64>,
) -> Fallible<()> {
    let mut backend = open(Subtask::single("op", KeySpace::new(GROUPS)?)?)?;
    backend.advance_to(0)?;
    let token = backend.register(ValueDescriptor::<u64>::new("expiring").ttl(Ttl::millis(TTL)?))?;
    for (now, lives) in [(0, false), (TTL / 2, true)] {
        backend.advance_to(now)?;
        for n in (0..entries).filter(|n| n.is_multiple_of(10) == lives) {
            set(&mut backend, token, n, mix64(n))?;
        }
    }
    backend.snapshot(SnapshotRequest::new(1))?.run()?;
    backend.notify_complete(1)?;
    let before = bytes(&backend)?;
    println!("{name}: {entries} entries, {before} bytes");
    backend.advance_to(TTL)?;
    for round in 1..=3 {
        let (accessed, took) = timed(|| {
            (0..entries).try_fold(0, |found, n| {
                let key = mix64(n ^ round) % entries;
                let value = backend.value(token, backend.key(&key)?, &())?.get()?;
                Ok::<_, Error>(found + u64::from(value.is_some()))
            })
        });
        let found = accessed?;
        backend.snapshot(SnapshotRequest::new(1 + round))?.run()?;
        backend.notify_complete(1 + round)?;
        let left = bytes(&backend)?;
        let share = 100.0 * left as f64 / before as f64;
        let ns = took.cpu_ns_per(entries);
        println!("{name} after round {round}: {left} bytes, {share:.1} %; {found} found, {ns:.0} ns CPU");
    }
    backend.close()?;
    Ok(())
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
