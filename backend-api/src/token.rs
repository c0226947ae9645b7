//! Tokens: registration returns them, and every access takes one.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::StateKey;

/// Identity of one backend within its process, which detects tokens of other backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(u32);

impl BackendId {
    /// The id of no backend.
    pub(crate) const NONE: Self = Self(0);

    /// A new id, unique in this process.
    pub fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Bit in the index of a state with a time to live, so that an access to any other state does not look it up.
const EXPIRES: u32 = 1 << 31;

/// The methods of all tokens.
pub trait StateToken: Copy + Send + Sync + 'static {
    /// Type of the state's namespaces.
    type Namespace: StateKey;

    /// The backend that made the token.
    fn backend(self) -> BackendId;

    /// The state's index in that backend.
    fn index(self) -> usize;
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident<$($p:ident),*>) => {
        $(#[$doc])*
        ///
        /// Two integers: `Copy`, `Send` and `Sync` whatever the types are. It is good for the backend that made
        /// it and for no other; elsewhere it is answered with
        /// [`ErrorKind::ForeignToken`](crate::ErrorKind::ForeignToken).
        pub struct $name<$($p,)* N = ()> {
            index: u32,
            backend: BackendId,
            types: PhantomData<fn() -> ($($p,)* N,)>,
        }

        impl<$($p,)* N> $name<$($p,)* N> {
            /// For authors of backends: the token of the state with that index.
            pub fn new(backend: BackendId, index: u32) -> Self {
                Self { index, backend, types: PhantomData }
            }
        }

        // Derived implementations would require the same of the types.
        impl<$($p,)* N> Clone for $name<$($p,)* N> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($p,)* N> Copy for $name<$($p,)* N> {}

        impl<$($p,)* N> std::fmt::Debug for $name<$($p,)* N> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.index & !EXPIRES)
            }
        }

        impl<$($p: 'static,)* N: StateKey> StateToken for $name<$($p,)* N> {
            type Namespace = N;

            #[inline]
            fn backend(self) -> BackendId {
                self.backend
            }

            #[inline]
            fn index(self) -> usize {
                (self.index & !EXPIRES) as usize
            }
        }
    };
}

/// For the states that can have a time to live.
macro_rules! expiring {
    ($($name:ident<$($p:ident),+>),+) => {$(
        impl<$($p,)+ N> $name<$($p,)+ N> {
            /// The token of the state with that index, which has a time to live.
            pub(crate) fn expiring(backend: BackendId, index: u32) -> Self {
                Self::new(backend, index | EXPIRES)
            }

            /// True if the state has a time to live.
            #[inline(always)]
            pub(crate) fn expires(self) -> bool {
                self.index & EXPIRES != 0
            }
        }
    )+};
}

expiring!(ValueToken<V>, ListToken<T>, MapToken<MK, MV>, ReducingToken<T>, AggregatingToken<A>);

token!(
    /// A registered value state.
    ValueToken<V>
);
token!(
    /// A registered list state.
    ListToken<T>
);
token!(
    /// A registered map state.
    MapToken<MK, MV>
);
token!(
    /// A registered reducing state.
    ReducingToken<T>
);
token!(
    /// A registered aggregating state.
    AggregatingToken<A>
);
token!(
    /// A registered timer state.
    TimerToken<>
);
