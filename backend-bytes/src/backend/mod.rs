mod access;
mod listing;
mod registration;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use access::Opened;

use crate::access::Buffers;
use crate::cache::{Budget, CacheFlush, CachedList, CachedMap};
use crate::engine::{AnyStore, ByteEngine, OpenedStore};
use crate::kinds::{Values, typed};
use crate::limits::{EntryLimit, Totals};
use crate::registry::Registry;
use crate::snapshot::{Frozen, FrozenNative, FrozenRows};
use crate::{
    ByteAggregating, ByteList, ByteMap, ByteReducing, ByteStore, ByteTimers, ByteValue, FreezeRequest,
    LayerState, WriteBatch, evolve,
};
use backend_api::restore::{RestorePlan, RestoredState, check_handles};
use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingToken, AttemptTarget, CheckpointTarget, Error, ErrorKind,
    KeyContext, KeyedStateHandle, Keys, Lifecycle, ListDescriptor, ListToken, MapDescriptor, MapToken, Place,
    ReducingDescriptor, ReducingToken, Result, SavepointFormat, SnapshotKind, SnapshotRequest, SnapshotTask,
    StateBackend, StateInfo, StateKey, StateToken, StateValue, Subtask, TimerDescriptor, TimerToken,
    ValueDescriptor, ValueState, ValueToken, backend_closed, row,
};

/// A state backend over a [`ByteStore`]. See the [crate].
///
/// Its checkpoints are full. It does not count entries, so [`StateInfo::entries`] is `None`. Restored rows
/// are loaded into the store when their state is registered.
pub type ByteBackend<K> = EngineBackend<K, AnyStore>;

/// A state backend over the store of a [`ByteEngine`], which may have its own checkpoint format.
pub struct EngineBackend<K: StateKey, E: ByteEngine> {
    life: Lifecycle<K>,
    options: E::Options,
    target: AttemptTarget,
    /// `None` once closed.
    store: Option<E::Store>,
    registry: Registry,
    /// Restored rows of states that are not registered yet.
    restored: RestorePlan,
    buffers: Buffers,
    cache_budget: Arc<Budget>,
    /// Seed of the hash tables of the caches.
    cache_seed: u64,
    /// Rows that a failed registration may have left under the next state's number.
    leftover: Option<(u16, Option<Arc<RestoredState>>)>,
}

impl<K: StateKey, E: ByteEngine> EngineBackend<K, E> {
    /// The store, for an engine's own figures. `None` once the backend is closed.
    pub fn store(&self) -> Option<&E::Store> {
        self.store.as_ref()
    }
}

impl<K: StateKey, E: ByteEngine> StateBackend for EngineBackend<K, E> {
    type Key = K;
    type Options = E::Options;
    type Value<'a, V: StateValue, N: StateKey> = ByteValue<'a, V, N>;
    type List<'a, T: StateValue, N: StateKey> = ByteList<'a, T, N>;
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey> = ByteMap<'a, MK, MV>;
    type Reducing<'a, T: StateValue, N: StateKey> = ByteReducing<'a, T, N>;
    type Aggregating<'a, A: Aggregate, N: StateKey> = ByteAggregating<'a, A, N>;
    type Timers<'a, N: StateKey> = ByteTimers<'a, K, N>;

    fn open(options: &E::Options, subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Result<Self> {
        let formats = [row::FORMAT, native_format::<E>()];
        check_handles(restore, &subtask, &formats)?;
        let (mut native, mut rows) = (Vec::new(), Vec::new());
        for handle in restore.iter().filter(|handle| handle.range.intersection(subtask.range()).is_some()) {
            if row::has_rows(&handle.format) {
                rows.push(handle.clone());
            } else {
                rows.extend(FrozenNative::rows_of(handle));
                native.push(handle.clone());
            }
        }
        let target = E::target(options).for_attempt()?;
        let storage = target.storage().map(|storage| &**storage);
        let restored = RestorePlan::open_some(&rows, storage, &subtask, &formats)?;
        restored.verify()?;
        let OpenedStore { store, states, layer } = E::open(options, &subtask, &native)?;
        let limit = E::entry_bytes_max(options);
        let totals = (0..).map(|state| Totals::with_bounds(limit, &layer.bounds(state)));
        let held = states.into_iter().zip(totals);
        let registry = Registry::holding(held);
        // Random unless the user sets a seed, so that keys cannot be chosen to collide.
        let cache_seed = match subtask.hash_seed() {
            0 => RandomState::new().hash_one(()),
            seed => seed,
        };
        Ok(Self {
            life: Lifecycle::new(subtask, restore),
            options: options.clone(),
            target,
            store: Some(store),
            registry,
            restored,
            buffers: Buffers::starting_at(layer.sequence()),
            cache_budget: Budget::new(E::cache_bytes(options)),
            cache_seed,
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

    fn lifecycle_mut(&mut self) -> &mut Lifecycle<K> {
        &mut self.life
    }

    fn register_value<V: StateValue, N: StateKey>(
        &mut self,
        descriptor: ValueDescriptor<V, N>,
    ) -> Result<ValueToken<V, N>> {
        let number = self.register_state::<_, N, (), Option<_>>(descriptor, ValueDescriptor::codec)?;
        Ok(ValueToken::new(self.life.id(), number))
    }

    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>> {
        let number = self.register_state::<_, N, (), CachedList<T>>(descriptor, ListDescriptor::codec)?;
        Ok(ListToken::new(self.life.id(), number))
    }

    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>> {
        let number = self.register_state::<_, N, MK, CachedMap<MK, MV>>(descriptor, MapDescriptor::codec)?;
        Ok(MapToken::new(self.life.id(), number))
    }

    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>> {
        let number = self.register_state::<_, N, (), Option<_>>(descriptor, ReducingDescriptor::codec)?;
        Ok(ReducingToken::new(self.life.id(), number))
    }

    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>> {
        let number = self.register_state::<_, N, (), Option<_>>(descriptor, AggregatingDescriptor::codec)?;
        Ok(AggregatingToken::new(self.life.id(), number))
    }

    fn register_timers<N: StateKey>(&mut self, descriptor: TimerDescriptor<N>) -> Result<TimerToken<N>> {
        let number = self.register_timer_state(descriptor)?;
        Ok(TimerToken::new(self.life.id(), number))
    }

    #[inline(always)]
    fn value_at<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ValueToken<V, N>>,
    ) -> Result<ByteValue<'a, V, N>> {
        self.buffers.fetched.clear();
        self.fetched_value(place)
    }

    #[inline(always)]
    fn list_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ListToken<T, N>>,
    ) -> Result<ByteList<'a, T, N>> {
        let Opened { access, descriptor, cache } = self.access::<ListDescriptor<T, N>, _>(place)?;
        Ok(ByteList {
            access,
            cache: typed(cache),
            codec: &**descriptor.codec(),
            namespace: place.namespace(),
        })
    }

    #[inline(always)]
    fn map_at<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, MapToken<MK, MV, N>>,
    ) -> Result<ByteMap<'a, MK, MV>> {
        let Opened { access, descriptor, cache } = self.access::<MapDescriptor<MK, MV, N>, _>(place)?;
        Ok(ByteMap { access, cache: typed(cache), codec: &**descriptor.codec() })
    }

    #[inline(always)]
    fn reducing_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ReducingToken<T, N>>,
    ) -> Result<ByteReducing<'a, T, N>> {
        let Opened { access, descriptor, cache } = self.access::<ReducingDescriptor<T, N>, _>(place)?;
        let values = Values::new(cache, &**descriptor.codec());
        Ok(ByteReducing { access, descriptor, values, namespace: place.namespace() })
    }

    #[inline(always)]
    fn aggregating_at<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, AggregatingToken<A, N>>,
    ) -> Result<ByteAggregating<'a, A, N>> {
        let Opened { access, descriptor, cache } = self.access::<AggregatingDescriptor<A, N>, _>(place)?;
        let values = Values::new(cache, &**descriptor.codec());
        Ok(ByteAggregating { access, descriptor, values, namespace: place.namespace() })
    }

    fn timers<N: StateKey>(&mut self, token: TimerToken<N>) -> Result<ByteTimers<'_, K, N>> {
        self.life.check_token(token)?;
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let Some((meta, cache)) = self.registry.timers::<TimerDescriptor<N>>(token.index()) else {
            return Err(self.life.refused_token());
        };
        let limit = EntryLimit(E::entry_bytes_max(&self.options));
        Ok(ByteTimers { life: &self.life, token, store, meta, cache, limit, key: &mut self.buffers.timer })
    }

    fn get_values<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        self.each_value(token, keys, namespace, |index, mut value| value.with(|value| f(index, value)))
    }

    fn update_values<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        self.each_value(token, keys, namespace, |index, mut value| value.update(|value| f(index, value)))
    }

    fn keys<T: StateToken>(&mut self, token: T, namespace: &T::Namespace) -> Result<Keys<'_, K>> {
        let namespace = namespace.clone();
        let pairs = self.pairs(token)?;
        Ok(Box::new(pairs.filter_map(move |pair| match pair {
            Ok((key, of)) => (of == namespace).then_some(Ok(key)),
            Err(error) => Some(Err(error)),
        })))
    }

    fn keys_and_namespaces<T: StateToken>(&mut self, token: T) -> Result<Keys<'_, (K, T::Namespace)>> {
        self.pairs(token)
    }

    fn drop_restored(&mut self, state: &str) -> Result<()> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let held: Vec<_> = self.registry.held(state).map(|(number, _)| number).collect();
        if held.is_empty() && self.restored.state(state).is_none() {
            return Err(self.life.not_restored(state));
        }
        if !held.is_empty() {
            finish_flush::<E>(store);
            evolve::remove(store, &mut self.buffers, &held).map_err(|error| error.in_state(state))?;
            held.iter().for_each(|number| self.registry.drop_held(*number));
        }
        self.restored.take(state);
        Ok(())
    }

    fn states(&self) -> Vec<StateInfo> {
        let info = |name: &str, kind, registered| {
            let number = self.registry.registered(name).map(|(number, _)| number);
            let bytes = number.map_or(0, |number| self.registry.bytes(number) as u64);
            StateInfo { name: name.to_owned(), kind, entries: None, bytes, registered }
        };
        let registered = self.registry.in_order().map(|meta| info(&meta.name, meta.kind, true));
        let held = self.registry.unregistered();
        let in_files =
            self.restored.states().filter(|state| self.registry.held(state.name()).next().is_none());
        let waiting = held
            .map(|meta| (&*meta.name, meta.kind))
            .chain(in_files.map(|state| (state.name(), state.kind())));
        registered.chain(waiting.map(|(name, kind)| info(name, kind, false))).collect()
    }

    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask> {
        self.life.check_any_request(&request)?;
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        if let (Some(last), Some(snapshots)) = (request.last_completed(), E::snapshots(store)) {
            snapshots.complete(last);
        }
        let id = request.checkpoint_id();
        let restored: Vec<_> = self.restored.states().cloned().collect();
        let states: Vec<_> = self.registry.metas().cloned().collect();
        let left = restored.iter().flat_map(|state| state.metas());
        self.life.file_meta(row::FORMAT, id, states.iter().chain(left).cloned().collect())?;
        let has_own_format = E::FORMAT != row::FORMAT;
        let is_native = match request.kind() {
            SnapshotKind::Savepoint(SavepointFormat::Native) => true,
            SnapshotKind::Checkpoint => {
                E::snapshots(store).is_some_and(|snapshots| snapshots.prefers_native())
            }
            SnapshotKind::Full | SnapshotKind::Savepoint(SavepointFormat::Canonical) => false,
        };
        let format = if is_native && !has_own_format { NATIVE_FORMAT } else { row::FORMAT };
        let is_canonical = request.is_canonical();
        let meta = self.life.file_meta(format, id, states)?;
        let is_empty = meta.states.is_empty() && restored.is_empty();
        let (range, target) = (self.life.subtask().range(), self.target.for_request(&request));
        // Finishes the flush of the previous snapshot first.
        finish_flush::<E>(store);
        for (meta, timers) in self.registry.all_timers() {
            timers.flush(store).map_err(|error| error.in_state(&meta.name))?;
        }
        let flush = CacheFlush::new(self.registry.caches().filter_map(|cache| cache.freeze()).collect());
        let states = if is_native && has_own_format {
            None
        } else {
            match self.registry.rows::<K>() {
                Err(error) if has_own_format && !is_canonical => {
                    tracing::warn!(%error, "only this backend can restore the checkpoint");
                    None
                }
                states => Some(states?),
            }
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
                Frozen::Rows(FrozenRows { store, states, restored, meta, range, target, is_canonical })
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

/// The format of native savepoints of a store without its own format.
const NATIVE_FORMAT: &str = "rows/1:bytes";

/// The format that other families do not restore.
fn native_format<E: ByteEngine>() -> &'static str {
    if E::FORMAT == row::FORMAT { NATIVE_FORMAT } else { E::FORMAT }
}

/// Finishes a due flush. Caches may write to the store afterwards.
fn finish_flush<E: ByteEngine>(store: &mut E::Store) {
    if let Some(snapshots) = E::snapshots(store) {
        snapshots.finish_flush();
    }
}
