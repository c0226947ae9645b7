//! Namespaces: behaviours F68 to F80.

use backend_api::{
    AggregatingDescriptor, AggregatingState, ListDescriptor, ListState, MapDescriptor, MapState,
    ReducingDescriptor, ReducingState, StateBackend, ValueDescriptor, ValueState,
};

use crate::access::{Access, kind, sorted};
use crate::functions::{Mean, Sum};
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! namespaces_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* namespaces
            f68_a_write_in_one_namespace_is_not_seen_in_another
            f69_clear_in_one_namespace_leaves_the_others
            f70_merged_lists_are_appended_in_the_given_order
            f70b_long_lists_are_merged_and_leave_nothing
            f71_merging_works_with_nothing_on_either_side
            f72_merging_no_sources_changes_nothing
            f73_a_target_among_its_sources_counts_once
            f74_merged_sums_are_folded
            f75_merged_state_is_what_a_restore_finds
            f76_keys_and_namespaces_do_not_run_into_one_another
            f77_each_write_goes_to_the_namespace_it_names
            f78_keys_are_listed_by_namespace
            f79_pairs_of_key_and_namespace_are_listed_once
            f80_what_namespaces_hold_together_is_read_and_stays
        }
    };
}

fn list() -> ListDescriptor<i64, i64> {
    ListDescriptor::new("list").namespaced()
}

fn joined() -> ReducingDescriptor<String, i64> {
    ReducingDescriptor::new("joined", |a: &String, b: &String| format!("({a}{b})")).namespaced()
}

/// F68: for every kind of state, a write in one namespace is not visible in another.
pub fn f68_a_write_in_one_namespace_is_not_seen_in_another<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = backend.register(ValueDescriptor::<i64>::new("value").namespaced::<i64>()).unwrap();
    let list = backend.register(list()).unwrap();
    let map = backend.register(MapDescriptor::<i32, i64>::new("map").namespaced::<i64>()).unwrap();
    let joined = backend.register(joined()).unwrap();
    let mean = backend.register(AggregatingDescriptor::new("mean", Mean).namespaced::<i64>()).unwrap();
    backend.within(value, &1, &1).set(5).unwrap();
    backend.within(list, &1, &1).add(5).unwrap();
    backend.within(map, &1, &1).put(5, 5).unwrap();
    backend.within(joined, &1, &1).add("5".to_owned()).unwrap();
    backend.within(mean, &1, &1).add(5).unwrap();
    assert_eq!(backend.within(value, &1, &2).get().unwrap(), None);
    assert!(backend.within(list, &1, &2).is_empty().unwrap());
    assert!(backend.within(map, &1, &2).is_empty().unwrap());
    assert_eq!(backend.within(joined, &1, &2).get().unwrap(), None);
    assert_eq!(backend.within(mean, &1, &2).get().unwrap(), None);
    assert_eq!(backend.within(value, &1, &1).get().unwrap(), Some(5));
    assert_eq!(backend.within(list, &1, &1).get().unwrap(), [5]);
    assert_eq!(backend.within(map, &1, &1).get(&5).unwrap(), Some(5));
}

/// F69: clearing one namespace leaves the value in the other, also after a restore.
pub fn f69_clear_in_one_namespace_leaves_the_others<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = || ValueDescriptor::<i64>::new("value").namespaced::<String>();
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let token = backend.register(value()).unwrap();
    backend.within(token, &1, &a).set(1).unwrap();
    backend.within(token, &1, &b).set(2).unwrap();
    world.checkpoint(&mut backend);
    backend.within(token, &1, &a).clear().unwrap();
    let mut backend = world.reopen(backend);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.within(token, &1, &a).get().unwrap(), None);
    assert_eq!(backend.within(token, &1, &b).get().unwrap(), Some(2));
}

/// F70: merging lists appends the elements of the sources in the given order, and empties the sources. Other
/// keys do not change.
pub fn f70_merged_lists_are_appended_in_the_given_order<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    for key in 1..=2 {
        backend.within(list, &key, &1).set([1, 2]).unwrap();
        backend.within(list, &key, &2).set([3]).unwrap();
        backend.within(list, &key, &3).set([4, 5]).unwrap();
    }
    backend.within(list, &1, &1).merge_from(&[3, 2]).unwrap();
    assert_eq!(backend.within(list, &1, &1).get().unwrap(), [1, 2, 4, 5, 3]);
    assert!(backend.within(list, &1, &2).is_empty().unwrap());
    assert!(backend.within(list, &1, &3).is_empty().unwrap());
    assert_eq!(backend.within(list, &2, &1).get().unwrap(), [1, 2]);
    assert_eq!(backend.within(list, &2, &3).get().unwrap(), [4, 5]);
    let pairs = sorted(backend.keys_and_namespaces(list).unwrap());
    assert_eq!(pairs, [(1, 1), (2, 1), (2, 2), (2, 3)]);
}

/// F70: this also holds for lists of a thousand elements, and the sources stay empty after a restore.
pub fn f70b_long_lists_are_merged_and_leave_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    backend.within(token, &1, &1).set(0..1000).unwrap();
    backend.within(token, &1, &2).set(1000..2000).unwrap();
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    backend.within(token, &1, &1).merge_from(&[2]).unwrap();
    assert!(backend.within(token, &1, &2).is_empty().unwrap());
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    assert!(backend.within(token, &1, &2).is_empty().unwrap());
    assert!(backend.within(token, &1, &1).get().unwrap().into_iter().eq(0..2000));
}

/// F71: an empty target takes the content of the sources, empty sources leave the target unchanged, and
/// merging nothing into nothing creates no entry.
pub fn f71_merging_works_with_nothing_on_either_side<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    let joined = backend.register(joined()).unwrap();
    let mean = backend.register(AggregatingDescriptor::new("mean", Mean).namespaced::<i64>()).unwrap();
    // Key 1 has only a source, key 2 only the target, key 3 neither.
    for (key, namespace) in [(1, 2), (2, 1)] {
        backend.within(list, &key, &namespace).set([7]).unwrap();
        backend.within(joined, &key, &namespace).add("7".to_owned()).unwrap();
        backend.within(mean, &key, &namespace).add(7).unwrap();
    }
    for key in 1..=3 {
        backend.within(list, &key, &1).merge_from(&[3, 2]).unwrap();
        backend.within(joined, &key, &1).merge_from(&[3, 2]).unwrap();
        backend.within(mean, &key, &1).merge_from(&[3, 2]).unwrap();
    }
    for key in 1..=2 {
        assert_eq!(backend.within(list, &key, &1).get().unwrap(), [7]);
        assert_eq!(backend.within(joined, &key, &1).get().unwrap().unwrap(), "7");
        assert_eq!(backend.within(mean, &key, &1).get().unwrap(), Some(7.0));
    }
    let pairs = [(1, 1), (2, 1)];
    assert_eq!(sorted(backend.keys_and_namespaces(list).unwrap()), pairs);
    assert_eq!(sorted(backend.keys_and_namespaces(joined).unwrap()), pairs);
    assert_eq!(sorted(backend.keys_and_namespaces(mean).unwrap()), pairs);
}

/// F72: merging no sources changes nothing.
pub fn f72_merging_no_sources_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    let joined = backend.register(joined()).unwrap();
    backend.within(list, &1, &1).set([1, 2]).unwrap();
    backend.within(joined, &1, &1).add("a".to_owned()).unwrap();
    for key in 1..=2 {
        backend.within(list, &key, &1).merge_from(&[]).unwrap();
        backend.within(joined, &key, &1).merge_from(&[]).unwrap();
    }
    assert_eq!(backend.within(list, &1, &1).get().unwrap(), [1, 2]);
    assert_eq!(backend.within(joined, &1, &1).get().unwrap().unwrap(), "a");
    assert_eq!(sorted(backend.keys_and_namespaces(list).unwrap()), [(1, 1)]);
}

/// F73: a target among its own sources keeps its content once, and a repeated source counts once.
pub fn f73_a_target_among_its_sources_counts_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    let joined = backend.register(joined()).unwrap();
    let sum = AggregatingDescriptor::new("sum", Sum::default()).namespaced::<i64>();
    let sum = backend.register(sum).unwrap();
    for namespace in 1..=3 {
        backend.within(list, &1, &namespace).add(namespace).unwrap();
        backend.within(joined, &1, &namespace).add(namespace.to_string()).unwrap();
        backend.within(sum, &1, &namespace).add(namespace).unwrap();
    }
    let sources = [3, 1, 2, 3, 2, 1];
    backend.within(list, &1, &1).merge_from(&sources).unwrap();
    backend.within(joined, &1, &1).merge_from(&sources).unwrap();
    backend.within(sum, &1, &1).merge_from(&sources).unwrap();
    assert_eq!(backend.within(list, &1, &1).get().unwrap(), [1, 3, 2]);
    assert_eq!(backend.within(joined, &1, &1).get().unwrap().unwrap(), "(1(32))");
    assert_eq!(backend.within(sum, &1, &1).get().unwrap(), Some(6));
    // The target alone: there is nothing to merge, and the target must not be emptied.
    backend.within(list, &1, &1).merge_from(&[1]).unwrap();
    backend.within(joined, &1, &1).merge_from(&[1, 1]).unwrap();
    backend.within(sum, &1, &1).merge_from(&[1]).unwrap();
    assert_eq!(backend.within(list, &1, &1).get().unwrap(), [1, 3, 2]);
    assert_eq!(backend.within(joined, &1, &1).get().unwrap().unwrap(), "(1(32))");
    assert_eq!(backend.within(sum, &1, &1).get().unwrap(), Some(6));
}

/// F74: reducing and aggregating states merge by their functions, a reducing one as `reduce(target,
/// fold(sources))`. A failing function leaves target and sources unchanged.
pub fn f74_merged_sums_are_folded<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let sum = ReducingDescriptor::new("sum", |a: &i64, b: &i64| a + b).namespaced::<i64>();
    let sum = backend.register(sum).unwrap();
    let aggregate = AggregatingDescriptor::new("aggregate", Sum::default()).namespaced::<i64>();
    let aggregate = backend.register(aggregate).unwrap();
    let mean = backend.register(AggregatingDescriptor::new("mean", Mean).namespaced::<i64>()).unwrap();
    let joined = backend.register(joined()).unwrap();
    for (namespace, input) in [(1, 88), (2, 33), (3, 44)] {
        backend.within(sum, &1, &namespace).add(input).unwrap();
        backend.within(aggregate, &1, &namespace).add(input).unwrap();
        backend.within(mean, &1, &namespace).add(input).unwrap();
        backend.within(joined, &1, &namespace).add(namespace.to_string()).unwrap();
    }
    backend.within(sum, &1, &1).merge_from(&[2, 3]).unwrap();
    backend.within(aggregate, &1, &1).merge_from(&[2, 3]).unwrap();
    backend.within(mean, &1, &1).merge_from(&[2, 3]).unwrap();
    backend.within(joined, &1, &1).merge_from(&[2, 3]).unwrap();
    assert_eq!(backend.within(sum, &1, &1).get().unwrap(), Some(165));
    assert_eq!(backend.within(aggregate, &1, &1).get().unwrap(), Some(165));
    assert_eq!(backend.within(mean, &1, &1).get().unwrap(), Some(55.0));
    assert_eq!(backend.within(joined, &1, &1).get().unwrap().unwrap(), "(1(23))");
    assert_eq!(sorted(backend.keys_and_namespaces(sum).unwrap()), [(1, 1)]);
    assert_eq!(sorted(backend.keys_and_namespaces(aggregate).unwrap()), [(1, 1)]);
    assert_eq!(sorted(backend.keys_and_namespaces(mean).unwrap()), [(1, 1)]);
    assert_eq!(sorted(backend.keys_and_namespaces(joined).unwrap()), [(1, 1)]);

    let refuse = |_: &i64, _: &i64| Err("the test's function fails".into());
    let codec = backend_api::default_codec();
    let failing = ReducingDescriptor::with_codec("failing", refuse, codec).namespaced::<i64>();
    let failing = backend.register(failing).unwrap();
    for namespace in 1..=2 {
        backend.within(failing, &1, &namespace).add(namespace).unwrap();
    }
    let merged = backend.within(failing, &1, &1).merge_from(&[2]);
    assert_eq!(kind(merged), backend_api::ErrorKind::Function);
    for namespace in 1..=2 {
        assert_eq!(backend.within(failing, &1, &namespace).get().unwrap(), Some(namespace));
    }
}

/// F75: merged targets and emptied sources are restored as such, also with an earlier snapshot.
pub fn f75_merged_state_is_what_a_restore_finds<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let (l, j) = (backend.register(list()).unwrap(), backend.register(joined()).unwrap());
    for namespace in 1..=3 {
        backend.within(l, &1, &namespace).set([namespace, namespace]).unwrap();
        backend.within(j, &1, &namespace).add(namespace.to_string()).unwrap();
    }
    let before = world.checkpoint(&mut backend);
    backend.within(l, &1, &2).merge_from(&[3]).unwrap();
    backend.within(j, &1, &2).merge_from(&[3]).unwrap();
    let after = world.checkpoint(&mut backend);
    for (handle, namespaces, merged) in [(before, vec![1, 2, 3], false), (after, vec![1, 2], true)] {
        let mut backend = world.restore::<i32>(&handle);
        let (l, j) = (backend.register(list()).unwrap(), backend.register(joined()).unwrap());
        let pairs: Vec<_> = namespaces.iter().map(|namespace| (1, *namespace)).collect();
        assert_eq!(sorted(backend.keys_and_namespaces(l).unwrap()), pairs);
        assert_eq!(sorted(backend.keys_and_namespaces(j).unwrap()), pairs);
        let expected = if merged { vec![2, 2, 3, 3] } else { vec![2, 2] };
        assert_eq!(backend.within(l, &1, &2).get().unwrap(), expected);
        let expected = if merged { "(23)" } else { "2" };
        assert_eq!(backend.within(j, &1, &2).get().unwrap().unwrap(), expected);
    }
}

/// F76: pairs of key and namespace whose concatenations are equal are different pairs.
pub fn f76_keys_and_namespaces_do_not_run_into_one_another<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<String>();
    let value = || ValueDescriptor::<String>::new("value").namespaced::<String>();
    let map = || MapDescriptor::<String, i32>::new("map").namespaced::<String>();
    let (v, m) = (backend.register(value()).unwrap(), backend.register(map()).unwrap());
    let parts = ["", "a", "b", "ab", "\0", "a\0", "\0b", "a\0\u{1}b", "\u{1}", "\0\u{1}", "\0\u{ff}"];
    let parts = parts.map(str::to_owned);
    for key in &parts {
        for namespace in &parts {
            backend.within(v, key, namespace).set(format!("{key}|{namespace}")).unwrap();
            for entry in &parts {
                backend.within(m, key, namespace).put(entry.clone(), 0).unwrap();
            }
        }
    }
    backend.within(m, &parts[1], &parts[2]).clear().unwrap();
    let mut backend = world.reopen(backend);
    let (v, m) = (backend.register(value()).unwrap(), backend.register(map()).unwrap());
    for key in &parts {
        for namespace in &parts {
            let read = backend.within(v, key, namespace).get().unwrap();
            assert_eq!(read, Some(format!("{key}|{namespace}")));
            let cleared = *key == parts[1] && *namespace == parts[2];
            let entries = backend.within(m, key, namespace).iter().unwrap().count();
            assert_eq!(entries, if cleared { 0 } else { parts.len() }, "{key:?} {namespace:?}");
        }
    }
    let pairs = sorted(backend.keys_and_namespaces(v).unwrap());
    assert_eq!(pairs.len(), parts.len() * parts.len());
}

/// F77: writes through one token go to the namespace that each names.
pub fn f77_each_write_goes_to_the_namespace_it_names<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = backend.register(ValueDescriptor::<i64>::new("value").namespaced::<i64>()).unwrap();
    for window in 0..100 {
        backend.within(value, &1, &(window % 10)).set(window).unwrap();
    }
    for window in 0..10 {
        assert_eq!(backend.within(value, &1, &window).get().unwrap(), Some(90 + window));
    }
}

/// F78: with 1000 keys in one namespace and 1000 others in another, a listing returns the first 1000, each
/// once.
pub fn f78_keys_are_listed_by_namespace<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = || ValueDescriptor::<i64>::new("value").namespaced::<String>();
    let token = backend.register(value()).unwrap();
    let (first, second, third) = ("1".to_owned(), "11".to_owned(), "none".to_owned());
    for key in 0..1000 {
        backend.within(token, &key, &first).set(0).unwrap();
        backend.within(token, &(key + 1000), &second).set(0).unwrap();
    }
    for _ in 0..2 {
        let token = backend.register(value()).unwrap();
        assert!(sorted(backend.keys(token, &first).unwrap()).into_iter().eq(0..1000));
        assert!(sorted(backend.keys(token, &second).unwrap()).into_iter().eq(1000..2000));
        assert_eq!(backend.keys(token, &third).unwrap().count(), 0);
        backend = world.reopen(backend);
    }
}

/// F79: a listing of keys and namespaces returns each pair once.
pub fn f79_pairs_of_key_and_namespace_are_listed_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map").namespaced::<i64>()).unwrap();
    let mut expected = Vec::new();
    for key in 0..100 {
        for namespace in [5, 6] {
            backend.within(map, &key, &namespace).put_all([(1, 1), (2, 2)]).unwrap();
            expected.push((key, namespace));
        }
    }
    assert_eq!(sorted(backend.keys_and_namespaces(map).unwrap()), expected);
}

/// F80: a merged read folds what several namespaces hold, in the given order and each once. It changes nothing, also with
/// a restore.
pub fn f80_what_namespaces_hold_together_is_read_and_stays<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let mean = || AggregatingDescriptor::new("mean", Mean).namespaced::<i64>();
    let (l, j, m) = (
        backend.register(list()).unwrap(),
        backend.register(joined()).unwrap(),
        backend.register(mean()).unwrap(),
    );
    for pane in 1..=4 {
        backend.within(l, &1, &pane).add_all([pane, 10 * pane]).unwrap();
        backend.within(j, &1, &pane).add(pane.to_string()).unwrap();
        backend.within(m, &1, &pane).add(pane).unwrap();
    }
    // A list with an older part that is written and a newer part that is not.
    world.checkpoint(&mut backend);
    backend.within(l, &1, &2).add(21).unwrap();
    backend.within(l, &2, &2).add(7).unwrap();
    for _ in 0..2 {
        let (l, j, m) = (
            backend.register(list()).unwrap(),
            backend.register(joined()).unwrap(),
            backend.register(mean()).unwrap(),
        );
        // The view's own namespace has something or nothing, and counts where it is named.
        for own in [2, 9] {
            let panes = [3, 9, 2, 3];
            assert_eq!(backend.within(l, &1, &own).get_merged(&panes).unwrap(), [3, 30, 2, 20, 21]);
            assert_eq!(backend.within(j, &1, &own).get_merged(&panes).unwrap().unwrap(), "(32)");
            assert_eq!(backend.within(m, &1, &own).get_merged(&panes).unwrap(), Some(2.5));
            assert_eq!(backend.within(l, &1, &own).get_merged(&[8]).unwrap(), [0_i64; 0]);
            assert_eq!(backend.within(j, &1, &own).get_merged(&[]).unwrap(), None);
            assert_eq!(backend.within(m, &1, &own).get_merged(&[8]).unwrap(), None);
        }
        let panes = [1, 2, 3, 4];
        assert_eq!(backend.within(j, &1, &9).get_merged(&panes).unwrap().unwrap(), "(((12)3)4)");
        for pane in panes {
            let elements = if pane == 2 { vec![2, 20, 21] } else { vec![pane, 10 * pane] };
            assert_eq!(backend.within(l, &1, &pane).get().unwrap(), elements);
            assert_eq!(backend.within(j, &1, &pane).get().unwrap(), Some(pane.to_string()));
            assert_eq!(backend.within(m, &1, &pane).get().unwrap(), Some(pane as f64));
        }
        backend = world.reopen(backend);
    }
}
