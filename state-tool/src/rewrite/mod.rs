//! `state rewrite`.

mod changes;
mod spill;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use backend_api::format::{CheckpointWriter, FileMeta, StateMeta};
use backend_api::row::{self, ItemRows};
use backend_api::{
    AttemptTarget, Cancel, Checkpoint, CheckpointTarget, Error, ErrorKind, KeyGroupRange, KeyedStateHandle,
    NATIVE_MAPPING, NewFile, SavepointFormat, StateFile, StateKey, Storage, TaskState,
};
use coordinator::SavepointWriter;
use storage_local::LocalStorage;

use crate::args::Rewrite;
use crate::failure::{Failure, Result};
use crate::progress;
use crate::rows::{Group, Keyed, Place};
use crate::source::{Operator, Source, missing};
use crate::types::{Types, read_key, same_key};

use changes::Changes;
use spill::Spill;

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// Writes a savepoint with the changes of the arguments.
pub fn rewrite(args: &Rewrite, json: bool, out: &mut dyn Write) -> Result<()> {
    write(&Source::open(&args.path)?, args, None, json, out)
}

/// Writes a savepoint with the changes of the arguments, and with another mapping of keys to key groups if there is one.
pub fn write(
    source: &Source,
    args: &Rewrite,
    mapping: Option<&'static str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let operators = source.operators();
    let keyed: Vec<_> =
        operators.iter().map(|operator| Keyed::open(source, operator)).collect::<backend_api::Result<_>>()?;
    let changes = Changes::of(args, &operators, &keyed)?;
    let (storage, folder) = new_folder(&args.out)?;
    let target =
        CheckpointTarget::savepoint(storage.clone(), &*folder)?.with_compression(args.compression.into());
    let writer =
        Savepoint { source, args, mapping, changes: &changes, target: target.for_attempt()?, rows: 0 };
    let written = writer.write(&operators, &keyed).and_then(|(savepoint, rows)| {
        let mut store = SavepointWriter::new(storage.clone(), "rewrite");
        Ok((store.complete(savepoint, &folder, SavepointFormat::Canonical)?, rows))
    });
    let (savepoint, rows) = match written {
        Ok(written) => written,
        Err(failure) => {
            // The first error counts.
            let _ = storage.delete_folder(&folder);
            return Err(failure);
        }
    };
    let bytes = savepoint.checkpoint().full_size();
    if json {
        let report =
            serde_json::json!({ "savepoint": args.out.display().to_string(), "rows": rows, "bytes": bytes });
        serde_json::to_writer(&mut *out, &report)?;
        return Ok(writeln!(out)?);
    }
    let (rows, bytes) = (crate::numbers::count(rows), crate::numbers::bytes(bytes));
    Ok(writeln!(out, "savepoint in {}: {rows} rows, {bytes}", args.out.display())?)
}

/// The storage and the folder in it for a new path.
pub fn new_folder(path: &Path) -> Result<(Arc<LocalStorage>, String)> {
    if path.exists() {
        return Err(Failure::Usage(format!("{} exists already", path.display())));
    }
    let absolute = std::path::absolute(path)?;
    let name = absolute.file_name().and_then(|name| name.to_str());
    let (Some(name), Some(parent)) = (name, absolute.parent()) else {
        return Err(Failure::Usage(format!("{} is no name for a folder", path.display())));
    };
    Ok((Arc::new(LocalStorage::open(parent)?), name.to_owned()))
}

/// A savepoint that is being written.
struct Savepoint<'s> {
    source: &'s Source,
    args: &'s Rewrite,
    /// The new one.
    mapping: Option<&'static str>,
    changes: &'s Changes,
    target: AttemptTarget,
    rows: u64,
}

impl Savepoint<'_> {
    fn write(mut self, operators: &[Operator<'_>], keyed: &[Option<Keyed>]) -> Result<(Checkpoint, u64)> {
        let mut tasks = Vec::new();
        let mut names = self.source.checkpoint.operator_names.clone();
        for (operator, keyed) in operators.iter().zip(keyed) {
            let name = names.remove(operator.id);
            if self.changes.is_operator_dropped(operator) {
                continue;
            }
            let id = self.changes.operator_id(operator);
            names.extend(name.map(|name| (id.clone(), name)));
            tasks.extend(self.operator(operator, keyed.as_ref(), &id)?);
        }
        let mut savepoint = Checkpoint::new(self.source.checkpoint.id, tasks);
        savepoint.operator_names = names;
        savepoint.properties = self.source.checkpoint.properties.clone();
        Ok((savepoint, self.rows))
    }

    fn operator(
        &mut self,
        operator: &Operator<'_>,
        keyed: Option<&Keyed>,
        id: &str,
    ) -> Result<Vec<TaskState>> {
        let parallelism = self.args.parallelism.filter(|_| keyed.is_some()).unwrap_or(operator.parallelism());
        self.check(operator, keyed, parallelism)?;
        let mut rows = keyed.map(|keyed| self.keyed(keyed)).transpose()?;
        let mut tasks = Vec::new();
        for index in 0..parallelism {
            let handle = match &mut rows {
                Some(rows) => Some(self.subtask(rows, id, parallelism, index)?),
                None => None,
            };
            let mut task = TaskState::new(id, index, parallelism, handle);
            let old = operator.tasks.iter().filter(|_| parallelism == operator.parallelism());
            if let Some(old) = old.into_iter().find(|task| task.subtask == index) {
                task.properties = old.properties.clone();
                task.operator_state = old.operator_state.clone();
                task.raw_keyed = old.raw_keyed.clone();
                task.raw_operator = old.raw_operator.clone();
                let files = [
                    ("operator", task.operator_state.as_mut().map(|handle| &mut handle.file)),
                    ("rawkeyed", task.raw_keyed.as_mut().map(|handle| &mut handle.file)),
                    ("rawoperator", task.raw_operator.as_mut().map(|handle| &mut handle.file)),
                ];
                for (part, file) in files {
                    if let Some(file) = file {
                        *file = self.copy(file, id, index, part)?;
                    }
                }
            }
            tasks.push(task);
        }
        Ok(tasks)
    }

    /// Refuses changes that would lose state.
    fn check(&self, operator: &Operator<'_>, keyed: Option<&Keyed>, parallelism: u16) -> Result<()> {
        let refuse = |what: &str| Err(Failure::Usage(format!("operator {:?} has {what}", operator.id)));
        let tasks = || operator.tasks.iter();
        let has_other = tasks().any(|task| task.operator_state.is_some() || task.raw_operator.is_some());
        let has_raw_keyed = tasks().any(|task| task.raw_keyed.is_some());
        if parallelism != operator.parallelism() && (has_other || has_raw_keyed) {
            return refuse(
                "operator or raw state, which a restore redistributes: its parallelism cannot be changed here",
            );
        }
        let is_rehashed = keyed.is_some_and(|keyed| self.is_rehashed(keyed));
        if is_rehashed && has_raw_keyed {
            return refuse(
                "raw keyed state, of which the keys are not known: its max parallelism cannot be changed",
            );
        }
        if is_rehashed && keyed.is_some_and(|keyed| self.mapping(keyed) != NATIVE_MAPPING) {
            return refuse(
                "a mapping of keys to groups that is not known: its max parallelism cannot be changed",
            );
        }
        Ok(())
    }

    fn max_parallelism(&self, keyed: &Keyed) -> u16 {
        self.args.max_parallelism.unwrap_or(keyed.max_parallelism)
    }

    fn mapping<'k>(&self, keyed: &'k Keyed) -> &'k str {
        self.mapping.unwrap_or(&keyed.mapping)
    }

    /// True if keys get other key groups.
    fn is_rehashed(&self, keyed: &Keyed) -> bool {
        self.max_parallelism(keyed) != keyed.max_parallelism || self.mapping(keyed) != keyed.mapping
    }

    /// Prepares the states that stay. Rows are put into their new key groups if these change.
    fn keyed<'k>(&self, keyed: &'k Keyed) -> Result<Rows<'k>> {
        let max_parallelism = self.max_parallelism(keyed);
        let mut rows = Rows { keyed, max_parallelism, states: Vec::new() };
        for old in keyed.states().filter(|meta| self.changes.is_state_kept(&meta.name)) {
            let mut state = State {
                old,
                new: StateMeta { name: self.changes.state_name(&old.name), ..old.canonical() },
                types: keyed.types(old)?,
                spill: None,
            };
            if self.is_rehashed(keyed) {
                let mut spill = Spill::new(max_parallelism)?;
                let bar = progress::bar(keyed.stored_bytes(old));
                for group in 0..keyed.max_parallelism {
                    keyed.for_each(old, &state.types, group, &mut |item| {
                        spill.add(state.types.native_group(item.key, max_parallelism)?, &item)
                    })?;
                    bar.inc(keyed.stored(old, group).1);
                }
                bar.finish_and_clear();
                state.spill = Some(spill);
            }
            rows.states.push(state);
        }
        rows.states.sort_by(|a, b| a.new.name.cmp(&b.new.name));
        Ok(rows)
    }

    /// Writes the file of a subtask.
    fn subtask(
        &mut self,
        rows: &mut Rows<'_>,
        id: &str,
        parallelism: u16,
        index: u16,
    ) -> Result<KeyedStateHandle> {
        let range = KeyGroupRange::of_subtask(rows.max_parallelism, parallelism, index)?;
        let checkpoint_id = self.source.checkpoint.id;
        let meta = FileMeta {
            format: row::FORMAT.to_owned(),
            operator: id.to_owned(),
            subtask: index.into(),
            checkpoint_id,
            max_parallelism: rows.max_parallelism.into(),
            key_groups: range.start()..=range.end(),
            key_schema: rows.keyed.key_schema.clone(),
            key_group_mapping: self.mapping(rows.keyed).to_owned(),
            states: rows.states.iter().map(|state| state.new.clone()).collect(),
        };
        let (keys, mut written) = (&self.args.key, 0);
        let file = self.target.write(&meta, false, &Cancel::new(), |writer| {
            let keyed = rows.keyed;
            for (number, state) in (0..).zip(&mut rows.states) {
                for group in range.start()..=range.end() {
                    written += state.write(keyed, number, group, keys, writer)?;
                }
            }
            Ok(true)
        })?;
        self.rows += written;
        Ok(KeyedStateHandle {
            format: row::FORMAT.to_owned(),
            checkpoint_id,
            operator: id.to_owned(),
            range,
            max_parallelism: rows.max_parallelism,
            key_group_mapping: self.mapping(rows.keyed).to_owned(),
            key_schema: rows.keyed.key_schema.clone(),
            files: file.into_iter().collect(),
        })
    }

    /// Copies a file of state that is not keyed, byte by byte. Its checksums are checked.
    fn copy(&self, file: &StateFile, operator: &str, subtask: u16, part: &str) -> Result<StateFile> {
        let storage = &*self.source.storage;
        let reader = file.open(Some(storage)).map_err(missing)?;
        reader.sections().iter().try_for_each(|section| reader.verify(section))?;
        let new = NewFile {
            operator,
            subtask: subtask.into(),
            checkpoint_id: self.source.checkpoint.id,
            part,
            format: &file.format,
            shared: false,
        };
        let bytes = file.open_bytes(Some(storage)).map_err(missing)?;
        Ok(self.target.write_part(new, &Cancel::new(), |sink| {
            let mut at = 0;
            while at < bytes.len() {
                let length = (bytes.len() - at).min(CHUNK as u64);
                sink.write(&bytes.read(at, length as usize)?)?;
                at += length;
            }
            Ok(())
        })?)
    }
}

/// The keyed state of an operator, ready to be written.
struct Rows<'k> {
    keyed: &'k Keyed,
    /// The new one.
    max_parallelism: u16,
    states: Vec<State<'k>>,
}

struct State<'k> {
    old: &'k StateMeta,
    new: StateMeta,
    types: Types,
    /// The rows in their new key groups, if these have changed.
    spill: Option<Spill>,
}

impl State<'_> {
    /// Writes a key group. Returns the number of its rows.
    fn write(
        &mut self,
        keyed: &Keyed,
        number: u16,
        group: u16,
        keys: &[String],
        writer: &mut CheckpointWriter<'_>,
    ) -> backend_api::Result<u64> {
        let mut entries = Group::default();
        let types = &self.types;
        let mut add = |item: crate::rows::Item<'_>| {
            if !keys.is_empty() {
                let key = read_key(&types.key, item.key)?;
                if !keys.iter().any(|wanted| same_key(&key, wanted)) {
                    return Ok(());
                }
            }
            entries.add(item);
            Ok(())
        };
        match &mut self.spill {
            Some(spill) => spill.for_each(group, &mut add)?,
            None => keyed.for_each(self.old, types, group, &mut add)?,
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let mut rows = ItemRows::new(writer, types.shape, types.value.schema());
        rows.begin_section(number, group)?;
        let (mut prefix, mut items, mut timers) = (Vec::new(), 0, Vec::new());
        entries.for_each(&mut |item| {
            prefix.clear();
            if let Place::Timer(time) = item.place {
                time.encode(&mut prefix);
            }
            prefix.extend_from_slice(item.key);
            prefix.extend_from_slice(item.namespace);
            items += 1;
            match item.place {
                Place::Timer(_) => timers.push(prefix.clone()),
                Place::Entry(key) => rows.add(&prefix, key, item.value)?,
                Place::Single | Place::Element(_) => rows.add(&prefix, &[], item.value)?,
            }
            Ok(())
        })?;
        // They are in the order of time, and not of their keys.
        timers.sort_unstable();
        timers.iter().try_for_each(|timer| rows.add(timer, &[], &[]))?;
        rows.finish()?;
        Ok(items)
    }
}

/// Appends bytes with their length.
fn put_sized(bytes: &[u8], out: &mut Vec<u8>) -> backend_api::Result<()> {
    row::encode_sized(out, |out| {
        out.extend_from_slice(bytes);
        Ok(())
    })
}

/// An error of the temporary file.
fn temporary(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("a temporary file: {error}"))
}
