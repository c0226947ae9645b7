//! The trait that every backend implements.

use std::fmt::Debug;
use std::ops::RangeBounds;

use crate::ttl::{AggregatingView, ListView, MapView, ReducingView, ValueView};
use crate::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, CheckpointTarget, Error, ErrorKind,
    KeyContext, KeyedStateHandle, Lifecycle, ListDescriptor, ListState, ListToken, LookupKey, MapDescriptor,
    MapState, MapToken, Place, ReducingDescriptor, ReducingState, ReducingToken, Result, SnapshotRequest,
    SnapshotTask, StateDescriptor, StateKey, StateKind, StateToken, StateValue, Subtask, Timer,
    TimerDescriptor, TimerState, TimerToken, ValueDescriptor, ValueState, ValueToken, ttl, walk,
};

/// Information about one state of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// The state's name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Number of entries: (key, namespace) pairs, for a map state the entries of all maps, or timers. `None` if
    /// the backend would have to count them one by one.
    pub entries: Option<u64>,
    /// Bytes of memory: tables, and what values own on the heap. 0 if the backend keeps no memory for it.
    pub bytes: u64,
    /// True if the program has registered it since the start. A restored state is kept even if it is never
    /// registered.
    pub registered: bool,
}

/// An iterator over the keys of a listing.
pub type Keys<'a, K> = Box<dyn Iterator<Item = Result<K>> + 'a>;

/// A keyed state backend: the state of one subtask, with one owner.
///
/// # Contract
///
/// * A backend is `Send` and needs no lock, because all access borrows it. It blocks, and needs no async
///   runtime.
/// * State is addressed by state (a token), key and namespace. Keys are equal if their encodings are
///   ([`StateKey`]). They belong to this backend if their group lies in the subtask's range.
/// * A call that fails changes nothing. This includes user functions that fail or panic.
/// * The time of [`snapshot`](Self::snapshot) does not grow with the state. Changes after it returns are not
///   in the snapshot, whenever its task runs. Several snapshots can run at once.
/// * An increment builds on the last checkpoint *confirmed* by [`notify_complete`](Self::notify_complete),
///   never on one that was merely taken.
/// * A restored state can be used once it is registered. Until then it has no keys and no token, and
///   [`states`](Self::states) lists it. It is part of every later snapshot, unchanged, unless it is
///   [dropped](Self::drop_restored). [`check_restored`](Self::check_restored) finds states that were
///   forgotten or renamed.
///
/// # Views
///
/// A view borrows the backend. In code that is generic over the backend, the compiler assumes that the borrow
/// lasts until the end of the scope. So use a view in the statement that makes it, as in `backend.value(hits,
/// key, &())?.get()?`. To use one view several times, put a block around it.
///
/// # Errors
///
/// Every method returns [`Closed`](crate::ErrorKind::Closed) after [`close`](Self::close).
/// [`ErrorKind`](crate::ErrorKind) describes the kinds that several methods return.
///
/// # Implementing
///
/// Implement the methods without a body. For an engine that stores bytes, `backend_bytes::ByteStore` is
/// simpler: it provides all of this trait.
pub trait StateBackend: Send + Sized + 'static {
    /// Type of the keys.
    type Key: StateKey;
    /// Options for opening a backend.
    type Options: Clone + Debug + Send + Sync + 'static;
    /// View of a value state.
    type Value<'a, V: StateValue, N: StateKey>: ValueState<V>;
    /// View of a list state.
    type List<'a, T: StateValue, N: StateKey>: ListState<T, N>;
    /// View of a map state.
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey>: MapState<MK, MV>;
    /// View of a reducing state.
    type Reducing<'a, T: StateValue, N: StateKey>: ReducingState<T, N>;
    /// View of an aggregating state.
    type Aggregating<'a, A: Aggregate, N: StateKey>: AggregatingState<A, N>;
    /// View of all timers of a state.
    type Timers<'a, N: StateKey>: TimerState<Self::Key, N>;

    /// Opens the backend of `subtask` with the state in `restore` for its key groups. Without handles it
    /// starts empty.
    ///
    /// The handles may come from any number of subtasks of any parallelism. Each key group is taken from the
    /// handle that has it, and nothing else is read. Once this returns, the files may be deleted, unless the
    /// options let the backend claim them: then its next increments build on them.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`NotFound`](crate::ErrorKind::NotFound) or
    /// [`Io`](crate::ErrorKind::Io) for a damaged or missing file. Some backends report damage within the
    /// rows of a state later: when it is [registered](Self::register), or, if that is not done or has failed,
    /// when a checkpoint is written, which fails then. [`IllegalState`](crate::ErrorKind::IllegalState) if
    /// the max parallelism or the mapping of keys to groups differs, if two handles have the same group, or
    /// if there are handles but none has some group of the subtask.
    /// [`Migration`](crate::ErrorKind::Migration) for another key type.
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a format of another family of backends. Nothing is
    /// left behind then.
    fn open(
        options: &Self::Options,
        subtask: Subtask<Self::Key>,
        restore: &[KeyedStateHandle],
    ) -> Result<Self>;

    /// Where a backend with these options writes its checkpoints. Operator and raw state of the same task go
    /// there too.
    ///
    /// # Errors
    /// As [`open`](Self::open), for options out of range.
    fn checkpoint_target(options: &Self::Options) -> Result<CheckpointTarget>;

    /// The part that all backends have in common.
    fn lifecycle(&self) -> &Lifecycle<Self::Key>;

    /// [`lifecycle`](Self::lifecycle), to change it.
    fn lifecycle_mut(&mut self) -> &mut Lifecycle<Self::Key>;

    /// Registers a value state, or returns its token again. See [`register`](Self::register).
    fn register_value<V: StateValue, N: StateKey>(
        &mut self,
        descriptor: ValueDescriptor<V, N>,
    ) -> Result<ValueToken<V, N>>;

    /// Registers a list state, or returns its token again. See [`register`](Self::register).
    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>>;

    /// Registers a map state, or returns its token again. See [`register`](Self::register).
    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>>;

    /// Registers a reducing state, or returns its token again. See [`register`](Self::register).
    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>>;

    /// Registers an aggregating state, or returns its token again. See [`register`](Self::register).
    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>>;

    /// Registers timers, or returns their token again. See [`register`](Self::register).
    fn register_timers<N: StateKey>(&mut self, descriptor: TimerDescriptor<N>) -> Result<TimerToken<N>>;

    /// Opens a value state at a place. [`value`](Self::value) checks the place first.
    fn value_at<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, ValueToken<V, N>>,
    ) -> Result<Self::Value<'a, V, N>>;

    /// Opens a list state at a place. [`list`](Self::list) checks the place first.
    fn list_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, ListToken<T, N>>,
    ) -> Result<Self::List<'a, T, N>>;

    /// Opens a map state at a place. [`map`](Self::map) checks the place first.
    fn map_at<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, MapToken<MK, MV, N>>,
    ) -> Result<Self::Map<'a, MK, MV, N>>;

    /// Opens a reducing state at a place. [`reducing`](Self::reducing) checks the place first.
    fn reducing_at<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, ReducingToken<T, N>>,
    ) -> Result<Self::Reducing<'a, T, N>>;

    /// Opens an aggregating state at a place. [`aggregating`](Self::aggregating) checks the place first.
    fn aggregating_at<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        place: Place<'a, Self::Key, AggregatingToken<A, N>>,
    ) -> Result<Self::Aggregating<'a, A, N>>;

    /// Opens all timers of a state.
    ///
    /// # Errors
    /// [`ForeignToken`](crate::ErrorKind::ForeignToken).
    fn timers<N: StateKey>(&mut self, token: TimerToken<N>) -> Result<Self::Timers<'_, N>>;

    /// The keys with an entry in a state and namespace, each once, in no order.
    ///
    /// It scans the whole state. If a state needs this often, keep the keys in a map state.
    ///
    /// # Errors
    /// [`ForeignToken`](crate::ErrorKind::ForeignToken).
    fn keys<T: StateToken>(&mut self, token: T, namespace: &T::Namespace) -> Result<Keys<'_, Self::Key>>;

    /// All pairs of key and namespace with an entry in a state, each once, in no order.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    fn keys_and_namespaces<T: StateToken>(&mut self, token: T)
    -> Result<Keys<'_, (Self::Key, T::Namespace)>>;

    /// Drops a restored state that the program no longer has. Later snapshots do not contain it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if no state of that name was restored, or it is registered.
    fn drop_restored(&mut self, state: &str) -> Result<()>;

    /// Checks that the program has registered all restored states. This finds renamed states.
    ///
    /// # Errors
    /// [`IllegalState`](crate::ErrorKind::IllegalState), naming the remaining states.
    fn check_restored(&self) -> Result<()> {
        self.lifecycle().check_open()?;
        let left = self.states().into_iter().filter(|state| !state.registered).map(|state| state.name);
        let left: Vec<_> = left.collect();
        if left.is_empty() {
            return Ok(());
        }
        let operator = self.subtask().operator();
        let message = format!(
            "operator {operator:?} has restored states that are not registered: {left:?}; register them, or drop what the program no longer has"
        );
        Err(Error::new(ErrorKind::IllegalState, message))
    }

    /// All states: the registered ones in the order of registration, then the restored ones that are not
    /// registered.
    fn states(&self) -> Vec<StateInfo>;

    /// The synchronous part of a snapshot. [`SnapshotTask`] is the rest.
    ///
    /// # Errors
    /// [`IllegalState`](crate::ErrorKind::IllegalState) if the id is not greater than all earlier ones.
    /// [`Size`](crate::ErrorKind::Size) for more than 32,767 states.
    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask>;

    /// Confirms that checkpoint `checkpoint_id` is complete, so that the next increment may build on it. An
    /// id that is unknown, or older than the last confirmed one, changes nothing.
    ///
    /// # Errors
    /// Only [`Closed`](crate::ErrorKind::Closed).
    fn notify_complete(&mut self, checkpoint_id: u64) -> Result<()>;

    /// Reports that checkpoint `checkpoint_id` will never complete. The next one includes its changes.
    ///
    /// # Errors
    /// Only [`Closed`](crate::ErrorKind::Closed).
    fn notify_aborted(&mut self, checkpoint_id: u64) -> Result<()>;

    /// Closes the backend: cancels running snapshots, frees memory and removes local working folders.
    /// Checkpoints stay. Idempotent. Dropping does the same.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if a working folder could not be removed.
    fn close(&mut self) -> Result<()>;

    /// Opens a value state at a key and namespace.
    ///
    /// # Errors
    /// [`ForeignToken`](crate::ErrorKind::ForeignToken); [`KeyOutOfRange`](crate::ErrorKind::KeyOutOfRange) for a
    /// key of another subtask.
    #[inline(always)]
    fn value<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        token: ValueToken<V, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<ValueView<'a, Self, V, N>> {
        ttl::value(self, token, key, namespace)
    }

    /// Opens a list state at a key and namespace. Errors as [`value`](Self::value).
    #[inline(always)]
    fn list<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ListToken<T, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<ListView<'a, Self, T, N>> {
        ttl::list(self, token, key, namespace)
    }

    /// Opens a map state at a key and namespace. Errors as [`value`](Self::value).
    #[inline(always)]
    fn map<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        token: MapToken<MK, MV, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<MapView<'a, Self, MK, MV, N>> {
        ttl::map(self, token, key, namespace)
    }

    /// Opens a reducing state at a key and namespace. Errors as [`value`](Self::value).
    #[inline(always)]
    fn reducing<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ReducingToken<T, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<ReducingView<'a, Self, T, N>> {
        ttl::reducing(self, token, key, namespace)
    }

    /// Opens an aggregating state at a key and namespace. Errors as [`value`](Self::value).
    #[inline(always)]
    fn aggregating<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        token: AggregatingToken<A, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<AggregatingView<'a, Self, A, N>> {
        ttl::aggregating(self, token, key, namespace)
    }

    /// Hands in the present time in milliseconds, by which states with a [time to live](crate::Ttl) expire. Call it once
    /// per batch of records. No backend reads a clock. If the time goes back, expired contents that were not removed
    /// yet are live again.
    ///
    /// # Errors
    /// Only [`Closed`](crate::ErrorKind::Closed).
    fn advance_to(&mut self, now: i64) -> Result<()> {
        self.lifecycle().check_open()?;
        self.lifecycle().clock().advance_to(now);
        Ok(())
    }

    /// Checks up to `entries` entries of a state with a time to live, other ones at each call, and removes those that
    /// have expired. Each access to such a state calls it. Does nothing in a backend that removes them otherwise.
    ///
    /// # Errors
    /// [`ForeignToken`](crate::ErrorKind::ForeignToken).
    fn remove_expired<T: StateToken>(&mut self, token: T, entries: u32) -> Result<()> {
        let _ = (token, entries);
        Ok(())
    }

    /// Removes the earliest timer of a state and returns it, if its time is at most `to`. For loops that use other state
    /// for each timer.
    ///
    /// ```
    /// # use backend_api::{Result, StateBackend, TimerToken, ValueState, ValueToken};
    /// /// Closes the windows that end by the watermark.
    /// fn close<B: StateBackend<Key = String>>(
    ///     backend: &mut B,
    ///     (ends, counts): (TimerToken, ValueToken<u64>),
    ///     watermark: i64,
    /// ) -> Result<Vec<(String, u64)>> {
    ///     let mut closed = Vec::new();
    ///     while let Some(timer) = backend.next_due(ends, watermark)? {
    ///         let keys = backend.subtask().clone();
    ///         let mut count = backend.value(counts, keys.key(&timer.key)?, &())?;
    ///         let last = count.get()?.unwrap_or(0);
    ///         count.clear()?;
    ///         drop(count);
    ///         closed.push((timer.key, last));
    ///     }
    ///     Ok(closed)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`timers`](Self::timers) and [`TimerState::next_due`].
    #[inline]
    fn next_due<N: StateKey>(
        &mut self,
        token: TimerToken<N>,
        to: i64,
    ) -> Result<Option<Timer<Self::Key, N>>> {
        self.timers(token)?.next_due(to)
    }

    /// Prefetches the memory of the state at a key and namespace, which is about to be used. A hint: wrong
    /// tokens and keys are ignored.
    #[inline]
    fn prefetch<T: StateToken>(&self, token: T, key: KeyContext<'_, Self::Key>, namespace: &T::Namespace) {
        let _ = (token, key, namespace);
    }

    /// [`prefetch`](Self::prefetch) for a batch of keys, for any kind of state. Fetches the entries of all
    /// keys first, and then the nodes of maps and lists that they point to. 32 keys are a good number.
    ///
    /// ```
    /// # use backend_api::{MapState, MapToken, Result, StateBackend};
    /// fn add<B: StateBackend<Key = u64>>(backend: &mut B, clicks: MapToken<u64, u64>, batch: &[(u64, u64)]) -> Result<()> {
    ///     let keys = batch.iter().map(|(user, _)| backend.key(user)).collect::<Result<Vec<_>>>()?;
    ///     backend.prefetch_batch(clicks, &keys, &());
    ///     for (key, (_, page)) in keys.iter().zip(batch) {
    ///         backend.map(clicks, *key, &())?.update(*page, |n| *n = Some(n.unwrap_or(0) + 1))?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    fn prefetch_batch<T: StateToken>(
        &self,
        token: T,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &T::Namespace,
    ) {
        for &key in keys {
            self.prefetch(token, key, namespace);
        }
    }

    /// Registers a state, or returns its token again. The name identifies it.
    ///
    /// The first registration after a restore checks that the restored state matches the descriptor, and
    /// makes it usable.
    ///
    /// # Errors
    /// [`IllegalState`](crate::ErrorKind::IllegalState) if the name is registered with other types or
    /// another version. [`IncompatibleKind`](crate::ErrorKind::IncompatibleKind) if the registered or
    /// restored state is of another kind. [`Migration`](crate::ErrorKind::Migration) if the restored state has
    /// other namespaces or map keys, values that the new type cannot read, or a version without a migration.
    /// [`Function`](crate::ErrorKind::Function) if a migration fails or panics.
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the state is damaged.
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty name, and for migrations that do not
    /// fit each other. After an error the restored state is unchanged, and registration can be tried again.
    fn register<D: StateDescriptor>(&mut self, descriptor: D) -> Result<D::Token> {
        descriptor.register_in(self)
    }

    /// The subtask whose state this backend holds.
    #[inline(always)]
    fn subtask(&self) -> &Subtask<Self::Key> {
        self.lifecycle().subtask()
    }

    /// Hashes `key` and finds its group, once for all states of a record. For string keys a `str` is enough,
    /// and for byte strings a `[u8]`.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](crate::ErrorKind::KeyOutOfRange) if the group is not this backend's.
    #[inline(always)]
    fn key<'k, Q: LookupKey<Self::Key> + ?Sized>(&self, key: &'k Q) -> Result<KeyContext<'k, Self::Key>> {
        self.subtask().key(key)
    }

    /// Reads a value state at several keys of one namespace: `f(i, value)` for each `keys[i]`, in order.
    /// Memory is fetched for all keys together, which pays off more with larger state. 32 keys are a good
    /// number.
    ///
    /// # Errors
    /// As [`value`](Self::value). `f` was called for the keys before the failed one.
    fn get_batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &N,
        f: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        if token.expires() {
            return walk::get_each(self, token, keys, namespace, f);
        }
        self.get_values(token, keys, namespace, f)
    }

    /// Updates a value state at several keys of one namespace: `f(i, value)` as in [`ValueState::update`] for
    /// each `keys[i]`, in order. A repeated key is updated repeatedly. Memory is fetched for all keys
    /// together.
    ///
    /// # Errors
    /// As [`value`](Self::value) and [`ValueState::update`]. Updates before the failed one are applied, and
    /// each is all or nothing.
    fn update_batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &N,
        f: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        if token.expires() {
            return walk::update_each(self, token, keys, namespace, f);
        }
        self.update_values(token, keys, namespace, f)
    }

    /// [`get_batch`](Self::get_batch) for a state without a time to live, which a backend can make faster.
    ///
    /// # Errors
    /// Same as [`get_batch`](Self::get_batch).
    fn get_values<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &N,
        f: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        walk::get_each(self, token, keys, namespace, f)
    }

    /// [`update_batch`](Self::update_batch) for a state without a time to live, which a backend can make faster.
    ///
    /// # Errors
    /// Same as [`update_batch`](Self::update_batch).
    fn update_values<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &N,
        f: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        walk::update_each(self, token, keys, namespace, f)
    }

    /// Calls `f` with every key that has an entry in a state and namespace (Flink's `applyToAllKeys`). The
    /// keys are collected first, so `f` may change and clear any state.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and the first error of `f`, which ends the iteration.
    fn for_each_key<T: StateToken>(
        &mut self,
        token: T,
        namespace: &T::Namespace,
        f: impl FnMut(&mut Self, KeyContext<'_, Self::Key>) -> Result<()>,
    ) -> Result<()> {
        walk::each_key(self, token, namespace, f)
    }

    /// Calls `f` with the entries of a map whose keys lie in `range`, in order. `f` may use and change any
    /// state, such as a join that looks up each entry in another map.
    ///
    /// It reads 128 entries at a time. Changes of `f` to the map itself are visible in the entries read later.
    ///
    /// ```
    /// # use backend_api::{KeyContext, MapState, MapToken, Result, StateBackend, ValueState, ValueToken};
    /// # fn expire<B: StateBackend<Key = u64>>(
    /// #     backend: &mut B, timers: MapToken<u64, ()>, open: ValueToken<u64>, key: KeyContext<'_, u64>, now: u64,
    /// # ) -> Result<()> {
    /// backend.for_each_entry(timers, key, &(), ..=now, |backend, time, ()| {
    ///     backend.value(open, key, &())?.update(|n| *n = n.map(|n| n - 1))?;
    ///     backend.map(timers, key, &())?.remove(&time)
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map) and [`MapState::range`], and the first error of `f`, which ends
    /// the iteration.
    fn for_each_entry<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        token: MapToken<MK, MV, N>,
        key: KeyContext<'_, Self::Key>,
        namespace: &N,
        range: impl RangeBounds<MK>,
        f: impl FnMut(&mut Self, MK, MV) -> Result<()>,
    ) -> Result<()> {
        walk::each_entry(self, token, key, namespace, range, f)
    }
}
