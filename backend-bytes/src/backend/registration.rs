use std::sync::Arc;

use super::EngineBackend;
use crate::access::Buffers;
use crate::cache::{AnyCache, Cache, CacheConfig, Object};
use crate::{ByteEngine, ByteStore, EntryKey, load};
use backend_api::restore::RestoredState;
use backend_api::{Codec, Error, Result, StateDescriptor, StateKey, backend_closed};

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
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let meta = descriptor.meta()?;
        if let Some(number) = self.registry.known::<D>(&meta)? {
            return Ok(number.into());
        }
        let place = |error: Error| error.in_state(&meta.name);
        if let Some((number, rows)) = self.leftover.take()
            && let Err(error) = remove_rows(store, &mut self.buffers, number, &rows)
        {
            self.leftover = Some((number, rows));
            return Err(place(error));
        }
        // Part of the state may be in the store, and part in restored files.
        let held = self.registry.held(&meta)?;
        let number = held.map_or_else(|| self.registry.next_number().map_err(place), Ok)?;
        let restored = self.restored.state(&meta.name).cloned();
        if let Some(restored) = &restored {
            restored.check_registration(&meta)?;
        }
        if held.is_none() {
            store.add_state(number, &meta).map_err(place)?;
        }
        let mut totals = self.registry.totals_of(held, E::entry_bytes_max(&self.options));
        if let Some(restored) = restored {
            let into = (&mut *store as &mut dyn ByteStore, &mut self.buffers, &mut totals);
            let loaded = load::load::<K, N, MK>(into, number, &restored);
            if let Err(error) = loaded {
                if remove_rows(store, &mut self.buffers, number, &restored).is_err() {
                    self.leftover = Some((number, restored));
                }
                return Err(place(error));
            }
            self.restored.take(&meta.name);
        }
        let cache = self.cache_budget.is_some().then(|| {
            let (name, seed) = (meta.name.clone(), self.cache_seed);
            let config = CacheConfig { number, name, seed, budget: Arc::clone(&self.cache_budget) };
            Box::new(Cache::<O>::new(config, Arc::clone(codec(&descriptor)))) as Box<dyn AnyCache>
        });
        self.life.registered(number.into(), &meta.name);
        self.registry.add::<D, K, N>(number, meta, descriptor, cache, totals);
        Ok(number.into())
    }
}

/// Removes the rows of `restored` that a failed registration left.
fn remove_rows(
    store: &mut dyn ByteStore,
    buffers: &mut Buffers,
    state: u16,
    restored: &RestoredState,
) -> Result<()> {
    let batch = &mut buffers.batch;
    batch.clear();
    for group in restored.groups() {
        let (from, to) = EntryKey::group_range(state, group..group + 1);
        batch.delete_range(&from, &to);
    }
    let written = store.write(batch);
    batch.clear();
    written
}
