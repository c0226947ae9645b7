use std::sync::Arc;

use super::EngineBackend;
use crate::access::Buffers;
use crate::cache::{AnyCache, Cache, CacheConfig, Object};
use crate::timers::TimerCache;
use crate::{ByteEngine, ByteStore, EntryKey, evolve, load};
use backend_api::restore::RestoredState;
use backend_api::{Codec, Error, Result, StateDescriptor, StateKey, TimerDescriptor, backend_closed};

impl<K: StateKey, E: ByteEngine> EngineBackend<K, E> {
    /// Registers a state whose cached objects are `O`, and returns its number. `MK` is the type of map keys.
    pub(super) fn register_state<D, N: StateKey, MK: StateKey, O: Object>(
        &mut self,
        descriptor: D,
        codec: impl FnOnce(&D) -> &Arc<dyn Codec<O::Value>>,
    ) -> Result<u32>
    where
        D: StateDescriptor + Send + Sync + 'static,
    {
        let (has_cache, seed, budget) =
            (self.cache_budget.is_some(), self.cache_seed, Arc::clone(&self.cache_budget));
        self.register_kind::<D, N, MK>(descriptor, |descriptor, number, name| {
            let expiry = descriptor.expiry().cloned();
            let config = CacheConfig { number, name, seed, budget, expiry };
            let cache =
                || Box::new(Cache::<O>::new(config, Arc::clone(codec(descriptor)))) as Box<dyn AnyCache>;
            (has_cache.then(cache), None)
        })
    }

    /// Registers timers, and returns their number.
    pub(super) fn register_timer_state<N: StateKey>(
        &mut self,
        descriptor: TimerDescriptor<N>,
    ) -> Result<u32> {
        let range = self.life.subtask().range();
        self.register_kind::<_, N, ()>(descriptor, |_, number, _| {
            (None, Some(TimerCache::new(number, range)))
        })
    }

    /// Registers a state, and returns its number. `caches` makes what is kept in memory of it.
    fn register_kind<D, N: StateKey, MK: StateKey>(
        &mut self,
        descriptor: D,
        caches: impl FnOnce(&D, u16, String) -> (Option<Box<dyn AnyCache>>, Option<TimerCache>),
    ) -> Result<u32>
    where
        D: StateDescriptor + Send + Sync + 'static,
    {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let meta = descriptor.meta()?;
        if let Some(number) = self.registry.known::<D>(&meta)? {
            return Ok(number.into());
        }
        let place = |error: Error| error.in_state(&meta.name);
        if let Some((number, rows)) = self.leftover.take()
            && let Err(error) = remove_leftover(store, &mut self.buffers, number, rows.as_deref())
        {
            self.leftover = Some((number, rows));
            return Err(place(error));
        }
        // Part of the state may be in the store, also with several codecs or versions, and part in restored files.
        let part = |(number, old)| Ok((number, descriptor.evolution::<K>(old)?));
        let mut held: Vec<_> = self.registry.held(&meta.name).map(part).collect::<Result<_>>()?;
        let kept = match *held {
            [(number, None)] => {
                held.clear();
                Some(number)
            }
            _ => None,
        };
        let number = kept.map_or_else(|| self.registry.next_number().map_err(place), Ok)?;
        let restored = self.restored.state(&meta.name).map(|state| state.evolve::<K, _>(&descriptor));
        let restored = restored.transpose()?.map(Arc::new);
        if kept.is_none() {
            store.add_state(number, &meta).map_err(place)?;
        }
        let mut totals = self.registry.totals_of(kept, E::entry_bytes_max(&self.options));
        let replaced: Vec<_> = held.iter().map(|(old, _)| *old).collect();
        let filled = (|| {
            for (old, evolution) in &held {
                let into = (&mut *store as &mut dyn ByteStore, &mut self.buffers, &mut totals);
                evolve::rewrite::<K, N>(into, (*old, number, meta.kind), evolution.as_ref())?;
            }
            if let Some(restored) = &restored {
                let into = (&mut *store as &mut dyn ByteStore, &mut self.buffers, &mut totals);
                load::load::<K, N, MK>(into, number, restored)?;
            }
            if replaced.is_empty() {
                return Ok(());
            }
            super::finish_flush::<E>(store);
            evolve::remove(store, &mut self.buffers, &replaced)
        })();
        if let Err(error) = filled {
            // The state of a new number is removed as a whole.
            let rows = restored.filter(|_| kept.is_some());
            if (rows.is_some() || kept.is_none())
                && remove_leftover(store, &mut self.buffers, number, rows.as_deref()).is_err()
            {
                self.leftover = Some((number, rows));
            }
            return Err(place(error));
        }
        replaced.iter().for_each(|old| self.registry.drop_held(*old));
        self.restored.take(&meta.name);
        let caches = caches(&descriptor, number, meta.name.clone());
        self.life.registered(number.into(), &meta.name);
        self.registry.add::<D, K, N>(number, meta, descriptor, caches, totals);
        store.set_expiry(number, self.registry.expiry(number));
        Ok(number.into())
    }
}

/// Removes what a failed registration left: the key groups of `rows`, or all of the state.
fn remove_leftover(
    store: &mut dyn ByteStore,
    buffers: &mut Buffers,
    state: u16,
    rows: Option<&RestoredState>,
) -> Result<()> {
    let Some(rows) = rows else { return evolve::remove(store, buffers, &[state]) };
    let batch = &mut buffers.batch;
    batch.clear();
    for group in rows.groups() {
        let (from, to) = EntryKey::group_range(state, group..group + 1);
        batch.delete_range(&from, &to);
    }
    let written = store.write(batch);
    batch.clear();
    written
}
