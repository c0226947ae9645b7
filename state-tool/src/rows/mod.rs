//! The rows of keyed state, from the files of any backend.

#[cfg(feature = "rocksdb")]
mod database;
mod decode;
mod group;

use std::collections::BTreeMap;

use backend_api::format::{SectionKind, StateMeta};
use backend_api::restore::{RestorePlan, RestoredState};
use backend_api::{Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Result, TaskState, row};

pub use decode::check_row;
pub use group::Group;

use crate::failure::{self, Failure};
use crate::source::{Operator, Source, missing};
use crate::types::Types;

/// The format of handles of RocksDB's files.
pub const ROCKSDB_FORMAT: &str = "rocksdb/1";

/// A value, an element of a list, an entry of a map or a timer.
#[derive(Clone, Copy, Debug)]
pub struct Item<'i> {
    /// Encoded key.
    pub key: &'i [u8],
    /// Encoded namespace.
    pub namespace: &'i [u8],
    /// Where it is under key and namespace.
    pub place: Place<'i>,
    /// Bytes of the value by its codec.
    pub value: &'i [u8],
}

/// Where an item is under its key and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place<'i> {
    /// It is all that is there.
    Single,
    /// The element of a list with this index.
    Element(u64),
    /// The entry of a map with this encoded key.
    Entry(&'i [u8]),
    /// The timer with this time. It has no value.
    Timer(i64),
}

/// What is called with each item.
pub type Visit<'v> = dyn FnMut(Item<'_>) -> Result<()> + 'v;

/// The keyed state of an operator. All its files are open.
#[derive(Debug)]
pub struct Keyed {
    /// Schema of the keys.
    pub key_schema: String,
    /// Number of key groups.
    pub max_parallelism: u16,
    /// Mapping from keys to groups.
    pub mapping: String,
    /// Format of the first handle.
    pub format: String,
    parts: Vec<Part>,
    /// The states by their names.
    states: BTreeMap<String, StateMeta>,
}

/// The state of one subtask.
#[derive(Debug)]
struct Part {
    range: KeyGroupRange,
    rows: RestorePlan,
    #[cfg(feature = "rocksdb")]
    database: Option<database::Database>,
}

impl Keyed {
    /// Opens all files of an operator's keyed state. `None` if it has none.
    pub fn open(source: &Source, operator: &Operator<'_>) -> Result<Option<Self>> {
        let handles: Vec<_> =
            operator.tasks.iter().filter_map(|task| Some((*task, task.keyed.as_ref()?))).collect();
        let Some((_, first)) = handles.first() else { return Ok(None) };
        let mut keyed = Self {
            key_schema: first.key_schema.clone(),
            max_parallelism: first.max_parallelism,
            mapping: first.key_group_mapping.clone(),
            format: first.format.clone(),
            parts: Vec::new(),
            states: BTreeMap::new(),
        };
        for (task, handle) in handles {
            let part = Part::open(source, task, handle).map_err(missing)?;
            part.metas().for_each(|meta| {
                keyed.states.entry(meta.name.clone()).or_insert_with(|| meta.with_codec_values());
            });
            keyed.parts.push(part);
        }
        Ok(Some(keyed))
    }

    /// The states, by their names.
    pub fn states(&self) -> impl Iterator<Item = &StateMeta> {
        self.states.values()
    }

    /// The state of that name.
    pub fn state(&self, name: &str) -> Option<&StateMeta> {
        self.states.get(name)
    }

    /// The types of a state.
    pub fn types(&self, meta: &StateMeta) -> Result<Types> {
        Ok(Types::of(&self.key_schema, meta)?.with_groups(&self.mapping, self.max_parallelism))
    }

    /// Calls `visit` with each item of a state in a key group, in any order.
    pub fn for_each(&self, meta: &StateMeta, types: &Types, group: u16, visit: &mut Visit<'_>) -> Result<()> {
        for part in self.parts.iter().filter(|part| part.range.contains(group)) {
            part.for_each(meta, types, group, visit)
                .map_err(|error| error.in_state(&meta.name).in_group(group))?;
        }
        Ok(())
    }

    /// [`for_each`](Self::for_each) with a `visit` that may fail in its own way.
    pub fn scan(
        &self,
        meta: &StateMeta,
        types: &Types,
        group: u16,
        mut visit: impl FnMut(Item<'_>) -> failure::Result<()>,
    ) -> failure::Result<()> {
        let mut failed = None;
        let result = self.for_each(meta, types, group, &mut |item| {
            visit(item).map_err(|failure| match failure {
                Failure::State(error) => error,
                other => {
                    failed = Some(other);
                    Error::new(ErrorKind::Cancelled, "the scan has ended")
                }
            })
        });
        match failed {
            Some(failure) => Err(failure),
            None => Ok(result?),
        }
    }

    /// Rows and bytes of a state in a key group by the indexes of the files, without reading a row.
    pub fn stored(&self, meta: &StateMeta, group: u16) -> (u64, u64) {
        let parts = self.parts.iter().filter(|part| part.range.contains(group));
        let states = parts.filter_map(|part| part.rows.state(&meta.name));
        let sections = states.flat_map(|state| state.chain(group)).map(|part| part.section());
        sections.fold((0, 0), |(rows, bytes), section| {
            (section.rows.saturating_add(rows), section.raw_bytes.saturating_add(bytes))
        })
    }

    /// Bytes of a state by the indexes of the files.
    pub fn stored_bytes(&self, meta: &StateMeta) -> u64 {
        (0..self.max_parallelism).fold(0, |sum: u64, group| self.stored(meta, group).1.saturating_add(sum))
    }
}

impl Part {
    fn open(source: &Source, task: &TaskState, handle: &KeyedStateHandle) -> Result<Self> {
        match &*handle.format {
            format if row::has_rows(format) => Ok(Self {
                range: handle.range,
                rows: RestorePlan::open_handle(handle, Some(&*source.storage))?,
                #[cfg(feature = "rocksdb")]
                database: None,
            }),
            ROCKSDB_FORMAT => Self::open_database(source, task, handle),
            other => {
                let message = format!("state of the format {other:?} is not known");
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    #[cfg(feature = "rocksdb")]
    fn open_database(source: &Source, task: &TaskState, handle: &KeyedStateHandle) -> Result<Self> {
        let database = database::Database::open(source, task, handle)?;
        let (files, format) = (handle.files.iter(), row::FORMAT.to_owned());
        let files = files.filter(|file| file.format == row::FORMAT).cloned().collect();
        let rows = KeyedStateHandle { format, files, ..handle.clone() };
        let rows = RestorePlan::open_handle(&rows, Some(&*source.storage))?;
        Ok(Self { range: handle.range, rows, database: Some(database) })
    }

    #[cfg(not(feature = "rocksdb"))]
    fn open_database(_source: &Source, _task: &TaskState, handle: &KeyedStateHandle) -> Result<Self> {
        let message = format!(
            "the state of operator {:?} is in files of RocksDB, which this build cannot read: build it with \
             --features rocksdb",
            handle.operator
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    fn metas(&self) -> impl Iterator<Item = &StateMeta> {
        let rows = self.rows.states().filter_map(|state| state.metas().first());
        #[cfg(feature = "rocksdb")]
        let rows = rows.chain(self.database.iter().flat_map(|database| database.states()));
        rows
    }

    fn for_each(&self, meta: &StateMeta, types: &Types, group: u16, visit: &mut Visit<'_>) -> Result<()> {
        #[cfg(feature = "rocksdb")]
        if let Some(database) = &self.database {
            database.for_each(meta, types, group, visit)?;
        }
        match self.rows.state(&meta.name) {
            Some(state) => each_of_rows(state, meta, types, group, visit),
            None => Ok(()),
        }
    }
}

/// Calls `visit` with each item of a key group: at once if its rows are in one section, and after they were put together
/// otherwise.
fn each_of_rows(
    state: &RestoredState,
    meta: &StateMeta,
    types: &Types,
    group: u16,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let is_other = |other: &StateMeta| {
        (&other.codecs, &other.namespace_schema) != (&meta.codecs, &meta.namespace_schema)
    };
    if state.metas().iter().any(is_other) {
        let message = "its rows were written with different types, which cannot be read together";
        return Err(Error::new(ErrorKind::Unsupported, message).in_state(&meta.name));
    }
    let state = state.with_codec_values()?;
    match state.chain(group) {
        [] => Ok(()),
        [only] if only.section().kind == SectionKind::Full => {
            only.for_each_raw_row(|row| decode::each_item(types, row, visit))
        }
        chain => {
            let mut entries = Group::default();
            for section in chain {
                let kind = section.section().kind;
                section.for_each_raw_row(|row| entries.apply(types, kind, row))?;
            }
            entries.for_each(visit)
        }
    }
}
