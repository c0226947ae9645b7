//! A script's operator on a backend: its subtasks and snapshots.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{
    Borrowed, Checkpoint, JavaHash, KeySpace, Result, SavepointFormat, SnapshotKind, SnapshotRequest,
    SnapshotTask, StateBackend, StateData, StateKey, Subtask, TaskState, subtask_of_group,
};

use super::states::{State, register};
use super::{Answer, Datum, Declared, Kept, Machine, Op, Timed, Type};
use crate::{Factory, OPERATOR, Setup};

/// The operator of a script on backends of a factory, with keys of type `K`.
pub struct Operator<F: Factory, K: StateKey> {
    factory: F,
    setup: Setup,
    keys: KeySpace<K>,
    declared: BTreeMap<String, Declared>,
    /// The time for times to live.
    now: i64,
    subtasks: Vec<Running<F::Backend<K>>>,
    tasks: BTreeMap<String, Vec<SnapshotTask>>,
    snapshots: BTreeMap<String, Checkpoint>,
}

struct Running<B> {
    backend: B,
    states: BTreeMap<String, Box<dyn State<B>>>,
}

/// A fresh operator in its own world, with keys of a type chosen at run time.
///
/// # Errors
/// If it does not support keys of that type, or the number of key groups.
pub fn operator<F: Factory>(
    setup: Setup,
    keys: Type,
    max_parallelism: u16,
) -> Result<Box<dyn Machine>, String> {
    fn of<F: Factory, K: StateKey + Kept>(
        setup: Setup,
        max_parallelism: u16,
    ) -> Result<Box<dyn Machine>, String>
    where
        Borrowed<K>: JavaHash,
    {
        let keys = KeySpace::<K>::flink(max_parallelism).map_err(|error| error.to_string())?;
        Ok(Box::new(Operator::<F, K> {
            factory: F::new(),
            setup,
            keys,
            declared: BTreeMap::new(),
            now: 0,
            subtasks: Vec::new(),
            tasks: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        }))
    }
    match keys {
        Type::Long => of::<F, i64>(setup, max_parallelism),
        Type::Int => of::<F, i32>(setup, max_parallelism),
        Type::Text => of::<F, String>(setup, max_parallelism),
        _ => Err("keys are long, int or string".to_owned()),
    }
}

impl<B: StateBackend<Key: Kept>> Running<B> {
    /// The state, registered if necessary, and the backend.
    fn state(
        &mut self,
        name: &str,
        declared: &BTreeMap<String, Declared>,
    ) -> Result<(&dyn State<B>, &mut B)> {
        if !self.states.contains_key(name) {
            let state = register(&mut self.backend, name, &declared[name])?;
            self.states.insert(name.to_owned(), state);
        }
        Ok((&*self.states[name], &mut self.backend))
    }
}

impl<F: Factory, K: StateKey + Kept> Operator<F, K> {
    fn key(&self, key: &Datum) -> K {
        K::of(key).expect("the interpreter has parsed the key")
    }

    /// The files of all snapshots.
    fn expected_files(&self) -> BTreeSet<&str> {
        let handles = self.snapshots.values().flat_map(Checkpoint::handles);
        let files = handles.flat_map(|handle| &handle.files);
        let paths = files.filter_map(|file| match &file.data {
            StateData::File { path, .. } => Some(path.as_str()),
            StateData::Inline(_) => None,
        });
        paths.collect()
    }
}

impl<F: Factory, K: StateKey + Kept> Machine for Operator<F, K> {
    fn start(&mut self, parallelism: u16, from: Option<&str>) -> Result<()> {
        self.tasks.clear();
        self.subtasks.clear();
        let options = self.factory.options::<K>(&self.setup)?;
        for index in 0..parallelism {
            let subtask = Subtask::new(OPERATOR, self.keys.clone(), parallelism, index)?;
            let handles = match from {
                Some(snapshot) => self.snapshots[snapshot].handles_for(OPERATOR, subtask.range())?,
                None => Vec::new(),
            };
            let mut backend = F::Backend::open(&options, subtask, &handles)?;
            backend.advance_to(self.now)?;
            self.subtasks.push(Running { backend, states: BTreeMap::new() });
        }
        Ok(())
    }

    fn advance_to(&mut self, now: i64) -> Result<()> {
        self.now = now;
        self.subtasks.iter_mut().try_for_each(|subtask| subtask.backend.advance_to(now))
    }

    fn declare(&mut self, state: &str, declared: Declared) {
        self.declared.insert(state.to_owned(), declared);
        for subtask in &mut self.subtasks {
            subtask.states.remove(state);
        }
    }

    fn place(&self, key: &Datum) -> Result<(u16, u16)> {
        let (key, groups) = (self.key(key), self.keys.max_parallelism());
        let group = self.keys.key(&key)?.group();
        Ok((group, subtask_of_group(groups, self.subtasks.len() as u16, group)?))
    }

    fn access(&mut self, state: &str, key: &Datum, namespace: Option<&Datum>, op: Op) -> Result<Answer> {
        let (_, subtask) = self.place(key)?;
        let key = self.key(key);
        let (state, backend) = self.subtasks[usize::from(subtask)].state(state, &self.declared)?;
        state.access(backend, &key, namespace, op)
    }

    fn keys(&mut self, state: &str, namespace: Option<&Datum>) -> Result<Vec<Datum>> {
        let mut found = Vec::new();
        for subtask in &mut self.subtasks {
            let (state, backend) = subtask.state(state, &self.declared)?;
            found.extend(state.keys(backend, namespace)?.iter().map(K::datum));
        }
        Ok(found)
    }

    fn pairs(&mut self, state: &str) -> Result<Vec<(Datum, Option<Datum>)>> {
        let mut found = Vec::new();
        for subtask in &mut self.subtasks {
            let (state, backend) = subtask.state(state, &self.declared)?;
            found.extend(state.pairs(backend)?.into_iter().map(|(key, namespace)| (key.datum(), namespace)));
        }
        Ok(found)
    }

    fn clear_every_key(&mut self, state: &str, namespace: Option<&Datum>) -> Result<()> {
        for subtask in &mut self.subtasks {
            let (state, backend) = subtask.state(state, &self.declared)?;
            state.clear_every_key(backend, namespace)?;
        }
        Ok(())
    }

    fn timers(&mut self, state: &str) -> Result<Vec<Timed>> {
        let mut found = Vec::new();
        for subtask in &mut self.subtasks {
            let (state, backend) = subtask.state(state, &self.declared)?;
            found.extend(state.timers(backend)?);
        }
        Ok(found)
    }

    fn fire(&mut self, state: &str, to: i64) -> Result<Vec<Timed>> {
        let mut fired = Vec::new();
        for subtask in &mut self.subtasks {
            let (state, backend) = subtask.state(state, &self.declared)?;
            fired.extend(state.fire(backend, to)?);
        }
        Ok(fired)
    }

    fn begin(&mut self, snapshot: &str, id: u64) -> Result<()> {
        let subtasks = self.subtasks.iter_mut();
        let tasks = subtasks.map(|subtask| subtask.backend.snapshot(SnapshotRequest::new(id)));
        self.tasks.insert(snapshot.to_owned(), tasks.collect::<Result<_>>()?);
        Ok(())
    }

    fn end(&mut self, snapshot: &str) -> Result<()> {
        let mut written = Vec::new();
        let mut id = 1;
        let parallelism = self.subtasks.len() as u16;
        for (index, task) in self.tasks.remove(snapshot).unwrap_or_default().into_iter().enumerate() {
            id = task.checkpoint_id();
            written.push(TaskState::new(OPERATOR, index as u16, parallelism, task.run()?));
        }
        // Encodes and decodes it as the coordinator does.
        let checkpoint = Checkpoint::decode(&Checkpoint::new(id, written).encode()?, "_metadata")?;
        self.snapshots.insert(snapshot.to_owned(), checkpoint);
        Ok(())
    }

    fn cancel(&mut self, snapshot: &str) {
        for task in self.tasks.remove(snapshot).unwrap_or_default() {
            task.cancel_token().cancel();
        }
    }

    fn complete(&mut self, id: u64) -> Result<()> {
        self.subtasks.iter_mut().try_for_each(|subtask| subtask.backend.notify_complete(id))
    }

    fn aborted(&mut self, id: u64) -> Result<()> {
        self.subtasks.iter_mut().try_for_each(|subtask| subtask.backend.notify_aborted(id))
    }

    fn savepoint(&mut self, id: u64) -> Result<Checkpoint> {
        let kind = SnapshotKind::Savepoint(SavepointFormat::Canonical);
        let storage = self.setup.storage.clone().or_else(|| self.factory.storage());
        let parallelism = self.subtasks.len() as u16;
        let mut written = Vec::new();
        for (index, subtask) in (0..).zip(&mut self.subtasks) {
            let task = subtask.backend.snapshot(SnapshotRequest::new(id).with_kind(kind))?;
            let mut handle = task.run()?;
            for file in handle.iter_mut().flat_map(|handle| &mut handle.files) {
                let opened = file.open_bytes(storage.as_deref())?;
                let bytes = opened.read(0, opened.len() as usize)?.into_owned();
                drop(opened);
                if let (StateData::File { path, .. }, Some(storage)) = (&file.data, &storage) {
                    storage.delete(path)?;
                }
                file.data = StateData::Inline(bytes);
            }
            written.push(TaskState::new(OPERATOR, index, parallelism, handle));
        }
        Ok(Checkpoint::new(id, written))
    }

    fn adopt(&mut self, snapshot: &str, savepoint: Checkpoint) {
        self.snapshots.insert(snapshot.to_owned(), savepoint);
    }

    fn finish(&mut self) -> Result<(), String> {
        self.tasks.clear();
        for mut subtask in self.subtasks.drain(..) {
            subtask.backend.close().map_err(|error| format!("closing failed: {error}"))?;
        }
        let Some(storage) = self.setup.storage.clone().or_else(|| self.factory.storage()) else {
            return Ok(());
        };
        let listed = storage.list("").map_err(|error| error.to_string())?;
        let found: BTreeSet<_> = listed.iter().map(|entry| entry.path.as_str()).collect();
        let expected = self.expected_files();
        if let Some(path) = found.difference(&expected).next() {
            return Err(format!("{path} is in the storage, and no snapshot has it"));
        }
        match expected.difference(&found).next() {
            Some(path) => Err(format!("{path} is gone, and a snapshot has it")),
            None => Ok(()),
        }
    }
}
