use std::borrow::Cow;
use std::iter::from_fn;

use super::{collections, distinct};
use crate::access::Access;
use crate::cache::{Cache, CachedList, Collection, Object, VALUE_BYTES_MAX};
use crate::limits::Change;
use backend_api::ttl::Either;
use backend_api::{Codec, ListState, Result, StateKey, StateValue};

/// A list state of a [`ByteBackend`](crate::ByteBackend). Appending reads nothing. Iteration streams from the
/// store if the list is not cached.
pub struct ByteList<'a, T: StateValue, N> {
    pub(crate) access: Access<'a>,
    pub(crate) cache: Option<&'a Cache<CachedList<T>>>,
    pub(crate) codec: &'a dyn Codec<T>,
    pub(crate) namespace: &'a N,
}

impl<T: StateValue, N: StateKey> ListState<T, N> for ByteList<'_, T, N> {
    #[inline]
    fn add(&mut self, element: T) -> Result<()> {
        let Self { access, codec, .. } = self;
        let Some(cache) = self.cache else {
            return access.charging().write(|writer| Ok(Change::adding(writer.append([element], *codec)?)));
        };
        let mut kept = None;
        let (bytes, size) = access.sizes().elements([element], *codec, |element| kept = Some(element))?;
        let Some(element) = kept else { return Ok(()) };
        charged(access, cache, bytes, |access| {
            if size > VALUE_BYTES_MAX {
                return collections::write_past(access, cache, |writer| {
                    writer.append([element], *codec).map(drop)
                });
            }
            let heap = heap_size(&element, *codec);
            append(access, cache, [element].into_iter(), heap, false)
        })
    }

    fn add_all(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let Self { access, codec, .. } = self;
        let Some(cache) = self.cache else {
            return access.charging().write(|writer| Ok(Change::adding(writer.append(elements, *codec)?)));
        };
        let Elements { all, bytes, heap, are_long } = Elements::gather(access, *codec, elements)?;
        if all.is_empty() {
            return Ok(());
        }
        charged(access, cache, bytes, |access| {
            if are_long {
                collections::write_past(access, cache, |writer| writer.append(all, *codec).map(drop))
            } else {
                append(access, cache, all.into_iter(), heap, false)
            }
        })
    }

    fn set(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let Self { access, codec, .. } = self;
        let Some(cache) = self.cache else { return self.replace_stored(elements) };
        let Elements { all, bytes, heap, are_long } = Elements::gather(access, *codec, elements)?;
        if all.is_empty() {
            return self.clear();
        }
        if !are_long {
            let removed = collections::lower_bound_bytes(access, Some(cache))?;
            let change = Change { added: bytes, removed };
            return access
                .charging()
                .replace(change, |access| append(access, cache, all.into_iter(), heap, true));
        }
        // The replaced elements are looked up in the store.
        collections::write_past(access, cache, |_| Ok(()))?;
        self.replace_stored(all)
    }

    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>> {
        if let Some(cache) = self.cache
            && let Some(slot) = self.whole(cache)?
        {
            let mut positions = 0..;
            // Nothing changes the list while the view is borrowed. The lock is released, because the reader
            // may be slow.
            let next = from_fn(move || {
                let table = cache.lock();
                let element = table.object(slot)?.elements().get(positions.next()?)?;
                Some(Ok(Cow::Owned(element.clone())))
            });
            return Ok(Either::Left(next));
        }
        let (origin, codec) = (self.access.origin, self.codec);
        let mut cursor = self.access.reader().elements(None)?;
        let mut ended = false;
        Ok(Either::Right(from_fn(move || {
            if ended {
                return None;
            }
            let element =
                cursor.next().and_then(|element| element.map(|bytes| codec.decode(bytes)).transpose());
            ended = !matches!(element, Ok(Some(_)));
            Some(element.transpose()?.map(Cow::Owned).map_err(|error| origin.name(error)))
        })))
    }

    fn merge_from(&mut self, sources: &[N]) -> Result<()> {
        let access = &mut self.access;
        let sources: Vec<&N> = distinct(sources).filter(|source| *source != self.namespace).collect();
        if let Some(cache) = self.cache {
            collections::write_out(access, cache, &sources)?;
        }
        let mut moved = Vec::new();
        access.charging().write(|writer| {
            for source in &sources {
                moved.push(writer.move_elements(*source)?);
            }
            Ok(Change::adding(moved.iter().sum()))
        })?;
        sources.iter().zip(moved).try_for_each(|(source, bytes)| access.charging().cleared_in(*source, bytes))
    }

    fn get_merged(&mut self, of: &[N]) -> Result<Vec<T>> {
        let (access, of) = (&mut self.access, distinct(of).collect::<Vec<_>>());
        if let Some(cache) = self.cache {
            // All is read from the store, what is pending in the cache too.
            let others: Vec<&N> =
                of.iter().copied().filter(|namespace| *namespace != self.namespace).collect();
            collections::write_out(access, cache, &others)?;
        }
        let (origin, mut merged) = (access.origin, Vec::new());
        for namespace in of {
            let mut cursor = access.reader().elements_in(namespace)?;
            while let Some(element) = cursor.next().map_err(|error| origin.name(error))? {
                merged.push(self.codec.decode(element).map_err(|error| origin.name(error))?);
            }
        }
        Ok(merged)
    }

    fn clear(&mut self) -> Result<()> {
        collections::clear(&mut self.access, self.cache)
    }

    fn is_empty(&mut self) -> Result<bool> {
        if let Some(cache) = self.cache {
            match cache.entry(self.access.key()).get() {
                Some(list) if !list.elements().is_empty() => return Ok(false),
                Some(list) if list.is_whole() => return Ok(true),
                _ => {}
            }
        }
        Ok(!self.access.reader().has_any()?)
    }

    fn get(&mut self) -> Result<Vec<T>> {
        if let Some(cache) = self.cache
            && let Some(slot) = self.whole(cache)?
        {
            return Ok(cache.lock().object(slot).map_or_else(Vec::new, |list| list.elements().to_vec()));
        }
        self.iter()?.map(|element| element.map(Cow::into_owned)).collect()
    }
}

impl<T: StateValue, N: StateKey> ByteList<'_, T, N> {
    /// Replaces the list in the store. The cache has no object for it.
    fn replace_stored(&mut self, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let Self { access, codec, .. } = self;
        let change = access.fill(|writer| writer.replace(elements, *codec))?;
        access.charging().replace(change, Access::commit)
    }

    /// Loads the whole list into the cache, and returns its slot. `None` if it must be read from the store,
    /// which has all of it then.
    fn whole(&mut self, cache: &Cache<CachedList<T>>) -> Result<Option<u32>> {
        let Self { access, codec, .. } = self;
        let entry = cache.entry(access.key());
        let keeps_reads = entry.keeps_reads();
        let first = match entry.known() {
            Some(mut known) => {
                let slot = known.slot();
                let Some(list) = known.get() else { return Ok(None) };
                let first = list.first();
                if list.is_whole() {
                    return Ok(Some(slot));
                }
                if list.is_long() {
                    drop(known);
                    if first.is_some() {
                        collections::spill(access, cache)?;
                    }
                    return Ok(None);
                }
                known.missed();
                first
            }
            None if keeps_reads => None,
            None => return Ok(None),
        };
        let origin = access.origin;
        let (mut elements, mut heap) = (Vec::new(), 0);
        let mut cursor = access.reader().elements(first)?;
        while let Some(element) = cursor.next().map_err(|error| origin.name(error))? {
            let element = codec.decode(element).map_err(|error| origin.name(error))?;
            heap += heap_size(&element, *codec);
            elements.push(element);
            if CachedList::<T>::exceeds(elements.len(), heap) {
                drop(cursor);
                return collections::spill(access, cache).map(|()| None);
            }
        }
        drop(cursor);
        let entry = cache.entry(access.key());
        if entry.get().and_then(CachedList::first) != first {
            // A snapshot has written pending elements, which were not read.
            drop(entry);
            return self.whole(cache);
        }
        let mut known = entry.or_default(access.key()).map_err(|error| origin.name(error))?;
        known.fill(|list, _| list.complete(elements, heap));
        Ok(Some(known.slot()))
    }
}

/// Appends to the cached part, or to nothing if that is replaced. Spills it first if it is too long.
#[inline]
fn append<T: StateValue>(
    access: &mut Access<'_>,
    cache: &Cache<CachedList<T>>,
    elements: impl ExactSizeIterator<Item = T>,
    heap: usize,
    replaces: bool,
) -> Result<()> {
    let number = access.take_numbers(elements.len());
    collections::change(access, cache, |list, _| {
        if replaces {
            list.clear();
        }
        list.append(elements, heap, number);
    })
}

/// Lets `apply` add bytes, if the list stays within the limit.
#[inline]
fn charged<'a, T: StateValue>(
    access: &mut Access<'a>,
    cache: &Cache<CachedList<T>>,
    bytes: u64,
    apply: impl FnOnce(&mut Access<'a>) -> Result<()>,
) -> Result<()> {
    let write_out = |access: &mut Access<'a>| collections::write_past(access, cache, |_| Ok(()));
    access.charging().apply(Change::adding(bytes), write_out, apply)
}

/// Bytes that an element owns on the heap.
#[inline]
fn heap_size<T: StateValue>(element: &T, codec: &dyn Codec<T>) -> usize {
    if std::mem::needs_drop::<T>() { codec.heap_size(element) } else { 0 }
}

/// Elements whose encoding was checked.
struct Elements<T> {
    all: Vec<T>,
    /// Bytes of their encodings.
    bytes: u64,
    /// Bytes that they own on the heap.
    heap: usize,
    /// True if they are too long for the cache.
    are_long: bool,
}

impl<T: StateValue> Elements<T> {
    fn gather(
        access: &mut Access<'_>,
        codec: &dyn Codec<T>,
        elements: impl IntoIterator<Item = T>,
    ) -> Result<Self> {
        let elements = elements.into_iter();
        let (mut all, mut heap) = (Vec::with_capacity(elements.size_hint().0), 0);
        let (bytes, longest) = access.sizes().elements(elements, codec, |element| {
            heap += heap_size(&element, codec);
            all.push(element);
        })?;
        let are_long = longest > VALUE_BYTES_MAX || CachedList::<T>::exceeds(all.len(), heap);
        Ok(Self { all, bytes, heap, are_long })
    }
}
