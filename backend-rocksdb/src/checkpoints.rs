//! Checkpoints of RocksDB's own files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use backend_api::format::FileMeta;
use backend_api::{AttemptTarget, Cancel, Error, ErrorKind, NewFile, Progress, Result, StateFile};
use backend_bytes::{CacheFlush, FreezeRequest, LayerState, NativeTask};

use crate::cut::{Cut, CutFolder, Made, Stage, What};
use crate::engine::FORMAT;
use crate::error::io_failed;
use crate::manifest::{Manifest, Table};
use crate::writes::Writer;

/// Bytes that are read and written at once.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Files that are written, or read, at once.
pub(crate) const FILES_AT_ONCE: usize = 4;

/// The tables of a checkpoint, by their names in the database.
pub(crate) type Tables = BTreeMap<String, (Table, StateFile)>;

/// Which checkpoints there are, and the cut that is due.
pub(crate) struct Checkpoints {
    target: AttemptTarget,
    incremental: bool,
    /// Of the last confirmed checkpoint, or of the one that was restored and claimed.
    confirmed: Arc<Tables>,
    /// The highest id that was confirmed.
    confirmed_id: Option<u64>,
    /// Of checkpoints that were written and are not confirmed, by their ids.
    written: Arc<Mutex<BTreeMap<u64, Tables>>>,
    due: Option<Arc<Cut>>,
    /// How often the owner has waited for a task to begin with that.
    waited: u32,
}

/// So often the owner waits for a moment, before it does itself what a task should do that has not begun.
const PATIENCE: u32 = 100;

impl Checkpoints {
    /// `base` are tables that the first increment may refer to.
    pub fn new(target: AttemptTarget, incremental: bool, base: Tables) -> Self {
        Self {
            target,
            incremental,
            confirmed: Arc::new(base),
            confirmed_id: None,
            written: Arc::default(),
            due: None,
            waited: 0,
        }
    }

    /// Whether what is written now must wait, since it is not to be part of the cut that is due.
    #[inline]
    pub fn is_cutting(&mut self) -> bool {
        self.due.is_some() && self.advance()
    }

    #[cold]
    fn advance(&mut self) -> bool {
        let Some(cut) = &self.due else { return false };
        // A task that was dropped needs no files.
        if Arc::strong_count(cut) > 1 && cut.stage() != Stage::Made {
            if cut.takes_long() || cut.stage() < Stage::Written {
                return true;
            }
            cut.settle();
        }
        self.due = None;
        false
    }

    /// Whether what caches have for the cut that is due is not written yet.
    pub fn is_writing(&self) -> bool {
        self.due.as_ref().is_some_and(|cut| Arc::strong_count(cut) > 1 && cut.stage() < Stage::Written)
    }

    /// Sees to it that what caches have for the cut that is due is written.
    pub fn write_late(&mut self) {
        match self.due.as_ref().filter(|cut| Arc::strong_count(cut) > 1) {
            Some(cut) => cut.write_late(),
            None => self.due = None,
        }
    }

    /// Waits for a moment for somebody who brings the cut that is due to a stage, if there is somebody. Whether it is worth
    /// while to go on with something else, since it is not there yet.
    pub fn is_short_of(&mut self, stage: Stage) -> bool {
        let Some(cut) = self.due.as_ref().filter(|cut| Arc::strong_count(cut) > 1) else { return false };
        let reached = cut.wait(stage);
        let is_at_work = matches!(reached, Stage::Writing | Stage::Making);
        self.waited = if is_at_work { 0 } else { self.waited + 1 };
        reached < stage && self.waited < PATIENCE
    }

    /// Ends the cut that is due: what is written from now on is not part of it.
    pub fn settle(&mut self) {
        if let Some(cut) = self.due.take().filter(|cut| Arc::strong_count(cut) > 1) {
            cut.settle();
        }
    }

    /// Notes that a cut is due, of which a task has the other reference.
    pub fn put_off(&mut self, cut: &Arc<Cut>) {
        self.settle();
        self.waited = 0;
        self.due = Some(Arc::clone(cut));
    }
}

impl Checkpoints {
    /// Whether they are asked for.
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// Notes that a checkpoint is due.
    pub fn freeze(&mut self, writer: &Writer, request: FreezeRequest<'_>, late: CacheFlush) -> NativeTask {
        let cut = Arc::new(Cut::new(writer.clone(), What::Links, late));
        self.put_off(&cut);
        let base =
            if self.incremental && !request.full { Arc::clone(&self.confirmed) } else { Arc::default() };
        let upload = Upload {
            meta: request.meta.clone(),
            layer: request.layer,
            target: self.target.clone(),
            shared: self.incremental,
            base,
        };
        let written = Arc::clone(&self.written);
        Box::new(move |cancel, progress| {
            let done = match cut.take() {
                Ok(Made::Links(folder)) => upload.run(&folder, cancel, progress),
                Ok(Made::Snapshot(_)) => Err(Error::new(ErrorKind::IllegalState, "a snapshot has no files")),
                Err(error) => Err(error),
            };
            // A backend that is closed takes the files away; that is not what ends the task then.
            let (files, tables) = done.or_else(|error| cancel.check().and(Err(error)))?;
            lock(&written).insert(upload.meta.checkpoint_id, tables);
            Ok(files)
        })
    }

    /// A checkpoint was confirmed.
    pub fn complete(&mut self, checkpoint_id: u64) {
        let mut written = lock(&self.written);
        if self.confirmed_id.is_some_and(|confirmed| confirmed >= checkpoint_id) {
            return;
        }
        if let Some(tables) = written.remove(&checkpoint_id) {
            self.confirmed = Arc::new(tables);
            self.confirmed_id = Some(checkpoint_id);
            written.retain(|id, _| *id > checkpoint_id);
        }
    }

    /// A checkpoint will not be confirmed.
    pub fn aborted(&mut self, checkpoint_id: u64) {
        lock(&self.written).remove(&checkpoint_id);
    }
}

fn lock(written: &Mutex<BTreeMap<u64, Tables>>) -> MutexGuard<'_, BTreeMap<u64, Tables>> {
    // Nothing that may panic runs under the lock.
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does some work for each of the files, for some at once; after an error no more are begun.
pub(crate) fn several_at_once<T: Sync>(files: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(file).inspect_err(|_| next.store(files.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    if files.len() < 2 {
        return work();
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..FILES_AT_ONCE.min(files.len())).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join());
        // A panic goes on in the caller once all workers have ended.
        let results: Vec<_> = done.collect();
        results
            .into_iter()
            .try_for_each(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// What is to be written, and where.
struct Upload {
    meta: FileMeta,
    layer: LayerState,
    target: AttemptTarget,
    shared: bool,
    base: Arc<Tables>,
}

impl Upload {
    /// Writes what the base has not. Leaves nothing behind if it fails.
    fn run(&self, cut: &CutFolder, cancel: &Cancel, progress: &Progress) -> Result<(Vec<StateFile>, Tables)> {
        let (mut tables, mut new, mut control) = (Tables::new(), Vec::new(), Vec::new());
        let list =
            || fs::read_dir(cut.path())?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>();
        let mut names: Vec<_> = list().map_err(|error| io_failed(error, cut.path()))?;
        names.sort_unstable();
        for name in names.iter().filter_map(|name| name.to_str()) {
            let path = cut.path().join(name);
            if name.ends_with(".sst") || name.ends_with(".blob") {
                match self.base.get(name) {
                    Some(known) => _ = tables.insert(name.to_owned(), known.clone()),
                    None => new.push(name.to_owned()),
                }
            } else if name == "CURRENT" || name.starts_with("MANIFEST-") {
                let bytes = fs::read(&path).map_err(|error| io_failed(error, &path))?;
                control.push((name.to_owned(), bytes));
            }
        }
        let made = Mutex::new(Vec::new());
        let result = self.write_tables(cut.path(), &new, &made, cancel, progress).and_then(|()| {
            let made = made.lock().unwrap_or_else(PoisonError::into_inner);
            tables
                .extend(made.iter().map(|(table, file)| (table.name.clone(), (table.clone(), file.clone()))));
            let tables = tables.values().map(|(table, _)| table.clone()).collect();
            self.write_manifest(tables, control, cancel)
        });
        match result {
            Ok(manifest) => {
                let files = tables.values().map(|(_, file)| file.clone());
                Ok((std::iter::once(manifest).chain(files).collect(), tables))
            }
            Err(error) => {
                for (_, file) in made.into_inner().unwrap_or_else(PoisonError::into_inner) {
                    self.target.delete(&file);
                }
                Err(error)
            }
        }
    }

    /// Writes tables, some at once, into `made`; after an error those that were made are there.
    fn write_tables(
        &self,
        folder: &Path,
        names: &[String],
        made: &Mutex<Vec<(Table, StateFile)>>,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<()> {
        several_at_once(names, |name| {
            let written = self.write_table(folder, name, cancel, progress)?;
            made.lock().unwrap_or_else(PoisonError::into_inner).push(written);
            Ok(())
        })
    }

    fn write_table(
        &self,
        folder: &Path,
        name: &str,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<(Table, StateFile)> {
        let path = folder.join(name);
        let failed = |error| io_failed(error, &path);
        let mut table = File::open(&path).map_err(failed)?;
        let (mut crc, mut length) = (crc32fast::Hasher::new(), 0);
        let mut chunk = vec![0; CHUNK_BYTES];
        let new = self.new_file(name, self.shared);
        let file = self.target.part_name(&new);
        let stored = self.target.write_part(new, cancel, |sink| {
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
        Ok((Table { name: name.to_owned(), file, length, crc: crc.finalize() }, stored))
    }

    fn write_manifest(
        &self,
        tables: Vec<Table>,
        control: Vec<(String, Vec<u8>)>,
        cancel: &Cancel,
    ) -> Result<StateFile> {
        let meta = FileMeta { format: FORMAT.to_owned(), ..self.meta.clone() };
        let manifest = Manifest { meta, layer: self.layer.clone(), tables, control }.encode()?;
        self.target.write_part(self.new_file("manifest", false), cancel, |sink| sink.write(&manifest))
    }

    fn new_file<'a>(&'a self, part: &'a str, shared: bool) -> NewFile<'a> {
        let FileMeta { operator, subtask, checkpoint_id, .. } = &self.meta;
        NewFile { operator, subtask: *subtask, checkpoint_id: *checkpoint_id, part, format: FORMAT, shared }
    }
}
