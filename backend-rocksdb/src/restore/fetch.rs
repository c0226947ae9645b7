//! Linking or copying the files of a checkpoint into a folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use backend_api::{Error, ErrorKind, Result, StateData, StateFile, Storage};

use super::Source;
use crate::error::io_failed;
use crate::parallel::{CHUNK_BYTES, for_each_file};
use crate::snapshot::manifest::Table;

/// Links the files of a source into the new folder `path`, or copies them. Verifies every byte.
pub(super) fn fetch(
    source: &Source<'_>,
    storage: Option<&dyn Storage>,
    path: &Path,
    threads: usize,
) -> Result<()> {
    fs::create_dir(path).map_err(|error| io_failed(error, path))?;
    for file in &source.manifest.control {
        let path = path.join(&file.name);
        fs::write(&path, &file.bytes).map_err(|error| io_failed(error, &path))?;
    }
    let tables: Vec<_> = source.manifest.tables.iter().zip(source.handle.files.iter().skip(1)).collect();
    for_each_file(&tables, threads, |(table, file)| {
        fetch_table(table, file, storage, &path.join(&table.name))
    })
}

fn fetch_table(table: &Table, file: &StateFile, storage: Option<&dyn Storage>, path: &Path) -> Result<()> {
    let failed = |error| io_failed(error, path);
    // RocksDB never changes a table. Deleting one removes only its own link.
    if link(file, storage, path) {
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

/// Verifies length and checksum of a table. `checksum` is called with offset and length of consecutive parts.
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

/// Hard-links a stored file to `path`. Returns false if that is not possible, and the file must be copied.
fn link(file: &StateFile, storage: Option<&dyn Storage>, path: &Path) -> bool {
    let StateData::File { path: stored, .. } = &file.data else { return false };
    let local = storage.and_then(|storage| storage.local_path(stored));
    // A hard link of a symbolic link is a symbolic link. If it is relative, it would name another file here.
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    local.filter(|local| is_file(local)).is_some_and(|local| fs::hard_link(local, path).is_ok())
}
