//! Savepoints, and checkpoints of other jobs, that a job owns where they lie.

use backend_api::{Cancel, Checkpoint, JobFolder, Result, Storage};

use crate::Savepoint;

/// The property of a claimed checkpoint that names its metadata, in place of which there is a copy in the job's folder.
const METADATA: &str = "claimed-metadata";

/// Notes durably that the job owns `savepoint`, and gives the checkpoint as the job has it.
pub(super) fn note(storage: &dyn Storage, job: &JobFolder, savepoint: &Savepoint) -> Result<Checkpoint> {
    let mut checkpoint = savepoint.checkpoint().clone();
    // The paths are those within the storage now.
    checkpoint.savepoint = None;
    checkpoint.properties.insert(METADATA.to_owned(), savepoint.metadata().as_bytes().to_vec());
    let mut file = storage.create(&job.claimed(checkpoint.id), &Cancel::new())?;
    file.write(&checkpoint.encode()?)?;
    file.finish()?;
    Ok(checkpoint)
}

/// Where the metadata of a claimed checkpoint lies; `None` if it is the job's own.
pub(super) fn metadata_of(checkpoint: &Checkpoint) -> Option<&str> {
    std::str::from_utf8(checkpoint.properties.get(METADATA)?).ok()
}
