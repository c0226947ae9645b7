//! Short ways to say what cases say often.

use std::panic::{AssertUnwindSafe, catch_unwind};

use backend_api::ttl::{AggregatingView, ListView, MapView, ReducingView, ValueView};
use backend_api::{
    Aggregate, AggregatingToken, ErrorKind, KeyContext, ListToken, MapToken, ReducingToken, Result,
    StateBackend, StateKey, StateToken, StateValue, ValueToken,
};

/// A token that opens a view of backend `B`.
pub trait Opens<B: StateBackend>: StateToken {
    /// The view.
    type View<'a>;

    /// Opens it.
    ///
    /// # Errors
    /// Errors of the backend.
    fn open<'a>(
        self,
        backend: &'a mut B,
        key: KeyContext<'a, B::Key>,
        namespace: &'a Self::Namespace,
    ) -> Result<Self::View<'a>>;
}

macro_rules! opens {
    ($token:ident<$($p:ident: $bound:path),+> by $method:ident to $view:ident) => {
        impl<B: StateBackend, $($p: $bound,)+ N: StateKey> Opens<B> for $token<$($p,)+ N> {
            type View<'a> = $view<'a, B, $($p,)+ N>;

            fn open<'a>(
                self,
                backend: &'a mut B,
                key: KeyContext<'a, B::Key>,
                namespace: &'a N,
            ) -> Result<Self::View<'a>> {
                backend.$method(self, key, namespace)
            }
        }
    };
}

opens!(ValueToken<V: StateValue> by value to ValueView);
opens!(ListToken<T: StateValue> by list to ListView);
opens!(MapToken<MK: StateKey, MV: StateValue> by map to MapView);
opens!(ReducingToken<T: StateValue> by reducing to ReducingView);
opens!(AggregatingToken<A: Aggregate> by aggregating to AggregatingView);

/// Access by plain keys, for cases in which opening a view must succeed.
pub trait Access: StateBackend {
    /// The state at a key, without namespaces.
    fn at<'a, T: Opens<Self, Namespace = ()>>(&'a mut self, token: T, key: &'a Self::Key) -> T::View<'a> {
        self.within(token, key, &())
    }

    /// The state at a key and namespace.
    fn within<'a, T: Opens<Self>>(
        &'a mut self,
        token: T,
        key: &'a Self::Key,
        namespace: &'a T::Namespace,
    ) -> T::View<'a> {
        let key = self.key(key).unwrap();
        token.open(self, key, namespace).unwrap()
    }

    /// The keys that have something in a state without namespaces, sorted.
    fn sorted_keys<T: StateToken<Namespace = ()>>(&mut self, token: T) -> Vec<Self::Key> {
        sorted(self.keys(token, &()).unwrap())
    }

    /// Number of entries of a state without namespaces.
    fn entries<T: StateToken<Namespace = ()>>(&mut self, state: &str, token: T) -> u64 {
        let info = self.states().into_iter().find(|info| info.name == state);
        match info.unwrap_or_else(|| panic!("no state {state:?}")).entries {
            Some(entries) => entries,
            None => self.sorted_keys(token).len() as u64,
        }
    }

    /// The names of all states, sorted.
    fn state_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.states().into_iter().map(|info| info.name).collect();
        names.sort();
        names
    }
}

impl<B: StateBackend> Access for B {}

/// What a listing gives, sorted.
pub fn sorted<T: Ord>(listing: impl Iterator<Item = Result<T>>) -> Vec<T> {
    let mut items = listing.collect::<Result<Vec<_>>>().unwrap();
    items.sort();
    items
}

/// The kind of the error that `result` must be.
pub fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("there should have been an error"),
        Err(error) => error.kind(),
    }
}

/// Runs `f`, which must panic.
pub fn panics<R>(f: impl FnOnce() -> R) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "there should have been a panic");
}
