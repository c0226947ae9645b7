//! `any_backend!`: an enum of backends that is itself a backend.

/// Makes an enum of backends that is itself a [`StateBackend`](crate::StateBackend), chosen when it is opened.
///
/// An application lists the backends that it links, those of third parties included. The match is inside each
/// access, so an operator is compiled once and pays about a nanosecond.
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
///     /// What this job may keep its state in.
///     pub enum Chosen: ChosenOptions, ChosenView {
///         /// Small state.
///         Small(ByteBackend),
///         /// State of which the checkpoints may be larger.
///         Large(backend_api::ByteBackend),
///     }
/// }
///
/// /// What an operator does with its five states; it knows no backend.
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
/// // The other one goes on: they write the same format.
/// let large = ChosenOptions::Large(options(1 << 30)?);
/// let mut backend = Chosen::open(&large, subtask, checkpoint.as_slice())?;
/// assert!(matches!(backend, Chosen::Large(_)));
/// assert_eq!(process(&mut backend, &page, 200)?, 2);
/// # Ok::<(), backend_api::Error>(())
/// ```
///
/// Three types come of it: the backend `Chosen<K>`, its options `ChosenOptions<K>` with a variant for each backend
/// (`From` each backend's options where these differ is left to the caller), and `ChosenView`, the enum of views,
/// which needs not be named.
#[macro_export]
macro_rules! any_backend {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $options:ident, $view:ident {
            $($(#[$variant_meta:meta])* $variant:ident($($backend:tt)+)),+ $(,)?
        }
    ) => {
        $crate::any_backend! {
            @parsed $(#[$meta])* $vis enum $name: $options, $view {
                $($(#[$variant_meta])* $variant[$($backend)+<K>]),+
            }
        }
    };
    (
        @parsed
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $options:ident, $view:ident {
            $($(#[$variant_meta:meta])* $variant:ident[$backend:ty]),+
        }
    ) => {
        $(#[$meta])*
        $vis enum $name<K: $crate::StateKey> {
            $($(#[$variant_meta])* $variant($backend),)+
        }

        /// Options of the chosen backend: the variant is the choice.
        $vis enum $options<K: $crate::StateKey> {
            $($(#[$variant_meta])* $variant(<$backend as $crate::StateBackend>::Options),)+
        }

        // By hand: derived ones would ask the same of the keys.
        impl<K: $crate::StateKey> Clone for $options<K> {
            fn clone(&self) -> Self {
                match self { $(Self::$variant(options) => Self::$variant(options.clone()),)+ }
            }
        }

        impl<K: $crate::StateKey> ::std::fmt::Debug for $options<K> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self { $(
                    Self::$variant(options) => f.debug_tuple(::std::stringify!($variant)).field(options).finish(),
                )+ }
            }
        }

        /// View of a state of the chosen backend.
        $vis enum $view<$($variant),+> {
            $($(#[$variant_meta])* $variant($variant),)+
        }

        impl<StateV: $crate::StateValue, $($variant: $crate::ValueState<StateV>),+>
            $crate::ValueState<StateV> for $view<$($variant),+>
        {
            #[inline]
            fn with<R>(&mut self, f: impl FnOnce(Option<&StateV>) -> R) -> $crate::Result<R> {
                match self { $(Self::$variant(view) => view.with(f),)+ }
            }
            #[inline]
            fn set(&mut self, value: StateV) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.set(value),)+ }
            }
            #[inline]
            fn try_update<R, E: From<$crate::Error>>(
                &mut self,
                f: impl FnOnce(&mut Option<StateV>) -> ::std::result::Result<R, E>,
            ) -> ::std::result::Result<R, E> {
                match self { $(Self::$variant(view) => view.try_update(f),)+ }
            }
            #[inline]
            fn clear(&mut self) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.clear(),)+ }
            }
        }

        impl<StateT: $crate::StateValue, StateN: $crate::StateKey, $($variant: $crate::ListState<StateT, StateN>),+>
            $crate::ListState<StateT, StateN> for $view<$($variant),+>
        {
            #[inline]
            fn add(&mut self, element: StateT) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.add(element),)+ }
            }
            fn add_all(&mut self, elements: impl IntoIterator<Item = StateT>) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.add_all(elements),)+ }
            }
            fn set(&mut self, elements: impl IntoIterator<Item = StateT>) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.set(elements),)+ }
            }
            fn iter(
                &mut self,
            ) -> $crate::Result<impl Iterator<Item = $crate::Result<::std::borrow::Cow<'_, StateT>>>> {
                type Elements<'a, T> = dyn Iterator<Item = $crate::Result<::std::borrow::Cow<'a, T>>> + 'a;
                Ok(match self { $(Self::$variant(view) => {
                    let elements: ::std::boxed::Box<Elements<'_, StateT>> = ::std::boxed::Box::new(view.iter()?);
                    elements
                })+ })
            }
            fn merge_from(&mut self, sources: &[StateN]) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.merge_from(sources),)+ }
            }
            fn clear(&mut self) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.clear(),)+ }
            }
        }

        impl<MK: $crate::StateKey, MV: $crate::StateValue, $($variant: $crate::MapState<MK, MV>),+>
            $crate::MapState<MK, MV> for $view<$($variant),+>
        {
            #[inline]
            fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> $crate::Result<R> {
                match self { $(Self::$variant(view) => view.with(key, f),)+ }
            }
            #[inline]
            fn put(&mut self, key: MK, value: MV) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.put(key, value),)+ }
            }
            fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.put_all(entries),)+ }
            }
            #[inline]
            fn remove(&mut self, key: &MK) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.remove(key),)+ }
            }
            #[inline]
            fn try_update<R, E: From<$crate::Error>>(
                &mut self,
                key: MK,
                f: impl FnOnce(&mut Option<MV>) -> ::std::result::Result<R, E>,
            ) -> ::std::result::Result<R, E> {
                match self { $(Self::$variant(view) => view.try_update(key, f),)+ }
            }
            fn range(
                &mut self,
                range: impl ::std::ops::RangeBounds<MK>,
            ) -> $crate::Result<
                impl Iterator<
                    Item = $crate::Result<(::std::borrow::Cow<'_, MK>, ::std::borrow::Cow<'_, MV>)>,
                >,
            > {
                type Entry<'a, MK, MV> = (::std::borrow::Cow<'a, MK>, ::std::borrow::Cow<'a, MV>);
                type Entries<'a, MK, MV> = dyn Iterator<Item = $crate::Result<Entry<'a, MK, MV>>> + 'a;
                let range = (range.start_bound().cloned(), range.end_bound().cloned());
                Ok(match self { $(Self::$variant(view) => {
                    let entries: ::std::boxed::Box<Entries<'_, MK, MV>> = ::std::boxed::Box::new(view.range(range)?);
                    entries
                })+ })
            }
            fn clear(&mut self) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.clear(),)+ }
            }
        }

        impl<StateT: $crate::StateValue, StateN: $crate::StateKey, $($variant: $crate::ReducingState<StateT, StateN>),+>
            $crate::ReducingState<StateT, StateN> for $view<$($variant),+>
        {
            #[inline]
            fn with<R>(&mut self, f: impl FnOnce(Option<&StateT>) -> R) -> $crate::Result<R> {
                match self { $(Self::$variant(view) => view.with(f),)+ }
            }
            #[inline]
            fn add(&mut self, value: StateT) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.add(value),)+ }
            }
            fn merge_from(&mut self, sources: &[StateN]) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.merge_from(sources),)+ }
            }
            fn clear(&mut self) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.clear(),)+ }
            }
        }

        impl<StateA: $crate::Aggregate, StateN: $crate::StateKey, $($variant: $crate::AggregatingState<StateA, StateN>),+>
            $crate::AggregatingState<StateA, StateN> for $view<$($variant),+>
        {
            #[inline]
            fn add(&mut self, input: StateA::Input) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.add(input),)+ }
            }
            #[inline]
            fn get(&mut self) -> $crate::Result<Option<StateA::Output>> {
                match self { $(Self::$variant(view) => view.get(),)+ }
            }
            fn merge_from(&mut self, sources: &[StateN]) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.merge_from(sources),)+ }
            }
            fn clear(&mut self) -> $crate::Result<()> {
                match self { $(Self::$variant(view) => view.clear(),)+ }
            }
        }

        impl<K: $crate::StateKey> $crate::StateBackend for $name<K> {
            type Key = K;
            type Options = $options<K>;
            type Value<'a, StateV: $crate::StateValue, StateN: $crate::StateKey> =
                $view<$(<$backend as $crate::StateBackend>::Value<'a, StateV, StateN>),+>;
            type List<'a, StateT: $crate::StateValue, StateN: $crate::StateKey> =
                $view<$(<$backend as $crate::StateBackend>::List<'a, StateT, StateN>),+>;
            type Map<'a, MK: $crate::StateKey, MV: $crate::StateValue, StateN: $crate::StateKey> =
                $view<$(<$backend as $crate::StateBackend>::Map<'a, MK, MV, StateN>),+>;
            type Reducing<'a, StateT: $crate::StateValue, StateN: $crate::StateKey> =
                $view<$(<$backend as $crate::StateBackend>::Reducing<'a, StateT, StateN>),+>;
            type Aggregating<'a, StateA: $crate::Aggregate, StateN: $crate::StateKey> =
                $view<$(<$backend as $crate::StateBackend>::Aggregating<'a, StateA, StateN>),+>;

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
            #[inline]
            fn subtask(&self) -> &$crate::Subtask<K> {
                match self { $(Self::$variant(backend) => backend.subtask(),)+ }
            }
            $crate::any_backend! { @register $($variant)+ =>
                register_value<V: StateValue>(ValueDescriptor<V>) -> ValueToken<V>;
                register_list<T: StateValue>(ListDescriptor<T>) -> ListToken<T>;
                register_map<MK: StateKey, MV: StateValue>(MapDescriptor<MK, MV>) -> MapToken<MK, MV>;
                register_reducing<T: StateValue>(ReducingDescriptor<T>) -> ReducingToken<T>;
                register_aggregating<A: Aggregate>(AggregatingDescriptor<A>) -> AggregatingToken<A>;
            }
            $crate::any_backend! { @access $view $($variant)+ =>
                value<V: StateValue>(ValueToken<V>) -> Value;
                list<T: StateValue>(ListToken<T>) -> List;
                map<MK: StateKey, MV: StateValue>(MapToken<MK, MV>) -> Map;
                reducing<T: StateValue>(ReducingToken<T>) -> Reducing;
                aggregating<A: Aggregate>(AggregatingToken<A>) -> Aggregating;
            }
            fn keys<N: $crate::StateKey>(&mut self, state: &str, namespace: &N) -> $crate::Result<$crate::Keys<'_, K>> {
                match self { $(Self::$variant(backend) => backend.keys(state, namespace),)+ }
            }
            fn keys_and_namespaces<N: $crate::StateKey>(
                &mut self,
                state: &str,
            ) -> $crate::Result<$crate::Keys<'_, (K, N)>> {
                match self { $(Self::$variant(backend) => backend.keys_and_namespaces(state),)+ }
            }
            fn states(&self) -> ::std::vec::Vec<$crate::StateInfo> {
                match self { $(Self::$variant(backend) => backend.states(),)+ }
            }
            fn snapshot(&mut self, request: $crate::SnapshotRequest) -> $crate::Result<$crate::SnapshotTask> {
                match self { $(Self::$variant(backend) => backend.snapshot(request),)+ }
            }
            fn notify_complete(&mut self, checkpoint_id: u64) -> $crate::Result<()> {
                match self { $(Self::$variant(backend) => backend.notify_complete(checkpoint_id),)+ }
            }
            fn notify_aborted(&mut self, checkpoint_id: u64) -> $crate::Result<()> {
                match self { $(Self::$variant(backend) => backend.notify_aborted(checkpoint_id),)+ }
            }
            fn close(&mut self) -> $crate::Result<()> {
                match self { $(Self::$variant(backend) => backend.close(),)+ }
            }
            #[inline]
            fn prefetch<T: $crate::StateToken>(
                &self,
                token: T,
                key: $crate::KeyContext<'_, K>,
                namespace: &T::Namespace,
            ) {
                match self { $(Self::$variant(backend) => backend.prefetch(token, key, namespace),)+ }
            }
            fn prefetch_batch<T: $crate::StateToken>(
                &self,
                token: T,
                keys: &[$crate::KeyContext<'_, K>],
                namespace: &T::Namespace,
            ) {
                match self { $(Self::$variant(backend) => backend.prefetch_batch(token, keys, namespace),)+ }
            }
            fn get_batch<V: $crate::StateValue, N: $crate::StateKey>(
                &mut self,
                token: $crate::ValueToken<V, N>,
                keys: &[$crate::KeyContext<'_, K>],
                namespace: &N,
                f: impl FnMut(usize, Option<&V>),
            ) -> $crate::Result<()> {
                match self { $(Self::$variant(backend) => backend.get_batch(token, keys, namespace, f),)+ }
            }
            fn update_batch<V: $crate::StateValue, N: $crate::StateKey>(
                &mut self,
                token: $crate::ValueToken<V, N>,
                keys: &[$crate::KeyContext<'_, K>],
                namespace: &N,
                f: impl FnMut(usize, &mut Option<V>),
            ) -> $crate::Result<()> {
                match self { $(Self::$variant(backend) => backend.update_batch(token, keys, namespace, f),)+ }
            }
        }
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
            match self { $(Self::$variant(backend) => backend.$method(descriptor),)+ }
        }
        $crate::any_backend! { @register $($variant)+ => $($rest)* }
    };
    (@access $view:ident $($variant:ident)+ => ) => {};
    (
        @access $view:ident $($variant:ident)+ =>
        $method:ident<$($p:ident: $bound:ident),+>($token:ident<$($t:ident),+>) -> $out:ident;
        $($rest:tt)*
    ) => {
        #[inline]
        fn $method<'a, $($p: $crate::$bound,)+ N: $crate::StateKey>(
            &'a mut self,
            token: $crate::$token<$($t,)+ N>,
            key: $crate::KeyContext<'a, K>,
            namespace: &'a N,
        ) -> $crate::Result<Self::$out<'a, $($t,)+ N>> {
            Ok(match self {
                $(Self::$variant(backend) => $view::$variant(backend.$method(token, key, namespace)?),)+
            })
        }
        $crate::any_backend! { @access $view $($variant)+ => $($rest)* }
    };
}
