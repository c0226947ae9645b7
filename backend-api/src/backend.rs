//! The trait that every backend implements.

use std::fmt::Debug;

use crate::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, CheckpointTarget, Error, ErrorKind,
    KeyContext, KeyedStateHandle, Lifecycle, ListDescriptor, ListState, ListToken, LookupKey, MapDescriptor,
    MapState, MapToken, ReducingDescriptor, ReducingState, ReducingToken, Result, SnapshotRequest,
    SnapshotTask, StateDescriptor, StateKey, StateKind, StateToken, StateValue, Subtask, ValueDescriptor,
    ValueState, ValueToken,
};

/// What a backend tells of one of its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// The state's name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Number of entries: of (key, namespace) pairs, for a map state of the entries of all maps. `None` where a
    /// backend would have to count them one by one.
    pub entries: Option<u64>,
    /// Bytes of memory held for it, tables and what values own on the heap; 0 where a backend keeps nothing there.
    pub bytes: u64,
    /// True if the program has registered it since the start; a restored state may wait for that for ever and is
    /// kept all the same.
    pub registered: bool,
}

/// Keys of a listing, one by one.
pub type Keys<'a, K> = Box<dyn Iterator<Item = Result<K>> + 'a>;

/// A keyed state backend: the state of one subtask, with one owner.
///
/// # Contract
///
/// * A backend is `Send` and needs no lock: all access borrows it. It blocks and needs no async runtime.
/// * State is addressed by state (a token), key and namespace. Keys are equal if their encodings are
///   ([`StateKey`]), and belong to this backend if their group lies in the subtask's range.
/// * A call that fails, and a user's function that fails or panics, leaves the state as it was before the call.
/// * [`snapshot`](Self::snapshot) is short whatever the size of the state. What is changed after it returned is not
///   in the snapshot, whenever its task runs. Several may be under way.
/// * An increment builds on the last checkpoint *confirmed* by [`notify_complete`](Self::notify_complete), never on
///   one that was merely taken.
/// * A restored state can be used once it is registered. Until then it has no keys and no token, and [`states`](Self::states)
///   lists it. It is part of every later snapshot, unchanged, unless it is [dropped](Self::drop_restored).
///   [`check_restored`](Self::check_restored) finds a state that was forgotten or renamed.
///
/// # Views
///
/// A view borrows the backend, and in code that is generic over the backend the compiler takes it to do so until the
/// end of its scope. So use a view in the statement that makes it, as in `backend.value(hits, key, &())?.get()?`, and
/// give each access a `let` of its own; where one view is used several times, put a block around it.
///
/// # Errors
///
/// Every method answers [`Closed`](crate::ErrorKind::Closed) after [`close`](Self::close). The kinds that more than
/// one method may answer are told in [`ErrorKind`](crate::ErrorKind).
///
/// # Implementing
///
/// The methods without a body are all there is to write. An engine that stores bytes is better served by
/// `backend_bytes::ByteStore`, from which all of this is made.
pub trait StateBackend: Send + Sized + 'static {
    /// Type of the keys.
    type Key: StateKey;
    /// What opening one needs beside the subtask.
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

    /// Opens the backend of `subtask`, with the state that `restore` holds for its key groups (none: empty).
    ///
    /// The handles may come from any number of subtasks of any parallelism; each key group is taken from the one
    /// that has it in its range, and nothing else is read. Once this returns, the backend needs the files no more, unless
    /// its options say that it may claim them: then its next increments build on them.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`NotFound`](crate::ErrorKind::NotFound) or
    /// [`Io`](crate::ErrorKind::Io) if a file is not what was written (of damage within the rows of a state, some backends
    /// tell when the state is [registered](Self::register) or, if that is not done or has failed, when a checkpoint is written, full
    /// or incremental, which fails then); [`IllegalState`](crate::ErrorKind::IllegalState)
    /// for another max parallelism or mapping of keys to groups, or if two handles hold the same group, or none holds a group of the
    /// subtask though there are handles;
    /// [`Migration`](crate::ErrorKind::Migration) for another key type; [`Unsupported`](crate::ErrorKind::Unsupported)
    /// for another family's format. Nothing is left behind then.
    fn open(
        options: &Self::Options,
        subtask: Subtask<Self::Key>,
        restore: &[KeyedStateHandle],
    ) -> Result<Self>;

    /// Where a backend with these options writes its checkpoints; operator and raw state of the same task go there
    /// too.
    ///
    /// # Errors
    /// As [`open`](Self::open), for options that are out of range.
    fn checkpoint_target(options: &Self::Options) -> Result<CheckpointTarget>;

    /// What the backend has in common with all others.
    fn lifecycle(&self) -> &Lifecycle<Self::Key>;

    /// Registers a value state, or gets its token again. See [`register`](Self::register).
    fn register_value<V: StateValue, N: StateKey>(
        &mut self,
        descriptor: ValueDescriptor<V, N>,
    ) -> Result<ValueToken<V, N>>;

    /// Registers a list state, or gets its token again. See [`register`](Self::register).
    fn register_list<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ListDescriptor<T, N>,
    ) -> Result<ListToken<T, N>>;

    /// Registers a map state, or gets its token again. See [`register`](Self::register).
    fn register_map<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        descriptor: MapDescriptor<MK, MV, N>,
    ) -> Result<MapToken<MK, MV, N>>;

    /// Registers a reducing state, or gets its token again. See [`register`](Self::register).
    fn register_reducing<T: StateValue, N: StateKey>(
        &mut self,
        descriptor: ReducingDescriptor<T, N>,
    ) -> Result<ReducingToken<T, N>>;

    /// Registers an aggregating state, or gets its token again. See [`register`](Self::register).
    fn register_aggregating<A: Aggregate, N: StateKey>(
        &mut self,
        descriptor: AggregatingDescriptor<A, N>,
    ) -> Result<AggregatingToken<A, N>>;

    /// Opens a value state at a key and namespace.
    ///
    /// # Errors
    /// [`ForeignToken`](crate::ErrorKind::ForeignToken); [`KeyOutOfRange`](crate::ErrorKind::KeyOutOfRange) for a
    /// key of another subtask.
    fn value<'a, V: StateValue, N: StateKey>(
        &'a mut self,
        token: ValueToken<V, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<Self::Value<'a, V, N>>;

    /// Opens a list state at a key and namespace. Errors as [`value`](Self::value).
    fn list<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ListToken<T, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<Self::List<'a, T, N>>;

    /// Opens a map state at a key and namespace. Errors as [`value`](Self::value).
    fn map<'a, MK: StateKey, MV: StateValue, N: StateKey>(
        &'a mut self,
        token: MapToken<MK, MV, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<Self::Map<'a, MK, MV, N>>;

    /// Opens a reducing state at a key and namespace. Errors as [`value`](Self::value).
    fn reducing<'a, T: StateValue, N: StateKey>(
        &'a mut self,
        token: ReducingToken<T, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<Self::Reducing<'a, T, N>>;

    /// Opens an aggregating state at a key and namespace. Errors as [`value`](Self::value).
    fn aggregating<'a, A: Aggregate, N: StateKey>(
        &'a mut self,
        token: AggregatingToken<A, N>,
        key: KeyContext<'a, Self::Key>,
        namespace: &'a N,
    ) -> Result<Self::Aggregating<'a, A, N>>;

    /// The keys that have something in state `state` and `namespace`, each once, in no order.
    ///
    /// It walks over the whole state, whatever the namespace: a state that needs it often should have a map of keys.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if no state of that name is registered, also if one was restored;
    /// [`Migration`](crate::ErrorKind::Migration) if the state's namespaces are of another type than `N`.
    fn keys<N: StateKey>(&mut self, state: &str, namespace: &N) -> Result<Keys<'_, Self::Key>>;

    /// All pairs of key and namespace that have something in state `state`, each once, in no order.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    fn keys_and_namespaces<N: StateKey>(&mut self, state: &str) -> Result<Keys<'_, (Self::Key, N)>>;

    /// Lets go of a restored state that the program no longer has: later snapshots are without it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if no state of that name was restored, or it is registered.
    fn drop_restored(&mut self, state: &str) -> Result<()>;

    /// Checks that the program has registered all restored states. A renamed state is found by it.
    ///
    /// # Errors
    /// [`IllegalState`](crate::ErrorKind::IllegalState), naming the states that are left.
    fn check_restored(&self) -> Result<()> {
        self.lifecycle().check_open()?;
        let left = self.states().into_iter().filter(|state| !state.registered).map(|state| state.name);
        let left: Vec<_> = left.collect();
        if left.is_empty() {
            return Ok(());
        }
        let message = format!(
            "restored and not registered: {left:?}; register them, or drop what the program no longer has"
        );
        Err(Error::new(ErrorKind::IllegalState, message))
    }

    /// What states there are, and what they hold: those registered in that order, then those restored and not
    /// registered yet.
    fn states(&self) -> Vec<StateInfo>;

    /// The synchronous part of a snapshot; see [`SnapshotTask`] for the rest.
    ///
    /// # Errors
    /// [`IllegalState`](crate::ErrorKind::IllegalState) if the id is not above all earlier ones;
    /// [`Size`](crate::ErrorKind::Size) for more than 32,767 states.
    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask>;

    /// Checkpoint `checkpoint_id` is complete: the next increment may build on it. An id that is unknown, or older
    /// than one confirmed before, changes nothing.
    ///
    /// # Errors
    /// Only [`Closed`](crate::ErrorKind::Closed).
    fn notify_complete(&mut self, checkpoint_id: u64) -> Result<()>;

    /// Checkpoint `checkpoint_id` will never be complete. What changed since the last confirmed one stays due.
    ///
    /// # Errors
    /// Only [`Closed`](crate::ErrorKind::Closed).
    fn notify_aborted(&mut self, checkpoint_id: u64) -> Result<()>;

    /// Ends the backend: running snapshots end as cancelled, memory is released, local working folders are removed.
    /// Checkpoints stay. Safe to call again; dropping does the same.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if a working folder could not be removed.
    fn close(&mut self) -> Result<()>;

    /// Tells the backend that the state at a key and namespace is about to be used, so that the memory it lies in
    /// is on its way. A hint: wrong tokens and keys are ignored.
    #[inline]
    fn prefetch<T: StateToken>(&self, token: T, key: KeyContext<'_, Self::Key>, namespace: &T::Namespace) {
        let _ = (token, key, namespace);
    }

    /// [`prefetch`](Self::prefetch) for a batch of keys, of any kind of state: what lies at the keys is fetched for all
    /// together, and then what that points to, the nodes of maps and lists. 32 keys are a good number.
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

    /// Registers a state, or gets its token again: the name is the identity.
    ///
    /// The first registration after a restore makes the restored state usable and checks that it is what the
    /// descriptor says.
    ///
    /// # Errors
    /// [`IllegalState`](crate::ErrorKind::IllegalState) if the name is registered with other types;
    /// [`IncompatibleKind`](crate::ErrorKind::IncompatibleKind) if it is, or was when the snapshot was taken, of
    /// another kind; [`Migration`](crate::ErrorKind::Migration) if the restored state was written by other codecs;
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it does not decode, or is not what was written;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for an empty name. The restored state stays as it is
    /// for a further try.
    fn register<D: StateDescriptor>(&mut self, descriptor: D) -> Result<D::Token> {
        descriptor.register_in(self)
    }

    /// The part of the state that this backend holds.
    #[inline(always)]
    fn subtask(&self) -> &Subtask<Self::Key> {
        self.lifecycle().subtask()
    }

    /// Hashes `key` and finds its group, once for all states of a record. A `str` will do where keys are strings, a `[u8]`
    /// where they are byte strings.
    ///
    /// # Errors
    /// [`KeyOutOfRange`](crate::ErrorKind::KeyOutOfRange) if the group is not this backend's.
    #[inline(always)]
    fn key<'k, Q: LookupKey<Self::Key> + ?Sized>(&self, key: &'k Q) -> Result<KeyContext<'k, Self::Key>> {
        self.subtask().key(key)
    }

    /// Reads a value state at several keys of one namespace: `f(i, value)` for each `keys[i]`, in order. Memory is
    /// fetched for all keys together, which is worth more the larger the state is; 32 keys are a good number.
    ///
    /// # Errors
    /// As [`value`](Self::value); `f` has seen the keys before the one that failed.
    fn get_batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &N,
        mut f: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        self.prefetch_batch(token, keys, namespace);
        for (i, &key) in keys.iter().enumerate() {
            self.value(token, key, namespace)?.with(|value| f(i, value))?;
        }
        Ok(())
    }

    /// Updates a value state at several keys of one namespace: `f(i, value)` as in [`ValueState::update`] for each
    /// `keys[i]`, in order; a key that stands twice is updated twice. Memory is fetched for all keys together.
    ///
    /// # Errors
    /// As [`value`](Self::value) and [`ValueState::update`]. The updates before the one that failed are made; each
    /// is all or nothing.
    fn update_batch<V: StateValue, N: StateKey>(
        &mut self,
        token: ValueToken<V, N>,
        keys: &[KeyContext<'_, Self::Key>],
        namespace: &N,
        mut f: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        self.prefetch_batch(token, keys, namespace);
        for (i, &key) in keys.iter().enumerate() {
            self.value(token, key, namespace)?.update(|value| f(i, value))?;
        }
        Ok(())
    }

    /// Calls `f` with every key that has something in state `state` and `namespace` (Flink's `applyToAllKeys`). The
    /// keys are collected first, so `f` may change and clear what it likes.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and the first one that `f` answers, which ends the walk.
    fn for_each_key<N: StateKey>(
        &mut self,
        state: &str,
        namespace: &N,
        mut f: impl FnMut(&mut Self, KeyContext<'_, Self::Key>) -> Result<()>,
    ) -> Result<()> {
        let keys = self.keys(state, namespace)?.collect::<Result<Vec<_>>>()?;
        keys.iter().try_for_each(|key| {
            let key = self.key(key)?;
            f(self, key)
        })
    }
}
