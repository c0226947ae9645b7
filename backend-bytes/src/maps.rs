//! Maps of a state, through its cache if it has one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::from_fn;
use std::ops::{Bound, RangeBounds};

use super::access::{Access, decoded};
use super::cache::{AnyCache, Cache, CachedMap, Collection, VALUE_BYTES_MAX};
use super::either::Either;
use super::totals::Change;
use backend_api::{Codec, Result, StateKey, StateValue};

/// How the maps of one state are read and written.
pub(super) struct Maps<'a, MK: StateKey, MV: StateValue> {
    cache: Option<&'a Cache<CachedMap<MK, MV>>>,
    codec: &'a dyn Codec<MV>,
}

impl<'a, MK: StateKey, MV: StateValue> Maps<'a, MK, MV> {
    #[inline]
    pub fn new(cache: Option<&'a dyn AnyCache>, codec: &'a dyn Codec<MV>) -> Self {
        Self { cache: cache.and_then(|cache| cache.as_any().downcast_ref()), codec }
    }

    /// Lends the value of an entry to `f`.
    #[inline]
    pub fn with<R>(&self, access: &mut Access<'_>, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        let Some(cache) = self.cache else { return Ok(f(access.read_entry(key, self.codec)?.as_ref())) };
        {
            let mut table = cache.lock();
            if let Some(at) = table.find(access.key()) {
                if let Some(known) = table.object(at).and_then(|map| map.get(key)) {
                    return Ok(f(known));
                }
                table.missed();
            }
        }
        let value = access.read_entry(key, self.codec)?;
        let result = f(value.as_ref());
        self.learn(cache, access, key, value)?;
        Ok(result)
    }

    /// Whether there is an entry.
    #[inline]
    pub fn contains(&self, access: &mut Access<'_>, key: &MK) -> Result<bool> {
        match self.cache {
            Some(_) => self.with(access, key, |value| value.is_some()),
            None => access.has_entry(key),
        }
    }

    /// Puts an entry. It is encoded also if it is only kept, so that one that cannot be, or is too long, is refused.
    #[inline]
    pub fn put(&self, access: &mut Access<'_>, key: MK, value: MV) -> Result<()> {
        let Some(cache) = self.cache else {
            return access.write_entries(|access| access.put_entry(&key, &value, self.codec));
        };
        let (size, key_size) = access.entry_size(&key, &value, self.codec)?;
        let added = access.content(size);
        let removed = if access.is_close(added) { self.bytes_of(access, &key)? } else { 0 };
        self.charged(cache, access, Change { added, removed }, |access| {
            if size > VALUE_BYTES_MAX {
                return self.write_past(cache, access, &[(key, value)]);
            }
            let key_heap = key_heap::<MK>(key_size);
            access.change_cached(cache, |map, codec| map.put(key, value, key_heap, codec))
        })
    }

    /// Puts entries, all or none.
    pub fn put_all(
        &self,
        access: &mut Access<'_>,
        entries: impl IntoIterator<Item = (MK, MV)>,
    ) -> Result<()> {
        let Some(cache) = self.cache else {
            return access.write_entries(|access| {
                entries.into_iter().try_for_each(|(key, value)| access.put_entry(&key, &value, self.codec))
            });
        };
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        let (mut key_bytes, mut bytes, mut longest) = (0, 0, 0);
        for (key, value) in entries {
            let (size, key_size) = access.entry_size(&key, &value, self.codec)?;
            key_bytes += key_size;
            bytes += size;
            longest = longest.max(size);
            sizes.push(access.content(size));
            all.push((key, value));
        }
        if all.is_empty() {
            return Ok(());
        }
        let mut change = Change::adding(sizes.iter().sum());
        if access.is_close(change.added) {
            // Of one that is put twice only the last counts.
            let last: BTreeMap<&MK, u64> = all.iter().map(|(key, _)| key).zip(sizes).collect();
            change.added = last.values().sum();
            for key in last.keys() {
                change.removed += self.bytes_of(access, key)?;
            }
        }
        self.charged(cache, access, change, |access| {
            if longest > VALUE_BYTES_MAX || CachedMap::<MK, MV>::exceeds(all.len(), bytes) {
                return self.write_past(cache, access, &all);
            }
            let key_heap = key_heap::<MK>(key_bytes / all.len());
            access.change_cached(cache, |map, codec| {
                all.into_iter().for_each(|(key, value)| map.put(key, value, key_heap, codec));
            })
        })
    }

    /// Removes an entry.
    #[inline]
    pub fn remove(&self, access: &mut Access<'_>, key: &MK) -> Result<()> {
        let Some(cache) = self.cache else { return access.write_entries(|access| access.delete_entry(key)) };
        let key_heap = key_heap::<MK>(access.map_key_size(key)?);
        let removed = if access.is_close(0) { self.bytes_of(access, key)? } else { 0 };
        {
            let mut table = cache.lock();
            let found = table.find(access.key());
            if matches!(found.and_then(|at| table.object(at)?.get(key)), Some(None)) {
                return Ok(());
            }
        }
        self.charged(cache, access, Change { added: 0, removed }, |access| {
            access.change_cached(cache, |map, codec| map.remove(key, key_heap, codec))
        })
    }

    /// Bytes of an entry; 0 if there is none.
    #[cold]
    fn bytes_of(&self, access: &mut Access<'_>, key: &MK) -> Result<u64> {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        let found =
            self.with(access, key, |value| value.map(|value| self.codec.encode(value, &mut bytes)))?;
        match found {
            Some(encoded) => encoded.map(|()| bytes.len() as u64).map_err(|error| access.place.name(error)),
            None => Ok(0),
        }
    }

    /// Makes `apply` change the map, if it is within the limit then.
    #[inline]
    fn charged(
        &self,
        cache: &Cache<CachedMap<MK, MV>>,
        access: &mut Access<'_>,
        change: Change,
        apply: impl FnOnce(&mut Access<'_>) -> Result<()>,
    ) -> Result<()> {
        access.charged(change, |access| access.write_past(cache, |_| Ok(())), apply)
    }

    /// Removes all entries.
    pub fn clear(&self, access: &mut Access<'_>) -> Result<()> {
        access.clear_collection(self.cache)
    }

    /// Whether there are no entries.
    pub fn is_empty(&self, access: &mut Access<'_>) -> Result<bool> {
        let Some(cache) = self.cache else { return Ok(!access.has_any()?) };
        {
            let mut table = cache.lock();
            let found = table.find(access.key());
            if let Some(is_empty) = found.and_then(|at| table.object(at)?.is_empty()) {
                return Ok(is_empty);
            }
        }
        match self.whole(cache, access)? {
            Some(at) => Ok(cache.lock().object(at).and_then(CachedMap::is_empty).unwrap_or_default()),
            None => Ok(!access.has_any()?),
        }
    }

    /// The entries of a range, in order.
    pub fn range<'x>(
        &'x self,
        access: &'x mut Access<'_>,
        range: impl RangeBounds<MK>,
    ) -> Result<impl Iterator<Item = Result<(Cow<'x, MK>, Cow<'x, MV>)>>> {
        if let Some(cache) = self.cache
            && let Some(at) = self.whole(cache, access)?
        {
            let mut places = cache.lock().object(at).map_or(0..0, |map| map.places(&range));
            // Nobody changes the map before the view is given back. The lock is not held on: who reads may take his time.
            let next = from_fn(move || {
                let table = cache.lock();
                let (key, value) = table.object(at)?.next_in(&mut places)?;
                Some(Ok((Cow::Owned(key.clone()), Cow::Owned(value.clone()))))
            });
            return Ok(Either::Cached(next));
        }
        let (place, codec, prefix_len) = (access.place, self.codec, access.prefix_len());
        let from = match range.start_bound() {
            Bound::Included(key) => Some((key, false)),
            Bound::Excluded(key) => Some((key, true)),
            Bound::Unbounded => None,
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some((key, true)),
            Bound::Excluded(key) => Some((key, false)),
            Bound::Unbounded => None,
        };
        let cursor = access.scan_entries(from, to)?;
        Ok(Either::Stored(decoded(cursor, place, move |key, value| {
            let entry = decode_entry(key, prefix_len, value, codec);
            Some(entry.map(|(key, value)| (Cow::Owned(key), Cow::Owned(value))))
        })))
    }

    /// The slot of the map, of which all is known then. `None` if the map is to be read from the store, which knows all.
    fn whole(&self, cache: &Cache<CachedMap<MK, MV>>, access: &mut Access<'_>) -> Result<Option<u32>> {
        {
            let mut table = cache.lock();
            let found = table.find(access.key());
            match found.and_then(|at| Some((at, table.object(at)?))) {
                Some((at, map)) if map.is_whole() => {
                    table.learn(at, |map, _| map.tidy());
                    return Ok(Some(at));
                }
                Some((at, map)) if map.is_long() => {
                    let is_dirty = table.is_dirty(at);
                    drop(table);
                    return if is_dirty { access.give_up(cache).map(|()| None) } else { Ok(None) };
                }
                Some(_) => table.missed(),
                None if !table.keeps_reads() => return Ok(None),
                None => {}
            }
        }
        let (place, prefix_len) = (access.place, access.prefix_len());
        let (mut entries, mut heap) = (Vec::new(), 0);
        let mut cursor = access.scan_all()?;
        while let Some((key, value)) = cursor.next().map_err(|error| place.name(error))? {
            let key_size = key.len() - prefix_len;
            let (key, value) =
                decode_entry(key, prefix_len, value, self.codec).map_err(|error| place.name(error))?;
            heap += key_heap::<MK>(key_size) + self.codec.heap_size(&value);
            entries.push((key, value));
            if CachedMap::<MK, MV>::exceeds(entries.len(), heap) {
                drop(cursor);
                return access.give_up(cache).map(|()| None);
            }
        }
        drop(cursor);
        let mut table = cache.lock();
        let found = table.find(access.key());
        let at = found.map_or_else(|| table.keep(access.key(), CachedMap::default()), Ok);
        let at = at.map_err(|error| access.place.name(error))?;
        table.learn(at, |map, codec| map.complete(entries, heap, codec));
        Ok(Some(at))
    }

    /// Keeps what was read at a key.
    fn learn(
        &self,
        cache: &Cache<CachedMap<MK, MV>>,
        access: &mut Access<'_>,
        key: &MK,
        value: Option<MV>,
    ) -> Result<()> {
        let key_heap = key_heap::<MK>(access.map_key_size(key)?);
        let mut table = cache.lock();
        if table.keeps_reads() {
            let found = table.find(access.key());
            let at = found.map_or_else(|| table.keep(access.key(), CachedMap::default()), Ok);
            let at = at.map_err(|error| access.place.name(error))?;
            table.learn(at, |map, codec| map.learn(key.clone(), value, key_heap, codec));
        }
        Ok(())
    }

    /// Puts entries into the store, behind what the cache has.
    fn write_past(
        &self,
        cache: &Cache<CachedMap<MK, MV>>,
        access: &mut Access<'_>,
        entries: &[(MK, MV)],
    ) -> Result<()> {
        access.write_past(cache, |access| {
            entries.iter().try_for_each(|(key, value)| access.put_entry(key, value, self.codec))
        })
    }
}

/// Bytes on the heap of a map key, about, of which the encoding takes so many.
#[inline]
fn key_heap<MK>(encoded: usize) -> usize {
    if std::mem::needs_drop::<MK>() { encoded } else { 0 }
}

fn decode_entry<MK: StateKey, MV: StateValue>(
    key: &[u8],
    prefix_len: usize,
    value: &[u8],
    codec: &dyn Codec<MV>,
) -> Result<(MK, MV)> {
    let mut key = key.get(prefix_len..).unwrap_or_default();
    Ok((MK::decode(&mut key)?, codec.decode(value)?))
}
