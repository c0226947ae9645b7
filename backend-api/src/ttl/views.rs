//! Views of states that may have a time to live.

use std::borrow::Cow;
use std::ops::RangeBounds;

use super::{Either, Stamped, TtlAggregate, TtlAggregating, TtlList, TtlMap, TtlReducing, TtlValue};
use crate::{
    Aggregate, AggregatingState, AggregatingToken, BoxError, KeyContext, ListState, ListToken, MapState,
    MapToken, ReducingState, ReducingToken, Result, StateBackend, StateKey, StateToken, StateValue,
    ValueState, ValueToken,
};

/// View of a value state of the backend `B`, with or without a time to live.
pub type ValueView<'a, B, V, N> =
    Either<<B as StateBackend>::Value<'a, V, N>, TtlValue<<B as StateBackend>::Value<'a, Stamped<V>, N>>>;

/// View of a list state of the backend `B`, with or without a time to live.
pub type ListView<'a, B, T, N> =
    Either<<B as StateBackend>::List<'a, T, N>, TtlList<<B as StateBackend>::List<'a, Stamped<T>, N>>>;

/// View of a map state of the backend `B`, with or without a time to live.
pub type MapView<'a, B, MK, MV, N> =
    Either<<B as StateBackend>::Map<'a, MK, MV, N>, TtlMap<<B as StateBackend>::Map<'a, MK, Stamped<MV>, N>>>;

/// View of a reducing state of the backend `B`, with or without a time to live.
pub type ReducingView<'a, B, T, N> = Either<
    <B as StateBackend>::Reducing<'a, T, N>,
    TtlReducing<<B as StateBackend>::Reducing<'a, Stamped<T>, N>>,
>;

/// View of an aggregating state of the backend `B`, with or without a time to live.
pub type AggregatingView<'a, B, A, N> = Either<
    <B as StateBackend>::Aggregating<'a, A, N>,
    TtlAggregating<<B as StateBackend>::Aggregating<'a, TtlAggregate<A>, N>>,
>;

macro_rules! open {
    ($(#[$doc:meta])* $name:ident $at:ident [$($p:ident: $bound:ident),+] $token:ident[$($t:ty),+] [$($stamped:ty),+] $view:ident $ttl_view:ident) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// Same as the method of [`StateBackend`].
        #[inline(always)]
        pub fn $name<'a, B: StateBackend, $($p: $bound,)+ N: StateKey>(
            backend: &'a mut B,
            token: $token<$($t,)+ N>,
            key: KeyContext<'a, B::Key>,
            namespace: &'a N,
        ) -> Result<$view<'a, B, $($p,)+ N>> {
            if token.expires() {
                let token = $token::<$($stamped,)+ N>::new(token.backend(), token.index() as u32);
                let place = backend.lifecycle().place(token, key, namespace)?;
                let ttl = backend.lifecycle().ttl(token)?;
                backend.remove_expired(token, ttl.cleaned_per_access())?;
                let rules = ttl.at(backend.lifecycle().time()?);
                return Ok(Either::Right($ttl_view { state: backend.$at(place)?, rules }));
            }
            let place = backend.lifecycle().place(token, key, namespace)?;
            Ok(Either::Left(backend.$at(place)?))
        }
    };
}

open!(
    /// [`StateBackend::value`].
    value value_at [V: StateValue] ValueToken[V] [Stamped<V>] ValueView TtlValue
);
open!(
    /// [`StateBackend::list`].
    list list_at [T: StateValue] ListToken[T] [Stamped<T>] ListView TtlList
);
open!(
    /// [`StateBackend::map`].
    map map_at [MK: StateKey, MV: StateValue] MapToken[MK, MV] [MK, Stamped<MV>] MapView TtlMap
);
open!(
    /// [`StateBackend::reducing`].
    reducing reducing_at [T: StateValue] ReducingToken[T] [Stamped<T>] ReducingView TtlReducing
);
open!(
    /// [`StateBackend::aggregating`].
    aggregating aggregating_at [A: Aggregate] AggregatingToken[A] [TtlAggregate<A>] AggregatingView TtlAggregating
);

/// Forwards a method to the view.
macro_rules! forward {
    ($($(#[$doc:meta])* $method:ident $(<$generic:ident>)? ($($arg:ident: $type:ty),*) -> $out:ty;)+) => {$(
        #[inline(always)]
        fn $method $(<$generic>)? (&mut self, $($arg: $type),*) -> Result<$out> {
            match self {
                Self::Left(view) => view.$method($($arg),*),
                Self::Right(view) => view.$method($($arg),*),
            }
        }
    )+};
}

/// Forwards a method that returns an iterator.
macro_rules! forward_iterator {
    ($($method:ident ($($arg:ident: $type:ty),*) -> $item:ty;)+) => {$(
        #[inline(always)]
        fn $method(&mut self, $($arg: $type),*) -> Result<impl Iterator<Item = Result<$item>>> {
            Ok(match self {
                Self::Left(view) => Either::Left(view.$method($($arg),*)?),
                Self::Right(view) => Either::Right(view.$method($($arg),*)?),
            })
        }
    )+};
}

#[deny(clippy::missing_trait_methods)]
impl<V: StateValue, L: ValueState<V>, R: ValueState<V>> ValueState<V> for Either<L, R> {
    forward! {
        with<T>(f: impl FnOnce(Option<&V>) -> T) -> T;
        set(value: V) -> ();
        try_update<T>(f: impl FnOnce(&mut Option<V>) -> Result<T, BoxError>) -> T;
        clear() -> ();
        get() -> Option<V>;
        update<T>(f: impl FnOnce(&mut Option<V>) -> T) -> T;
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: StateValue, N, L: ListState<T, N>, R: ListState<T, N>> ListState<T, N> for Either<L, R> {
    forward! {
        add(element: T) -> ();
        add_all(elements: impl IntoIterator<Item = T>) -> ();
        set(elements: impl IntoIterator<Item = T>) -> ();
        merge_from(sources: &[N]) -> ();
        get_merged(of: &[N]) -> Vec<T>;
        clear() -> ();
        is_empty() -> bool;
        get() -> Vec<T>;
    }
    forward_iterator! {
        iter() -> Cow<'_, T>;
    }
}

#[deny(clippy::missing_trait_methods)]
impl<MK: StateKey, MV: StateValue, L: MapState<MK, MV>, R: MapState<MK, MV>> MapState<MK, MV>
    for Either<L, R>
{
    forward! {
        with<T>(key: &MK, f: impl FnOnce(Option<&MV>) -> T) -> T;
        put(key: MK, value: MV) -> ();
        put_all(entries: impl IntoIterator<Item = (MK, MV)>) -> ();
        remove(key: &MK) -> ();
        try_update<T>(key: MK, f: impl FnOnce(&mut Option<MV>) -> Result<T, BoxError>) -> T;
        clear() -> ();
        get(key: &MK) -> Option<MV>;
        contains(key: &MK) -> bool;
        update<T>(key: MK, f: impl FnOnce(&mut Option<MV>) -> T) -> T;
        range_into(range: impl RangeBounds<MK>, max: usize, into: &mut Vec<(MK, MV)>) -> ();
        len() -> u64;
        is_empty() -> bool;
    }
    forward_iterator! {
        range(range: impl RangeBounds<MK>) -> (Cow<'_, MK>, Cow<'_, MV>);
        iter() -> (Cow<'_, MK>, Cow<'_, MV>);
        keys() -> Cow<'_, MK>;
        values() -> Cow<'_, MV>;
    }
    fn cursor(&mut self) -> crate::MapCursor<'_, Self, MK, MV> {
        crate::MapCursor::new(self)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: StateValue, N, L: ReducingState<T, N>, R: ReducingState<T, N>> ReducingState<T, N> for Either<L, R> {
    forward! {
        with<O>(f: impl FnOnce(Option<&T>) -> O) -> O;
        add(value: T) -> ();
        merge_from(sources: &[N]) -> ();
        get_merged(of: &[N]) -> Option<T>;
        clear() -> ();
        get() -> Option<T>;
    }
}

#[deny(clippy::missing_trait_methods)]
impl<A: Aggregate, N, L: AggregatingState<A, N>, R: AggregatingState<A, N>> AggregatingState<A, N>
    for Either<L, R>
{
    forward! {
        add(input: A::Input) -> ();
        get() -> Option<A::Output>;
        merge_from(sources: &[N]) -> ();
        get_merged(of: &[N]) -> Option<A::Output>;
        clear() -> ();
    }
}
