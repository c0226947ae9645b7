//! What a canonical savepoint costs, compared with a full checkpoint of the same state, and the restores of both.
//!
//! Prints milliseconds and megabytes. The argument is the number of entries, 10 million unless it is given.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use benches::measure::timed;
use state_backends::prelude::*;

const GROUPS: u16 = 128;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let entries = std::env::args().nth(1).map_or(Ok(10_000_000), |number| number.parse())?;
    let folder = tempfile::tempdir()?;
    let options = FsOptions::in_folder(folder.path().join("heap"), JobFolder::new("job")?)?;
    measure::<FsBackend<u64>>("heap", &options, entries)?;
    #[cfg(feature = "rocksdb")]
    {
        let storage = std::sync::Arc::new(LocalStorage::open(folder.path())?);
        let working = folder.path().join("working");
        let options = RocksDbOptions::new(storage, JobFolder::new("rocksdb")?, working);
        measure::<RocksDbBackend<u64>>("rocksdb", &options, entries)?;
    }
    Ok(())
}

fn subtask() -> Result<Subtask<u64>> {
    Subtask::single("op", KeySpace::new(GROUPS)?)
}

fn state() -> ValueDescriptor<u64> {
    ValueDescriptor::new("values")
}

fn measure<B: StateBackend<Key = u64>>(name: &str, options: &B::Options, entries: u64) -> Fallible<()> {
    let mut backend = B::open(options, subtask()?, &[])?;
    let values = backend.register(state())?;
    for key in 0..entries {
        // In no order.
        let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let key = backend.key(&key)?;
        backend.value(values, key, &())?.set(key.hash() >> 20)?;
    }
    let mut handles = Vec::new();
    for round in 0..2 {
        for (at, kind) in
            [SnapshotKind::Full, SnapshotKind::Savepoint(SavepointFormat::Canonical)].into_iter().enumerate()
        {
            let request = SnapshotRequest::new(1 + 2 * round + at as u64).with_kind(kind);
            let (handle, took) = timed(|| backend.snapshot(request)?.run());
            let handle = handle?.ok_or("there is no state")?;
            let (ms, mb) = (took.wall.as_secs_f64() * 1e3, handle.full_size() as f64 / 1e6);
            println!("{name} {kind:?}: {ms:.0} ms, {mb:.0} MB");
            handles.push((kind, handle));
        }
    }
    drop(backend);
    for (kind, handle) in handles {
        let (restored, took) = timed(|| -> Result<_> {
            let mut backend = B::open(options, subtask()?, &[handle])?;
            backend.register(state())?;
            Ok(backend)
        });
        drop(restored?);
        println!("{name} restore of {kind:?}: {:.0} ms", took.wall.as_secs_f64() * 1e3);
    }
    Ok(())
}
