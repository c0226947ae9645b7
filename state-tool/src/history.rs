//! Sizes of the retained checkpoints of a job.

use std::collections::BTreeSet;
use std::path::Path;

use backend_api::{Checkpoint, StateData, StateFile};
use comfy_table::{CellAlignment, Table, presets};
use coordinator::JobContents;
use serde::Serialize;

use crate::failure::Result;
use crate::numbers::{bytes, count};
use crate::source::open_job;

/// What a checkpoint takes, and shares with the one before.
#[derive(Clone, Debug, Serialize)]
pub struct Past {
    /// Its id.
    pub checkpoint: u64,
    /// Bytes that a restore reads.
    pub bytes: u64,
    /// Bytes that it wrote itself.
    pub delta_bytes: u64,
    /// Number of files, without those inline in the metadata.
    pub files: u64,
    /// Number of files that earlier checkpoints wrote.
    pub shared_files: u64,
    /// Bytes of these.
    pub shared_bytes: u64,
    /// Bytes of state that are inline in the metadata.
    pub inline_bytes: u64,
}

impl Past {
    /// The sizes of a checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let is_inline = |file: &&StateFile| matches!(file.data, StateData::Inline(_));
        let is_own = |file: &&StateFile| file.created_by == checkpoint.id;
        let paths = |wanted: &dyn Fn(&&StateFile) -> bool| {
            let files = checkpoint.files().filter(|file| wanted(file) && !is_inline(file));
            files.map(|file| &*file.name).collect::<BTreeSet<_>>().len() as u64
        };
        Self {
            checkpoint: checkpoint.id,
            bytes: checkpoint.full_size(),
            delta_bytes: checkpoint.delta_size(),
            files: paths(&|_| true),
            shared_files: paths(&|file| !is_own(file)),
            shared_bytes: checkpoint.full_size() - checkpoint.delta_size(),
            inline_bytes: checkpoint.inline_size(),
        }
    }
}

/// The retained checkpoints of the job in `folder`, oldest first.
pub fn read(folder: &Path) -> Result<Vec<Past>> {
    let (storage, job) = open_job(folder)?;
    Ok(JobContents::read(&*storage, &job)?.checkpoints().iter().map(Past::of).collect())
}

/// The table of [`read`].
pub fn table(history: &[Past]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["checkpoint", "size", "delta", "files", "shared files", "shared", "inline"]);
    for past in history {
        table.add_row([
            past.checkpoint.to_string(),
            bytes(past.bytes),
            bytes(past.delta_bytes),
            count(past.files),
            count(past.shared_files),
            bytes(past.shared_bytes),
            bytes(past.inline_bytes),
        ]);
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}
