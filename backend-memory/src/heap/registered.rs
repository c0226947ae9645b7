//! A registered state, downcast to its type without a virtual call.

use std::any::TypeId;
use std::ops::{Deref, DerefMut};

use backend_api::StateKey;

use super::state::AnyState;

/// A state with its type id beside the pointer, since every access checks it.
pub(super) struct Registered<K: StateKey> {
    /// The type that `state` points to.
    type_id: TypeId,
    state: Box<dyn AnyState<K>>,
}

impl<K: StateKey> Registered<K> {
    pub(super) fn new<S: AnyState<K>>(state: S) -> Self {
        Self { type_id: TypeId::of::<S>(), state: Box::new(state) }
    }

    /// True if the state has type `S`.
    #[inline]
    pub(super) fn is<S: AnyState<K>>(&self) -> bool {
        self.type_id == TypeId::of::<S>()
    }

    /// The state, if it has type `S`.
    #[inline]
    #[expect(unsafe_code, reason = "Any would call a virtual function at every access")]
    pub(super) fn downcast_mut<S: AnyState<K>>(&mut self) -> Option<&mut S> {
        // SAFETY: `is` compares with the type that `new` recorded, which never changes.
        self.is::<S>().then(|| unsafe { &mut *(&raw mut *self.state).cast::<S>() })
    }
}

impl<K: StateKey> Deref for Registered<K> {
    type Target = dyn AnyState<K>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &*self.state
    }
}

impl<K: StateKey> DerefMut for Registered<K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.state
    }
}
