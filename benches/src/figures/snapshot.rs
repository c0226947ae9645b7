//! Pauses of a backend's owner: in a snapshot, while one is written, while the table grows.

use std::path::Path;
use std::time::Duration;

use state_backends::prelude::*;

use super::Figures;
use crate::counts::{Counts, subtask};
use crate::measure::{Took, resident_bytes, timed};
use crate::report::{Figure, Target};
use crate::workload::{SplitMix64, Stream, shuffled};

/// Operations of a batch.
const OPS: usize = 1000;

/// Number of snapshots for the figures beside a running one.
const SNAPSHOTS: u64 = 5;

/// The longest of some batches, once by each clock.
#[derive(Default)]
struct Worst {
    wall: Duration,
    cpu: Duration,
    batches: u64,
    total: Duration,
}

impl Worst {
    fn see(&mut self, took: Took) {
        self.wall = self.wall.max(took.wall);
        self.cpu = self.cpu.max(took.cpu);
        self.total += took.cpu;
        self.batches += 1;
    }

    fn publish(&self, name: &str, figures: &mut Figures<'_>) {
        let mean = self.total.as_nanos() as f64 / (self.batches * OPS as u64) as f64;
        let detail = format!("of {} batches of {OPS}; {mean:.0} ns CPU an operation", self.batches);
        for (clock, worst) in [("CPU", self.cpu), ("wall", self.wall)] {
            let name = format!("longest batch {name}, {clock}");
            let figure = Figure::new(name, worst.as_secs_f64() * 1e3, "ms", detail.clone());
            figures(figure.target(Target::AtMost(5.0)));
        }
    }
}

/// Measures growth, memory, and snapshots of `entries` counts written into `folder`.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If a snapshot has a wrong value.
pub fn snapshot(entries: usize, folder: &Path, figures: &mut Figures<'_>) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let options = FsOptions::in_folder(folder.path(), JobFolder::new("snapshot")?)?;
    let resident = resident_bytes()?;
    let order: Vec<u64> = shuffled(0, entries, 42, Stream::NewKeys).iter().map(|key| *key as u64).collect();
    let of_keys = resident_bytes()? - resident;

    let mut counts = Counts::new(FsBackend::open(&options, subtask()?, &[])?)?;
    let mut growth = Worst::default();
    for batch in order.chunks(OPS) {
        let (result, took) = timed(|| batch.iter().try_for_each(|key| counts.add_one(key)));
        result?;
        growth.see(took);
    }
    growth.publish("while the table grows", figures);

    let info = counts.info();
    let told = info.bytes as f64 / entries as f64;
    let of_process = (resident_bytes()? - resident - of_keys) as f64 / entries as f64;
    let detail = format!("as told by the backend; {of_process:.1} of resident memory");
    figures(Figure::new("bytes an entry, u64 to u64", told, "B", detail).target(Target::AtMost(45.0)));

    let mut random = SplitMix64::new(42, Stream::Uniform);
    let mut draw = move || random.below(entries as u64);
    let (mut sync, mut before, mut during) = (Vec::new(), Worst::default(), Worst::default());
    let mut added = entries as u64;
    let mut expected = added;
    let mut last = None;
    for id in 1..=SNAPSHOTS {
        let mut run = |counts: &mut Counts<FsBackend<u64>>, worst: &mut Worst| {
            let events: Vec<u64> = (0..OPS).map(|_| draw()).collect();
            let (result, took) = timed(|| events.iter().try_for_each(|key| counts.add_one(key)));
            worst.see(took);
            added += OPS as u64;
            result
        };
        for _ in 0..OPS {
            run(&mut counts, &mut before)?;
        }
        let (task, took) = timed(|| counts.backend.snapshot(SnapshotRequest::new(id)));
        let task = task?;
        sync.push(took.wall);
        let mut unseen = 0;
        let running = std::thread::spawn(move || task.run());
        while !running.is_finished() {
            run(&mut counts, &mut during)?;
            unseen += OPS as u64;
        }
        last = running.join().expect("snapshots do not panic")?;
        counts.backend.notify_complete(id)?;
        expected = added - unseen;
    }
    sync.sort_unstable();
    let detail =
        format!("median of {SNAPSHOTS}, the longest {:.3} ms", sync[sync.len() - 1].as_secs_f64() * 1e3);
    let name = format!("synchronous part of a snapshot, {} M entries", entries / 1_000_000);
    let median = sync[sync.len() / 2].as_secs_f64() * 1e3;
    figures(Figure::new(name, median, "ms", detail).target(Target::AtMost(1.0)));
    before.publish("without a snapshot", figures);
    during.publish("while a snapshot is written", figures);
    drop(counts);

    let mut restored = Counts::new(FsBackend::open(&options, subtask()?, last.as_slice())?)?;
    let mut sum = 0;
    for key in &order {
        sum += restored.get(key)?;
    }
    assert_eq!(sum, expected, "the last snapshot has other counts than the backend had");
    Ok(())
}
