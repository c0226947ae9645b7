//! The views of the five kinds.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, BoxError, ErrorKind, Keys, ListDescriptor, ListState,
    MapDescriptor, MapState, PlainCodec, ReducingDescriptor, ReducingState, Result, StateBackend, StateKind,
    ValueDescriptor, ValueState,
};

use crate::support::{NoThirteen, context, in_memory, key, open};

#[test]
fn a_value_is_written_read_updated_and_cleared() {
    let mut backend = open(&in_memory(), &[]);
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    let (a, b) = (key("a"), key("b"));
    assert_eq!(backend.value(count, context(&a), &()).unwrap().get().unwrap(), None);
    backend.value(count, context(&a), &()).unwrap().set(7).unwrap();
    let seen = backend.value(count, context(&a), &()).unwrap().update(|n| {
        let seen = *n;
        *n = seen.map(|n| n + 1);
        seen
    });
    assert_eq!(seen.unwrap(), Some(7));
    assert_eq!(backend.value(count, context(&a), &()).unwrap().with(|n| n.copied()).unwrap(), Some(8));
    assert_eq!(backend.value(count, context(&b), &()).unwrap().get().unwrap(), None);
    backend.value(count, context(&a), &()).unwrap().update(|n| *n = None).unwrap();
    assert_eq!(backend.value(count, context(&a), &()).unwrap().get().unwrap(), None);
    assert_eq!(backend.keys(count, &()).unwrap().count(), 0);
}

#[test]
fn reading_a_default_creates_nothing() {
    let mut backend = open(&in_memory(), &[]);
    let count = backend.register(ValueDescriptor::<u64>::new("count").default_value(42)).unwrap();
    let a = key("a");
    assert_eq!(backend.value(count, context(&a), &()).unwrap().get().unwrap(), Some(42));
    assert_eq!(backend.value(count, context(&a), &()).unwrap().with(|n| n.copied()).unwrap(), Some(42));
    assert_eq!(backend.keys(count, &()).unwrap().count(), 0);
    backend.value(count, context(&a), &()).unwrap().update(|n| assert_eq!(*n, Some(42))).unwrap();
    assert_eq!(backend.keys(count, &()).unwrap().count(), 1);
    backend.value(count, context(&a), &()).unwrap().clear().unwrap();
    assert_eq!(backend.keys(count, &()).unwrap().count(), 0);
}

#[test]
fn empty_values_are_present() {
    let mut backend = open(&in_memory(), &[]);
    let bytes = Arc::new(EmptyString);
    let text = backend.register(ValueDescriptor::<String>::with_codec("text", bytes)).unwrap();
    let a = key("a");
    backend.value(text, context(&a), &()).unwrap().set(String::new()).unwrap();
    assert_eq!(backend.value(text, context(&a), &()).unwrap().get().unwrap(), Some(String::new()));
}

/// The bytes of the string only, so an empty one has none.
struct EmptyString;

impl backend_api::Codec<String> for EmptyString {
    fn id(&self) -> String {
        "text".to_owned()
    }
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn decode(&self, input: &[u8]) -> Result<String> {
        Ok(String::from_utf8_lossy(input).into_owned())
    }
    fn heap_size(&self, _value: &String) -> usize {
        0
    }
}

#[test]
fn a_call_that_fails_or_panics_changes_nothing() {
    let mut backend = open(&in_memory(), &[]);
    let value = ValueDescriptor::<u64>::with_codec("value", Arc::new(NoThirteen));
    let value = backend.register(value).unwrap();
    let list = backend.register(ListDescriptor::<u64>::with_codec("list", Arc::new(NoThirteen))).unwrap();
    let map = MapDescriptor::<u64, u64>::with_codec("map", Arc::new(NoThirteen));
    let map = backend.register(map).unwrap();
    let a = key("a");
    let k = context(&a);
    backend.value(value, k, &()).unwrap().set(1).unwrap();
    backend.list(list, k, &()).unwrap().add(1).unwrap();
    backend.map(map, k, &()).unwrap().put(1, 1).unwrap();

    let error = backend.value(value, k, &()).unwrap().set(13).unwrap_err();
    assert_eq!(
        (error.kind(), error.state(), error.key_group()),
        (ErrorKind::Codec, Some("value"), Some(k.group()))
    );
    let failed = backend.value(value, k, &()).unwrap().try_update(|n| {
        *n = None;
        Err::<(), _>("no".into())
    });
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Function);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        backend.value(value, k, &()).unwrap().update(|n| {
            *n = None;
            panic!("no")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(backend.list(list, k, &()).unwrap().add_all([2, 13]).unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(backend.list(list, k, &()).unwrap().set([2, 13]).unwrap_err().kind(), ErrorKind::Codec);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        backend.list(list, k, &()).unwrap().set((2..).inspect(|n| assert!(*n < 5)))
    }));
    assert!(panicked.is_err());
    let all = backend.map(map, k, &()).unwrap().put_all([(1, 2), (2, 13)]);
    assert_eq!(all.unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(backend.map(map, k, &()).unwrap().put(1, 13).unwrap_err().kind(), ErrorKind::Codec);

    assert_eq!(backend.value(value, k, &()).unwrap().get().unwrap(), Some(1));
    assert_eq!(backend.list(list, k, &()).unwrap().get().unwrap(), [1]);
    let entries: Vec<_> =
        backend.map(map, k, &()).unwrap().iter().unwrap().map(|e| owned(e.unwrap())).collect();
    assert_eq!(entries, [(1, 1)]);
    // Later changes are not mixed with the failed one.
    let mut view = backend.list(list, k, &()).unwrap();
    view.add_all([2, 13]).unwrap_err();
    view.add(3).unwrap();
    assert_eq!(backend.list(list, k, &()).unwrap().get().unwrap(), [1, 3]);
}

fn owned((key, value): (std::borrow::Cow<'_, u64>, std::borrow::Cow<'_, u64>)) -> (u64, u64) {
    (key.into_owned(), value.into_owned())
}

#[test]
fn an_entry_above_the_limit_is_refused_and_the_old_one_stays() {
    let options = in_memory().with_entry_bytes_max(40).unwrap();
    let mut backend = open(&options, &[]);
    let text = backend.register(ValueDescriptor::<String>::new("text")).unwrap();
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<String, String>::new("map")).unwrap();
    let a = key("a");
    let k = context(&a);
    let long = "x".repeat(40);
    backend.value(text, k, &()).unwrap().set(key("old")).unwrap();
    backend.list(list, k, &()).unwrap().add(key("old")).unwrap();
    backend.map(map, k, &()).unwrap().put(key("k"), key("old")).unwrap();
    let error = backend.value(text, k, &()).unwrap().set(long.clone()).unwrap_err();
    assert_eq!(
        (error.kind(), error.state(), error.key_group()),
        (ErrorKind::Size, Some("text"), Some(k.group()))
    );
    // Head, key, its end, length and text.
    assert!(error.message().contains(&format!("{} bytes", 4 + 1 + 2 + 1 + 40)), "{error}");
    assert_eq!(backend.list(list, k, &()).unwrap().set([long.clone()]).unwrap_err().kind(), ErrorKind::Size);
    assert_eq!(
        backend.map(map, k, &()).unwrap().put(key("k"), long.clone()).unwrap_err().kind(),
        ErrorKind::Size
    );
    assert_eq!(backend.map(map, k, &()).unwrap().put(long, key("v")).unwrap_err().kind(), ErrorKind::Size);
    assert_eq!(backend.value(text, k, &()).unwrap().get().unwrap(), Some(key("old")));
    assert_eq!(backend.list(list, k, &()).unwrap().get().unwrap(), [key("old")]);
    assert_eq!(backend.map(map, k, &()).unwrap().get(&key("k")).unwrap(), Some(key("old")));
    // 32 bytes of text make exactly 40 bytes.
    backend.value(text, k, &()).unwrap().set("x".repeat(32)).unwrap();
    assert_eq!(backend.value(text, k, &()).unwrap().set("x".repeat(33)).unwrap_err().kind(), ErrorKind::Size);
    for bytes in [0, 1 << 31] {
        assert_eq!(in_memory().with_entry_bytes_max(bytes).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_list_keeps_insertion_order() {
    let mut backend = open(&in_memory(), &[]);
    let list = backend.register(ListDescriptor::<u64>::new("list")).unwrap();
    let (a, b) = (key("a"), key("b"));
    assert!(backend.list(list, context(&a), &()).unwrap().is_empty().unwrap());
    backend.list(list, context(&a), &()).unwrap().add_all([]).unwrap();
    assert_eq!(backend.keys(list, &()).unwrap().count(), 0);
    for n in 0..600 {
        backend.list(list, context(&a), &()).unwrap().add(n).unwrap();
        backend.list(list, context(&b), &()).unwrap().add(n * 2).unwrap();
    }
    assert_eq!(backend.list(list, context(&a), &()).unwrap().get().unwrap(), Vec::from_iter(0..600));
    assert_eq!(backend.list(list, context(&a), &()).unwrap().iter().unwrap().take(3).count(), 3);
    backend.list(list, context(&a), &()).unwrap().set([10, 16]).unwrap();
    backend.list(list, context(&a), &()).unwrap().add_all([17]).unwrap();
    assert_eq!(backend.list(list, context(&a), &()).unwrap().get().unwrap(), [10, 16, 17]);
    assert_eq!(backend.list(list, context(&b), &()).unwrap().get().unwrap().len(), 600);
    backend.list(list, context(&b), &()).unwrap().set([]).unwrap();
    assert!(backend.list(list, context(&b), &()).unwrap().is_empty().unwrap());
    backend.list(list, context(&a), &()).unwrap().clear().unwrap();
    assert_eq!(backend.keys(list, &()).unwrap().count(), 0);
}

#[test]
fn keys_with_a_common_prefix_are_distinct() {
    let mut backend = open(&in_memory(), &[]);
    let map = backend.register(MapDescriptor::<i64, String>::new("map")).unwrap();
    let list = backend.register(ListDescriptor::<u64, ()>::new("list").namespaced::<String>()).unwrap();
    // Keys of all groups. Some are a prefix of others in the same group.
    let keys: Vec<String> = (1..=4).flat_map(|n| ["1", "\0", "\u{1}"].map(|c| c.repeat(n))).collect();
    for key in &keys {
        backend.map(map, context(key), &()).unwrap().put(1, key.clone()).unwrap();
        for namespace in &keys {
            backend.list(list, context(key), namespace).unwrap().add(1).unwrap();
        }
    }
    let cleared = key("1");
    backend.map(map, context(&cleared), &()).unwrap().clear().unwrap();
    backend.list(list, context(&cleared), &cleared).unwrap().clear().unwrap();
    for key in &keys {
        let mut view = backend.map(map, context(key), &()).unwrap();
        let values = view.values().unwrap().map(|value| value.map(|value| value.into_owned()));
        let values = values.collect::<Result<Vec<_>>>().unwrap();
        let expected = Some(key.clone()).filter(|key| *key != cleared);
        assert_eq!(values, Vec::from_iter(expected));
        for namespace in &keys {
            let left = usize::from((key, namespace) != (&cleared, &cleared));
            assert_eq!(backend.list(list, context(key), namespace).unwrap().get().unwrap().len(), left);
        }
    }
}

#[test]
fn a_map_is_sorted_and_ranges_are_exact() {
    let mut backend = open(&in_memory(), &[]);
    let map = backend.register(MapDescriptor::<i64, u64>::new("map")).unwrap();
    let a = key("a");
    let mut view = backend.map(map, context(&a), &()).unwrap();
    assert!(view.is_empty().unwrap());
    view.put_all([(3, 30), (-1, 10), (i64::MAX, 99), (2, 20), (-1, 11)]).unwrap();
    let mut keys = |from: Bound<i64>, to: Bound<i64>| -> Vec<i64> {
        view.range((from, to)).unwrap().map(|entry| entry.unwrap().0.into_owned()).collect()
    };
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(keys(Unbounded, Unbounded), [-1, 2, 3, i64::MAX]);
    assert_eq!(keys(Included(-1), Excluded(3)), [-1, 2]);
    assert_eq!(keys(Excluded(-1), Included(3)), [2, 3]);
    assert_eq!(keys(Excluded(3), Unbounded), [i64::MAX]);
    assert_eq!(keys(Included(i64::MAX), Included(i64::MAX)), [i64::MAX]);
    assert!(keys(Included(3), Excluded(2)).is_empty());
    assert!(keys(Excluded(2), Excluded(2)).is_empty());
    assert_eq!(view.get(&-1).unwrap(), Some(11));
    assert!(view.contains(&2).unwrap() && !view.contains(&4).unwrap());
    view.remove(&4).unwrap();
    view.update(2, |value| *value = value.map(|n| n + 1)).unwrap();
    view.update(3, |value| *value = None).unwrap();
    view.update(5, |value| assert_eq!(*value, None)).unwrap();
    let mut cursor = view.cursor();
    let mut seen = Vec::new();
    while let Some(mut entry) = cursor.next().unwrap() {
        seen.push((*entry.key(), *entry.value()));
        if *entry.key() == -1 { entry.remove().unwrap() } else { entry.set(0).unwrap() }
    }
    assert_eq!(seen, [(-1, 11), (2, 21), (i64::MAX, 99)]);
    assert_eq!(view.get(&i64::MAX).unwrap(), Some(0));
    view.remove(&2).unwrap();
    view.remove(&i64::MAX).unwrap();
    assert!(view.is_empty().unwrap());
    assert_eq!(backend.keys(map, &()).unwrap().count(), 0);
}

/// Sum and number of what was added; a sum above 1000 is refused.
struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = (u64, u64);
    type Output = f64;

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }
    fn add(&self, accumulator: &mut (u64, u64), input: u64) -> Result<(), BoxError> {
        self.merge(accumulator, &(input, 1))
    }
    fn result(&self, accumulator: &(u64, u64)) -> f64 {
        accumulator.0 as f64 / accumulator.1 as f64
    }
    fn merge(&self, into: &mut (u64, u64), other: &(u64, u64)) -> Result<(), BoxError> {
        *into = (into.0 + other.0, into.1 + other.1);
        if into.0 > 1000 { Err("too much".into()) } else { Ok(()) }
    }
}

#[test]
fn reducing_and_aggregating_fold_and_refuse_without_a_trace() {
    let mut backend = open(&in_memory(), &[]);
    let join = |a: &String, b: &String| -> Result<String, BoxError> {
        if b == "bad" { Err("bad".into()) } else { Ok(format!("{a},{b}")) }
    };
    let text = ReducingDescriptor::with_codec("text", join, Arc::new(PlainCodec));
    let text = backend.register(text).unwrap();
    let mean = backend.register(AggregatingDescriptor::new("mean", Mean)).unwrap();
    let a = key("a");
    let k = context(&a);
    assert_eq!(backend.reducing(text, k, &()).unwrap().get().unwrap(), None);
    assert_eq!(backend.aggregating(mean, k, &()).unwrap().get().unwrap(), None);
    for part in ["1", "u1"] {
        backend.reducing(text, k, &()).unwrap().add(key(part)).unwrap();
    }
    let error = backend.reducing(text, k, &()).unwrap().add(key("bad")).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Function, Some("text")));
    assert_eq!(backend.reducing(text, k, &()).unwrap().with(|t| t.cloned()).unwrap(), Some(key("1,u1")));
    for n in [1, 2, 6] {
        backend.aggregating(mean, k, &()).unwrap().add(n).unwrap();
    }
    let error = backend.aggregating(mean, k, &()).unwrap().add(2000).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Function, Some("mean")));
    assert_eq!(backend.aggregating(mean, k, &()).unwrap().get().unwrap(), Some(3.0));
    backend.reducing(text, k, &()).unwrap().clear().unwrap();
    backend.reducing(text, k, &()).unwrap().add(key("bad")).unwrap();
    assert_eq!(backend.reducing(text, k, &()).unwrap().get().unwrap(), Some(key("bad")));
    backend.aggregating(mean, k, &()).unwrap().clear().unwrap();
    assert_eq!(backend.aggregating(mean, k, &()).unwrap().get().unwrap(), None);
}

#[test]
fn namespaces_merge_target_first_and_each_source_once() {
    let mut backend = open(&in_memory(), &[]);
    let list = backend.register(ListDescriptor::<u64>::new("list").namespaced::<u64>()).unwrap();
    let text = ReducingDescriptor::new("text", |a: &String, b: &String| format!("({a}{b})"));
    let text = backend.register(text.namespaced::<u64>()).unwrap();
    let mean = backend.register(AggregatingDescriptor::new("mean", Mean).namespaced::<u64>()).unwrap();
    let a = key("a");
    let k = context(&a);
    for namespace in 1..=3 {
        backend.list(list, k, &namespace).unwrap().add_all([namespace * 10, namespace * 10 + 1]).unwrap();
        backend.reducing(text, k, &namespace).unwrap().add(namespace.to_string()).unwrap();
        backend.aggregating(mean, k, &namespace).unwrap().add(namespace).unwrap();
    }
    // 9 is empty, 1 is the target itself, 3 is repeated.
    let sources = [3, 9, 1, 2, 3];
    backend.list(list, k, &1).unwrap().merge_from(&sources).unwrap();
    backend.reducing(text, k, &1).unwrap().merge_from(&sources).unwrap();
    backend.aggregating(mean, k, &1).unwrap().merge_from(&sources).unwrap();
    assert_eq!(backend.list(list, k, &1).unwrap().get().unwrap(), [10, 11, 30, 31, 20, 21]);
    assert_eq!(backend.reducing(text, k, &1).unwrap().get().unwrap(), Some(key("(1(32))")));
    assert_eq!(backend.aggregating(mean, k, &1).unwrap().get().unwrap(), Some(2.0));
    let pairs = [(a.clone(), 1)];
    assert_eq!(all(backend.keys_and_namespaces(list)), pairs);
    assert_eq!(all(backend.keys_and_namespaces(text)), pairs);
    assert_eq!(all(backend.keys_and_namespaces(mean)), pairs);
    // Into an empty target, and nothing into nothing.
    for (target, sources) in [(4, vec![1]), (5, vec![6, 7]), (4, vec![])] {
        backend.list(list, k, &target).unwrap().merge_from(&sources).unwrap();
        backend.reducing(text, k, &target).unwrap().merge_from(&sources).unwrap();
        backend.aggregating(mean, k, &target).unwrap().merge_from(&sources).unwrap();
    }
    assert_eq!(backend.list(list, k, &4).unwrap().get().unwrap().len(), 6);
    assert_eq!(backend.reducing(text, k, &4).unwrap().get().unwrap(), Some(key("(1(32))")));
    let pairs = [(a.clone(), 4)];
    assert_eq!(all(backend.keys_and_namespaces(list)), pairs);
    assert_eq!(all(backend.keys_and_namespaces(text)), pairs);
    assert_eq!(all(backend.keys_and_namespaces(mean)), pairs);
    // A failed merge changes nothing.
    backend.aggregating(mean, k, &5).unwrap().add(999).unwrap();
    let failed = backend.aggregating(mean, k, &4).unwrap().merge_from(&[5]).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Function);
    assert_eq!(backend.aggregating(mean, k, &4).unwrap().get().unwrap(), Some(2.0));
    assert_eq!(backend.aggregating(mean, k, &5).unwrap().get().unwrap(), Some(999.0));
}

#[test]
fn keys_are_listed_by_namespace_each_once() {
    let mut backend = open(&in_memory(), &[]);
    let map = backend.register(MapDescriptor::<u64, u64>::new("map").namespaced::<String>()).unwrap();
    let (n1, n2) = (key("n1"), key("n2"));
    for n in 0..1000 {
        let (first, second) = (format!("a{n}"), format!("b{n}"));
        backend.map(map, context(&first), &n1).unwrap().put_all([(1, 1), (2, 2)]).unwrap();
        backend.map(map, context(&second), &n2).unwrap().put_all([(1, 1), (2, 2)]).unwrap();
    }
    let mut listed = backend.keys(map, &n1).unwrap().collect::<Result<Vec<_>>>().unwrap();
    listed.sort();
    let mut expected: Vec<_> = (0..1000).map(|n| format!("a{n}")).collect();
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(backend.keys_and_namespaces(map).unwrap().count(), 2000);
    backend.for_each_key(map, &n1, |backend, key| backend.map(map, key, &n1)?.clear()).unwrap();
    assert_eq!(backend.keys(map, &n1).unwrap().count(), 0);
    assert_eq!(backend.keys(map, &n2).unwrap().count(), 1000);
}

#[test]
fn the_empty_key_and_namespace_are_listed() {
    let space = backend_api::KeySpace::<()>::new(1).unwrap();
    let subtask = backend_api::Subtask::single("op", space).unwrap();
    let mut backend = backend_bytes::ByteBackend::open(&in_memory(), subtask.clone(), &[]).unwrap();
    let list = backend.register(ListDescriptor::<u64>::new("list")).unwrap();
    backend.list(list, subtask.key(&()).unwrap(), &()).unwrap().add_all([1, 2]).unwrap();
    assert_eq!(backend.keys(list, &()).unwrap().count(), 1);
}

#[test]
fn names_are_unique_and_tokens_belong_to_one_backend() {
    let mut backend = open(&in_memory(), &[]);
    let a = key("a");
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    backend.value(count, context(&a), &()).unwrap().set(1).unwrap();
    let again = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    assert_eq!(backend.value(again, context(&a), &()).unwrap().get().unwrap(), Some(1));
    let kind = |result: Result<()>| result.err().map(|error| error.kind());
    let other = backend.register(ValueDescriptor::<String>::new("count")).map(|_| ());
    assert_eq!(kind(other), Some(ErrorKind::IllegalState));
    let other = backend.register(ValueDescriptor::<u64>::new("count").namespaced::<u64>()).map(|_| ());
    assert_eq!(kind(other), Some(ErrorKind::IllegalState));
    let other = backend.register(ListDescriptor::<u64>::new("count")).map(|_| ());
    assert_eq!(kind(other), Some(ErrorKind::IncompatibleKind));
    let empty = backend.register(ListDescriptor::<u64>::new("")).map(|_| ());
    assert_eq!(kind(empty), Some(ErrorKind::InvalidArgument));
    let states: Vec<_> = backend.states().into_iter().map(|s| (s.name, s.kind, s.registered)).collect();
    assert_eq!(states, [(key("count"), StateKind::Value, true)]);

    let mut stranger = open(&in_memory(), &[]);
    stranger.register(ValueDescriptor::<u64>::new("count")).unwrap();
    assert_eq!(kind(stranger.value(count, context(&a), &()).map(|_| ())), Some(ErrorKind::ForeignToken));
}

#[test]
fn a_list_can_be_replaced_by_shorter_and_longer_ones() {
    let mut backend = open(&in_memory(), &[]);
    let list = backend.register(ListDescriptor::<u64>::new("list")).unwrap();
    let (a, b) = (key("a"), key("b"));
    backend.list(list, context(&b), &()).unwrap().add(7).unwrap();
    // Also more than are replaced one by one.
    for length in [3_u64, 1, 0, 5, 1500, 1030, 2, 3000] {
        backend.list(list, context(&a), &()).unwrap().set(0..length).unwrap();
        backend.list(list, context(&a), &()).unwrap().add(length).unwrap();
        let found = backend.list(list, context(&a), &()).unwrap().get().unwrap();
        assert!(found.into_iter().eq(0..=length), "{length}");
    }
    assert_eq!(backend.list(list, context(&b), &()).unwrap().get().unwrap(), [7]);
}

#[test]
fn a_merge_keeps_entries_that_only_the_cache_has() {
    let options = in_memory().with_cache_bytes(1 << 20);
    let mut backend = open(&options, &[]);
    let sum = ReducingDescriptor::new("sum", |a: &u64, b: &u64| a + b).namespaced::<u64>();
    let sum = backend.register(sum).unwrap();
    let a = key("a");
    for namespace in 1..4 {
        backend.reducing(sum, context(&a), &namespace).unwrap().add(namespace).unwrap();
    }
    // Writes everything to the store. Afterwards only the cache knows that 1 is empty.
    assert_eq!(backend.keys_and_namespaces(sum).unwrap().count(), 3);
    backend.reducing(sum, context(&a), &1).unwrap().clear().unwrap();
    backend.reducing(sum, context(&a), &9).unwrap().merge_from(&[1, 2, 3]).unwrap();
    let mut get = |namespace: u64| backend.reducing(sum, context(&a), &namespace).unwrap().get().unwrap();
    assert_eq!([get(1), get(2), get(3), get(9)], [None, None, None, Some(5)]);
}

/// What a listing gives.
fn all<T>(listing: Result<Keys<'_, T>>) -> Vec<T> {
    listing.and_then(Iterator::collect).unwrap()
}
