use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use backend_api::format::{CANONICAL, CheckpointWriter, FileMeta, MAX_STATES, SectionKind, StateMeta};
use backend_api::{
    AttemptTarget, BackendId, Cancel, CheckpointTarget, Error, ErrorKind, OperatorStateHandle,
    OperatorStateMeta, OperatorStatePart, Redistribution, RestoreRules, Result, SnapshotRequest,
    SnapshotTask, StateKey, StateKind, StateValue, Subtask,
};

use crate::content::{AnyContent, FrozenContent, ListContent, MapContent};
use crate::restored::{self, FORMAT, Restored};
use crate::views::{Broadcast, BroadcastEntries, OperatorList};
use crate::{BroadcastToken, OperatorListToken, OperatorStateDescriptor};

/// The metadata option with a state's redistribution.
const REDISTRIBUTION: &str = "redistribution";

/// The only key group of a file, because operator state has none.
const GROUP: u16 = 0;

/// The operator state of one subtask: lists and broadcast maps, which are not keyed.
///
/// It is on the heap with every backend, like Flink's `DefaultOperatorStateBackend`. Its snapshots go where
/// the backend's go. Typical content is the positions of a source. They must be in the same snapshot as the
/// state that their earlier records produced.
///
/// ```
/// use backend_api::{Checkpoint, CheckpointTarget, KeySpace, Result, SnapshotRequest, Subtask};
/// use task_state::{OperatorListDescriptor, OperatorState, TaskSnapshot};
///
/// let target = CheckpointTarget::memory(5 << 20)?;
/// let source = |parallelism, index| Subtask::new("source", KeySpace::<u64>::new(128)?, parallelism, index);
/// let positions = || OperatorListDescriptor::<(String, u64)>::even_split("positions");
///
/// // One subtask reads three files.
/// let subtask = source(1, 0)?;
/// let mut state = OperatorState::open(&target, &subtask, &[])?;
/// let token = state.register(positions())?;
/// state.list(token)?.set([("a".to_owned(), 10), ("b".to_owned(), 20), ("c".to_owned(), 30)]);
/// let request = SnapshotRequest::new(1);
/// let task = TaskSnapshot::new(&target, &subtask, request).operator(&mut state)?.into_task();
/// let checkpoint = Checkpoint::new(1, vec![task.run()?]);
///
/// // Two subtasks continue.
/// let counts = [0, 1].map(|index| -> Result<usize> {
///     let subtask = source(2, index)?;
///     let restore = checkpoint.restore(&subtask)?;
///     let mut state = OperatorState::open(&target, &subtask, restore.operator())?;
///     let token = state.register(positions())?;
///     Ok(state.list(token)?.len())
/// });
/// assert_eq!(counts.into_iter().collect::<Result<Vec<_>>>()?, [2, 1]);
/// # Ok::<(), backend_api::Error>(())
/// ```
pub struct OperatorState {
    id: BackendId,
    target: AttemptTarget,
    operator: String,
    subtask: u16,
    /// In the order of registration, which is how tokens index them.
    states: Vec<Registered>,
    /// Restored states that the program has not registered yet, by name.
    restored: BTreeMap<String, Restored>,
    last_id: Option<u64>,
    /// Cancels running snapshots. `None` once closed.
    open: Option<Cancel>,
}

struct Registered {
    meta: OperatorStateMeta,
    content: Box<dyn AnyContent>,
}

impl OperatorState {
    /// Opens the state of `subtask` from `restore`, which is
    /// [`TaskRestore::operator`](backend_api::TaskRestore::operator). The files may be deleted once this
    /// returns. Snapshots go to `target`, which is usually that of the task's backend
    /// ([`StateBackend::checkpoint_target`](backend_api::StateBackend::checkpoint_target)).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io). [`Corrupt`](ErrorKind::Corrupt) for a
    /// damaged file (damage within a state's elements is found at registration).
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if a file is in a storage and the target has none.
    /// [`Migration`](ErrorKind::Migration) if the old subtasks wrote one state with different codecs.
    pub fn open<K: StateKey>(
        target: &CheckpointTarget,
        subtask: &Subtask<K>,
        restore: &[OperatorStatePart],
    ) -> Result<Self> {
        let restored = restored::open(target, restore)?;
        Ok(Self {
            id: BackendId::fresh(),
            target: target.for_attempt()?,
            operator: subtask.operator().to_owned(),
            subtask: subtask.index(),
            states: Vec::new(),
            restored: restored.into_iter().map(|state| (state.meta.name.clone(), state)).collect(),
            last_id: None,
            open: Some(Cancel::new()),
        })
    }

    /// Registers a state, or returns its token again. The name identifies it, among lists and broadcast maps
    /// together. The first registration after a restore reads the restored elements.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if a state of that name, registered or restored, has another
    /// redistribution, and if a registered one has other types or another version.
    /// [`Migration`](ErrorKind::Migration) if the restored state has another type of keys, another type or codec whose
    /// values the new one cannot read, or a version without a migration. [`Function`](ErrorKind::Function) if a
    /// migration fails. [`Corrupt`](ErrorKind::Corrupt) or [`Io`](ErrorKind::Io) if its elements cannot be read.
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an empty name or misfitting migrations.
    /// [`Unsupported`](ErrorKind::Unsupported) for a type that its codec cannot carry. [`Closed`](ErrorKind::Closed).
    /// After an error the restored state is unchanged, and registration can be tried again.
    pub fn register<D: OperatorStateDescriptor>(&mut self, descriptor: D) -> Result<D::Token> {
        self.check_open()?;
        let meta = descriptor.meta()?;
        if meta.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "the name of a state is empty"));
        }
        if let Some(index) = self.states.iter().position(|state| state.meta.name == meta.name) {
            let known = &self.states[index];
            check_redistribution("registered", known.meta.redistribution, &meta)?;
            if (&known.meta.codecs, &known.meta.options) != (&meta.codecs, &meta.options)
                || known.content.as_any().type_id() != descriptor.empty().as_any().type_id()
            {
                let message = "the state is registered with other types, or another version";
                return Err(Error::new(ErrorKind::IllegalState, message).in_state(&meta.name));
            }
            return Ok(descriptor.token(self.id, index));
        }
        let content = match self.restored.get(&meta.name) {
            Some(restored) => {
                check_redistribution("restored", restored.meta.redistribution, &meta)?;
                descriptor.read(restored).map_err(|error| error.in_state(&meta.name))?
            }
            None => descriptor.empty(),
        };
        self.restored.remove(&meta.name);
        self.states.push(Registered { meta, content });
        Ok(descriptor.token(self.id, self.states.len() - 1))
    }

    /// Opens a list.
    ///
    /// # Errors
    /// [`ForeignToken`](ErrorKind::ForeignToken), [`Closed`](ErrorKind::Closed).
    pub fn list<T: StateValue>(&mut self, token: OperatorListToken<T>) -> Result<OperatorList<'_, T>> {
        let content = self.content(token.state, token.index)?;
        content.as_any_mut().downcast_mut::<ListContent<T>>().map(OperatorList).ok_or_else(foreign_token)
    }

    /// Opens a broadcast map for changes, on the side that receives the broadcast stream.
    ///
    /// # Errors
    /// Same as [`list`](Self::list).
    pub fn broadcast<K: StateKey, V: StateValue>(
        &mut self,
        token: BroadcastToken<K, V>,
    ) -> Result<Broadcast<'_, K, V>> {
        let content = self.content(token.state, token.index)?;
        content.as_any_mut().downcast_mut::<MapContent<K, V>>().map(Broadcast).ok_or_else(foreign_token)
    }

    /// The entries of a broadcast map, read-only, on the side that receives the other stream.
    ///
    /// # Errors
    /// Same as [`list`](Self::list).
    pub fn immutable_entries<K: StateKey, V: StateValue>(
        &self,
        token: BroadcastToken<K, V>,
    ) -> Result<BroadcastEntries<'_, K, V>> {
        self.check_open()?;
        let state = self.states.get(token.index).filter(|_| token.state == self.id);
        let content = state.and_then(|state| state.content.as_any().downcast_ref::<MapContent<K, V>>());
        content.map(BroadcastEntries).ok_or_else(foreign_token)
    }

    /// The names of all lists, sorted, including restored ones that are not registered.
    pub fn list_names(&self) -> Vec<&str> {
        self.names(|redistribution| redistribution != Redistribution::Broadcast)
    }

    /// The names of all broadcast maps, sorted, including restored ones that are not registered.
    pub fn broadcast_names(&self) -> Vec<&str> {
        self.names(|redistribution| redistribution == Redistribution::Broadcast)
    }

    /// The synchronous part of a snapshot. It shares the elements and copies none. The task returns no handle
    /// if there is no state. Restored states that were never registered are included unchanged.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if the id is not greater than all earlier ones.
    /// [`Size`](ErrorKind::Size) for more than 32,767 states. [`Closed`](ErrorKind::Closed).
    pub fn snapshot(
        &mut self,
        request: SnapshotRequest,
    ) -> Result<SnapshotTask<Option<OperatorStateHandle>>> {
        let cancel = self.check_open()?.clone();
        let checkpoint_id = request.checkpoint_id();
        if let Some(last) = self.last_id.filter(|last| checkpoint_id <= *last) {
            let message = format!("checkpoint {checkpoint_id} is not above {last}, the last one");
            return Err(Error::new(ErrorKind::IllegalState, message));
        }
        let number = self.states.len() + self.restored.len();
        if number > MAX_STATES {
            let message = format!("{number} states exceed the limit of {MAX_STATES} states");
            return Err(Error::new(ErrorKind::Size, message));
        }
        self.last_id = Some(checkpoint_id);
        let registered = self.states.iter().map(|state| (state.meta.clone(), state.content.freeze()));
        let restored = self.restored.values().map(|state| {
            let content: Box<dyn FrozenContent> = Box::new(state.clone());
            (state.meta.clone(), content)
        });
        let mut states: Vec<_> = registered.chain(restored).collect();
        if request.is_canonical() {
            states.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
            for (meta, _) in states.iter_mut().filter(|(meta, _)| restored::can_be_canonical(meta)) {
                meta.options.insert(CANONICAL.to_owned(), Vec::new());
            }
        }
        let frozen = Frozen { states, operator: self.operator.clone(), subtask: self.subtask, checkpoint_id };
        let target = self.target.for_request(&request);
        Ok(SnapshotTask::new(checkpoint_id, cancel, move |cancel, _| frozen.write(&target, cancel)))
    }

    /// Drops restored states that `rules` allow to be left out, and checks that all others are registered. Without this
    /// call, states that the program does not register stay part of its snapshots.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState), naming operator and states, if others are not registered.
    /// [`Closed`](ErrorKind::Closed).
    pub fn check_restored(&mut self, rules: &RestoreRules) -> Result<()> {
        self.check_open()?;
        let Self { operator, restored, .. } = self;
        restored.retain(|name, _| !rules.may_leave_out(operator, name));
        if restored.is_empty() {
            return Ok(());
        }
        let left: Vec<_> = restored.keys().collect();
        let message = format!(
            "operator {operator:?} has restored states that are not registered: {left:?}; register them, or leave them out by name"
        );
        Err(Error::new(ErrorKind::IllegalState, message))
    }

    /// Cancels running snapshots, and drops all state. Idempotent. Dropping does the same.
    pub fn close(&mut self) {
        if let Some(cancel) = self.open.take() {
            cancel.cancel();
        }
        self.states.clear();
        self.restored.clear();
    }

    fn names(&self, is_wanted: impl Fn(Redistribution) -> bool) -> Vec<&str> {
        let registered = self.states.iter().map(|state| &state.meta);
        let metas = registered.chain(self.restored.values().map(|state| &state.meta));
        let mut names: Vec<_> =
            metas.filter(|meta| is_wanted(meta.redistribution)).map(|meta| &*meta.name).collect();
        names.sort_unstable();
        names
    }

    fn content(&mut self, state: BackendId, index: usize) -> Result<&mut dyn AnyContent> {
        self.check_open()?;
        let is_own = state == self.id;
        match self.states.get_mut(index).filter(|_| is_own) {
            Some(state) => Ok(&mut *state.content),
            None => Err(foreign_token()),
        }
    }

    fn check_open(&self) -> Result<&Cancel> {
        self.open.as_ref().ok_or_else(|| Error::new(ErrorKind::Closed, "the operator state is closed"))
    }
}

impl Drop for OperatorState {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for OperatorState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorState")
            .field("operator", &self.operator)
            .field("subtask", &self.subtask)
            .field("states", &self.states.len())
            .field("restored", &self.restored.len())
            .finish_non_exhaustive()
    }
}

/// All states at the time of a snapshot.
struct Frozen {
    states: Vec<(OperatorStateMeta, Box<dyn FrozenContent>)>,
    operator: String,
    subtask: u16,
    checkpoint_id: u64,
}

impl Frozen {
    fn write(mut self, target: &AttemptTarget, cancel: &Cancel) -> Result<Option<OperatorStateHandle>> {
        if self.states.is_empty() {
            return Ok(None);
        }
        for (meta, content) in &mut self.states {
            meta.elements = content.elements();
        }
        let file_meta = file_meta(FORMAT, &self.operator, self.subtask, self.checkpoint_id, GROUP..=GROUP);
        let states = self.states.iter().map(|(meta, _)| state_meta(meta)).collect();
        let file_meta = FileMeta { states, ..file_meta };
        let file = target.write(&file_meta, false, cancel, |writer| {
            self.write_states(writer, cancel)?;
            Ok(true)
        })?;
        let states = self.states.into_iter().map(|(meta, _)| meta).collect();
        Ok(file.map(|file| OperatorStateHandle { checkpoint_id: self.checkpoint_id, states, file }))
    }

    fn write_states(&self, writer: &mut CheckpointWriter<'_>, cancel: &Cancel) -> Result<()> {
        for (number, (meta, content)) in (0..).zip(&self.states) {
            if meta.elements > 0 {
                writer.begin_section(number, GROUP, SectionKind::Full)?;
                let is_canonical = meta.options.contains_key(CANONICAL);
                content.write(writer, is_canonical, cancel).map_err(|error| error.in_state(&meta.name))?;
            }
        }
        Ok(())
    }
}

fn state_meta(meta: &OperatorStateMeta) -> StateMeta {
    let kind = match meta.redistribution {
        Redistribution::EvenSplit | Redistribution::Union => StateKind::List,
        Redistribution::Broadcast => StateKind::Map,
    };
    let mut options = meta.options.clone();
    options.insert(REDISTRIBUTION.to_owned(), meta.redistribution.to_string().into_bytes());
    StateMeta {
        name: meta.name.clone(),
        kind,
        namespace_schema: <()>::schema(),
        codecs: meta.codecs.clone(),
        table_seed: 0,
        options,
    }
}

/// The metadata of a file without keys, written by a subtask.
pub fn file_meta(
    format: &str,
    operator: &str,
    subtask: u16,
    checkpoint_id: u64,
    key_groups: RangeInclusive<u16>,
) -> FileMeta {
    FileMeta {
        format: format.to_owned(),
        operator: operator.to_owned(),
        subtask: subtask.into(),
        checkpoint_id,
        max_parallelism: u32::from(*key_groups.end()) + 1,
        key_groups,
        key_schema: <()>::schema(),
        key_group_mapping: String::new(),
        states: Vec::new(),
    }
}

fn check_redistribution(when: &str, known: Redistribution, meta: &OperatorStateMeta) -> Result<()> {
    if known == meta.redistribution {
        return Ok(());
    }
    let message = format!("{when} as {known} state, asked for as {} state", meta.redistribution);
    Err(Error::new(ErrorKind::IllegalState, message).in_state(&meta.name))
}

#[cold]
fn foreign_token() -> Error {
    Error::new(ErrorKind::ForeignToken, "the token belongs to another operator state")
}
