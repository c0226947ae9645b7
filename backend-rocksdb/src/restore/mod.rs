//! Restoring a database from checkpoints of RocksDB's files.
//!
//! The handle with the most key groups becomes the database, and groups of other subtasks are removed from
//! it. The groups of the other handles are added by linking their files unchanged where possible, and by
//! copying entries otherwise.

mod clip;
mod fetch;
mod join;
mod link;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use backend_api::format::StateMeta;
use backend_api::{KeyGroupRange, KeyedStateHandle, Result, Storage};
use backend_bytes::{LayerState, OpenedStore};
use rocksdb::DB;

use crate::database::{Database, Family, Setup};
use crate::snapshot::manifest::Manifest;
use crate::snapshot::{Checkpoints, StoredTable, StoredTables};
use crate::working_folder::WorkingFolder;
use crate::writes::Writer;
use crate::{RocksDbOptions, RocksDbStore};

/// Pending writes may take this fraction of the memory budget while they wait for a snapshot point.
const PENDING_SHARE: usize = 16;

/// A handle with its manifest, and the key groups that are taken from it.
struct Source<'h> {
    handle: &'h KeyedStateHandle,
    manifest: Manifest,
    range: KeyGroupRange,
}

/// Where a state of another database goes.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// The state's number here.
    number: u16,
    family: Family,
}

/// A source that is to be joined, fetched to `path` and opened.
struct OpenSource<'h> {
    source: Source<'h>,
    path: PathBuf,
    db: DB,
}

/// Opens the database of a subtask from the key groups in the handles.
pub(crate) fn open(
    options: &RocksDbOptions,
    operator: &str,
    subtask: u16,
    range: KeyGroupRange,
    handles: &[KeyedStateHandle],
) -> Result<OpenedStore<RocksDbStore>> {
    let storage = options.target.storage().map(|storage| &**storage);
    let mut sources = Vec::new();
    for handle in handles {
        if let Some(range) = handle.range.intersection(range) {
            sources.push(Source { handle, manifest: Manifest::of(handle, storage)?, range });
        }
    }
    // The first becomes the database.
    sources.sort_by_key(|source| std::cmp::Reverse((source.range.len(), source.handle.full_size())));
    let setup = Setup::new(options);
    let folder = WorkingFolder::create(&options.working_folder, operator, subtask)?;
    setup.check(&folder.path().join("check"))?;
    let mut sources = sources.into_iter();
    let Some(base) = sources.next() else {
        let store = store(Database::open(setup, folder)?, options, &[], None)?;
        return Ok(OpenedStore { store, states: Vec::new(), layer: LayerState::default() });
    };
    let is_joined = sources.len() > 0;
    let root = folder.path().to_owned();
    let mut others = sources.zip((0..).map(|number| root.join(format!("join-{number}"))));
    let (db, mut next) = with_next(&setup, others.next(), storage, || {
        let path = Database::path_in(&folder);
        fetch::fetch(&base, storage, &path, setup.transfer_threads)?;
        setup.open(&path)
    })?;
    let database = Database::of(db, setup, folder);
    let Manifest { meta, layer, .. } = &base.manifest;
    let (mut states, mut layer) = (meta.states.clone(), layer.clone());
    clip::clip(&database, &base)?;
    while let Some(other) = next {
        let added = other.source.manifest.layer.clone();
        let (numbers, following) =
            with_next(&database.setup, others.next(), storage, || join::join(&database, &mut states, other))?;
        layer.join(added, &numbers);
        next = following;
    }
    let is_claimed = options.incremental && options.claims_restored && !is_joined;
    let claimed = is_claimed.then(|| (base.handle.checkpoint_id, shared_tables(&base)));
    Ok(OpenedStore { store: store(database, options, &states, claimed)?, states, layer })
}

fn store(
    database: Arc<Database>,
    options: &RocksDbOptions,
    states: &[StateMeta],
    claimed: Option<(u64, StoredTables)>,
) -> Result<RocksDbStore> {
    let families = states.iter().map(|state| Family::of(state.kind)).collect();
    let threads = options.transfer_threads.into();
    let checkpoints = Checkpoints::new(options.target.for_attempt()?, options.incremental, threads, claimed);
    let pending_bytes_max = options.memory_budget / PENDING_SHARE;
    Ok(RocksDbStore::new(Writer::new(database, families), checkpoints, pending_bytes_max))
}

/// The tables that later checkpoints may refer to. Excludes tables that are private to their checkpoint.
fn shared_tables(source: &Source<'_>) -> StoredTables {
    let files = source.handle.files.iter().skip(1);
    let tables = source.manifest.tables.iter().zip(files).filter(|(_, file)| file.shared);
    tables
        .map(|(table, file)| (table.name.clone(), StoredTable { table: table.clone(), file: file.clone() }))
        .collect()
}

/// Does some work. Another thread fetches and opens the next source meanwhile, if there is one.
fn with_next<'h, T>(
    setup: &Setup,
    next: Option<(Source<'h>, PathBuf)>,
    storage: Option<&dyn Storage>,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Option<OpenSource<'h>>)> {
    let open = |source: Source<'h>, path: PathBuf| -> Result<_> {
        fetch::fetch(&source, storage, &path, setup.transfer_threads)?;
        let db = setup.open_read_only(&path)?;
        Ok(OpenSource { source, path, db })
    };
    thread::scope(|scope| {
        let next = next.map(|(source, path)| scope.spawn(move || open(source, path)));
        let done = work();
        let next = next.map(|next| next.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok((done?, next.transpose()?))
    })
}

/// States with their numbers.
fn numbered(states: &[StateMeta]) -> impl Iterator<Item = (u16, &StateMeta)> {
    (0..).zip(states)
}
