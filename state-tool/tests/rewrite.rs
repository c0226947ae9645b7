//! `rewrite` writes savepoints that every backend restores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
mod support;

use std::sync::Arc;

use backend_api::{KeySpace, StateBackend, Storage, Subtask, ValueDescriptor, ValueState};
use backend_fs::FsOptions;
use backend_memory::{MemoryBackend, MemoryOptions};
use coordinator::Savepoint;
use storage_local::LocalStorage;

use support::{GROUPS, dumped, lines, printed, refused, three_checkpoints};

#[test]
fn a_copy_has_the_same_rows_and_compressions_do_not_matter() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let (id, model) = models.last().unwrap();
    for compression in ["none", "lz4", "zstd"] {
        let out = job.folder.path().join(compression);
        let text = printed(&[&"rewrite", &job.path(), &out, &"--compression", &compression]);
        assert!(text.starts_with("savepoint in "), "{text}");
        printed(&[&"verify", &out]);
        assert_eq!(dumped(&out), *model);
        let summary = printed(&[&"diff", &"--summary", &job.checkpoint(*id), &out]);
        assert!(summary.lines().all(|line| line.contains(": 0 added, 0 removed, 0 changed, ")), "{summary}");
    }
    // The folder may be moved.
    let moved = job.folder.path().join("moved");
    std::fs::rename(job.folder.path().join("zstd"), &moved).unwrap();
    assert_eq!(dumped(&moved), *model);
}

#[test]
fn states_and_keys_are_left_out_and_names_changed() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let (_, model) = models.last().unwrap();
    let out = job.folder.path().join("out");
    printed(&[
        &"rewrite",
        &job.path(),
        &out,
        &"--drop-state",
        &"codes",
        &"--rename-state",
        &"hits=clicks",
        &"--rename-operator",
        &"pages=articles",
        &"--key",
        &"/page/7",
        &"--key",
        &"/page/30",
    ]);
    let report = &lines(&[&"inspect", &"--json", &out])[0];
    let operator = &report["operators"][0];
    assert_eq!((&operator["id"], &operator["name"]), (&"articles".into(), &"Pages & visits".into()));
    let states = operator["keyed"]["states"].as_array().unwrap();
    let names: Vec<_> = states.iter().map(|state| state["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clicks", "minutes", "visits"]);
    let rows = lines(&[&"dump", &out, &"--state", &"clicks"]);
    let mut found: Vec<_> =
        rows.iter().map(|row| (row["key"].as_str().unwrap(), row["value"].as_u64().unwrap())).collect();
    found.sort_unstable();
    assert_eq!(found, [("/page/30", model.hits["/page/30"]), ("/page/7", model.hits["/page/7"])]);

    let out = job.folder.path().join("only");
    printed(&[&"rewrite", &job.path(), &out, &"--state", &"visits"]);
    let report = &lines(&[&"inspect", &"--json", &out])[0];
    assert_eq!(report["operators"][0]["keyed"]["states"].as_array().unwrap().len(), 1);
}

/// Keys are hashed again: each row is in the key group in which a backend looks for it.
#[test]
fn another_max_parallelism_and_parallelism_are_restored() {
    let (job, models) = three_checkpoints::<FsOptions>();
    let (_, model) = models.last().unwrap();
    for (max_parallelism, parallelism) in [(7_u16, 3_u16), (GROUPS, 5), (300, 1), (600, 4)] {
        let name = format!("{max_parallelism}-{parallelism}");
        let out = job.folder.path().join(&name);
        let (max, subtasks) = (max_parallelism.to_string(), parallelism.to_string());
        printed(&[&"rewrite", &job.path(), &out, &"--max-parallelism", &max, &"--parallelism", &subtasks]);
        printed(&[&"verify", &out]);
        assert_eq!(dumped(&out), *model);

        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(job.folder.path()).unwrap());
        let savepoint = Savepoint::open(storage.clone(), &name).unwrap();
        let keys = KeySpace::<String>::new(max_parallelism).unwrap();
        let options = MemoryOptions::default().with_storage(storage);
        let mut found = 0;
        for index in 0..2 {
            let subtask = Subtask::new("pages", keys.clone(), 2, index).unwrap();
            let handles = savepoint.checkpoint().handles_for("pages", subtask.range()).unwrap();
            let mut backend = MemoryBackend::open(&options, subtask.clone(), &handles).unwrap();
            let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
            for (page, value) in model.hits.iter().filter(|(page, _)| subtask.key(*page).is_ok()) {
                let key = backend.key(page).unwrap();
                assert_eq!(backend.value(hits, key, &()).unwrap().get().unwrap(), Some(*value));
                found += 1;
            }
        }
        assert_eq!(found, model.hits.len());
    }
}

#[test]
fn what_cannot_be_rewritten_is_refused_and_leaves_nothing() {
    let (job, _) = three_checkpoints::<FsOptions>();
    let out = job.folder.path().join("out");
    for (arguments, expected) in [
        (["--drop-state", "none"], "there is no keyed state \"none\""),
        (["--drop-operator", "none"], "there is no operator \"none\""),
        (["--rename-state", "hits"], "OLD=NEW"),
        (["--parallelism", "17"], "17"),
        (["--max-parallelism", "0"], "0"),
    ] {
        let error = refused(2, &[&"rewrite", &job.path(), &out, &arguments[0], &arguments[1]]);
        assert!(error.contains(expected), "{error}");
        assert!(!out.exists());
    }
    let error = refused(2, &[&"rewrite", &job.path(), &job.path()]);
    assert!(error.contains("exists already"), "{error}");
}
