use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use state_backends::prelude::*;

use super::{Family, Load};
use crate::counts::subtask;
use crate::measure::median;
use crate::workload::{SplitMix64, Stream};

/// Updates that are timed together while a checkpoint is written.
const BATCH: usize = 1000;

/// Keys that are checked after a restore.
const SAMPLE: usize = 1000;

/// Parallelism after rescaling.
const PARALLELISM: u16 = 2;

/// Figures by the Flink peer's names. They are milliseconds, except `ckptFull` and `ckptIncr.new`, which are bytes.
pub type Told = BTreeMap<&'static str, f64>;

/// Runs the snapshot operations of the Flink peer, in its order, on value states of `load.keys` keys: full checkpoints,
/// increments, updates beside a checkpoint, restores, rescaling. Returns the medians of `counted` rounds of each kind,
/// after `warmup` rounds.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If a restore loses or changes anything.
pub fn snapshots<F: Family>(family: &F, load: &Rc<Load>, (warmup, counted): (usize, usize)) -> Result<Told> {
    let mut values = Values::open(family, load)?;
    let mut told = Told::new();
    let (mut full, mut increments) = (Samples::default(), Samples::default());
    for _ in 0..warmup + counted {
        values.touch()?;
        full.add(values.checkpoint(true)?);
    }
    for _ in 0..warmup + counted {
        values.touch()?;
        increments.add(values.checkpoint(false)?);
    }
    let [sync, total, bytes] = full.medians(warmup);
    told.extend([("ckptFull.sync", sync), ("ckptFull.total", total), ("ckptFull", bytes)]);
    let [sync, total, bytes] = increments.medians(warmup);
    told.extend([("ckptIncr.sync", sync), ("ckptIncr.total", total), ("ckptIncr.new", bytes)]);

    let mut runs = Samples::default();
    for _ in 0..warmup + counted {
        runs.add(values.run_beside_checkpoint()?);
    }
    let [sync, run, worst] = runs.medians(warmup);
    told.extend([
        ("snapshotRun.sync", sync),
        ("snapshotRun.async", run),
        ("snapshotRun.during.worstBatch", worst),
    ]);

    let (_, last) = values.checkpoint_handle(true)?;
    let Values { backend, model, .. } = values;
    drop(backend);
    let whole = subtask::<i64>()?;
    let halves = [half(0)?, half(1)?];
    let restore = |name, to: &Subtask<i64>, from: &[KeyedStateHandle]| -> Result<(&'static str, f64)> {
        let times = (0..warmup + counted).map(|_| restored(family, load, to, from, &model));
        let times = times.collect::<Result<Vec<_>>>()?;
        Ok((name, median(times.into_iter().skip(warmup))))
    };
    let last = std::slice::from_ref(&last);
    told.extend([restore("restore", &whole, last)?, restore("rescaleOut", &halves[0], last)?]);
    let mut parts = Vec::new();
    for half in &halves {
        let mut backend = family.open(half.clone(), last)?;
        backend.register(ValueDescriptor::<i64>::new("kvState"))?;
        let handle = backend.snapshot(SnapshotRequest::new(1 << 32).full())?.run()?;
        parts.extend(handle);
    }
    told.extend([restore("rescaleIn", &whole, &parts)?]);
    Ok(told)
}

fn half(index: u16) -> Result<Subtask<i64>> {
    let whole = subtask::<i64>()?;
    Subtask::new(whole.operator(), whole.key_space().clone(), PARALLELISM, index)
}

/// Three measurements of each round.
#[derive(Default)]
struct Samples(Vec<[f64; 3]>);

impl Samples {
    fn add(&mut self, sample: [f64; 3]) {
        self.0.push(sample);
    }

    fn medians(&self, warmup: usize) -> [f64; 3] {
        [0, 1, 2].map(|which| median(self.0.iter().skip(warmup).map(|sample| sample[which])))
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Value states that are checkpointed, and the expected value of each.
struct Values<B> {
    backend: B,
    token: ValueToken<i64>,
    load: Rc<Load>,
    model: Vec<i64>,
    touched: SplitMix64,
    /// Id of the last checkpoint.
    checkpoint: u64,
    /// Position in the shuffled keys of the next update beside a checkpoint.
    at: usize,
}

impl<B: StateBackend<Key = i64>> Values<B> {
    fn open<F: Family<Backend<i64> = B>>(family: &F, load: &Rc<Load>) -> Result<Self> {
        let mut backend = family.open_empty::<i64>()?;
        let token = backend.register(ValueDescriptor::new("kvState"))?;
        let touched = SplitMix64::new(load.seed, Stream::Touch);
        let model = vec![0; load.keys];
        let mut values = Self { backend, token, load: Rc::clone(load), model, touched, checkpoint: 0, at: 0 };
        for i in 0..load.keys {
            values.set(i as i64, load.loaded(i))?;
        }
        Ok(values)
    }

    #[inline]
    fn set(&mut self, key: i64, value: i64) -> Result<()> {
        self.model[key as usize] = value;
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.set(value)
    }

    /// Changes 1 % of the keys.
    fn touch(&mut self) -> Result<()> {
        for _ in 0..(self.load.keys / 100).max(1) {
            let key = self.touched.below(self.load.keys as u64) as i64;
            let value = self.touched.next_u64() as i64;
            self.set(key, value)?;
        }
        Ok(())
    }

    fn request(&mut self, full: bool) -> SnapshotRequest {
        self.checkpoint += 1;
        let request = SnapshotRequest::new(self.checkpoint);
        if full { request.full() } else { request }
    }

    fn checkpoint_handle(&mut self, full: bool) -> Result<([f64; 3], KeyedStateHandle)> {
        let request = self.request(full);
        let start = Instant::now();
        let task = self.backend.snapshot(request)?;
        let sync = start.elapsed();
        let handle = task.run()?.expect("there is a state");
        let total = start.elapsed();
        self.backend.notify_complete(self.checkpoint)?;
        Ok(([ms(sync), ms(total), new_bytes(&handle) as f64], handle))
    }

    /// Times of the synchronous part and of the whole checkpoint, and new bytes.
    fn checkpoint(&mut self, full: bool) -> Result<[f64; 3]> {
        self.checkpoint_handle(full).map(|(sample, _)| sample)
    }

    /// The time of a batch of updates.
    fn update_batch(&mut self) -> Result<Duration> {
        let load = Rc::clone(&self.load);
        let start = Instant::now();
        for _ in 0..BATCH {
            let at = self.at;
            self.set(load.existing[at], load.values[at % load.values.len()])?;
            self.at = if at + 1 == load.keys { 0 } else { at + 1 };
        }
        Ok(start.elapsed())
    }

    /// Updates every key once, then goes on updating while a full checkpoint is written. Returns the times of its
    /// synchronous part, of the whole checkpoint, and of the longest batch meanwhile.
    fn run_beside_checkpoint(&mut self) -> Result<[f64; 3]> {
        for _ in 0..(self.load.keys / BATCH).max(1) {
            self.update_batch()?;
        }
        let request = self.request(true);
        let start = Instant::now();
        let task = self.backend.snapshot(request)?;
        let sync = start.elapsed();
        let (ended, has_ended) = mpsc::channel();
        let writer = thread::spawn(move || {
            let result = task.run();
            // The receiver is gone if the updates have failed.
            let _ = ended.send(());
            (result, start.elapsed())
        });
        let mut worst = Duration::ZERO;
        while has_ended.try_recv().is_err() {
            worst = worst.max(self.update_batch()?);
        }
        let (handle, total) = writer.join().expect("the writer does not panic");
        handle?;
        self.backend.notify_complete(self.checkpoint)?;
        Ok([ms(sync), ms(total), ms(worst)])
    }
}

/// Bytes of the files that a checkpoint wrote anew.
fn new_bytes(handle: &KeyedStateHandle) -> u64 {
    let new = handle.files.iter().filter(|file| file.created_by == handle.checkpoint_id);
    new.map(|file| file.data.length()).sum()
}

/// Milliseconds from handles to the first answered read.
fn restored<F: Family>(
    family: &F,
    load: &Rc<Load>,
    to: &Subtask<i64>,
    from: &[KeyedStateHandle],
    model: &[i64],
) -> Result<f64> {
    let (whole, range) = (subtask::<i64>()?, to.range());
    let sample = load
        .existing
        .iter()
        .copied()
        .filter(|key| whole.key(key).is_ok_and(|key| range.contains(key.group())));
    let sample: Vec<i64> = sample.take(SAMPLE).collect();
    let start = Instant::now();
    let mut backend = family.open(to.clone(), from)?;
    let token = backend.register(ValueDescriptor::<i64>::new("kvState"))?;
    let mut time = None;
    for key in &sample {
        let found = backend.value(token, backend.key(key)?, &())?.get()?;
        time.get_or_insert_with(|| start.elapsed());
        assert_eq!(found, Some(model[*key as usize]), "the restore lost a key");
    }
    Ok(ms(time.expect("there are keys in the range")))
}
