use std::sync::{Arc, Weak};

use super::access::{Access, Buffers, Place, decoded, state_range};
use super::registry::Registry;
use super::snapshot::Frozen;
use super::{ByteAggregating, ByteList, ByteMap, ByteOptions, ByteReducing, ByteStore, ByteValue};
use crate::format::FileMeta;
use crate::restore::RestorePlan;
use crate::{
    Aggregate, AggregatingDescriptor, AggregatingToken, BackendId, Cancel, Error, ErrorKind, KeyContext,
    KeyedStateHandle, Keys, ListDescriptor, ListToken, MapDescriptor, MapToken, ReducingDescriptor,
    ReducingToken, Result, SnapshotRequest, SnapshotTask, StateBackend, StateDescriptor, StateInfo, StateKey,
    StateToken, StateValue, Subtask, ValueDescriptor, ValueToken, row,
};

/// A state backend over a [`ByteStore`]; see the [module](super).
///
/// Its checkpoints are full ones. Entries are not counted ([`StateInfo::entries`] is `None`). What is restored is
/// decoded when its state is registered.
pub struct ByteBackend<K: StateKey> {
    id: BackendId,
    subtask: Subtask<K>,
    options: ByteOptions,
    /// `None` once closed.
    store: Option<Box<dyn ByteStore>>,
    registry: Registry,
    /// What nobody has registered yet.
    restored: RestorePlan,
    buffers: Buffers,
    /// Whether rows may have been left where the next state's go, by a registration that failed.
    leftover: bool,
    last_checkpoint: Option<u64>,
    /// Of snapshots that may still run: dead once the task is.
    running: Vec<(Weak<()>, Cancel)>,
}

impl<K: StateKey> ByteBackend<K> {
    fn check_open(&self) -> Result<()> {
        if self.store.is_some() { Ok(()) } else { Err(closed()) }
    }

    /// Registers a state of which the map keys, if it is a map, are `MK`, and gives its number.
    fn register_state<D, N: StateKey, MK: StateKey>(&mut self, descriptor: D) -> Result<u32>
    where
        D: StateDescriptor + Send + Sync + 'static,
    {
        let store = self.store.as_deref_mut().ok_or_else(closed)?;
        let meta = descriptor.meta();
        if let Some(number) = self.registry.known::<D>(&meta)? {
            return Ok(number.into());
        }
        let number = self.registry.next_number()?;
        let place = |error: Error| error.in_state(&meta.name);
        if self.leftover {
            remove_state(store, &mut self.buffers, number).map_err(place)?;
            self.leftover = false;
        }
        if let Some(restored) = self.restored.state(&meta.name) {
            restored.check_registration(&meta)?;
            self.leftover = true;
            let loaded = super::load::load::<K, N, MK>(store, &mut self.buffers, number, restored);
            if let Err(error) = loaded {
                self.leftover = remove_state(store, &mut self.buffers, number).is_err();
                return Err(place(error));
            }
            self.leftover = false;
            self.restored.take(&meta.name);
        }
        self.registry.add::<D, K, N>(number, meta, descriptor);
        Ok(number.into())
    }

    fn access<'a, D: 'static, N: StateKey>(
        &'a mut self,
        token: impl StateToken,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<(Access<'a>, &'a D)> {
        let store = self.store.as_deref_mut().ok_or_else(closed)?;
        let state = self.registry.states().get(token.index()).filter(|_| token.backend() == self.id);
        let descriptor = state.and_then(|state| Some((state, state.descriptor.downcast_ref::<D>()?)));
        let (state, descriptor) = descriptor.ok_or_else(foreign)?;
        self.subtask.check(&key)?;
        let number = (token.index() as u16, key.group());
        let (key, max) = ((key.key(), namespace), self.options.entry_bytes_max());
        let access = Access::new(store, &mut self.buffers, &state.meta, number, key, max)?;
        Ok((access, descriptor))
    }

    /// Key and namespace of everything in a state, each pair once.
    fn pairs<N: StateKey>(&mut self, state: &str) -> Result<Keys<'_, (K, N)>> {
        let store = self.store.as_deref().ok_or_else(closed)?;
        let Some((number, state)) = self.registry.named(state) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let (old, new) = (&state.meta.namespace_schema, N::schema());
        if *old != new {
            let message = format!("its namespaces are {old:?}, those asked for {new:?}");
            return Err(Error::new(ErrorKind::Migration, message).in_state(&state.meta.name));
        }
        let place = Place { meta: &state.meta, group: None };
        let (from, to) = state_range(number);
        let cursor = store.scan(&from, &to).map_err(|error| place.name(error))?;
        let mut last: Option<Vec<u8>> = None;
        let pairs = decoded(cursor, place, move |key, _| {
            // Encodings are self-delimiting: what begins like the last pair is a further entry of it.
            if last.as_ref().is_some_and(|last| key.starts_with(last)) {
                return None;
            }
            let mut rest = key.get(4..).unwrap_or_default();
            Some(row::decode_key::<K, N>(&mut rest).inspect(|_| {
                let last = last.get_or_insert_default();
                last.clear();
                last.extend(key.iter().take(key.len() - rest.len()));
            }))
        });
        Ok(Box::new(pairs))
    }
}

impl<K: StateKey> StateBackend for ByteBackend<K> {
    type Key = K;
    type Options = ByteOptions;
    type Value<'a, V: StateValue, N: StateKey> = ByteValue<'a, V, N>;
    type List<'a, T: StateValue, N: StateKey> = ByteList<'a, T, N>;
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey> = ByteMap<'a, MK, MV, N>;
    type Reducing<'a, T: StateValue, N: StateKey> = ByteReducing<'a, T, N>;
    type Aggregating<'a, A: Aggregate, N: StateKey> = ByteAggregating<'a, A, N>;

    fn open(options: &ByteOptions, subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Result<Self> {
        let storage = options.target().storage();
        let restored = RestorePlan::open(restore, storage.map(|storage| &**storage), &subtask)?;
        let store = options.open_store(subtask.operator(), subtask.index())?;
        if store.scan(&[], &[u8::MAX; 3])?.next()?.is_some() {
            let message = "the store of a backend that is opened holds something already";
            return Err(Error::new(ErrorKind::IllegalState, message));
        }
        Ok(Self {
            id: BackendId::fresh(),
            subtask,
            options: options.clone(),
            store: Some(store),
            registry: Registry::default(),
            restored,
            buffers: Buffers::default(),
            leftover: false,
            last_checkpoint: None,
            running: Vec::new(),
        })
    }

    fn subtask(&self) -> &Subtask<K> {
        &self.subtask
    }

    fn register_value<V: StateValue, N: StateKey>(
        &mut self,
        descriptor: ValueDescriptor<V, N>,
    ) -> Result<ValueToken<V, N>> {
        Ok(ValueToken::new(self.id, self.register_state::<_, N, ()>(descriptor)?))
    }

    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>> {
        Ok(ListToken::new(self.id, self.register_state::<_, N, ()>(descriptor)?))
    }

    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>> {
        Ok(MapToken::new(self.id, self.register_state::<_, N, MK>(descriptor)?))
    }

    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>> {
        Ok(ReducingToken::new(self.id, self.register_state::<_, N, ()>(descriptor)?))
    }

    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>> {
        Ok(AggregatingToken::new(self.id, self.register_state::<_, N, ()>(descriptor)?))
    }

    fn value<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        token: ValueToken<V, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteValue<'a, V, N>> {
        let (access, descriptor) = self.access(token, key, namespace)?;
        Ok(ByteValue { access, descriptor })
    }

    fn list<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ListToken<T, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteList<'a, T, N>> {
        let (access, descriptor) = self.access(token, key, namespace)?;
        Ok(ByteList { access, descriptor, namespace })
    }

    fn map<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        token: MapToken<MK, MV, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteMap<'a, MK, MV, N>> {
        let (access, descriptor) = self.access(token, key, namespace)?;
        Ok(ByteMap { access, descriptor })
    }

    fn reducing<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ReducingToken<T, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteReducing<'a, T, N>> {
        let (access, descriptor) = self.access(token, key, namespace)?;
        Ok(ByteReducing { access, descriptor, namespace })
    }

    fn aggregating<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        token: AggregatingToken<A, N>,
        key: KeyContext<'a, K>,
        namespace: &'a N,
    ) -> Result<ByteAggregating<'a, A, N>> {
        let (access, descriptor) = self.access(token, key, namespace)?;
        Ok(ByteAggregating { access, descriptor, namespace })
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

    fn states(&self) -> Vec<StateInfo> {
        let info = |name: &str, kind, registered| StateInfo {
            name: name.to_owned(),
            kind,
            entries: None,
            bytes: 0,
            registered,
        };
        let registered =
            self.registry.states().iter().map(|state| info(&state.meta.name, state.meta.kind, true));
        let restored = self.restored.states().map(|state| info(state.name(), state.kind(), false));
        registered.chain(restored).collect()
    }

    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask> {
        let store = self.store.as_deref_mut().ok_or_else(closed)?;
        let id = request.checkpoint_id();
        if let Some(last) = self.last_checkpoint.filter(|last| id <= *last) {
            let message = format!("checkpoint {id} is asked for after checkpoint {last}");
            return Err(Error::new(ErrorKind::IllegalState, message));
        }
        let restored: Vec<_> = self.restored.states().cloned().collect();
        let states = self.registry.states();
        let metas = states.iter().map(|state| &state.meta);
        let meta = FileMeta {
            backend: row::FORMAT.to_owned(),
            operator: self.subtask.operator().to_owned(),
            subtask: self.subtask.index().into(),
            checkpoint_id: id,
            max_parallelism: self.subtask.key_space().max_parallelism().into(),
            key_groups: self.subtask.range().iter(),
            key_schema: K::schema(),
            key_group_mapping: self.subtask.key_space().mapping_id().to_owned(),
            states: metas.chain(restored.iter().flat_map(|state| state.metas())).cloned().collect(),
        };
        meta.check()?;
        let frozen = Frozen {
            store: store.snapshot()?,
            states: states.iter().map(|state| (state.meta.kind, state.prefix_len)).collect(),
            restored,
            meta,
            range: self.subtask.range(),
            max_parallelism: self.subtask.key_space().max_parallelism(),
            target: self.options.target().clone(),
        };
        self.last_checkpoint = Some(id);
        let (cancel, alive) = (Cancel::new(), Arc::new(()));
        self.running.retain(|(task, _)| task.strong_count() > 0);
        self.running.push((Arc::downgrade(&alive), cancel.clone()));
        Ok(SnapshotTask::new(id, cancel, move |cancel, progress| {
            let _alive = alive;
            if frozen.meta.states.is_empty() {
                return Ok(None);
            }
            frozen.write(cancel, progress).map(Some)
        }))
    }

    fn notify_complete(&mut self, _checkpoint_id: u64) -> Result<()> {
        self.check_open()
    }

    fn notify_aborted(&mut self, _checkpoint_id: u64) -> Result<()> {
        self.check_open()
    }

    fn close(&mut self) -> Result<()> {
        for (_, cancel) in self.running.drain(..) {
            cancel.cancel();
        }
        self.restored = RestorePlan::default();
        self.buffers = Buffers::default();
        self.store.take().map_or(Ok(()), |mut store| store.close())
    }
}

impl<K: StateKey> Drop for ByteBackend<K> {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store was not closed");
        }
    }
}

impl<K: StateKey> std::fmt::Debug for ByteBackend<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("ByteBackend");
        debug.field("operator", &self.subtask.operator()).field("range", &self.subtask.range());
        debug.field("states", &self.states()).finish_non_exhaustive()
    }
}

/// Removes what a registration that failed has left of its rows.
fn remove_state(store: &mut dyn ByteStore, buffers: &mut Buffers, state: u16) -> Result<()> {
    let (from, to) = state_range(state);
    let (batch, _) = buffers.batch();
    batch.delete_range(&from, &to);
    let written = store.write(batch);
    batch.clear();
    written
}

#[cold]
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the backend is closed")
}

#[cold]
fn foreign() -> Error {
    Error::new(ErrorKind::ForeignToken, "the token was made by another backend")
}
