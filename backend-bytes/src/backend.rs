use std::sync::Arc;

use super::access::{Access, Buffers, Origin, decoded};
use super::cache::{
    AnyCache, Budget, Cache, CacheConfig, CacheFlush, CachedList, CachedMap, Eviction, Object,
};
use super::engine::{AnyStore, ByteEngine, OpenedStore};
use super::kinds::{Values, typed};
use super::limits::{EntryLimit, Totals};
use super::registry::{Found, Registry};
use super::snapshot::{Frozen, FrozenNative, FrozenRows};
use super::{
    ByteAggregating, ByteList, ByteMap, ByteReducing, ByteStore, ByteValue, EntryKey, FreezeRequest,
    LayerState, WriteBatch,
};
use backend_api::restore::{RestorePlan, RestoredState, check_handles};
use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingToken, AttemptTarget, CheckpointTarget, Codec, Error,
    ErrorKind, KeyContext, KeyedStateHandle, Keys, Lifecycle, ListDescriptor, ListToken, MapDescriptor,
    MapToken, ReducingDescriptor, ReducingToken, Result, SnapshotRequest, SnapshotTask, StateBackend,
    StateDescriptor, StateInfo, StateKey, StateToken, StateValue, Subtask, ValueDescriptor, ValueState,
    ValueToken, backend_closed, row,
};

/// Most values that a batch reads at once. It reads fewer until they are known to be short.
const FETCHED: usize = 128;

/// A state backend over a [`ByteStore`]; see the [module](super).
///
/// Its checkpoints are full ones. Entries are not counted ([`StateInfo::entries`] is `None`). What is restored is
/// decoded when its state is registered.
pub type ByteBackend<K> = EngineBackend<K, AnyStore>;

/// A state backend over the stores of a [`ByteEngine`], which may have checkpoints of a format of its own.
pub struct EngineBackend<K: StateKey, E: ByteEngine> {
    life: Lifecycle<K>,
    options: E::Options,
    target: AttemptTarget,
    /// `None` once closed.
    store: Option<E::Store>,
    registry: Registry,
    /// Rows of states that nobody has registered yet.
    restored: RestorePlan,
    buffers: Buffers,
    cache_budget: Arc<Budget>,
    /// Rows that a registration that failed may have left, under the number that the next state gets.
    leftover: Option<(u16, Arc<RestoredState>)>,
}

impl<K: StateKey, E: ByteEngine> EngineBackend<K, E> {
    /// The store, for what an engine tells of it; `None` once the backend is closed.
    pub fn store(&self) -> Option<&E::Store> {
        self.store.as_ref()
    }

    /// Registers a state, whose objects in a cache are `O`, and gives its number. `MK` is the type of a map's keys.
    fn register_state<D, N: StateKey, MK: StateKey, O: Object>(
        &mut self,
        descriptor: D,
        codec: impl FnOnce(&D) -> Arc<dyn Codec<O::Value>>,
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
        // The store has rows of it, others may wait in files.
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
            let loaded = super::load::load::<K, N, MK>(into, number, &restored);
            if let Err(error) = loaded {
                if remove_rows(store, &mut self.buffers, number, &restored).is_err() {
                    self.leftover = Some((number, restored));
                }
                return Err(place(error));
            }
            self.restored.take(&meta.name);
        }
        let cache = self.cache_budget.is_some().then(|| {
            let (name, seed) = (meta.name.clone(), self.life.subtask().hash_seed());
            let config = CacheConfig { number, name, seed, budget: Arc::clone(&self.cache_budget) };
            Box::new(Cache::<O>::new(config, codec(&descriptor))) as Box<dyn AnyCache>
        });
        self.registry.add::<D, N>(number, meta, descriptor, cache, totals);
        Ok(number.into())
    }

    #[inline(always)]
    fn access<'a, D: 'static, N: StateKey>(
        &'a mut self,
        token: impl StateToken,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<Opened<'a, D>> {
        // What a batch has left that failed.
        if !self.buffers.fetched.is_empty() {
            self.buffers.fetched.clear();
        }
        self.access_fetched(token, key, namespace)
    }

    /// As [`access`](Self::access), after a [`fetch`](Self::fetch).
    #[inline(always)]
    fn access_fetched<'a, D: 'static, N: StateKey>(
        &'a mut self,
        token: impl StateToken,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<Opened<'a, D>> {
        if self.cache_budget.excess() > 0 {
            self.make_room()?;
        }
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let state = self.registry.get::<D>(token.index()).filter(|_| token.backend() == self.life.id());
        let Some(Found { meta, descriptor, cache, totals, .. }) = state else {
            return Err(self.life.refused_token());
        };
        self.life.subtask().check(&key).map_err(|error| error.in_state(&meta.name))?;
        let number = (token.index() as u16, key.group());
        let (key, limit) = ((key.key(), namespace), EntryLimit(E::entry_bytes_max(&self.options)));
        let access = Access::new(store, &mut self.buffers, totals, meta, number, key, limit)?;
        Ok(Opened { access, descriptor, cache })
    }

    /// Reads values at the first of the keys that the cache does not know, all at once, for the accesses to them that follow,
    /// and tells how many keys these are. Tokens and keys that are wrong are left to the accesses.
    fn fetch<D: 'static, N: StateKey>(
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
        for key in keys.iter().take(first).filter(|key| self.life.subtask().check(key).is_ok()) {
            // A namespace that cannot be encoded is left to the accesses, too.
            let set = buffers.set(token.index() as u16, key.group(), key.key(), namespace);
            if set.is_ok() && !cache.is_some_and(|cache| cache.has(buffers.here())) {
                fetched.add(buffers.here());
            }
        }
        let read = fetched.read(|keys, read| store.get_all(keys, read));
        if let Some(fit) = read.map_err(|error| error.in_state(&meta.name))? {
            // Step by step: a few short ones do not tell that many are.
            *read_at_once = fit.min(2 * *read_at_once).clamp(1, FETCHED);
        }
        Ok(first)
    }

    /// A value as [`fetch`](Self::fetch) has found it.
    #[inline(always)]
    fn fetched_value<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        token: ValueToken<V, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteValue<'a, V, N>> {
        let Opened { access, descriptor, cache } =
            self.access_fetched::<ValueDescriptor<V, N>, _>(token, key, namespace)?;
        Ok(ByteValue { access, descriptor, values: Values::new(cache, &**descriptor.codec()) })
    }

    /// Opens a value at each of the keys, in order, with what is read at once for some of them.
    fn each_value<V: StateValue, N: StateKey>(
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
                f(next, self.fetched_value(token, key, namespace)?)?;
                next += 1;
            }
        }
        self.buffers.fetched.clear();
        Ok(())
    }

    /// Takes entries out of the caches.
    #[cold]
    fn make_room(&mut self) -> Result<()> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let Some(eviction) = Eviction::due(&self.cache_budget, self.registry.caches()) else { return Ok(()) };
        // Nothing can be written before a flush is finished. Until then clean entries make room; if there are too few each
        // access waits a little.
        if let Some(snapshots) = E::snapshots(store)
            && (snapshots.is_flushing() && eviction.take_clean() || !snapshots.try_finish_flush())
        {
            return Ok(());
        }
        eviction.take(&mut |batch| store.write(batch))
    }

    /// Key and namespace of everything in a state, each pair once.
    fn pairs<N: StateKey>(&mut self, state: &str) -> Result<Keys<'_, (K, N)>> {
        self.store.as_ref().ok_or_else(backend_closed)?;
        let (number, meta) =
            self.registry.registered(state).ok_or_else(|| self.life.not_registered(state))?;
        if let (Some(cache), Some(store)) = (self.registry.cache(number), &mut self.store) {
            finish_flush::<E>(store);
            cache.flush(&mut |batch| store.write(batch)).map_err(|error| error.in_state(&meta.name))?;
        }
        let store = self.store.as_ref().ok_or_else(backend_closed)?;
        let (old, new) = (&meta.namespace_schema, N::schema());
        if *old != new {
            let message = format!("its namespaces are {old:?}, those asked for {new:?}");
            return Err(Error::new(ErrorKind::Migration, message).in_state(&meta.name));
        }
        let origin = Origin { meta, group: None };
        let (from, to) = EntryKey::state_range(number);
        let cursor = store.scan(&from, &to).map_err(|error| origin.name(error))?;
        let mut last: Option<Vec<u8>> = None;
        let pairs = decoded(cursor, origin, move |key, _| {
            // Encodings are self-delimiting: what begins like the last pair is a further entry of it.
            if last.as_ref().is_some_and(|last| key.starts_with(last)) {
                return None;
            }
            let mut rest = EntryKey::without_head(key);
            let pair = row::decode_key::<K, N>(&mut rest).inspect(|_| {
                let last = last.get_or_insert_default();
                last.clear();
                last.extend(key.iter().take(key.len() - rest.len()));
            });
            let group = EntryKey::split(key).map_or(0, |key| key.group);
            Some(pair.map_err(|error| error.in_group(group)))
        });
        Ok(Box::new(pairs))
    }
}

/// A state at a key and namespace.
struct Opened<'a, D> {
    access: Access<'a>,
    descriptor: &'a D,
    cache: Option<&'a dyn AnyCache>,
}

impl<K: StateKey, E: ByteEngine> StateBackend for EngineBackend<K, E> {
    type Key = K;
    type Options = E::Options;
    type Value<'a, V: StateValue, N: StateKey> = ByteValue<'a, V, N>;
    type List<'a, T: StateValue, N: StateKey> = ByteList<'a, T, N>;
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey> = ByteMap<'a, MK, MV>;
    type Reducing<'a, T: StateValue, N: StateKey> = ByteReducing<'a, T, N>;
    type Aggregating<'a, A: Aggregate, N: StateKey> = ByteAggregating<'a, A, N>;

    fn open(options: &E::Options, subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Result<Self> {
        check_handles(restore, &subtask, &[row::FORMAT, E::FORMAT])?;
        let (mut native, mut rows) = (Vec::new(), Vec::new());
        for handle in restore.iter().filter(|handle| handle.range.intersection(subtask.range()).is_some()) {
            if handle.format == row::FORMAT {
                rows.push(handle.clone());
            } else {
                rows.extend(FrozenNative::rows_of(handle));
                native.push(handle.clone());
            }
        }
        let target = E::target(options).for_attempt()?;
        let storage = target.storage().map(|storage| &**storage);
        let restored = RestorePlan::open(&rows, storage, &subtask)?;
        restored.verify()?;
        let OpenedStore { store, states, layer } = E::open(options, &subtask, &native)?;
        let limit = E::entry_bytes_max(options);
        let totals = (0..).map(|state| Totals::with_bounds(limit, &layer.bounds(state)));
        let held = states.into_iter().zip(totals);
        let registry = Registry::holding(held);
        Ok(Self {
            life: Lifecycle::new(subtask, restore),
            options: options.clone(),
            target,
            store: Some(store),
            registry,
            restored,
            buffers: Buffers::starting_at(layer.sequence()),
            cache_budget: Budget::new(E::cache_bytes(options)),
            leftover: None,
        })
    }

    fn checkpoint_target(options: &E::Options) -> Result<CheckpointTarget> {
        Ok(E::target(options).clone())
    }

    #[inline(always)]
    fn lifecycle(&self) -> &Lifecycle<K> {
        &self.life
    }

    fn register_value<V: StateValue, N: StateKey>(
        &mut self,
        descriptor: ValueDescriptor<V, N>,
    ) -> Result<ValueToken<V, N>> {
        let number = self
            .register_state::<_, N, (), Option<_>>(descriptor, |descriptor| Arc::clone(descriptor.codec()))?;
        Ok(ValueToken::new(self.life.id(), number))
    }

    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>> {
        let number = self.register_state::<_, N, (), CachedList<T>>(descriptor, |descriptor| {
            Arc::clone(descriptor.codec())
        })?;
        Ok(ListToken::new(self.life.id(), number))
    }

    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>> {
        let number = self.register_state::<_, N, MK, CachedMap<MK, MV>>(descriptor, |descriptor| {
            Arc::clone(descriptor.codec())
        })?;
        Ok(MapToken::new(self.life.id(), number))
    }

    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>> {
        let number = self
            .register_state::<_, N, (), Option<_>>(descriptor, |descriptor| Arc::clone(descriptor.codec()))?;
        Ok(ReducingToken::new(self.life.id(), number))
    }

    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>> {
        let number = self
            .register_state::<_, N, (), Option<_>>(descriptor, |descriptor| Arc::clone(descriptor.codec()))?;
        Ok(AggregatingToken::new(self.life.id(), number))
    }

    #[inline(always)]
    fn value<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        token: ValueToken<V, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteValue<'a, V, N>> {
        self.buffers.fetched.clear();
        self.fetched_value(token, key, namespace)
    }

    #[inline(always)]
    fn list<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ListToken<T, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteList<'a, T, N>> {
        let Opened { access, descriptor, cache } =
            self.access::<ListDescriptor<T, N>, _>(token, key, namespace)?;
        Ok(ByteList { access, cache: typed(cache), codec: &**descriptor.codec(), namespace })
    }

    #[inline(always)]
    fn map<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        token: MapToken<MK, MV, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteMap<'a, MK, MV>> {
        let Opened { access, descriptor, cache } =
            self.access::<MapDescriptor<MK, MV, N>, _>(token, key, namespace)?;
        Ok(ByteMap { access, cache: typed(cache), codec: &**descriptor.codec() })
    }

    #[inline(always)]
    fn reducing<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ReducingToken<T, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteReducing<'a, T, N>> {
        let Opened { access, descriptor, cache } =
            self.access::<ReducingDescriptor<T, N>, _>(token, key, namespace)?;
        let values = Values::new(cache, &**descriptor.codec());
        Ok(ByteReducing { access, descriptor, values, namespace })
    }

    #[inline(always)]
    fn aggregating<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        token: AggregatingToken<A, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteAggregating<'a, A, N>> {
        let Opened { access, descriptor, cache } =
            self.access::<AggregatingDescriptor<A, N>, _>(token, key, namespace)?;
        let values = Values::new(cache, &**descriptor.codec());
        Ok(ByteAggregating { access, descriptor, values, namespace })
    }

    fn get_batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        self.each_value(token, keys, namespace, |index, mut value| value.with(|value| f(index, value)))
    }

    fn update_batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        self.each_value(token, keys, namespace, |index, mut value| value.update(|value| f(index, value)))
    }

    fn keys<N: StateKey>(&mut self, state: &str, namespace: &N) -> Result<Keys<'_, K>> {
        let namespace = namespace.clone();
        let pairs = self.pairs::<N>(state)?;
        Ok(Box::new(pairs.filter_map(move |pair| match pair {
            Ok((key, of)) => (of == namespace).then_some(Ok(key)),
            Err(error) => Some(Err(error)),
        })))
    }

    fn keys_and_namespaces<N: StateKey>(&mut self, state: &str) -> Result<Keys<'_, (K, N)>> {
        self.pairs(state)
    }

    fn drop_restored(&mut self, state: &str) -> Result<()> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let held = self.registry.held_as(state);
        if held.is_none() && self.restored.state(state).is_none() {
            return Err(self.life.not_restored(state));
        }
        if let Some(number) = held {
            finish_flush::<E>(store);
            let batch = &mut self.buffers.batch;
            batch.clear();
            let (from, to) = EntryKey::state_range(number);
            batch.delete_range(&from, &to);
            let written = store.write(batch);
            batch.clear();
            written.map_err(|error| error.in_state(state))?;
            self.registry.drop_held(number);
        }
        self.restored.take(state);
        Ok(())
    }

    fn states(&self) -> Vec<StateInfo> {
        let info = |name: &str, kind, registered| {
            let number = self.registry.registered(name).map(|(number, _)| number);
            let cache = number.and_then(|number| self.registry.cache(number));
            let bytes = cache.map_or(0, |cache| cache.bytes() as u64);
            StateInfo { name: name.to_owned(), kind, entries: None, bytes, registered }
        };
        let registered = self.registry.in_order().map(|meta| info(&meta.name, meta.kind, true));
        let held = self.registry.unregistered();
        let in_files = self.restored.states().filter(|state| self.registry.held_as(state.name()).is_none());
        let waiting = held
            .map(|meta| (&*meta.name, meta.kind))
            .chain(in_files.map(|state| (state.name(), state.kind())));
        registered.chain(waiting.map(|(name, kind)| info(name, kind, false))).collect()
    }

    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask> {
        self.life.check_request(&request)?;
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        if let (Some(last), Some(snapshots)) = (request.last_completed(), E::snapshots(store)) {
            snapshots.complete(last);
        }
        let id = request.checkpoint_id();
        let restored: Vec<_> = self.restored.states().cloned().collect();
        let states: Vec<_> = self.registry.metas().cloned().collect();
        let left = restored.iter().flat_map(|state| state.metas());
        self.life.file_meta(row::FORMAT, id, states.iter().chain(left).cloned().collect())?;
        let meta = self.life.file_meta(row::FORMAT, id, states)?;
        let is_empty = meta.states.is_empty() && restored.is_empty();
        let (range, target) = (self.life.subtask().range(), self.target.clone());
        // What an earlier snapshot has put off comes first.
        finish_flush::<E>(store);
        let flush = CacheFlush::new(self.registry.caches().filter_map(|cache| cache.freeze()).collect());
        let prefers_native = E::snapshots(store).is_some_and(|snapshots| snapshots.prefers_native());
        // Every backend can restore rows.
        let states = if request.is_full() || !prefers_native {
            match self.registry.rows::<K>() {
                Err(error) if E::snapshots(store).is_some() => {
                    tracing::warn!(%error, "only this backend can restore the checkpoint");
                    None
                }
                states => Some(states?),
            }
        } else {
            None
        };
        let frozen = match states {
            Some(states) => {
                let store = match E::snapshots(store) {
                    Some(snapshots) => snapshots.rows(&request, flush)?,
                    None => {
                        flush.apply(&mut |batch: &WriteBatch| store.write(batch))?;
                        store.snapshot()?
                    }
                };
                Frozen::Rows(FrozenRows { store, states, restored, meta, range, target })
            }
            None => {
                let snapshots = E::snapshots(store).ok_or_else(|| {
                    Error::new(ErrorKind::IllegalState, "the store has no checkpoints of its own")
                })?;
                let layer = LayerState::new(self.buffers.sequence, self.registry.bounds());
                let request = FreezeRequest { meta: &meta, layer, request };
                let task = snapshots.native(request, flush)?;
                Frozen::Native(FrozenNative { task, format: E::FORMAT, restored, meta, range, target })
            }
        };
        Ok(self.life.task(id, move |cancel, progress| {
            if is_empty {
                return Ok(None);
            }
            frozen.write(cancel, progress).map(Some)
        }))
    }

    fn notify_complete(&mut self, checkpoint_id: u64) -> Result<()> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        if let Some(snapshots) = E::snapshots(store) {
            snapshots.complete(checkpoint_id);
        }
        Ok(())
    }

    fn notify_aborted(&mut self, checkpoint_id: u64) -> Result<()> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        if let Some(snapshots) = E::snapshots(store) {
            snapshots.aborted(checkpoint_id);
        }
        self.life.abort(checkpoint_id);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.life.close();
        self.restored = RestorePlan::default();
        self.buffers = Buffers::default();
        self.registry.drop_caches();
        self.store.take().map_or(Ok(()), |mut store| store.close())
    }
}

impl<K: StateKey, E: ByteEngine> Drop for EngineBackend<K, E> {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store was not closed");
        }
    }
}

impl<K: StateKey, E: ByteEngine> std::fmt::Debug for EngineBackend<K, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("EngineBackend");
        debug.field("operator", &self.life.subtask().operator()).field("range", &self.life.subtask().range());
        debug.field("states", &self.states()).finish_non_exhaustive()
    }
}

/// Removes what a registration that failed has left of the rows of `restored`.
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

/// Sees to it that caches may write to the store.
fn finish_flush<E: ByteEngine>(store: &mut E::Store) {
    if let Some(snapshots) = E::snapshots(store) {
        snapshots.finish_flush();
    }
}
