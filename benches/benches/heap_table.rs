//! Read-modify-write of a million counters on the heap backend and on flat hash tables, keys in random order.
//!
//! A development aid. The published figures come from the `report` program, which measures the variants in turns, up to
//! ten million entries, with inserts and removals.

use std::hint::black_box;

use benches::counts::in_memory;
use benches::peers::{GroupedTables, PlainMap};
use benches::workload::{SplitMix64, Stream};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use state_backends::prelude::*;

const ENTRIES: u64 = 1_000_000;

/// Keys of one measured call.
const KEYS: usize = 10_000;

fn read_modify_write<K: StateKey + std::hash::Hash>(c: &mut Criterion, name: &str, key: impl Fn(u64) -> K) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(KEYS as u64));
    let mut random = SplitMix64::new(42, Stream::Uniform);
    let mut draw = || (0..KEYS).map(|_| key(random.below(ENTRIES))).collect::<Vec<K>>();

    let mut counts = in_memory().expect("the options are the defaults");
    (0..ENTRIES).for_each(|i| counts.add_one(&key(i)).expect("there is no limit"));
    group.bench_function("single", |b| {
        b.iter_batched(
            &mut draw,
            |keys| keys.iter().for_each(|key| counts.add_one(key).expect("there is no limit")),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("batches of 32", |b| {
        b.iter_batched(
            &mut draw,
            |keys| counts.add_one_each(&keys).expect("there is no limit"),
            BatchSize::LargeInput,
        );
    });
    drop(counts);

    let space = KeySpace::new(128).expect("128 is a max parallelism");
    let mut tables = GroupedTables::new(128);
    (0..ENTRIES)
        .map(&key)
        .for_each(|key| tables.add_one(space.key(&key).expect("a key of this crate"), &key));
    group.bench_function("hashbrown by key group", |b| {
        b.iter_batched(
            &mut draw,
            |keys| {
                keys.iter().for_each(|key| tables.add_one(space.key(key).expect("a key of this crate"), key))
            },
            BatchSize::LargeInput,
        );
    });
    drop(tables);

    let mut map = PlainMap::new();
    (0..ENTRIES).for_each(|i| map.add_one(&key(i)));
    group.bench_function("hashbrown::HashMap", |b| {
        b.iter_batched(&mut draw, |keys| keys.iter().for_each(|key| map.add_one(key)), BatchSize::LargeInput);
    });
    black_box(&map);
    group.finish();
}

fn u64_keys(c: &mut Criterion) {
    read_modify_write(c, "u64", |i| i);
}

fn string_keys(c: &mut Criterion) {
    read_modify_write(c, "24-byte strings", |i| format!("/cat{:02}/item/{i:012}", i % 97));
}

criterion_group!(benches, u64_keys, string_keys);
criterion_main!(benches);
