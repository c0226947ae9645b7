//! For authors of backends: a state at a key and namespace, checked.

use crate::{KeyContext, StateKey, StateToken};

/// A state at a key and namespace that [`Lifecycle::place`](crate::Lifecycle::place) has checked. An access is
/// checked once, even through enums of backends.
///
/// A place is valid for the backend that checked it. Another backend may return any error or state of its own.
pub struct Place<'a, K: StateKey, T: StateToken> {
    token: T,
    key: KeyContext<'a, K>,
    group: usize,
    namespace: &'a T::Namespace,
}

impl<'a, K: StateKey, T: StateToken> Place<'a, K, T> {
    #[inline(always)]
    pub(crate) fn new(token: T, key: KeyContext<'a, K>, group: usize, namespace: &'a T::Namespace) -> Self {
        Self { token, key, group, namespace }
    }

    /// The state.
    #[inline(always)]
    pub fn token(self) -> T {
        self.token
    }

    /// The key.
    #[inline(always)]
    pub fn key(self) -> KeyContext<'a, K> {
        self.key
    }

    /// The index of the key's group among the key groups of the subtask.
    #[inline(always)]
    pub fn group(self) -> usize {
        self.group
    }

    /// The namespace.
    #[inline(always)]
    pub fn namespace(self) -> &'a T::Namespace {
        self.namespace
    }
}

impl<K: StateKey, T: StateToken> Clone for Place<'_, K, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: StateKey, T: StateToken> Copy for Place<'_, K, T> {}
