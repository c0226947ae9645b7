//! Compares our RocksDB backend without a cache with the bare `rocksdb` crate: same keys, values and options, in turns.
//! Prints the ratios.

use std::path::Path;

use benches::counts::subtask;
use benches::measure::{Took, load_average, median, timed};
use benches::ops::{Family, Rocks};
use benches::report::{Figure, MARKDOWN_HEAD, Target, markdown_row};
use benches::workload::{Stream, Zipf, uniform, values};
use clap::Parser;
use state_backends::prelude::*;
use state_backends::rocksdb::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WriteBufferManager, WriteOptions,
};

/// Measures our RocksDB backend and the bare crate in turns.
#[derive(Parser)]
struct Arguments {
    /// Keys.
    #[arg(long, default_value_t = 500_000)]
    keys: u64,
    /// Operations of a round.
    #[arg(long, default_value_t = 500_000)]
    ops: usize,
    /// Megabytes of memory for each.
    #[arg(long, default_value_t = 512)]
    budget_mb: usize,
    /// Rounds.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
}

const SEED: u64 = 42;

/// An operation on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Update,
    Get,
    /// A read of a missing key.
    Miss,
    Add,
}

/// Counts by number, in the backend and in the crate.
trait Counts {
    fn put(&mut self, key: u64, value: u64) -> Result<()>;
    fn get(&mut self, key: u64) -> Result<Option<u64>>;
    fn add(&mut self, key: u64) -> Result<()>;
}

struct Bare {
    db: DB,
    reads: ReadOptions,
    writes: WriteOptions,
    subtask: Subtask<u64>,
}

impl Bare {
    fn open(folder: &Path, budget: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let cache = Cache::new_lru_cache(budget / 6 * 5);
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(budget / 3, false, cache.clone());
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        options.set_write_buffer_manager(&buffers);
        let mut writes = WriteOptions::default();
        writes.disable_wal(true);
        Ok(Self {
            db: DB::open(&options, folder)?,
            reads: ReadOptions::default(),
            writes,
            subtask: subtask()?,
        })
    }

    /// State, key group and key, laid out as in our backend.
    fn place(&self, key: u64) -> Result<[u8; 12]> {
        let mut place = [0; 12];
        place[2..4].copy_from_slice(&self.subtask.key(&key)?.group().to_be_bytes());
        place[4..].copy_from_slice(&key.to_be_bytes());
        Ok(place)
    }
}

fn failed(error: state_backends::rocksdb::rocksdb::Error) -> Error {
    Error::new(ErrorKind::Io, "RocksDB failed").with_source(error)
}

impl Counts for Bare {
    #[inline]
    fn put(&mut self, key: u64, value: u64) -> Result<()> {
        self.db.put_opt(self.place(key)?, value.to_le_bytes(), &self.writes).map_err(failed)
    }

    #[inline]
    fn get(&mut self, key: u64) -> Result<Option<u64>> {
        let value = self.db.get_pinned_opt(self.place(key)?, &self.reads).map_err(failed)?;
        Ok(value.and_then(|value| value.first_chunk().map(|value| u64::from_le_bytes(*value))))
    }

    #[inline]
    fn add(&mut self, key: u64) -> Result<()> {
        let value = self.get(key)?;
        self.put(key, value.unwrap_or(0) + 1)
    }
}

struct Ours {
    backend: RocksDbBackend<u64>,
    token: ValueToken<u64>,
}

impl Counts for Ours {
    #[inline]
    fn put(&mut self, key: u64, value: u64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.set(value)
    }

    #[inline]
    fn get(&mut self, key: u64) -> Result<Option<u64>> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.get()
    }

    #[inline]
    fn add(&mut self, key: u64) -> Result<()> {
        let key = self.backend.key(&key)?;
        self.backend.value(self.token, key, &())?.update(|value| *value = Some(value.unwrap_or(0) + 1))
    }
}

/// Accesses each key. Returns the time and the sum of the values read.
fn round(counts: &mut impl Counts, access: Access, keys: &[u64], above: u64) -> Result<(Took, u64)> {
    let mut sum = 0;
    let (result, took) = timed(|| {
        keys.iter().zip(0..).try_for_each(|(&key, number)| match access {
            Access::Update => counts.put(key, number),
            Access::Get => counts.get(key).map(|value| sum += value.unwrap_or(0)),
            Access::Miss => counts.get(key + above).map(|value| sum += value.unwrap_or(0)),
            Access::Add => counts.add(key),
        })
    });
    result.map(|()| (took, sum))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::{Write, stdout};
    let Arguments { keys, ops, budget_mb, rounds } = Arguments::parse();
    let (folder, budget) = (tempfile::tempdir()?, budget_mb << 20);
    let family = Rocks::new(budget, Some(0))?;
    let mut backend = family.open::<u64>(subtask()?, &[])?;
    let token = backend.register(ValueDescriptor::new("value"))?;
    let mut ours = Ours { backend, token };
    let mut bare = Bare::open(folder.path(), budget)?;
    for (key, value) in (0..keys).zip(values(keys as usize, SEED)) {
        bare.put(key, value as u64 >> 1)?;
        ours.put(key, value as u64 >> 1)?;
    }
    writeln!(stdout(), "Load average: {:.2}\n\n{MARKDOWN_HEAD}", load_average().unwrap_or(f64::NAN))?;
    let mut draws = uniform(keys, SEED, Stream::Uniform);
    let mut skewed = Zipf::new(keys, 0.99, SEED);
    for (name, access) in [
        ("update", Access::Update),
        ("get", Access::Get),
        ("get of what is not there", Access::Miss),
        ("add", Access::Add),
        ("add, zipf", Access::Add),
    ] {
        let mut took = Vec::new();
        for turn in 0..rounds {
            let keys_of_round: Vec<u64> = if name.ends_with("zipf") {
                skewed.by_ref().take(ops).collect()
            } else {
                draws.by_ref().take(ops).collect()
            };
            let (theirs, own);
            if turn % 2 == 0 {
                theirs = round(&mut bare, access, &keys_of_round, keys)?;
                own = round(&mut ours, access, &keys_of_round, keys)?;
            } else {
                own = round(&mut ours, access, &keys_of_round, keys)?;
                theirs = round(&mut bare, access, &keys_of_round, keys)?;
            }
            assert_eq!(own.1, theirs.1, "the two hold other values");
            took.push((own.0, theirs.0));
        }
        let ratio =
            median(took.iter().map(|(own, theirs)| theirs.wall.as_secs_f64() / own.wall.as_secs_f64()));
        let cpu = median(took.iter().map(|(own, theirs)| theirs.cpu.as_secs_f64() / own.cpu.as_secs_f64()));
        let detail = format!(
            "{:.0} ns wall against {:.0}; {cpu:.2} x CPU of the thread",
            median(took.iter().map(|(own, _)| own.wall_ns_per(ops as u64))),
            median(took.iter().map(|(_, theirs)| theirs.wall_ns_per(ops as u64))),
        );
        writeln!(
            stdout(),
            "{}",
            markdown_row(&Figure::new(name, ratio, "x", detail).target(Target::AtLeast(0.9)))
        )?;
    }
    Ok(())
}
