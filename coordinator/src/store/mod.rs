//! The completed checkpoints of a job.

mod claims;
mod contents;
mod deletions;
mod ids;
mod options;
mod owner;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use backend_api::{Cancel, Checkpoint, Error, ErrorKind, JobFile, Result, StateFile, Storage, TaskState};

use crate::check::{check_files, check_tasks, path_of};
use crate::{Savepoint, SharedStateRegistry};
use deletions::Deletions;
use ids::Ids;
use owner::Owner;

pub use contents::JobContents;
pub use options::CheckpointStoreOptions;

/// The completed checkpoints of one job. Completes checkpoints, retains the newest, and deletes files that
/// are no longer needed.
///
/// It starts nothing by itself. An engine takes an id from [`begin`](Self::begin), collects the
/// acknowledgements of all tasks and calls [`complete`](Self::complete), or [`discard`](Self::discard) if a
/// task failed.
///
/// # Ids
/// No id is used twice, even after crashes, so a late task of a failed checkpoint never writes into another
/// one. An engine can count ids itself instead of calling [`begin`](Self::begin). Then the store only knows
/// ids from files, and does not know running checkpoints: see [`complete`](Self::complete).
///
/// # Ownership
/// One store at a time owns a job's folder: the one that was opened last. It deletes what the previous owner
/// has not completed. The previous owner's next [`complete`](Self::complete) fails, and from then on it
/// deletes nothing.
#[derive(Debug)]
pub struct CheckpointStore {
    options: CheckpointStoreOptions,
    /// `None` without a storage.
    owner: Option<Owner>,
    /// Another store has opened the folder.
    lost: bool,
    completed: VecDeque<Checkpoint>,
    registry: SharedStateRegistry,
    ids: Ids,
    deletions: Deletions,
}

impl CheckpointStore {
    /// Opens the store: becomes the owner of the job's folder, reads the completed checkpoints, and removes what a crash left
    /// behind. That is every file of a checkpoint without metadata, and every shared file that no completed checkpoint uses.
    /// Files whose names this project does not make are never touched. [`JobContents::read`] reads a folder without changing
    /// it.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for limits or a number of retained checkpoints of 0;
    /// [`Corrupt`](ErrorKind::Corrupt) if the metadata of a checkpoint is not what was written: nothing is deleted
    /// then, and an older checkpoint is never taken in its place silently; [`Io`](ErrorKind::Io).
    pub fn open(options: CheckpointStoreOptions) -> Result<Self> {
        let mut store = Self {
            options,
            owner: None,
            lost: false,
            completed: VecDeque::new(),
            registry: SharedStateRegistry::new(),
            ids: Ids::default(),
            deletions: Deletions::default(),
        };
        if let Some(storage) = store.options.storage.clone() {
            store.recover(&*storage)?;
        }
        Ok(store)
    }

    /// The newest completed checkpoint, from which a restart starts.
    pub fn latest(&self) -> Option<&Checkpoint> {
        self.completed.back()
    }

    /// All retained checkpoints, oldest first.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = &Checkpoint> {
        self.completed.iter()
    }

    /// The storage that checkpoints are in, if they are in one.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.options.storage.as_ref()
    }

    /// Starts the job from `checkpoint` of another job. Ids of this store will be above its id, as restored
    /// backends require. Its files belong to the other job, so the backends must not claim them.
    pub fn start_from(&mut self, checkpoint: &Checkpoint) {
        self.ids.skip_to(checkpoint.id);
    }

    /// Makes `savepoint` the job's first completed checkpoint (Flink: `CLAIM`). It must be in this store's storage. The job
    /// owns it from now on, and deletes it once it is subsumed and none of its files is used. A second claim changes
    /// nothing.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) without a storage; [`IllegalState`](ErrorKind::IllegalState) if
    /// the store has later checkpoints, or another store has opened the job's folder since; [`Io`](ErrorKind::Io).
    pub fn claim(&mut self, savepoint: &Savepoint) -> Result<()> {
        let id = savepoint.checkpoint().id;
        if self.completed.iter().any(|checkpoint| checkpoint.id == id) {
            return Ok(());
        }
        let Some(storage) = self.options.storage.clone() else {
            let message = "a store without a storage cannot own a savepoint";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        };
        self.check_owner()?;
        self.ids.check(id)?;
        let (checkpoint, metadata) = (savepoint.checkpoint().clone(), savepoint.metadata());
        let checkpoint = claims::record(&*storage, &self.options.job, checkpoint, metadata)?;
        self.registry.register_restored(id, checkpoint.files())?;
        self.ids.complete(id);
        self.completed.push_back(checkpoint);
        self.subsume(self.options.retained());
        Ok(())
    }

    /// Begins a checkpoint, and returns an id that was never used before. The files of all retained
    /// checkpoints are kept, because the tasks may build on them, until [`complete`](Self::complete) or
    /// [`discard`](Self::discard) ends this checkpoint or a later one completes.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), at one call in 64. [`IllegalState`](ErrorKind::IllegalState) if this store is
    /// known to be no longer the owner, or if all ids are used.
    pub fn begin(&mut self) -> Result<u64> {
        if self.lost {
            return Err(lost());
        }
        self.ids.begin(self.options.storage.as_deref(), &self.options.job)
    }

    /// Completes `checkpoint` durably, and then subsumes the oldest ones beyond the number to retain. Old
    /// files that cannot be deleted are no error, and are tried again next time.
    ///
    /// The checkpoint must be restorable. Each operator must have each of its subtasks once, with the key
    /// groups of that subtask (a subtask without keyed state has none). Each file that the checkpoint wrote
    /// must exist with its length. Each file of an earlier checkpoint must be used by a retained checkpoint,
    /// or by one that was subsumed after this one [began](Self::begin).
    ///
    /// # Errors
    /// - [`IllegalState`](ErrorKind::IllegalState), and nothing is changed, if the id is not above the latest
    ///   one, existed when the store was opened, was discarded or failed, or if another store has opened the
    ///   job's folder since.
    /// - [`IllegalState`](ErrorKind::IllegalState) if it is not restorable. [`Size`](ErrorKind::Size) beyond
    ///   a limit. [`Io`](ErrorKind::Io). The checkpoint is discarded then, and earlier ones stay as they
    ///   were.
    pub fn complete(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let _span = tracing::info_span!("complete", checkpoint_id = checkpoint.id).entered();
        self.ids.check(checkpoint.id)?;
        let mut written = false;
        let result = self.check_owner().and_then(|()| self.check(&checkpoint)).and_then(|()| {
            written = true;
            self.write(&checkpoint)
        });
        if let Err(error) = result {
            let error = if written { self.named_by_owner(error) } else { error };
            self.abandon(checkpoint.id, &checkpoint.tasks, written);
            return Err(error);
        }
        tracing::info!(full = checkpoint.full_size(), delta = checkpoint.delta_size(), "checkpoint complete");
        let overtaken = self.ids.complete(checkpoint.id);
        self.deletions.add_unnamed(overtaken);
        self.completed.push_back(checkpoint);
        self.subsume(self.options.retained());
        Ok(())
    }

    /// Deletes everything that tasks wrote for a checkpoint that will never complete, including
    /// unacknowledged files. Failed deletions are tried again later. A completed checkpoint stays.
    ///
    /// A task that is still running may write afterwards. [`orphans`](Self::orphans) lists such files, and
    /// the next [`open`](Self::open) deletes them.
    pub fn discard(&mut self, checkpoint_id: u64, acknowledged: &[TaskState]) {
        if self.completed.iter().any(|checkpoint| checkpoint.id == checkpoint_id) {
            tracing::warn!(checkpoint_id, "a completed checkpoint is not to be discarded");
            return;
        }
        self.abandon(checkpoint_id, acknowledged, false);
    }

    /// Deletes all completed checkpoints, because the job has ended and will not restart from them.
    pub fn remove_all(&mut self) {
        self.subsume(0);
    }

    /// Tries failed deletions again. Returns the number of files and checkpoints that are still pending. Each
    /// completion also tries.
    pub fn retry_deletions(&mut self) -> usize {
        if self.deletions.is_empty() {
            return 0;
        }
        // Only the owner knows which files are unneeded.
        if let Err(error) = self.check_owner() {
            tracing::warn!(%error, "nothing is deleted now");
            if self.lost {
                self.deletions.forget();
            }
            return self.deletions.len();
        }
        let Self { options, deletions, ids, registry, .. } = self;
        deletions.run(options.storage.as_deref(), &options.job, ids, registry);
        deletions.len()
    }

    /// The files of the job's checkpoints that no retained or running checkpoint needs: leftovers of a crash,
    /// a late task or a failed deletion.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io).
    pub fn orphans(&self) -> Result<Vec<String>> {
        let Some(storage) = &self.options.storage else { return Ok(Vec::new()) };
        let job = &self.options.job;
        let complete: BTreeSet<u64> = self.completed.iter().map(|checkpoint| checkpoint.id).collect();
        let named: BTreeSet<&str> =
            self.completed.iter().flat_map(Checkpoint::files).filter_map(path_of).collect();
        let is_orphan = |path: &String| match job.file_of(path) {
            Some(JobFile::Metadata(id)) => !complete.contains(&id),
            Some(JobFile::Private(name) | JobFile::Shared(name)) => {
                let is_needed = named.contains(&**path) || self.registry.is_used(path);
                !is_needed && !self.ids.is_under_way(name.checkpoint_id)
            }
            Some(JobFile::ReservedIds(_) | JobFile::Claimed(_)) | None => false,
        };
        Ok(storage.list(job.path())?.into_iter().map(|entry| entry.path).filter(is_orphan).collect())
    }

    fn recover(&mut self, storage: &dyn Storage) -> Result<()> {
        let job = self.options.job.clone();
        // If the contents cannot be read, nothing is changed, and the present owner continues.
        JobContents::read(storage, &job)?;
        let mut owner = Owner::take(storage, &job)?;
        let found = match storage.sweep(job.path()).and_then(|_| JobContents::read(storage, &job)) {
            Ok(found) => found,
            Err(error) => {
                owner.give_up(storage, &job);
                return Err(error);
            }
        };
        owner.remove_earlier(storage, &job);
        self.owner = Some(owner);
        self.ids = Ids::above(found.highest_id());
        let mut left: BTreeSet<String> = found.unneeded().map(str::to_owned).collect();
        for checkpoint in found.partly_deleted() {
            self.registry.register_restored(checkpoint.id, checkpoint.files())?;
            self.delete(checkpoint);
            left.remove(&job.metadata(checkpoint.id));
            checkpoint.files().filter_map(path_of).for_each(|path| _ = left.remove(path));
        }
        for checkpoint in found.into_complete() {
            self.registry.register_restored(checkpoint.id, checkpoint.files())?;
            self.completed.push_back(checkpoint);
        }
        let incomplete: BTreeSet<u64> =
            left.iter().filter_map(|path| job.file_of(path)).map(|file| file.id()).collect();
        self.deletions.add_files(left);
        self.subsume(self.options.retained());
        // An earlier store may have written their metadata meanwhile.
        for id in
            incomplete.into_iter().filter(|id| self.completed.iter().all(|checkpoint| checkpoint.id != *id))
        {
            self.deletions.add_checkpoint(id, []);
        }
        self.retry_deletions();
        Ok(())
    }

    /// Checks that no other store has opened the folder since.
    fn check_owner(&mut self) -> Result<()> {
        if let (Some(owner), Some(storage)) = (&self.owner, &self.options.storage) {
            self.lost = self.lost || !owner.is_owner(&**storage, &self.options.job)?;
        }
        if self.lost { Err(lost()) } else { Ok(()) }
    }

    /// Maps a write error. If another store has opened the folder, it removed unfinished files, and is the
    /// cause.
    fn named_by_owner(&mut self, error: Error) -> Error {
        let was_lost = self.lost;
        match self.check_owner() {
            Err(_) if self.lost && !was_lost => lost().with_source(error),
            _ => error,
        }
    }

    fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        for task in &checkpoint.tasks {
            task.check_message_size(self.options.max_message_bytes())?;
        }
        // The oldest one is removed only after the new one is stored, so both count for a moment.
        let total = self
            .completed
            .iter()
            .chain([checkpoint])
            .fold(0, |sum: u64, one| sum.saturating_add(one.inline_size()));
        let limit = self.options.max_total_bytes();
        if total > limit {
            let message = format!(
                "the kept checkpoints would hold {total} bytes in memory, the limit is {limit} bytes"
            );
            return Err(Error::new(ErrorKind::Size, message));
        }
        check_tasks(checkpoint)?;
        self.check_files(checkpoint)
    }

    fn check_files(&self, checkpoint: &Checkpoint) -> Result<()> {
        let storage = self.options.storage.as_deref();
        check_files(checkpoint, storage, |path| self.registry.is_used(path))
    }

    fn write(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.registry.register(checkpoint.id, checkpoint.files())?;
        let Some(storage) = self.options.storage.clone() else { return Ok(()) };
        let path = self.options.job.metadata(checkpoint.id);
        let mut file = storage.create(&path, &Cancel::new())?;
        file.write(&checkpoint.encode()?)?;
        file.finish().map_err(|error| {
            if error.kind() != ErrorKind::AlreadyExists {
                return error;
            }
            // Another store completed it: an engine that counts ids itself has opened a second store.
            self.lost = true;
            lost().with_source(error)
        })?;
        let owned = self.check_owner();
        // If the other store opened the folder before it had the metadata, it deletes the files, and metadata
        // without files must not stay. Otherwise the checkpoint belongs to it.
        if self.lost && self.check_files(checkpoint).is_err() {
            storage.delete(&path)?;
        }
        owned
    }

    /// Ends a checkpoint that is not complete. `written` is true if its metadata may exist.
    fn abandon(&mut self, id: u64, tasks: &[TaskState], written: bool) {
        self.ids.discard(id);
        if self.lost {
            return;
        }
        let files = || tasks.iter().flat_map(TaskState::files);
        // Succeeds, since the registry is open.
        _ = self.registry.register_restored(id, files().filter(|file| file.created_by == id));
        let private = own_private(id, files());
        if written {
            self.deletions.add_checkpoint(id, private);
        } else {
            self.deletions.add_failed(id, private);
        }
        self.deletions.add_unnamed([id]);
        self.retry_deletions();
    }

    /// Subsumes all but the newest `retained` checkpoints.
    fn subsume(&mut self, retained: usize) {
        while self.completed.len() > retained {
            let Some(oldest) = self.completed.pop_front() else { break };
            self.ids.subsume(oldest.id);
            self.delete(&oldest);
        }
        self.retry_deletions();
    }

    /// Has a checkpoint deleted that was complete.
    fn delete(&mut self, checkpoint: &Checkpoint) {
        let (id, private) = (checkpoint.id, own_private(checkpoint.id, checkpoint.files()));
        match claims::metadata_of(checkpoint) {
            Some(metadata) => self.deletions.add_claimed(id, metadata, private),
            None => self.deletions.add_checkpoint(id, private),
        }
    }
}

/// The paths of the private files that checkpoint `id` wrote.
fn own_private<'f>(id: u64, files: impl Iterator<Item = &'f StateFile>) -> Vec<String> {
    let own = files.filter(|file| file.created_by == id && !file.shared);
    own.filter_map(path_of).map(str::to_owned).collect()
}

#[cold]
fn lost() -> Error {
    Error::new(
        ErrorKind::IllegalState,
        "another store has opened the job's folder since; it owns the checkpoints now",
    )
}
