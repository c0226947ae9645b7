//! Loading restored rows into the store.

use super::access::Buffers;
use super::limits::Totals;
use super::{ByteStore, EntryKey, WriteBatch};
use backend_api::format::SectionKind;
use backend_api::restore::RestoredState;
use backend_api::row::{ListRow, Row, RowChange, decode_sized, encode_sized};
use backend_api::{Error, ErrorKind, Result, StateKey};

/// Bytes collected before a write.
const BATCH_BYTES: usize = 1 << 20;

/// The same for an empty range, where they are sorted and loaded.
const SORTED_BYTES: usize = 32 << 20;

/// Writes all rows of `restored` to the store under the number `state`, and adds up the bytes of its lists or
/// maps.
pub(super) fn load<K: StateKey, N: StateKey, MK: StateKey>(
    (store, buffers, totals): (&mut dyn ByteStore, &mut Buffers, &mut Totals),
    state: u16,
    restored: &RestoredState,
) -> Result<()> {
    let Buffers { batch, sequence, .. } = buffers;
    batch.clear();
    let (key, end) = (Vec::new(), Vec::new());
    let mut loader = Loader { store, batch, sequence, totals, key, end, list: None, puts_only: false };
    for group in restored.groups() {
        let chain = restored.chain(group);
        loader
            .expect(chain.len() == 1 && chain.iter().all(|part| part.section().kind == SectionKind::Full))?;
        for part in chain {
            let section = part.section().kind;
            part.for_each_row(|row: Row<'_, K, N>| loader.apply::<K, N, MK>(state, group, section, row))?;
        }
    }
    loader.flush()
}

struct Loader<'l> {
    store: &'l mut dyn ByteStore,
    batch: &'l mut WriteBatch,
    sequence: &'l mut u64,
    totals: &'l mut Totals,
    key: Vec<u8>,
    end: Vec<u8>,
    /// The list of the last row, and its length so far.
    list: Option<(Vec<u8>, u64)>,
    /// True while all rows are puts into an empty range.
    puts_only: bool,
}

impl Loader<'_> {
    fn expect(&mut self, puts_only: bool) -> Result<()> {
        if puts_only != self.puts_only {
            self.flush()?;
        }
        self.puts_only = puts_only;
        Ok(())
    }

    fn apply<K: StateKey, N: StateKey, MK: StateKey>(
        &mut self,
        state: u16,
        group: u16,
        section: SectionKind,
        row: Row<'_, K, N>,
    ) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(&EntryKey::head_of(state, group));
        if let RowChange::AddTimer(at) | RowChange::RemoveTimer(at) = row.change {
            at.encode(&mut self.key);
        }
        row.key.encode(&mut self.key);
        row.namespace.encode(&mut self.key);
        let prefix = self.key.len();
        match row.change {
            RowChange::Value(value) => self.batch.put(&self.key, value),
            RowChange::AddTimer(_) => self.batch.put(&self.key, &[]),
            RowChange::RemoveTimer(_) => self.batch.delete(&self.key),
            RowChange::Elements(elements) => self.append(section, elements)?,
            RowChange::Entries(mut entries) => {
                let mut added = 0;
                while let Some((key, value)) = entries.next_entry::<MK>()? {
                    self.key.truncate(prefix);
                    key.encode(&mut self.key);
                    added += self.key.len() - prefix + value.len();
                    self.batch.put(&self.key, value);
                }
                self.key.truncate(prefix);
                self.totals.add(&self.key, added as u64);
            }
            RowChange::RemoveEntries(mut keys) => {
                while let Some(key) = keys.next_key::<MK>()? {
                    self.key.truncate(prefix);
                    key.encode(&mut self.key);
                    self.batch.delete(&self.key);
                }
            }
            RowChange::Remove => {
                EntryKey::successor(&self.key, &mut self.end);
                self.batch.delete_range(&self.key, &self.end);
                self.list = None;
            }
        }
        let max = if self.puts_only { SORTED_BYTES } else { BATCH_BYTES };
        if self.batch.size() >= max { self.flush() } else { Ok(()) }
    }

    fn append(&mut self, section: SectionKind, mut elements: ListRow<'_>) -> Result<()> {
        let first = elements.first();
        let known = self.list.take().filter(|(key, _)| *key == self.key);
        let goes_on = known.as_ref().is_some_and(|(_, length)| *length == first);
        // A row of a full section that starts a list has nothing to cut.
        let begins = first == 0 && known.is_none() && section == SectionKind::Full;
        if !goes_on && !begins {
            self.cut(first)?;
        }
        let (mut length, mut added) = (first, 0);
        while let Some(element) = elements.next_element()? {
            let number = || self.sequence.to_be_bytes();
            added += self.batch.put_element(&self.key, number, length > first, |out| {
                encode_sized(out, |out| {
                    out.extend_from_slice(element);
                    Ok(())
                })
            })?;
            *self.sequence += 1;
            length += 1;
        }
        self.totals.add(&self.key, added as u64);
        let mut key = known.map(|(key, _)| key).unwrap_or_default();
        key.clone_from(&self.key);
        self.list = Some((key, length));
        Ok(())
    }

    /// Removes the elements of the current list from index `length` on.
    fn cut(&mut self, length: u64) -> Result<()> {
        self.flush()?;
        EntryKey::successor(&self.key, &mut self.end);
        let mut cursor = self.store.scan(&self.key, &self.end)?;
        let mut left = length;
        while let Some((key, run)) = cursor.next()? {
            let mut rest = run;
            while left > 0 && !rest.is_empty() {
                decode_sized(&mut rest)?;
                left -= 1;
            }
            if rest.len() == run.len() {
                self.batch.delete_range(key, &self.end);
                return Ok(());
            }
            if !rest.is_empty() {
                let kept = run.len() - rest.len();
                self.batch.put(key, run.get(..kept).unwrap_or_default());
                // The smallest key above this one.
                self.batch.delete_range(&[key, &[0]].concat(), &self.end);
                return Ok(());
            }
        }
        if left == 0 {
            return Ok(());
        }
        let message = format!("a row continues a list at element {length}, and the list is shorter");
        Err(Error::new(ErrorKind::Corrupt, message))
    }

    fn flush(&mut self) -> Result<()> {
        if self.puts_only && !self.batch.is_empty() {
            self.batch.sort();
            self.store.load(self.batch)?;
        } else if !self.batch.is_empty() {
            self.store.write(self.batch)?;
        }
        self.batch.clear();
        Ok(())
    }
}
