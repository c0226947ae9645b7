use super::EngineBackend;
use crate::access::{Access, Buffers};
use crate::cache::{AnyCache, Eviction};
use crate::kinds::Values;
use crate::limits::EntryLimit;
use crate::registry::Found;
use crate::{ByteEngine, ByteStore, ByteValue};
use backend_api::{
    KeyContext, Place, Result, StateKey, StateToken, StateValue, ValueDescriptor, ValueToken, backend_closed,
};

/// Most values that a batch reads in one call. It reads fewer until they are known to be short.
const FETCHED: usize = 128;

/// A state at a key and namespace.
pub(super) struct Opened<'a, D> {
    pub access: Access<'a>,
    pub descriptor: &'a D,
    pub cache: Option<&'a dyn AnyCache>,
}

impl<K: StateKey, E: ByteEngine> EngineBackend<K, E> {
    #[inline(always)]
    pub(super) fn access<'a, D: 'static, T: StateToken>(
        &'a mut self,
        place: Place<'a, K, T>,
    ) -> Result<Opened<'a, D>> {
        // A failed batch left these.
        if !self.buffers.fetched.is_empty() {
            self.buffers.fetched.clear();
        }
        self.access_fetched(place)
    }

    /// [`access`](Self::access) after a [`fetch`](Self::fetch).
    #[inline(always)]
    pub(super) fn access_fetched<'a, D: 'static, T: StateToken>(
        &'a mut self,
        place: Place<'a, K, T>,
    ) -> Result<Opened<'a, D>> {
        if self.cache_budget.excess() > 0 {
            self.make_room()?;
        }
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let (number, key) = (place.token().index(), place.key());
        let Some(Found { meta, descriptor, cache, totals, .. }) = self.registry.get::<D>(number) else {
            return Err(self.life.refused_token());
        };
        let number = (number as u16, key.group());
        let (key, limit) = ((key.key(), place.namespace()), EntryLimit(E::entry_bytes_max(&self.options)));
        let access = Access::new(store, &mut self.buffers, totals, meta, number, key, limit);
        Ok(Opened { access, descriptor, cache })
    }

    /// Reads the values of the first keys in one call, except those that the cache has, for the accesses that
    /// follow. Returns the number of these keys. Skips wrong tokens, keys and namespaces,
    /// which the accesses report.
    pub(super) fn fetch<D: 'static, N: StateKey>(
        &mut self,
        token: impl StateToken,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
    ) -> Result<usize> {
        let Buffers { fetched, keys: buffers, .. } = &mut self.buffers;
        fetched.clear();
        let state = self.registry.get::<D>(token.index()).filter(|_| token.backend() == self.life.id());
        let (Some(store), Some(Found { meta, cache, read_at_once, .. })) = (&self.store, state) else {
            return Ok(keys.len());
        };
        let first = keys.len().min(*read_at_once);
        if namespace.check().is_err() {
            return Ok(first);
        }
        for key in keys.iter().take(first).filter(|key| self.life.subtask().check(key).is_ok()) {
            buffers.set(token.index() as u16, key.group(), key.key(), namespace);
            if !cache.is_some_and(|cache| cache.has(buffers.here())) {
                fetched.add(buffers.here());
            }
        }
        let read = fetched.read(|keys, read| store.get_all(keys, read));
        if let Some(fit) = read.map_err(|error| error.in_state(&meta.name))? {
            // Grows in steps, since a few short values do not prove that many are short.
            *read_at_once = fit.min(2 * *read_at_once).clamp(1, FETCHED);
        }
        Ok(first)
    }

    /// Opens a value after a [`fetch`](Self::fetch).
    #[inline(always)]
    pub(super) fn fetched_value<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ValueToken<V, N>>,
    ) -> Result<ByteValue<'a, V, N>> {
        let Opened { access, descriptor, cache } = self.access_fetched::<ValueDescriptor<V, N>, _>(place)?;
        Ok(ByteValue { access, descriptor, values: Values::new(cache, &**descriptor.codec()) })
    }

    /// Opens a value at each of the keys, in order. Reads the values of several keys in one call.
    pub(super) fn each_value<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, ByteValue<'_, V, N>) -> Result<()>,
    ) -> Result<()> {
        let mut next = 0;
        while let Some(rest) = keys.get(next..).filter(|rest| !rest.is_empty()) {
            let fetched = self.fetch::<ValueDescriptor<V, N>, _>(token, rest, namespace)?;
            for &key in rest.iter().take(fetched) {
                let place = self.life.place(token, key, namespace)?;
                f(next, self.fetched_value(place)?)?;
                next += 1;
            }
        }
        self.buffers.fetched.clear();
        Ok(())
    }

    /// Evicts entries from the caches.
    #[cold]
    pub(super) fn make_room(&mut self) -> Result<()> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let Some(eviction) = Eviction::due(&self.cache_budget, self.registry.caches()) else { return Ok(()) };
        // Nothing can be written before a flush is finished. Until then clean entries are evicted. If there
        // are too few, each access waits a little.
        if let Some(snapshots) = E::snapshots(store)
            && (snapshots.is_flushing() && eviction.take_clean() || !snapshots.try_finish_flush())
        {
            return Ok(());
        }
        eviction.take(&mut |batch| store.write(batch))
    }
}
