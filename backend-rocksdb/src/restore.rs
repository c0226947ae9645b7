//! From checkpoints of RocksDB's files to a database.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use backend_api::bytes::OpenedStore;
use backend_api::format::StateMeta;
use backend_api::{Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Result, StateFile, Storage};
use rocksdb::{DB, ReadOptions};

use crate::checkpoints::{CHUNK_BYTES, Checkpoints, Tables};
use crate::database::{Cursor, Database, Family, Setup, SstFile, family_of};
use crate::error::{failed, io_failed};
use crate::manifest::{Manifest, Table};
use crate::working_folder::WorkingFolder;
use crate::writes::Writer;
use crate::{RocksDbOptions, RocksDbStore};

/// Tables that are made to join databases grow to so many bytes.
const JOINED_BYTES: u64 = 64 << 20;

/// A handle, what its manifest says, and the key groups that are taken from it.
struct Part<'h> {
    handle: &'h KeyedStateHandle,
    manifest: Manifest,
    range: KeyGroupRange,
}

/// Opens the database of the key groups `range` with what the handles have of them.
pub(crate) fn open(
    options: &RocksDbOptions,
    (operator, subtask): (&str, u16),
    range: KeyGroupRange,
    handles: &[KeyedStateHandle],
) -> Result<OpenedStore<RocksDbStore>> {
    let storage = options.target.storage().map(|storage| &**storage);
    let mut parts = Vec::new();
    for handle in handles {
        if let Some(range) = handle.range.intersection(range) {
            parts.push(Part { handle, manifest: Manifest::of(handle, storage)?, range });
        }
    }
    // What has the most of it is taken as it is, and the rest goes into that.
    parts.sort_by_key(|part| std::cmp::Reverse((part.range.len(), part.handle.full_size())));
    let setup = Setup::new(options);
    let folder = WorkingFolder::create(&options.working_folder, operator, subtask)?;
    let mut parts = parts.into_iter();
    let Some(base) = parts.next() else {
        let store = store(Database::open(setup, folder)?, options, &[], Tables::new());
        return Ok(OpenedStore { store, states: Vec::new(), sequence: 0 });
    };
    fetch(&base, storage, &Database::path_in(&folder))?;
    let database = Database::open(setup, folder)?;
    let (mut states, mut sequence) = (base.manifest.meta.states.clone(), base.manifest.sequence);
    clip(&database, &states, base.range, &base.manifest)?;
    let mut joined = false;
    for part in parts {
        joined = true;
        sequence = sequence.max(part.manifest.sequence);
        join(&database, &mut states, &part, storage)?;
    }
    let claimed = options.incremental && options.claims_restored && !joined;
    let tables = if claimed { tables_of(&base) } else { Tables::new() };
    Ok(OpenedStore { store: store(database, options, &states, tables), states, sequence })
}

fn store(
    database: Arc<Database>,
    options: &RocksDbOptions,
    states: &[StateMeta],
    base: Tables,
) -> RocksDbStore {
    let families = states.iter().map(|state| Family::of(state.kind)).collect();
    let checkpoints = Checkpoints::new(options.target.clone(), options.incremental, base);
    RocksDbStore::new(Writer::new(database, families), checkpoints)
}

/// The tables that later checkpoints may refer to; none if they are private to this one.
fn tables_of(part: &Part<'_>) -> Tables {
    let files = part.handle.files.iter().skip(1);
    let tables = part.manifest.tables.iter().zip(files).filter(|(_, file)| file.shared);
    tables.map(|(table, file)| (table.name.clone(), (table.clone(), file.clone()))).collect()
}

/// Copies the files of a handle into the new folder `path`; each is checked as a whole.
fn fetch(part: &Part<'_>, storage: Option<&dyn Storage>, path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|error| io_failed(error, path))?;
    for (name, bytes) in &part.manifest.control {
        let path = path.join(name);
        fs::write(&path, bytes).map_err(|error| io_failed(error, &path))?;
    }
    let files = part.handle.files.iter().skip(1);
    part.manifest
        .tables
        .iter()
        .zip(files)
        .try_for_each(|(table, file)| fetch_table(table, file, storage, &path.join(&table.name)))
}

fn fetch_table(table: &Table, file: &StateFile, storage: Option<&dyn Storage>, path: &Path) -> Result<()> {
    let stored = file.open_bytes(storage)?;
    let damaged = |message: String, offset| {
        Err(Error::new(ErrorKind::Corrupt, message).in_file(stored.path(), Some(offset)))
    };
    if stored.len() != table.length {
        let message = format!("the file has {} bytes, {} were written", stored.len(), table.length);
        return damaged(message, stored.len());
    }
    let mut target = File::create(path).map_err(|error| io_failed(error, path))?;
    let (mut crc, mut at) = (crc32fast::Hasher::new(), 0);
    while at < table.length {
        let length = (table.length - at).min(CHUNK_BYTES as u64);
        let bytes = stored.read(at, length as usize)?;
        crc.update(&bytes);
        target.write_all(&bytes).map_err(|error| io_failed(error, path))?;
        at += length;
    }
    if crc.finalize() != table.crc {
        return damaged("the checksum of the file does not match".to_owned(), 0);
    }
    Ok(())
}

/// Where the keys of a state and its groups from `group` on begin.
fn place(state: u16, group: u16) -> [u8; 4] {
    let ([s0, s1], [g0, g1]) = (state.to_be_bytes(), group.to_be_bytes());
    [s0, s1, g0, g1]
}

/// States with their numbers.
fn numbered(states: &[StateMeta]) -> impl Iterator<Item = (u16, &StateMeta)> {
    (0..).zip(states)
}

/// Removes all key groups of the database but those in `range`.
fn clip(database: &Database, states: &[StateMeta], range: KeyGroupRange, manifest: &Manifest) -> Result<()> {
    let held = &manifest.meta.key_groups;
    for (state, meta) in numbered(states) {
        let handle = database.family(Family::of(meta.kind))?;
        // A number that no key group has is above all of them.
        let below = (*held.start() < range.start()).then(|| (0, range.start()));
        let above = (range.end() < *held.end()).then(|| (range.end() + 1, u16::MAX));
        for (from, to) in below.into_iter().chain(above) {
            let (first, behind) = (place(state, from), place(state, to));
            let mut entries = Cursor::new(database.db(), handle, ReadOptions::default(), &first, &behind);
            if entries.next()?.is_none() {
                continue;
            }
            drop(entries);
            // Files that have nothing else; the last key counts as one of them, so this stays well below what is kept.
            let mut last = place(state, to - 1).to_vec();
            last.push(u8::MAX);
            database.db().delete_file_in_range_cf(handle, &first[..], &last).map_err(failed)?;
            database.db().delete_range_cf_opt(handle, first, behind, &database.writes).map_err(failed)?;
        }
    }
    Ok(())
}

/// Adds the key groups of another database, which has none of those that are there.
fn join(
    database: &Database,
    states: &mut Vec<StateMeta>,
    part: &Part<'_>,
    storage: Option<&dyn Storage>,
) -> Result<()> {
    let path = database.fresh_path("join");
    fetch(part, storage, &path)?;
    let other = database.setup.open_read_only(&path)?;
    for (number, meta) in numbered(&part.manifest.meta.states) {
        let known = numbered(states).find(|(_, known)| known.name == meta.name);
        let target = match known {
            Some((target, known)) => {
                known.check_registration(meta)?;
                target
            }
            None => {
                let target = u16::try_from(states.len()).map_err(|_| {
                    Error::new(ErrorKind::Size, "the joined checkpoints have too many states")
                })?;
                states.push(meta.clone());
                target
            }
        };
        copy_state(database, &other, Family::of(meta.kind), (number, target), part.range)?;
    }
    drop(other);
    fs::remove_dir_all(&path).map_err(|error| io_failed(error, &path))
}

/// Copies the key groups `range` of a state, which has another number there, as sorted files.
fn copy_state(
    database: &Database,
    other: &DB,
    family: Family,
    (number, target): (u16, u16),
    range: KeyGroupRange,
) -> Result<()> {
    let (from, to) = (place(number, range.start()), place(number, range.end() + 1));
    let mut reads = ReadOptions::default();
    reads.fill_cache(false);
    let mut entries = Cursor::new(other, family_of(other, family)?, reads, &from, &to);
    let (mut file, mut key) = (None::<SstFile<'_>>, Vec::new());
    while let Some((old, value)) = entries.next()? {
        key.clear();
        key.extend_from_slice(&target.to_be_bytes());
        key.extend(old.iter().skip(2));
        let open = match &mut file {
            Some(open) => open,
            None => file.insert(SstFile::create(database, family)?),
        };
        open.put(&key, value)?;
        if open.size() > JOINED_BYTES
            && let Some(full) = file.take()
        {
            full.ingest()?;
        }
    }
    file.map_or(Ok(()), SstFile::ingest)
}
