//! State in RocksDB that is larger than memory, increments and rescaling, against their targets.
//!
//! Run each part in a process of its own, above all `memory`, which reports the highest memory of the process.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use benches::counts::subtask;
use benches::measure::{load_average, median, peak_resident_bytes};
use benches::ops::{Family, Rocks};
use benches::report::{Figure, MARKDOWN_HEAD, Target, markdown_row};
use benches::workload::{SplitMix64, Stream};
use clap::Parser;
use serde::{Serialize, de::DeserializeOwned};
use state_backends::api::StateValue;
use state_backends::prelude::*;

/// Measures the RocksDB backend with large state.
#[derive(Parser)]
struct Arguments {
    /// Only the parts whose names contain this: memory, increments, rescale, pauses, batches.
    #[arg(default_value = "")]
    filter: String,
    /// Keys of the state that is larger than memory, values of 100 bytes.
    #[arg(long, default_value_t = 20_000_000)]
    large: u64,
    /// Keys of the other parts, values of 8 bytes.
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Megabytes of memory of a backend.
    #[arg(long, default_value_t = 256)]
    budget_mb: usize,
    /// Number of increments, each on top of the last.
    #[arg(long, default_value_t = 50)]
    checkpoints: u64,
    /// Rounds of repeated measurements.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const SEED: u64 = 42;

/// Memory that a process may use besides the budget.
const BESIDE_BUDGET: u64 = 150 << 20;

/// Checkpoints that are kept.
const RETAINED: usize = 3;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn publish(figure: Figure) -> Fallible<()> {
    Ok(writeln!(stdout(), "{}", markdown_row(&figure))?)
}

fn descriptor<V: StateValue + Serialize + DeserializeOwned>() -> ValueDescriptor<V> {
    ValueDescriptor::new("state")
}

/// Value states by number.
struct State<V: StateValue> {
    backend: RocksDbBackend<u64>,
    token: ValueToken<V>,
    checkpoint: u64,
}

impl<V: StateValue> State<V> {
    fn open(
        family: &Rocks,
        descriptor: ValueDescriptor<V>,
        subtask: Subtask<u64>,
        from: &[KeyedStateHandle],
    ) -> Result<Self> {
        let mut backend = family.open(subtask, from)?;
        let token = backend.register(descriptor)?;
        let last = from.iter().map(|handle| handle.checkpoint_id).max();
        Ok(Self { backend, token, checkpoint: last.unwrap_or(0) })
    }

    fn set(&mut self, key: u64, value: V) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.set(value)
    }

    fn get(&mut self, key: u64) -> Result<Option<V>> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.get()
    }

    /// Times of the synchronous part and of the whole checkpoint.
    fn checkpoint(&mut self, full: bool) -> Result<(Duration, Duration, KeyedStateHandle)> {
        self.checkpoint += 1;
        let request = SnapshotRequest::new(self.checkpoint);
        let start = Instant::now();
        let task = self.backend.snapshot(if full { request.full() } else { request })?;
        let sync = start.elapsed();
        let handle = task.run()?.expect("there is a state");
        self.backend.notify_complete(self.checkpoint)?;
        Ok((sync, start.elapsed(), handle))
    }
}

/// The last written value of a key of the large state.
fn long_value(key: u64, time: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(key ^ time << 40, Stream::Values);
    (0..13).flat_map(|_| random.next_u64().to_le_bytes()).take(100).collect()
}

fn memory(arguments: &Arguments) -> Fallible<()> {
    let Arguments { large: keys, budget_mb, .. } = *arguments;
    let family = Rocks::new(budget_mb << 20, None)?;
    let mut state = State::open(&family, descriptor(), subtask()?, &[])?;
    let ops = keys / 10;
    let rate = |ops: u64, start: Instant| ops as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for key in 0..keys {
        state.set(key, long_value(key, 0))?;
    }
    let load = rate(keys, start);
    let (_, full, handle) = state.checkpoint(false)?;
    let bytes = handle.full_size();
    let mut random = SplitMix64::new(SEED, Stream::Touch);
    let start = Instant::now();
    for _ in 0..ops {
        let key = random.below(keys);
        assert!(state.get(key)?.is_some_and(|value| value == long_value(key, 0)), "a value was lost");
    }
    let reads = rate(ops, start);
    let mut random = SplitMix64::new(SEED, Stream::Touch);
    let start = Instant::now();
    for _ in 0..ops {
        let key = random.below(keys);
        state.set(key, long_value(key, 1))?;
    }
    let writes = rate(ops, start);
    let (sync, increment, handle) = state.checkpoint(false)?;
    drop(state);
    let start = Instant::now();
    let mut state = State::<Vec<u8>>::open(&family, descriptor(), subtask()?, &[handle])?;
    state.get(0)?;
    let restore = start.elapsed();
    let mut random = SplitMix64::new(SEED, Stream::Touch);
    for _ in 0..ops {
        let key = random.below(keys);
        assert!(state.get(key)?.is_some_and(|value| value == long_value(key, 1)), "the restore lost a value");
    }
    let peak = peak_resident_bytes()?;
    let most = ((budget_mb << 20) as u64 + BESIDE_BUDGET) as f64 / 1e6;
    let detail = format!(
        "{keys} keys, {:.0} MB in a checkpoint; a second: {load:.0} loaded, {reads:.0} read, {writes:.0} written; checkpoint {:.1} s, \
         increment of 10 % {:.1} s (sync {:.3} ms), restore {:.1} s",
        bytes as f64 / 1e6,
        full.as_secs_f64(),
        increment.as_secs_f64(),
        ms(sync),
        restore.as_secs_f64(),
    );
    let name = format!("most memory of the process, budget {budget_mb} MiB");
    publish(Figure::new(name, peak as f64 / 1e6, "MB", detail).target(Target::AtMost(most)))
}

/// Bytes and number of the files in the storage of checkpoints.
fn stored(storage: &dyn Storage) -> Result<(u64, usize)> {
    let files = storage.list("")?;
    Ok((files.iter().map(|file| file.len).sum(), files.len()))
}

fn increments(arguments: &Arguments) -> Fallible<()> {
    let Arguments { keys, budget_mb, checkpoints, rounds, .. } = *arguments;
    let family = Rocks::new(budget_mb << 20, None)?;
    let storage = std::sync::Arc::new(LocalStorage::open(family.checkpoints())?);
    let options = CheckpointStoreOptions::in_storage(JobFolder::new("bench")?, storage.clone());
    let mut store = CheckpointStore::open(options.with_retained(RETAINED)?)?;
    let mut state = State::open(&family, descriptor(), subtask()?, &[])?;
    for key in 0..keys {
        state.set(key, key)?;
    }
    let mut random = SplitMix64::new(SEED, Stream::Touch);
    let mut complete = |state: &mut State<u64>, full| -> Fallible<(f64, f64, f64)> {
        for _ in 0..keys / 100 {
            state.set(random.below(keys), random.next_u64())?;
        }
        let (sync, total, handle) = state.checkpoint(full)?;
        let new = handle.files.iter().filter(|file| file.created_by == handle.checkpoint_id);
        let new: u64 = new.map(|file| file.data.length()).sum();
        let task = TaskState::of(state.backend.subtask(), Some(handle));
        store.complete(Checkpoint::new(state.checkpoint, vec![task]))?;
        Ok((ms(sync), ms(total), new as f64))
    };
    let full = (0..rounds).map(|_| complete(&mut state, true)).collect::<Fallible<Vec<_>>>()?;
    let part = (0..checkpoints).map(|_| complete(&mut state, false)).collect::<Fallible<Vec<_>>>()?;
    type Sample = (f64, f64, f64);
    let both = |of: fn(&Sample) -> f64| (median(part.iter().map(of)), median(full.iter().map(of)));
    let (new, whole) = both(|sample| sample.2);
    let detail = format!("{:.2} MB against {:.1}", new / 1e6, whole / 1e6);
    publish(Figure::new("new bytes of an increment of 1 %", 100.0 * new / whole, "%", detail))?;
    let (new, whole) = both(|sample| sample.1);
    let detail = format!("{new:.1} ms against {whole:.1}");
    publish(Figure::new("time of an increment of 1 %", 100.0 * new / whole, "%", detail))?;
    let (sync, _) = both(|sample| sample.0);
    let most = part.iter().map(|sample| sample.0).fold(0.0, f64::max);
    let detail = format!("longest {most:.3} ms");
    publish(Figure::new("synchronous part", sync, "ms", detail).target(Target::AtMost(5.0)))?;

    let (bytes, files) = stored(&*storage)?;
    let mut needed = std::collections::BTreeMap::new();
    for handle in store.checkpoints().flat_map(Checkpoint::handles) {
        needed.extend(handle.files.iter().map(|file| (file.name.clone(), file.data.length())));
    }
    let orphans = store.orphans()?.len();
    let needed: u64 = needed.values().sum();
    let detail = format!(
        "{files} files of {:.1} MB, of which the {RETAINED} retained checkpoints name {:.1} MB; one full {:.1} MB",
        bytes as f64 / 1e6,
        needed as f64 / 1e6,
        whole_bytes(&full) / 1e6,
    );
    let name = format!("orphans after {checkpoints} increments");
    publish(Figure::new(name, orphans as f64, "files", detail).target(Target::AtMost(0.0)))
}

fn whole_bytes(full: &[(f64, f64, f64)]) -> f64 {
    median(full.iter().map(|sample| sample.2))
}

fn rescale(arguments: &Arguments) -> Fallible<()> {
    let Arguments { keys, budget_mb, rounds, .. } = *arguments;
    let family = Rocks::new(budget_mb << 20, None)?;
    let whole = subtask::<u64>()?;
    let half = |index| Subtask::new(whole.operator(), whole.key_space().clone(), 2, index);
    let halves = [half(0)?, half(1)?];
    // As a job of that parallelism has written them.
    let write = |to: &Subtask<u64>| -> Result<KeyedStateHandle> {
        let mut state = State::open(&family, descriptor(), to.clone(), &[])?;
        for key in (0..keys).filter(|key| whole.key(key).is_ok_and(|key| to.range().contains(key.group()))) {
            state.set(key, key)?;
        }
        let id = if to.parallelism() == 1 { 1 } else { 2 };
        let task = state.backend.snapshot(SnapshotRequest::new(id))?;
        Ok(task.run()?.expect("there is a state"))
    };
    let one = [write(&whole)?];
    let two = [write(&halves[0])?, write(&halves[1])?];
    let restored = |to: &Subtask<u64>, from: &[KeyedStateHandle]| -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let is_here = |key: &u64| whole.key(key).is_ok_and(|key| to.range().contains(key.group()));
            let mut checked = (0..keys).filter(is_here).step_by(997);
            let start = Instant::now();
            let mut state = State::<u64>::open(&family, descriptor(), to.clone(), from)?;
            let first = checked.next().expect("there are keys");
            assert_eq!(state.get(first)?, Some(first), "the restore lost a key");
            times.push(ms(start.elapsed()));
            for key in checked {
                assert_eq!(state.get(key)?, Some(key), "the restore lost a key");
            }
            let entries = state
                .backend
                .keys(state.token, &())?
                .map(|key| key.map(|key| assert!(is_here(&key), "a row came back")));
            let expected = (0..keys).filter(is_here).count();
            assert_eq!(entries.collect::<Result<Vec<_>>>()?.len(), expected, "not all rows, or more");
        }
        Ok(median(times))
    };
    let plain = restored(&whole, &one)?;
    publish(Figure::new("restore", plain, "ms", format!("{keys} keys")))?;
    let against = |name: &str, time: f64| {
        let detail = format!("{time:.1} ms against {plain:.1}");
        publish(Figure::new(name, time / plain, "x", detail).target(Target::AtMost(1.5)))
    };
    against("1 to 2, the first", restored(&halves[0], &one)?)?;
    against("1 to 2, the second", restored(&halves[1], &one)?)?;
    against("2 to 1", restored(&whole, &two)?)
}

/// The longest access while a checkpoint is written, of keys that the cache holds and of others.
fn pauses(arguments: &Arguments) -> Fallible<()> {
    let Arguments { keys, budget_mb, rounds, .. } = *arguments;
    for (name, cache) in [("cache", None), ("without cache", Some(0))] {
        let family = Rocks::new(budget_mb << 20, cache)?;
        let mut state = State::open(&family, descriptor(), subtask()?, &[])?;
        for key in 0..keys {
            state.set(key, key)?;
        }
        state.checkpoint(false)?;
        let mut random = SplitMix64::new(SEED, Stream::Touch);
        let (mut before, mut during, mut writing) = (Vec::new(), Vec::new(), Vec::new());
        let mut access = |state: &mut State<u64>| -> Result<f64> {
            let (key, value) = (random.below(keys), random.next_u64());
            let start = Instant::now();
            state.set(key, value)?;
            Ok(ms(start.elapsed()))
        };
        for _ in 0..rounds {
            let times = (0..500_000).map(|_| access(&mut state)).collect::<Result<Vec<_>>>()?;
            before.push(times.into_iter().fold(0.0, f64::max));
            state.checkpoint += 1;
            let start = Instant::now();
            let task = state.backend.snapshot(SnapshotRequest::new(state.checkpoint))?;
            let writer = std::thread::spawn(move || (task.run(), start.elapsed()));
            let mut longest = 0.0;
            while !writer.is_finished() {
                longest = access(&mut state)?.max(longest);
            }
            let (handle, took) = writer.join().expect("the writer does not panic");
            handle?;
            state.backend.notify_complete(state.checkpoint)?;
            during.push(longest);
            writing.push(ms(took));
        }
        let detail = format!(
            "checkpoint of 500,000 updates in {:.0} ms; the longest of them {:.2} ms; all: {during:.1?}",
            median(writing),
            median(before)
        );
        publish(Figure::new(
            format!("longest write beside a checkpoint, {name}"),
            median(during),
            "ms",
            detail,
        ))?;
    }
    Ok(())
}

/// Keys of one call of `get_batch` and `update_batch`.
const BATCH: usize = 100;

/// Single accesses and batches, mostly of values that are not in memory.
fn batches(arguments: &Arguments) -> Fallible<()> {
    let Arguments { keys, budget_mb, rounds, .. } = *arguments;
    for (name, cache) in [("cache", None), ("without cache", Some(0))] {
        let family = Rocks::new(budget_mb << 20, cache)?;
        let mut state = State::open(&family, descriptor(), subtask()?, &[])?;
        for key in 0..keys {
            state.set(key, long_value(key, 0))?;
        }
        state.checkpoint(false)?;
        let mut random = SplitMix64::new(SEED, Stream::Touch);
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            for (what, times) in times.iter_mut().enumerate() {
                let drawn: Vec<u64> = (0..200_000).map(|_| random.below(keys)).collect();
                let start = Instant::now();
                for keys in drawn.chunks(BATCH) {
                    let mut found = 0;
                    let contexts =
                        keys.iter().map(|key| state.backend.key(key)).collect::<Result<Vec<_>>>()?;
                    let State { backend, token, .. } = &mut state;
                    let change = |value: &mut Option<Vec<u8>>| value.get_or_insert_default().truncate(99);
                    match what {
                        0 => {
                            for &key in &contexts {
                                found += usize::from(backend.value(*token, key, &())?.get()?.is_some());
                            }
                        }
                        1 => backend.get_batch(*token, &contexts, &(), |_, value| {
                            found += usize::from(value.cloned().is_some());
                        })?,
                        2 => {
                            for &key in &contexts {
                                backend.value(*token, key, &())?.update(change)?;
                                found += 1;
                            }
                        }
                        _ => backend.update_batch(*token, &contexts, &(), |_, value| {
                            change(value);
                            found += 1;
                        })?,
                    }
                    assert_eq!(found, keys.len(), "values were lost");
                }
                times.push(start.elapsed().as_secs_f64() * 1e9 / drawn.len() as f64);
            }
        }
        let [get, get_batch, update, update_batch] = times.map(median);
        for (what, single, batch) in [("get", get, get_batch), ("update", update, update_batch)] {
            let detail = format!("{batch:.0} ns in batches of {BATCH}, {single:.0} one by one");
            publish(Figure::new(format!("{what}, {name}: batches"), single / batch, "x", detail))?;
        }
    }
    Ok(())
}

fn main() -> Fallible<()> {
    let arguments = Arguments::parse();
    writeln!(stdout(), "Load average: {:.2}\n\n{MARKDOWN_HEAD}", load_average().unwrap_or(f64::NAN))?;
    let wants = |part: &str| part.contains(&arguments.filter);
    for (name, part) in [
        ("memory", memory as fn(&Arguments) -> Fallible<()>),
        ("increments", increments),
        ("rescale", rescale),
        ("pauses", pauses),
        ("batches", batches),
    ] {
        if wants(name) {
            part(&arguments)?;
        }
    }
    Ok(())
}
