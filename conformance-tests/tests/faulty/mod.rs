//! A backend with one chosen fault.

use std::sync::Arc;

use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingToken, BoxError, CheckpointTarget, JobFolder,
    KeyedStateHandle, Keys, Lifecycle, ListDescriptor, ListToken, MapDescriptor, MapToken, Place,
    ReducingDescriptor, ReducingToken, Result, SnapshotRequest, SnapshotTask, StateBackend, StateInfo,
    StateKey, StateToken, StateValue, Storage, Subtask, TimerDescriptor, TimerToken, ValueDescriptor,
    ValueState, ValueToken, update_failed,
};
use conformance_tests::{Capabilities, Factory, Setup};

/// A fault.
pub type Fault = u8;

/// Nothing.
pub const NONE: Fault = 0;
/// Listings of keys ignore the namespace.
pub const KEYS_OF_ALL_NAMESPACES: Fault = 1;
/// Clearing a value does nothing.
pub const FORGOTTEN_CLEAR: Fault = 2;
/// An update keeps changes of a function that failed.
pub const HALF_AN_UPDATE: Fault = 3;
/// The last of several handles is not restored.
pub const FORGOTTEN_HANDLE: Fault = 4;
/// A checkpoint counts as confirmed when it is taken.
pub const HASTY_CONFIRMATION: Fault = 5;
/// Closing does nothing.
pub const NEVER_CLOSED: Fault = 6;
/// A request for a full checkpoint is treated as any other.
pub const NEVER_FULL: Fault = 7;
/// Closing does not cancel running snapshots.
pub const UNSTOPPABLE_SNAPSHOT: Fault = 8;

/// `B` with a fault.
pub struct Faulty<B, const FAULT: Fault>(B);

/// A value state of it.
pub struct FaultyValue<S, const FAULT: Fault>(S);

impl<V: StateValue, S: ValueState<V>, const FAULT: Fault> ValueState<V> for FaultyValue<S, FAULT> {
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        self.0.with(f)
    }

    fn set(&mut self, value: V) -> Result<()> {
        self.0.set(value)
    }

    fn try_update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>) -> Result<R> {
        if FAULT == HALF_AN_UPDATE { self.0.update(f)?.map_err(update_failed) } else { self.0.try_update(f) }
    }

    fn clear(&mut self) -> Result<()> {
        if FAULT == FORGOTTEN_CLEAR { Ok(()) } else { self.0.clear() }
    }
}

impl<B: StateBackend, const FAULT: Fault> StateBackend for Faulty<B, FAULT> {
    type Key = B::Key;
    type Options = B::Options;
    type Value<'a, V: StateValue, N: StateKey> = FaultyValue<B::Value<'a, V, N>, FAULT>;
    type List<'a, T: StateValue, N: StateKey> = B::List<'a, T, N>;
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey> = B::Map<'a, MK, MV, N>;
    type Reducing<'a, T: StateValue, N: StateKey> = B::Reducing<'a, T, N>;
    type Aggregating<'a, A: Aggregate, N: StateKey> = B::Aggregating<'a, A, N>;
    type Timers<'a, N: StateKey> = B::Timers<'a, N>;

    fn open(
        options: &Self::Options,
        subtask: Subtask<Self::Key>,
        restore: &[KeyedStateHandle],
    ) -> Result<Self> {
        let forgotten = usize::from(FAULT == FORGOTTEN_HANDLE && restore.len() > 1);
        B::open(options, subtask, &restore[..restore.len() - forgotten]).map(Self)
    }

    fn checkpoint_target(options: &Self::Options) -> Result<CheckpointTarget> {
        B::checkpoint_target(options)
    }

    fn lifecycle(&self) -> &Lifecycle<Self::Key> {
        self.0.lifecycle()
    }

    fn lifecycle_mut(&mut self) -> &mut Lifecycle<Self::Key> {
        self.0.lifecycle_mut()
    }

    fn register_value<V: StateValue, N: StateKey>(
        &mut self,
        descriptor: ValueDescriptor<V, N>,
    ) -> Result<ValueToken<V, N>> {
        self.0.register_value(descriptor)
    }

    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>> {
        self.0.register_list(descriptor)
    }

    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>> {
        self.0.register_map(descriptor)
    }

    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>> {
        self.0.register_reducing(descriptor)
    }

    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>> {
        self.0.register_aggregating(descriptor)
    }

    fn register_timers<N: StateKey>(&mut self, descriptor: TimerDescriptor<N>) -> Result<TimerToken<N>> {
        self.0.register_timers(descriptor)
    }

    fn timers<N: StateKey>(&mut self, token: TimerToken<N>) -> Result<Self::Timers<'_, N>> {
        self.0.timers(token)
    }

    fn value_at<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, ValueToken<V, N>>,
    ) -> Result<Self::Value<'a, V, N>> {
        self.0.value_at(place).map(FaultyValue)
    }

    fn list_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, ListToken<T, N>>,
    ) -> Result<Self::List<'a, T, N>> {
        self.0.list_at(place)
    }

    fn map_at<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, MapToken<MK, MV, N>>,
    ) -> Result<Self::Map<'a, MK, MV, N>> {
        self.0.map_at(place)
    }

    fn reducing_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, ReducingToken<T, N>>,
    ) -> Result<Self::Reducing<'a, T, N>> {
        self.0.reducing_at(place)
    }

    fn aggregating_at<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, AggregatingToken<A, N>>,
    ) -> Result<Self::Aggregating<'a, A, N>> {
        self.0.aggregating_at(place)
    }

    fn keys<T: StateToken>(&mut self, token: T, namespace: &T::Namespace) -> Result<Keys<'_, Self::Key>> {
        if FAULT != KEYS_OF_ALL_NAMESPACES {
            return self.0.keys(token, namespace);
        }
        let pairs = self.0.keys_and_namespaces(token)?.collect::<Result<Vec<_>>>()?;
        let mut keys: Vec<_> = pairs.into_iter().map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        Ok(Box::new(keys.into_iter().map(Ok)))
    }

    fn keys_and_namespaces<T: StateToken>(
        &mut self,
        token: T,
    ) -> Result<Keys<'_, (Self::Key, T::Namespace)>> {
        self.0.keys_and_namespaces(token)
    }

    fn drop_restored(&mut self, state: &str) -> Result<()> {
        self.0.drop_restored(state)
    }

    fn states(&self) -> Vec<StateInfo> {
        self.0.states()
    }

    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask> {
        let id = request.checkpoint_id();
        let request = if FAULT == NEVER_FULL { SnapshotRequest::new(id) } else { request };
        let task = self.0.snapshot(request)?;
        match FAULT {
            HASTY_CONFIRMATION => {
                let handle = task.run()?;
                self.0.notify_complete(id)?;
                Ok(SnapshotTask::new(id, Default::default(), |_, _| Ok(handle)))
            }
            UNSTOPPABLE_SNAPSHOT => {
                let handle = task.run()?;
                Ok(SnapshotTask::new(id, Default::default(), |_, _| Ok(handle)))
            }
            _ => Ok(task),
        }
    }

    fn notify_complete(&mut self, checkpoint_id: u64) -> Result<()> {
        self.0.notify_complete(checkpoint_id)
    }

    fn notify_aborted(&mut self, checkpoint_id: u64) -> Result<()> {
        self.0.notify_aborted(checkpoint_id)
    }

    fn close(&mut self) -> Result<()> {
        if FAULT == NEVER_CLOSED { Ok(()) } else { self.0.close() }
    }
}

/// The backends of `F` with a fault.
pub struct WithFault<F, const FAULT: Fault>(F);

impl<F: Factory, const FAULT: Fault> Factory for WithFault<F, FAULT> {
    type Backend<K: StateKey> = Faulty<F::Backend<K>, FAULT>;

    fn new() -> Self {
        Self(F::new())
    }

    fn options<K: StateKey>(&self, setup: &Setup) -> Result<<F::Backend<K> as StateBackend>::Options> {
        self.0.options::<K>(setup)
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.0.storage()
    }

    fn job(&self) -> JobFolder {
        self.0.job()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}
