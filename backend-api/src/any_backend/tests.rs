//! Every method of a chosen backend reaches the backend itself.
//!
//! `Noted` has every method of the traits and notes its name. The lint on this module finds a method that `Noted` or the
//! macro leaves to its default, and the test below one that is forwarded to another method.
#![deny(clippy::missing_trait_methods)]

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeBounds;

use crate::*;

thread_local! {
    static NOTES: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn note(name: &'static str) {
    NOTES.with_borrow_mut(|notes| notes.push(name));
}

/// A view of any kind of state; there is never anything in it.
struct View;

impl<V: StateValue> ValueState<V> for View {
    fn with<R>(&mut self, f: impl FnOnce(Option<&V>) -> R) -> Result<R> {
        note("value.with");
        Ok(f(None))
    }
    fn set(&mut self, _: V) -> Result<()> {
        note("value.set");
        Ok(())
    }
    fn try_update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> Result<R, BoxError>) -> Result<R> {
        note("value.try_update");
        f(&mut None).map_err(update_failed)
    }
    fn clear(&mut self) -> Result<()> {
        note("value.clear");
        Ok(())
    }
    fn get(&mut self) -> Result<Option<V>> {
        note("value.get");
        Ok(None)
    }
    fn update<R>(&mut self, f: impl FnOnce(&mut Option<V>) -> R) -> Result<R> {
        note("value.update");
        Ok(f(&mut None))
    }
}

impl<T: StateValue, N> ListState<T, N> for View {
    fn add(&mut self, _: T) -> Result<()> {
        note("list.add");
        Ok(())
    }
    fn add_all(&mut self, _: impl IntoIterator<Item = T>) -> Result<()> {
        note("list.add_all");
        Ok(())
    }
    fn set(&mut self, _: impl IntoIterator<Item = T>) -> Result<()> {
        note("list.set");
        Ok(())
    }
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, T>>>> {
        note("list.iter");
        Ok(std::iter::empty())
    }
    fn merge_from(&mut self, _: &[N]) -> Result<()> {
        note("list.merge_from");
        Ok(())
    }
    fn get_merged(&mut self, _: &[N]) -> Result<Vec<T>> {
        note("list.get_merged");
        Ok(Vec::new())
    }
    fn clear(&mut self) -> Result<()> {
        note("list.clear");
        Ok(())
    }
    fn is_empty(&mut self) -> Result<bool> {
        note("list.is_empty");
        Ok(true)
    }
    fn get(&mut self) -> Result<Vec<T>> {
        note("list.get");
        Ok(Vec::new())
    }
}

type Entry<'a, MK, MV> = (Cow<'a, MK>, Cow<'a, MV>);

impl<MK: StateKey, MV: StateValue> MapState<MK, MV> for View {
    fn with<R>(&mut self, _: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        note("map.with");
        Ok(f(None))
    }
    fn put(&mut self, _: MK, _: MV) -> Result<()> {
        note("map.put");
        Ok(())
    }
    fn put_all(&mut self, _: impl IntoIterator<Item = (MK, MV)>) -> Result<()> {
        note("map.put_all");
        Ok(())
    }
    fn remove(&mut self, _: &MK) -> Result<()> {
        note("map.remove");
        Ok(())
    }
    fn try_update<R>(&mut self, _: MK, f: impl FnOnce(&mut Option<MV>) -> Result<R, BoxError>) -> Result<R> {
        note("map.try_update");
        f(&mut None).map_err(update_failed)
    }
    fn range(&mut self, _: impl RangeBounds<MK>) -> Result<impl Iterator<Item = Result<Entry<'_, MK, MV>>>> {
        note("map.range");
        Ok(std::iter::empty())
    }
    fn clear(&mut self) -> Result<()> {
        note("map.clear");
        Ok(())
    }
    fn get(&mut self, _: &MK) -> Result<Option<MV>> {
        note("map.get");
        Ok(None)
    }
    fn contains(&mut self, _: &MK) -> Result<bool> {
        note("map.contains");
        Ok(false)
    }
    fn update<R>(&mut self, _: MK, f: impl FnOnce(&mut Option<MV>) -> R) -> Result<R> {
        note("map.update");
        Ok(f(&mut None))
    }
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Entry<'_, MK, MV>>>> {
        note("map.iter");
        Ok(std::iter::empty())
    }
    fn keys(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, MK>>>> {
        note("map.keys");
        Ok(std::iter::empty())
    }
    fn values(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, MV>>>> {
        note("map.values");
        Ok(std::iter::empty())
    }
    fn range_into(&mut self, _: impl RangeBounds<MK>, _: usize, _: &mut Vec<(MK, MV)>) -> Result<()> {
        note("map.range_into");
        Ok(())
    }
    fn len(&mut self) -> Result<u64> {
        note("map.len");
        Ok(0)
    }
    fn is_empty(&mut self) -> Result<bool> {
        note("map.is_empty");
        Ok(true)
    }
    fn cursor(&mut self) -> MapCursor<'_, Self, MK, MV> {
        MapCursor::new(self)
    }
}

impl<T: StateValue, N> ReducingState<T, N> for View {
    fn with<R>(&mut self, f: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        note("reducing.with");
        Ok(f(None))
    }
    fn add(&mut self, _: T) -> Result<()> {
        note("reducing.add");
        Ok(())
    }
    fn merge_from(&mut self, _: &[N]) -> Result<()> {
        note("reducing.merge_from");
        Ok(())
    }
    fn get_merged(&mut self, _: &[N]) -> Result<Option<T>> {
        note("reducing.get_merged");
        Ok(None)
    }
    fn clear(&mut self) -> Result<()> {
        note("reducing.clear");
        Ok(())
    }
    fn get(&mut self) -> Result<Option<T>> {
        note("reducing.get");
        Ok(None)
    }
}

impl<A: Aggregate, N> AggregatingState<A, N> for View {
    fn add(&mut self, _: A::Input) -> Result<()> {
        note("aggregating.add");
        Ok(())
    }
    fn get(&mut self) -> Result<Option<A::Output>> {
        note("aggregating.get");
        Ok(None)
    }
    fn merge_from(&mut self, _: &[N]) -> Result<()> {
        note("aggregating.merge_from");
        Ok(())
    }
    fn get_merged(&mut self, _: &[N]) -> Result<Option<A::Output>> {
        note("aggregating.get_merged");
        Ok(None)
    }
    fn clear(&mut self) -> Result<()> {
        note("aggregating.clear");
        Ok(())
    }
}

impl<K: StateKey, N: StateKey> TimerState<K, N> for View {
    fn add(&mut self, _: KeyContext<'_, K>, _: &N, _: i64) -> Result<bool> {
        note("timers.add");
        Ok(false)
    }
    fn remove(&mut self, _: KeyContext<'_, K>, _: &N, _: i64) -> Result<bool> {
        note("timers.remove");
        Ok(false)
    }
    fn peek(&mut self) -> Result<Option<Timer<K, N>>> {
        note("timers.peek");
        Ok(None)
    }
    fn next_due(&mut self, _: i64) -> Result<Option<Timer<K, N>>> {
        note("timers.next_due");
        Ok(None)
    }
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        note("timers.iter");
        Ok(std::iter::empty())
    }
    fn in_key_group(&mut self, _: u16) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        note("timers.in_key_group");
        Ok(std::iter::empty())
    }
    fn of_key(&mut self, _: KeyContext<'_, K>) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        note("timers.of_key");
        Ok(std::iter::empty())
    }
    fn len(&mut self) -> Result<u64> {
        note("timers.len");
        Ok(0)
    }
    fn is_empty(&mut self) -> Result<bool> {
        note("timers.is_empty");
        Ok(true)
    }
    fn poll(&mut self) -> Result<Option<Timer<K, N>>> {
        note("timers.poll");
        Ok(None)
    }
    fn advance(&mut self, _: i64) -> impl Iterator<Item = Result<Timer<K, N>>> {
        note("timers.advance");
        std::iter::empty()
    }
}

/// A backend that keeps nothing.
struct Noted<K: StateKey>(Lifecycle<K>);

macro_rules! register {
    ($($name:literal $method:ident<$($p:ident: $bound:ident),+>($descriptor:ident<$d:tt>) -> $token:ident;)+) => {$(
        register!(@ $name $method [$($p: $bound),+] [$($p),+] $descriptor $token);
    )+};
    (@ $name:literal $method:ident [$($p:ident: $bound:ident),+] $all:tt $descriptor:ident $token:ident) => {
        fn $method<$($p: $bound,)+ N: StateKey>(&mut self, _: $descriptor<$($p,)+ N>) -> Result<$token<$($p,)+ N>> {
            note($name);
            Ok($token::new(self.0.id(), 0))
        }
    };
}

macro_rules! open {
    ($($name:literal $method:ident $at:ident<$($p:ident: $bound:ident),+>($token:ident) -> $view:ident;)+) => {$(
        fn $at<'a, $($p: $bound,)+ N: StateKey>(&'a mut self, _: Place<'a, K, $token<$($p,)+ N>>) -> Result<View> {
            note($name);
            Ok(View)
        }
        fn $method<'a, $($p: $bound,)+ N: StateKey>(
            &'a mut self,
            token: $token<$($p,)+ N>,
            key: KeyContext<'a, K>,
            namespace: &'a N,
        ) -> Result<ttl::$view<'a, Self, $($p,)+ N>> {
            ttl::$method(self, token, key, namespace)
        }
    )+};
}

impl<K: StateKey> StateBackend for Noted<K> {
    type Key = K;
    type Options = ();
    type Value<'a, V: StateValue, N: StateKey> = View;
    type List<'a, T: StateValue, N: StateKey> = View;
    type Map<'a, MK: StateKey, MV: StateValue, N: StateKey> = View;
    type Reducing<'a, T: StateValue, N: StateKey> = View;
    type Aggregating<'a, A: Aggregate, N: StateKey> = View;
    type Timers<'a, N: StateKey> = View;

    fn open(_: &(), subtask: Subtask<K>, restore: &[KeyedStateHandle]) -> Result<Self> {
        note("open");
        Ok(Self(Lifecycle::new(subtask, restore)))
    }
    fn checkpoint_target(_: &()) -> Result<CheckpointTarget> {
        note("checkpoint_target");
        CheckpointTarget::memory(1)
    }
    fn lifecycle(&self) -> &Lifecycle<K> {
        &self.0
    }
    fn lifecycle_mut(&mut self) -> &mut Lifecycle<K> {
        &mut self.0
    }
    fn advance_to(&mut self, _: i64) -> Result<()> {
        note("advance_to");
        Ok(())
    }
    fn remove_expired<T: StateToken>(&mut self, _: T, _: u32) -> Result<()> {
        note("remove_expired");
        Ok(())
    }
    register! {
        "register_value" register_value<V: StateValue>(ValueDescriptor<V>) -> ValueToken;
        "register_list" register_list<T: StateValue>(ListDescriptor<T>) -> ListToken;
        "register_map" register_map<MK: StateKey, MV: StateValue>(MapDescriptor<MK>) -> MapToken;
        "register_reducing" register_reducing<T: StateValue>(ReducingDescriptor<T>) -> ReducingToken;
        "register_aggregating" register_aggregating<A: Aggregate>(AggregatingDescriptor<A>) -> AggregatingToken;
    }
    open! {
        "value_at" value value_at<V: StateValue>(ValueToken) -> ValueView;
        "list_at" list list_at<T: StateValue>(ListToken) -> ListView;
        "map_at" map map_at<MK: StateKey, MV: StateValue>(MapToken) -> MapView;
        "reducing_at" reducing reducing_at<T: StateValue>(ReducingToken) -> ReducingView;
        "aggregating_at" aggregating aggregating_at<A: Aggregate>(AggregatingToken) -> AggregatingView;
    }
    fn register_timers<N: StateKey>(&mut self, _: TimerDescriptor<N>) -> Result<TimerToken<N>> {
        note("register_timers");
        Ok(TimerToken::new(self.0.id(), 0))
    }
    fn timers<N: StateKey>(&mut self, _: TimerToken<N>) -> Result<View> {
        note("timers");
        Ok(View)
    }
    fn next_due<N: StateKey>(&mut self, _: TimerToken<N>, _: i64) -> Result<Option<Timer<K, N>>> {
        note("next_due");
        Ok(None)
    }
    fn keys<T: StateToken>(&mut self, _: T, _: &T::Namespace) -> Result<Keys<'_, K>> {
        note("keys");
        Ok(Box::new(std::iter::empty()))
    }
    fn keys_and_namespaces<T: StateToken>(&mut self, _: T) -> Result<Keys<'_, (K, T::Namespace)>> {
        note("keys_and_namespaces");
        Ok(Box::new(std::iter::empty()))
    }
    fn drop_restored(&mut self, _: &str) -> Result<()> {
        note("drop_restored");
        Ok(())
    }
    fn check_restored(&self) -> Result<()> {
        note("check_restored");
        Ok(())
    }
    fn states(&self) -> Vec<StateInfo> {
        note("states");
        Vec::new()
    }
    fn snapshot(&mut self, request: SnapshotRequest) -> Result<SnapshotTask> {
        note("snapshot");
        Ok(self.0.task(request.checkpoint_id(), |_, _| Ok(None)))
    }
    fn notify_complete(&mut self, _: u64) -> Result<()> {
        note("notify_complete");
        Ok(())
    }
    fn notify_aborted(&mut self, _: u64) -> Result<()> {
        note("notify_aborted");
        Ok(())
    }
    fn close(&mut self) -> Result<()> {
        note("close");
        Ok(())
    }
    fn prefetch<T: StateToken>(&self, _: T, _: KeyContext<'_, K>, _: &T::Namespace) {
        note("prefetch");
    }
    fn prefetch_batch<T: StateToken>(&self, _: T, _: &[KeyContext<'_, K>], _: &T::Namespace) {
        note("prefetch_batch");
    }
    fn register<D: StateDescriptor>(&mut self, descriptor: D) -> Result<D::Token> {
        note("register");
        descriptor.register_in(self)
    }
    fn subtask(&self) -> &Subtask<K> {
        self.0.subtask()
    }
    fn key<'k, Q: LookupKey<K> + ?Sized>(&self, key: &'k Q) -> Result<KeyContext<'k, K>> {
        self.0.subtask().key(key)
    }
    fn get_batch<V: StateValue, N: StateKey>(
        &mut self,
        _: ValueToken<V, N>,
        _: &[KeyContext<'_, K>],
        _: &N,
        _: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        note("get_batch");
        Ok(())
    }
    fn update_batch<V: StateValue, N: StateKey>(
        &mut self,
        _: ValueToken<V, N>,
        _: &[KeyContext<'_, K>],
        _: &N,
        _: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        note("update_batch");
        Ok(())
    }
    fn get_values<V: StateValue, N: StateKey>(
        &mut self,
        _: ValueToken<V, N>,
        _: &[KeyContext<'_, K>],
        _: &N,
        _: impl FnMut(usize, Option<&V>),
    ) -> Result<()> {
        note("get_values");
        Ok(())
    }
    fn update_values<V: StateValue, N: StateKey>(
        &mut self,
        _: ValueToken<V, N>,
        _: &[KeyContext<'_, K>],
        _: &N,
        _: impl FnMut(usize, &mut Option<V>),
    ) -> Result<()> {
        note("update_values");
        Ok(())
    }
    fn for_each_key<T: StateToken>(
        &mut self,
        _: T,
        _: &T::Namespace,
        _: impl FnMut(&mut Self, KeyContext<'_, K>) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }
    fn for_each_entry<MK: StateKey, MV: StateValue, N: StateKey>(
        &mut self,
        _: MapToken<MK, MV, N>,
        _: KeyContext<'_, K>,
        _: &N,
        _: impl RangeBounds<MK>,
        _: impl FnMut(&mut Self, MK, MV) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }
}

any_backend! {
    enum Chosen: ChosenOptions {
        Noted(Noted),
        Other(Noted),
    }
}

struct Last;

impl Aggregate for Last {
    type Input = u64;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }
    fn add(&self, last: &mut u64, input: u64) -> Result<(), BoxError> {
        *last = input;
        Ok(())
    }
    fn result(&self, last: &u64) -> u64 {
        *last
    }
    fn merge(&self, into: &mut u64, other: &u64) -> Result<(), BoxError> {
        self.add(into, *other)
    }
}

#[test]
fn every_method_is_forwarded_to_itself() {
    let subtask = Subtask::single("op", KeySpace::<u64>::new(10).unwrap()).unwrap();
    let mut backend = Chosen::open(&ChosenOptions::Noted(()), subtask, &[]).unwrap();
    let value = backend.register_value(ValueDescriptor::<u64>::new("v")).unwrap();
    let list = backend.register_list(ListDescriptor::<u64>::new("l")).unwrap();
    let map = backend.register_map(MapDescriptor::<u64, u64>::new("m")).unwrap();
    let reducing = backend.register_reducing(ReducingDescriptor::new("r", |a: &u64, b| a + b)).unwrap();
    let aggregating = backend.register_aggregating(AggregatingDescriptor::new("a", Last)).unwrap();
    let timers = backend.register_timers(TimerDescriptor::event_time("t")).unwrap();
    let mut seen: BTreeSet<&str> = NOTES.take().into_iter().collect();

    /// Calls a method, and expects that its name is the last one noted, and the only one of a view.
    macro_rules! expect {
        ($($name:literal: $call:expr;)+) => {$({
            let key = backend.key(&1).unwrap();
            NOTES.take();
            _ = $call;
            let notes = NOTES.take();
            assert_eq!(notes.last(), Some(&$name), "{notes:?}");
            assert!(notes.iter().filter(|note| note.contains('.')).count() < 2, "{notes:?}");
            seen.extend(notes);
            _ = key;
        })+};
        ($opened:ident($token:ident): $($name:literal: |$view:ident| $call:expr;)+) => {
            expect! { $($name: {
                let key = KeySpace::<u64>::new(10).unwrap();
                let key = key.key(&1).unwrap();
                let $view = &mut backend.$opened($token, key, &()).unwrap();
                $call.map(drop).unwrap();
            };)+ }
        };
    }
    let update = |value: &mut Option<u64>| Ok(value.is_some());
    expect! { value(value):
        "value.with": |view| view.with(|_| ());
        "value.set": |view| view.set(1);
        "value.try_update": |view| view.try_update(update);
        "value.update": |view| view.update(|_| ());
        "value.clear": |view| view.clear();
        "value.get": |view| view.get();
    }
    expect! { list(list):
        "list.add": |view| view.add(1);
        "list.add_all": |view| view.add_all([1]);
        "list.set": |view| view.set([1]);
        "list.iter": |view| view.iter();
        "list.merge_from": |view| view.merge_from(&[]);
        "list.get_merged": |view| view.get_merged(&[]);
        "list.clear": |view| view.clear();
        "list.is_empty": |view| view.is_empty();
        "list.get": |view| view.get();
    }
    expect! { map(map):
        "map.with": |view| view.with(&1, |_| ());
        "map.put": |view| view.put(1, 1);
        "map.put_all": |view| view.put_all([]);
        "map.remove": |view| view.remove(&1);
        "map.try_update": |view| view.try_update(1, update);
        "map.update": |view| view.update(1, |_| ());
        "map.range": |view| view.range(..);
        "map.clear": |view| view.clear();
        "map.get": |view| view.get(&1);
        "map.contains": |view| view.contains(&1);
        "map.iter": |view| view.iter();
        "map.keys": |view| view.keys();
        "map.values": |view| view.values();
        "map.range_into": |view| view.range_into(.., 1, &mut Vec::new());
        "map.len": |view| view.len();
        "map.is_empty": |view| view.is_empty();
    }
    expect! { reducing(reducing):
        "reducing.with": |view| view.with(|_| ());
        "reducing.add": |view| view.add(1);
        "reducing.merge_from": |view| view.merge_from(&[]);
        "reducing.get_merged": |view| view.get_merged(&[]);
        "reducing.clear": |view| view.clear();
        "reducing.get": |view| view.get();
    }
    expect! { aggregating(aggregating):
        "aggregating.add": |view| view.add(1);
        "aggregating.merge_from": |view| view.merge_from(&[]);
        "aggregating.get_merged": |view| view.get_merged(&[]);
        "aggregating.clear": |view| view.clear();
        "aggregating.get": |view| view.get();
    }
    // `View` is a view of timers of all types.
    fn typed(view: impl TimerState<u64, ()>) -> impl TimerState<u64, ()> {
        view
    }
    macro_rules! expect_timers {
        ($($name:literal: |$view:ident, $key:ident| $call:expr;)+) => {
            expect! { $($name: {
                let key = KeySpace::<u64>::new(10).unwrap();
                let $key = key.key(&1).unwrap();
                let mut view = typed(backend.timers(timers).unwrap());
                let $view = &mut view;
                _ = $call;
            };)+ }
        };
    }
    expect_timers! {
        "timers.add": |view, key| view.add(key, &(), 1);
        "timers.remove": |view, key| view.remove(key, &(), 1);
        "timers.peek": |view, _key| view.peek();
        "timers.next_due": |view, _key| view.next_due(1);
        "timers.poll": |view, _key| view.poll();
        "timers.iter": |view, _key| view.iter().map(drop);
        "timers.in_key_group": |view, _key| view.in_key_group(1).map(drop);
        "timers.of_key": |view, key| view.of_key(key).map(drop);
        "timers.len": |view, _key| view.len();
        "timers.is_empty": |view, _key| view.is_empty();
        "timers.advance": |view, _key| drop(view.advance(1));
    }
    expect! {
        "register_value": backend.register(ValueDescriptor::<u64>::new("v"));
        "next_due": backend.next_due(timers, 1);
        "keys": backend.keys(value, &()).map(drop);
        "keys_and_namespaces": backend.keys_and_namespaces(value).map(drop);
        "drop_restored": backend.drop_restored("v");
        "check_restored": backend.check_restored();
        "states": backend.states();
        "snapshot": backend.snapshot(SnapshotRequest::new(1));
        "notify_complete": backend.notify_complete(1);
        "notify_aborted": backend.notify_aborted(1);
        "get_batch": backend.get_batch(value, &[], &(), |_, _| ());
        "get_values": backend.get_values(value, &[], &(), |_, _| ());
        "update_values": backend.update_values(value, &[], &(), |_, _| ());
        "advance_to": backend.advance_to(1);
        "remove_expired": backend.remove_expired(value, 1);
        "update_batch": backend.update_batch(value, &[], &(), |_, _| ());
        "prefetch_batch": backend.prefetch_batch(value, &[], &());
        "checkpoint_target": Chosen::<u64>::checkpoint_target(&ChosenOptions::Noted(()));
        "close": backend.close();
    }
    let key = backend.key(&1).unwrap();
    NOTES.take();
    backend.prefetch(value, key, &());
    seen.extend(NOTES.take());

    // What is noted anywhere in this file was seen.
    let noted = include_str!("tests.rs").split("note(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let noted: BTreeSet<&str> = noted.filter(|name| !name.starts_with(").")).collect();
    assert_eq!(noted.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new());
    for name in [
        "value_at",
        "list_at",
        "map_at",
        "reducing_at",
        "aggregating_at",
        "register",
        "register_map",
        "prefetch",
    ] {
        assert!(seen.contains(name), "{name}");
    }
}

#[test]
fn a_list_or_map_is_usable_after_an_iterator() {
    let subtask = Subtask::single("op", KeySpace::<u64>::new(10).unwrap()).unwrap();
    let mut backend = Chosen::open(&ChosenOptions::Noted(()), subtask, &[]).unwrap();
    let list = backend.register(ListDescriptor::<u64>::new("l")).unwrap();
    let key = backend.key(&1).unwrap();
    let mut view = backend.list(list, key, &()).unwrap();
    assert_eq!(view.iter().unwrap().count(), 0);
    NOTES.take();
    view.add(1).unwrap();
    assert_eq!(view.iter().unwrap().count(), 0);
    assert!(view.is_empty().unwrap());
    // The view is not opened again.
    assert_eq!(NOTES.take(), ["list.add", "list.iter", "list.is_empty"]);
}

#[test]
fn a_foreign_token_or_key_is_refused_when_the_view_is_made() {
    let keys = KeySpace::<u64>::new(10).unwrap();
    let half = Subtask::new("op", keys.clone(), 2, 0).unwrap();
    let mut backend = Chosen::open(&ChosenOptions::Other(()), half, &[]).unwrap();
    let token = backend.register(ValueDescriptor::<u64>::new("v")).unwrap();
    let key = (0..).find(|key| keys.key(key).unwrap().group() > 4).unwrap();
    NOTES.take();
    let refused = backend.value(token, keys.key(&key).unwrap(), &()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::KeyOutOfRange);
    let foreign = ValueToken::<u64>::new(BackendId::fresh(), 0);
    let own = (0..).find(|key| keys.key(key).unwrap().group() < 5).unwrap();
    let refused = backend.value(foreign, keys.key(&own).unwrap(), &()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ForeignToken);
    // The backend was not asked.
    assert_eq!(NOTES.take(), [""; 0]);
}
