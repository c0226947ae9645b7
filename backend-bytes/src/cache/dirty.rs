use super::Changes;
use backend_api::{Error, Result};

/// The epoch of an entry that is not dirty.
pub(crate) const CLEAN: u32 = 0;

/// The slots with changes that the store lacks. A slot is dirty in the epoch of its last change. Each freeze
/// starts a new epoch, which separates frozen from newly dirty slots without touching them.
pub(super) struct Dirty {
    epoch: u32,
    /// Slots that became dirty in this epoch. Some may be clean again or listed twice.
    slots: Vec<u32>,
    /// The frozen epoch, or `CLEAN`.
    frozen: u32,
    /// Frozen slots that had other numbers when they were frozen.
    moved: Vec<u32>,
}

impl Dirty {
    pub fn new() -> Self {
        Self { epoch: CLEAN + 1, slots: Vec::new(), frozen: CLEAN, moved: Vec::new() }
    }

    /// The epoch of slots that become dirty now.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// True if a slot that is dirty since `epoch` is frozen.
    pub fn is_frozen(&self, epoch: u32) -> bool {
        epoch != CLEAN && epoch == self.frozen
    }

    /// Adds a slot of this epoch. Slots from `end` on do not exist.
    pub fn add(&mut self, slot: u32, end: usize) {
        self.slots.push(slot);
        if self.slots.len() > end * 2 {
            self.slots.sort_unstable();
            self.slots.dedup();
        }
    }

    /// Adds a slot under its new number.
    pub fn add_moved(&mut self, slot: u32, epoch: u32) {
        if self.is_frozen(epoch) {
            self.moved.push(slot);
        } else if epoch != CLEAN {
            self.slots.push(slot);
        }
    }

    /// The slots of this epoch, each once.
    pub fn slots(&self) -> Vec<u32> {
        let mut slots = self.slots.clone();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Marks all slots as clean.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// Freezes the slots of this epoch, and returns them.
    pub fn freeze(&mut self) -> Vec<u32> {
        self.frozen = self.epoch;
        self.moved.clear();
        self.epoch += 1;
        std::mem::take(&mut self.slots)
    }

    /// The frozen slots whose numbers changed since the last call.
    pub fn take_moved(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.moved)
    }
}

/// Frozen entries that changed since, in their frozen form.
#[derive(Default)]
pub(super) struct Preserved {
    changes: Changes,
    failed: Option<Error>,
}

impl Preserved {
    /// Lets `encode` add an entry. An error is kept for [`take`](Self::take).
    pub fn add(&mut self, encode: impl FnOnce(&mut Changes) -> Result<()>) {
        self.failed = encode(&mut self.changes).err().or(self.failed.take());
    }

    pub fn take(&mut self) -> Result<Changes> {
        let changes = std::mem::take(&mut self.changes);
        self.failed.take().map_or(Ok(changes), Err)
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.changes.size()
    }
}
