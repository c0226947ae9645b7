//! The state of the fixtures: every kind of keyed state, operator state and raw state.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state_backends::api::{Result, Storage, TimerDescriptor, TimerState};
use state_backends::bytes::{BTreeStore, ByteBackend, ByteOptions};
use state_backends::prelude::*;
use state_backends::task::{
    BroadcastDescriptor, OperatorListDescriptor, OperatorState, RawKeyedState, RawOperatorState, TaskSnapshot,
};

/// Number of key groups.
const GROUPS: u16 = 4;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Nothing,
    Click { page: String, at: Option<u64> },
    Score(f64, Vec<u8>),
}

struct Sum;

impl Aggregate for Sum {
    type Input = i64;
    type Accumulator = (i128, u32);
    type Output = i128;

    fn create(&self) -> (i128, u32) {
        (0, 0)
    }

    fn add(&self, (sum, count): &mut (i128, u32), input: i64) -> Result<(), BoxError> {
        *sum += i128::from(input);
        *count += 1;
        Ok(())
    }

    fn result(&self, (sum, _): &(i128, u32)) -> i128 {
        *sum
    }

    fn merge(&self, into: &mut (i128, u32), other: &(i128, u32)) -> Result<(), BoxError> {
        *into = (into.0 + other.0, into.1 + other.1);
        Ok(())
    }
}

fn event() -> ValueDescriptor<Event> {
    ValueDescriptor::new("event")
}

fn list() -> ListDescriptor<String> {
    ListDescriptor::new("list")
}

fn map() -> MapDescriptor<u32, Option<bool>, (i32, String)> {
    MapDescriptor::new("map").namespaced()
}

fn sum() -> ReducingDescriptor<u64> {
    ReducingDescriptor::new("sum", |a, b| a + b)
}

fn total() -> AggregatingDescriptor<Sum> {
    AggregatingDescriptor::new("total", Sum)
}

fn timers() -> TimerDescriptor<u8> {
    TimerDescriptor::event_time("timers").namespaced()
}

fn positions() -> OperatorListDescriptor<(String, u64)> {
    OperatorListDescriptor::even_split("positions")
}

fn rules() -> BroadcastDescriptor<String, Event> {
    BroadcastDescriptor::new("rules")
}

/// The only subtask.
pub fn subtask() -> Result<Subtask<String>> {
    Subtask::single("op", KeySpace::new(GROUPS)?)
}

/// Fills all keyed state; `round` makes other content.
fn fill<B: StateBackend<Key = String>>(backend: &mut B, round: u32) -> Result<()> {
    let (event, list, map) =
        (backend.register(event())?, backend.register(list())?, backend.register(map())?);
    let (sum, total) = (backend.register(sum())?, backend.register(total())?);
    let timers = backend.register(timers())?;
    for (number, key) in (round..).zip(["", "a\0b", "\u{e9}", "key"]) {
        let key = key.to_owned();
        let key = backend.key(&key)?;
        let value = match number % 3 {
            0 => Event::Nothing,
            1 => Event::Click { page: format!("/{number}"), at: Some(number.into()) },
            _ => Event::Score(f64::from(number) / 2.0, vec![0, 255]),
        };
        backend.value(event, key, &())?.set(value)?;
        backend.list(list, key, &())?.add_all((0..number).map(|element| format!("{element}")))?;
        for namespace in [(-1, String::new()), (number as i32, "n".to_owned())] {
            backend.map(map, key, &namespace)?.put(number, [None, Some(true)][number as usize % 2])?;
        }
        backend.reducing(sum, key, &())?.add(u64::from(number) << 40)?;
        backend.aggregating(total, key, &())?.add(-i64::from(number))?;
        backend.timers(timers)?.add(key, &3, i64::from(number) - 2)?;
    }
    Ok(())
}

/// Fills a backend, and takes these snapshots with a change before each.
pub fn written<B: StateBackend<Key = String>>(
    options: &B::Options,
    requests: impl IntoIterator<Item = SnapshotRequest>,
) -> Result<Vec<TaskState>> {
    let (subtask, target) = (subtask()?, B::checkpoint_target(options)?);
    let mut backend = B::open(options, subtask.clone(), &[])?;
    let mut operator = OperatorState::open(&target, &subtask, &[])?;
    let (positions, rules) = (operator.register(positions())?, operator.register(rules())?);
    operator.list(positions)?.set([("b".to_owned(), 7), ("a".to_owned(), 1 << 50)]);
    operator.broadcast(rules)?.put("z".to_owned(), Event::Nothing)?;
    operator.broadcast(rules)?.put("c".to_owned(), Event::Score(0.5, vec![1]))?;
    let mut tasks = Vec::new();
    for (round, request) in (1..).zip(requests) {
        fill(&mut backend, round)?;
        let id = request.checkpoint_id();
        let snapshot = TaskSnapshot::new(&target, &subtask, request);
        let snapshot = snapshot.keyed(&mut backend)?.operator(&mut operator)?;
        let snapshot = snapshot.raw_keyed(|groups| {
            groups.start_group(2)?;
            Ok(groups.write_all(b"raw of group 2")?)
        });
        let snapshot = snapshot.raw_operator(|partitions| {
            partitions.start_partition()?;
            Ok(partitions.write_all(b"raw")?)
        });
        tasks.push(snapshot.into_task().run()?);
        backend.notify_complete(id)?;
    }
    Ok(tasks)
}

/// All state of a checkpoint as text, read by a backend.
pub fn read<B: StateBackend<Key = String>>(options: &B::Options, checkpoint: &Checkpoint) -> Result<String> {
    let (subtask, target) = (subtask()?, B::checkpoint_target(options)?);
    let restore = checkpoint.restore(&subtask)?;
    let mut backend = B::open(options, subtask.clone(), restore.keyed())?;
    let (event, list, map) =
        (backend.register(event())?, backend.register(list())?, backend.register(map())?);
    let (sum, total) = (backend.register(sum())?, backend.register(total())?);
    let timers = backend.register(timers())?;
    let mut lines = Vec::new();
    let keys: Vec<String> = backend.keys(event, &())?.collect::<Result<_>>()?;
    for key in &keys {
        let context = backend.key(key)?;
        lines.push(format!("event {key:?} {:?}", backend.value(event, context, &())?.get()?));
        lines.push(format!("list {key:?} {:?}", backend.list(list, context, &())?.get()?));
        lines.push(format!("sum {key:?} {:?}", backend.reducing(sum, context, &())?.get()?));
        lines.push(format!("total {key:?} {:?}", backend.aggregating(total, context, &())?.get()?));
    }
    let places: Vec<_> = backend.keys_and_namespaces(map)?.collect::<Result<_>>()?;
    for (key, namespace) in &places {
        let context = backend.key(key)?;
        for entry in backend.map(map, context, namespace)?.iter()? {
            let (entry, value) = entry?;
            lines.push(format!("map {key:?} {namespace:?} {entry} {value:?}"));
        }
    }
    for timer in backend.timers(timers)?.iter()? {
        lines.push(format!("timer {:?}", timer?));
    }
    let mut operator = OperatorState::open(&target, &subtask, restore.operator())?;
    let (positions, rules) = (operator.register(positions())?, operator.register(rules())?);
    lines.push(format!("positions {:?}", operator.list(positions)?.iter().collect::<Vec<_>>()));
    lines.push(format!("rules {:?}", operator.immutable_entries(rules)?.iter().collect::<Vec<_>>()));
    for (group, mut stream) in RawKeyedState::open(&target, &subtask, restore.raw_keyed())?.groups() {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        lines.push(format!("raw of group {group} {:?}", String::from_utf8_lossy(&bytes)));
    }
    let raw = RawOperatorState::open(&target, restore.raw_operator())?;
    let mut partitions = raw.partitions();
    while let Some(mut stream) = partitions.next()? {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        lines.push(format!("raw partition {:?}", String::from_utf8_lossy(&bytes)));
    }
    lines.sort();
    let mut text = String::new();
    for line in lines {
        // A string takes all text.
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

/// Options of a heap backend that restores from `storage`.
pub fn memory(storage: &Arc<dyn Storage>) -> MemoryOptions {
    MemoryOptions::default().with_storage(Arc::clone(storage))
}

/// The backend of a byte store.
pub type Bytes = ByteBackend<String>;

/// Its options.
pub fn bytes(storage: &Arc<dyn Storage>) -> Result<ByteOptions> {
    let target = CheckpointTarget::files(Arc::clone(storage), JobFolder::new("bytes")?).with_inline_max(0)?;
    Ok(ByteOptions::new(target, |_, _| Ok(Box::new(BTreeStore::default()))))
}
