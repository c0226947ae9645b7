use std::borrow::Cow;

use super::typed;
use crate::access::Access;
use crate::cache::{AnyCache, Cache, Known, VALUE_BYTES_MAX};
use backend_api::{
    BoxError, Codec, Result, StateKey, StateValue, ValueDescriptor, ValueState, update_failed,
};

/// A value state of a [`ByteBackend`](crate::ByteBackend).
pub struct ByteValue<'a, V: StateValue, N> {
    pub(crate) access: Access<'a>,
    pub(crate) descriptor: &'a ValueDescriptor<V, N>,
    pub(crate) values: Values<'a, V>,
}

impl<V: StateValue, N: StateKey> ValueState<V> for ByteValue<'_, V, N> {
    #[inline]
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        let default = self.descriptor.default_ref();
        self.values.with(&mut self.access, |value| f(value.or(default)))
    }

    #[inline]
    fn set(&mut self, value: V) -> Result<()> {
        self.values.put(&mut self.access, Found::NotSearched, value)
    }

    #[inline]
    fn try_update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>) -> Result<R> {
        let (default, origin) = (self.descriptor.default_ref(), self.access.origin);
        self.values.replace(&mut self.access, |stored| {
            let is_stored = stored.is_some();
            let mut value = stored.map(Cow::into_owned).or_else(|| default.cloned());
            let result = f(&mut value).map_err(|cause| origin.name(update_failed(cause)))?;
            let new = match value {
                Some(value) => New::Value(value),
                None if is_stored => New::Nothing,
                None => New::Same,
            };
            Ok((new, result))
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.values.clear(&mut self.access)
    }

    #[inline]
    fn get(&mut self) -> Result<Option<V>> {
        let default = self.descriptor.default_ref();
        self.values.with(&mut self.access, |value| value.or(default).cloned())
    }
}

/// The replacement of a value.
pub(super) enum New<V> {
    /// Another value.
    Value(V),
    /// Removes the value, which exists.
    Nothing,
    /// Keeps the present value.
    Same,
}

/// Single values of one state: a value, reducing or aggregating state.
pub(crate) struct Values<'a, V: StateValue> {
    cache: Option<&'a Cache<Option<V>>>,
    codec: &'a dyn Codec<V>,
}

impl<'a, V: StateValue> Values<'a, V> {
    #[inline]
    pub fn new(cache: Option<&'a dyn AnyCache>, codec: &'a dyn Codec<V>) -> Self {
        Self { cache: typed(cache), codec }
    }

    /// Calls `f` with the value here.
    #[inline]
    pub fn with<R>(&self, access: &mut Access<'_>, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        if let Found::Known(known) = self.search(access) {
            return Ok(f(known.get().and_then(Option::as_ref)));
        }
        let value = access.reader().value(self.codec)?;
        let result = f(value.as_ref());
        if let Some(cache) = self.cache {
            cache.keep_read(access.key(), value);
        }
        Ok(result)
    }

    /// The value here.
    #[inline]
    pub fn get(&self, access: &mut Access<'_>) -> Result<Option<V>> {
        self.with(access, |value| value.cloned())
    }

    /// The value in another namespace.
    pub fn get_in<N: StateKey>(&self, access: &mut Access<'_>, namespace: &N) -> Result<Option<V>> {
        if let Some(cache) = self.cache
            && let Some(known) = cache.entry(access.key_in(namespace)?).known()
        {
            return Ok(known.get().cloned().flatten());
        }
        access.reader().value_in(namespace, self.codec)
    }

    /// Replaces the value here by the result of `f`. If the cache has the value, this takes one lookup under
    /// one lock.
    ///
    /// # Errors
    /// Errors of `f` and of [`put`](Self::put). Then the value is unchanged.
    #[inline]
    pub(super) fn replace<R>(
        &self,
        access: &mut Access<'_>,
        f: impl FnOnce(Option<Cow<'_, V>>) -> Result<(New<V>, R)>,
    ) -> Result<R> {
        let found = self.search(access);
        let (new, result) = match &found {
            Found::Known(known) => f(known.get().and_then(Option::as_ref).map(Cow::Borrowed))?,
            _ => f(access.reader().value(self.codec)?.map(Cow::Owned))?,
        };
        match new {
            New::Value(value) => self.put(access, found, value)?,
            New::Nothing => self.remove(access, found)?,
            New::Same => {}
        }
        Ok(result)
    }

    /// Puts the value here.
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long.
    #[inline]
    fn put(&self, access: &mut Access<'_>, found: Found<'_, V>, value: V) -> Result<()> {
        let Some(cache) = self.cache else { return access.write(|writer| writer.put(&value, self.codec)) };
        if access.sizes().value(&value, self.codec)? > VALUE_BYTES_MAX {
            drop(found);
            access.write(|writer| writer.put(&value, self.codec))?;
            cache.forget(access.key());
            return Ok(());
        }
        change(access, cache, found, Some(value))
    }

    /// Removes the value here.
    pub fn clear(&self, access: &mut Access<'_>) -> Result<()> {
        match self.search(access) {
            Found::Known(known) if known.get().is_some_and(Option::is_none) => Ok(()),
            found => self.remove(access, found),
        }
    }

    fn remove(&self, access: &mut Access<'_>, found: Found<'_, V>) -> Result<()> {
        match self.cache {
            Some(cache) => change(access, cache, found, None),
            None => access.write(|writer| {
                writer.delete();
                Ok(())
            }),
        }
    }

    /// Puts a value here and removes those in other namespaces, bypassing the cache.
    pub fn put_merged<N: StateKey>(&self, access: &mut Access<'_>, value: &V, others: &[&N]) -> Result<()> {
        access.write(|writer| {
            others.iter().try_for_each(|other| writer.delete_in(*other))?;
            writer.put(value, self.codec)
        })?;
        let Some(cache) = self.cache else { return Ok(()) };
        cache.forget(access.key());
        others.iter().try_for_each(|other| {
            cache.forget(access.key_in(*other)?);
            Ok(())
        })
    }

    /// Looks the value here up in the cache.
    #[inline]
    fn search(&self, access: &Access<'_>) -> Found<'a, V> {
        match self.cache.and_then(|cache| cache.entry(access.key()).known()) {
            Some(known) => Found::Known(known),
            None => Found::Unknown,
        }
    }
}

/// The result of a cache lookup.
enum Found<'c, V: StateValue> {
    /// The cache has an object, and is locked.
    Known(Known<'c, Option<V>>),
    /// The cache has no object, or there is no cache.
    Unknown,
    /// Not looked up yet.
    NotSearched,
}

/// Changes the cached object here.
#[inline]
fn change<'c, V: StateValue>(
    access: &Access<'_>,
    cache: &'c Cache<Option<V>>,
    found: Found<'c, V>,
    value: Option<V>,
) -> Result<()> {
    let known = match found {
        Found::Known(known) => Ok(known),
        Found::Unknown => cache.insert(access.key(), None),
        Found::NotSearched => cache.entry(access.key()).or_default(access.key()),
    };
    let changed = known.map(|mut known| known.change(|known, _| *known = value));
    changed.map_err(|error| access.origin.name(error))
}
