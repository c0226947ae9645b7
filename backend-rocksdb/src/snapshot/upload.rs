//! Writing the files of a checkpoint.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use backend_api::format::FileMeta;
use backend_api::{AttemptTarget, Cancel, NewFile, Progress, Result, StateFile};
use backend_bytes::LayerState;

use super::manifest::{ControlFile, FORMAT, Manifest, Table};
use super::point::LinkFolder;
use super::{StoredTable, StoredTables};
use crate::error::io_failed;
use crate::parallel::{CHUNK_BYTES, for_each_file};

/// What to write, and where.
pub(super) struct Upload {
    pub meta: FileMeta,
    pub layer: LayerState,
    pub target: AttemptTarget,
    pub shared: bool,
    /// Files that are written at once.
    pub threads: usize,
    /// Tables that need not be written again.
    pub base: Arc<StoredTables>,
}

/// A written checkpoint.
pub(super) struct Uploaded {
    /// The manifest, then the tables.
    pub files: Vec<StateFile>,
    pub tables: StoredTables,
}

/// What a folder of links holds.
#[derive(Default)]
struct Listing {
    /// Tables that the base has.
    known: StoredTables,
    /// Names of the other tables.
    new: Vec<String>,
    control: Vec<ControlFile>,
}

impl Upload {
    /// Writes the tables that the base lacks, and the manifest. Leaves nothing behind if it fails.
    pub fn run(&self, links: &LinkFolder, cancel: &Cancel, progress: &Progress) -> Result<Uploaded> {
        let Listing { known: mut tables, new, control } = self.list(links.path())?;
        let inline_bytes = tables.values().map(|stored| stored.file.data.inline_bytes()).sum();
        let target = self.target.clone().for_increment(inline_bytes, new.len());
        let written = Mutex::new(Vec::new());
        let result = for_each_file(&new, self.threads, |name| {
            let table = self.write_table(&target, links.path(), name, cancel, progress)?;
            written.lock().unwrap_or_else(PoisonError::into_inner).push(table);
            Ok(())
        });
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        let result = result.and_then(|()| {
            tables.extend(written.iter().map(|stored| (stored.table.name.clone(), stored.clone())));
            self.write_manifest(&tables, control, cancel)
        });
        match result {
            Ok(manifest) => {
                let files = tables.values().map(|stored| stored.file.clone());
                Ok(Uploaded { files: std::iter::once(manifest).chain(files).collect(), tables })
            }
            Err(error) => {
                for stored in &written {
                    self.target.delete(&stored.file);
                }
                Err(error)
            }
        }
    }

    fn list(&self, folder: &Path) -> Result<Listing> {
        let list =
            || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>();
        let mut names: Vec<_> = list().map_err(|error| io_failed(error, folder))?;
        names.sort_unstable();
        let mut listing = Listing::default();
        for name in names.iter().filter_map(|name| name.to_str()) {
            if name.ends_with(".sst") || name.ends_with(".blob") {
                match self.base.get(name) {
                    Some(known) => _ = listing.known.insert(name.to_owned(), known.clone()),
                    None => listing.new.push(name.to_owned()),
                }
            } else if name == "CURRENT" || name.starts_with("MANIFEST-") {
                let path = folder.join(name);
                let bytes = fs::read(&path).map_err(|error| io_failed(error, &path))?;
                listing.control.push(ControlFile { name: name.to_owned(), bytes });
            }
        }
        Ok(listing)
    }

    fn write_table(
        &self,
        target: &AttemptTarget,
        folder: &Path,
        name: &str,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<StoredTable> {
        let path = folder.join(name);
        let failed = |error| io_failed(error, &path);
        let mut table = File::open(&path).map_err(failed)?;
        let (mut crc, mut length) = (crc32fast::Hasher::new(), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        let new = self.new_file(name, self.shared);
        let file_name = target.part_name(&new);
        let file = target.write_part(new, cancel, |sink| {
            loop {
                let read = table.read(&mut chunk).map_err(failed)?;
                let bytes = chunk.get(..read).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                crc.update(bytes);
                length += read as u64;
                sink.write(bytes)?;
                progress.add(0, read as u64);
            }
        })?;
        let table = Table { name: name.to_owned(), file: file_name, length, crc: crc.finalize() };
        Ok(StoredTable { table, file })
    }

    fn write_manifest(
        &self,
        tables: &StoredTables,
        control: Vec<ControlFile>,
        cancel: &Cancel,
    ) -> Result<StateFile> {
        let meta = FileMeta { format: FORMAT.to_owned(), ..self.meta.clone() };
        let tables = tables.values().map(|stored| stored.table.clone()).collect();
        let manifest = Manifest { meta, layer: self.layer.clone(), tables, control }.encode()?;
        self.target.write_part(self.new_file("manifest", false), cancel, |sink| sink.write(&manifest))
    }

    fn new_file<'a>(&'a self, part: &'a str, shared: bool) -> NewFile<'a> {
        let FileMeta { operator, subtask, checkpoint_id, .. } = &self.meta;
        NewFile { operator, subtask: *subtask, checkpoint_id: *checkpoint_id, part, format: FORMAT, shared }
    }
}
