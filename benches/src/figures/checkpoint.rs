//! Checkpoint and restore against the limits of checksums, codec and disk; increments against full checkpoints.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use state_backends::api::{Codec, KeyedStateHandle, PlainCodec, StateData};
use state_backends::prelude::*;

use super::Figures;
use crate::counts::{Counts, subtask};
use crate::measure::{median, timed};
use crate::report::{Figure, Target};
use crate::workload::{SplitMix64, Stream, shuffled};

/// Bytes of an entry in a row.
const ROW: usize = 16;

/// Checkpoints and restores of each kind.
const ROUNDS: usize = 5;

/// Median of some times, in seconds.
fn seconds(times: &[Duration]) -> f64 {
    median(times.iter().map(Duration::as_secs_f64))
}

/// Bytes of the files that a checkpoint wrote anew.
fn new_bytes(handle: &KeyedStateHandle) -> u64 {
    let new = handle.files.iter().filter(|file| file.created_by == handle.checkpoint_id);
    new.map(|file| match &file.data {
        StateData::File { length, .. } => *length,
        StateData::Inline(bytes) => bytes.len() as u64,
    })
    .sum()
}

/// What the parts of writing and reading allow, each alone, in seconds for all rows.
struct Limits {
    crc: Vec<Duration>,
    encode: Vec<Duration>,
    decode: Vec<Duration>,
    write: Vec<Duration>,
    read_cold: Vec<Duration>,
    read_warm: Vec<Duration>,
}

impl Limits {
    fn new() -> Self {
        let none = Vec::new;
        Self {
            crc: none(),
            encode: none(),
            decode: none(),
            write: none(),
            read_cold: none(),
            read_warm: none(),
        }
    }

    fn measure(&mut self, rows: usize, folder: &Path) -> Result<()> {
        const BLOCK: usize = 256 << 10;
        let mut random = SplitMix64::new(42, Stream::Values);
        let codec: &dyn Codec<u64> = &PlainCodec;
        let pairs: Vec<(u64, u64)> = (0..rows as u64).map(|key| (key, random.next_u64())).collect();
        let mut bytes = Vec::with_capacity(rows * ROW);
        let (result, took) = timed(|| {
            pairs.iter().try_for_each(|(key, value)| {
                key.encode(&mut bytes);
                codec.encode(value, &mut bytes)
            })
        });
        result?;
        self.encode.push(took.wall);
        let (crc, took) = timed(|| bytes.chunks(BLOCK).fold(0, |sum, block| sum ^ crc32fast::hash(block)));
        black_box(crc);
        self.crc.push(took.wall);
        let (sum, took) = timed(|| {
            bytes.chunks_exact(ROW).try_fold(0_u64, |sum, mut row| {
                let key = u64::decode(&mut row)?;
                Ok::<_, Error>(sum.wrapping_add(key).wrapping_add(codec.decode(row)?))
            })
        });
        black_box(sum?);
        self.decode.push(took.wall);

        let path = folder.join("raw");
        let mut file = File::create(&path)?;
        let (result, took) = timed(|| {
            bytes.chunks(BLOCK).try_for_each(|block| file.write_all(block))?;
            file.sync_data()
        });
        result?;
        self.write.push(took.wall);
        drop_from_page_cache(&path)?;
        for times in [&mut self.read_cold, &mut self.read_warm] {
            let mut file = File::open(&path)?;
            let mut block = vec![0; 1 << 20];
            let (result, took) = timed(|| {
                while file.read(&mut block)? > 0 {}
                Ok::<_, std::io::Error>(())
            });
            result?;
            times.push(took.wall);
        }
        fs::remove_file(path)?;
        Ok(())
    }
}

fn drop_from_page_cache(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).map_err(std::io::Error::from)?;
    Ok(())
}

/// Measures checkpoints and restores of `entries` counts in `folder`.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If a restore loses or changes anything.
pub fn checkpoint(entries: usize, folder: &Path, figures: &mut Figures<'_>) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let options = FsOptions::in_folder(folder.path(), JobFolder::new("checkpoint")?)?;
    let mut counts = Counts::new(FsBackend::open(&options, subtask()?, &[])?)?;
    for key in shuffled(0, entries, 42, Stream::NewKeys) {
        counts.add_one(&(key as u64))?;
    }

    let mut limits = Limits::new();
    let (mut checkpoints, mut cpu) = (Vec::new(), Vec::new());
    let (mut warm, mut cold, mut shared, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let by_two = options.clone().with_restore_threads(2)?;
    for id in 1..=ROUNDS as u64 {
        limits.measure(entries, folder.path())?;
        let task = counts.backend.snapshot(SnapshotRequest::new(id))?;
        let (handle, took) = timed(|| task.run());
        let handle = handle?.expect("there is a state");
        counts.backend.notify_complete(id)?;
        checkpoints.push(took.wall);
        cpu.push(took.cpu);
        sizes.push(new_bytes(&handle));
        for (options, times) in [(&options, &mut warm), (&options, &mut cold), (&by_two, &mut shared)] {
            let (restored, took) =
                timed(|| Counts::new(FsBackend::open(options, subtask()?, std::slice::from_ref(&handle))?));
            let mut restored = restored?;
            assert_eq!(restored.info().entries, Some(entries as u64), "the restore lost entries");
            assert_eq!(restored.get(&(entries as u64 / 2))?, 1, "the restore lost a count");
            times.push(took.wall);
            for file in &handle.files {
                if let StateData::File { path, .. } = &file.data {
                    drop_from_page_cache(&folder.path().join(path))?;
                }
            }
        }
        for file in &handle.files {
            if let StateData::File { path, .. } = &file.data {
                fs::remove_file(folder.path().join(path))?;
            }
        }
    }

    let mega = (entries * ROW) as f64 / 1e6;
    let rate = |times: &[Duration]| mega / seconds(times);
    let Limits { crc, encode, decode, write, read_cold, read_warm } = &limits;
    let slowest = |parts: &[&[Duration]]| parts.iter().map(|times| rate(times)).fold(f64::INFINITY, f64::min);
    let share = |name: &str, times: &[Duration], bound: f64, detail: String| {
        let detail = format!("{:.0} MB/s of at most {bound:.0} ({detail})", rate(times));
        Figure::new(name, 100.0 * rate(times) / bound, "%", detail).target(Target::AtLeast(70.0))
    };
    let parts = |parts: &[(&str, &[Duration])]| {
        let parts: Vec<String> =
            parts.iter().map(|(name, times)| format!("{name} {:.0}", rate(times))).collect();
        parts.join(", ")
    };
    let detail = parts(&[("crc", crc), ("encode", encode), ("write and sync", write), ("thread CPU", &cpu)]);
    figures(share("checkpoint", &checkpoints, slowest(&[crc, encode, write]), detail));
    let detail = parts(&[("crc", crc), ("decode", decode), ("read", read_cold)]);
    figures(share("restore, cold", &cold, slowest(&[crc, decode, read_cold]), detail.clone()));
    figures(share("restore, cold, two threads", &shared, slowest(&[crc, decode, read_cold]), detail));
    let detail = parts(&[("crc", crc), ("decode", decode), ("read", read_warm)]);
    let bound = slowest(&[crc, decode, read_warm]);
    let mut figure = share("restore, warm", &warm, bound, detail);
    figure.target = Target::None;
    figures(figure);
    let size = sizes[0] as f64 / entries as f64;
    figures(Figure::new("bytes of a full checkpoint", size, "B/entry", ""));
    Ok(())
}

/// Measures an increment of 1 % of `entries` counts against a full checkpoint, in `folder`.
///
/// # Errors
/// Errors of the backend.
///
/// # Panics
/// If a restore from the increments loses or changes anything.
pub fn incremental(entries: usize, folder: &Path, figures: &mut Figures<'_>) -> Result<()> {
    let folder = tempfile::tempdir_in(folder)?;
    let options = FsOptions::in_folder(folder.path(), JobFolder::new("incremental")?)?.with_incremental(true);
    let mut counts = Counts::new(FsBackend::open(&options, subtask()?, &[])?)?;
    for key in shuffled(0, entries, 42, Stream::NewKeys) {
        counts.add_one(&(key as u64))?;
    }
    let mut random = SplitMix64::new(42, Stream::Touch);
    let (mut full, mut increments) = (Vec::new(), Vec::new());
    let (mut full_bytes, mut increment_bytes) = (Vec::new(), Vec::new());
    let mut expected = entries as u64;
    let mut last = None;
    let mut id = 0;
    for _ in 0..ROUNDS {
        for (is_full, times, bytes) in
            [(true, &mut full, &mut full_bytes), (false, &mut increments, &mut increment_bytes)]
        {
            id += 1;
            for _ in 0..entries / 100 {
                counts.add_one(&random.below(entries as u64))?;
                expected += 1;
            }
            let request = SnapshotRequest::new(id);
            let request = if is_full { request.full() } else { request };
            let task = counts.backend.snapshot(request)?;
            let (handle, took) = timed(|| task.run());
            let handle = handle?.expect("there is a state");
            counts.backend.notify_complete(id)?;
            times.push(took.wall);
            bytes.push(new_bytes(&handle) as f64);
            last = Some(handle);
        }
    }
    let (whole, part) = (median(full_bytes), median(increment_bytes));
    let detail = format!("{:.2} MB against {:.1} MB", part / 1e6, whole / 1e6);
    let figure = Figure::new("bytes of an increment of 1 %", 100.0 * part / whole, "%", detail);
    figures(figure.target(Target::AtMost(3.0)));
    let (whole, part) = (seconds(&full), seconds(&increments));
    let detail = format!("{:.1} ms against {:.1} ms", part * 1e3, whole * 1e3);
    let figure = Figure::new("time of an increment of 1 %", 100.0 * part / whole, "%", detail);
    figures(figure.target(Target::AtMost(15.0)));
    drop(counts);

    let mut restored = Counts::new(FsBackend::open(&options, subtask()?, last.as_slice())?)?;
    let mut sum = 0;
    for key in 0..entries as u64 {
        sum += restored.get(&key)?;
    }
    assert_eq!(sum, expected, "the restore has other counts than the backend had");
    Ok(())
}
