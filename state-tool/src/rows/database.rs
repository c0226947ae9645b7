//! Rows in the files of RocksDB.

use std::fmt;

use backend_api::format::StateMeta;
use backend_api::row::decode_sized;
use backend_api::{
    Error, ErrorKind, JobFolder, KeySpace, KeyedStateHandle, Result, StateKey, StateShape, Subtask, TaskState,
};
use backend_bytes::{ByteEngine, ByteStore, EntryKey, OpenedStore};
use backend_rocksdb::{RocksDb, RocksDbOptions, RocksDbStore};
use tempfile::TempDir;

use super::{Item, Place, Visit};
use crate::source::Source;
use crate::types::Types;

/// Memory of a database that is only scanned.
const MEMORY_BYTES: usize = 16 << 20;

/// The database of one subtask, in a folder of its own. The files of the checkpoint are linked into it, or copied.
pub struct Database {
    store: RocksDbStore,
    states: Vec<StateMeta>,
    /// Declared last: the database is closed before its folder is removed.
    _folder: TempDir,
}

impl Database {
    /// Opens the database. Every byte of its files is checked.
    pub fn open(source: &Source, task: &TaskState, handle: &KeyedStateHandle) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // The job only matters for checkpoints, and none is written.
        let options = RocksDbOptions::new(source.storage.clone(), JobFolder::new("state")?, folder.path());
        let options = options.with_memory_budget(MEMORY_BYTES)?;
        let keys = KeySpace::<()>::new(handle.max_parallelism)?;
        let subtask = Subtask::new(&*handle.operator, keys, task.parallelism, task.subtask)?;
        let OpenedStore { store, states, .. } =
            RocksDb::open(&options, &subtask, std::slice::from_ref(handle))?;
        Ok(Self { store, states, _folder: folder })
    }

    /// The states, without those that were dropped.
    pub fn states(&self) -> impl Iterator<Item = &StateMeta> {
        self.states.iter().filter(|meta| !meta.is_dropped())
    }

    /// Calls `visit` with each item of a state in a key group, in order.
    pub fn for_each(&self, meta: &StateMeta, types: &Types, group: u16, visit: &mut Visit<'_>) -> Result<()> {
        let number = self.states.iter().position(|known| known.name == meta.name);
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { return Ok(()) };
        let (from, to) = EntryKey::group_range(number, group..group + 1);
        let mut entries = self.store.scan(&from, &to)?;
        let mut list = List::default();
        while let Some((key, value)) = entries.next()? {
            let mut own = EntryKey::split(key).ok_or_else(short)?.own;
            let time = if types.shape == StateShape::Timer { i64::decode(&mut own)? } else { 0 };
            let (key, rest) = types.key.split(own)?;
            let (namespace, rest) = types.namespace.split(rest)?;
            match types.shape {
                StateShape::Single if rest.is_empty() => {
                    visit(Item { key, namespace, place: Place::Single, value })?;
                }
                StateShape::Timer if rest.is_empty() => {
                    visit(Item { key, namespace, place: Place::Timer(time), value })?;
                }
                StateShape::Map => visit(Item { key, namespace, place: Place::Entry(rest), value })?,
                StateShape::List if rest.len() == EntryKey::SEQUENCE_BYTES => {
                    let mut elements = value;
                    while !elements.is_empty() {
                        let (place, value) = (list.next(key, namespace), decode_sized(&mut elements)?);
                        visit(Item { key, namespace, place, value })?;
                    }
                }
                _ => return Err(Error::new(ErrorKind::Corrupt, "the key of an entry has bytes left over")),
            }
        }
        Ok(())
    }
}

/// Counts the elements of a list over its entries.
#[derive(Default)]
struct List {
    key: Vec<u8>,
    namespace: Vec<u8>,
    next: u64,
}

impl List {
    fn next(&mut self, key: &[u8], namespace: &[u8]) -> Place<'static> {
        if (&*self.key, &*self.namespace) != (key, namespace) {
            *self = Self { key: key.to_vec(), namespace: namespace.to_vec(), next: 0 };
        }
        self.next += 1;
        Place::Element(self.next - 1)
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("states", &self.states.len()).finish_non_exhaustive()
    }
}

#[cold]
fn short() -> Error {
    Error::new(ErrorKind::Corrupt, "the key of an entry is too short")
}
