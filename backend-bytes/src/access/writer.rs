use super::KeyBuffers;
use crate::limits::{Change, EntryLimit};
use crate::runs::encode_element;
use crate::{ByteStore, EntryKey, WriteBatch};
use backend_api::row::encode_value;
use backend_api::{Codec, Result, StateKey, StateValue};

/// Most sequence numbers that one call reuses. Elements beyond them are removed as a range.
const REUSED_NUMBERS: usize = 1024;

/// Fills the batch of one access. [`Access::write`](super::Access::write) writes it.
pub(crate) struct Writer<'w> {
    pub(super) store: &'w dyn ByteStore,
    pub(super) keys: &'w mut KeyBuffers,
    pub(super) batch: &'w mut WriteBatch,
    /// The sequence number of the next list element.
    pub(super) sequence: &'w mut u64,
    pub(super) limit: EntryLimit,
}

impl Writer<'_> {
    /// The batch, and the keys of the access.
    pub fn parts(&mut self) -> (&mut WriteBatch, &mut KeyBuffers) {
        (self.batch, self.keys)
    }

    /// Puts the value here.
    pub fn put<V: StateValue>(&mut self, value: &V, codec: &dyn Codec<V>) -> Result<()> {
        let size = self.batch.put_encoded(self.keys.here(), &[], |out| encode_value(value, codec, out))?;
        self.limit.check(size)
    }

    /// Puts a map entry here.
    pub fn put_entry<MK: StateKey, V: StateValue>(
        &mut self,
        key: &MK,
        value: &V,
        codec: &dyn Codec<V>,
    ) -> Result<()> {
        let size =
            self.batch.put_encoded(self.keys.entry(key)?, &[], |out| encode_value(value, codec, out))?;
        self.limit.check(size)
    }

    /// Appends elements to the list here. Returns their bytes.
    pub fn append<V: StateValue>(
        &mut self,
        elements: impl IntoIterator<Item = V>,
        codec: &dyn Codec<V>,
    ) -> Result<u64> {
        let (key, mut bytes) = (self.keys.here(), 0);
        for (index, element) in elements.into_iter().enumerate() {
            let number = || self.sequence.to_be_bytes();
            let size =
                self.batch.put_element(key, number, index > 0, |out| encode_element(&element, codec, out))?;
            *self.sequence += 1;
            self.limit.check(key.len() + EntryKey::SEQUENCE_BYTES + size)?;
            bytes += size as u64;
        }
        Ok(bytes)
    }

    /// Replaces the list here. The new elements reuse the sequence numbers of the old ones. Otherwise a store
    /// that compacts late would step over removed elements at each further read. Returns the bytes of both
    /// lists.
    pub fn replace<V: StateValue>(
        &mut self,
        elements: impl IntoIterator<Item = V>,
        codec: &dyn Codec<V>,
    ) -> Result<Change> {
        let prefix = self.keys.here().len();
        let mut change = Change::default();
        let (mut old, mut rest) = (Vec::new(), None);
        let (from, to) = self.keys.all();
        let mut cursor = self.store.scan(from, to)?;
        while let Some((key, run)) = cursor.next()? {
            let number =
                key.get(prefix..).and_then(|number| number.first_chunk().copied()).unwrap_or_default();
            if old.len() == REUSED_NUMBERS {
                rest = Some(number);
                break;
            }
            old.push(number);
            change.removed += run.len() as u64;
        }
        drop(cursor);
        if let Some(rest) = rest {
            // Comes before anything is put in this range.
            let (from, to) = self.keys.elements_from(rest);
            self.batch.delete_range(from, to);
        }
        let (key, mut old) = (self.keys.here(), old.into_iter());
        for (index, element) in elements.into_iter().enumerate() {
            let number = || {
                old.next().unwrap_or_else(|| {
                    *self.sequence += 1;
                    (*self.sequence - 1).to_be_bytes()
                })
            };
            let size =
                self.batch.put_element(key, number, index > 0, |out| encode_element(&element, codec, out))?;
            self.limit.check(key.len() + EntryKey::SEQUENCE_BYTES + size)?;
            change.added += size as u64;
        }
        old.for_each(|number| self.batch.delete_parts(key, &number));
        Ok(change)
    }

    /// Moves the elements of the list in another namespace to the end of the list here. Returns their bytes.
    pub fn move_elements<N: StateKey>(&mut self, namespace: &N) -> Result<u64> {
        let [from, to, key] = self.keys.all_in(namespace)?;
        let mut cursor = self.store.scan(from, to)?;
        let (mut found, mut bytes) = (false, 0);
        while let Some((_, run)) = cursor.next()? {
            bytes += run.len() as u64;
            self.batch.put_encoded(key, &self.sequence.to_be_bytes(), |out| {
                out.extend_from_slice(run);
                Ok(())
            })?;
            *self.sequence += 1;
            found = true;
        }
        if found {
            self.batch.delete_range(from, to);
        }
        Ok(bytes)
    }

    /// Removes the value here.
    pub fn delete(&mut self) {
        self.batch.delete(self.keys.here());
    }

    /// Removes the value in another namespace.
    pub fn delete_in<N: StateKey>(&mut self, namespace: &N) -> Result<()> {
        self.batch.delete(self.keys.in_namespace(namespace)?);
        Ok(())
    }

    /// Removes a map entry here.
    pub fn delete_entry<MK: StateKey>(&mut self, key: &MK) -> Result<()> {
        self.batch.delete(self.keys.entry(key)?);
        Ok(())
    }

    /// Removes all entries here.
    pub fn delete_all(&mut self) {
        let (from, to) = self.keys.all();
        self.batch.delete_range(from, to);
    }
}
