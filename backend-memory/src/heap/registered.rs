//! A registered state, found again by its type without a virtual call.

use std::any::TypeId;
use std::ops::{Deref, DerefMut};

use super::state::AnyState;

/// A state whose type is told by the table of states itself: every access asks for it.
pub(super) struct Registered<K> {
    /// The type of what `state` points to.
    type_id: TypeId,
    state: Box<dyn AnyState<K>>,
}

impl<K> Registered<K> {
    pub(super) fn new<S: AnyState<K>>(state: S) -> Self {
        Self { type_id: TypeId::of::<S>(), state: Box::new(state) }
    }

    /// Whether it is of that type.
    #[inline]
    pub(super) fn is<S: AnyState<K>>(&self) -> bool {
        self.type_id == TypeId::of::<S>()
    }

    /// The state, if it is of that type.
    #[inline]
    #[expect(unsafe_code, reason = "Any asks a virtual function for the type, at every access")]
    pub(super) fn downcast_mut<S: AnyState<K>>(&mut self) -> Option<&mut S> {
        // SAFETY: the type of the box's content, which `new` noted and nothing changes.
        self.is::<S>().then(|| unsafe { &mut *(&raw mut *self.state).cast::<S>() })
    }
}

impl<K> Deref for Registered<K> {
    type Target = dyn AnyState<K>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &*self.state
    }
}

impl<K> DerefMut for Registered<K> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.state
    }
}
