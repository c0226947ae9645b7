//! Removing key groups that a subtask does not have.

use backend_api::Result;
use backend_bytes::{ByteCursor, EntryKey};
use rocksdb::{BottommostLevelCompaction, CompactOptions, ReadOptions};

use super::{Source, numbered};
use crate::database::{Cursor, Database, Family};
use crate::error::failed;

/// A column family is compacted if its files have more than this many times the bytes of the key groups that
/// stay.
const WASTE_FACTOR: u64 = 2;

/// The excess must also be at least this many bytes.
const WASTE_MIN: u64 = 64 << 10;

/// Removes all key groups from the database except those that are taken from its source.
///
/// Removed groups that share files with others stay part of every checkpoint until a compaction. If they
/// outweigh the remaining groups, this compacts the files.
pub(super) fn clip(database: &Database, source: &Source<'_>) -> Result<()> {
    let held = &source.manifest.meta.key_groups;
    let range = source.range;
    // A number above all key groups.
    let below = (*held.start() < range.start()).then(|| 0..range.start());
    let above = (range.end() < *held.end()).then(|| range.end() + 1..u16::MAX);
    let removed: Vec<_> = below.into_iter().chain(above).collect();
    for (state, meta) in numbered(&source.manifest.meta.states) {
        let handle = database.family(Family::of(meta.kind))?;
        for groups in &removed {
            let (first, end) = EntryKey::group_range(state, groups.clone());
            let mut entries = Cursor::new(database.db(), handle, ReadOptions::default(), &first, &end);
            if entries.next()?.is_none() {
                continue;
            }
            drop(entries);
            // Deletes files that contain nothing else. Their last key can equal `last`, so `last` must be far
            // below what stays.
            let mut last = EntryKey::head_of(state, groups.end - 1).to_vec();
            last.push(u8::MAX);
            database.db().delete_file_in_range_cf(handle, &first[..], &last).map_err(failed)?;
            database.write(0, |db, options| {
                db.delete_range_cf_opt(handle, first, end, options).map_err(failed)
            })?;
        }
    }
    if removed.is_empty() {
        return Ok(());
    }
    Family::ALL.into_iter().try_for_each(|family| compact(database, source, family))
}

/// Compacts a column family if removed key groups make up most of its files.
fn compact(database: &Database, source: &Source<'_>, family: Family) -> Result<()> {
    let (db, handle) = (database.db(), database.family(family)?);
    let files = db.live_files().map_err(failed)?;
    let files = files.iter().filter(|file| file.column_family_name == family.name());
    let total: u64 = files.map(|file| file.size as u64).sum();
    let states = numbered(&source.manifest.meta.states).filter(|(_, meta)| Family::of(meta.kind) == family);
    let kept: u64 = states
        .map(|(state, _)| {
            let range = source.range;
            let (from, to) = EntryKey::group_range(state, range.start()..range.end() + 1);
            db.get_approximate_sizes_cf(handle, &[rocksdb::Range::new(&from, &to)]).iter().sum::<u64>()
        })
        .sum();
    if total <= (WASTE_FACTOR * kept).max(kept + WASTE_MIN) {
        return Ok(());
    }
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    db.compact_range_cf_opt(handle, None::<&[u8]>, None::<&[u8]>, &options);
    Ok(())
}
