//! Refusing options that would lose entries or break a restore.
//!
//! The binding cannot read most options back. The check opens an empty database with them, writes to it, and reads the
//! options file that RocksDB writes.

use std::path::Path;
use std::{fs, io};

use backend_api::{Error, ErrorKind, Result};
use rocksdb::DB;

use super::{Family, Setup};
use crate::error::io_failed;
use crate::ffi;

/// An option, as RocksDB's options file names it, with the values that it may have.
struct Rule {
    option: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

const fn rule(option: &'static str, allowed: &'static [&'static str], reason: &'static str) -> Rule {
    Rule { option, allowed, reason }
}

/// Rules for the options of the database.
const DATABASE: [Rule; 1] = [rule("unordered_write", &["false"], "snapshots would change")];

/// Rules for the options of each column family.
const FAMILY: [Rule; 9] = [
    rule("comparator", &["leveldb.BytewiseComparator"], "keys must be ordered by their bytes"),
    rule("merge_operator", &["nullptr"], "the backend has none"),
    rule("prefix_extractor", &["nullptr"], "scans would miss entries"),
    rule("compaction_filter", &["nullptr"], "it would change state"),
    rule("compaction_filter_factory", &["nullptr"], "it would change state"),
    rule("persist_user_defined_timestamps", &["true"], "keys have no timestamps"),
    rule(
        "compaction_style",
        &["kCompactionStyleLevel", "kCompactionStyleUniversal"],
        "state would be deleted",
    ),
    rule("table_factory", &["BlockBasedTable"], "a restore could not read the files"),
    rule("inplace_update_support", &["false"], "snapshots would change"),
];

impl Setup {
    /// Checks that no option that the user changed loses entries or breaks a restore. Opens an empty database
    /// in the new folder `path`, and removes it again.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an option that is refused. [`Io`](ErrorKind::Io).
    pub fn check(&self, path: &Path) -> Result<()> {
        if !self.is_tuned() {
            return Ok(());
        }
        if self.has_wal_dir() {
            return Err(outside());
        }
        let refused = |error: rocksdb::Error| {
            Error::new(ErrorKind::InvalidArgument, "RocksDB refuses its options").with_source(error)
        };
        let checked = self.open_raw(path).map_err(refused).and_then(|db| {
            check_options(path)?;
            use_database(&db).map_err(refused)?;
            check_files(&db, path)
        });
        let removed = match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failed(error, path)),
            _ => Ok(()),
        };
        checked.and(removed)
    }
}

/// Does what a backend does: writes, deletes ranges, flushes.
fn use_database(db: &DB) -> Result<(), rocksdb::Error> {
    for family in Family::ALL {
        let Some(handle) = db.cf_handle(family.name()) else { continue };
        db.put_cf(handle, [1], [1])?;
        db.delete_range_cf(handle, [2], [3])?;
        db.flush_cf(handle)?;
    }
    Ok(())
}

/// Checks that the files lie in the folder. Deletes those that do not.
fn check_files(db: &DB, path: &Path) -> Result<()> {
    let files = ffi::live_file_paths(db);
    let outside: Vec<_> = files.iter().filter(|file| file.parent() != Some(path)).collect();
    if outside.is_empty() {
        return Ok(());
    }
    outside.into_iter().try_for_each(|file| fs::remove_file(file).map_err(|error| io_failed(error, file)))?;
    Err(self::outside())
}

fn outside() -> Error {
    let message = "an option of RocksDB puts files outside of the working folder";
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Checks the options file.
fn check_options(path: &Path) -> Result<()> {
    let names = match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let names = names.map_err(|error| io_failed(error, path))?;
    let options = names.iter().filter(|name| name.to_string_lossy().starts_with("OPTIONS-"));
    // An environment that is not the file system has no files here.
    let path = path.join(options.max().ok_or_else(outside)?);
    let text = fs::read_to_string(&path).map_err(|error| io_failed(error, &path))?;
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            continue;
        }
        let rules = match section.split_once(' ') {
            Some(("CFOptions", _)) => &FAMILY[..],
            None if section == "DBOptions" => &DATABASE[..],
            _ => continue,
        };
        let Some((option, value)) = line.split_once('=') else { continue };
        let broken = rules.iter().find(|rule| rule.option == option && !rule.allowed.contains(&value));
        if let Some(Rule { reason, .. }) = broken {
            let message = format!("RocksDB's option {option} = {value} is refused in {section}: {reason}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    }
    Ok(())
}
