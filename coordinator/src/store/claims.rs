//! Savepoints and checkpoints of other jobs that a job owns in place.

use backend_api::{Cancel, Checkpoint, JobFolder, Result, Storage};

/// The property of a claimed checkpoint with the path of its original metadata. The job's folder has a copy.
const METADATA: &str = "claimed-metadata";

/// Records durably that the job owns `checkpoint` with this original metadata. Returns it as a checkpoint of the job.
pub(super) fn record(
    storage: &dyn Storage,
    job: &JobFolder,
    mut checkpoint: Checkpoint,
    metadata: &str,
) -> Result<Checkpoint> {
    // Its paths are within the storage now.
    checkpoint.savepoint = None;
    checkpoint.properties.insert(METADATA.to_owned(), metadata.as_bytes().to_vec());
    let mut file = storage.create(&job.claimed(checkpoint.id), &Cancel::new())?;
    file.write(&checkpoint.encode()?)?;
    file.finish()?;
    Ok(checkpoint)
}

/// The path of a claimed checkpoint's original metadata. `None` for the job's own checkpoints.
pub(super) fn metadata_of(checkpoint: &Checkpoint) -> Option<&str> {
    std::str::from_utf8(checkpoint.properties.get(METADATA)?).ok()
}
