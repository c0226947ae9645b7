//! Savepoints of Flink, continued by backends of this family.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backend_api::{
    Checkpoint, CheckpointTarget, ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState,
    MemoryStorage, ReducingDescriptor, ReducingState, StateBackend, Storage, Subtask, TimerDescriptor,
    TimerState, ValueDescriptor, ValueState,
};
use backend_memory::{MemoryBackend, MemoryOptions};
use flink_savepoint::{Import, Imported, restore_plan};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use support::{expected, open};

fn import(name: &str) -> (Arc<dyn Storage>, Checkpoint, Imported) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let target = CheckpointTarget::savepoint(storage.clone(), "imported").unwrap().for_attempt().unwrap();
    let savepoint = open(name).unwrap();
    let (checkpoint, imported) = Import::new(&savepoint).skipping_unreadable().write(&target).unwrap();
    (storage, checkpoint, imported)
}

/// The lines of a state that Flink's views gave.
fn lines(name: &str, operator: &str, state: &str) -> Vec<Json> {
    let mut lines = expected(name);
    lines.retain(|line| line["operator"] == operator && line["state"] == state);
    assert!(!lines.is_empty(), "{state}");
    lines
}

fn long(value: &Json) -> i64 {
    value["long"].as_i64().unwrap()
}

/// A string, in which an unpaired surrogate is written as its number.
fn text(value: &Json) -> String {
    if let Some(text) = value["string"].as_str() {
        return text.to_owned();
    }
    let units = value["utf16"].as_array().unwrap().iter().map(|unit| unit.as_u64().unwrap() as u16);
    let escaped = |unit: Result<char, std::char::DecodeUtf16Error>| match unit {
        Ok(unit) => unit.to_string(),
        Err(error) => format!("\\u{:04x}", error.unpaired_surrogate()),
    };
    char::decode_utf16(units).map(escaped).collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    id: i64,
    owner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Premium {
    discount: f64,
    id: i64,
    owner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum AnyAccount {
    Account(Account),
    Premium(Premium),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::upper_case_acronyms, reason = "as in Java")]
enum Color {
    RED,
    GREEN,
    BLUE,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Instant {
    seconds: i64,
    nanos: i32,
}

/// Two subtasks in place of Flink's one or three.
#[track_caller]
fn continues(name: &str) {
    let (storage, checkpoint, imported) = import(name);
    let lines = |state: &str| lines(name, "long-keys", state);
    let mut timers = BTreeSet::new();
    for index in 0..2 {
        let keys = KeySpace::<i64>::flink(open(name).unwrap().operators()[1].max_parallelism()).unwrap();
        let subtask = Subtask::new("long-keys", keys.clone(), 2, index).unwrap();
        let is_mine = |line: &Json| subtask.range().contains(line["keyGroup"].as_u64().unwrap() as u16);
        let restore = checkpoint.restore(&subtask).unwrap();
        let options = MemoryOptions::default().with_storage(storage.clone());
        let mut backend = MemoryBackend::<i64>::open(&options, subtask.clone(), restore.keyed()).unwrap();

        let token = backend.register(ValueDescriptor::<i64>::new("value")).unwrap();
        for line in lines("value").iter().filter(|line| is_mine(line)) {
            let key = long(&line["key"]);
            let key = keys.key(&key).unwrap();
            let found = backend.value(token, key, &()).unwrap().get().unwrap();
            assert_eq!(found, Some(long(&line["value"])), "{line}");
        }
        let token = backend.register(ListDescriptor::<String>::new("list")).unwrap();
        let mut lists = BTreeMap::<i64, Vec<_>>::new();
        for line in lines("list").iter().filter(|line| is_mine(line)) {
            lists.entry(long(&line["key"])).or_default().push((line["index"].as_u64(), text(&line["value"])));
        }
        for (key, mut elements) in lists {
            elements.sort();
            let elements: Vec<_> = elements.into_iter().map(|(_, element)| element).collect();
            let found = backend.list(token, keys.key(&key).unwrap(), &()).unwrap().get().unwrap();
            assert_eq!(found, elements, "list of {key}");
        }
        // A map has had null values.
        let token = backend.register(MapDescriptor::<String, Option<String>>::new("map")).unwrap();
        for line in lines("map").iter().filter(|line| is_mine(line)) {
            let key = long(&line["key"]);
            let key = keys.key(&key).unwrap();
            let map_key = text(&line["mapKey"]);
            let found = backend.map(token, key, &()).unwrap().get(&map_key).unwrap();
            assert_eq!(found, Some(line["value"]["string"].as_str().map(str::to_owned)), "{line}");
        }
        let sum = |a: &i64, b: &i64| a + b;
        let token = backend
            .register(ReducingDescriptor::new("reducing-by-window", sum).namespaced::<(i64, i64)>())
            .unwrap();
        for line in lines("reducing-by-window").iter().filter(|line| is_mine(line)) {
            let window = (
                line["namespace"]["window"][0].as_i64().unwrap(),
                line["namespace"]["window"][1].as_i64().unwrap(),
            );
            let key = long(&line["key"]);
            let key = keys.key(&key).unwrap();
            let found = backend.reducing(token, key, &window).unwrap().get().unwrap();
            assert_eq!(found, Some(long(&line["value"])), "{line}");
        }
        let token = backend
            .register(TimerDescriptor::event_time("_timer_state/event_named").namespaced::<String>())
            .unwrap();
        timers.extend(backend.timers(token).unwrap().iter().unwrap().map(|timer| {
            let timer = timer.unwrap();
            (timer.at, timer.key, timer.namespace)
        }));
        if imported.left_out.is_empty() {
            continue;
        }
        let token = backend.register(ValueDescriptor::<AnyAccount>::new("type-pojo")).unwrap();
        for line in lines("type-pojo").iter().filter(|line| is_mine(line)) {
            let pojo = &line["value"]["pojo"];
            let (id, owner) = (long(&pojo["id"]), (!pojo["owner"].is_null()).then(|| text(&pojo["owner"])));
            let expected = match pojo["discount"]["double"].as_i64() {
                Some(bits) => {
                    AnyAccount::Premium(Premium { discount: f64::from_bits(bits as u64), id, owner })
                }
                None => AnyAccount::Account(Account { id, owner }),
            };
            let key = long(&line["key"]);
            let key = keys.key(&key).unwrap();
            let found = backend.value(token, key, &()).unwrap().get().unwrap().unwrap();
            assert_eq!(found, expected, "{line}");
        }
        let token = backend.register(ValueDescriptor::<Color>::new("type-enum")).unwrap();
        let instants = backend.register(ValueDescriptor::<Instant>::new("type-instant")).unwrap();
        for line in lines("type-enum").iter().filter(|line| is_mine(line)) {
            let key = long(&line["key"]);
            let key = keys.key(&key).unwrap();
            let found = backend.value(token, key, &()).unwrap().get().unwrap().unwrap();
            assert_eq!(json!(format!("{found:?}")), line["value"]["enum"]);
            let seconds = backend.value(instants, key, &()).unwrap().get().unwrap().unwrap().seconds;
            assert_eq!(seconds % 1_000_000_000, 0);
        }
    }
    let expected: BTreeSet<_> = lines("_timer_state/event_named")
        .iter()
        .map(|line| {
            let namespace = line["namespace"]["string"].as_str().unwrap().to_owned();
            (line["time"].as_i64().unwrap(), long(&line["key"]), namespace)
        })
        .collect();
    assert_eq!(timers, expected);
}

#[test]
fn a_backend_continues_from_a_savepoint_of_the_heap() {
    continues("heap-128");
}

#[test]
fn a_backend_continues_from_a_savepoint_of_rocksdb_at_another_parallelism() {
    continues("rocksdb-200");
    continues("heap-200");
}

#[test]
fn an_import_has_all_rows_but_those_that_it_names() {
    for name in ["heap-128", "rocksdb-128", "heap-200", "rocksdb-200", "heap-32768", "tiny-compressed"] {
        let (_, checkpoint, imported) = import(name);
        let left_out = |line: &Json| {
            let text = line.to_string();
            let state = line["state"].as_str().unwrap();
            text.contains("type-kryo") || state.ends_with("type-unregistered")
        };
        let mut expected = expected(name);
        let unregistered =
            expected.iter().filter(|line| line["state"].as_str().unwrap().ends_with("unregistered")).count();
        expected.retain(|line| !left_out(line));
        let rows = imported.rows as usize;
        assert!((expected.len()..=expected.len() + unregistered).contains(&rows), "{name}: {imported:?}");
        assert_eq!(
            imported.left_out.is_empty(),
            !["heap-128", "rocksdb-200"].contains(&name),
            "{imported:?}"
        );
        assert!(checkpoint.tasks.iter().all(|task| task.keyed.is_some()));
    }
}

#[test]
fn what_only_java_reads_is_refused_unless_it_may_be_left_out() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let target = CheckpointTarget::savepoint(storage, "imported").unwrap().for_attempt().unwrap();
    let error = Import::new(&open("heap-128").unwrap()).write(&target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("KryoSerializer(java.util.UUID)"), "{error}");
}

#[test]
fn a_plan_restores_an_operator_without_a_savepoint_in_between() {
    let savepoint = open("heap-200").unwrap();
    let operator = savepoint.operator("string-keys").unwrap();
    let subtask = Subtask::new("words", KeySpace::<String>::flink(200).unwrap(), 1, 0).unwrap();
    let plan = restore_plan(&savepoint, operator, &subtask).unwrap();
    let state = plan.state("value-by-string").unwrap();
    let rows: u64 = state.groups().flat_map(|group| state.chain(group)).map(|part| part.section().rows).sum();
    assert_eq!(rows as usize, lines("heap-200", "string-keys", "value-by-string").len());
    let other = Subtask::new("words", KeySpace::<String>::new(200).unwrap(), 1, 0).unwrap();
    assert_eq!(restore_plan(&savepoint, operator, &other).unwrap_err().kind(), ErrorKind::IllegalState);
}
