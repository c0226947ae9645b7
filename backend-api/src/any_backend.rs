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
            /// A state of the chosen backend at a key and namespace. Each access opens a new view. A view
            /// that is returned from a match over several backends is moved through memory, which costs more
            /// than the access.
            pub struct AnyAccess<'a, K: $crate::StateKey, T: $crate::StateToken> {
                backend: &'a mut $name<K>,
                token: T,
                key: $crate::KeyContext<'a, K>,
                namespace: &'a T::Namespace,
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
                    $crate::any_backend!(@open self $name list [$($variant)+])
                }
            }

            impl<'a, K: $crate::StateKey, MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey>
                AnyMap<'a, K, MK, MV, N>
            {
                /// Opens the view at the first call.
                #[inline(always)]
                fn open(&mut self) -> $crate::Result<&mut Maps<'a, K, MK, MV, N>> {
                    $crate::any_backend!(@open self $name map [$($variant)+])
                }
            }

            impl<K: $crate::StateKey, StateV: $crate::StateValue, N: $crate::StateKey>
                $crate::ValueState<StateV> for AnyAccess<'_, K, $crate::ValueToken<StateV, N>>
            {
                #[inline(always)]
                fn with<R>(&mut self, f: impl FnOnce(Option<&StateV>) -> R) -> $crate::Result<R> {
                    $crate::any_backend!(@access self $name value [$($variant)+] view => $crate::ValueState::<StateV>::with(view, f))
                }
                #[inline(always)]
                fn set(&mut self, value: StateV) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name value [$($variant)+] view => $crate::ValueState::<StateV>::set(view, value))
                }
                #[inline(always)]
                fn try_update<R>(
                    &mut self,
                    f: impl FnOnce(&mut Option<StateV>) -> ::std::result::Result<R, $crate::BoxError>,
                ) -> $crate::Result<R> {
                    $crate::any_backend!(@access self $name value [$($variant)+] view => $crate::ValueState::<StateV>::try_update(view, f))
                }
                #[inline(always)]
                fn clear(&mut self) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name value [$($variant)+] view => $crate::ValueState::<StateV>::clear(view))
                }
                #[inline(always)]
                fn get(&mut self) -> $crate::Result<Option<StateV>> {
                    $crate::any_backend!(@access self $name value [$($variant)+] view => $crate::ValueState::<StateV>::get(view))
                }
                #[inline(always)]
                fn update<R>(&mut self, f: impl FnOnce(&mut Option<StateV>) -> R) -> $crate::Result<R> {
                    $crate::any_backend!(@access self $name value [$($variant)+] view => $crate::ValueState::<StateV>::update(view, f))
                }
            }

            impl<'a, K: $crate::StateKey, StateT: $crate::StateValue, N: $crate::StateKey>
                $crate::ListState<StateT, N> for AnyList<'a, K, StateT, N>
            {
                #[inline(always)]
                fn add(&mut self, element: StateT) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::add(view, element))
                }
                #[inline(always)]
                fn add_all(&mut self, elements: impl IntoIterator<Item = StateT>) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::add_all(view, elements))
                }
                #[inline(always)]
                fn set(&mut self, elements: impl IntoIterator<Item = StateT>) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::set(view, elements))
                }
                #[inline(always)]
                fn iter(
                    &mut self,
                ) -> $crate::Result<impl Iterator<Item = $crate::Result<::std::borrow::Cow<'_, StateT>>>> {
                    Ok(match self.open()? { $(OneOf::$variant(view) => OneOf::$variant($crate::ListState::<StateT, N>::iter(view)?),)+ })
                }
                #[inline(always)]
                fn merge_from(&mut self, sources: &[N]) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::merge_from(view, sources))
                }
                #[inline(always)]
                fn get_merged(&mut self, of: &[N]) -> $crate::Result<::std::vec::Vec<StateT>> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::get_merged(view, of))
                }
                #[inline(always)]
                fn clear(&mut self) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::clear(view))
                }
                #[inline(always)]
                fn is_empty(&mut self) -> $crate::Result<bool> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::is_empty(view))
                }
                #[inline(always)]
                fn get(&mut self) -> $crate::Result<::std::vec::Vec<StateT>> {
                    $crate::any_backend!(@scan self $name list [$($variant)+] view => $crate::ListState::<StateT, N>::get(view))
                }
            }

            impl<'a, K: $crate::StateKey, MK: $crate::StateKey, MV: $crate::StateValue, N: $crate::StateKey>
                $crate::MapState<MK, MV> for AnyMap<'a, K, MK, MV, N>
            {
                #[inline(always)]
                fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> $crate::Result<R> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::with(view, key, f))
                }
                #[inline(always)]
                fn put(&mut self, key: MK, value: MV) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::put(view, key, value))
                }
                #[inline(always)]
                fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::put_all(view, entries))
                }
                #[inline(always)]
                fn remove(&mut self, key: &MK) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::remove(view, key))
                }
                #[inline(always)]
                fn try_update<R>(
                    &mut self,
                    key: MK,
                    f: impl FnOnce(&mut Option<MV>) -> ::std::result::Result<R, $crate::BoxError>,
                ) -> $crate::Result<R> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::try_update(view, key, f))
                }
                #[inline(always)]
                fn range(
                    &mut self,
                    range: impl ::std::ops::RangeBounds<MK>,
                ) -> $crate::Result<
                    impl Iterator<
                        Item = $crate::Result<(::std::borrow::Cow<'_, MK>, ::std::borrow::Cow<'_, MV>)>,
                    >,
                > {
                    Ok(match self.open()? { $(OneOf::$variant(view) => OneOf::$variant($crate::MapState::<MK, MV>::range(view, range)?),)+ })
                }
                #[inline(always)]
                fn clear(&mut self) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::clear(view))
                }
                #[inline(always)]
                fn get(&mut self, key: &MK) -> $crate::Result<Option<MV>> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::get(view, key))
                }
                #[inline(always)]
                fn contains(&mut self, key: &MK) -> $crate::Result<bool> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::contains(view, key))
                }
                #[inline(always)]
                fn update<R>(&mut self, key: MK, f: impl FnOnce(&mut Option<MV>) -> R) -> $crate::Result<R> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::update(view, key, f))
                }
                #[inline(always)]
                fn iter(
                    &mut self,
                ) -> $crate::Result<
                    impl Iterator<
                        Item = $crate::Result<(::std::borrow::Cow<'_, MK>, ::std::borrow::Cow<'_, MV>)>,
                    >,
                > {
                    Ok(match self.open()? { $(OneOf::$variant(view) => OneOf::$variant($crate::MapState::<MK, MV>::iter(view)?),)+ })
                }
                #[inline(always)]
                fn keys(
                    &mut self,
                ) -> $crate::Result<impl Iterator<Item = $crate::Result<::std::borrow::Cow<'_, MK>>>> {
                    Ok(match self.open()? { $(OneOf::$variant(view) => OneOf::$variant($crate::MapState::<MK, MV>::keys(view)?),)+ })
                }
                #[inline(always)]
                fn values(
                    &mut self,
                ) -> $crate::Result<impl Iterator<Item = $crate::Result<::std::borrow::Cow<'_, MV>>>> {
                    Ok(match self.open()? { $(OneOf::$variant(view) => OneOf::$variant($crate::MapState::<MK, MV>::values(view)?),)+ })
                }
                #[inline(always)]
                fn is_empty(&mut self) -> $crate::Result<bool> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::is_empty(view))
                }
                #[inline(always)]
                fn len(&mut self) -> $crate::Result<u64> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::len(view))
                }
                #[inline(always)]
                fn range_into(
                    &mut self,
                    range: impl ::std::ops::RangeBounds<MK>,
                    max: usize,
                    into: &mut ::std::vec::Vec<(MK, MV)>,
                ) -> $crate::Result<()> {
                    $crate::any_backend!(@scan self $name map [$($variant)+] view => $crate::MapState::<MK, MV>::range_into(view, range, max, into))
                }
                fn cursor(&mut self) -> $crate::MapCursor<'_, Self, MK, MV> {
                    $crate::MapCursor::new(self)
                }
            }

            impl<K: $crate::StateKey, StateT: $crate::StateValue, N: $crate::StateKey>
                $crate::ReducingState<StateT, N> for AnyAccess<'_, K, $crate::ReducingToken<StateT, N>>
            {
                #[inline(always)]
                fn with<R>(&mut self, f: impl FnOnce(Option<&StateT>) -> R) -> $crate::Result<R> {
                    $crate::any_backend!(@access self $name reducing [$($variant)+] view => $crate::ReducingState::<StateT, N>::with(view, f))
                }
                #[inline(always)]
                fn add(&mut self, value: StateT) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name reducing [$($variant)+] view => $crate::ReducingState::<StateT, N>::add(view, value))
                }
                #[inline(always)]
                fn merge_from(&mut self, sources: &[N]) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name reducing [$($variant)+] view => $crate::ReducingState::<StateT, N>::merge_from(view, sources))
                }
                #[inline(always)]
                fn get_merged(&mut self, of: &[N]) -> $crate::Result<Option<StateT>> {
                    $crate::any_backend!(@access self $name reducing [$($variant)+] view => $crate::ReducingState::<StateT, N>::get_merged(view, of))
                }
                #[inline(always)]
                fn clear(&mut self) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name reducing [$($variant)+] view => $crate::ReducingState::<StateT, N>::clear(view))
                }
                #[inline(always)]
                fn get(&mut self) -> $crate::Result<Option<StateT>> {
                    $crate::any_backend!(@access self $name reducing [$($variant)+] view => $crate::ReducingState::<StateT, N>::get(view))
                }
            }

            impl<K: $crate::StateKey, StateA: $crate::Aggregate, N: $crate::StateKey>
                $crate::AggregatingState<StateA, N> for AnyAccess<'_, K, $crate::AggregatingToken<StateA, N>>
            {
                #[inline(always)]
                fn add(&mut self, input: StateA::Input) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name aggregating [$($variant)+] view => $crate::AggregatingState::<StateA, N>::add(view, input))
                }
                #[inline(always)]
                fn get(&mut self) -> $crate::Result<Option<StateA::Output>> {
                    $crate::any_backend!(@access self $name aggregating [$($variant)+] view => $crate::AggregatingState::<StateA, N>::get(view))
                }
                #[inline(always)]
                fn merge_from(&mut self, sources: &[N]) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name aggregating [$($variant)+] view => $crate::AggregatingState::<StateA, N>::merge_from(view, sources))
                }
                #[inline(always)]
                fn get_merged(&mut self, of: &[N]) -> $crate::Result<Option<StateA::Output>> {
                    $crate::any_backend!(@access self $name aggregating [$($variant)+] view => $crate::AggregatingState::<StateA, N>::get_merged(view, of))
                }
                #[inline(always)]
                fn clear(&mut self) -> $crate::Result<()> {
                    $crate::any_backend!(@access self $name aggregating [$($variant)+] view => $crate::AggregatingState::<StateA, N>::clear(view))
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
                #[inline(always)]
                fn lifecycle(&self) -> &$crate::Lifecycle<K> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::lifecycle(backend),)+ }
                }
                $crate::any_backend! { @register $($variant)+ =>
                    register_value<V: StateValue>(ValueDescriptor<V>) -> ValueToken<V>;
                    register_list<T: StateValue>(ListDescriptor<T>) -> ListToken<T>;
                    register_map<MK: StateKey, MV: StateValue>(MapDescriptor<MK, MV>) -> MapToken<MK, MV>;
                    register_reducing<T: StateValue>(ReducingDescriptor<T>) -> ReducingToken<T>;
                    register_aggregating<A: Aggregate>(AggregatingDescriptor<A>) -> AggregatingToken<A>;
                }
                $crate::any_backend! { @open_access $($variant)+ =>
                    value<V: StateValue>(ValueToken<V>) -> Value AnyAccess;
                    list<T: StateValue>(ListToken<T>) -> List AnyScan AnyAccess;
                    map<MK: StateKey, MV: StateValue>(MapToken<MK, MV>) -> Map AnyScan AnyAccess;
                    reducing<T: StateValue>(ReducingToken<T>) -> Reducing AnyAccess;
                    aggregating<A: Aggregate>(AggregatingToken<A>) -> Aggregating AnyAccess;
                }
                fn keys<T: $crate::StateToken>(
                    &mut self,
                    token: T,
                    namespace: &T::Namespace,
                ) -> $crate::Result<$crate::Keys<'_, K>> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::keys(backend, token, namespace),)+ }
                }
                fn keys_and_namespaces<T: $crate::StateToken>(
                    &mut self,
                    token: T,
                ) -> $crate::Result<$crate::Keys<'_, (K, T::Namespace)>> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::keys_and_namespaces(backend, token),)+ }
                }
                fn drop_restored(&mut self, state: &str) -> $crate::Result<()> {
                    match self {
                        $(Self::$variant(backend) => $crate::StateBackend::drop_restored(backend, state),)+
                    }
                }
                fn check_restored(&self) -> $crate::Result<()> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::check_restored(backend),)+ }
                }
                fn states(&self) -> ::std::vec::Vec<$crate::StateInfo> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::states(backend),)+ }
                }
                fn snapshot(&mut self, request: $crate::SnapshotRequest) -> $crate::Result<$crate::SnapshotTask> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::snapshot(backend, request),)+ }
                }
                fn notify_complete(&mut self, checkpoint_id: u64) -> $crate::Result<()> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::notify_complete(backend, checkpoint_id),)+ }
                }
                fn notify_aborted(&mut self, checkpoint_id: u64) -> $crate::Result<()> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::notify_aborted(backend, checkpoint_id),)+ }
                }
                fn close(&mut self) -> $crate::Result<()> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::close(backend),)+ }
                }
                #[inline(always)]
                fn subtask(&self) -> &$crate::Subtask<K> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::subtask(backend),)+ }
                }
                #[inline(always)]
                fn key<'k, Q: $crate::LookupKey<K> + ?Sized>(&self, key: &'k Q) -> $crate::Result<$crate::KeyContext<'k, K>> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::key(backend, key),)+ }
                }
                fn register<D: $crate::StateDescriptor>(&mut self, descriptor: D) -> $crate::Result<D::Token> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::register(backend, descriptor),)+ }
                }
                #[inline]
                fn prefetch<T: $crate::StateToken>(
                    &self,
                    token: T,
                    key: $crate::KeyContext<'_, K>,
                    namespace: &T::Namespace,
                ) {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::prefetch(backend, token, key, namespace),)+ }
                }
                fn prefetch_batch<T: $crate::StateToken>(
                    &self,
                    token: T,
                    keys: &[$crate::KeyContext<'_, K>],
                    namespace: &T::Namespace,
                ) {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::prefetch_batch(backend, token, keys, namespace),)+ }
                }
                fn get_batch<V: $crate::StateValue, N: $crate::StateKey>(
                    &mut self,
                    token: $crate::ValueToken<V, N>,
                    keys: &[$crate::KeyContext<'_, K>],
                    namespace: &N,
                    f: impl FnMut(usize, Option<&V>),
                ) -> $crate::Result<()> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::get_batch(backend, token, keys, namespace, f),)+ }
                }
                fn update_batch<V: $crate::StateValue, N: $crate::StateKey>(
                    &mut self,
                    token: $crate::ValueToken<V, N>,
                    keys: &[$crate::KeyContext<'_, K>],
                    namespace: &N,
                    f: impl FnMut(usize, &mut Option<V>),
                ) -> $crate::Result<()> {
                    match self { $(Self::$variant(backend) => $crate::StateBackend::update_batch(backend, token, keys, namespace, f),)+ }
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
    (@register $($variant:ident)+ => ) => {};
    (
        @register $($variant:ident)+ =>
        $method:ident<$($p:ident: $bound:ident),+>($descriptor:ident<$($d:ident),+>) -> $token:ident<$($t:ident),+>;
        $($rest:tt)*
    ) => {
        fn $method<$($p: $crate::$bound,)+ N: $crate::StateKey>(
            &mut self,
            descriptor: $crate::$descriptor<$($d,)+ N>,
        ) -> $crate::Result<$crate::$token<$($t,)+ N>> {
            match self { $(Self::$variant(backend) => $crate::StateBackend::$method(backend, descriptor),)+ }
        }
        $crate::any_backend! { @register $($variant)+ => $($rest)* }
    };
    (@open_access $($variant:ident)+ => ) => {};
    (
        @open_access $($variant:ident)+ =>
        $method:ident<$($p:ident: $bound:ident),+>($token:ident<$($t:ident),+>) -> $out:ident $($view:ident)+;
        $($rest:tt)*
    ) => {
        #[inline(always)]
        fn $method<'a, $($p: $crate::$bound,)+ N: $crate::StateKey>(
            &'a mut self,
            token: $crate::$token<$($t,)+ N>,
            key: $crate::KeyContext<'a, K>,
            namespace: &'a N,
        ) -> $crate::Result<Self::$out<'a, $($t,)+ N>> {
            if !$crate::StateBackend::lifecycle(self).admits(token, &key) {
                // The variant's error is returned.
                match self {
                    $(Self::$variant(backend) => _ = $crate::StateBackend::$method(backend, token, key, namespace)?,)+
                }
            }
            Ok($crate::any_backend!(@view $($view)+ (self, token, key, namespace)))
        }
        $crate::any_backend! { @open_access $($variant)+ => $($rest)* }
    };
    (@view AnyAccess ($backend:expr, $token:expr, $key:expr, $namespace:expr)) => {
        AnyAccess { backend: $backend, token: $token, key: $key, namespace: $namespace }
    };
    (@view AnyScan AnyAccess $parts:tt) => {
        AnyScan::Closed($crate::any_backend!(@view AnyAccess $parts))
    };
    (@access $self:ident $name:ident $open:ident [$($variant:ident)+] $view:ident => $call:expr) => {{
        let AnyAccess { backend, token, key, namespace } = $self;
        match &mut **backend {
            $($name::$variant(backend) => {
                let $view = &mut $crate::StateBackend::$open(backend, *token, *key, namespace)?;
                $call
            })+
        }
    }};
    (@scan $self:ident $name:ident $open:ident [$($variant:ident)+] $view:ident => $call:expr) => {
        match $self {
            AnyScan::Closed(access) => {
                $crate::any_backend!(@access access $name $open [$($variant)+] $view => $call)
            }
            AnyScan::Open(view) => match view { $(OneOf::$variant($view) => $call,)+ },
            AnyScan::Failed => {
                Err($crate::Error::new($crate::ErrorKind::IllegalState, "the view has failed before"))
            }
        }
    };
    (@open $self:ident $name:ident $open:ident [$($variant:ident)+]) => {{
        if let Self::Closed(_) = $self
            && let Self::Closed(access) = ::std::mem::replace($self, Self::Failed)
        {
            let AnyAccess { backend, token, key, namespace } = access;
            *$self = Self::Open(match backend { $(
                $name::$variant(backend) => {
                    OneOf::$variant($crate::StateBackend::$open(backend, token, key, namespace)?)
                }
            )+ });
        }
        match $self {
            Self::Open(view) => Ok(view),
            _ => Err($crate::Error::new($crate::ErrorKind::IllegalState, "the view has failed before")),
        }
    }};
}
