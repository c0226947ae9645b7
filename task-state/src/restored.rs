//! Restored operator state that the program has not registered yet.

use std::sync::Arc;

use backend_api::format::{CANONICAL, CheckpointReader, CheckpointWriter, FileMeta};
use backend_api::{
    Cancel, CheckpointTarget, Error, ErrorKind, KeySchema, OperatorStateMeta, OperatorStatePart,
    Redistribution, Result, StateFile, ValueSchema,
};

use crate::content::FrozenContent;

/// Format of files with operator state.
pub const FORMAT: &str = "operator/1";

/// One state, with its elements in order. Its files stay open, so they may be deleted meanwhile.
#[derive(Clone)]
pub struct Restored {
    pub meta: OperatorStateMeta,
    runs: Vec<Run>,
}

/// The elements of one section.
#[derive(Clone)]
struct Run {
    reader: Arc<CheckpointReader>,
    state: u16,
    skip: u64,
    take: u64,
    /// What canonical values consist of. `None` if the values are those of their codec.
    canonical: Option<ValueSchema>,
}

/// Opens the files of `parts`, each once. Returns the states in the order of their names.
pub fn open(target: &CheckpointTarget, parts: &[OperatorStatePart]) -> Result<Vec<Restored>> {
    let mut files: Vec<(&StateFile, Arc<CheckpointReader>)> = Vec::new();
    let mut states: Vec<Restored> = Vec::new();
    for part in parts {
        let known = files.iter().find(|(file, _)| *file == &part.file);
        let reader = match known {
            Some((_, reader)) => Arc::clone(reader),
            None => {
                let reader = Arc::new(open_file(target, &part.file)?);
                files.push((&part.file, Arc::clone(&reader)));
                reader
            }
        };
        let mut meta = part.meta.clone();
        let is_canonical = meta.options.remove(CANONICAL).is_some();
        let canonical = if is_canonical { value_schema(&meta) } else { None };
        let run = Run { reader, state: part.state, skip: part.skip, take: part.take, canonical };
        run.check(&part.meta)?;
        match states.last_mut().filter(|state| state.meta.name == part.meta.name) {
            Some(state) if (&state.meta.codecs, &state.meta.options) == (&meta.codecs, &meta.options) => {
                state.runs.push(run)
            }
            Some(state) => {
                let (old, new) = (&state.meta.codecs, &part.meta.codecs);
                let message = format!(
                    "the subtasks wrote it with different codecs or versions: one with {old:?}, another with {new:?}"
                );
                return Err(Error::new(ErrorKind::Migration, message).in_state(&part.meta.name));
            }
            None => states.push(Restored { meta, runs: vec![run] }),
        }
    }
    for state in &mut states {
        state.meta.elements = state.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.take));
    }
    Ok(states)
}

fn open_file(target: &CheckpointTarget, file: &StateFile) -> Result<CheckpointReader> {
    let reader = file.open(target.storage().map(|storage| &**storage))?;
    let FileMeta { format, checkpoint_id, .. } = reader.meta();
    if format == FORMAT && *checkpoint_id == file.created_by {
        return Ok(reader);
    }
    let message = format!("the file holds {format:?} of checkpoint {checkpoint_id}, and no operator state");
    Err(Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), None))
}

impl Run {
    /// Checks that the file is the one its handle describes.
    fn check(&self, meta: &OperatorStateMeta) -> Result<()> {
        let found = self.reader.meta().states.get(usize::from(self.state));
        let is_same = found.is_some_and(|found| found.name == meta.name && found.codecs == meta.codecs);
        let sections = self.reader.sections_of(self.state, 0).iter();
        let rows = sections.fold(0, |sum: u64, section| sum.saturating_add(section.rows));
        if is_same && rows == meta.elements && self.skip.saturating_add(self.take) <= rows {
            return Ok(());
        }
        let message = format!("the file contradicts the handle that names it: state {:?}", meta.name);
        Err(Error::new(ErrorKind::Corrupt, message).in_file(self.reader.path(), None))
    }

    fn for_each(&self, mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let end = self.skip + self.take;
        let mut number = 0;
        for section in self.reader.sections_of(self.state, 0) {
            let mut rows = self.reader.rows(section);
            while number < end {
                let Some(row) = rows.next()? else { break };
                if number >= self.skip {
                    f(row).map_err(|error| error.in_file(self.reader.path(), None))?;
                }
                number += 1;
            }
        }
        Ok(())
    }
}

impl Restored {
    /// Calls `f` with the bytes of each element, as its codec writes them.
    pub fn for_each(&self, mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let placed = |error: Error| error.in_state(&self.meta.name);
        let mut values = || {
            self.runs.iter().try_for_each(|run| match &run.canonical {
                None => run.for_each(&mut f),
                Some(schema) => {
                    let (key, mut row) = (key_schema(&self.meta)?, Vec::new());
                    run.for_each(|bytes| {
                        convert(key.as_ref(), bytes, &mut row, |value, row| {
                            schema.decode_canonical(value, row)
                        })?;
                        f(&row)
                    })
                }
            })
        };
        values().map_err(placed)
    }
}

impl FrozenContent for Restored {
    fn elements(&self) -> u64 {
        self.meta.elements
    }

    /// Copies the encoded elements.
    fn write(&self, writer: &mut CheckpointWriter<'_>, is_canonical: bool, cancel: &Cancel) -> Result<()> {
        let canonical = if is_canonical { value_schema(&self.meta) } else { None };
        let key = if canonical.is_some() { key_schema(&self.meta)? } else { None };
        let mut converted = Vec::new();
        self.for_each(|bytes| {
            cancel.check()?;
            let bytes = match &canonical {
                None => bytes,
                Some(schema) => {
                    let encode = |value: &[u8], row: &mut Vec<u8>| schema.encode_canonical(value, row);
                    convert(key.as_ref(), bytes, &mut converted, encode)?;
                    &converted
                }
            };
            writer.row(|row| {
                row.extend_from_slice(bytes);
                Ok(())
            })
        })
    }
}

/// True if the rows of the state can have canonical values: elements, and entries whose keys tell where they end.
pub fn can_be_canonical(meta: &OperatorStateMeta) -> bool {
    key_schema(meta).is_ok()
}

/// What the values of a state consist of, if the id of their codec tells.
fn value_schema(meta: &OperatorStateMeta) -> Option<ValueSchema> {
    meta.codecs.last().and_then(|codec| ValueSchema::parse(codec).ok())
}

/// The keys of a broadcast map.
fn key_schema(meta: &OperatorStateMeta) -> Result<Option<KeySchema>> {
    match (meta.redistribution, meta.codecs.first()) {
        (Redistribution::Broadcast, Some(schema)) => KeySchema::parse(schema).map(Some),
        _ => Ok(None),
    }
}

/// Puts a row with another form of its value into `converted`.
fn convert(
    key: Option<&KeySchema>,
    row: &[u8],
    converted: &mut Vec<u8>,
    value: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let (key, old) = match key {
        Some(schema) => schema.split(row)?,
        None => (&[][..], row),
    };
    converted.clear();
    converted.extend_from_slice(key);
    value(old, converted)
}
