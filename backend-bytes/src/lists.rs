//! Lists of a state, through its cache if it has one.

use std::borrow::Cow;
use std::iter::from_fn;

use super::access::Access;
use super::cache::{AnyCache, Cache, CachedList, Collection, VALUE_BYTES_MAX};
use super::either::Either;
use super::totals::Change;
use backend_api::{Codec, Result, StateKey, StateValue};

/// How the lists of one state are read and written.
pub(super) struct Lists<'a, T: StateValue> {
    cache: Option<&'a Cache<CachedList<T>>>,
    codec: &'a dyn Codec<T>,
}

impl<'a, T: StateValue> Lists<'a, T> {
    #[inline]
    pub fn new(cache: Option<&'a dyn AnyCache>, codec: &'a dyn Codec<T>) -> Self {
        Self { cache: cache.and_then(|cache| cache.as_any().downcast_ref()), codec }
    }

    /// Appends an element. It is encoded also if it is only kept, so that one that cannot be, or is too long, is refused.
    #[inline]
    pub fn add(&self, access: &mut Access<'_>, element: T) -> Result<()> {
        let Some(cache) = self.cache else {
            return access.write_charged(|access| Ok(Change::adding(access.append([element], self.codec)?)));
        };
        let mut kept = None;
        let (bytes, size) = access.element_sizes([element], self.codec, |element| kept = Some(element))?;
        let Some(element) = kept else { return Ok(()) };
        self.charged(cache, access, bytes, |access| {
            if size > VALUE_BYTES_MAX {
                return self.write_past(cache, access, [element]);
            }
            let heap = self.heap_size(&element);
            self.append(cache, access, [element].into_iter(), heap, false)
        })
    }

    /// Appends elements, all or none.
    pub fn add_all(&self, access: &mut Access<'_>, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let Some(cache) = self.cache else {
            return access.write_charged(|access| Ok(Change::adding(access.append(elements, self.codec)?)));
        };
        let Elements { all, bytes, heap, are_long } = self.gather(access, elements)?;
        if all.is_empty() {
            return Ok(());
        }
        self.charged(cache, access, bytes, |access| {
            if are_long {
                self.write_past(cache, access, all)
            } else {
                self.append(cache, access, all.into_iter(), heap, false)
            }
        })
    }

    /// Replaces the list.
    pub fn set(&self, access: &mut Access<'_>, elements: impl IntoIterator<Item = T>) -> Result<()> {
        let Some(cache) = self.cache else {
            return self.replace(access, elements);
        };
        let Elements { all, bytes, heap, are_long } = self.gather(access, elements)?;
        if all.is_empty() {
            return self.clear(access);
        }
        if !are_long {
            let change = Change { added: bytes, removed: access.least(Some(cache))? };
            return access.replaced(change, |access| self.append(cache, access, all.into_iter(), heap, true));
        }
        // What is replaced must be in the store, where it is looked up.
        access.write_past(cache, |_| Ok(()))?;
        self.replace(access, all)
    }

    /// Replaces the list in the store, which knows all of it.
    fn replace(&self, access: &mut Access<'_>, elements: impl IntoIterator<Item = T>) -> Result<()> {
        access.start_batch();
        let change = access.replace(elements, self.codec).map_err(|error| access.place.name(error))?;
        access.replaced(change, Access::commit)
    }

    /// Removes all elements.
    pub fn clear(&self, access: &mut Access<'_>) -> Result<()> {
        access.clear_collection(self.cache)
    }

    /// Whether there are no elements.
    pub fn is_empty(&self, access: &mut Access<'_>) -> Result<bool> {
        if let Some(cache) = self.cache {
            let mut table = cache.lock();
            let found = table.find(access.key());
            match found.and_then(|at| table.object(at)) {
                Some(list) if !list.elements().is_empty() => return Ok(false),
                Some(list) if list.is_whole() => return Ok(true),
                _ => {}
            }
        }
        Ok(!access.has_any()?)
    }

    /// The elements, in order.
    pub fn iter<'x>(
        &'x self,
        access: &'x mut Access<'_>,
    ) -> Result<impl Iterator<Item = Result<Cow<'x, T>>>> {
        if let Some(cache) = self.cache
            && let Some(slot) = self.whole(cache, access)?
        {
            let mut places = 0..;
            // Nobody changes the list before the view is given back. The lock is not held on: who reads may take his time.
            let next = from_fn(move || {
                let table = cache.lock();
                let element = table.object(slot)?.elements().get(places.next()?)?;
                Some(Ok(Cow::Owned(element.clone())))
            });
            return Ok(Either::Cached(next));
        }
        let (place, codec) = (access.place, self.codec);
        let mut cursor = access.scan_elements(None)?;
        let mut ended = false;
        Ok(Either::Stored(from_fn(move || {
            if ended {
                return None;
            }
            let element =
                cursor.next().and_then(|element| element.map(|bytes| codec.decode(bytes)).transpose());
            ended = !matches!(element, Ok(Some(_)));
            Some(element.transpose()?.map(Cow::Owned).map_err(|error| place.name(error)))
        })))
    }

    /// The elements, cloned.
    pub fn get(&self, access: &mut Access<'_>) -> Result<Vec<T>> {
        if let Some(cache) = self.cache
            && let Some(slot) = self.whole(cache, access)?
        {
            return Ok(cache.lock().object(slot).map_or_else(Vec::new, |list| list.elements().to_vec()));
        }
        self.iter(access)?.map(|element| element.map(Cow::into_owned)).collect()
    }

    /// Sees to it that the store has all of the lists here and in other namespaces, and the cache nothing.
    pub fn write_out<N: StateKey>(&self, access: &mut Access<'_>, others: &[&N]) -> Result<()> {
        let Some(cache) = self.cache else { return Ok(()) };
        access.write(|access| {
            access.add_cached(cache)?;
            others.iter().try_for_each(|other| access.add_cached_in(*other, cache))
        })?;
        let mut table = cache.lock();
        table.forget(access.key());
        others.iter().try_for_each(|other| {
            table.forget(access.key_in(*other)?);
            Ok(())
        })
    }

    /// Appends to what the cache has, or, if it `replaces` that, to nothing. What has grown too long is written before.
    #[inline]
    fn append(
        &self,
        cache: &Cache<CachedList<T>>,
        access: &mut Access<'_>,
        elements: impl ExactSizeIterator<Item = T>,
        heap: usize,
        replaces: bool,
    ) -> Result<()> {
        let number = access.take_numbers(elements.len());
        access.change_cached(cache, |list, _| {
            if replaces {
                list.clear();
            }
            list.append(elements, heap, number);
        })
    }

    /// Makes `apply` add so many bytes, if the list is within the limit then.
    #[inline]
    fn charged(
        &self,
        cache: &Cache<CachedList<T>>,
        access: &mut Access<'_>,
        bytes: u64,
        apply: impl FnOnce(&mut Access<'_>) -> Result<()>,
    ) -> Result<()> {
        access.charged(Change::adding(bytes), |access| access.write_past(cache, |_| Ok(())), apply)
    }

    /// Encodes elements, and keeps them.
    fn gather(&self, access: &mut Access<'_>, elements: impl IntoIterator<Item = T>) -> Result<Elements<T>> {
        let elements = elements.into_iter();
        let (mut all, mut heap) = (Vec::with_capacity(elements.size_hint().0), 0);
        let (bytes, longest) = access.element_sizes(elements, self.codec, |element| {
            heap += self.heap_size(&element);
            all.push(element);
        })?;
        let are_long = longest > VALUE_BYTES_MAX || CachedList::<T>::exceeds(all.len(), heap);
        Ok(Elements { all, bytes, heap, are_long })
    }

    /// Bytes that an element owns on the heap.
    #[inline]
    fn heap_size(&self, element: &T) -> usize {
        if std::mem::needs_drop::<T>() { self.codec.heap_size(element) } else { 0 }
    }

    /// The slot of the list, of which all is known then. `None` if the list is to be read from the store, which knows all.
    fn whole(&self, cache: &Cache<CachedList<T>>, access: &mut Access<'_>) -> Result<Option<u32>> {
        let first;
        {
            let mut table = cache.lock();
            let found = table.find(access.key());
            first = match found.and_then(|at| Some((at, table.object(at)?))) {
                Some((at, list)) if list.is_whole() => return Ok(Some(at)),
                Some((_, list)) if list.is_long() => {
                    let is_pending = list.first().is_some();
                    drop(table);
                    return if is_pending { access.give_up(cache).map(|()| None) } else { Ok(None) };
                }
                Some((_, list)) => {
                    let first = list.first();
                    table.missed();
                    first
                }
                None if !table.keeps_reads() => return Ok(None),
                None => None,
            };
        }
        let place = access.place;
        let (mut elements, mut heap) = (Vec::new(), 0);
        let mut cursor = access.scan_elements(first)?;
        while let Some(element) = cursor.next().map_err(|error| place.name(error))? {
            let element = self.codec.decode(element).map_err(|error| place.name(error))?;
            heap += self.heap_size(&element);
            elements.push(element);
            if CachedList::<T>::exceeds(elements.len(), heap) {
                drop(cursor);
                return access.give_up(cache).map(|()| None);
            }
        }
        drop(cursor);
        let mut table = cache.lock();
        let found = table.find(access.key());
        if found.and_then(|at| table.object(at)?.first()) != first {
            // A snapshot has written what was pending, which is not among what was read.
            drop(table);
            return self.whole(cache, access);
        }
        let at = found.map_or_else(|| table.keep(access.key(), CachedList::default()), Ok);
        let at = at.map_err(|error| access.place.name(error))?;
        table.learn(at, |list, _| list.complete(elements, heap));
        Ok(Some(at))
    }

    /// Appends elements in the store, behind what the cache has.
    fn write_past(
        &self,
        cache: &Cache<CachedList<T>>,
        access: &mut Access<'_>,
        elements: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        access.write_past(cache, |access| access.append(elements, self.codec).map(drop))
    }
}

/// Elements that can be encoded.
struct Elements<T> {
    all: Vec<T>,
    /// Bytes of their encodings.
    bytes: u64,
    /// Bytes that they own on the heap.
    heap: usize,
    /// Whether they are not for the cache.
    are_long: bool,
}
