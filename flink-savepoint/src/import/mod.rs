//! Savepoints of Flink as savepoints of this family.

mod keys;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::format::{CANONICAL, CheckpointWriter, FileMeta, SectionKind, StateMeta};
use backend_api::restore::RestorePlan;
use backend_api::row::{self, ItemRows};
use backend_api::{
    AttemptTarget, Cancel, Checkpoint, CheckpointTarget, Error, ErrorKind, FileName, FlinkMapping, JavaHash,
    KeyGroupMapping, KeyGroupRange, KeyedStateHandle, MemoryStorage, OperatorStateHandle, OperatorStateMeta,
    Redistribution, Result, StateKey, StateShape, Subtask, TaskState, flink_group,
};

use self::shape::Shape;
use crate::header::{StateInfo, StateKind};
use crate::keyed::KeyedState;
use crate::metadata::{KeyedHandle, OperatorId};
use crate::operator_state::{OperatorState, OperatorStateInfo};
use crate::rows::{AllRows, Place, RawRow, Row};
use crate::savepoint::{Operator, Savepoint};
use crate::types::Type;
use crate::value::Value;

/// Format of the files of operator state.
const OPERATOR_FORMAT: &str = "operator/1";

/// Writes a savepoint of Flink as a canonical savepoint of this family, which every backend restores.
///
/// Operators keep their parallelism, and keys their key groups: the mapping is [`FlinkMapping`].
#[derive(Debug)]
pub struct Import<'s> {
    savepoint: &'s Savepoint,
    names: BTreeMap<OperatorId, String>,
    skips: bool,
}

/// What an import has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Values, elements, entries and timers.
    pub rows: u64,
    /// What was left out, and why: a sentence each.
    pub left_out: Vec<String>,
}

impl<'s> Import<'s> {
    /// Prepares the import of all operators. Their ids are their uids if these can be operator ids, and Flink's hashes
    /// otherwise.
    pub fn new(savepoint: &'s Savepoint) -> Self {
        Self { savepoint, names: BTreeMap::new(), skips: false }
    }

    /// Gives an operator this id.
    pub fn with_operator(mut self, operator: OperatorId, id: impl Into<String>) -> Self {
        self.names.insert(operator, id.into());
        self
    }

    /// Leaves out states and rows that only Java reads, instead of refusing them. [`Imported::left_out`] names them.
    pub fn skipping_unreadable(mut self) -> Self {
        self.skips = true;
        self
    }

    /// Writes all files. The caller writes the metadata.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) with file and offset. [`Unsupported`](ErrorKind::Unsupported) for what only Java reads.
    /// Errors of the target. Files that were written stay.
    pub fn write(&self, target: &AttemptTarget) -> Result<(Checkpoint, Imported)> {
        let mut writer = Writer { import: self, target, imported: Imported::default() };
        let (mut tasks, mut names) = (Vec::new(), BTreeMap::new());
        for operator in self.savepoint.operators() {
            let id = self.id(operator);
            let of_operator = writer.operator(operator, &id)?;
            if !of_operator.is_empty() {
                names.extend(operator.name().map(|name| (id, name.to_owned())));
            }
            tasks.extend(of_operator);
        }
        let mut checkpoint = Checkpoint::new(self.checkpoint_id(), tasks);
        checkpoint.operator_names = names;
        Ok((checkpoint, writer.imported))
    }

    fn checkpoint_id(&self) -> u64 {
        self.savepoint.checkpoint_id().unsigned_abs()
    }

    fn id(&self, operator: &Operator) -> String {
        if let Some(name) = self.names.get(&operator.id()) {
            return name.clone();
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = |uid: &&str| {
            uid.len() <= FileName::OPERATOR_BYTES_MAX && !uid.starts_with('.') && uid.chars().all(allowed)
        };
        operator.uid().filter(fits).map_or_else(|| operator.id().to_string(), str::to_owned)
    }
}

/// The keyed state of `operator` for a subtask that maps keys as Flink does, to restore a backend without a savepoint in
/// between. The rows are in memory until the plan is dropped.
///
/// # Errors
///
/// As [`Import::write`], and those of [`RestorePlan::open`].
pub fn restore_plan<K: StateKey>(
    savepoint: &Savepoint,
    operator: &Operator,
    subtask: &Subtask<K>,
) -> Result<RestorePlan> {
    let storage = Arc::new(MemoryStorage::new());
    let target = CheckpointTarget::savepoint(storage.clone(), "import")?.for_attempt()?;
    let import = Import::new(savepoint);
    let mut writer = Writer { import: &import, target: &target, imported: Imported::default() };
    let tasks = writer.operator(operator, subtask.operator())?;
    let restore = Checkpoint::new(import.checkpoint_id(), tasks).restore(subtask)?;
    RestorePlan::open(restore.keyed(), Some(&*storage), subtask)
}

struct Writer<'w> {
    import: &'w Import<'w>,
    target: &'w AttemptTarget,
    imported: Imported,
}

/// A state that is written.
struct Target {
    info: StateInfo,
    meta: StateMeta,
    shape: Shape,
    max_parallelism: u16,
}

impl Writer<'_> {
    fn operator(&mut self, operator: &Operator, id: &str) -> Result<Vec<TaskState>> {
        let keyed = self.or_left_out(operator.keyed_state())?.flatten();
        let states = keyed.as_ref().map(|keyed| self.targets(keyed)).transpose()?;
        let lists = self.or_left_out(operator.operator_state())?.flatten();
        let raw = operator.raw_bytes();
        if raw > 0 {
            let message = format!("operator {:?}: {raw} bytes of raw state", operator.label());
            self.imported.left_out.push(message);
        }
        let parallelism = u16::try_from(operator.parallelism())
            .map_err(|_| Error::new(ErrorKind::Unsupported, "the parallelism is too large"))?;
        let mut tasks = Vec::new();
        for index in 0..parallelism {
            let subtask = operator.subtasks().iter().find(|subtask| subtask.index == u32::from(index));
            let mut task = TaskState::new(id, index, parallelism, None);
            if let (Some(states), Some(keyed)) = (&states, &keyed) {
                let range = match subtask.and_then(|subtask| subtask.keyed.as_ref()) {
                    Some(handle) => KeyGroupRange::new(handle.first_group, last_group(handle)?)?,
                    // A subtask that no record has reached has no handle in Flink.
                    None => KeyGroupRange::of_subtask(keyed.max_parallelism(), parallelism, index)?,
                };
                task.keyed = Some(self.keyed(id, index, keyed, range, states)?);
            }
            if let (Some(lists), Some(true)) = (&lists, subtask.map(|subtask| subtask.operator.is_some())) {
                task.operator_state = self.lists(id, index, operator, lists)?;
            }
            tasks.push(task);
        }
        if !tasks.iter().any(TaskState::has_state) {
            tasks.clear();
        }
        Ok(tasks)
    }

    /// `None` for what only Java reads, if that is left out.
    fn or_left_out<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.import.skips && error.kind() == ErrorKind::Unsupported => {
                self.imported.left_out.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The states of an operator, by their names.
    fn targets(&mut self, keyed: &KeyedState) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for info in keyed.states() {
            let target = keyed.check_readable(info).and_then(|()| target(keyed, info));
            targets.extend(self.or_left_out(target)?);
        }
        let mut nullable: BTreeMap<_, _> = targets
            .iter_mut()
            .filter(|target| target.info.kind == StateKind::Map || Shape::may_be_null(&target.info.value))
            .map(|target| (target.info.name.clone(), &mut target.shape))
            .collect();
        if !nullable.is_empty() {
            // Which values are null decides their type in Rust, so this is a pass of its own.
            let mut rows = keyed.all_rows();
            while let Some(raw) = rows.next()? {
                if let Some(shape) = nullable.get_mut(&raw.state.name) {
                    // An error is reported when the row is written.
                    let _ = raw.decode(|row| {
                        shape.observe(&row.value);
                        Ok(())
                    });
                }
            }
        }
        for target in &mut targets {
            let stamped = if target.info.has_ttl { "stamped:" } else { "" };
            if target.info.kind != StateKind::Timer {
                target.meta.codecs.push(format!("{stamped}{}", target.shape.codec_id()));
            }
        }
        Ok(targets)
    }

    fn keyed(
        &mut self,
        id: &str,
        subtask: u16,
        keyed: &KeyedState,
        range: KeyGroupRange,
        states: &[Target],
    ) -> Result<KeyedStateHandle> {
        let key_schema = keys::schema(keyed.key())?;
        let mapping = KeyGroupMapping::<i64>::id(&FlinkMapping).to_owned();
        let meta = FileMeta {
            format: row::FORMAT.to_owned(),
            operator: id.to_owned(),
            subtask: subtask.into(),
            checkpoint_id: self.import.checkpoint_id(),
            max_parallelism: keyed.max_parallelism().into(),
            key_groups: range.start()..=range.end(),
            key_schema: key_schema.clone(),
            key_group_mapping: mapping.clone(),
            states: states.iter().map(|target| target.meta.clone()).collect(),
        };
        let file = self.target.write(&meta, false, &Cancel::new(), |writer| {
            for (number, target) in (0..).zip(states) {
                self.state(number, target, keyed.rows_of_subtask(range.start()), writer)?;
            }
            Ok(true)
        })?;
        Ok(KeyedStateHandle {
            format: row::FORMAT.to_owned(),
            checkpoint_id: meta.checkpoint_id,
            operator: id.to_owned(),
            range,
            max_parallelism: keyed.max_parallelism(),
            key_group_mapping: mapping,
            key_schema,
            files: file.into_iter().collect(),
        })
    }

    /// Writes the rows of one state. Those of a key group are in memory, to be sorted.
    fn state(
        &mut self,
        number: u16,
        target: &Target,
        mut rows: AllRows,
        writer: &mut CheckpointWriter<'_>,
    ) -> Result<()> {
        let mut group = Items::default();
        let mut unreadable: Option<(u64, String)> = None;
        let mut at = None;
        while let Some(raw) = rows.next()? {
            if raw.state.name != target.info.name {
                continue;
            }
            if at != Some(raw.key_group) {
                self.imported.rows += group.write(number, at, target, writer)?;
                at = Some(raw.key_group);
            }
            if let Err(error) = group.add(target, &raw) {
                if self.import.skips && error.kind() == ErrorKind::Unsupported {
                    unreadable.get_or_insert_with(|| (0, error.message().to_owned())).0 += 1;
                    continue;
                }
                return Err(rows.placed(error, &target.info.name));
            }
        }
        self.imported.rows += group.write(number, at, target, writer)?;
        if let Some((rows, reason)) = unreadable {
            let state = &target.info.name;
            self.imported.left_out.push(format!("state {state:?}: {rows} rows, because {reason}"));
        }
        Ok(())
    }

    fn lists(
        &mut self,
        id: &str,
        subtask: u16,
        operator: &Operator,
        lists: &OperatorState,
    ) -> Result<Option<OperatorStateHandle>> {
        let mut states = Vec::new();
        for info in lists.states() {
            let rows = lists.rows(&info.name).and_then(|rows| Ok((rows, list_target(info)?)));
            if let Some((rows, (mut meta, mut shape))) = self.or_left_out(rows)? {
                let mut elements = Vec::new();
                for row in rows {
                    let row = row.map_err(|error| error.in_state(&info.name))?;
                    // Nulls of all subtasks count, so that all have one type.
                    shape.observe(&row.value);
                    if row.subtask == u32::from(subtask) {
                        elements.push(row);
                    }
                }
                meta.codecs.push(shape.codec_id());
                meta.elements = elements.len() as u64;
                self.imported.rows += meta.elements;
                states.push((meta, info, shape, elements));
            }
        }
        if states.is_empty() {
            return Ok(None);
        }
        let meta = FileMeta {
            format: OPERATOR_FORMAT.to_owned(),
            operator: id.to_owned(),
            subtask: subtask.into(),
            checkpoint_id: self.import.checkpoint_id(),
            max_parallelism: 1,
            key_groups: 0..=0,
            key_schema: <()>::schema(),
            key_group_mapping: String::new(),
            states: states.iter().map(|(meta, ..)| list_meta(meta)).collect(),
        };
        let file = self.target.write(&meta, false, &Cancel::new(), |writer| {
            for (number, (_, info, shape, elements)) in (0..).zip(&states) {
                if elements.is_empty() {
                    continue;
                }
                writer.begin_section(number, 0, SectionKind::Full)?;
                let mut rows = Vec::new();
                for element in elements {
                    let mut row = Vec::new();
                    if let (Some(of), Some(key)) = (&info.map_key, &element.map_key) {
                        keys::encode(of, key, &mut row)?;
                    }
                    shape.write(&element.value, &mut row)?;
                    rows.push(row);
                }
                if info.map_key.is_some() {
                    rows.sort_unstable();
                }
                for bytes in rows {
                    writer.row(|row| {
                        row.extend_from_slice(&bytes);
                        Ok(())
                    })?;
                }
            }
            Ok(true)
        });
        let file = file.map_err(|error| {
            let message = format!("operator {:?}: {}", operator.label(), error.message());
            Error::new(error.kind(), message).with_source(error)
        })?;
        let states = states.into_iter().map(|(meta, ..)| meta).collect();
        Ok(file.map(|file| OperatorStateHandle { checkpoint_id: meta.checkpoint_id, states, file }))
    }
}

fn last_group(handle: &KeyedHandle) -> Result<u16> {
    let count = u16::try_from(handle.offsets.len()).ok().and_then(|count| count.checked_sub(1));
    let last = count.and_then(|count| handle.first_group.checked_add(count));
    last.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a subtask has no key groups"))
}

fn target(keyed: &KeyedState, info: &StateInfo) -> Result<Target> {
    let schemas = || {
        keys::schema(keyed.key())?;
        let namespace = keys::schema(&info.namespace)?;
        Ok((namespace, info.map_key.as_ref().map(keys::schema).transpose()?))
    };
    let (namespace_schema, map_key) = schemas().map_err(|error: Error| error.in_state(&info.name))?;
    let mut options = BTreeMap::from([(CANONICAL.to_owned(), Vec::new())]);
    let kind = match info.kind {
        StateKind::Value => backend_api::StateKind::Value,
        StateKind::List => backend_api::StateKind::List,
        StateKind::Map => backend_api::StateKind::Map,
        StateKind::Reducing => backend_api::StateKind::Reducing,
        StateKind::Aggregating => backend_api::StateKind::Aggregating,
        StateKind::Timer | StateKind::Unknown => {
            let domain = info.time_domain().ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, "the timers have no time domain").in_state(&info.name)
            })?;
            options.insert("time".to_owned(), domain.name().into());
            backend_api::StateKind::Timer
        }
    };
    let meta = StateMeta {
        name: info.name.clone(),
        kind,
        namespace_schema,
        codecs: map_key.into_iter().collect(),
        table_seed: 0,
        options,
    };
    let max_parallelism = keyed.max_parallelism();
    Ok(Target { info: info.clone(), meta, shape: Shape::of(&info.value), max_parallelism })
}

fn list_target(info: &OperatorStateInfo) -> Result<(OperatorStateMeta, Shape)> {
    let map_key = info.map_key.as_ref().map(keys::schema).transpose();
    let meta = OperatorStateMeta {
        name: info.name.clone(),
        redistribution: info.redistribution,
        codecs: map_key.map_err(|error| error.in_state(&info.name))?.into_iter().collect(),
        elements: 0,
        options: BTreeMap::from([(CANONICAL.to_owned(), Vec::new())]),
    };
    Ok((meta, Shape::of(&info.value)))
}

fn list_meta(meta: &OperatorStateMeta) -> StateMeta {
    let kind = match meta.redistribution {
        Redistribution::EvenSplit | Redistribution::Union => backend_api::StateKind::List,
        Redistribution::Broadcast => backend_api::StateKind::Map,
    };
    let mut options = meta.options.clone();
    options.insert("redistribution".to_owned(), meta.redistribution.to_string().into_bytes());
    StateMeta {
        name: meta.name.clone(),
        kind,
        namespace_schema: <()>::schema(),
        codecs: meta.codecs.clone(),
        table_seed: 0,
        options,
    }
}

/// Checks the key group of a key whose Java hash is known. A backend would not find the key in another one.
fn check_group(target: &Target, row: &Row) -> Result<()> {
    let hash = match &row.key {
        Value::Int(key) => key.java_hash(),
        Value::Long(key) => key.java_hash(),
        Value::String(key) => key.java_hash(),
        _ => return Ok(()),
    };
    let group = flink_group(hash, target.max_parallelism);
    if group == row.key_group {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, format!("a key of key group {group} is in another one")))
}

/// The rows of one state and key group.
#[derive(Default)]
struct Items {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// Where an item is in the bytes: key and namespace, key of an entry, value.
struct Item {
    start: usize,
    map_key: usize,
    value: usize,
    end: usize,
    index: u64,
}

impl Items {
    fn add(&mut self, target: &Target, raw: &RawRow<'_>) -> Result<()> {
        let before = (self.bytes.len(), self.items.len());
        let added = raw.decode(|row| self.add_row(target, raw.key_type, &row));
        if added.is_err() {
            self.bytes.truncate(before.0);
            self.items.truncate(before.1);
        }
        added
    }

    fn add_row(&mut self, target: &Target, key: &Type, row: &Row) -> Result<()> {
        let Self { bytes: out, items } = self;
        let start = out.len();
        if let Place::Timer(time) = row.place {
            time.encode(out);
        }
        check_group(target, row)?;
        keys::encode(key, &row.key, out)?;
        keys::encode(&target.info.namespace, &row.namespace, out)?;
        let map_key = out.len();
        let mut index = 0;
        match (&row.place, &target.info.map_key) {
            (Place::Entry(key), Some(of)) => keys::encode(of, key, out)?,
            (Place::Element(element), _) => index = *element,
            _ => {}
        }
        let value = out.len();
        if target.info.kind != StateKind::Timer {
            if let Some(at) = row.last_access {
                shape::stamp(at, out)?;
            }
            target.shape.write(&row.value, out)?;
        }
        items.push(Item { start, map_key, value, end: out.len(), index });
        Ok(())
    }

    /// Writes the section, and returns the number of items.
    fn write(
        &mut self,
        state: u16,
        group: Option<u16>,
        target: &Target,
        writer: &mut CheckpointWriter<'_>,
    ) -> Result<u64> {
        let Some(group) = group.filter(|_| !self.items.is_empty()) else { return Ok(0) };
        let Self { bytes, items } = self;
        let parts = |item: &Item| {
            let Item { start, map_key, value, end, index } = *item;
            (&bytes[start..map_key], &bytes[map_key..value], index, &bytes[value..end])
        };
        items.sort_unstable_by(|a, b| {
            let ((a_key, a_entry, a_index, _), (b_key, b_entry, b_index, _)) = (parts(a), parts(b));
            (a_key, a_entry, a_index).cmp(&(b_key, b_entry, b_index))
        });
        let shape: StateShape = target.meta.kind.shape();
        let mut rows = ItemRows::new(writer, shape, None);
        rows.begin_section(state, group)?;
        for item in &*items {
            let (prefix, map_key, _, value) = parts(item);
            rows.add(prefix, map_key, value)?;
        }
        rows.finish()?;
        let number = items.len() as u64;
        items.clear();
        bytes.clear();
        Ok(number)
    }
}
