//! Savepoints of Flink, written as savepoints of this family into a temporary folder.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use backend_api::{AttemptTarget, Checkpoint, CheckpointTarget};
use flink_savepoint::{Import, Savepoint};
use storage_local::LocalStorage;
use tempfile::TempDir;

use crate::failure::{Failure, Result};

/// A converted savepoint. The folder is deleted when this is dropped.
#[derive(Debug)]
pub struct Converted {
    /// Where its files are.
    pub folder: TempDir,
    /// The same as a storage.
    pub storage: Arc<LocalStorage>,
    /// Its metadata.
    pub checkpoint: Checkpoint,
}

/// Converts the savepoint with this file of metadata.
pub fn convert(metadata: &Path, operators: &[String], skip_unreadable: bool) -> Result<Converted> {
    let folder = TempDir::with_prefix("state-")?;
    let storage = Arc::new(LocalStorage::open(folder.path())?);
    let target = CheckpointTarget::savepoint(storage.clone(), "flink")?.for_attempt()?;
    let checkpoint = write(metadata, operators, skip_unreadable, &target)?;
    Ok(Converted { folder, storage, checkpoint })
}

/// Writes the files of the savepoint with this file of metadata. `operators` are given new ids: `UID=ID`. Says on standard
/// error what is left out.
pub fn write(
    metadata: &Path,
    operators: &[String],
    skip_unreadable: bool,
    target: &AttemptTarget,
) -> Result<Checkpoint> {
    let folder = std::path::absolute(metadata)?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let savepoint = Savepoint::open(Arc::new(LocalStorage::open(folder)?), "")?;
    let mut import = Import::new(&savepoint);
    for pair in operators {
        let (name, id) = pair
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("{pair:?} is not of the form UID=ID")))?;
        import = import.with_operator(savepoint.operator(name)?.id(), id);
    }
    if skip_unreadable {
        import = import.skipping_unreadable();
    }
    let (checkpoint, imported) = import.write(target)?;
    for left_out in &imported.left_out {
        // An error of standard error cannot be reported.
        let _ = writeln!(io::stderr(), "left out: {left_out}");
    }
    Ok(checkpoint)
}
