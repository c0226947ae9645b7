use super::Write;
use crate::{EntryKey, WriteBatch};
use backend_api::Result;

/// Most ranges that are removed in one batch. A store may read each of them, and search earlier operations of
/// the batch.
const RANGES: usize = 128;

/// Operations for the store.
#[derive(Default)]
pub(crate) struct Changes {
    /// Ranges, which are removed first.
    ranges: Vec<WriteBatch>,
    /// Number of ranges in the last of these batches.
    in_last: usize,
    pub batch: WriteBatch,
    /// A buffer to build keys in.
    pub scratch: Vec<u8>,
}

impl Changes {
    /// Removes all keys that start with the key, before any other operation.
    pub fn remove_all(&mut self, key: EntryKey<'_>) {
        if self.in_last == 0 || self.in_last == RANGES {
            self.ranges.push(WriteBatch::default());
            self.in_last = 0;
        }
        self.in_last += 1;
        let from = [&key.head(), key.own].concat();
        EntryKey::successor(&from, &mut self.scratch);
        if let Some(last) = self.ranges.last_mut() {
            last.delete_range(&from, &self.scratch);
        }
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.ranges.iter().chain([&self.batch]).map(WriteBatch::size).sum()
    }

    /// Appends all of them to a batch.
    pub fn move_to(mut self, batch: &mut WriteBatch) {
        self.ranges.iter_mut().for_each(|ranges| batch.append(ranges));
        batch.append(&mut self.batch);
    }

    /// Writes them, each batch sorted by key.
    pub fn write(mut self, write: &mut Write<'_>) -> Result<()> {
        for batch in self.ranges.iter_mut().chain([&mut self.batch]).filter(|batch| !batch.is_empty()) {
            batch.sort();
            write(batch)?;
        }
        Ok(())
    }
}
