//! Linking the files of another database without rewriting them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use backend_api::Result;
use backend_bytes::EntryKey;
use rocksdb::LiveFile;

use super::{OpenSource, Target};
use crate::database::{Database, Family};
use crate::error::failed;
use crate::ffi;

/// Files of a column family that can become another's.
#[derive(Default)]
struct WholeFiles {
    /// Files whose entries carry sequence numbers, or that overlap no other file. Older ones come first.
    numbered: Vec<PathBuf>,
    /// Files that overlap older ones of `numbered`, by the sequence number that all their entries have. If a
    /// file was written outside of the database, only the database knows that number.
    later: BTreeMap<u64, Vec<PathBuf>>,
}

/// Links the files of a column family into the database. Returns false if that is not possible. Then nothing
/// was added, and the entries must be copied.
pub(super) fn link(
    database: &Database,
    family: Family,
    other: &OpenSource<'_>,
    targets: &[Target],
) -> Result<bool> {
    let Some(WholeFiles { numbered, later }) = whole_files(family, other, targets)? else { return Ok(false) };
    let handle = database.family(family)?;
    if !numbered.is_empty() && !ffi::ingest_linked(database.db(), handle, &numbered) {
        return Ok(false);
    }
    let later: Vec<_> = later.into_values().flatten().collect();
    // RocksDB refuses files that a database wrote: their table properties lack the mark of external files.
    let Err(error) = database.ingest_paths(family, &later) else { return Ok(true) };
    tracing::debug!(%error, "RocksDB does not take the files as they are");
    if !numbered.is_empty() {
        let range = other.source.range;
        for target in targets.iter().filter(|target| target.family == family) {
            let (from, to) = EntryKey::group_range(target.number, range.start()..range.end() + 1);
            database
                .write(0, |db, options| db.delete_range_cf_opt(handle, from, to, options).map_err(failed))?;
        }
    }
    Ok(false)
}

/// The files of a column family, if each holds only key groups within range of one state with the same number
/// here, and the age of overlapping files is known.
fn whole_files(family: Family, other: &OpenSource<'_>, targets: &[Target]) -> Result<Option<WholeFiles>> {
    // An ingested file loses its references to blob files.
    if other.source.manifest.tables.iter().any(|table| table.name.ends_with(".blob")) {
        return Ok(None);
    }
    let state_of = |key: &Option<Vec<u8>>| {
        let EntryKey { state, group, .. } = EntryKey::split(key.as_deref()?)?;
        let keeps_number = targets.get(usize::from(state)).is_some_and(|target| target.number == state);
        (keeps_number && other.source.range.contains(group)).then_some(state)
    };
    // RocksDB lists the newest file first.
    let files = other.db.live_files().map_err(failed)?.into_iter().rev();
    let files: Vec<_> = files.filter(|file| file.column_family_name == family.name()).collect();
    let numbers = ffi::sequence_numbers(&other.db);
    let newest = |file: &LiveFile| {
        let numbers = numbers.get(&file.name).cloned().unwrap_or(0..=u64::MAX);
        let is_single = *numbers.end() > 0 && numbers.start() == numbers.end();
        (*numbers.end(), is_single)
    };
    let mut whole = WholeFiles::default();
    for file in &files {
        if state_of(&file.start_key).is_none_or(|state| state_of(&file.end_key) != Some(state)) {
            return Ok(None);
        }
        let overlaps = |other: &&LiveFile| {
            file.start_key <= other.end_key && other.start_key <= file.end_key && file.name != other.name
        };
        let mut overlapping = files.iter().filter(overlaps).map(newest).peekable();
        // RocksDB puts a slash before the name.
        let path = other.path.join(file.name.trim_start_matches('/'));
        match newest(file) {
            (number, true) if overlapping.peek().is_some() => {
                let is_later =
                    overlapping.all(|(other, is_single)| other < number || is_single && other > number);
                if !is_later {
                    return Ok(None);
                }
                whole.later.entry(number).or_default().push(path);
            }
            _ => whole.numbered.push(path),
        }
    }
    Ok(Some(whole))
}
