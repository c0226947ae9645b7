//! The commands on savepoints of Flink, as they are and imported.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn flink(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../flink-savepoint/tests/data").join(name)
}

fn state(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_state")).args(arguments).output().unwrap()
}

#[track_caller]
fn succeed(arguments: &[&str]) -> String {
    let output = state(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Values of a state by key, as Flink's views returned them.
fn expected(name: &str, operator: &str, state: &str) -> Vec<(String, i64)> {
    let text = std::fs::read_to_string(flink(name).join("expected.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_state = lines.filter(|line| line["operator"] == operator && line["state"] == state);
    let mut values: Vec<_> = of_state
        .map(|line| (line["key"]["long"].to_string(), line["value"]["long"].as_i64().unwrap()))
        .collect();
    values.sort();
    values
}

fn dumped(path: &str) -> Vec<(String, i64)> {
    let text = succeed(&["dump", path, "--state", "reducing", "--operator", "long-keys"]);
    let rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut values: Vec<_> =
        rows.map(|row| (row["key"].to_string(), row["value"].as_i64().unwrap())).collect();
    values.sort();
    values
}

#[test]
fn a_savepoint_of_flink_is_looked_into_as_it_is() {
    let path = flink("heap-200");
    let path = path.to_str().unwrap();
    let shown = succeed(&["inspect", path]);
    assert!(shown.contains("long-keys") && shown.contains("flink-murmur3"), "{shown}");
    assert_eq!(dumped(path), expected("heap-200", "long-keys", "reducing"));
    assert!(succeed(&["verify", path]).contains("intact"));
    let same = succeed(&["diff", path, path, "--summary"]);
    assert!(same.contains("long-keys/reducing: 0 added, 0 removed, 0 changed"), "{same}");
}

#[test]
fn a_savepoint_of_flink_is_imported_under_either_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let path = flink("rocksdb-128");
    let path = path.to_str().unwrap();
    for (mapping, id) in [("ours", "xxh3-64-high32"), ("flink", "flink-murmur3")] {
        let out = folder.path().join(mapping);
        let out = out.to_str().unwrap();
        succeed(&["import", path, out, "--mapping", mapping, "--operator", "int-keys=numbers"]);
        let shown = succeed(&["inspect", out]);
        assert!(shown.contains(id) && shown.contains("operator numbers (states of int-keys)"), "{shown}");
        assert!(succeed(&["verify", out]).contains("intact"));
        assert_eq!(dumped(out), expected("rocksdb-128", "long-keys", "reducing"));
        assert_eq!(state(&["import", path, out]).status.code(), Some(2));
    }
}

#[test]
fn what_only_java_reads_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let path = flink("heap-128");
    let (path, out) = (path.to_str().unwrap(), out.to_str().unwrap());
    let refused = state(&["import", path, out]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(message.contains("KryoSerializer(java.util.UUID)") && !Path::new(out).exists(), "{message}");
    let imported = state(&["import", path, out, "--skip-unreadable"]);
    let message = String::from_utf8(imported.stderr).unwrap();
    assert!(imported.status.success() && message.contains("type-kryo"), "{message}");
}

#[test]
fn native_savepoints_and_damage_are_reported() {
    let native = state(&["inspect", flink("native-rocksdb").to_str().unwrap()]);
    let message = String::from_utf8(native.stderr).unwrap();
    assert!(native.status.code() == Some(2) && message.contains("native savepoint of RocksDB"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(flink("tiny").join("_metadata")).unwrap();
    std::fs::write(folder.path().join("_metadata"), &bytes[..bytes.len() / 2]).unwrap();
    let damaged = state(&["verify", folder.path().to_str().unwrap()]);
    let message = String::from_utf8(damaged.stderr).unwrap();
    assert!(damaged.status.code() == Some(1) && message.contains("_metadata at offset"), "{message}");
}
