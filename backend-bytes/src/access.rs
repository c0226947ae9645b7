//! One access: a state at a key and namespace, in terms of bytes.

use std::iter::from_fn;

use super::cache::{Cache, Changes, Collection, Object};
use super::fetched::Fetched;
use super::runs::{ElementCursor, RUN_BYTES, encode_element, taken};
use super::totals::{Change, Totals};
use super::{ByteCursor, ByteStore, EntryKey, WriteBatch};
use backend_api::format::StateMeta;
use backend_api::row::varint_len;
use backend_api::{Codec, Error, ErrorKind, Result, StateKey, StateValue};

/// Numbers of elements that one call uses again; more elements are removed as a range.
const REUSED_NUMBERS: usize = 1024;

/// What accesses use again and again, so that they allocate nothing.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// State, key group, key and namespace of the access.
    pub(super) key: Vec<u8>,
    /// Another key, or the start of a range.
    pub(super) from: Vec<u8>,
    /// The end of a range.
    to: Vec<u8>,
    /// The writes of one call.
    pub(super) batch: WriteBatch,
    /// Values that accesses of one batch find here.
    pub(super) fetched: Fetched,
    /// Number of the next list element.
    sequence: u64,
}

/// One state at one key and namespace.
pub(super) struct Access<'a> {
    pub(super) store: &'a mut dyn ByteStore,
    pub(super) buffers: &'a mut Buffers,
    pub(super) totals: &'a mut Totals,
    pub place: Place<'a>,
    pub(super) entry_bytes_max: u64,
    /// Length of the key without the namespace.
    key_len: usize,
}

/// Where an error occurs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub meta: &'a StateMeta,
    pub group: Option<u16>,
}

impl Place<'_> {
    /// Names state and key group.
    #[cold]
    pub fn name(self, error: Error) -> Error {
        let error = error.in_state(&self.meta.name);
        match self.group {
            Some(group) => error.in_group(group),
            None => error,
        }
    }
}

impl Buffers {
    /// Empty ones, where the next list element gets that number.
    pub fn starting_at(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }

    /// The number of the next list element.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The batch to fill, which is empty, and the number that the next list element gets.
    pub fn batch(&mut self) -> (&mut WriteBatch, &mut u64) {
        self.batch.clear();
        (&mut self.batch, &mut self.sequence)
    }
}

impl<'a> Access<'a> {
    #[inline(always)]
    pub fn new<K: StateKey, N: StateKey>(
        store: &'a mut dyn ByteStore,
        buffers: &'a mut Buffers,
        totals: &'a mut Totals,
        meta: &'a StateMeta,
        (state, group): (u16, u16),
        (key, namespace): (&K, &N),
        entry_bytes_max: u64,
    ) -> Result<Self> {
        buffers.key.clear();
        buffers.key.extend_from_slice(&EntryKey::head_of(state, group));
        key.encode(&mut buffers.key);
        let key_len = buffers.key.len();
        let place = Place { meta, group: Some(group) };
        let access = Self { store, buffers, totals, place, entry_bytes_max, key_len };
        namespace.check().map_err(|error| place.name(error))?;
        namespace.encode(&mut access.buffers.key);
        access.buffers.batch.clear();
        Ok(access)
    }

    /// The key of the value here.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.buffers.key
    }

    /// The key of the value in another namespace.
    pub fn key_in<N: StateKey>(&mut self, namespace: &N) -> Result<&[u8]> {
        self.set_other(namespace)?;
        Ok(&self.buffers.from)
    }

    /// Bytes of the value's entry.
    ///
    /// # Errors
    /// If it cannot be encoded, or is too long.
    #[inline]
    pub fn value_size<V: StateValue>(&mut self, value: &V, codec: &dyn Codec<V>) -> Result<usize> {
        if let Some(len) = codec.fixed_len() {
            return self.check(Ok(self.buffers.key.len() + len));
        }
        let Buffers { key, from, .. } = &mut *self.buffers;
        from.clone_from(key);
        self.size(value, codec)
    }

    /// Hands list elements to `keep` that can be encoded and are not too long; their bytes, and those of the longest one's
    /// entry.
    ///
    /// # Errors
    /// As [`value_size`](Self::value_size); some were handed over then.
    #[inline]
    pub fn element_sizes<V: StateValue>(
        &mut self,
        elements: impl IntoIterator<Item = V>,
        codec: &dyn Codec<V>,
        mut keep: impl FnMut(V),
    ) -> Result<(u64, usize)> {
        let Buffers { key, from, .. } = &mut *self.buffers;
        let head = key.len() + EntryKey::SEQUENCE_BYTES;
        let (mut bytes, mut longest) = (0, 0);
        from.clear();
        for element in elements {
            if from.len() > RUN_BYTES {
                from.clear();
            }
            let before = from.len();
            let encoded = codec.encode(&element, from);
            let length = from.len().checked_sub(before).ok_or_else(taken);
            let length = encoded.and(length).map_err(|error| self.place.name(error))?;
            let size = length + varint_len(length as u64);
            if (head + size) as u64 > self.entry_bytes_max {
                return Err(self.place.name(too_long(head + size, self.entry_bytes_max)));
            }
            bytes += size as u64;
            longest = longest.max(head + size);
            keep(element);
        }
        Ok((bytes, longest))
    }

    /// Bytes of a map entry, and of the map key.
    ///
    /// # Errors
    /// As [`value_size`](Self::value_size).
    #[inline]
    pub fn entry_size<MK: StateKey, V: StateValue>(
        &mut self,
        key: &MK,
        value: &V,
        codec: &dyn Codec<V>,
    ) -> Result<(usize, usize)> {
        self.set_entry(key)?;
        let key_len = self.buffers.from.len() - self.buffers.key.len();
        Ok((self.size(value, codec)?, key_len))
    }

    /// Bytes of an entry that has the key `from`.
    #[inline]
    fn size<V: StateValue>(&mut self, value: &V, codec: &dyn Codec<V>) -> Result<usize> {
        let from = &mut self.buffers.from;
        let key_len = from.len();
        if let Some(len) = codec.fixed_len() {
            return self.check(Ok(key_len + len));
        }
        let encoded = codec.encode(value, from);
        let size =
            if from.len() < key_len { encoded.and(Err(taken())) } else { encoded.map(|()| from.len()) };
        self.check(size)
    }

    /// Whether an entry may have so many bytes.
    #[inline]
    fn check(&self, size: Result<usize>) -> Result<usize> {
        check_size(size, self.entry_bytes_max).map_err(|error| self.place.name(error))
    }

    /// Bytes of the encoding of a map key.
    ///
    /// # Errors
    /// If it has none.
    #[inline]
    pub fn map_key_size<MK: StateKey>(&mut self, key: &MK) -> Result<usize> {
        self.set_entry(key)?;
        Ok(self.buffers.from.len() - self.buffers.key.len())
    }

    /// The number of the next list element, of so many.
    #[inline]
    pub fn take_numbers(&mut self, elements: usize) -> u64 {
        let number = self.buffers.sequence;
        self.buffers.sequence += elements as u64;
        number
    }

    /// Adds to the batch: what a cache has here that the store does not have.
    pub fn add_cached<O: Object>(&mut self, cache: &Cache<O>) -> Result<()> {
        let mut changes = Changes::default();
        cache.lock().encode(&self.buffers.key, &mut changes)?;
        changes.move_to(&mut self.buffers.batch);
        Ok(())
    }

    /// As [`add_cached`](Self::add_cached), in another namespace.
    pub fn add_cached_in<N: StateKey, O: Object>(&mut self, namespace: &N, cache: &Cache<O>) -> Result<()> {
        self.set_other(namespace)?;
        let mut changes = Changes::default();
        cache.lock().encode(&self.buffers.from, &mut changes)?;
        changes.move_to(&mut self.buffers.batch);
        Ok(())
    }

    /// Changes what a cache knows of the list or map here; of one that has grown too long, after that is written.
    #[inline]
    pub fn change_cached<O: Collection>(
        &mut self,
        cache: &Cache<O>,
        change: impl FnOnce(&mut O, &dyn Codec<O::Value>),
    ) -> Result<()> {
        let mut table = cache.lock();
        let mut found = table.find(self.key());
        if found.and_then(|at| table.object(at)).is_some_and(O::is_too_long) {
            drop(table);
            self.give_up(cache)?;
            table = cache.lock();
            found = table.find(self.key());
        }
        table.change(self.key(), found, change).map_err(|error| self.place.name(error))
    }

    /// Removes all of the list or map here.
    pub fn clear_collection<O: Collection>(&mut self, cache: Option<&Cache<O>>) -> Result<()> {
        let bytes = self.least(cache)?;
        if let Some(cache) = cache {
            let mut table = cache.lock();
            let found = table.find(self.key());
            if !found.and_then(|at| table.object(at)).is_some_and(O::is_clear) {
                let cleared = table.change(self.key(), found, |collection, _| collection.clear());
                cleared.map_err(|error| self.place.name(error))?;
            }
        } else {
            self.write(|access| {
                access.delete_all();
                Ok(())
            })?;
        }
        self.totals.clear(&self.buffers.key, bytes);
        Ok(())
    }

    /// Writes what the store does not have of the list or map here and what `add` adds behind it, past the cache.
    pub fn write_past<O: Collection>(
        &mut self,
        cache: &Cache<O>,
        add: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.write(|access| {
            access.add_cached(cache)?;
            add(access)
        })?;
        cache.lock().forget(self.key());
        Ok(())
    }

    /// Writes what the store does not have of the list or map here, which is too long, and has the cache remember that it is.
    #[cold]
    pub fn give_up<O: Collection>(&mut self, cache: &Cache<O>) -> Result<()> {
        self.write_past(cache, |_| Ok(()))?;
        cache.lock().keep(self.key(), O::long()).map(drop).map_err(|error| self.place.name(error))
    }

    /// The value here in the store.
    #[inline]
    pub fn read<V: StateValue>(&self, codec: &dyn Codec<V>) -> Result<Option<V>> {
        let Buffers { key, fetched, .. } = &*self.buffers;
        if !fetched.is_empty() {
            let mut value = None;
            if fetched.take(key, &mut |bytes| value = bytes.map(|bytes| codec.decode(bytes))) {
                return value.transpose().map_err(|error| self.place.name(error));
            }
        }
        self.read_at(key, codec)
    }

    /// The value in another namespace in the store.
    pub fn read_in<N: StateKey, V: StateValue>(
        &mut self,
        namespace: &N,
        codec: &dyn Codec<V>,
    ) -> Result<Option<V>> {
        self.set_other(namespace)?;
        self.read_at(&self.buffers.from, codec)
    }

    /// The value of a map entry here.
    #[inline]
    pub fn read_entry<MK: StateKey, V: StateValue>(
        &mut self,
        key: &MK,
        codec: &dyn Codec<V>,
    ) -> Result<Option<V>> {
        self.set_entry(key)?;
        self.read_at(&self.buffers.from, codec)
    }

    /// Whether there is a map entry here.
    pub fn has_entry<MK: StateKey>(&mut self, key: &MK) -> Result<bool> {
        self.set_entry(key)?;
        let mut found = false;
        self.store
            .get(&self.buffers.from, &mut |bytes| found = bytes.is_some())
            .map_err(|error| self.place.name(error))?;
        Ok(found)
    }

    /// Whether any entry begins with the key.
    pub fn has_any(&mut self) -> Result<bool> {
        let mut cursor = self.scan_all()?;
        let found = cursor.next().map(|entry| entry.is_some());
        drop(cursor);
        found.map_err(|error| self.place.name(error))
    }

    /// All entries that begin with the key.
    pub fn scan_all(&mut self) -> Result<Box<dyn ByteCursor + '_>> {
        let Buffers { key, to, .. } = &mut *self.buffers;
        EntryKey::successor(key, to);
        self.store.scan(&self.buffers.key, &self.buffers.to).map_err(|error| self.place.name(error))
    }

    /// The elements of a list with numbers below `end`.
    pub fn scan_elements(&mut self, end: Option<u64>) -> Result<ElementCursor<'_>> {
        let Some(end) = end else { return self.scan_all().map(ElementCursor::new) };
        let Buffers { key, to, .. } = &mut *self.buffers;
        to.clone_from(key);
        to.extend_from_slice(&end.to_be_bytes());
        let runs = self.store.scan(&self.buffers.key, &self.buffers.to);
        runs.map(ElementCursor::new).map_err(|error| self.place.name(error))
    }

    /// The entries of a map from the key that `from` appends to the one that `to` appends; `true` asks for the place
    /// behind the key.
    pub fn scan_entries<MK: StateKey>(
        &mut self,
        from: Option<(&MK, bool)>,
        to: Option<(&MK, bool)>,
    ) -> Result<Box<dyn ByteCursor + '_>> {
        let Buffers { key, from: start, to: end, .. } = &mut *self.buffers;
        bound(key, from, start);
        match to {
            Some(_) => bound(key, to, end),
            None => EntryKey::successor(key, end),
        }
        self.store.scan(start, end).map_err(|error| self.place.name(error))
    }

    /// Length of the key here, which the keys of all its entries begin with.
    pub fn prefix_len(&self) -> usize {
        self.buffers.key.len()
    }

    /// Adds to the batch: the value here.
    pub fn put<V: StateValue>(&mut self, value: &V, codec: &dyn Codec<V>) -> Result<()> {
        let Buffers { key, batch, .. } = &mut *self.buffers;
        let put = batch.put_encoded(key, &[], |out| codec.encode(value, out));
        check_size(put, self.entry_bytes_max).map(drop)
    }

    /// Adds to the batch: elements behind all others here. Gives their bytes.
    pub fn append<V: StateValue>(
        &mut self,
        elements: impl IntoIterator<Item = V>,
        codec: &dyn Codec<V>,
    ) -> Result<u64> {
        let Buffers { key, batch, sequence, .. } = &mut *self.buffers;
        let mut bytes = 0;
        for (index, element) in elements.into_iter().enumerate() {
            let number = || sequence.to_be_bytes();
            let size =
                batch.put_element(key, number, index > 0, |out| encode_element(&element, codec, out))?;
            *sequence += 1;
            check_size(Ok(key.len() + EntryKey::SEQUENCE_BYTES + size), self.entry_bytes_max)?;
            bytes += size as u64;
        }
        Ok(bytes)
    }

    /// Adds to the batch: the elements here go, and these come. They take the numbers of those that go: a store that keeps
    /// what was removed until it has time for it would have to step over that at each further read. Gives the bytes of both.
    pub fn replace<V: StateValue>(
        &mut self,
        elements: impl IntoIterator<Item = V>,
        codec: &dyn Codec<V>,
    ) -> Result<Change> {
        let prefix = self.prefix_len();
        let mut change = Change::default();
        let (mut old, mut rest) = (Vec::new(), None);
        let mut cursor = self.scan_all()?;
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
        let Buffers { key, from, to, batch, sequence, .. } = &mut *self.buffers;
        if let Some(rest) = rest {
            from.clone_from(key);
            from.extend_from_slice(&rest);
            EntryKey::successor(key, to);
            // Before anything is put behind it.
            batch.delete_range(from, to);
        }
        let mut old = old.into_iter();
        for (index, element) in elements.into_iter().enumerate() {
            let number = || {
                old.next().unwrap_or_else(|| {
                    *sequence += 1;
                    (*sequence - 1).to_be_bytes()
                })
            };
            let size =
                batch.put_element(key, number, index > 0, |out| encode_element(&element, codec, out))?;
            check_size(Ok(key.len() + EntryKey::SEQUENCE_BYTES + size), self.entry_bytes_max)?;
            change.added += size as u64;
        }
        old.for_each(|number| batch.delete_parts(key, &number));
        Ok(change)
    }

    /// Adds to the batch: a map entry here.
    pub fn put_entry<MK: StateKey, V: StateValue>(
        &mut self,
        key: &MK,
        value: &V,
        codec: &dyn Codec<V>,
    ) -> Result<()> {
        self.set_entry(key)?;
        let Buffers { from, batch, .. } = &mut *self.buffers;
        let put = batch.put_encoded(from, &[], |out| codec.encode(value, out));
        check_size(put, self.entry_bytes_max).map(drop)
    }

    /// Adds to the batch: the value here goes.
    pub fn delete(&mut self) {
        self.buffers.batch.delete(&self.buffers.key);
    }

    /// Adds to the batch: a map entry here goes.
    pub fn delete_entry<MK: StateKey>(&mut self, key: &MK) -> Result<()> {
        self.set_entry(key)?;
        self.buffers.batch.delete(&self.buffers.from);
        Ok(())
    }

    /// Adds to the batch: all entries that begin with the key go.
    pub fn delete_all(&mut self) {
        let Buffers { key, to, batch, .. } = &mut *self.buffers;
        EntryKey::successor(key, to);
        batch.delete_range(key, to);
    }

    /// Adds to the batch: the value in another namespace goes.
    pub fn delete_in<N: StateKey>(&mut self, namespace: &N) -> Result<()> {
        self.set_other(namespace)?;
        self.buffers.batch.delete(&self.buffers.from);
        Ok(())
    }

    /// Adds to the batch: the list in another namespace goes, its elements behind those here. Gives their bytes.
    pub fn move_elements<N: StateKey>(&mut self, namespace: &N) -> Result<u64> {
        self.set_other(namespace)?;
        let Buffers { key, from, to, batch, sequence, .. } = &mut *self.buffers;
        EntryKey::successor(from, to);
        let mut cursor = self.store.scan(from, to)?;
        let (mut found, mut bytes) = (false, 0);
        while let Some((_, run)) = cursor.next()? {
            bytes += run.len() as u64;
            batch.put_encoded(key, &sequence.to_be_bytes(), |out| {
                out.extend_from_slice(run);
                Ok(())
            })?;
            *sequence += 1;
            found = true;
        }
        if found {
            batch.delete_range(from, to);
        }
        Ok(bytes)
    }

    /// Writes the batch.
    pub fn commit(&mut self) -> Result<()> {
        let batch = &mut self.buffers.batch;
        let written = if batch.is_empty() { Ok(()) } else { self.store.write(batch) };
        batch.clear();
        written.map_err(|error| self.place.name(error))
    }

    /// Empties the batch.
    pub fn start_batch(&mut self) {
        self.buffers.batch.clear();
    }

    /// Makes `add` fill the batch, and writes it; if it fails or panics, nothing is written.
    pub fn write(&mut self, add: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.buffers.batch.clear();
        add(self).map_err(|error| self.place.name(error))?;
        self.commit()
    }

    fn read_at<V: StateValue>(&self, key: &[u8], codec: &dyn Codec<V>) -> Result<Option<V>> {
        let mut value = None;
        self.store
            .get(key, &mut |bytes| value = bytes.map(|bytes| codec.decode(bytes)))
            .and_then(|()| value.transpose())
            .map_err(|error| self.place.name(error))
    }

    fn set_entry<MK: StateKey>(&mut self, key: &MK) -> Result<()> {
        key.check().map_err(|error| self.place.name(error))?;
        bound(&self.buffers.key, Some((key, false)), &mut self.buffers.from);
        Ok(())
    }

    pub(super) fn set_other<N: StateKey>(&mut self, namespace: &N) -> Result<()> {
        namespace.check().map_err(|error| self.place.name(error))?;
        let Buffers { key, from, .. } = &mut *self.buffers;
        from.clear();
        from.extend_from_slice(key.get(..self.key_len).unwrap_or(key));
        namespace.encode(from);
        Ok(())
    }
}

/// The entry that was just put must not be too long.
#[inline]
fn check_size(put: Result<usize>, max: u64) -> Result<usize> {
    let size = put?;
    if size as u64 <= max { Ok(size) } else { Err(too_long(size, max)) }
}

#[cold]
fn too_long(size: usize, max: u64) -> Error {
    let message = format!("key and value of {size} bytes exceed the limit of {max} bytes for an entry");
    Error::new(ErrorKind::Size, message)
}

/// The place of a map key under `prefix`, or the one right behind it.
fn bound<MK: StateKey>(prefix: &[u8], key: Option<(&MK, bool)>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(prefix);
    if let Some((key, behind)) = key {
        key.encode(out);
        if behind {
            // No encoding of a key goes on where another one ends.
            out.push(0);
        }
    }
}

/// What `decode` makes of the entries of a cursor; ends after an error.
pub(super) fn decoded<'c, T>(
    mut cursor: Box<dyn ByteCursor + 'c>,
    place: Place<'c>,
    mut decode: impl FnMut(&[u8], &[u8]) -> Option<Result<T>>,
) -> impl Iterator<Item = Result<T>> {
    let mut ended = false;
    from_fn(move || {
        while !ended {
            match cursor.next() {
                Ok(Some((key, value))) => match decode(key, value) {
                    Some(item) => {
                        ended = item.is_err();
                        return Some(item.map_err(|error| place.name(error)));
                    }
                    None => continue,
                },
                Ok(None) => ended = true,
                Err(error) => {
                    ended = true;
                    return Some(Err(place.name(error)));
                }
            }
        }
        None
    })
}
