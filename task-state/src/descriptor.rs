use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use backend_api::{BackendId, Codec, OperatorStateMeta, Redistribution, StateKey, StateValue, default_codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Describes a list of operator state.
pub struct OperatorListDescriptor<T> {
    name: String,
    redistribution: Redistribution,
    pub(crate) codec: Arc<dyn Codec<T>>,
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
        Self { name: name.into(), redistribution: Redistribution::EvenSplit, codec }
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
        Self { name: name.into(), redistribution: Redistribution::Union, codec }
    }
}

/// Describes a broadcast map: all subtasks have the same entries, and each gets one copy after a restore.
pub struct BroadcastDescriptor<K, V> {
    name: String,
    pub(crate) codec: Arc<dyn Codec<V>>,
    key: PhantomData<fn() -> K>,
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
        Self { name: name.into(), codec, key: PhantomData }
    }
}

/// A descriptor of either kind; lets [`OperatorState::register`](crate::OperatorState::register) be one method.
pub trait OperatorStateDescriptor: sealed::Described {}

impl<D: sealed::Described> OperatorStateDescriptor for D {}

pub(crate) mod sealed {
    use super::*;
    use crate::content::{AnyContent, ListContent, MapContent};

    /// A descriptor as seen by the state.
    pub trait Described {
        /// The token that registration returns.
        type Token;

        fn meta(&self) -> OperatorStateMeta;
        fn empty(&self) -> Box<dyn AnyContent>;
        fn token(&self, state: BackendId, index: usize) -> Self::Token;
    }

    fn meta(name: &str, redistribution: Redistribution, codecs: Vec<String>) -> OperatorStateMeta {
        let (elements, options) = (0, Default::default());
        OperatorStateMeta { name: name.to_owned(), redistribution, codecs, elements, options }
    }

    impl<T: StateValue> Described for OperatorListDescriptor<T> {
        type Token = OperatorListToken<T>;

        fn meta(&self) -> OperatorStateMeta {
            meta(&self.name, self.redistribution, vec![self.codec.id()])
        }

        fn empty(&self) -> Box<dyn AnyContent> {
            Box::new(ListContent::new(Arc::clone(&self.codec)))
        }

        fn token(&self, state: BackendId, index: usize) -> OperatorListToken<T> {
            OperatorListToken { state, index, element: PhantomData }
        }
    }

    impl<K: StateKey, V: StateValue> Described for BroadcastDescriptor<K, V> {
        type Token = BroadcastToken<K, V>;

        fn meta(&self) -> OperatorStateMeta {
            meta(&self.name, Redistribution::Broadcast, vec![K::schema(), self.codec.id()])
        }

        fn empty(&self) -> Box<dyn AnyContent> {
            Box::new(MapContent::<K, V>::new(Arc::clone(&self.codec)))
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
