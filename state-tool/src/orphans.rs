//! `state orphans`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use backend_api::Storage;
use coordinator::{CheckpointStore, CheckpointStoreOptions, JobContents};
use serde::Serialize;

use crate::failure::Result;
use crate::numbers::bytes;
use crate::source::open_job;

#[derive(Serialize)]
struct Orphans {
    files: Vec<Orphan>,
    bytes: u64,
    deleted: bool,
}

#[derive(Serialize)]
struct Orphan {
    path: String,
    bytes: u64,
}

/// Lists the files of a job that no retained checkpoint needs, and deletes them if `delete` is set.
pub fn orphans(folder: &Path, delete: bool, json: bool, out: &mut dyn Write) -> Result<()> {
    let (storage, job) = open_job(folder)?;
    let contents = JobContents::read(&*storage, &job)?;
    let unneeded: BTreeSet<&str> = contents.unneeded().collect();
    let listed = storage.list(job.path())?;
    let files: Vec<_> = listed
        .into_iter()
        .filter(|entry| unneeded.contains(&*entry.path))
        .map(|entry| Orphan { path: entry.path, bytes: entry.len })
        .collect();
    if delete {
        // The store that owns the folder deletes such files, in an order that is safe against crashes. All checkpoints are
        // retained.
        let options = CheckpointStoreOptions::in_storage(job, storage).with_retained(usize::MAX)?;
        CheckpointStore::open(options)?.retry_deletions();
    }
    let orphans = Orphans { bytes: files.iter().map(|file| file.bytes).sum(), files, deleted: delete };
    if json {
        serde_json::to_writer(&mut *out, &orphans)?;
        return Ok(writeln!(out)?);
    }
    for file in &orphans.files {
        writeln!(out, "{}  {}", file.path, bytes(file.bytes))?;
    }
    let what = if delete { "deleted" } else { "not needed by a retained checkpoint" };
    Ok(writeln!(out, "{} files, {} {what}", orphans.files.len(), bytes(orphans.bytes))?)
}
