//! Assigns ids of checkpoints. No id is used twice.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{Cancel, Error, ErrorKind, JobFile, JobFolder, Result, Storage};

/// Number of ids that are reserved at once. A restart skips the unused rest of the block.
const BLOCK: u64 = 64;

/// The ids that were used, those under way, and the checkpoints that those under way need.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The latest completed checkpoint, or the highest id in the storage at the start. Only ids above it can
    /// be completed.
    floor: u64,
    /// The highest id that was seen or assigned.
    highest: u64,
    /// Ids up to this one are reserved in the storage.
    reserved: u64,
    /// Ids above the floor that were discarded or failed.
    ended: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
    /// Subsumed checkpoints, each with the checkpoints that were running then and may build on its files.
    held: BTreeMap<u64, BTreeSet<u64>>,
}

impl Ids {
    /// All ids up to `highest` are used.
    pub fn above(highest: u64) -> Self {
        Self { floor: highest, highest, reserved: highest, ..Self::default() }
    }

    /// Makes later ids greater than `id`.
    pub fn skip_to(&mut self, id: u64) {
        self.highest = self.highest.max(id);
    }

    /// Assigns the next id. Reserves it in the storage first, so that it is not assigned again after a crash.
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

    /// Reserves a block that starts at `first` or later. Returns its first id.
    fn reserve(&mut self, mut first: u64, storage: &dyn Storage, job: &JobFolder) -> Result<Option<u64>> {
        loop {
            // Blocks end at multiples of their size, so blocks of two stores never overlap.
            let Some(last) = first.checked_next_multiple_of(BLOCK) else { return Ok(None) };
            match storage.create(&job.reserved_ids(last), &Cancel::new())?.finish() {
                Ok(()) => {
                    self.reserved = last;
                    if let Err(error) = delete_reserved_below(last, storage, job) {
                        tracing::warn!(%error, "an old reservation of ids was not deleted");
                    }
                    return Ok(Some(first));
                }
                // Another store reserved this block, so it is skipped.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let Some(next) = last.checked_add(1) else { return Ok(None) };
                    first = next;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that checkpoint `id` may be completed.
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

    /// Marks checkpoint `id` as failed or discarded.
    pub fn discard(&mut self, id: u64) {
        self.highest = self.highest.max(id);
        if id > self.floor {
            self.ended.insert(id);
        }
        self.end(id);
    }

    /// Marks checkpoint `id` as complete. Returns the earlier running ones, which can no longer complete.
    pub fn complete(&mut self, id: u64) -> Vec<u64> {
        self.floor = id;
        self.highest = self.highest.max(id);
        self.ended.retain(|ended| *ended > id);
        let overtaken: Vec<u64> = self.under_way.range(..id).copied().collect();
        overtaken.iter().chain([&id]).for_each(|id| self.end(*id));
        overtaken
    }

    /// Marks checkpoint `id` as subsumed. Running checkpoints may still need its files.
    pub fn subsume(&mut self, id: u64) {
        if !self.under_way.is_empty() {
            self.held.insert(id, self.under_way.clone());
        }
    }

    /// True if a running checkpoint may build on the files of the subsumed checkpoint `id`.
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

/// Only the highest reservation counts. Older ones are harmless until they are removed.
fn delete_reserved_below(last: u64, storage: &dyn Storage, job: &JobFolder) -> Result<()> {
    for entry in storage.list(&job.reserved())? {
        if matches!(job.file_of(&entry.path), Some(JobFile::ReservedIds(id)) if id < last) {
            storage.delete(&entry.path)?;
        }
    }
    Ok(())
}
