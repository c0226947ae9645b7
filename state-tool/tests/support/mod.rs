//! A job whose checkpoints are looked into, and a plain model of what it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use backend_api::format::Compression;
use backend_api::{
    Checkpoint, JobFolder, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, ReducingDescriptor,
    ReducingState, SnapshotRequest, StateBackend, Storage, Subtask, TaskState, TimerDescriptor, TimerState,
    ValueDescriptor, ValueState,
};
use backend_fs::{FsBackend, FsOptions};
use backend_memory::{MemoryBackend, MemoryOptions};
use coordinator::{CheckpointStore, CheckpointStoreOptions};
use serde_json::Value;
use storage_local::LocalStorage;

/// Number of key groups.
pub const GROUPS: u16 = 16;

/// Number of subtasks.
pub const PARALLELISM: u16 = 2;

/// What the job has written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub hits: BTreeMap<String, u64>,
    pub visits: BTreeMap<String, Vec<String>>,
    pub codes: BTreeMap<(String, u16), u64>,
    pub minutes: BTreeMap<(String, u64), u64>,
}

/// A job with keys of strings.
pub struct Job<B: StateBackend<Key = String>> {
    pub folder: tempfile::TempDir,
    pub model: Model,
    store: CheckpointStore,
    keys: KeySpace<String>,
    subtasks: Vec<B>,
}

/// Makes options for checkpoints in a storage.
pub trait Options: Clone + std::fmt::Debug + Send + Sync + 'static {
    type Backend: StateBackend<Key = String, Options = Self>;
    fn of(storage: Arc<dyn Storage>, job: JobFolder, folder: &Path) -> Self;
}

impl Options for MemoryOptions {
    type Backend = MemoryBackend<String>;

    fn of(_: Arc<dyn Storage>, _: JobFolder, _: &Path) -> Self {
        Self::default()
    }
}

impl Options for FsOptions {
    type Backend = FsBackend<String>;

    fn of(storage: Arc<dyn Storage>, job: JobFolder, _: &Path) -> Self {
        Self::new(storage, job)
            .with_incremental(true)
            .with_inline_max(0)
            .unwrap()
            .with_compression(Compression::Zstd(3))
    }
}

impl<B: StateBackend<Key = String>> Job<B> {
    /// A job that has written nothing.
    pub fn new() -> Self
    where
        B::Options: Options<Backend = B>,
    {
        let folder = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> =
            Arc::new(LocalStorage::open(folder.path().join("checkpoints")).unwrap());
        let job = JobFolder::new("job").unwrap();
        let options = B::Options::of(storage.clone(), job.clone(), folder.path());
        let keys = KeySpace::<String>::new(GROUPS).unwrap();
        let open = |index| {
            let subtask = Subtask::new("pages", keys.clone(), PARALLELISM, index).unwrap();
            B::open(&options, subtask, &[]).unwrap()
        };
        let subtasks = (0..PARALLELISM).map(open).collect();
        let store = CheckpointStoreOptions::in_storage(job, storage).with_retained(9).unwrap();
        let store = CheckpointStore::open(store).unwrap();
        Self { folder, model: Model::default(), store, keys, subtasks }
    }

    /// The folder of the job.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("checkpoints/job")
    }

    /// The folder of a checkpoint.
    pub fn checkpoint(&self, id: u64) -> PathBuf {
        self.path().join(format!("chk-{id}"))
    }

    /// Writes the state of `pages`, which depends on `round`.
    pub fn write(&mut self, pages: std::ops::Range<u64>, round: u64) {
        for number in pages {
            let page = format!("/page/{number}");
            let subtask = self.keys.subtask(PARALLELISM, &page).unwrap();
            let backend = &mut self.subtasks[usize::from(subtask)];
            let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
            let visits = backend.register(ListDescriptor::<String>::new("visits")).unwrap();
            let codes = backend.register(MapDescriptor::<u16, u64>::new("codes")).unwrap();
            let minutes = ReducingDescriptor::new("minutes", |sum: &u64, new| sum + new).namespaced::<u64>();
            let minutes = backend.register(minutes).unwrap();
            let key = backend.key(&page).unwrap();
            backend.value(hits, key, &()).unwrap().set(number * 10 + round).unwrap();
            self.model.hits.insert(page.clone(), number * 10 + round);
            for visit in 0..=number % 3 {
                let visitor = format!("visitor, {visit} of \"{round}\"");
                backend.list(visits, key, &()).unwrap().add(visitor.clone()).unwrap();
                self.model.visits.entry(page.clone()).or_default().push(visitor);
            }
            for code in [200, 404 + round as u16] {
                backend.map(codes, key, &()).unwrap().put(code, number + round).unwrap();
                self.model.codes.insert((page.clone(), code), number + round);
            }
            backend.reducing(minutes, key, &round).unwrap().add(number).unwrap();
            *self.model.minutes.entry((page.clone(), round)).or_default() += number;
        }
    }

    /// Removes the state of a page.
    pub fn clear(&mut self, number: u64) {
        let page = format!("/page/{number}");
        let subtask = self.keys.subtask(PARALLELISM, &page).unwrap();
        let backend = &mut self.subtasks[usize::from(subtask)];
        let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
        let visits = backend.register(ListDescriptor::<String>::new("visits")).unwrap();
        let codes = backend.register(MapDescriptor::<u16, u64>::new("codes")).unwrap();
        let key = backend.key(&page).unwrap();
        backend.value(hits, key, &()).unwrap().clear().unwrap();
        backend.list(visits, key, &()).unwrap().clear().unwrap();
        backend.map(codes, key, &()).unwrap().remove(&200).unwrap();
        self.model.hits.remove(&page);
        self.model.visits.remove(&page);
        self.model.codes.remove(&(page, 200));
    }

    /// Adds timers for a page, and fires those up to `to`. Returns the text of those that are left.
    pub fn plan(&mut self, number: u64, ats: &[i64], to: i64) -> Vec<(i64, String)> {
        let page = format!("/page/{number}");
        let subtask = self.keys.subtask(PARALLELISM, &page).unwrap();
        let backend = &mut self.subtasks[usize::from(subtask)];
        let timers = TimerDescriptor::processing_time("timers").namespaced::<u8>();
        let timers = backend.register(timers).unwrap();
        let key = self.keys.key(&page).unwrap();
        let mut view = backend.timers(timers).unwrap();
        ats.iter().for_each(|at| _ = view.add(key, &7, *at).unwrap());
        assert!(view.advance(to).all(|timer| timer.is_ok()));
        let left = view.of_key(key).unwrap();
        left.map(|timer| (timer.unwrap().at, page.clone())).collect()
    }

    /// Completes a checkpoint.
    pub fn complete(&mut self) -> u64 {
        let id = self.store.begin().unwrap();
        let tasks = (0..).zip(&mut self.subtasks).map(|(index, backend)| {
            let keyed = backend.snapshot(SnapshotRequest::new(id)).unwrap().run().unwrap();
            TaskState::new("pages", index, PARALLELISM, keyed)
        });
        let mut checkpoint = Checkpoint::new(id, tasks.collect());
        checkpoint.operator_names.insert("pages".to_owned(), "Pages & visits".to_owned());
        self.store.complete(checkpoint).unwrap();
        self.subtasks.iter_mut().for_each(|backend| backend.notify_complete(id).unwrap());
        id
    }
}

/// Timers of increments are inspected, dumped, compared and rewritten.
pub fn check_timers<O: Options>() {
    let mut job = Job::<O::Backend>::new();
    for number in 0..10 {
        job.plan(number, &[-5, 10, 20, 1 << 40], i64::MIN);
    }
    let first = job.complete();
    for number in 0..10 {
        job.plan(number, &[15], 10);
    }
    let left = (0..10).flat_map(|number| job.plan(number, &[], i64::MIN));
    let left: BTreeSet<_> = left.collect();
    assert_eq!(left.len(), 30);
    let second = job.complete();
    let (first, second) = (job.checkpoint(first), job.checkpoint(second));

    printed(&[&"verify", &second]);
    let inspected = printed(&[&"inspect", &second]);
    let heading = "timer state \"timers\": processing time, namespaces of u8";
    assert!(inspected.contains(heading), "{inspected}");
    let check = |checkpoint: &Path| {
        let dumped = lines(&[&"dump", &checkpoint, &"--state", &"timers"]);
        let timer = |row: &Value| {
            assert_eq!((&row["namespace"], row.get("value")), (&Value::from(7), None));
            (row["time"].as_i64().unwrap(), text(&row["key"]))
        };
        assert_eq!(dumped.len(), left.len());
        assert_eq!(dumped.iter().map(timer).collect::<BTreeSet<_>>(), left);
    };
    check(&second);
    let summary = printed(&[&"diff", &"--summary", &first, &second]);
    assert_eq!(summary, "pages/timers: 10 added, 20 removed, 0 changed, 20 equal\n");
    let rewritten = job.folder.path().join("rewritten");
    printed(&[&"rewrite", &second, &rewritten, &"--parallelism", &"3", &"--max-parallelism", &"32"]);
    printed(&[&"verify", &rewritten]);
    check(&rewritten);
}

/// A job of three checkpoints, with the model of each: state is added, changed and removed.
pub fn three_checkpoints<O: Options>() -> (Job<O::Backend>, Vec<(u64, Model)>) {
    let mut job = Job::<O::Backend>::new();
    let mut models = Vec::new();
    job.write(0..200, 0);
    models.push((job.complete(), job.model.clone()));
    job.write(20..40, 1);
    job.clear(5);
    models.push((job.complete(), job.model.clone()));
    job.write(195..210, 2);
    job.clear(21);
    models.push((job.complete(), job.model.clone()));
    (job, models)
}

/// Runs the command.
pub fn state(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let arguments = arguments.iter().map(|argument| argument.as_ref());
    Command::new(env!("CARGO_BIN_EXE_state")).args(arguments).output().unwrap()
}

/// What the command prints, if it succeeds.
pub fn printed(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let output = state(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(error, "");
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON objects that the command prints.
pub fn lines(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Vec<Value> {
    printed(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one line that the command prints as an error with this exit status.
pub fn refused(status: i32, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let output = state(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{error}{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The model of what `dump` prints.
pub fn dumped(checkpoint: &Path) -> Model {
    let rows = |state: &str| lines(&[&"dump", &checkpoint, &"--state", &state]);
    let mut model = Model::default();
    for row in rows("hits") {
        assert!(row["key_group"].is_u64());
        let old = model.hits.insert(text(&row["key"]), row["value"].as_u64().unwrap());
        assert_eq!(old, None);
    }
    for row in rows("visits") {
        let visits = model.visits.entry(text(&row["key"])).or_default();
        assert_eq!(row["index"], visits.len());
        visits.push(text(&row["value"]));
    }
    for row in rows("codes") {
        let key = (text(&row["key"]), row["map_key"].as_u64().unwrap() as u16);
        assert_eq!(model.codes.insert(key, row["value"].as_u64().unwrap()), None);
    }
    for row in rows("minutes") {
        let key = (text(&row["key"]), row["namespace"].as_u64().unwrap());
        assert_eq!(model.minutes.insert(key, row["value"].as_u64().unwrap()), None);
    }
    model
}
