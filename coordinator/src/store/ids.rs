//! The ids of checkpoints: none is used twice.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{Cancel, Error, ErrorKind, JobFile, JobFolder, Result, Storage};

/// Ids that are reserved at once. A restart skips those of its block that were not given out.
const BLOCK: u64 = 64;

/// Which ids were used, which are under way, and what those under way need.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The latest completed checkpoint, or what was in the storage at the start: nothing at or below it can be completed.
    floor: u64,
    /// The highest id that was ever seen or given out.
    highest: u64,
    /// Up to here the storage knows that ids may have been given out.
    reserved: u64,
    /// Ids above the floor that were discarded or failed.
    ended: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
    /// Subsumed checkpoints, and those that were under way then: these may build on the files of that one.
    held: BTreeMap<u64, BTreeSet<u64>>,
}

impl Ids {
    /// All ids up to `highest` are used.
    pub fn above(highest: u64) -> Self {
        Self { floor: highest, highest, reserved: highest, ..Self::default() }
    }

    /// No id up to `id` is given out any more.
    pub fn skip_to(&mut self, id: u64) {
        self.highest = self.highest.max(id);
    }

    /// Gives out the next id. The storage has it reserved then, so that it is not given out again after a crash of
    /// whichever kind.
    pub fn begin(&mut self, storage: Option<&dyn Storage>, job: &JobFolder) -> Result<u64> {
        let exhausted = || Error::new(ErrorKind::IllegalState, "there are no more checkpoint ids");
        let mut id = self.highest.checked_add(1).ok_or_else(exhausted)?;
        if id > self.reserved {
            if let Some(storage) = storage {
                id = self.reserve(id, storage, job)?.ok_or_else(exhausted)?;
            } else {
                self.reserved = u64::MAX;
            }
        }
        self.highest = id;
        self.under_way.insert(id);
        Ok(id)
    }

    /// Reserves a block that begins at `first` or later, and gives its first id.
    fn reserve(&mut self, mut first: u64, storage: &dyn Storage, job: &JobFolder) -> Result<Option<u64>> {
        loop {
            let Some(last) = first.checked_add(BLOCK - 1) else { return Ok(None) };
            match storage.create(&job.reserved_ids(last), &Cancel::new())?.finish() {
                Ok(()) => {
                    self.reserved = last;
                    if let Err(error) = delete_reserved_below(last, storage, job) {
                        tracing::warn!(%error, "an old reservation of ids was not deleted");
                    }
                    return Ok(Some(first));
                }
                // Whoever has made that file, it is not known that all of these ids are free.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let Some(next) = last.checked_add(1) else { return Ok(None) };
                    first = next;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that checkpoint `id` can become complete.
    pub fn check(&self, id: u64) -> Result<()> {
        let message = if id <= self.floor {
            let floor = self.floor;
            format!(
                "checkpoint {id} is not above {floor}: a later one is complete, or the store was opened since"
            )
        } else if self.ended.contains(&id) {
            format!("checkpoint {id} was discarded or has failed before; its files are deleted")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::IllegalState, message))
    }

    /// Checkpoint `id` will never be complete.
    pub fn discard(&mut self, id: u64) {
        self.highest = self.highest.max(id);
        if id > self.floor {
            self.ended.insert(id);
        }
        self.end(id);
    }

    /// Checkpoint `id` is complete. Gives the earlier ones that were still under way: they can no longer be.
    pub fn complete(&mut self, id: u64) -> Vec<u64> {
        self.floor = id;
        self.highest = self.highest.max(id);
        self.ended.retain(|ended| *ended > id);
        let overtaken: Vec<u64> = self.under_way.range(..id).copied().collect();
        overtaken.iter().chain([&id]).for_each(|id| self.end(*id));
        overtaken
    }

    /// Checkpoint `id` is subsumed: its files are needed as long as those are under way that are so now.
    pub fn subsume(&mut self, id: u64) {
        if !self.under_way.is_empty() {
            self.held.insert(id, self.under_way.clone());
        }
    }

    /// Whether a checkpoint under way may build on the files of the subsumed checkpoint `id`.
    pub fn is_held(&self, id: u64) -> bool {
        self.held.contains_key(&id)
    }

    pub fn is_under_way(&self, id: u64) -> bool {
        self.under_way.contains(&id)
    }

    fn end(&mut self, id: u64) {
        self.under_way.remove(&id);
        self.held.retain(|_, waiting| {
            waiting.remove(&id);
            !waiting.is_empty()
        });
    }
}

/// The highest reservation counts, so old ones may go, and do no harm as long as they stay.
fn delete_reserved_below(last: u64, storage: &dyn Storage, job: &JobFolder) -> Result<()> {
    for entry in storage.list(&job.reserved())? {
        if matches!(job.file_of(&entry.path), Some(JobFile::ReservedIds(id)) if id < last) {
            storage.delete(&entry.path)?;
        }
    }
    Ok(())
}
