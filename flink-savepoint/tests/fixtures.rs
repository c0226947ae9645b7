//! Savepoints of Flink 2.3.0, compared value by value with what Flink's own views returned. `benches/peers/flink/run.sh
//! savepoints` made them.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use backend_api::{ErrorKind, Redistribution};
use flink_savepoint::{OperatorId, StateKind};
use serde_json::{Value as Json, json};
use support::{expected, line, open, to_json};

/// All lines that the reader makes of a savepoint, and the states that only Java reads.
fn read(name: &str) -> (Vec<Json>, Vec<String>) {
    let savepoint = open(name).unwrap();
    let (mut lines, mut opaque) = (Vec::new(), Vec::new());
    for operator in savepoint.operators() {
        let uid = operator.uid().unwrap();
        if let Some(keyed) = operator.keyed_state().unwrap() {
            for state in keyed.states() {
                let rows = match keyed.rows(&state.name) {
                    Ok(rows) => rows,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unsupported);
                        opaque.push(error.to_string());
                        continue;
                    }
                };
                for row in rows {
                    match row {
                        Ok(row) => lines.push(line(uid, &state.name, &state.kind.to_string(), &row)),
                        Err(error) => opaque.push(error.to_string()),
                    }
                }
            }
        }
        if let Some(states) = operator.operator_state().unwrap() {
            for state in states.states() {
                let mut index = BTreeMap::new();
                for row in states.rows(&state.name).unwrap() {
                    let row = row.unwrap();
                    let mut line = json!({
                        "operator": uid,
                        "state": state.name,
                        "subtask": row.subtask,
                        "value": to_json(&row.value),
                    });
                    match &row.map_key {
                        Some(key) => line["mapKey"] = to_json(key),
                        None => {
                            let index = index.entry(row.subtask).or_insert(0);
                            line["index"] = json!(index);
                            *index += 1;
                        }
                    }
                    lines.push(line);
                }
            }
        }
    }
    (lines, opaque)
}

/// What only Java reads: Kryo, and a subclass of a POJO that the savepoint does not describe.
fn is_opaque(line: &Json) -> bool {
    let text = line.to_string();
    text.contains("type-kryo") || text.contains("SavepointValues$Trial")
}

#[track_caller]
fn check(name: &str) {
    let (found, opaque) = read(name);
    let sorted = |lines: Vec<Json>| {
        let mut lines: Vec<_> = lines.iter().map(Json::to_string).collect();
        lines.sort();
        lines
    };
    let found = sorted(found);
    let mut expected = expected(name);
    // Which subclasses a savepoint describes depends on what each serializer has seen.
    expected.retain(|line| !is_opaque(line) || found.binary_search(&line.to_string()).is_ok());
    let expected = sorted(expected);
    assert!(expected.len() > 50, "{name}");
    let missing: Vec<_> = expected.iter().filter(|line| found.binary_search(line).is_err()).take(3).collect();
    let more: Vec<_> = found.iter().filter(|line| expected.binary_search(line).is_err()).take(3).collect();
    assert!(missing.is_empty() && more.is_empty(), "{name}: missing {missing:#?}, more {more:#?}");
    assert_eq!(found.len(), expected.len(), "{name}");
    for message in opaque {
        let is_named = |state: &str, what: &str| message.contains(state) && message.contains(what);
        let is_kryo = is_named("type-kryo\"", "\"long-keys\" has values of KryoSerializer(java.util.UUID)");
        assert!(
            is_kryo || is_named("type-unregistered\"", "does not describe SavepointValues$Trial"),
            "{message}"
        );
    }
}

#[test]
fn a_savepoint_of_the_heap_is_read() {
    check("heap-128");
}

#[test]
fn a_savepoint_of_rocksdb_in_files_is_read() {
    check("rocksdb-128");
}

#[test]
fn compressed_savepoints_of_three_subtasks_are_read() {
    check("heap-200");
    check("rocksdb-200");
}

#[test]
fn savepoints_with_most_key_groups_are_read() {
    check("heap-32768");
    check("rocksdb-32768");
}

#[test]
fn small_savepoints_are_read() {
    check("tiny");
    check("tiny-compressed");
}

#[test]
fn operators_are_found_by_uid_id_and_name() {
    let savepoint = open("heap-200").unwrap();
    assert_eq!((savepoint.version(), savepoint.operators().len()), (6, 10));
    let operator = savepoint.operator("long-keys").unwrap();
    assert_eq!((operator.parallelism(), operator.max_parallelism()), (3, 200));
    assert_eq!(operator.name(), Some("states of long-keys"));
    assert_eq!(operator.id(), OperatorId::of_uid("long-keys"));
    for text in [operator.id().to_string().as_str(), "states of long-keys"] {
        assert_eq!(savepoint.operator(text).unwrap().id(), operator.id());
    }
    assert_eq!(savepoint.operator("no").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(savepoint.operator("numbers").unwrap().keyed_state().unwrap().is_none());
}

#[test]
fn states_are_described() {
    let savepoint = open("rocksdb-200").unwrap();
    let operator = savepoint.operator("long-keys").unwrap();
    let keyed = operator.keyed_state().unwrap().unwrap();
    let of = |name: &str| {
        let state = keyed.state(name).unwrap();
        (state.kind, state.namespace.to_string(), state.value.to_string(), state.has_ttl)
    };
    let row =
        |kind, namespace: &str, value: &str, has_ttl| (kind, namespace.to_owned(), value.to_owned(), has_ttl);
    assert_eq!(keyed.key().to_string(), "long");
    assert_eq!(of("value"), row(StateKind::Value, "void", "long", false));
    assert_eq!(of("list-by-window"), row(StateKind::List, "timeWindow", "string", false));
    assert_eq!(of("aggregating-by-long"), row(StateKind::Aggregating, "long", "tuple<long, long>", false));
    assert_eq!(of("ttl-map"), row(StateKind::Map, "void", "string", true));
    assert_eq!(of("type-enum"), row(StateKind::Value, "void", "SavepointValues$Color", false));
    assert_eq!(of("type-row"), row(StateKind::Value, "void", "row<int, string>", false));
    let timers = keyed.state("_timer_state/event_named").unwrap();
    assert_eq!((timers.kind, timers.timer_service()), (StateKind::Timer, Some("named")));
    assert_eq!(timers.time_domain(), Some(backend_api::TimeDomain::Event));
    let states = operator.operator_state().unwrap().unwrap();
    let modes: Vec<_> = states.states().map(|state| (state.name.as_str(), state.redistribution)).collect();
    let expected = [
        ("broadcast", Redistribution::Broadcast),
        ("split", Redistribution::EvenSplit),
        ("union", Redistribution::Union),
    ];
    assert_eq!(modes, expected);
}

#[test]
fn rows_that_only_java_reads_are_listed_as_bytes() {
    let savepoint = open("rocksdb-200").unwrap();
    let keyed = savepoint.operator("long-keys").unwrap().keyed_state().unwrap().unwrap();
    assert_eq!(keyed.rows("type-kryo").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(keyed.rows("no").unwrap_err().kind(), ErrorKind::NotFound);
    let mut rows = keyed.all_rows();
    let mut found = 0;
    while let Some(row) = rows.next().unwrap() {
        if row.state.name == "type-kryo" {
            assert_eq!(row.decode(|_| Ok(())).unwrap_err().kind(), ErrorKind::Unsupported);
            assert!(row.value.len() >= 16, "{:?}", row.value);
            found += 1;
        }
    }
    assert_eq!(found, 8);
}

#[test]
fn native_savepoints_are_refused_by_what_they_are() {
    for (name, what) in
        [("native-heap", "native savepoint of the heap"), ("native-rocksdb", "native savepoint of RocksDB")]
    {
        let error = open(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(what), "{error}");
        assert_eq!(error.file(), Some("_metadata"));
    }
}
