//! What an access costs, against the bare `rocksdb` crate with the same keys, values and options:
//! `cargo run --release -p backend-rocksdb --example against_bare`.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::Path;
use std::time::Instant;

use backend_api::{
    BoxError, JobFolder, KeySpace, KeyedStateHandle, ListDescriptor, ListState, MapDescriptor, MapState,
    ReducingDescriptor, ReducingState, SnapshotRequest, StateBackend, Subtask, ValueDescriptor, ValueState,
};
use backend_rocksdb::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WriteBufferManager, WriteOptions,
};
use backend_rocksdb::{RocksDbBackend, RocksDbOptions};

const KEYS: u64 = 500_000;
const OPS: u64 = 1_000_000;
const BUDGET: usize = 512 << 20;

type Fallible<T = ()> = Result<T, BoxError>;

/// Numbers that look random: uniform, or of which few are frequent (about as Zipf's with exponent 1).
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % KEYS
    }

    fn skewed(&mut self) -> u64 {
        let share = self.uniform() as f64 / KEYS as f64;
        ((KEYS as f64).powf(share) as u64).wrapping_mul(2_654_435_761) % KEYS
    }
}

/// Nanoseconds for each of so many calls.
fn measure(ops: u64, mut call: impl FnMut() -> Fallible) -> Fallible<u128> {
    let start = Instant::now();
    for _ in 0..ops {
        call()?;
    }
    Ok(start.elapsed().as_nanos() / u128::from(ops))
}

fn bare(folder: &Path) -> Fallible<Vec<(&'static str, u128)>> {
    let cache = Cache::new_lru_cache(BUDGET / 6 * 5);
    let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(BUDGET / 3, false, cache.clone());
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
    let db = DB::open(&options, folder)?;
    let (mut writes, reads) = (WriteOptions::default(), ReadOptions::default());
    writes.disable_wal(true);
    let keys = KeySpace::<u64>::new(128)?;
    let place = |number: u64| -> Fallible<[u8; 12]> {
        let mut place = [0; 12];
        place[2..4].copy_from_slice(&keys.key(&number)?.group().to_be_bytes());
        place[4..].copy_from_slice(&number.to_be_bytes());
        Ok(place)
    };
    let put = |number: u64, value: u64| -> Fallible {
        Ok(db.put_opt(place(number)?, value.to_le_bytes(), &writes)?)
    };
    let get = |number: u64| -> Fallible<Option<u64>> {
        let value = db.get_pinned_opt(place(number)?, &reads)?;
        Ok(value.and_then(|value| value.first_chunk().map(|value| u64::from_le_bytes(*value))))
    };
    let add = |number: u64| -> Fallible { put(number, get(number)?.unwrap_or(0) + 1) };
    let mut numbers = Numbers(1);
    Ok(vec![
        ("update", measure(OPS, || put(numbers.uniform(), 1))?),
        ("get", measure(OPS, || get(numbers.uniform()).map(drop))?),
        ("add, uniform", measure(OPS, || add(numbers.uniform()))?),
        ("add, skewed", measure(OPS, || add(numbers.skewed()))?),
    ])
}

fn open(folder: &Path, cache: usize, restore: &[KeyedStateHandle]) -> Fallible<RocksDbBackend<u64>> {
    let (checkpoints, working) = (folder.join("checkpoints"), folder.join("working"));
    let options = RocksDbOptions::in_folder(checkpoints, JobFolder::new("job")?, working)?;
    let options = options.memory_budget(BUDGET)?.cache_bytes(cache).incremental(true);
    let subtask = Subtask::single("op", KeySpace::new(128)?)?;
    Ok(RocksDbBackend::open(&options, subtask, restore)?)
}

fn ours(folder: &Path, cache: usize) -> Fallible<Vec<(&'static str, u128)>> {
    let mut backend = open(folder, cache, &[])?;
    let value = backend.register(ValueDescriptor::<u64>::new("value"))?;
    let sum = backend.register(ReducingDescriptor::new("sum", |a: &u64, b| a + b))?;
    let list = backend.register(ListDescriptor::<u64>::new("list"))?;
    let map = backend.register(MapDescriptor::<u64, u64>::new("map"))?;
    let mut numbers = Numbers(1);
    let mut times = Vec::new();
    let b = &mut backend;
    let mut on =
        |name, call: &mut dyn FnMut(&mut RocksDbBackend<u64>, &mut Numbers) -> Fallible| -> Fallible {
            times.push((name, measure(OPS, || call(b, &mut numbers))?));
            Ok(())
        };
    on("update", &mut |b, n| {
        let number = n.uniform();
        let key = b.key(&number)?;
        Ok(b.value(value, key, &())?.set(1)?)
    })?;
    on("get", &mut |b, n| {
        let number = n.uniform();
        let key = b.key(&number)?;
        Ok(b.value(value, key, &())?.with(|_| ())?)
    })?;
    on("add, uniform", &mut |b, n| {
        let number = n.uniform();
        let key = b.key(&number)?;
        Ok(b.reducing(sum, key, &())?.add(1)?)
    })?;
    on("add, skewed", &mut |b, n| {
        let number = n.skewed();
        let key = b.key(&number)?;
        Ok(b.reducing(sum, key, &())?.add(1)?)
    })?;
    on("list append", &mut |b, n| {
        let number = n.uniform();
        let key = b.key(&number)?;
        Ok(b.list(list, key, &())?.add(1)?)
    })?;
    on("map put", &mut |b, n| {
        let number = n.uniform() / 100;
        let entry = n.uniform() % 100;
        let key = b.key(&number)?;
        Ok(b.map(map, key, &())?.put(entry, 1)?)
    })?;
    let start = Instant::now();
    let task = backend.snapshot(SnapshotRequest::new(1))?;
    times.push(("checkpoint, sync part", start.elapsed().as_nanos()));
    let handle = task.run()?;
    times.push(("checkpoint, whole", start.elapsed().as_nanos()));
    backend.notify_complete(1)?;
    for _ in 0..KEYS / 100 {
        let number = numbers.uniform();
        let key = backend.key(&number)?;
        backend.value(value, key, &())?.set(2)?;
    }
    let start = Instant::now();
    let task = backend.snapshot(SnapshotRequest::new(2))?;
    times.push(("increment of 1 %, sync part", start.elapsed().as_nanos()));
    task.run()?;
    times.push(("increment of 1 %, whole", start.elapsed().as_nanos()));
    drop(backend);
    let start = Instant::now();
    let mut backend = open(folder, cache, handle.as_slice())?;
    backend.register(ValueDescriptor::<u64>::new("value"))?;
    times.push(("restore", start.elapsed().as_nanos()));
    Ok(times)
}

fn main() -> Fallible {
    let folder = std::env::temp_dir().join(format!("against-bare-{}", std::process::id()));
    println!("{KEYS} keys, {OPS} operations, {} MiB of memory; ns", BUDGET >> 20);
    println!("{:30} {:>12} {:>12} {:>12}", "", "bare", "cache off", "cache 25 %");
    let bare = bare(&folder.join("bare"))?;
    let off = ours(&folder.join("off"), 0)?;
    let on = ours(&folder.join("on"), BUDGET / 4)?;
    for ((name, off), (_, on)) in off.into_iter().zip(on) {
        let peer = bare.iter().find(|(peer, _)| *peer == name).map(|(_, time)| time.to_string());
        println!("{name:30} {:>12} {off:>12} {on:>12}", peer.unwrap_or_default());
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
