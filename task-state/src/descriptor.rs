use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use backend_api::{
    BackendId, BoxError, Codec, Error, ErrorKind, KeyRole, OperatorStateMeta, ReadOld, Redistribution,
    Result, StateKey, StateValue, VersionedCodec, Versions, check_key_type, default_codec, read_codec,
    read_serde,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Describes a list of operator state.
pub struct OperatorListDescriptor<T> {
    name: String,
    redistribution: Redistribution,
    values: VersionedCodec<T>,
}

impl<T: StateValue> OperatorListDescriptor<T> {
    /// A list that is split among the subtasks. A restore with another parallelism redistributes the
    /// elements. They are encoded by the [default codec](default_codec).
    pub fn even_split(name: impl Into<String>) -> Self
    where
        T: Serialize + DeserializeOwned,
    {
        Self::even_split_with(name, default_codec())
    }

    /// [`even_split`](Self::even_split) with the given codec.
    pub fn even_split_with(name: impl Into<String>, codec: Arc<dyn Codec<T>>) -> Self {
        Self {
            name: name.into(),
            redistribution: Redistribution::EvenSplit,
            values: VersionedCodec::new(codec),
        }
    }

    /// A list that every subtask gets in full after a restore: the elements of all subtasks, in subtask
    /// order. They are encoded by the [default codec](default_codec).
    pub fn union(name: impl Into<String>) -> Self
    where
        T: Serialize + DeserializeOwned,
    {
        Self::union_with(name, default_codec())
    }

    /// [`union`](Self::union) with the given codec.
    pub fn union_with(name: impl Into<String>, codec: Arc<dyn Codec<T>>) -> Self {
        Self { name: name.into(), redistribution: Redistribution::Union, values: VersionedCodec::new(codec) }
    }

    /// Sets the version of the elements, which is part of every snapshot. It is 1 unless it is set.
    pub fn version(mut self, version: u32) -> Self {
        self.values.set_version(version);
        self
    }

    /// Adds a function from the elements of version `from` to those of the next one. The rules are those of
    /// [`ValueDescriptor::migrate`](backend_api::ValueDescriptor::migrate).
    pub fn migrate<Old: DeserializeOwned + 'static, New: 'static>(
        mut self,
        from: u32,
        migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.values.migrate(from, migrate);
        self
    }

    /// [`migrate`](Self::migrate) for elements that `codec` reads, such as a codec of your own.
    pub fn migrate_with<Old: 'static, New: 'static>(
        mut self,
        from: u32,
        codec: Arc<dyn Codec<Old>>,
        migrate: impl Fn(Old) -> Result<New, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.values.migrate_with(from, codec, migrate);
        self
    }
}

/// Describes a broadcast map: all subtasks have the same entries, and each gets one copy after a restore.
pub struct BroadcastDescriptor<K, V> {
    name: String,
    values: VersionedCodec<V>,
    versions: Versions<(K, V)>,
}

impl<K: StateKey, V: StateValue> BroadcastDescriptor<K, V> {
    /// A map whose values are encoded by the [default codec](default_codec).
    pub fn new(name: impl Into<String>) -> Self
    where
        V: Serialize + DeserializeOwned,
    {
        Self::with_codec(name, default_codec())
    }

    /// A map whose values are encoded by `codec`.
    pub fn with_codec(name: impl Into<String>, codec: Arc<dyn Codec<V>>) -> Self {
        Self { name: name.into(), values: VersionedCodec::new(codec), versions: Versions::new() }
    }

    /// Sets the version of the entries, which is part of every snapshot. It is 1 unless it is set.
    pub fn version(mut self, version: u32) -> Self {
        self.versions.set(version);
        self
    }

    /// Adds a function from the entries of version `from` to those of the next one: `(key, value) -> (key, value)`. The rules
    /// are those of [`ValueDescriptor::migrate`](backend_api::ValueDescriptor::migrate). Keys may change too, but
    /// no two of them may become one.
    ///
    /// ```
    /// use task_state::BroadcastDescriptor;
    ///
    /// let limits = BroadcastDescriptor::<String, u64>::new("limits")
    ///     .version(2)
    ///     .migrate(1, |user: u32, limit: u32| Ok((format!("user {user}"), u64::from(limit))));
    /// ```
    pub fn migrate<OldK, OldV, NewK, NewV>(
        self,
        from: u32,
        migrate: impl Fn(OldK, OldV) -> Result<(NewK, NewV), BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        OldK: StateKey,
        OldV: DeserializeOwned + 'static,
        NewK: 'static,
        NewV: 'static,
    {
        self.migrate_by(from, read_serde, migrate)
    }

    /// [`migrate`](Self::migrate) for values that `codec` reads, such as a codec of your own.
    pub fn migrate_with<OldK, OldV, NewK, NewV>(
        self,
        from: u32,
        codec: Arc<dyn Codec<OldV>>,
        migrate: impl Fn(OldK, OldV) -> Result<(NewK, NewV), BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        OldK: StateKey,
        OldV: 'static,
        NewK: 'static,
        NewV: 'static,
    {
        self.migrate_by(from, move |written| read_codec(&codec, written), migrate)
    }

    fn migrate_by<OldK: StateKey, OldV: 'static, NewK: 'static, NewV: 'static>(
        mut self,
        from: u32,
        read: impl Fn(&str) -> Result<ReadOld<OldV>> + Send + Sync + 'static,
        migrate: impl Fn(OldK, OldV) -> Result<(NewK, NewV), BoxError> + Send + Sync + 'static,
    ) -> Self {
        let open = move |ids: &[&str]| {
            let &[key, value] = ids else { return Err(no_codecs()) };
            read_entries(key, read(value)?)
        };
        self.versions.migrate(from, open, move |(key, value)| migrate(key, value));
        self
    }
}

/// A reader of entries whose keys were written with the schema `written`.
fn read_entries<K: StateKey, V: 'static>(written: &str, read: ReadOld<V>) -> Result<ReadOld<(K, V)>> {
    check_key_type(KeyRole::BroadcastKey, written, &K::schema())?;
    Ok(Box::new(move |mut row| {
        let key = K::decode(&mut row)?;
        Ok((key, read(row)?))
    }))
}

#[cold]
fn no_codecs() -> Error {
    Error::new(ErrorKind::Corrupt, "the handle names another number of codecs than the state has")
}

/// A descriptor of either kind; lets [`OperatorState::register`](crate::OperatorState::register) be one method.
pub trait OperatorStateDescriptor: sealed::Described {}

impl<D: sealed::Described> OperatorStateDescriptor for D {}

pub(crate) mod sealed {
    use super::*;
    use crate::content::{AnyContent, ListContent, MapContent};
    use crate::restored::Restored;

    /// A descriptor as seen by the state.
    pub trait Described {
        /// The token that registration returns.
        type Token;

        fn meta(&self) -> Result<OperatorStateMeta>;
        fn empty(&self) -> Box<dyn AnyContent>;
        /// Reads the content of a restored state of the same redistribution.
        fn read(&self, restored: &Restored) -> Result<Box<dyn AnyContent>>;
        fn token(&self, state: BackendId, index: usize) -> Self::Token;
    }

    fn meta(
        name: &str,
        redistribution: Redistribution,
        codecs: Vec<String>,
        options: BTreeMap<String, Vec<u8>>,
    ) -> OperatorStateMeta {
        OperatorStateMeta { name: name.to_owned(), redistribution, codecs, elements: 0, options }
    }

    impl<T: StateValue> Described for OperatorListDescriptor<T> {
        type Token = OperatorListToken<T>;

        fn meta(&self) -> Result<OperatorStateMeta> {
            self.values.check()?;
            Ok(meta(&self.name, self.redistribution, vec![self.values.codec().id()], self.values.options()))
        }

        fn empty(&self) -> Box<dyn AnyContent> {
            Box::new(ListContent::new(Arc::clone(self.values.codec())))
        }

        fn read(&self, restored: &Restored) -> Result<Box<dyn AnyContent>> {
            let [codec] = &*restored.meta.codecs else { return Err(no_codecs()) };
            let read = self.values.reader(&restored.meta.options, codec)?;
            let mut content = ListContent::new(Arc::clone(self.values.codec()));
            restored.for_each(|row| {
                content.list.push(read(row)?);
                Ok(())
            })?;
            Ok(Box::new(content))
        }

        fn token(&self, state: BackendId, index: usize) -> OperatorListToken<T> {
            OperatorListToken { state, index, element: PhantomData }
        }
    }

    impl<K: StateKey, V: StateValue> Described for BroadcastDescriptor<K, V> {
        type Token = BroadcastToken<K, V>;

        fn meta(&self) -> Result<OperatorStateMeta> {
            self.versions.check()?;
            self.values.check()?;
            K::check_type()?;
            let codecs = vec![K::schema(), self.values.codec().id()];
            Ok(meta(&self.name, Redistribution::Broadcast, codecs, self.versions.options()))
        }

        fn empty(&self) -> Box<dyn AnyContent> {
            Box::new(MapContent::<K, V>::new(Arc::clone(self.values.codec())))
        }

        fn read(&self, restored: &Restored) -> Result<Box<dyn AnyContent>> {
            let [key, value] = &*restored.meta.codecs else { return Err(no_codecs()) };
            let migrate = self.versions.read_old(&restored.meta.options, &[key, value])?;
            let read = match migrate {
                Some(migrate) => migrate,
                None => read_entries(key, self.values.reader(&self.values.options(), value)?)?,
            };
            let mut content = MapContent::<K, V>::new(Arc::clone(self.values.codec()));
            restored.for_each(|row| {
                let (key, value) = read(row)?;
                key.check()?;
                if content.map.contains_key(&key) {
                    return Err(Error::new(
                        ErrorKind::Migration,
                        "two restored entries have the same key now",
                    ));
                }
                content.map.insert_mut(key, value);
                Ok(())
            })?;
            Ok(Box::new(content))
        }

        fn token(&self, state: BackendId, index: usize) -> BroadcastToken<K, V> {
            BroadcastToken { state, index, entry: PhantomData }
        }
    }
}

/// A registered list.
pub struct OperatorListToken<T> {
    pub(crate) state: BackendId,
    pub(crate) index: usize,
    element: PhantomData<fn() -> T>,
}

/// A registered broadcast map.
pub struct BroadcastToken<K, V> {
    pub(crate) state: BackendId,
    pub(crate) index: usize,
    entry: PhantomData<fn() -> (K, V)>,
}

impl<T> Clone for OperatorListToken<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OperatorListToken<T> {}

impl<K, V> Clone for BroadcastToken<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for BroadcastToken<K, V> {}

impl<T> fmt::Debug for OperatorListToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperatorListToken({})", self.index)
    }
}

impl<K, V> fmt::Debug for BroadcastToken<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BroadcastToken({})", self.index)
    }
}
