//! The heap backend: registration, access and checkpoints.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use arrayvec::ArrayVec;
use backend_api::format::StateMeta;
use backend_api::restore::{RestorePlan, RestoredState};
use backend_api::row::{FORMAT, ReadBack};
use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingToken, CheckpointTarget, KeyContext, KeyedStateHandle, Keys,
    Lifecycle, ListDescriptor, ListToken, MapDescriptor, MapToken, Place, ReducingDescriptor, ReducingToken,
    Result, SavepointFormat, SnapshotRequest, SnapshotTask, StateBackend, StateDescriptor, StateInfo,
    StateKey, StateToken, StateValue, Subtask, TimerDescriptor, TimerToken, ValueDescriptor, ValueState,
    ValueToken,
};

use super::budget::Budget;
use super::checkpointing::Checkpointing;
use super::content::{Content, Elements, Entries, Single};
use super::registered::Registered;
use super::row_key::entry_hash;
use super::rows::StateSnapshot;
use super::snapshot::{CanonicalState, HeapSnapshot, UnregisteredSnapshot, write_canonical};
use super::state::{AnyState, HeapState, StateSetup};
use super::timers::TimerQueue;
use super::views::{
    AggregatingTable, Fallback, Function, HeapAggregating, HeapList, HeapMap, HeapReducing, HeapTimers,
    HeapValue, ListTable, MapTable, Reduce, ReducingTable, Seat, ValueTable,
};

/// The format of native savepoints, which only heap backends restore.
const NATIVE_FORMAT: &str = "rows/1:heap";

/// Keys prefetched together: as many as fit into the L1 cache.
const PREFETCHED: usize = 32;

/// Keys of a batch that are processed before the next ones are prefetched. A processor tracks a limited
/// number of outstanding cache misses, and drops prefetches beyond that.
const AHEAD: usize = 16;

/// A state backend on the heap. See [`StateBackend`]. Reads borrow the objects themselves. Values are encoded
/// only when a snapshot is written.
pub struct HeapBackend<K: StateKey, C: Checkpointing> {
    life: Lifecycle<K>,
    checkpointing: C,
    setup: StateSetup,
    /// Indexed by tokens. Empty once the backend is closed.
    states: Vec<Registered<K>>,
    names: HashMap<String, usize>,
    /// States of the restored snapshot that the program has not registered.
    restored: Vec<Arc<RestoredState>>,
    /// The checkpoints that are neither confirmed nor aborted, oldest first: id, and the epoch of each state.
    pending: Vec<(u64, Vec<u32>)>,
}

impl<K: StateKey, C: Checkpointing> HeapBackend<K, C> {
    /// Confirms a checkpoint. If the checkpointing does not know it, changes stay part of the next increment.
    fn confirm(&mut self, checkpoint_id: u64) {
        if !self.checkpointing.complete(checkpoint_id) {
            return;
        }
        for (_, epochs) in self.pending.extract_if(.., |(id, _)| *id <= checkpoint_id) {
            for (state, epoch) in self.states.iter_mut().zip(epochs) {
                state.confirm(epoch);
            }
        }
    }

    /// The state of a token.
    #[inline(always)]
    fn state<S: AnyState<K>>(states: &mut [Registered<K>], token: impl StateToken) -> Option<&mut S> {
        states.get_mut(token.index())?.downcast_mut()
    }

    /// State and seat of a place.
    #[inline(always)]
    fn access<'a, S: AnyState<K>, T: StateToken>(
        &'a mut self,
        place: Place<'a, K, T>,
    ) -> Result<(&'a mut S, Seat<'a, K, T::Namespace>)> {
        let Some(state) = Self::state::<S>(&mut self.states, place.token()) else {
            return Err(self.life.refused_token());
        };
        Ok((state, Seat::new(place.key(), place.group(), place.namespace())))
    }

    /// Registers a table of `content`, and returns its index.
    fn register<N: StateKey, T: Content, X: Send + 'static>(
        &mut self,
        descriptor: &impl StateDescriptor,
        content: T,
        extra: X,
    ) -> Result<u32> {
        let expiry = descriptor.expiry().cloned();
        self.register_state(descriptor, |meta, read_back, setup| {
            HeapState::<K, N, T, X>::new(meta, content, extra, read_back, expiry, setup)
        })
    }

    /// Registers the state that `descriptor` describes and `new` makes, and returns its index.
    fn register_state<S: AnyState<K>>(
        &mut self,
        descriptor: &impl StateDescriptor,
        new: impl FnOnce(StateMeta, ReadBack, StateSetup) -> S,
    ) -> Result<u32> {
        let (meta, read_back) = (descriptor.meta()?, descriptor.read_back::<K>());
        self.life.check_open()?;
        meta.check_name()?;
        let name = meta.name.clone();
        if let Some(&index) = self.names.get(&name) {
            let known = &self.states[index];
            known.meta().check_again(&meta, known.is::<S>())?;
            return Ok(index as u32);
        }
        let restored = self.restored.iter().position(|restored| restored.name() == name);
        let mut state = new(meta, read_back, self.setup.clone());
        if let Some(at) = restored {
            let restored = &self.restored[at];
            let restored = &restored.evolve::<K, _>(descriptor)?;
            let threads = self.checkpointing.restore_threads();
            state.restore(restored, self.life.subtask().key_space(), threads)?;
            self.restored.remove(at);
        }
        let index = self.states.len();
        self.life.registered(index as u32, &name);
        self.names.insert(name, index);
        self.states.push(Registered::new(state));
        Ok(index as u32)
    }

    /// The state whose keys are asked for.
    fn listed(&self, token: impl StateToken) -> Result<&Registered<K>> {
        self.life.check_token(token)?;
        self.states.get(token.index()).ok_or_else(|| self.life.refused_token())
    }

    /// Calls `f` with the view of each key in turn, and prefetches some keys ahead.
    #[inline]
    fn batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(&mut HeapValue<'_, K, N, V>, usize) -> Result<()>,
    ) -> Result<()> {
        let Self { life, states, .. } = self;
        life.check_token(token)?;
        let Some(state) = Self::state::<ValueTable<K, N, V>>(states, token) else {
            return Err(life.refused_token());
        };
        let subtask = life.subtask();
        namespace.check().map_err(|error| error.in_state(&state.meta().name))?;
        for (at, some) in keys.chunks(AHEAD).enumerate() {
            prefetch_batch(state, subtask, some, namespace);
            for (i, &key) in some.iter().enumerate() {
                let seat = Seat::new(key, subtask.check(&key)?, namespace);
                f(&mut HeapValue { state, seat }, at * AHEAD + i)?;
            }
        }
        Ok(())
    }

    /// The task of a canonical savepoint.
    fn canonical_savepoint(&mut self, request: &SnapshotRequest) -> Result<SnapshotTask> {
        let id = request.checkpoint_id();
        let registered = self.states.iter().map(|state| state.meta().canonical());
        let restored = self.restored.iter().flat_map(|state| state.canonical_metas());
        let mut metas: Vec<_> = registered.chain(restored).collect();
        metas.sort_by(|a, b| a.name.cmp(&b.name));
        let meta = self.life.file_meta(FORMAT, id, metas)?;
        let mut states = Vec::new();
        for state in &mut self.states {
            let (_, snapshot) = state.freeze()?;
            states.push(CanonicalState::Registered(state.meta().name.clone(), snapshot));
        }
        states.extend(self.restored.iter().cloned().map(CanonicalState::Restored));
        states.sort_by(|a, b| a.name().cmp(b.name()));
        let target = self.checkpointing.target_for(request);
        let write = write_canonical(meta, self.life.subtask().range(), states, target);
        Ok(self.life.task(id, write))
    }

    /// The metadata of all states for a checkpoint.
    fn metas(&self) -> Vec<StateMeta> {
        let registered = self.states.iter().map(|state| state.meta().clone());
        let restored = self.restored.iter().flat_map(|state| state.metas().iter().cloned());
        registered.chain(restored).collect()
    }
}

/// Prefetches memory for accesses to a state. Keys of other subtasks are ignored.
fn prefetch_batch<K: StateKey, N: StateKey>(
    state: &(impl AnyState<K> + ?Sized),
    subtask: &Subtask<K>,
    keys: &[KeyContext<'_, K>],
    namespace: &N,
) {
    let mut places = ArrayVec::<(usize, u64), PREFETCHED>::new();
    for some in keys.chunks(PREFETCHED) {
        let known =
            some.iter().filter_map(|key| Some((subtask.check(key).ok()?, entry_hash(key.hash(), namespace))));
        places.clear();
        places.extend(known);
        state.prefetch_all(&places);
    }
}

impl<K: StateKey, C: Checkpointing> StateBackend for HeapBackend<K, C> {
    type Key = K;
    type Options = C::Options;
    type Value<'a, V: StateValue, N: StateKey> = HeapValue<'a, K, N, V>;
    type List<'a, T: StateValue, N: StateKey> = HeapList<'a, K, N, T>;
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey> = HeapMap<'a, K, N, MK, MV>;
    type Reducing<'a, T: StateValue, N: StateKey> = HeapReducing<'a, K, N, T>;
    type Aggregating<'a, A: Aggregate, N: StateKey> = HeapAggregating<'a, K, N, A>;
    type Timers<'a, N: StateKey> = HeapTimers<'a, K, N>;

    fn open(options: &C::Options, subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Result<Self> {
        let mut checkpointing = C::open(options)?;
        let storage = checkpointing.storage().cloned();
        let _span =
            tracing::info_span!("restore", operator = subtask.operator(), handles = restore.len()).entered();
        let formats = &[FORMAT, NATIVE_FORMAT];
        let plan = RestorePlan::open_formats(restore, storage.as_deref(), &subtask, formats)?;
        checkpointing.restored(restore, &plan);
        let restored = plan.states().cloned().collect();
        let setup = StateSetup {
            range: subtask.range(),
            seed: subtask.hash_seed(),
            budget: Budget::new(checkpointing.memory_budget()),
            tracks_removals: checkpointing.is_incremental(),
        };
        Ok(Self {
            life: Lifecycle::new(subtask, restore),
            checkpointing,
            setup,
            states: Vec::new(),
            names: HashMap::new(),
            restored,
            pending: Vec::new(),
        })
    }

    fn checkpoint_target(options: &C::Options) -> Result<CheckpointTarget> {
        C::target(options)
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
        let content = Single { codec: Arc::clone(descriptor.codec()) };
        let extra = Fallback(descriptor.default_ref().cloned());
        let index = self.register::<N, _, _>(&descriptor, content, extra)?;
        Ok(ValueToken::new(self.life.id(), index))
    }

    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>> {
        let content = Elements { codec: Arc::clone(descriptor.codec()) };
        let index = self.register::<N, _, _>(&descriptor, content, ())?;
        Ok(ListToken::new(self.life.id(), index))
    }

    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>> {
        let content = Entries::<MK, MV> { codec: Arc::clone(descriptor.codec()), keys: PhantomData };
        let index = self.register::<N, _, _>(&descriptor, content, ())?;
        Ok(MapToken::new(self.life.id(), index))
    }

    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>> {
        let content = Single { codec: Arc::clone(descriptor.codec()) };
        let extra = Reduce(Arc::clone(descriptor.reduce()));
        let index = self.register::<N, _, _>(&descriptor, content, extra)?;
        Ok(ReducingToken::new(self.life.id(), index))
    }

    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>> {
        let content = Single { codec: Arc::clone(descriptor.codec()) };
        let extra = Function(Arc::clone(descriptor.aggregate()));
        let index = self.register::<N, _, _>(&descriptor, content, extra)?;
        Ok(AggregatingToken::new(self.life.id(), index))
    }

    fn register_timers<N: StateKey>(&mut self, descriptor: TimerDescriptor<N>) -> Result<TimerToken<N>> {
        let index = self.register_state(&descriptor, TimerQueue::<K, N>::new)?;
        Ok(TimerToken::new(self.life.id(), index))
    }

    #[inline(always)]
    fn value_at<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ValueToken<V, N>>,
    ) -> Result<HeapValue<'a, K, N, V>> {
        let (state, seat) = self.access::<ValueTable<K, N, V>, _>(place)?;
        Ok(HeapValue { state, seat })
    }

    #[inline(always)]
    fn list_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ListToken<T, N>>,
    ) -> Result<HeapList<'a, K, N, T>> {
        let (state, seat) = self.access::<ListTable<K, N, T>, _>(place)?;
        Ok(HeapList { state, seat })
    }

    #[inline(always)]
    fn map_at<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, MapToken<MK, MV, N>>,
    ) -> Result<HeapMap<'a, K, N, MK, MV>> {
        let (state, seat) = self.access::<MapTable<K, N, MK, MV>, _>(place)?;
        Ok(HeapMap { state, seat })
    }

    #[inline(always)]
    fn reducing_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, ReducingToken<T, N>>,
    ) -> Result<HeapReducing<'a, K, N, T>> {
        let (state, seat) = self.access::<ReducingTable<K, N, T>, _>(place)?;
        Ok(HeapReducing { state, seat })
    }

    #[inline(always)]
    fn aggregating_at<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        place: Place<'a, K, AggregatingToken<A, N>>,
    ) -> Result<HeapAggregating<'a, K, N, A>> {
        let (state, seat) = self.access::<AggregatingTable<K, N, A>, _>(place)?;
        Ok(HeapAggregating { state, seat })
    }

    fn timers<N: StateKey>(&mut self, token: TimerToken<N>) -> Result<HeapTimers<'_, K, N>> {
        self.life.check_token(token)?;
        let Some(queue) = Self::state::<TimerQueue<K, N>>(&mut self.states, token) else {
            return Err(self.life.refused_token());
        };
        Ok(HeapTimers { life: &self.life, token, queue })
    }

    fn keys<T: StateToken>(&mut self, token: T, namespace: &T::Namespace) -> Result<Keys<'_, K>> {
        let state = self.listed(token)?;
        let mut encoded = Vec::new();
        namespace.encode(&mut encoded);
        state.keys(&encoded)
    }

    fn keys_and_namespaces<T: StateToken>(&mut self, token: T) -> Result<Keys<'_, (K, T::Namespace)>> {
        let state = self.listed(token)?;
        Ok(Box::new(state.keys_and_namespaces().map(|pair| {
            let (key, namespace) = pair?;
            Ok((key, T::Namespace::decode(&mut &namespace[..])?))
        })))
    }

    fn drop_restored(&mut self, state: &str) -> Result<()> {
        self.life.check_open()?;
        let at = self.restored.iter().position(|restored| restored.name() == state);
        let at = at.ok_or_else(|| self.life.not_restored(state))?;
        self.restored.remove(at);
        Ok(())
    }

    fn states(&self) -> Vec<StateInfo> {
        let registered = self.states.iter().map(|state| state.info());
        let restored = self.restored.iter().map(|state| StateInfo {
            name: state.name().to_owned(),
            kind: state.kind(),
            entries: None,
            bytes: 0,
            registered: false,
        });
        registered.chain(restored).collect()
    }

    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask> {
        self.life.check_any_request(&request)?;
        let id = request.checkpoint_id();
        if let Some(completed) = request.last_completed() {
            self.confirm(completed);
        }
        if self.states.is_empty() && self.restored.is_empty() {
            return Ok(self.life.task(id, |_, _| Ok(None)));
        }
        if request.is_canonical() {
            return self.canonical_savepoint(&request);
        }
        let is_native = request.savepoint() == Some(SavepointFormat::Native);
        let format = if is_native { NATIVE_FORMAT } else { FORMAT };
        let meta = self.life.file_meta(format, id, self.metas())?;
        let (mut epochs, mut states) = (Vec::new(), Vec::<Box<dyn StateSnapshot>>::new());
        for state in &mut self.states {
            let (epoch, snapshot) = state.freeze()?;
            epochs.push(epoch);
            states.push(snapshot);
        }
        for state in &self.restored {
            for meta in 0..state.metas().len() {
                states.push(Box::new(UnregisteredSnapshot::new(Arc::clone(state), meta)));
            }
        }
        let heap = HeapSnapshot { meta, range: self.life.subtask().range(), states };
        if is_native {
            let write = heap.write_full(self.checkpointing.target_for(&request));
            return Ok(self.life.task(id, write));
        }
        let write = self.checkpointing.write(heap, request);
        if self.checkpointing.is_incremental() {
            self.pending.push((id, epochs));
        }
        Ok(self.life.task(id, write))
    }

    fn notify_complete(&mut self, checkpoint_id: u64) -> Result<()> {
        self.life.check_open()?;
        self.confirm(checkpoint_id);
        Ok(())
    }

    fn notify_aborted(&mut self, checkpoint_id: u64) -> Result<()> {
        self.life.check_open()?;
        self.life.abort(checkpoint_id);
        self.checkpointing.aborted(checkpoint_id);
        self.pending.retain(|(id, _)| *id != checkpoint_id);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.life.close();
        self.pending.clear();
        self.states.clear();
        self.names.clear();
        self.restored.clear();
        Ok(())
    }

    #[inline]
    fn remove_expired<T: StateToken>(&mut self, token: T, entries: u32) -> Result<()> {
        let known = token.backend() == self.life.id();
        let Some(state) = self.states.get_mut(token.index()).filter(|_| known) else {
            return Err(self.life.refused_token());
        };
        state.remove_expired(entries as usize, self.life.subtask())
    }

    #[inline]
    fn prefetch<T: StateToken>(&self, token: T, key: KeyContext<'_, K>, namespace: &T::Namespace) {
        if token.backend() == self.life.id()
            && let (Some(state), Ok(group)) =
                (self.states.get(token.index()), self.life.subtask().check(&key))
        {
            state.prefetch(group, entry_hash(key.hash(), namespace));
        }
    }

    fn prefetch_batch<T: StateToken>(&self, token: T, keys: &[KeyContext<'_, K>], namespace: &T::Namespace) {
        if let Some(state) = self.states.get(token.index()).filter(|_| token.backend() == self.life.id()) {
            prefetch_batch(&**state, self.life.subtask(), keys, namespace);
        }
    }

    fn get_values<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        self.batch(token, keys, namespace, |view, i| view.with(|value| f(i, value)))
    }

    fn update_values<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, K>],
        namespace: &N,
        mut f: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        self.batch(token, keys, namespace, |view, i| view.update(|value| f(i, value)))
    }
}

impl<K: StateKey, C: Checkpointing> Drop for HeapBackend<K, C> {
    fn drop(&mut self) {
        self.life.close();
    }
}
