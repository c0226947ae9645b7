use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use backend_api::{Cancel, Checkpoint, Error, ErrorKind, JobFolder, Result, StateData, Storage, TaskState};

use crate::SharedStateRegistry;

/// How a [`CheckpointStore`] keeps what it is given.
#[derive(Clone, Debug)]
pub struct CheckpointStoreOptions {
    storage: Option<Arc<dyn Storage>>,
    job: JobFolder,
    retained: usize,
    max_message_bytes: u64,
    max_total_bytes: u64,
}

impl CheckpointStoreOptions {
    /// Completed checkpoints live in this store's memory only, and end with it.
    pub fn in_memory(job: JobFolder) -> Self {
        Self {
            storage: None,
            job,
            retained: 1,
            max_message_bytes: 10 * 1024 * 1024,
            max_total_bytes: u64::MAX,
        }
    }

    /// The metadata of each completed checkpoint is one file in `storage`, state that is inline included.
    pub fn in_storage(job: JobFolder, storage: Arc<dyn Storage>) -> Self {
        Self { storage: Some(storage), ..Self::in_memory(job) }
    }

    /// How many completed checkpoints are kept (1 by default).
    pub fn retained(mut self, number: usize) -> Self {
        self.retained = number;
        self
    }

    /// How many bytes the acknowledgement of one task may have (10,485,760 by default).
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// How many bytes of state all kept checkpoints together may hold in this store's memory (no limit by default).
    pub fn max_total_bytes(mut self, bytes: u64) -> Self {
        self.max_total_bytes = bytes;
        self
    }
}

/// The completed checkpoints of one job: makes them complete, keeps the newest, deletes what nothing needs any more.
///
/// It is the coordinator's hand on the storage, and drives nothing itself: an engine collects the acknowledgements
/// of all tasks and calls [`complete`](Self::complete), or [`discard`](Self::discard) if one of them failed.
#[derive(Debug)]
pub struct CheckpointStore {
    options: CheckpointStoreOptions,
    completed: VecDeque<Checkpoint>,
    registry: SharedStateRegistry,
    /// Subsumed checkpoints whose files could not be deleted yet; tried again at the next completion.
    undeleted: Vec<u64>,
    undeleted_files: Vec<String>,
    /// The highest id that was ever seen in the storage or given to this store: no id is used twice, so that what
    /// belongs to a failed checkpoint is never taken for a part of another.
    highest_id: u64,
}

impl CheckpointStore {
    /// Opens the store: finds the completed checkpoints in the storage, and removes what a crash left behind, which
    /// is every checkpoint without metadata and every shared file that no completed checkpoint uses. Nobody else may
    /// write to the `chk-*` folders and to `shared` of the job's folder.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for limits or a number of retained checkpoints of 0;
    /// [`Corrupt`](ErrorKind::Corrupt) if the metadata of a checkpoint is not what was written: nothing is deleted
    /// then, and an older checkpoint is never taken in its place silently; [`Io`](ErrorKind::Io).
    pub fn open(options: CheckpointStoreOptions) -> Result<Self> {
        if options.retained == 0 || options.max_message_bytes == 0 || options.max_total_bytes == 0 {
            let message = "the number of retained checkpoints and the limits must be at least 1";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let mut store = Self {
            options,
            completed: VecDeque::new(),
            registry: SharedStateRegistry::new(),
            undeleted: Vec::new(),
            undeleted_files: Vec::new(),
            highest_id: 0,
        };
        store.recover()?;
        Ok(store)
    }

    /// The newest completed checkpoint: what a restart begins from.
    pub fn latest(&self) -> Option<&Checkpoint> {
        self.completed.back()
    }

    /// All kept checkpoints, the oldest first.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &Checkpoint> {
        self.completed.iter()
    }

    /// The id that the next checkpoint should have: above all that the storage has seen, failed ones too.
    pub fn next_id(&self) -> u64 {
        self.highest_id.saturating_add(1)
    }

    /// Makes `checkpoint` complete, durably, and only then lets go of the oldest ones beyond the number to keep. Old
    /// files that cannot be deleted are no error: they are tried again next time.
    ///
    /// # Errors
    /// [`IllegalState`](ErrorKind::IllegalState) if its id is not above that of the latest (nothing is touched then),
    /// or a shared file is unknown; [`Size`](ErrorKind::Size) beyond a limit; [`Io`](ErrorKind::Io). The checkpoint is
    /// not complete then, its files are deleted, and the ones before it stay as they were.
    pub fn complete(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let _span = tracing::info_span!("complete", checkpoint_id = checkpoint.id).entered();
        if let Some(latest) = self.latest().filter(|latest| checkpoint.id <= latest.id) {
            // Not its files either: they may be those of the completed checkpoint with that id.
            let message = format!("checkpoint {} is not above {}, the latest", checkpoint.id, latest.id);
            return Err(Error::new(ErrorKind::IllegalState, message));
        }
        self.highest_id = self.highest_id.max(checkpoint.id);
        if let Err(error) = self.check(&checkpoint).and_then(|()| self.write(&checkpoint)) {
            self.discard(checkpoint.id, &checkpoint.tasks);
            return Err(error);
        }
        tracing::info!(full = checkpoint.full_size(), delta = checkpoint.delta_size(), "checkpoint complete");
        self.completed.push_back(checkpoint);
        self.subsume();
        Ok(())
    }

    /// Deletes what the tasks wrote for a checkpoint that will never be complete. What cannot be deleted is tried
    /// again later. A checkpoint that is complete stays.
    pub fn discard(&mut self, checkpoint_id: u64, acknowledged: &[TaskState]) {
        if self.is_complete(checkpoint_id) {
            tracing::warn!(checkpoint_id, "a completed checkpoint is not to be discarded");
            return;
        }
        self.highest_id = self.highest_id.max(checkpoint_id);
        let dead = self.registry.release(checkpoint_id);
        let own = acknowledged.iter().filter_map(|task| task.keyed.as_ref()).flat_map(|handle| {
            handle.files.iter().filter(|file| file.created_by == checkpoint_id).filter_map(|file| match &file
                .data
            {
                StateData::File { path, .. } => Some(path.clone()),
                StateData::Inline(_) => None,
            })
        });
        let unused = |path: &String| !self.registry.is_used(path);
        let files: BTreeSet<String> = own.filter(unused).chain(dead).collect();
        self.undeleted_files.extend(files);
        self.undeleted.push(checkpoint_id);
        self.delete_dead();
    }

    /// The files in the job's `chk-*` and `shared` folders that no kept checkpoint needs, nor any in `pending` (ids of checkpoints
    /// under way): what a crash or a failed deletion left behind.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io).
    pub fn orphans(&self, pending: &[u64]) -> Result<Vec<String>> {
        let Some(storage) = &self.options.storage else { return Ok(Vec::new()) };
        let job = &self.options.job;
        let live: BTreeSet<u64> =
            self.completed.iter().map(|checkpoint| checkpoint.id).chain(pending.iter().copied()).collect();
        let shared = format!("{}/", job.shared());
        let files = storage.list(job.path())?.into_iter().map(|entry| entry.path);
        // Only where this store writes: whatever else lies in the folder is somebody else's.
        Ok(files
            .filter(|path| match job.checkpoint_of(path) {
                Some(id) => !live.contains(&id),
                None => {
                    let of_pending = writer_of(path).is_some_and(|id| pending.contains(&id));
                    path.starts_with(&shared) && !of_pending && !self.registry.is_used(path)
                }
            })
            .collect())
    }

    fn is_complete(&self, checkpoint_id: u64) -> bool {
        self.completed.iter().any(|checkpoint| checkpoint.id == checkpoint_id)
    }

    fn recover(&mut self) -> Result<()> {
        let Some(storage) = self.options.storage.clone() else { return Ok(()) };
        let job = self.options.job.clone();
        storage.sweep(job.path())?;
        let files: BTreeMap<String, u64> =
            storage.list(job.path())?.into_iter().map(|entry| (entry.path, entry.len)).collect();
        let ids: BTreeSet<u64> = files.keys().filter_map(|path| job.checkpoint_of(path)).collect();
        let writers = files.keys().filter_map(|path| writer_of(path));
        self.highest_id = ids.iter().copied().chain(writers).max().unwrap_or(0);
        // The newest first: an older one that names missing files is one whose deletion a crash took back in part.
        for id in ids.into_iter().rev() {
            let path = job.metadata(id);
            if !files.contains_key(&path) {
                self.undeleted.push(id);
                continue;
            }
            let checkpoint = read(&*storage, &path, id)?;
            if let Some(missing) = missing_file(&checkpoint, &files) {
                if self.completed.is_empty() {
                    let message = format!("checkpoint {id} names a file that is not there as it was written");
                    return Err(Error::new(ErrorKind::Corrupt, message).in_file(missing, None));
                }
                self.undeleted.push(id);
                continue;
            }
            checkpoint.handles().try_for_each(|handle| self.registry.register_restored(handle))?;
            self.completed.push_front(checkpoint);
        }
        self.undeleted_files = self.orphans(&[])?;
        self.subsume();
        Ok(())
    }

    fn check(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        for task in &checkpoint.tasks {
            task.check_message_size(self.options.max_message_bytes)?;
        }
        // The oldest one goes only after the new one is stored, so for a moment there is one more.
        let total = self
            .completed
            .iter()
            .chain([checkpoint])
            .fold(0, |sum: u64, one| sum.saturating_add(one.inline_size()));
        let limit = self.options.max_total_bytes;
        if total > limit {
            let message = format!(
                "the kept checkpoints would hold {total} bytes in memory, the limit is {limit} bytes"
            );
            return Err(Error::new(ErrorKind::Size, message));
        }
        checkpoint.handles().try_for_each(|handle| self.registry.register(handle))
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        let Some(storage) = &self.options.storage else { return Ok(()) };
        let mut file = storage.create(&self.options.job.metadata(checkpoint.id), &Cancel::new())?;
        file.write(&checkpoint.encode()?)?;
        file.finish()
    }

    fn subsume(&mut self) {
        while self.completed.len() > self.options.retained {
            let Some(oldest) = self.completed.pop_front() else { break };
            self.undeleted_files.extend(self.registry.release(oldest.id));
            self.undeleted.push(oldest.id);
        }
        self.delete_dead();
    }

    /// Deletes what is due: of each checkpoint first the metadata, so that none is ever taken for whole that is not.
    fn delete_dead(&mut self) {
        let Some(storage) = self.options.storage.clone() else {
            self.undeleted.clear();
            self.undeleted_files.clear();
            return;
        };
        let tried = |path: &str, result: Result<()>| match result {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, path, "could not be deleted yet");
                false
            }
        };
        let mut kept = std::mem::take(&mut self.undeleted);
        let mut named = false;
        kept.retain(|&id| {
            if self.is_complete(id) {
                return false;
            }
            let folder = self.options.job.checkpoint(id);
            let gone = self.delete_metadata(id);
            named |= !gone;
            !(gone && tried(&folder, storage.delete_folder(&folder)))
        });
        self.undeleted = kept;
        // A shared file may only go once no metadata names it any more.
        if !named {
            let mut kept = std::mem::take(&mut self.undeleted_files);
            kept.retain(|path| !self.registry.is_used(path) && !tried(path, storage.delete(path)));
            self.undeleted_files = kept;
        }
    }

    fn delete_metadata(&self, id: u64) -> bool {
        let Some(storage) = &self.options.storage else { return true };
        match storage.delete(&self.options.job.metadata(id)) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, checkpoint_id = id, "metadata could not be deleted yet");
                false
            }
        }
    }
}

/// The checkpoint that wrote a file, which the file's name ends with.
fn writer_of(path: &str) -> Option<u64> {
    path.rsplit('-').next()?.parse().ok()
}

fn read(storage: &dyn Storage, path: &str, id: u64) -> Result<Checkpoint> {
    let file = storage.open(path)?;
    let length = usize::try_from(file.len())
        .map_err(|_| Error::new(ErrorKind::Size, "the metadata is larger than memory").in_file(path, None))?;
    let checkpoint = Checkpoint::decode(&file.read(0, length)?, path)?;
    if checkpoint.id == id {
        return Ok(checkpoint);
    }
    let message = format!("the metadata is that of checkpoint {}", checkpoint.id);
    Err(Error::new(ErrorKind::Corrupt, message).in_file(path, None))
}

/// A file that the checkpoint names and that is not among `files` with that length.
fn missing_file<'c>(checkpoint: &'c Checkpoint, files: &BTreeMap<String, u64>) -> Option<&'c str> {
    checkpoint.handles().flat_map(|handle| &handle.files).find_map(|file| match &file.data {
        StateData::File { path, length } if files.get(path) != Some(length) => Some(&**path),
        _ => None,
    })
}
