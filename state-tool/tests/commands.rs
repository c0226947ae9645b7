//! The commands on checkpoints of the heap backends, compared with a plain model of what was written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use backend_fs::FsOptions;
use backend_memory::MemoryOptions;
use serde_json::{Value, json};

use support::{GROUPS, Model, Options, dumped, lines, printed, refused, text, three_checkpoints};

fn dump_prints_what_was_written<O: Options>() {
    let (job, models) = three_checkpoints::<O>();
    for (id, model) in &models {
        assert_eq!(dumped(&job.checkpoint(*id)), *model, "checkpoint {id}");
    }
    // The folder of a job stands for its newest checkpoint.
    assert_eq!(dumped(&job.path()), models.last().unwrap().1);
}

#[test]
fn dump_prints_what_was_written_to_memory() {
    dump_prints_what_was_written::<MemoryOptions>();
}

#[test]
fn dump_prints_what_was_written_in_increments() {
    dump_prints_what_was_written::<FsOptions>();
}

#[test]
fn dump_prints_one_key_and_csv() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let (id, model) = models.last().unwrap();
    let path = job.checkpoint(*id);
    for key in ["/page/7", "\"/page/7\""] {
        let rows = lines(&[&"dump", &path, &"--state", &"visits", &"--key", &key]);
        let values: Vec<_> = rows.iter().map(|row| text(&row["value"])).collect();
        assert_eq!(values, model.visits["/page/7"]);
    }
    let csv = printed(&[&"dump", &path, &"--state", &"visits", &"--format", &"csv"]);
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(rows.headers().unwrap(), vec!["key_group", "key", "index", "value"]);
    let mut visits = BTreeMap::<String, Vec<String>>::new();
    for row in rows.records().map(Result::unwrap) {
        visits.entry(row[1].to_owned()).or_default().push(row[3].to_owned());
    }
    assert_eq!(visits, model.visits);
}

#[test]
fn inspect_counts_rows_and_bytes() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let (id, model) = models.last().unwrap();
    let path = job.checkpoint(*id);
    let report = &lines(&[&"inspect", &"--json", &path])[0];
    assert_eq!(report["checkpoint"], *id);
    let operator = &report["operators"][0];
    assert_eq!((&operator["id"], &operator["name"]), (&json!("pages"), &json!("Pages & visits")));
    assert_eq!(
        (&operator["parallelism"], &operator["keyed"]["max_parallelism"]),
        (&json!(2), &json!(GROUPS))
    );
    assert_eq!(operator["keyed"]["key_type"], "string");
    let states = operator["keyed"]["states"].as_array().unwrap();
    let names: Vec<_> = states.iter().map(|state| text(&state["name"])).collect();
    assert_eq!(names, ["codes", "hits", "minutes", "visits"]);
    let [codes, hits, minutes, visits] = &states[..] else { panic!() };
    assert_eq!(
        (&hits["kind"], &hits["value_type"], &hits["rows"]),
        (&json!("value"), &json!("u64"), &json!(model.hits.len()))
    );
    assert_eq!((&codes["value_type"], &codes["rows"]), (&json!("map<u16, u64>"), &json!(model.codes.len())));
    assert_eq!((&minutes["namespace_type"], &minutes["rows"]), (&json!("u64"), &json!(model.minutes.len())));
    assert_eq!(visits["rows"], model.visits.values().map(Vec::len).sum::<usize>());
    // A key has two bytes more than its text, a number eight.
    let bytes: usize = model.hits.keys().map(|key| key.len() + 2 + 8).sum();
    assert_eq!(hits["bytes"], bytes);
    let groups = hits["key_groups"].as_array().unwrap();
    assert_eq!(groups.len(), usize::from(GROUPS));
    assert_eq!(groups.iter().map(|group| group["bytes"].as_u64().unwrap()).sum::<u64>(), bytes as u64);
    // The page with the most minutes, or the longest of the lists.
    let largest = visits["largest_keys"][0]["bytes"].as_u64().unwrap();
    let bytes_of = |(key, visits): (&String, &Vec<String>)| {
        visits.iter().map(|visit| (key.len() + 2 + 1 + visit.len()) as u64).sum::<u64>()
    };
    assert_eq!(largest, model.visits.iter().map(bytes_of).max().unwrap());

    let text = printed(&[&"inspect", &path]);
    for part in
        ["operator pages (Pages & visits), parallelism 2", "list state \"visits\": list<string>", "###"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn inspect_shows_how_checkpoints_grow_and_writes_a_page() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let history = &lines(&[&"inspect", &"--json", &"--history", &job.path()])[0]["history"];
    let history = history.as_array().unwrap();
    let ids: Vec<_> = history.iter().map(|past| past["checkpoint"].as_u64().unwrap()).collect();
    assert_eq!(ids, models.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let number = |past: &Value, name: &str| past[name].as_u64().unwrap();
    assert_eq!(number(&history[0], "delta_bytes"), number(&history[0], "bytes"));
    assert_eq!(number(&history[0], "shared_files"), 0);
    for past in &history[1..] {
        assert!(number(past, "shared_files") > 0);
        assert_eq!(number(past, "delta_bytes") + number(past, "shared_bytes"), number(past, "bytes"));
    }
    assert_eq!(printed(&[&"inspect", &"--history", &job.path()]).lines().count(), 4);

    let page = job.folder.path().join("report.html");
    printed(&[&"inspect", &job.path(), &"--history", &job.path(), &"--html", &page]);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    // Two for each of four states, two for the history.
    assert_eq!(page.matches("<svg").count(), 10);
    assert!(page.contains("Pages &amp; visits") && !page.contains("src=") && !page.contains("href="));
}

#[test]
fn diff_tells_added_removed_and_changed_rows() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let [(first, old), _, (last, new)] = &models[..] else { panic!() };
    let (a, b) = (job.checkpoint(*first), job.checkpoint(*last));
    let summary = &lines(&[&"diff", &"--json", &"--summary", &a, &b])[0];
    let of = |state: &str| {
        let states = summary.as_array().unwrap();
        let found = states.iter().find(|found| found["state"] == state).unwrap();
        ["added", "removed", "changed", "equal"].map(|what| found[what].as_u64().unwrap() as usize)
    };
    let compare = |old: &BTreeMap<String, u64>, new: &BTreeMap<String, u64>| {
        let both = || old.keys().filter(|key| new.contains_key(*key));
        let changed = both().filter(|key| old[*key] != new[*key]).count();
        let common = both().count();
        [new.len() - common, old.len() - common, changed, common - changed]
    };
    assert_eq!(of("hits"), compare(&old.hits, &new.hits));
    let flat = |model: &Model| {
        model
            .codes
            .iter()
            .map(|((key, code), value)| (format!("{key} {code}"), *value))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(of("codes"), compare(&flat(old), &flat(new)));

    let rows = lines(&[&"diff", &"--json", &a, &b]);
    let hits: Vec<_> = rows.iter().filter(|row| row["state"] == "hits").collect();
    let keys = |change: &str| -> BTreeSet<String> {
        hits.iter().filter(|row| row["change"] == change).map(|row| text(&row["key"])).collect()
    };
    let only = |a: &Model, b: &Model| -> BTreeSet<String> {
        a.hits.keys().filter(|key| !b.hits.contains_key(*key)).cloned().collect()
    };
    assert_eq!((keys("added"), keys("removed")), (only(new, old), only(old, new)));
    for row in hits.iter().filter(|row| row["change"] == "changed") {
        let key = text(&row["key"]);
        assert_eq!((&row["old_value"], &row["value"]), (&json!(old.hits[&key]), &json!(new.hits[&key])));
    }
    // The same state from another backend is the same.
    let (other, _) = three_checkpoints::<MemoryOptions>();
    let summary = printed(&[&"diff", &"--summary", &b, &other.path()]);
    assert_eq!(summary.lines().count(), 4);
    assert!(summary.lines().all(|line| line.contains(": 0 added, 0 removed, 0 changed, ")), "{summary}");
}

#[test]
fn orphans_are_listed_and_deleted() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let name = "pages-0-0123456789abcdef-77";
    let orphan = job.path().join("shared").join(name);
    fs::write(&orphan, "left by a crash").unwrap();
    let foreign = job.path().join("notes.txt");
    fs::write(&foreign, "not a file of checkpoints").unwrap();
    let found = &lines(&[&"orphans", &"--json", &job.path()])[0];
    assert_eq!(found["files"], json!([{"path": format!("job/shared/{name}"), "bytes": 15}]));
    assert!(orphan.exists());
    let text = printed(&[&"orphans", &"--delete", &job.path()]);
    assert!(text.contains("1 files, 15 B deleted"), "{text}");
    assert!(!orphan.exists() && foreign.exists());
    assert!(printed(&[&"orphans", &job.path()]).starts_with("0 files"));
    assert_eq!(dumped(&job.path()), models.last().unwrap().1);
}

#[test]
fn bad_input_is_one_line_and_status_2() {
    let (job, _) = three_checkpoints::<FsOptions>();
    let nothing = job.folder.path().join("nothing");
    let empty = job.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (arguments, expected) in [
        (vec!["verify", nothing.to_str().unwrap()], "no such file or folder"),
        (vec!["inspect", empty.to_str().unwrap()], "no checkpoint, savepoint or job"),
        (vec!["inspect"], "<PATH>"),
        (vec!["unknown"], "unknown"),
        (vec![], "a command is missing"),
        (vec!["verify", "a", "b"], "'b'"),
        (vec!["dump", job.path().to_str().unwrap(), "--state", "none"], "there is no state \"none\""),
        (vec!["dump", job.path().to_str().unwrap(), "--state", "hits", "--operator", "x"], "operator \"x\""),
        (vec!["dump", job.path().to_str().unwrap(), "--state", "hits", "--format", "xml"], "xml"),
        (vec!["orphans", nothing.to_str().unwrap()], "no such file or folder"),
        (vec!["inspect", job.path().to_str().unwrap(), "--html", "/nowhere/page.html"], "/nowhere/page.html"),
    ] {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            arguments.iter().map(|argument| argument as _).collect();
        let error = refused(2, &arguments);
        assert!(error.starts_with("error: ") && error.contains(expected), "{error}");
    }
    assert!(!nothing.exists());
}

#[test]
fn help_shows_examples_and_status() {
    let help = printed(&[&"--help"]);
    assert!(help.contains("Examples:") && help.contains("Exit status"), "{help}");
    for command in ["inspect", "verify", "dump", "diff", "orphans"] {
        assert!(help.contains(command));
        assert!(printed(&[&command, &"--help"]).contains("Usage: state"));
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let (job, _) = three_checkpoints::<FsOptions>();
    for format in ["json", "csv"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_state"))
            .args(["dump", job.path().to_str().unwrap(), "--state", "visits", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!(error, "");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn timers_are_shown() {
    support::check_timers::<FsOptions>();
}
