use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::from_fn;
use std::ops::RangeBounds;

use super::collections;
use crate::access::{Access, decoded};
use crate::cache::{Cache, CachedMap, Collection, VALUE_BYTES_MAX};
use crate::limits::Change;
use backend_api::ttl::Either;
use backend_api::{
    BoxError, Codec, MapState, Result, StateKey, StateValue, check_ascending, check_equal_keys, check_found,
    update_failed,
};

/// A map state of a [`ByteBackend`](crate::ByteBackend). Each entry is read and written on its own. Iteration
/// streams from the store if the map is not cached.
pub struct ByteMap<'a, MK: StateKey, MV: StateValue> {
    pub(crate) access: Access<'a>,
    pub(crate) cache: Option<&'a Cache<CachedMap<MK, MV>>>,
    pub(crate) codec: &'a dyn Codec<MV>,
}

impl<MK: StateKey, MV: StateValue> MapState<MK, MV> for ByteMap<'_, MK, MV> {
    #[inline]
    fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        self.check_known(key)?;
        let Self { access, codec, .. } = self;
        let Some(cache) = self.cache else { return Ok(f(access.reader().entry(key, *codec)?.as_ref())) };
        if let Some(mut known) = cache.entry(access.key()).known() {
            if let Some(value) = known.get().and_then(|map| map.get(key)) {
                return Ok(f(value));
            }
            known.missed();
        }
        let value = access.reader().entry(key, *codec)?;
        let result = f(value.as_ref());
        self.keep_read(cache, key, value)?;
        Ok(result)
    }

    #[inline]
    fn put(&mut self, key: MK, value: MV) -> Result<()> {
        self.check_known(&key)?;
        let Self { access, codec, .. } = self;
        let codec = *codec;
        let Some(cache) = self.cache else {
            return access.charging().write_entries(|writer| writer.put_entry(&key, &value, codec));
        };
        let (size, key_size) = access.sizes().entry(&key, &value, codec)?;
        let added = access.charging().content(size);
        let removed = if access.charging().is_close(added) { self.bytes_of(&key)? } else { 0 };
        charged(&mut self.access, cache, Change { added, removed }, |access| {
            if size > VALUE_BYTES_MAX {
                return collections::write_past(access, cache, |writer| {
                    writer.put_entry(&key, &value, codec)
                });
            }
            let key_heap = key_heap::<MK>(key_size);
            collections::change(access, cache, |map, codec| map.put(key, value, key_heap, codec))
        })
    }

    fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> Result<()> {
        let codec = self.codec;
        let Some(cache) = self.cache else {
            return self.access.charging().write_entries(|writer| {
                entries.into_iter().try_for_each(|(key, value)| writer.put_entry(&key, &value, codec))
            });
        };
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        let (mut key_bytes, mut bytes, mut longest) = (0, 0, 0);
        for (key, value) in entries {
            let (size, key_size) = self.access.sizes().entry(&key, &value, codec)?;
            key_bytes += key_size;
            bytes += size;
            longest = longest.max(size);
            sizes.push(self.access.charging().content(size));
            all.push((key, value));
        }
        if all.is_empty() {
            return Ok(());
        }
        check_equal_keys(all.iter().map(|(key, _)| key)).map_err(|error| self.access.origin.name(error))?;
        all.iter().try_for_each(|(key, _)| self.check_known(key))?;
        let mut change = Change::adding(sizes.iter().sum());
        if self.access.charging().is_close(change.added) {
            // If an entry is put twice, only the last one counts.
            let last: BTreeMap<&MK, u64> = all.iter().map(|(key, _)| key).zip(sizes).collect();
            change.added = last.values().sum();
            for key in last.keys() {
                change.removed += self.bytes_of(key)?;
            }
        }
        charged(&mut self.access, cache, change, |access| {
            if longest > VALUE_BYTES_MAX || CachedMap::<MK, MV>::exceeds(all.len(), bytes) {
                return collections::write_past(access, cache, |writer| {
                    all.iter().try_for_each(|(key, value)| writer.put_entry(key, value, codec))
                });
            }
            let key_heap = key_heap::<MK>(key_bytes / all.len());
            collections::change(access, cache, |map, codec| {
                all.into_iter().for_each(|(key, value)| map.put(key, value, key_heap, codec));
            })
        })
    }

    #[inline]
    fn remove(&mut self, key: &MK) -> Result<()> {
        self.check_known(key)?;
        let Some(cache) = self.cache else {
            return self.access.charging().write_entries(|writer| writer.delete_entry(key));
        };
        let key_heap = key_heap::<MK>(self.access.sizes().map_key(key)?);
        let removed = if self.access.charging().is_close(0) { self.bytes_of(key)? } else { 0 };
        let access = &mut self.access;
        if matches!(cache.entry(access.key()).get().and_then(|map| map.get(key)), Some(None)) {
            return Ok(());
        }
        charged(access, cache, Change { added: 0, removed }, |access| {
            collections::change(access, cache, |map, codec| map.remove(key, key_heap, codec))
        })
    }

    fn try_update<R>(
        &mut self,
        key: MK,
        f: impl FnOnce(&mut Option<MV>) -> Result<R, BoxError>,
    ) -> Result<R> {
        let mut value = self.get(&key)?;
        let is_stored = value.is_some();
        let result = f(&mut value).map_err(|cause| self.access.origin.name(update_failed(cause)))?;
        match value {
            Some(value) => self.put(key, value)?,
            None if is_stored => self.remove(&key)?,
            None => (),
        }
        Ok(result)
    }

    fn range(
        &mut self,
        range: impl RangeBounds<MK>,
    ) -> Result<impl Iterator<Item = Result<(Cow<'_, MK>, Cow<'_, MV>)>>> {
        if let Some(cache) = self.cache
            && let Some(slot) = self.whole(cache)?
        {
            let mut positions = cache.lock().object(slot).map_or(0..0, |map| map.positions(&range));
            // Nothing changes the map while the view is borrowed. The lock is released, because the reader
            // may be slow.
            let next = from_fn(move || {
                let table = cache.lock();
                let (key, value) = table.object(slot)?.next_in(&mut positions)?;
                Some(Ok((Cow::Owned(key.clone()), Cow::Owned(value.clone()))))
            });
            return Ok(Either::Left(next));
        }
        let (origin, codec, prefix) = (self.access.origin, self.codec, self.access.key().len());
        let cursor = self.access.reader().entries(&range)?;
        Ok(Either::Right(decoded(cursor, origin, move |key, value| {
            let entry = decode_entry(key, prefix, value, codec);
            Some(entry.map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))))
        })))
    }

    fn clear(&mut self) -> Result<()> {
        collections::clear(&mut self.access, self.cache)
    }

    #[inline]
    fn contains(&mut self, key: &MK) -> Result<bool> {
        match self.cache {
            Some(_) => self.with(key, |value| value.is_some()),
            None => self.access.reader().has_entry(key),
        }
    }

    fn is_empty(&mut self) -> Result<bool> {
        let Some(cache) = self.cache else { return Ok(!self.access.reader().has_any()?) };
        if let Some(is_empty) = cache.entry(self.access.key()).get().and_then(CachedMap::is_empty) {
            return Ok(is_empty);
        }
        match self.whole(cache)? {
            Some(slot) => Ok(cache.lock().object(slot).and_then(CachedMap::is_empty).unwrap_or_default()),
            None => Ok(!self.access.reader().has_any()?),
        }
    }
}

impl<MK: StateKey, MV: StateValue> ByteMap<'_, MK, MV> {
    /// In debug builds, checks that the cache does not confuse the key with another one.
    #[inline]
    fn check_known(&self, key: &MK) -> Result<()> {
        let (true, Some(cache)) = (cfg!(debug_assertions), self.cache) else { return Ok(()) };
        let entry = cache.entry(self.access.key());
        let found = entry.get().and_then(|map| map.known_key(key));
        found.map_or(Ok(()), |found| check_found(found, key)).map_err(|error| self.access.origin.name(error))
    }

    /// Bytes of an entry, or 0 if it is missing.
    #[cold]
    fn bytes_of(&mut self, key: &MK) -> Result<u64> {
        let (origin, codec, mut bytes) = (self.access.origin, self.codec, Vec::new());
        key.encode(&mut bytes);
        let found = self.with(key, |value| value.map(|value| codec.encode(value, &mut bytes)))?;
        match found {
            Some(encoded) => encoded.map(|()| bytes.len() as u64).map_err(|error| origin.name(error)),
            None => Ok(0),
        }
    }

    /// Loads the whole map into the cache, and returns its slot. `None` if it must be read from the store,
    /// which has all of it then.
    fn whole(&mut self, cache: &Cache<CachedMap<MK, MV>>) -> Result<Option<u32>> {
        let Self { access, codec, .. } = self;
        let entry = cache.entry(access.key());
        let keeps_reads = entry.keeps_reads();
        match entry.known() {
            Some(mut known) => {
                let (slot, is_dirty) = (known.slot(), known.is_dirty());
                let Some(map) = known.get() else { return Ok(None) };
                if map.is_whole() {
                    known.fill(|map, _| map.tidy());
                    return Ok(Some(slot));
                }
                if map.is_long() {
                    drop(known);
                    if is_dirty {
                        collections::spill(access, cache)?;
                    }
                    return Ok(None);
                }
                known.missed();
            }
            None if keeps_reads => {}
            None => return Ok(None),
        }
        let (origin, prefix) = (access.origin, access.key().len());
        let (mut entries, mut heap) = (Vec::<(MK, MV)>::new(), 0);
        let mut cursor = access.reader().all()?;
        while let Some((key, value)) = cursor.next().map_err(|error| origin.name(error))? {
            let key_size = key.len() - prefix;
            let entry = decode_entry(key, prefix, value, *codec);
            let (key, value) = entry.map_err(|error| origin.name(error))?;
            if let Some((before, _)) = entries.last() {
                check_ascending(before, &key).map_err(|error| origin.name(error))?;
            }
            heap += key_heap::<MK>(key_size) + codec.heap_size(&value);
            entries.push((key, value));
            if CachedMap::<MK, MV>::exceeds(entries.len(), heap) {
                drop(cursor);
                return collections::spill(access, cache).map(|()| None);
            }
        }
        drop(cursor);
        let known = cache.entry(access.key()).or_default(access.key());
        let mut known = known.map_err(|error| origin.name(error))?;
        known.fill(|map, codec| map.complete(entries, heap, codec));
        Ok(Some(known.slot()))
    }

    /// Keeps an entry that was read, if reads are worth keeping.
    fn keep_read(&mut self, cache: &Cache<CachedMap<MK, MV>>, key: &MK, value: Option<MV>) -> Result<()> {
        let access = &mut self.access;
        let key_heap = key_heap::<MK>(access.sizes().map_key(key)?);
        let entry = cache.entry(access.key());
        if entry.keeps_reads() {
            let known = entry.or_default(access.key());
            let mut known = known.map_err(|error| access.origin.name(error))?;
            known.fill(|map, codec| map.fill(key.clone(), value, key_heap, codec));
        }
        Ok(())
    }
}

/// Lets `apply` change the map, if it stays within the limit.
#[inline]
fn charged<'a, MK: StateKey, MV: StateValue>(
    access: &mut Access<'a>,
    cache: &Cache<CachedMap<MK, MV>>,
    change: Change,
    apply: impl FnOnce(&mut Access<'a>) -> Result<()>,
) -> Result<()> {
    let write_out = |access: &mut Access<'a>| collections::write_past(access, cache, |_| Ok(()));
    access.charging().apply(change, write_out, apply)
}

/// Approximate bytes that a map key owns on the heap. `encoded` is the length of its encoding.
#[inline]
fn key_heap<MK>(encoded: usize) -> usize {
    if std::mem::needs_drop::<MK>() { encoded } else { 0 }
}

fn decode_entry<MK: StateKey, MV: StateValue>(
    key: &[u8],
    prefix: usize,
    value: &[u8],
    codec: &dyn Codec<MV>,
) -> Result<(MK, MV)> {
    let mut key = key.get(prefix..).unwrap_or_default();
    Ok((MK::decode(&mut key)?, codec.decode(value)?))
}
