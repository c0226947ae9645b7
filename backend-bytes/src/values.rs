//! Values of a state, through its cache if it has one.

use super::access::Access;
use super::cache::{AnyCache, Cache, VALUE_BYTES_MAX};
use backend_api::{Codec, Result, StateKey, StateValue};

/// How the values of one state are read and written.
pub(super) struct Values<'a, V: StateValue> {
    cache: Option<&'a Cache<Option<V>>>,
    codec: &'a dyn Codec<V>,
}

impl<'a, V: StateValue> Values<'a, V> {
    #[inline]
    pub fn new(cache: Option<&'a dyn AnyCache>, codec: &'a dyn Codec<V>) -> Self {
        Self { cache: cache.and_then(|cache| cache.as_any().downcast_ref()), codec }
    }

    /// Lends the value here to `f`.
    #[inline]
    pub fn with<R>(&self, access: &Access<'_>, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        let Some(cache) = self.cache else { return Ok(f(access.read(self.codec)?.as_ref())) };
        {
            let mut table = cache.lock();
            if let Some(at) = table.find(access.key()) {
                return Ok(f(table.object(at).and_then(Option::as_ref)));
            }
        }
        let value = access.read(self.codec)?;
        let result = f(value.as_ref());
        let mut table = cache.lock();
        if table.keeps_reads() {
            // Where there is no room for it, it is read again.
            drop(table.keep(access.key(), value));
        }
        Ok(result)
    }

    /// The value here.
    #[inline]
    pub fn get(&self, access: &Access<'_>) -> Result<Option<V>> {
        self.with(access, |value| value.cloned())
    }

    /// The value in another namespace.
    pub fn get_in<N: StateKey>(&self, access: &mut Access<'_>, namespace: &N) -> Result<Option<V>> {
        if let Some(cache) = self.cache {
            let key = access.key_in(namespace)?;
            let mut table = cache.lock();
            if let Some(at) = table.find(key) {
                return Ok(table.object(at).cloned().flatten());
            }
        }
        access.read_in(namespace, self.codec)
    }

    /// Puts the value here. It is encoded also if it is only kept, so that one that cannot be, or is too long, is refused.
    #[inline]
    pub fn set(&self, access: &mut Access<'_>, value: V) -> Result<()> {
        let Some(cache) = self.cache else { return access.write(|access| access.put(&value, self.codec)) };
        if access.value_size(&value, self.codec)? <= VALUE_BYTES_MAX {
            let mut table = cache.lock();
            let found = table.find(access.key());
            let changed = table.change(access.key(), found, |known, _| *known = Some(value));
            return changed.map_err(|error| access.place.name(error));
        }
        access.write(|access| access.put(&value, self.codec))?;
        cache.lock().forget(access.key());
        Ok(())
    }

    /// Removes the value here.
    pub fn clear(&self, access: &mut Access<'_>) -> Result<()> {
        let Some(cache) = self.cache else {
            return access.write(|access| {
                access.delete();
                Ok(())
            });
        };
        let mut table = cache.lock();
        let found = table.find(access.key());
        if found.and_then(|at| table.object(at)).is_none_or(Option::is_some) {
            let changed = table.change(access.key(), found, |known, _| *known = None);
            return changed.map_err(|error| access.place.name(error));
        }
        Ok(())
    }

    /// Forgets the values here and in other namespaces, which were written to the store.
    pub fn forget<N: StateKey>(&self, access: &mut Access<'_>, others: &[&N]) -> Result<()> {
        let Some(cache) = self.cache else { return Ok(()) };
        let mut table = cache.lock();
        table.forget(access.key());
        others.iter().try_for_each(|other| {
            table.forget(access.key_in(*other)?);
            Ok(())
        })
    }

    pub fn codec(&self) -> &'a dyn Codec<V> {
        self.codec
    }
}
