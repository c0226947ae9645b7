//! From checkpoints of RocksDB's files to a database.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use backend_api::format::StateMeta;
use backend_api::{Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Result, StateData, StateFile, Storage};
use backend_bytes::{EntryKey, LayerState, OpenedStore};
use rocksdb::{ColumnFamily, DB, LiveFile, ReadOptions};

use crate::adopt::{adopt, is_external, numbers_of_files};
use crate::checkpoints::{CHUNK_BYTES, Checkpoints, FILES_AT_ONCE, Tables, several_at_once};
use crate::database::{Cursor, Database, Family, LoadFile, Setup, SstFile, family_of};
use crate::error::{failed, io_failed};
use crate::manifest::{Manifest, Table};
use crate::working_folder::WorkingFolder;
use crate::writes::Writer;
use crate::{RocksDbOptions, RocksDbStore};

/// Tables that are made to join databases grow to so many bytes.
const JOINED_BYTES: u64 = 64 << 20;

/// So many bytes of a state are worth a thread that copies them.
const PART_BYTES: u64 = 1 << 20;

/// Of the memory budget, one in so many bytes may be writes that wait for a checkpoint.
const HELD_SHARE: usize = 16;

/// A handle, what its manifest says, and the key groups that are taken from it.
struct Part<'h> {
    handle: &'h KeyedStateHandle,
    manifest: Manifest,
    range: KeyGroupRange,
}

/// A part that is to be joined to others, and its database, of which the files lie in `path`.
struct Other<'h> {
    part: Part<'h>,
    path: PathBuf,
    db: DB,
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
        let store = store(Database::open(setup, folder)?, options, &[], Tables::new())?;
        return Ok(OpenedStore { store, states: Vec::new(), layer: LayerState::default() });
    };
    let places = (0..).map(|number| folder.path().join(format!("join-{number}")));
    let others: Vec<_> = parts.zip(places).collect();
    let joined = !others.is_empty();
    let mut others = others.into_iter();
    let (db, mut opened) = with_next(&setup, others.next(), storage, || {
        let path = Database::path_in(&folder);
        fetch(&base, storage, &path)?;
        setup.open(&path)
    })?;
    let database = Database::of(db, setup, folder);
    let (mut states, mut layer) = (base.manifest.meta.states.clone(), base.manifest.layer.clone());
    clip(&database, &states, base.range, &base.manifest)?;
    while let Some(other) = opened {
        let more = other.part.manifest.layer.clone();
        let (numbers, next) =
            with_next(&database.setup, others.next(), storage, || join(&database, &mut states, other))?;
        layer.join(more, &numbers);
        opened = next;
    }
    let claimed = options.incremental && options.claims_restored && !joined;
    let tables = if claimed { tables_of(&base) } else { Tables::new() };
    Ok(OpenedStore { store: store(database, options, &states, tables)?, states, layer })
}

fn store(
    database: Arc<Database>,
    options: &RocksDbOptions,
    states: &[StateMeta],
    base: Tables,
) -> Result<RocksDbStore> {
    let families = states.iter().map(|state| Family::of(state.kind)).collect();
    let checkpoints = Checkpoints::new(options.target.for_attempt()?, options.incremental, base);
    Ok(RocksDbStore::new(Writer::new(database, families), checkpoints, options.memory_budget / HELD_SHARE))
}

/// The tables that later checkpoints may refer to; none if they are private to this one.
fn tables_of(part: &Part<'_>) -> Tables {
    let files = part.handle.files.iter().skip(1);
    let tables = part.manifest.tables.iter().zip(files).filter(|(_, file)| file.shared);
    tables.map(|(table, file)| (table.name.clone(), (table.clone(), file.clone()))).collect()
}

/// Links the files of a handle into the new folder `path`, or copies them; each is checked as a whole.
fn fetch(part: &Part<'_>, storage: Option<&dyn Storage>, path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|error| io_failed(error, path))?;
    for (name, bytes) in &part.manifest.control {
        let path = path.join(name);
        fs::write(&path, bytes).map_err(|error| io_failed(error, &path))?;
    }
    let tables: Vec<_> = part.manifest.tables.iter().zip(part.handle.files.iter().skip(1)).collect();
    several_at_once(&tables, |(table, file)| fetch_table(table, file, storage, &path.join(&table.name)))
}

fn fetch_table(table: &Table, file: &StateFile, storage: Option<&dyn Storage>, path: &Path) -> Result<()> {
    let failed = |error| io_failed(error, path);
    // RocksDB does not change a table, and where it deletes one that is only its own name for it.
    if is_linked(file, storage, path) {
        let mut linked = File::open(path).map_err(failed)?;
        let length = linked.metadata().map_err(failed)?.len();
        let mut chunk = vec![0; CHUNK_BYTES];
        return check_table(table, &file.name, length, |_, length| {
            let bytes = chunk.get_mut(..length).unwrap_or_default();
            linked.read_exact(bytes).map_err(failed)?;
            Ok(crc32fast::hash(bytes))
        });
    }
    let stored = file.open_bytes(storage)?;
    let mut copy = File::create(path).map_err(failed)?;
    check_table(table, stored.path(), stored.len(), |at, length| {
        let bytes = stored.read(at, length)?;
        copy.write_all(&bytes).map_err(failed)?;
        Ok(crc32fast::hash(&bytes))
    })
}

/// Checks length and checksum of a table; `checksum` reads so many bytes from a place on, one part after the other.
fn check_table(
    table: &Table,
    name: &str,
    length: u64,
    mut checksum: impl FnMut(u64, usize) -> Result<u32>,
) -> Result<()> {
    let damaged =
        |message: String, offset| Err(Error::new(ErrorKind::Corrupt, message).in_file(name, Some(offset)));
    if length != table.length {
        let message = format!("the file has {length} bytes, {} were written", table.length);
        return damaged(message, length);
    }
    let (mut crc, mut at) = (crc32fast::Hasher::new(), 0);
    while at < length {
        let part = (length - at).min(CHUNK_BYTES as u64);
        crc.combine(&crc32fast::Hasher::new_with_initial_len(checksum(at, part as usize)?, part));
        at += part;
    }
    if crc.finalize() != table.crc {
        return damaged("the checksum of the file does not match".to_owned(), 0);
    }
    Ok(())
}

/// Makes `path` another name of a stored file, if that is possible.
fn is_linked(file: &StateFile, storage: Option<&dyn Storage>, path: &Path) -> bool {
    let StateData::File { path: stored, .. } = &file.data else { return false };
    let local = storage.and_then(|storage| storage.local_path(stored));
    local.is_some_and(|local| fs::hard_link(local, path).is_ok())
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
            let (first, behind) = EntryKey::group_range(state, from..to);
            let mut entries = Cursor::new(database.db(), handle, ReadOptions::default(), &first, &behind);
            if entries.next()?.is_none() {
                continue;
            }
            drop(entries);
            // Files that have nothing else; the last key counts as one of them, so this stays well below what is kept.
            let mut last = EntryKey::head_of(state, to - 1).to_vec();
            last.push(u8::MAX);
            database.db().delete_file_in_range_cf(handle, &first[..], &last).map_err(failed)?;
            database.db().delete_range_cf_opt(handle, first, behind, &database.writes).map_err(failed)?;
        }
    }
    Ok(())
}

/// Does some work, and fetches and opens the next part meanwhile, if there is one.
fn with_next<'h, T>(
    setup: &Setup,
    next: Option<(Part<'h>, PathBuf)>,
    storage: Option<&dyn Storage>,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Option<Other<'h>>)> {
    let open = |(part, path): (Part<'h>, PathBuf)| -> Result<_> {
        fetch(&part, storage, &path)?;
        let db = setup.open_read_only(&path)?;
        Ok(Other { part, path, db })
    };
    thread::scope(|scope| {
        let next = next.map(|next| scope.spawn(|| open(next)));
        let done = work();
        let next = next.map(|next| next.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok((done?, next.transpose()?))
    })
}

/// Adds the key groups of another database, which has none of those that are there. Gives the numbers that its states
/// have here.
fn join(database: &Database, states: &mut Vec<StateMeta>, other: Other<'_>) -> Result<Vec<u16>> {
    let Other { part, path, db: other } = other;
    let mut targets = Vec::new();
    for meta in &part.manifest.meta.states {
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
        targets.push((target, Family::of(meta.kind)));
    }
    for family in Family::ALL {
        let handle = database.family(family)?;
        if let Some(WholeFiles { numbered, later }) =
            whole_files(&other, &path, family, &targets, part.range)?
            && (numbered.is_empty() || adopt(database.db(), handle, &numbered))
        {
            let later: Vec<_> = later.into_values().flatten().map(LoadFile).collect();
            database.ingest(family, &later)?;
            continue;
        }
        let from = (&other, family_of(&other, family)?);
        let states = (0..).zip(&targets).filter(|(_, (_, of))| *of == family);
        let parts = states.flat_map(|(number, &(target, _))| {
            divided(from, number, part.range).into_iter().map(move |groups| (number, target, groups))
        });
        let parts: Vec<_> = parts.collect();
        let copies = Mutex::new(Vec::new());
        several_at_once(&parts, |(number, target, groups)| {
            let files = copy_groups(database, family, from, (*number, *target), groups.clone())?;
            copies.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
            Ok(())
        })?;
        database.ingest(family, &copies.into_inner().unwrap_or_else(PoisonError::into_inner))?;
    }
    drop(other);
    fs::remove_dir_all(&path).map_err(|error| io_failed(error, &path))?;
    Ok(targets.into_iter().map(|(number, _)| number).collect())
}

/// Files of a column family that can become another's as they are.
#[derive(Default)]
struct WholeFiles {
    /// Those of which the entries have numbers, or that have nothing to do with others; the older ones come first.
    numbered: Vec<PathBuf>,
    /// Those that are newer than what they have to do with of these, by the numbers that their entries were given.
    later: BTreeMap<u64, Vec<PathBuf>>,
}

/// The files of a column family, if each holds nothing but key groups in `range` of one state that has the same number there,
/// and it is known which are the newer ones of those that have keys in common.
fn whole_files(
    other: &DB,
    path: &Path,
    family: Family,
    targets: &[(u16, Family)],
    range: KeyGroupRange,
) -> Result<Option<WholeFiles>> {
    let fits = |key: &Option<Vec<u8>>| {
        let EntryKey { state, group, .. } = EntryKey::split(key.as_deref()?)?;
        let keeps_number = targets.get(usize::from(state)).is_some_and(|(target, _)| *target == state);
        (keeps_number && range.contains(group)).then_some(state)
    };
    // They come newest first.
    let files = other.live_files().map_err(failed)?.into_iter().rev();
    let files: Vec<_> = files.filter(|file| file.column_family_name == family.name()).collect();
    let numbers = numbers_of_files(other);
    let numbers = |file: &LiveFile| {
        let numbers = numbers.get(&file.name).cloned().unwrap_or(0..=u64::MAX);
        // One that they have in common may be known only to the database.
        let common = *numbers.end() > 0 && numbers.start() == numbers.end();
        (*numbers.end(), common)
    };
    let mut whole = WholeFiles::default();
    for file in &files {
        if fits(&file.start_key).is_none_or(|state| fits(&file.end_key) != Some(state)) {
            return Ok(None);
        }
        let overlap = |other: &&LiveFile| {
            file.start_key <= other.end_key && other.start_key <= file.end_key && file.name != other.name
        };
        let mut overlapping = files.iter().filter(overlap).map(numbers).peekable();
        let path = path.join(file.name.trim_start_matches('/'));
        match numbers(file) {
            (number, true) if overlapping.peek().is_some() => {
                let is_later = overlapping.all(|(other, common)| other < number || common && other > number);
                if !is_later || !is_external(&path)? {
                    return Ok(None);
                }
                whole.later.entry(number).or_default().push(path);
            }
            _ => whole.numbered.push(path),
        }
    }
    Ok(Some(whole))
}

/// Key groups of a state in parts that are worth to be copied beside one another.
fn divided((other, family): (&DB, &ColumnFamily), number: u16, range: KeyGroupRange) -> Vec<Range<u16>> {
    let (from, to) = EntryKey::group_range(number, range.start()..range.end() + 1);
    let bytes: u64 = other.get_approximate_sizes_cf(family, &[rocksdb::Range::new(&from, &to)]).iter().sum();
    let groups = range.len();
    let parts = usize::try_from(bytes / PART_BYTES).unwrap_or(usize::MAX).clamp(1, FILES_AT_ONCE.min(groups));
    // No sum is above the last key group.
    let begin = |part: usize| range.start() + (groups * part / parts) as u16;
    (0..parts).map(|part| begin(part)..begin(part + 1)).collect()
}

/// Makes sorted files of some key groups of a state, which has another number there.
fn copy_groups(
    database: &Database,
    family: Family,
    (other, other_family): (&DB, &ColumnFamily),
    (number, target): (u16, u16),
    groups: Range<u16>,
) -> Result<Vec<LoadFile>> {
    let (from, to) = EntryKey::group_range(number, groups);
    let mut reads = ReadOptions::default();
    reads.fill_cache(false);
    reads.set_readahead_size(CHUNK_BYTES);
    // Each byte of the files was checked.
    reads.set_verify_checksums(false);
    let mut entries = Cursor::new(other, other_family, reads, &from, &to);
    let (mut files, mut file, mut key) = (Vec::new(), None::<SstFile<'_>>, Vec::new());
    while let Some((old, value)) = entries.next()? {
        key.clear();
        key.extend_from_slice(&target.to_be_bytes());
        key.extend_from_slice(EntryKey::without_state(old));
        let open = match &mut file {
            Some(open) => open,
            None => file.insert(SstFile::create(database, family)?),
        };
        open.put(&key, value)?;
        if open.size() > JOINED_BYTES
            && let Some(full) = file.take()
        {
            files.push(full.finish()?);
        }
    }
    if let Some(last) = file {
        files.push(last.finish()?);
    }
    Ok(files)
}
