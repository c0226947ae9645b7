//! Adding the key groups of another database.

use std::fs;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use backend_api::format::StateMeta;
use backend_api::{Error, ErrorKind, KeyGroupRange, Result};
use backend_bytes::{ByteCursor, EntryKey};
use rocksdb::{DB, ReadOptions};

use super::{OpenSource, Target, link, numbered};
use crate::database::{Cursor, Database, Family, SstFile, SstWriter};
use crate::error::io_failed;
use crate::parallel::{CHUNK_BYTES, for_each_file};

/// Target size of files with copied entries.
const COPY_FILE_BYTES: u64 = 64 << 20;

/// Fewer bytes of a state than this are not worth another thread.
const COPY_PART_BYTES: u64 = 1 << 20;

/// Key groups of a state that are copied by one thread.
struct Copy {
    /// The state's number in the other database.
    from: u16,
    target: Target,
    groups: Range<u16>,
}

/// Adds the key groups of another database. None of them may exist here yet. Returns the numbers that its
/// states have here.
pub(super) fn join(
    database: &Database,
    states: &mut Vec<StateMeta>,
    other: OpenSource<'_>,
) -> Result<Vec<u16>> {
    let metas = &other.source.manifest.meta.states;
    let targets = metas.iter().map(|meta| target(states, meta)).collect::<Result<Vec<_>>>()?;
    for family in Family::ALL {
        if !link::link(database, family, &other, &targets)? {
            copy(database, family, &other, &targets)?;
        }
    }
    let OpenSource { path, db, .. } = other;
    drop(db);
    fs::remove_dir_all(&path).map_err(|error| io_failed(error, &path))?;
    Ok(targets.iter().map(|target| target.number).collect())
}

/// The target of a state, which is added to `states` if it is new. Parts that were written with different codecs or versions
/// are states of their own, and become one when the state is registered.
fn target(states: &mut Vec<StateMeta>, meta: &StateMeta) -> Result<Target> {
    let family = Family::of(meta.kind);
    for (number, known) in numbered(states).filter(|(_, known)| known.name == meta.name) {
        known.check_keys(meta)?;
        if known.check_registration(meta).is_ok() {
            return Ok(Target { number, family });
        }
    }
    let number = u16::try_from(states.len())
        .map_err(|_| Error::new(ErrorKind::Size, "the joined checkpoints have too many states"))?;
    states.push(meta.clone());
    Ok(Target { number, family })
}

/// Copies the valid entries of a column family.
fn copy(database: &Database, family: Family, other: &OpenSource<'_>, targets: &[Target]) -> Result<()> {
    let threads = database.setup.transfer_threads;
    let mut copies = Vec::new();
    for (from, target) in (0..).zip(targets).filter(|(_, target)| target.family == family) {
        let groups = divide(&other.db, family, from, other.source.range, threads)?;
        copies.extend(groups.into_iter().map(|groups| Copy { from, target: *target, groups }));
    }
    let written = Mutex::new(Vec::new());
    for_each_file(&copies, threads, |copy| {
        let files = copy_groups(database, &other.db, copy)?;
        written.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
        Ok(())
    })?;
    database.ingest(family, &written.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Divides the key groups of a state into parts that are worth a thread each.
fn divide(
    other: &DB,
    family: Family,
    state: u16,
    range: KeyGroupRange,
    threads: usize,
) -> Result<Vec<Range<u16>>> {
    let (from, to) = EntryKey::group_range(state, range.start()..range.end() + 1);
    let sizes = other.get_approximate_sizes_cf(family.handle(other)?, &[rocksdb::Range::new(&from, &to)]);
    let (bytes, groups) = (sizes.iter().sum::<u64>(), range.len());
    let parts = usize::try_from(bytes / COPY_PART_BYTES).unwrap_or(usize::MAX);
    let parts = parts.clamp(1, threads.min(groups).max(1));
    // No sum exceeds the last key group.
    let begin = |part: usize| range.start() + (groups * part / parts) as u16;
    Ok((0..parts).map(|part| begin(part)..begin(part + 1)).collect())
}

/// Writes sorted files of some key groups of a state, with the state's number here.
fn copy_groups(database: &Database, other: &DB, copy: &Copy) -> Result<Vec<SstFile>> {
    let Copy { from, target, groups } = copy;
    let (first, end) = EntryKey::group_range(*from, groups.clone());
    let mut reads = ReadOptions::default();
    reads.fill_cache(false);
    reads.set_readahead_size(CHUNK_BYTES);
    // Each byte of the files was checked when they were fetched.
    reads.set_verify_checksums(false);
    let mut entries = Cursor::new(other, target.family.handle(other)?, reads, &first, &end);
    let (mut files, mut file, mut key) = (Vec::new(), None::<SstWriter<'_>>, Vec::new());
    while let Some((old, value)) = entries.next()? {
        key.clear();
        key.extend_from_slice(&target.number.to_be_bytes());
        key.extend_from_slice(EntryKey::without_state(old));
        let open = match &mut file {
            Some(open) => open,
            None => file.insert(SstWriter::create(database, target.family)?),
        };
        open.put(&key, value)?;
        if open.size() > COPY_FILE_BYTES
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
