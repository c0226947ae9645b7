use std::borrow::Cow;

use super::typed;
use crate::access::Access;
use crate::cache::{AnyCache, Cache, Known, VALUE_BYTES_MAX};
use backend_api::{Codec, Error, Result, StateKey, StateValue, ValueDescriptor, ValueState};

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
        self.values.put(&mut self.access, None, value)
    }

    #[inline]
    fn try_update<R, E: From<Error>>(
        &mut self,
        f: impl FnOnce(&mut Option<V>) -> Result<R, E>,
    ) -> Result<R, E> {
        let default = self.descriptor.default_ref();
        self.values.replace(&mut self.access, |stored| {
            let is_stored = stored.is_some();
            let mut value = stored.map(Cow::into_owned).or_else(|| default.cloned());
            let result = f(&mut value)?;
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

/// What takes the place of a value.
pub(super) enum New<V> {
    /// Another value.
    Value(V),
    /// None. There was a value.
    Nothing,
    /// What was there stays.
    Same,
}

/// Single values of one state: of a value, reducing or aggregating state.
pub(crate) struct Values<'a, V: StateValue> {
    cache: Option<&'a Cache<Option<V>>>,
    codec: &'a dyn Codec<V>,
}

impl<'a, V: StateValue> Values<'a, V> {
    #[inline]
    pub fn new(cache: Option<&'a dyn AnyCache>, codec: &'a dyn Codec<V>) -> Self {
        Self { cache: typed(cache), codec }
    }

    /// Lends the value here to `f`.
    #[inline]
    pub fn with<R>(&self, access: &mut Access<'_>, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        if let Some(known) = self.known(access) {
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

    /// Replaces the value here by what `f` makes of it. Where the cache knows the value this is one search under one lock.
    ///
    /// # Errors
    /// Those of `f`, and as [`put`](Self::put). The value stays as it was.
    #[inline]
    pub(super) fn replace<R, E: From<Error>>(
        &self,
        access: &mut Access<'_>,
        f: impl FnOnce(Option<Cow<'_, V>>) -> Result<(New<V>, R), E>,
    ) -> Result<R, E> {
        let known = self.known(access);
        let (new, result) = match &known {
            Some(known) => f(known.get().and_then(Option::as_ref).map(Cow::Borrowed))?,
            None => f(access.reader().value(self.codec)?.map(Cow::Owned))?,
        };
        match new {
            New::Value(value) => self.put(access, known, value)?,
            New::Nothing => self.remove(access, known)?,
            New::Same => {}
        }
        Ok(result)
    }

    /// Puts the value here. `known` is what the cache has here, if that was searched for.
    ///
    /// # Errors
    /// If the value cannot be encoded or is too long.
    #[inline]
    pub fn put(&self, access: &mut Access<'_>, known: Option<Known<'_, Option<V>>>, value: V) -> Result<()> {
        let Some(cache) = self.cache else { return access.write(|writer| writer.put(&value, self.codec)) };
        if access.sizes().value(&value, self.codec)? > VALUE_BYTES_MAX {
            drop(known);
            access.write(|writer| writer.put(&value, self.codec))?;
            cache.forget(access.key());
            return Ok(());
        }
        let known = known.map_or_else(|| cache.entry(access.key()).or_default(access.key()), Ok);
        known
            .map(|mut known| known.change(|known, _| *known = Some(value)))
            .map_err(|error| access.origin.name(error))
    }

    /// Removes the value here.
    pub fn clear(&self, access: &mut Access<'_>) -> Result<()> {
        let known = self.known(access);
        match &known {
            Some(known) if known.get().is_some_and(Option::is_none) => Ok(()),
            _ => self.remove(access, known),
        }
    }

    fn remove(&self, access: &mut Access<'_>, known: Option<Known<'_, Option<V>>>) -> Result<()> {
        let Some(cache) = self.cache else {
            return access.write(|writer| {
                writer.delete();
                Ok(())
            });
        };
        let known = known.map_or_else(|| cache.entry(access.key()).or_default(access.key()), Ok);
        known
            .map(|mut known| known.change(|known, _| *known = None))
            .map_err(|error| access.origin.name(error))
    }

    /// Puts a value here and removes those in other namespaces, all past the cache.
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

    /// What the cache has here.
    #[inline]
    fn known(&self, access: &Access<'_>) -> Option<Known<'a, Option<V>>> {
        self.cache.and_then(|cache| cache.entry(access.key()).known())
    }
}
