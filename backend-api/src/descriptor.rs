//! Descriptors, which describe states at their registration.

mod timer;
mod ttl;
mod versioned;

pub use ttl::Expiring;

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format::StateMeta;
use crate::row::{ReadBack, RowEvolution};
use crate::{
    Aggregate, AggregatingToken, BoxError, Codec, Expiry, ListToken, MapToken, ReducingToken, Result,
    StateBackend, StateKey, StateKind, StateToken, StateValue, ValueToken, VersionedCodec, default_codec,
};

pub use timer::TimerDescriptor;

/// A descriptor of any kind, so that [`StateBackend::register`] is one method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe a state",
    label = "not a descriptor",
    note = "describe a state by `ValueDescriptor`, `ListDescriptor`, `MapDescriptor`, `ReducingDescriptor`, `AggregatingDescriptor` or `TimerDescriptor`"
)]
pub trait StateDescriptor {
    /// The token that registration returns.
    type Token: StateToken;

    /// Registers the state.
    ///
    /// # Errors
    /// Same as [`StateBackend::register`].
    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token>;

    /// The metadata of the state in checkpoints. A restored state is compared with it.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported), naming the state, if a codec or a key's encoding
    /// cannot carry its type. [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if its migrations do not fit each
    /// other.
    fn meta(&self) -> Result<StateMeta>;

    /// Checks that rows of the state can be read back, for a backend with keys `K`.
    fn read_back<K: StateKey>(&self) -> ReadBack;

    /// Which contents have expired, for a state with a [time to live](crate::Ttl). `None` for others. A backend may remove
    /// expired contents at any time.
    fn expiry(&self) -> Option<&Expiry>;

    /// The conversion of rows of the state `old` into rows of this state, in a backend with keys of type `K`. `None` if
    /// they already are.
    ///
    /// # Errors
    /// [`IncompatibleKind`](crate::ErrorKind::IncompatibleKind) for another kind.
    /// [`Migration`](crate::ErrorKind::Migration) for another type of namespaces or map keys, for a type of
    /// values or a codec that cannot read all old values, and for a version without a migration.
    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>>;
}

/// See [`StateDescriptor::evolution`].
fn evolution_of<K: StateKey, N: StateKey, MK: StateKey, V: 'static>(
    present: &StateMeta,
    values: &VersionedCodec<V>,
    old: &StateMeta,
) -> Result<Option<RowEvolution>> {
    old.check_keys(present)?;
    let written = old.codecs.last().map_or("", String::as_str);
    let read = values.read_old(&old.options, written).map_err(|error| error.in_state(&old.name))?;
    Ok(RowEvolution::new::<K, N, MK, V>(present.kind, old.canonical_values(), read, values.codec()))
}

fn state_meta<V: 'static, N: StateKey>(
    name: &str,
    kind: StateKind,
    map_key: Option<KeyType>,
    values: &VersionedCodec<V>,
) -> Result<StateMeta> {
    let mut codecs = Vec::with_capacity(2);
    let check = || {
        N::check_type()?;
        if let Some(key) = map_key {
            (key.check)()?;
            codecs.push((key.schema)());
        }
        values.check()
    };
    check().map_err(|error| error.in_state(name))?;
    codecs.push(values.codec().id());
    Ok(StateMeta {
        name: name.to_owned(),
        kind,
        namespace_schema: N::schema(),
        codecs,
        table_seed: 0,
        options: values.options(),
    })
}

/// The properties of a [`StateKey`] type.
struct KeyType {
    check: fn() -> Result<()>,
    schema: fn() -> String,
}

/// A function that folds a new value into the accumulated one: `(accumulated, new) -> accumulated`.
pub type ReduceFunction<T> = dyn Fn(&T, &T) -> Result<T, BoxError> + Send + Sync;

/// Describes a value state: one `V` per key and namespace.
pub struct ValueDescriptor<V, N = ()> {
    name: String,
    values: VersionedCodec<V>,
    default: Option<V>,
    namespace: PhantomData<fn() -> N>,
}

// The bounds are on the functions, so that the compiler reports the missing trait and not a missing function.
impl<V> ValueDescriptor<V> {
    /// A state encoded by the [default codec](default_codec).
    pub fn new(name: impl Into<String>) -> Self
    where
        V: StateValue + Serialize + DeserializeOwned,
    {
        Self::with_codec(name, default_codec())
    }

    /// A state encoded by `codec`.
    pub fn with_codec(name: impl Into<String>, codec: Arc<dyn Codec<V>>) -> Self
    where
        V: StateValue,
    {
        Self { name: name.into(), values: VersionedCodec::new(codec), default: None, namespace: PhantomData }
    }
}

impl<V, N> ValueDescriptor<V, N> {
    /// Sets the value of reads before the first write. It belongs to the program, not to the snapshot: after
    /// a restore the new descriptor's default applies. Reading it creates no entry.
    pub fn default_value(mut self, default: V) -> Self {
        self.default = Some(default);
        self
    }

    /// The default, if there is one.
    pub fn default_ref(&self) -> Option<&V> {
        self.default.as_ref()
    }

    /// The state's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The codec of the values.
    pub fn codec(&self) -> &Arc<dyn Codec<V>> {
        self.values.codec()
    }

    /// The same state, separated by namespaces of type `M`.
    pub fn namespaced<M: StateKey>(self) -> ValueDescriptor<V, M> {
        ValueDescriptor {
            name: self.name,
            values: self.values,
            default: self.default,
            namespace: PhantomData,
        }
    }
}

impl<V: StateValue, N: StateKey> StateDescriptor for ValueDescriptor<V, N> {
    type Token = ValueToken<V, N>;

    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
        backend.register_value(self)
    }

    fn meta(&self) -> Result<StateMeta> {
        state_meta::<_, N>(&self.name, StateKind::Value, None, &self.values)
    }

    fn read_back<K: StateKey>(&self) -> ReadBack {
        ReadBack::new::<K, N, (), _>(StateKind::Value, Arc::clone(self.values.codec()))
    }

    fn expiry(&self) -> Option<&Expiry> {
        self.values.expiry()
    }

    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
        evolution_of::<K, N, (), _>(&self.meta()?, &self.values, old)
    }
}

/// Describes a list state: a list of `T` per key and namespace, in insertion order.
pub struct ListDescriptor<T, N = ()> {
    name: String,
    values: VersionedCodec<T>,
    namespace: PhantomData<fn() -> N>,
}

impl<T> ListDescriptor<T> {
    /// A state whose elements are encoded by the [default codec](default_codec).
    pub fn new(name: impl Into<String>) -> Self
    where
        T: StateValue + Serialize + DeserializeOwned,
    {
        Self::with_codec(name, default_codec())
    }

    /// A state whose elements are encoded by `codec`.
    pub fn with_codec(name: impl Into<String>, codec: Arc<dyn Codec<T>>) -> Self
    where
        T: StateValue,
    {
        Self { name: name.into(), values: VersionedCodec::new(codec), namespace: PhantomData }
    }
}

impl<T, N> ListDescriptor<T, N> {
    /// The state's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The codec of the elements.
    pub fn codec(&self) -> &Arc<dyn Codec<T>> {
        self.values.codec()
    }

    /// The same state, separated by namespaces of type `M`.
    pub fn namespaced<M: StateKey>(self) -> ListDescriptor<T, M> {
        ListDescriptor { name: self.name, values: self.values, namespace: PhantomData }
    }
}

impl<T: StateValue, N: StateKey> StateDescriptor for ListDescriptor<T, N> {
    type Token = ListToken<T, N>;

    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
        backend.register_list(self)
    }

    fn meta(&self) -> Result<StateMeta> {
        state_meta::<_, N>(&self.name, StateKind::List, None, &self.values)
    }

    fn read_back<K: StateKey>(&self) -> ReadBack {
        ReadBack::new::<K, N, (), _>(StateKind::List, Arc::clone(self.values.codec()))
    }

    fn expiry(&self) -> Option<&Expiry> {
        self.values.expiry()
    }

    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
        evolution_of::<K, N, (), _>(&self.meta()?, &self.values, old)
    }
}

/// Describes a map state: an ordered map of `MK` to `MV` per key and namespace.
pub struct MapDescriptor<MK, MV, N = ()> {
    name: String,
    values: VersionedCodec<MV>,
    types: PhantomData<fn() -> (MK, N)>,
}

impl<MK, MV> MapDescriptor<MK, MV> {
    /// A state whose values are encoded by the [default codec](default_codec).
    pub fn new(name: impl Into<String>) -> Self
    where
        MK: StateKey,
        MV: StateValue + Serialize + DeserializeOwned,
    {
        Self::with_codec(name, default_codec())
    }

    /// A state whose values are encoded by `codec`. Map keys always have the order-keeping encoding of
    /// [`StateKey`].
    pub fn with_codec(name: impl Into<String>, codec: Arc<dyn Codec<MV>>) -> Self
    where
        MK: StateKey,
        MV: StateValue,
    {
        Self { name: name.into(), values: VersionedCodec::new(codec), types: PhantomData }
    }
}

impl<MK, MV, N> MapDescriptor<MK, MV, N> {
    /// The state's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The codec of the values.
    pub fn codec(&self) -> &Arc<dyn Codec<MV>> {
        self.values.codec()
    }

    /// The same state, separated by namespaces of type `M`.
    pub fn namespaced<M: StateKey>(self) -> MapDescriptor<MK, MV, M> {
        MapDescriptor { name: self.name, values: self.values, types: PhantomData }
    }
}

impl<MK: StateKey, MV: StateValue, N: StateKey> StateDescriptor for MapDescriptor<MK, MV, N> {
    type Token = MapToken<MK, MV, N>;

    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
        backend.register_map(self)
    }

    fn meta(&self) -> Result<StateMeta> {
        state_meta::<_, N>(
            &self.name,
            StateKind::Map,
            Some(KeyType { check: MK::check_type, schema: MK::schema }),
            &self.values,
        )
    }

    fn read_back<K: StateKey>(&self) -> ReadBack {
        ReadBack::new::<K, N, MK, _>(StateKind::Map, Arc::clone(self.values.codec()))
    }

    fn expiry(&self) -> Option<&Expiry> {
        self.values.expiry()
    }

    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
        evolution_of::<K, N, MK, _>(&self.meta()?, &self.values, old)
    }
}

/// Describes a reducing state: one `T` per key and namespace, into which every added `T` is folded.
pub struct ReducingDescriptor<T, N = ()> {
    name: String,
    values: VersionedCodec<T>,
    reduce: Arc<ReduceFunction<T>>,
    namespace: PhantomData<fn() -> N>,
}

impl<T> ReducingDescriptor<T> {
    /// A state of that name, folded by `reduce(accumulated, new)`, encoded by the [default codec](default_codec).
    ///
    /// ```
    /// # use backend_api::ReducingDescriptor;
    /// let hits = ReducingDescriptor::new("hits", |sum: &u64, new| sum + new);
    /// ```
    pub fn new(name: impl Into<String>, reduce: impl Fn(&T, &T) -> T + Send + Sync + 'static) -> Self
    where
        T: StateValue + Serialize + DeserializeOwned,
    {
        Self::with_codec(name, move |a, b| Ok(reduce(a, b)), default_codec())
    }

    /// A state with the given codec and a function that may fail. `add` returns its error as
    /// [`ErrorKind::Function`](crate::ErrorKind::Function), and the state does not change.
    pub fn with_codec(
        name: impl Into<String>,
        reduce: impl Fn(&T, &T) -> Result<T, BoxError> + Send + Sync + 'static,
        codec: Arc<dyn Codec<T>>,
    ) -> Self
    where
        T: StateValue,
    {
        Self {
            name: name.into(),
            values: VersionedCodec::new(codec),
            reduce: Arc::new(reduce),
            namespace: PhantomData,
        }
    }
}

impl<T, N> ReducingDescriptor<T, N> {
    /// The state's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The codec of the values.
    pub fn codec(&self) -> &Arc<dyn Codec<T>> {
        self.values.codec()
    }

    /// The function.
    pub fn reduce(&self) -> &Arc<ReduceFunction<T>> {
        &self.reduce
    }

    /// The same state, separated by namespaces of type `M`.
    pub fn namespaced<M: StateKey>(self) -> ReducingDescriptor<T, M> {
        ReducingDescriptor {
            name: self.name,
            values: self.values,
            reduce: self.reduce,
            namespace: PhantomData,
        }
    }
}

impl<T: StateValue, N: StateKey> StateDescriptor for ReducingDescriptor<T, N> {
    type Token = ReducingToken<T, N>;

    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
        backend.register_reducing(self)
    }

    fn meta(&self) -> Result<StateMeta> {
        state_meta::<_, N>(&self.name, StateKind::Reducing, None, &self.values)
    }

    fn read_back<K: StateKey>(&self) -> ReadBack {
        ReadBack::new::<K, N, (), _>(StateKind::Reducing, Arc::clone(self.values.codec()))
    }

    fn expiry(&self) -> Option<&Expiry> {
        self.values.expiry()
    }

    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
        evolution_of::<K, N, (), _>(&self.meta()?, &self.values, old)
    }
}

/// Describes an aggregating state: one accumulator per key and namespace.
pub struct AggregatingDescriptor<A: Aggregate, N = ()> {
    name: String,
    values: VersionedCodec<A::Accumulator>,
    aggregate: Arc<A>,
    namespace: PhantomData<fn() -> N>,
}

impl<A: Aggregate> AggregatingDescriptor<A> {
    /// A state whose accumulators are encoded by the [default codec](default_codec).
    pub fn new(name: impl Into<String>, aggregate: A) -> Self
    where
        A::Accumulator: Serialize + DeserializeOwned,
    {
        Self::with_codec(name, aggregate, default_codec())
    }

    /// A state whose accumulators are encoded by `codec`.
    pub fn with_codec(name: impl Into<String>, aggregate: A, codec: Arc<dyn Codec<A::Accumulator>>) -> Self {
        Self {
            name: name.into(),
            values: VersionedCodec::new(codec),
            aggregate: Arc::new(aggregate),
            namespace: PhantomData,
        }
    }
}

impl<A: Aggregate, N> AggregatingDescriptor<A, N> {
    /// The state's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The codec of the accumulators.
    pub fn codec(&self) -> &Arc<dyn Codec<A::Accumulator>> {
        self.values.codec()
    }

    /// The function.
    pub fn aggregate(&self) -> &Arc<A> {
        &self.aggregate
    }

    /// The same state, separated by namespaces of type `M`.
    pub fn namespaced<M: StateKey>(self) -> AggregatingDescriptor<A, M> {
        AggregatingDescriptor {
            name: self.name,
            values: self.values,
            aggregate: self.aggregate,
            namespace: PhantomData,
        }
    }
}

impl<A: Aggregate, N: StateKey> StateDescriptor for AggregatingDescriptor<A, N> {
    type Token = AggregatingToken<A, N>;

    fn register_in<B: StateBackend>(self, backend: &mut B) -> Result<Self::Token> {
        backend.register_aggregating(self)
    }

    fn meta(&self) -> Result<StateMeta> {
        state_meta::<_, N>(&self.name, StateKind::Aggregating, None, &self.values)
    }

    fn read_back<K: StateKey>(&self) -> ReadBack {
        ReadBack::new::<K, N, (), _>(StateKind::Aggregating, Arc::clone(self.values.codec()))
    }

    fn expiry(&self) -> Option<&Expiry> {
        self.values.expiry()
    }

    fn evolution<K: StateKey>(&self, old: &StateMeta) -> Result<Option<RowEvolution>> {
        evolution_of::<K, N, (), _>(&self.meta()?, &self.values, old)
    }
}
