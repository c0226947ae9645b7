//! `state import`.

use std::io::Write;

use backend_api::{CheckpointTarget, NATIVE_MAPPING, SavepointFormat};
use coordinator::SavepointWriter;

use crate::args::{Import, Mapping, Packing, Rewrite};
use crate::failure::{Failure, Result};
use crate::flink;
use crate::rewrite::{self, new_folder};
use crate::source::{Source, find_metadata};

/// Writes a savepoint of Flink as one of this family.
pub fn import(args: &Import, json: bool, out: &mut dyn Write) -> Result<()> {
    let metadata = find_metadata(&args.path)?;
    if !flink_savepoint::is_metadata(&std::fs::read(&metadata)?) {
        return Err(Failure::Usage(format!("{} is no savepoint of Flink", args.path.display())));
    }
    let (storage, folder) = new_folder(&args.out)?;
    let result = match args.mapping {
        Mapping::Flink => {
            let target = CheckpointTarget::savepoint(storage.clone(), &*folder)?;
            let written =
                flink::write(&metadata, &args.operator, args.skip_unreadable, &target.for_attempt()?);
            written.and_then(|checkpoint| {
                let mut writer = SavepointWriter::new(storage.clone(), "import");
                let savepoint = writer.complete(checkpoint, &folder, SavepointFormat::Canonical)?;
                let bytes = crate::numbers::bytes(savepoint.checkpoint().full_size());
                Ok(writeln!(out, "savepoint in {}: {bytes}", args.out.display())?)
            })
        }
        Mapping::Ours => {
            let source = Source::of_flink(&metadata, &args.operator, args.skip_unreadable)?;
            let rewrite = Rewrite::only_to(args.path.clone(), args.out.clone(), Packing::Zstd);
            return rewrite::write(&source, &rewrite, Some(NATIVE_MAPPING), json, out);
        }
    };
    if result.is_err() {
        // The first error counts.
        let _ = backend_api::Storage::delete_folder(&*storage, &folder);
    }
    result
}
