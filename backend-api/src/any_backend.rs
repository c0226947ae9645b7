//! `any_backend!`: an enum of backends that is itself a backend.

#[cfg(test)]
mod tests;

/// Defines an enum of backends that is itself a [`StateBackend`](crate::StateBackend). The variant is chosen
/// when it is opened.
///
/// An application lists the backends that it links, including those of third parties. Each access matches on
/// the variant, so operators are compiled once. The match costs about a nanosecond.
///
/// ```
/// use backend_bytes::{BTreeStore, ByteBackend, ByteOptions};
/// use backend_api::{
///     Aggregate, AggregatingDescriptor, AggregatingState, BoxError, CheckpointTarget, KeySpace, ListDescriptor,
///     ListState, MapDescriptor, MapState, ReducingDescriptor, ReducingState, Result, SnapshotRequest,
///     StateBackend, Subtask, ValueDescriptor, ValueState, any_backend,
/// };
///
/// any_backend! {
///     /// The backends that this job can use.
///     pub enum Chosen: ChosenOptions {
///         /// Small state.
///         Small(ByteBackend),
///         /// Large state, with larger checkpoints.
///         Large(backend_bytes::ByteBackend),
///     }
/// }
///
/// /// An operator with five states. It does not know its backend.
/// fn process<B: StateBackend<Key = String>>(backend: &mut B, page: &String, bytes: u64) -> Result<u64> {
///     let visits = backend.register(ValueDescriptor::<u64>::new("visits"))?;
///     let sizes = backend.register(ListDescriptor::<u64>::new("sizes"))?;
///     let by_size = backend.register(MapDescriptor::<u64, u64>::new("by size"))?;
///     let total = backend.register(ReducingDescriptor::new("total", |sum: &u64, new| sum + new))?;
///     let largest = backend.register(AggregatingDescriptor::new("largest", Largest))?;
///     let key = backend.subtask().key(page)?;
///     let visits = backend.value(visits, key, &())?.update(|n| {
///         let n = n.get_or_insert(0);
///         *n += 1;
///         *n
///     })?;
///     backend.list(sizes, key, &())?.add(bytes)?;
///     backend.map(by_size, key, &())?.update(bytes, |n| *n.get_or_insert(0) += 1)?;
///     backend.reducing(total, key, &())?.add(bytes)?;
///     backend.aggregating(largest, key, &())?.add(bytes)?;
///     assert_eq!(backend.list(sizes, key, &())?.get()?.len() as u64, visits);
///     assert_eq!(backend.map(by_size, key, &())?.get(&bytes)?, Some(visits));
///     assert_eq!(backend.reducing(total, key, &())?.get()?, Some(visits * bytes));
///     assert_eq!(backend.aggregating(largest, key, &())?.get()?, Some(bytes));
///     Ok(visits)
/// }
///
/// struct Largest;
///
/// impl Aggregate for Largest {
///     type Input = u64;
///     type Accumulator = u64;
///     type Output = u64;
///
///     fn create(&self) -> u64 {
///         0
///     }
///     fn add(&self, largest: &mut u64, input: u64) -> Result<(), BoxError> {
///         *largest = input.max(*largest);
///         Ok(())
///     }
///     fn result(&self, largest: &u64) -> u64 {
///         *largest
///     }
///     fn merge(&self, into: &mut u64, other: &u64) -> Result<(), BoxError> {
///         self.add(into, *other)
///     }
/// }
///
/// let options = |bytes_max| -> Result<ByteOptions> {
///     let target = CheckpointTarget::memory(bytes_max)?;
///     Ok(ByteOptions::new(target, |_, _| Ok(Box::new(BTreeStore::default()))))
/// };
/// let subtask = Subtask::single("pages", KeySpace::<String>::new(128)?)?;
/// let page = "/index.html".to_owned();
///
/// let small = ChosenOptions::Small(options(5 << 20)?);
/// let mut backend = Chosen::open(&small, subtask.clone(), &[])?;
/// assert_eq!(process(&mut backend, &page, 200)?, 1);
/// let checkpoint = backend.snapshot(SnapshotRequest::new(1))?.run()?;
///
/// // The other variant continues: both write the same format.
/// let large = ChosenOptions::Large(options(1 << 30)?);
/// let mut backend = Chosen::open(&large, subtask, checkpoint.as_slice())?;
/// assert!(matches!(backend, Chosen::Large(_)));
/// assert_eq!(process(&mut backend, &page, 200)?, 2);
/// # Ok::<(), backend_api::Error>(())
/// ```
///
/// The macro defines two types: the backend `Chosen<K>`, and `ChosenOptions` with one variant for each
/// backend. It does not implement `From`, since two variants may have options of one type.
#[macro_export]
macro_rules! any_backend {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $options:ident {
            $($(#[$variant_meta:meta])* $variant:ident($($backend:tt)+)),+ $(,)?
        }
    ) => {
        $crate::any_backend! {
            @parsed $(#[$meta])* $vis enum $name: $options {
                $($(#[$variant_meta])* $variant[$($backend)+<K>][$($backend)+<()>]),+
            }
        }
    };
    (
        @parsed
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $options:ident {
            $($(#[$variant_meta:meta])* $variant:ident[$backend:ty][$with_any_key:ty]),+
        }
    ) => {
        $(#[$meta])*
        $vis enum $name<K: $crate::StateKey> {
            $($(#[$variant_meta])* $variant($backend),)+
        }

        /// Options of the backend: the variant chooses it.
        #[derive(Clone, Debug)]
        $vis enum $options {
            // Options do not depend on the type of the keys.
            $($(#[$variant_meta])* $variant(<$with_any_key as $crate::StateBackend>::Options),)+
        }

        const _: () = {
            /// A state of the chosen backend at a place. Each access opens a new view. A view that is returned
            /// from a match over several backends is moved through memory, which costs more than the access.
            pub struct AnyAccess<'a, K: $crate::StateKey, T: $crate::StateToken> {
                backend: &'a mut $name<K>,
                place: $crate::Place<'a, K, T>,
            }

            /// A list or map of the chosen backend. Iterators borrow from its view, which the first iterator
            /// opens.
            pub enum AnyScan<A, V> {
                Closed(A),
                Open(V),
                Failed,
            }

            /// A view or an iterator of one of the backends.
            pub enum OneOf<$($variant),+> {
                $($variant($variant),)+
            }

            #[allow(clippy::missing_trait_methods)]
            impl<Item, $($variant: Iterator<Item = Item>),+> Iterator for OneOf<$($variant),+> {
                type Item = Item;

                #[inline]
                fn next(&mut self) -> Option<Item> {
                    match self { $(Self::$variant(iterator) => iterator.next(),)+ }
                }

                #[inline]
                fn size_hint(&self) -> (usize, Option<usize>) {
                    match self { $(Self::$variant(iterator) => iterator.size_hint(),)+ }
                }

                #[inline]
                fn fold<B, F: FnMut(B, Item) -> B>(self, init: B, f: F) -> B {
                    match self { $(Self::$variant(iterator) => iterator.fold(init, f),)+ }
                }
            }

            type Lists<'a, K, T, N> = OneOf<$(<$backend as $crate::StateBackend>::List<'a, T, N>),+>;
            type Maps<'a, K, MK, MV, N> = OneOf<$(<$backend as $crate::StateBackend>::Map<'a, MK, MV, N>),+>;
            type AnyList<'a, K, T, N> = AnyScan<AnyAccess<'a, K, $crate::ListToken<T, N>>, Lists<'a, K, T, N>>;
            type AnyMap<'a, K, MK, MV, N> =
                AnyScan<AnyAccess<'a, K, $crate::MapToken<MK, MV, N>>, Maps<'a, K, MK, MV, N>>;

            impl<'a, K: $crate::StateKey, StateT: $crate::StateValue, N: $crate::StateKey> AnyList<'a, K, StateT, N> {
                /// Opens the view at the first call.
                #[inline(always)]
                fn open(&mut self) -> $crate::Result<&mut Lists<'a, K, StateT, N>> {
                    $crate::any_backend!(@open self $name list_at [$($variant)+])
                }
            }

            impl<'a, K: $crate::StateKey, MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey>
                AnyMap<'a, K, MK, MV, N>
            {
                /// Opens the view at the first call.
                #[inline(always)]
                fn open(&mut self) -> $crate::Result<&mut Maps<'a, K, MK, MV, N>> {
                    $crate::any_backend!(@open self $name map_at [$($variant)+])
                }
            }

            impl<K: $crate::StateKey, StateV: $crate::StateValue, N: $crate::StateKey>
                $crate::ValueState<StateV> for AnyAccess<'_, K, $crate::ValueToken<StateV, N>>
            {
                $crate::any_backend! { @access $name value_at [$($variant)+] [$crate::ValueState::<StateV>]
                    with[R](f: impl FnOnce(Option<&StateV>) -> R) -> R;
                    set[](value: StateV) -> ();
                    try_update[R](f: impl FnOnce(&mut Option<StateV>) -> ::std::result::Result<R, $crate::BoxError>) -> R;
                    clear[]() -> ();
                    get[]() -> Option<StateV>;
                    update[R](f: impl FnOnce(&mut Option<StateV>) -> R) -> R;
                }
            }

            impl<'a, K: $crate::StateKey, StateT: $crate::StateValue, N: $crate::StateKey>
                $crate::ListState<StateT, N> for AnyList<'a, K, StateT, N>
            {
                $crate::any_backend! { @scan $name list_at [$($variant)+] [$crate::ListState::<StateT, N>]
                    add[](element: StateT) -> ();
                    add_all[](elements: impl IntoIterator<Item = StateT>) -> ();
                    set[](elements: impl IntoIterator<Item = StateT>) -> ();
                    merge_from[](sources: &[N]) -> ();
                    get_merged[](of: &[N]) -> ::std::vec::Vec<StateT>;
                    clear[]() -> ();
                    is_empty[]() -> bool;
                    get[]() -> ::std::vec::Vec<StateT>;
                }
                $crate::any_backend! { @iterate [$($variant)+] [$crate::ListState::<StateT, N>]
                    iter() -> ::std::borrow::Cow<'_, StateT>;
                }
            }

            impl<'a, K: $crate::StateKey, MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey>
                $crate::MapState<MK, MV> for AnyMap<'a, K, MK, MV, N>
            {
                $crate::any_backend! { @scan $name map_at [$($variant)+] [$crate::MapState::<MK, MV>]
                    with[R](key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> R;
                    put[](key: MK, value: MV) -> ();
                    put_all[](entries: impl IntoIterator<Item = (MK, MV)>) -> ();
                    remove[](key: &MK) -> ();
                    try_update[R](
                        key: MK,
                        f: impl FnOnce(&mut Option<MV>) -> ::std::result::Result<R, $crate::BoxError>
                    ) -> R;
                    clear[]() -> ();
                    get[](key: &MK) -> Option<MV>;
                    contains[](key: &MK) -> bool;
                    update[R](key: MK, f: impl FnOnce(&mut Option<MV>) -> R) -> R;
                    range_into[](
                        range: impl ::std::ops::RangeBounds<MK>,
                        max: usize,
                        into: &mut ::std::vec::Vec<(MK, MV)>
                    ) -> ();
                    len[]() -> u64;
                    is_empty[]() -> bool;
                }
                $crate::any_backend! { @iterate [$($variant)+] [$crate::MapState::<MK, MV>]
                    range(range: impl ::std::ops::RangeBounds<MK>)
                        -> (::std::borrow::Cow<'_, MK>, ::std::borrow::Cow<'_, MV>);
                    iter() -> (::std::borrow::Cow<'_, MK>, ::std::borrow::Cow<'_, MV>);
                    keys() -> ::std::borrow::Cow<'_, MK>;
                    values() -> ::std::borrow::Cow<'_, MV>;
                }
                fn cursor(&mut self) -> $crate::MapCursor<'_, Self, MK, MV> {
                    $crate::MapCursor::new(self)
                }
            }

            impl<K: $crate::StateKey, StateT: $crate::StateValue, N: $crate::StateKey>
                $crate::ReducingState<StateT, N> for AnyAccess<'_, K, $crate::ReducingToken<StateT, N>>
            {
                $crate::any_backend! { @access $name reducing_at [$($variant)+] [$crate::ReducingState::<StateT, N>]
                    with[R](f: impl FnOnce(Option<&StateT>) -> R) -> R;
                    add[](value: StateT) -> ();
                    merge_from[](sources: &[N]) -> ();
                    get_merged[](of: &[N]) -> Option<StateT>;
                    clear[]() -> ();
                    get[]() -> Option<StateT>;
                }
            }

            impl<K: $crate::StateKey, StateA: $crate::Aggregate, N: $crate::StateKey>
                $crate::AggregatingState<StateA, N> for AnyAccess<'_, K, $crate::AggregatingToken<StateA, N>>
            {
                $crate::any_backend! { @access $name aggregating_at [$($variant)+] [$crate::AggregatingState::<StateA, N>]
                    add[](input: StateA::Input) -> ();
                    get[]() -> Option<StateA::Output>;
                    merge_from[](sources: &[N]) -> ();
                    get_merged[](of: &[N]) -> Option<StateA::Output>;
                    clear[]() -> ();
                }
            }

            impl<StateK: $crate::StateKey, StateN: $crate::StateKey, $($variant: $crate::TimerState<StateK, StateN>),+>
                $crate::TimerState<StateK, StateN> for OneOf<$($variant),+>
            {
                $crate::any_backend! { @timers [$($variant)+]
                    add(key: $crate::KeyContext<'_, StateK>, namespace: &StateN, at: i64) -> bool;
                    remove(key: $crate::KeyContext<'_, StateK>, namespace: &StateN, at: i64) -> bool;
                    peek() -> Option<$crate::Timer<StateK, StateN>>;
                    next_due(to: i64) -> Option<$crate::Timer<StateK, StateN>>;
                    poll() -> Option<$crate::Timer<StateK, StateN>>;
                    len() -> u64;
                    is_empty() -> bool;
                }
                fn iter(
                    &mut self,
                ) -> $crate::Result<impl Iterator<Item = $crate::Result<$crate::Timer<StateK, StateN>>>> {
                    Ok($crate::any_backend!(@map self Self [$($variant)+] view => view.iter()?))
                }
                fn in_key_group(
                    &mut self,
                    group: u16,
                ) -> $crate::Result<impl Iterator<Item = $crate::Result<$crate::Timer<StateK, StateN>>>> {
                    Ok($crate::any_backend!(@map self Self [$($variant)+] view => view.in_key_group(group)?))
                }
                fn of_key(
                    &mut self,
                    key: $crate::KeyContext<'_, StateK>,
                ) -> $crate::Result<impl Iterator<Item = $crate::Result<$crate::Timer<StateK, StateN>>>> {
                    Ok($crate::any_backend!(@map self Self [$($variant)+] view => view.of_key(key)?))
                }
                fn advance(
                    &mut self,
                    to: i64,
                ) -> impl Iterator<Item = $crate::Result<$crate::Timer<StateK, StateN>>> {
                    $crate::any_backend!(@map self Self [$($variant)+] view => view.advance(to))
                }
            }

            impl<K: $crate::StateKey> $crate::StateBackend for $name<K> {
                type Key = K;
                type Options = $options;
                type Value<'a, StateV: $crate::StateValue, N: $crate::StateKey> =
                    AnyAccess<'a, K, $crate::ValueToken<StateV, N>>;
                type List<'a, StateT: $crate::StateValue, N: $crate::StateKey> = AnyList<'a, K, StateT, N>;
                type Map<'a, MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey> =
                    AnyMap<'a, K, MK, MV, N>;
                type Reducing<'a, StateT: $crate::StateValue, N: $crate::StateKey> =
                    AnyAccess<'a, K, $crate::ReducingToken<StateT, N>>;
                type Aggregating<'a, StateA: $crate::Aggregate, N: $crate::StateKey> =
                    AnyAccess<'a, K, $crate::AggregatingToken<StateA, N>>;
                type Timers<'a, N: $crate::StateKey> =
                    OneOf<$(<$backend as $crate::StateBackend>::Timers<'a, N>),+>;

                fn open(
                    options: &Self::Options,
                    subtask: $crate::Subtask<K>,
                    restore: &[$crate::KeyedStateHandle],
                ) -> $crate::Result<Self> {
                    Ok(match options { $(
                        $options::$variant(options) => Self::$variant(
                            <$backend as $crate::StateBackend>::open(options, subtask, restore)?
                        ),
                    )+ })
                }
                fn checkpoint_target(options: &Self::Options) -> $crate::Result<$crate::CheckpointTarget> {
                    match options { $(
                        $options::$variant(options) => {
                            <$backend as $crate::StateBackend>::checkpoint_target(options)
                        }
                    )+ }
                }
                $crate::any_backend! { @places $($variant)+ =>
                    value value_at [V: $crate::StateValue] ValueToken[V] -> ValueView Value AnyAccess;
                    list list_at [T: $crate::StateValue] ListToken[T] -> ListView List AnyScan AnyAccess;
                    map map_at [MK: $crate::StateKey, MV: $crate::StateValue] MapToken[MK, MV] -> MapView Map AnyScan AnyAccess;
                    reducing reducing_at [T: $crate::StateValue] ReducingToken[T] -> ReducingView Reducing AnyAccess;
                    aggregating aggregating_at [A: $crate::Aggregate] AggregatingToken[A] -> AggregatingView Aggregating AnyAccess;
                }
                $crate::any_backend! { @forward [$($variant)+]
                    (&) lifecycle[]() -> &$crate::Lifecycle<K>;
                    (&mut) lifecycle_mut[]() -> &mut $crate::Lifecycle<K>;
                    (&mut) advance_to[](now: i64) -> $crate::Result<()>;
                    (&mut) remove_expired[T: $crate::StateToken](token: T, entries: u32) -> $crate::Result<()>;
                    (&) prefetch[T: $crate::StateToken](
                        token: T,
                        key: $crate::KeyContext<'_, K>,
                        namespace: &T::Namespace
                    ) -> ();
                    (&) prefetch_batch[T: $crate::StateToken](
                        token: T,
                        keys: &[$crate::KeyContext<'_, K>],
                        namespace: &T::Namespace
                    ) -> ();
                    (&mut) next_due[N: $crate::StateKey](
                        token: $crate::TimerToken<N>,
                        to: i64
                    ) -> $crate::Result<Option<$crate::Timer<K, N>>>;
                    (&mut) get_batch[V: $crate::StateValue, N: $crate::StateKey](
                        token: $crate::ValueToken<V, N>,
                        keys: &[$crate::KeyContext<'_, K>],
                        namespace: &N,
                        f: impl FnMut(usize, Option<&V>)
                    ) -> $crate::Result<()>;
                    (&mut) update_batch[V: $crate::StateValue, N: $crate::StateKey](
                        token: $crate::ValueToken<V, N>,
                        keys: &[$crate::KeyContext<'_, K>],
                        namespace: &N,
                        f: impl FnMut(usize, &mut Option<V>)
                    ) -> $crate::Result<()>;
                    (&mut) get_values[V: $crate::StateValue, N: $crate::StateKey](
                        token: $crate::ValueToken<V, N>,
                        keys: &[$crate::KeyContext<'_, K>],
                        namespace: &N,
                        f: impl FnMut(usize, Option<&V>)
                    ) -> $crate::Result<()>;
                    (&mut) update_values[V: $crate::StateValue, N: $crate::StateKey](
                        token: $crate::ValueToken<V, N>,
                        keys: &[$crate::KeyContext<'_, K>],
                        namespace: &N,
                        f: impl FnMut(usize, &mut Option<V>)
                    ) -> $crate::Result<()>;
                }
                $crate::any_backend! { @forward [$($variant)+]
                    (&mut) register_value[V: $crate::StateValue, N: $crate::StateKey](
                        descriptor: $crate::ValueDescriptor<V, N>
                    ) -> $crate::Result<$crate::ValueToken<V, N>>;
                    (&mut) register_list[T: $crate::StateValue, N: $crate::StateKey](
                        descriptor: $crate::ListDescriptor<T, N>
                    ) -> $crate::Result<$crate::ListToken<T, N>>;
                    (&mut) register_map[MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey](
                        descriptor: $crate::MapDescriptor<MK, MV, N>
                    ) -> $crate::Result<$crate::MapToken<MK, MV, N>>;
                    (&mut) register_reducing[T: $crate::StateValue, N: $crate::StateKey](
                        descriptor: $crate::ReducingDescriptor<T, N>
                    ) -> $crate::Result<$crate::ReducingToken<T, N>>;
                    (&mut) register_aggregating[A: $crate::Aggregate, N: $crate::StateKey](
                        descriptor: $crate::AggregatingDescriptor<A, N>
                    ) -> $crate::Result<$crate::AggregatingToken<A, N>>;
                    (&mut) register_timers[N: $crate::StateKey](
                        descriptor: $crate::TimerDescriptor<N>
                    ) -> $crate::Result<$crate::TimerToken<N>>;
                    (&mut) register[D: $crate::StateDescriptor](descriptor: D) -> $crate::Result<D::Token>;
                }
                $crate::any_backend! { @forward [$($variant)+]
                    (&mut) keys[T: $crate::StateToken](
                        token: T,
                        namespace: &T::Namespace
                    ) -> $crate::Result<$crate::Keys<'_, K>>;
                    (&mut) keys_and_namespaces[T: $crate::StateToken](
                        token: T
                    ) -> $crate::Result<$crate::Keys<'_, (K, T::Namespace)>>;
                    (&mut) drop_restored[](state: &str) -> $crate::Result<()>;
                    (&) check_restored[]() -> $crate::Result<()>;
                    (&) states[]() -> ::std::vec::Vec<$crate::StateInfo>;
                    (&mut) snapshot[](request: $crate::SnapshotRequest) -> $crate::Result<$crate::SnapshotTask>;
                    (&mut) notify_complete[](checkpoint_id: u64) -> $crate::Result<()>;
                    (&mut) notify_aborted[](checkpoint_id: u64) -> $crate::Result<()>;
                    (&mut) close[]() -> $crate::Result<()>;
                }
                fn timers<N: $crate::StateKey>(
                    &mut self,
                    token: $crate::TimerToken<N>,
                ) -> $crate::Result<Self::Timers<'_, N>> {
                    Ok($crate::any_backend!(@map self Self [$($variant)+] backend => {
                        $crate::StateBackend::timers(backend, token)?
                    }))
                }
                // From the same lifecycle as the checks of an access, so that the compiler can drop repeated ones.
                #[inline(always)]
                fn subtask(&self) -> &$crate::Subtask<K> {
                    $crate::StateBackend::lifecycle(self).subtask()
                }
                #[inline(always)]
                fn key<'k, Q: $crate::LookupKey<K> + ?Sized>(
                    &self,
                    key: &'k Q,
                ) -> $crate::Result<$crate::KeyContext<'k, K>> {
                    $crate::StateBackend::lifecycle(self).subtask().key(key)
                }
                // The function takes this backend, not the variant.
                fn for_each_key<T: $crate::StateToken>(
                    &mut self,
                    token: T,
                    namespace: &T::Namespace,
                    f: impl FnMut(&mut Self, $crate::KeyContext<'_, K>) -> $crate::Result<()>,
                ) -> $crate::Result<()> {
                    $crate::walk::each_key(self, token, namespace, f)
                }
                fn for_each_entry<MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey>(
                    &mut self,
                    token: $crate::MapToken<MK, MV, N>,
                    key: $crate::KeyContext<'_, K>,
                    namespace: &N,
                    range: impl ::std::ops::RangeBounds<MK>,
                    f: impl FnMut(&mut Self, MK, MV) -> $crate::Result<()>,
                ) -> $crate::Result<()> {
                    $crate::walk::each_entry(self, token, key, namespace, range, f)
                }
            }
        };
    };

    // Methods that the chosen backend implements.
    (@forward [$($variant:ident)+]) => {};
    (
        @forward [$($variant:ident)+]
        ($($reference:tt)+) $method:ident[$($generics:tt)*]($($arg:ident: $type:ty),*) -> $out:ty;
        $($rest:tt)*
    ) => {
        #[inline(always)]
        fn $method<$($generics)*>($($reference)+ self, $($arg: $type),*) -> $out {
            $crate::any_backend!(@match self Self [$($variant)+] backend => {
                $crate::StateBackend::$method(backend, $($arg),*)
            })
        }
        $crate::any_backend! { @forward [$($variant)+] $($rest)* }
    };

    // Methods that return views. They check the place, and the access itself opens the view.
    (@places $($variant:ident)+ =>) => {};
    (
        @places $($variant:ident)+ =>
        $method:ident $at:ident [$($generics:tt)*] $token:ident[$($t:ident),+] -> $any_view:ident $out:ident $($view:ident)+;
        $($rest:tt)*
    ) => {
        #[inline(always)]
        fn $method<'a, $($generics)*, N: $crate::StateKey>(
            &'a mut self,
            token: $crate::$token<$($t,)+ N>,
            key: $crate::KeyContext<'a, K>,
            namespace: &'a N,
        ) -> $crate::Result<$crate::ttl::$any_view<'a, Self, $($t,)+ N>> {
            $crate::ttl::$method(self, token, key, namespace)
        }
        #[inline(always)]
        fn $at<'a, $($generics)*, N: $crate::StateKey>(
            &'a mut self,
            place: $crate::Place<'a, K, $crate::$token<$($t,)+ N>>,
        ) -> $crate::Result<Self::$out<'a, $($t,)+ N>> {
            Ok($crate::any_backend!(@view $($view)+ (self, place)))
        }
        $crate::any_backend! { @places $($variant)+ => $($rest)* }
    };
    (@view AnyAccess ($backend:expr, $place:expr)) => {
        AnyAccess { backend: $backend, place: $place }
    };
    (@view AnyScan AnyAccess $parts:tt) => {
        AnyScan::Closed($crate::any_backend!(@view AnyAccess $parts))
    };

    // Methods of a view that each access opens.
    (@access $name:ident $at:ident [$($variant:ident)+] [$($view:tt)+]) => {};
    (
        @access $name:ident $at:ident [$($variant:ident)+] [$($view:tt)+]
        $method:ident[$($generic:ident)?]($($arg:ident: $type:ty),*) -> $out:ty;
        $($rest:tt)*
    ) => {
        #[inline(always)]
        fn $method$(<$generic>)?(&mut self, $($arg: $type),*) -> $crate::Result<$out> {
            let Self { backend, place } = self;
            $crate::any_backend!(@match (&mut **backend) $name [$($variant)+] backend => {
                $($view)+::$method(&mut $crate::StateBackend::$at(backend, *place)?, $($arg),*)
            })
        }
        $crate::any_backend! { @access $name $at [$($variant)+] [$($view)+] $($rest)* }
    };

    // Methods of a view of timers, which stays open.
    (@timers [$($variant:ident)+]) => {};
    (@timers [$($variant:ident)+] $method:ident($($arg:ident: $type:ty),*) -> $out:ty; $($rest:tt)*) => {
        #[inline(always)]
        fn $method(&mut self, $($arg: $type),*) -> $crate::Result<$out> {
            $crate::any_backend!(@match self Self [$($variant)+] view => view.$method($($arg),*))
        }
        $crate::any_backend! { @timers [$($variant)+] $($rest)* }
    };

    // Methods of a view that an iterator may have opened.
    (@scan $name:ident $at:ident [$($variant:ident)+] [$($view:tt)+]) => {};
    (
        @scan $name:ident $at:ident [$($variant:ident)+] [$($view:tt)+]
        $method:ident[$($generic:ident)?]($($arg:ident: $type:ty),*) -> $out:ty;
        $($rest:tt)*
    ) => {
        #[inline(always)]
        fn $method$(<$generic>)?(&mut self, $($arg: $type),*) -> $crate::Result<$out> {
            match self {
                AnyScan::Closed(AnyAccess { backend, place }) => {
                    $crate::any_backend!(@match (&mut **backend) $name [$($variant)+] backend => {
                        $($view)+::$method(&mut $crate::StateBackend::$at(backend, *place)?, $($arg),*)
                    })
                }
                AnyScan::Open(view) => {
                    $crate::any_backend!(@match view OneOf [$($variant)+] view => $($view)+::$method(view, $($arg),*))
                }
                AnyScan::Failed => {
                    Err($crate::Error::new($crate::ErrorKind::IllegalState, "the view has failed before"))
                }
            }
        }
        $crate::any_backend! { @scan $name $at [$($variant)+] [$($view)+] $($rest)* }
    };
    (@iterate [$($variant:ident)+] [$($view:tt)+]) => {};
    (
        @iterate [$($variant:ident)+] [$($view:tt)+]
        $method:ident($($arg:ident: $type:ty),*) -> $item:ty;
        $($rest:tt)*
    ) => {
        #[inline(always)]
        fn $method(
            &mut self,
            $($arg: $type),*
        ) -> $crate::Result<impl Iterator<Item = $crate::Result<$item>>> {
            Ok($crate::any_backend!(@map (self.open()?) OneOf [$($variant)+] view => {
                $($view)+::$method(view, $($arg),*)?
            }))
        }
        $crate::any_backend! { @iterate [$($variant)+] [$($view)+] $($rest)* }
    };
    (@match $of:tt $enum:ident [$($variant:ident)+] $bound:ident => $answer:expr) => {
        match $of { $($enum::$variant($bound) => $answer,)+ }
    };
    (@map $of:tt $enum:ident [$($variant:ident)+] $bound:ident => $answer:expr) => {
        match $of { $($enum::$variant($bound) => OneOf::$variant($answer),)+ }
    };
    (@open $self:ident $name:ident $at:ident [$($variant:ident)+]) => {{
        if let Self::Closed(_) = $self
            && let Self::Closed(access) = ::std::mem::replace($self, Self::Failed)
        {
            let AnyAccess { backend, place } = access;
            *$self = Self::Open($crate::any_backend!(@map backend $name [$($variant)+] backend => {
                $crate::StateBackend::$at(backend, place)?
            }));
        }
        match $self {
            Self::Open(view) => Ok(view),
            _ => Err($crate::Error::new($crate::ErrorKind::IllegalState, "the view has failed before")),
        }
    }};
}
