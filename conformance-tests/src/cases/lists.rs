//! List state: behaviours B17 to B34.

use backend_api::{ErrorKind, ListDescriptor, ListState, StateBackend};

use crate::access::{Access, kind, panics};
use crate::functions::TestCodec;
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! lists_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* lists
            b17_an_unwritten_key_is_an_empty_list
            b18_elements_keep_the_order_of_the_adds
            b19_equal_elements_are_kept
            b20_set_replaces_the_list
            b21_setting_nothing_clears
            b22_adding_nothing_makes_no_entry
            b23_add_all_appends
            b24_an_element_without_encoding_fails_once_and_for_all
            b25_no_elements_and_no_list_are_the_same
            b27_lists_of_two_keys_are_apart
            b28_each_snapshot_has_its_own_elements
            b29_changes_of_every_kind_after_a_snapshot_are_not_in_it
            b30_a_long_list_keeps_its_order
            b31_an_iterator_dropped_half_way_changes_nothing
            b32_reads_return_copies
            b33_a_source_that_panics_adds_nothing
            b34_a_cleared_list_starts_empty
        }
    };
}

fn list() -> ListDescriptor<i64> {
    ListDescriptor::new("list")
}

/// B17: a key that was never written reads as an empty list. Reading creates no entry.
pub fn b17_an_unwritten_key_is_an_empty_list<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    assert_eq!(backend.at(list, &1).iter().unwrap().count(), 0);
    assert!(backend.at(list, &1).get().unwrap().is_empty());
    assert!(backend.at(list, &1).is_empty().unwrap());
    assert_eq!(backend.entries("list", list), 0);
    assert!(backend.sorted_keys(list).is_empty());
}

/// B18: elements are read in insertion order, also after a restore.
pub fn b18_elements_keep_the_order_of_the_adds<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    backend.at(token, &1).add(17).unwrap();
    backend.at(token, &1).add(11).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [17, 11]);
    assert!(!backend.at(token, &1).is_empty().unwrap());
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    backend.at(token, &1).add(5).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [17, 11, 5]);
}

/// B19: equal elements are all kept, and count as one entry.
pub fn b19_equal_elements_are_kept<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    for _ in 0..3 {
        backend.at(list, &1).add(1).unwrap();
    }
    assert_eq!(backend.at(list, &1).get().unwrap(), [1, 1, 1]);
    assert_eq!(backend.entries("list", list), 1);
}

/// B20: `set` replaces all elements, by more or fewer.
pub fn b20_set_replaces_the_list<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    backend.at(token, &1).add_all([1, 2, 3]).unwrap();
    backend.at(token, &1).set([10, 16]).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [10, 16]);
    backend.at(token, &2).set(0..100).unwrap();
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [10, 16]);
    assert_eq!(backend.at(token, &2).get().unwrap(), (0..100).collect::<Vec<_>>());
}

/// B21: setting no elements removes the list, also for a snapshot taken now.
pub fn b21_setting_nothing_clears<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    backend.at(token, &1).add_all([1, 2]).unwrap();
    world.checkpoint(&mut backend);
    backend.at(token, &1).set([]).unwrap();
    assert!(backend.at(token, &1).get().unwrap().is_empty());
    assert_eq!(backend.entries("list", token), 0);
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    assert!(backend.at(token, &1).get().unwrap().is_empty());
    assert_eq!(backend.entries("list", token), 0);
}

/// B22: adding no elements to a missing list creates no entry.
pub fn b22_adding_nothing_makes_no_entry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    backend.at(list, &1).add_all([]).unwrap();
    assert_eq!(backend.entries("list", list), 0);
    assert!(backend.sorted_keys(list).is_empty());
}

/// B23: `add_all` appends, and with no elements changes nothing.
pub fn b23_add_all_appends<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    backend.at(list, &1).add_all([3, 4]).unwrap();
    backend.at(list, &1).add_all([]).unwrap();
    backend.at(list, &1).add_all([5, 6]).unwrap();
    assert_eq!(backend.at(list, &1).get().unwrap(), [3, 4, 5, 6]);
}

/// B24: an element that cannot be encoded fails at the write, which then writes nothing, or fails the
/// snapshot, which returns no handle.
pub fn b24_an_element_without_encoding_fails_once_and_for_all<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let codec = TestCodec::<i64>::refusing("picky", |element| *element == 13);
    let list = backend.register(ListDescriptor::with_codec("list", codec)).unwrap();
    backend.at(list, &1).set([1, 2]).unwrap();
    backend.at(list, &2).set([3]).unwrap();
    for write in 0..3 {
        let written = match write {
            0 => backend.at(list, &1).add(13),
            1 => backend.at(list, &1).add_all([4, 13, 5]),
            _ => backend.at(list, &1).set([4, 13]),
        };
        match written {
            Ok(()) => {
                assert_eq!(kind(world.try_snapshot(&mut backend)), ErrorKind::Codec);
                backend.at(list, &1).set([1, 2]).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Codec),
        }
        assert_eq!(backend.at(list, &1).get().unwrap(), [1, 2]);
        assert_eq!(backend.at(list, &2).get().unwrap(), [3]);
    }
    world.checkpoint(&mut backend);
}

/// B25: a list that lost its elements and a list that was never written are the same.
pub fn b25_no_elements_and_no_list_are_the_same<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    backend.at(list, &1).clear().unwrap();
    backend.at(list, &2).add(1).unwrap();
    backend.at(list, &2).clear().unwrap();
    for key in 1..=2 {
        assert!(backend.at(list, &key).is_empty().unwrap());
    }
    assert_eq!(backend.entries("list", list), 0);
    assert!(backend.sorted_keys(list).is_empty());
}

/// B27: clearing the list of one key leaves those of other keys.
pub fn b27_lists_of_two_keys_are_apart<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<String>();
    let list = backend.register(list()).unwrap();
    let (a, b) = ("a".to_owned(), "b".to_owned());
    backend.at(list, &a).add(1).unwrap();
    backend.at(list, &b).add(2).unwrap();
    backend.at(list, &a).clear().unwrap();
    assert_eq!(backend.at(list, &b).get().unwrap(), [2]);
    assert!(backend.at(list, &a).get().unwrap().is_empty());
    backend.at(list, &b).clear().unwrap();
    assert_eq!(backend.entries("list", list), 0);
}

/// B28: each of two snapshots restores the elements of its own time.
pub fn b28_each_snapshot_has_its_own_elements<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let words = || ListDescriptor::<String>::new("words");
    let token = backend.register(words()).unwrap();
    for key in 1..=2 {
        backend.at(token, &key).add(format!("{key}")).unwrap();
    }
    let first = world.checkpoint(&mut backend);
    for key in 1..=3 {
        backend.at(token, &key).add(format!("u{key}")).unwrap();
    }
    let second = world.checkpoint(&mut backend);
    drop(backend);

    let mut backend = world.restore::<i32>(&first);
    let token = backend.register(words()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), ["1"]);
    assert_eq!(backend.at(token, &2).get().unwrap(), ["2"]);
    assert_eq!(backend.sorted_keys(token), [1, 2]);

    let mut backend = world.restore::<i32>(&second);
    let token = backend.register(words()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), ["1", "u1"]);
    assert_eq!(backend.at(token, &2).get().unwrap(), ["2", "u2"]);
    assert_eq!(backend.at(token, &3).get().unwrap(), ["u3"]);
}

/// B29: adding, replacing, clearing, and clearing before adding after a snapshot do not change it. All of it
/// is in the next one, which may build on it.
pub fn b29_changes_of_every_kind_after_a_snapshot_are_not_in_it<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    for key in 0..5 {
        backend.at(token, &key).set(0..300).unwrap();
    }
    let first = world.checkpoint(&mut backend);
    backend.at(token, &0).add(300).unwrap();
    backend.at(token, &1).set([7]).unwrap();
    backend.at(token, &2).clear().unwrap();
    backend.at(token, &3).clear().unwrap();
    backend.at(token, &3).add_all([8, 9]).unwrap();
    let second = world.checkpoint(&mut backend);
    backend.at(token, &4).clear().unwrap();
    let full: Vec<i64> = (0..300).collect();
    let longer: Vec<i64> = (0..301).collect();
    let expected = [
        (first, [full.clone(), full.clone(), full.clone(), full.clone(), full.clone()]),
        (second, [longer, vec![7], vec![], vec![8, 9], full]),
    ];
    for (handle, lists) in expected {
        let mut backend = world.restore::<i32>(&handle);
        let token = backend.register(list()).unwrap();
        for (key, list) in (0..).zip(lists) {
            assert_eq!(backend.at(token, &key).get().unwrap(), list, "key {key}");
        }
    }
}

/// B30: a list of 100,000 elements, appended to between snapshots, keeps its order.
pub fn b30_a_long_list_keeps_its_order<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    backend.at(token, &1).add_all(0..99_000).unwrap();
    world.checkpoint(&mut backend);
    for element in 99_000..100_000 {
        backend.at(token, &1).add(element).unwrap();
    }
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    let mut list = backend.at(token, &1);
    let elements = list.iter().unwrap().map(|element| element.unwrap().into_owned());
    assert!(elements.eq(0..100_000));
}

/// B31: dropping an iterator halfway leaves the list usable.
pub fn b31_an_iterator_dropped_half_way_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    backend.at(list, &1).set([1, 2, 3, 4]).unwrap();
    let mut view = backend.at(list, &1);
    let first = view.iter().unwrap().take(2).map(|element| *element.unwrap()).collect::<Vec<_>>();
    assert_eq!(first, [1, 2]);
    view.add(5).unwrap();
    assert_eq!(view.get().unwrap(), [1, 2, 3, 4, 5]);
}

/// B32: changing elements that were read does not change the state.
pub fn b32_reads_return_copies<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let words = backend.register(ListDescriptor::<String>::new("words")).unwrap();
    backend.at(words, &1).add("a".to_owned()).unwrap();
    let mut read = backend.at(words, &1).get().unwrap();
    read[0].push('!');
    read.push("b".to_owned());
    assert_eq!(backend.at(words, &1).get().unwrap(), ["a"]);
}

/// B33: if the source of the elements panics, the list is unchanged.
pub fn b33_a_source_that_panics_adds_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(list()).unwrap();
    backend.at(list, &1).set([1, 2]).unwrap();
    let source = || (0..10).map(|element| if element < 5 { element } else { panic!("the source panics") });
    for key in 1..=2 {
        panics(|| backend.at(list, &key).add_all(source()));
        panics(|| backend.at(list, &key).set(source()));
    }
    assert_eq!(backend.at(list, &1).get().unwrap(), [1, 2]);
    assert_eq!(backend.sorted_keys(list), [1]);
}

/// B34: after `clear`, only elements added later exist, also with a snapshot in between.
pub fn b34_a_cleared_list_starts_empty<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(list()).unwrap();
    backend.at(token, &1).set(0..1000).unwrap();
    world.checkpoint(&mut backend);
    backend.at(token, &1).clear().unwrap();
    backend.at(token, &1).add(7).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [7]);
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [7]);
}
