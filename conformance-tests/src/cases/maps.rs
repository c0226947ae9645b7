//! Map state: behaviours C35 to C53.

use std::ops::Bound;

use backend_api::{ErrorKind, MapDescriptor, MapState, StateBackend, StateKey, StateValue};

use crate::access::{Access, kind, panics};
use crate::functions::TestCodec;
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! maps_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* maps
            c35_an_unwritten_key_is_an_empty_map
            c36_keys_with_a_common_prefix_have_separate_maps
            c37_entries_come_in_the_order_of_their_keys
            c38_text_keys_are_sorted_by_their_bytes_zeros_included
            c39_put_all_adds_to_what_is_there
            c40_an_entry_that_is_put_twice_is_one_entry
            c41_a_map_is_empty_exactly_when_the_last_entry_is_gone
            c42_removing_a_missing_entry_changes_nothing
            c43_without_entries_the_key_is_not_listed
            c44_an_entry_of_nothing_is_an_entry
            c45_a_range_gives_its_entries_in_order
            c46_a_cursor_removes_each_entry_it_stands_at
            c47_a_value_set_at_a_cursor_shows_at_once
            c48_a_cursor_over_a_large_map_visits_each_entry_once
            c49_clear_of_one_key_leaves_maps_of_similar_keys
            c49b_a_large_map_leaves_nothing_when_it_is_cleared
            c49c_many_cleared_maps_start_empty
            c50_a_failed_update_of_an_entry_changes_nothing
            c51_changes_of_every_kind_after_a_snapshot_are_not_in_it
            c52_put_all_is_all_or_nothing
            c53_an_iterator_sees_only_its_own_key
        }
    };
}

fn map() -> MapDescriptor<i32, String> {
    MapDescriptor::new("map")
}

fn entries<MK: StateKey, MV: StateValue>(map: &mut impl MapState<MK, MV>) -> Vec<(MK, MV)> {
    let owned = |entry: backend_api::Result<_>| {
        let (key, value): (std::borrow::Cow<'_, MK>, std::borrow::Cow<'_, MV>) = entry.unwrap();
        (key.into_owned(), value.into_owned())
    };
    map.iter().unwrap().map(owned).collect()
}

fn text(pairs: &[(i32, &str)]) -> Vec<(i32, String)> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

/// C35: a key that was never written reads as an empty map in every way. Reading creates no entry.
pub fn c35_an_unwritten_key_is_an_empty_map<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    assert_eq!(backend.at(map, &1).get(&1).unwrap(), None);
    assert!(!backend.at(map, &1).contains(&1).unwrap());
    assert_eq!(backend.at(map, &1).iter().unwrap().count(), 0);
    assert_eq!(backend.at(map, &1).keys().unwrap().count(), 0);
    assert_eq!(backend.at(map, &1).values().unwrap().count(), 0);
    assert_eq!(backend.at(map, &1).range(1..5).unwrap().count(), 0);
    assert!(backend.at(map, &1).cursor().next().unwrap().is_none());
    assert!(backend.at(map, &1).is_empty().unwrap());
    assert_eq!(backend.entries("map", map), 0);
    assert!(backend.sorted_keys(map).is_empty());
}

/// C36: the map of "1" has none of the entries of "11".
pub fn c36_keys_with_a_common_prefix_have_separate_maps<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<String>();
    let map = backend.register(map()).unwrap();
    let keys = ["1", "11", "", "1\0", "111"].map(str::to_owned);
    for (i, key) in (0..).zip(&keys) {
        backend.at(map, key).put(i, key.clone()).unwrap();
    }
    for (i, key) in (0..).zip(&keys) {
        assert_eq!(entries(&mut backend.at(map, key)), [(i, key.clone())], "{key:?}");
    }
}

/// C37: entries, keys and values are in ascending key order, negative numbers before positive ones.
pub fn c37_entries_come_in_the_order_of_their_keys<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let numbers = [5, -1, 0, i32::MIN, 256, 255, -256, i32::MAX, 1, -255, 65_536];
    let mut sorted = numbers;
    sorted.sort_unstable();
    let token = backend.register(map()).unwrap();
    for number in numbers {
        backend.at(token, &1).put(number, number.to_string()).unwrap();
    }
    for round in 0..2 {
        let token = backend.register(map()).unwrap();
        let mut view = backend.at(token, &1);
        let keys: Vec<i32> = view.keys().unwrap().map(|key| *key.unwrap()).collect();
        assert_eq!(keys, sorted, "round {round}");
        let values: Vec<String> = view.values().unwrap().map(|value| value.unwrap().into_owned()).collect();
        assert_eq!(values, sorted.map(|number| number.to_string()));
        assert_eq!(entries(&mut view), sorted.map(|number| (number, number.to_string())));
        drop(view);
        backend = world.reopen(backend);
    }
}

/// C38: string keys are sorted by their bytes, including zero bytes and the empty string, and so are pairs.
pub fn c38_text_keys_are_sorted_by_their_bytes_zeros_included<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let words = || MapDescriptor::<String, i32>::new("words");
    let pairs = || MapDescriptor::<(String, i64), i32>::new("pairs");
    let (w, p) = (backend.register(words()).unwrap(), backend.register(pairs()).unwrap());
    let sorted = ["", "\0", "\0\0", "\0\u{1}", "\u{1}", "a", "a\0", "a\0b", "a\u{1}", "aa", "b", "\u{e4}"];
    for word in sorted.iter().rev() {
        backend.at(w, &1).put((*word).to_owned(), 0).unwrap();
        for number in [1, -1] {
            backend.at(p, &1).put(((*word).to_owned(), number), 0).unwrap();
        }
    }
    let mut backend = world.reopen(backend);
    let (w, p) = (backend.register(words()).unwrap(), backend.register(pairs()).unwrap());
    let keys: Vec<String> = backend.at(w, &1).keys().unwrap().map(|key| key.unwrap().into_owned()).collect();
    assert_eq!(keys, sorted);
    let keys: Vec<_> = backend.at(p, &1).keys().unwrap().map(|key| key.unwrap().into_owned()).collect();
    let expected = sorted.iter().flat_map(|word| [-1, 1].map(|number| ((*word).to_owned(), number)));
    assert_eq!(keys, expected.collect::<Vec<_>>());
}

/// C39: `put_all` keeps existing entries. With no entries it creates nothing.
pub fn c39_put_all_adds_to_what_is_there<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    backend.at(map, &1).put(103, "a".to_owned()).unwrap();
    backend.at(map, &1).put_all(text(&[(1032, "c"), (1031, "b")])).unwrap();
    assert_eq!(entries(&mut backend.at(map, &1)), text(&[(103, "a"), (1031, "b"), (1032, "c")]));
    backend.at(map, &2).put_all([]).unwrap();
    assert_eq!(backend.sorted_keys(map), [1]);
}

/// C40: putting an entry again replaces its value.
pub fn c40_an_entry_that_is_put_twice_is_one_entry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    backend.at(map, &1).put(1, "a".to_owned()).unwrap();
    backend.at(map, &1).put(1, "b".to_owned()).unwrap();
    assert_eq!(backend.at(map, &1).get(&1).unwrap().unwrap(), "b");
    assert!(backend.at(map, &1).with(&1, |value| value.unwrap() == "b").unwrap());
    assert_eq!(entries(&mut backend.at(map, &1)), text(&[(1, "b")]));
    backend.at(map, &1).put_all(text(&[(2, "c"), (2, "d")])).unwrap();
    assert_eq!(entries(&mut backend.at(map, &1)), text(&[(1, "b"), (2, "d")]));
}

/// C41: over 1024 puts and 1024 removals, `is_empty` becomes true at the last removal and not before.
pub fn c41_a_map_is_empty_exactly_when_the_last_entry_is_gone<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    let mut view = backend.at(map, &1);
    assert!(view.is_empty().unwrap());
    for i in 0..1024 {
        view.put(i, String::new()).unwrap();
        assert!(!view.is_empty().unwrap());
    }
    for i in 0..1024 {
        assert!(!view.is_empty().unwrap());
        view.remove(&(i * 5 % 1024)).unwrap();
    }
    assert!(view.is_empty().unwrap());
    drop(view);
    assert_eq!(backend.entries("map", map), 0);
}

/// C42: removing a missing entry is no error and changes nothing.
pub fn c42_removing_a_missing_entry_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    backend.at(map, &1).remove(&1).unwrap();
    assert!(backend.sorted_keys(map).is_empty());
    backend.at(map, &1).put(1, "a".to_owned()).unwrap();
    backend.at(map, &1).remove(&2).unwrap();
    assert_eq!(entries(&mut backend.at(map, &1)), text(&[(1, "a")]));
}

/// C43: removing the last entry in any way removes the map: the key is not listed, also after a restore.
pub fn c43_without_entries_the_key_is_not_listed<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(map()).unwrap();
    for key in 0..4 {
        backend.at(token, &key).put(1, "a".to_owned()).unwrap();
    }
    world.checkpoint(&mut backend);
    backend.at(token, &0).remove(&1).unwrap();
    backend.at(token, &1).clear().unwrap();
    backend.at(token, &2).update(1, |value| *value = None).unwrap();
    assert_eq!(backend.sorted_keys(token), [3]);
    backend.at(token, &3).cursor().next().unwrap().unwrap().remove().unwrap();
    assert!(backend.sorted_keys(token).is_empty());
    assert_eq!(backend.entries("map", token), 0);
    let mut backend = world.reopen(backend);
    let token = backend.register(map()).unwrap();
    assert!(backend.sorted_keys(token).is_empty());
}

/// C44: an entry with the value `None` exists: it is contained, reads as `Some(None)`, and is restored.
pub fn c44_an_entry_of_nothing_is_an_entry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let optional = || MapDescriptor::<i32, Option<String>>::new("optional");
    let token = backend.register(optional()).unwrap();
    backend.at(token, &1).put(1, None).unwrap();
    for _ in 0..2 {
        let token = backend.register(optional()).unwrap();
        assert!(backend.at(token, &1).contains(&1).unwrap());
        assert_eq!(backend.at(token, &1).get(&1).unwrap(), Some(None));
        assert_eq!(backend.at(token, &1).get(&2).unwrap(), None);
        assert!(!backend.at(token, &1).is_empty().unwrap());
        backend = world.reopen(backend);
    }
}

/// C45: a range returns the entries within its bounds of any kind, in order. An empty or reversed range
/// returns none.
pub fn c45_a_range_gives_its_entries_in_order<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    let numbers: Vec<i32> = (-300..300).map(|i| i * 7).collect();
    backend.at(map, &1).put_all(numbers.iter().map(|i| (*i, i.to_string()))).unwrap();
    backend.at(map, &2).put(0, "another key's".to_owned()).unwrap();
    let (a, b) = (-70, 77);
    let bounds = [
        (Bound::Unbounded, Bound::Unbounded),
        (Bound::Included(a), Bound::Included(b)),
        (Bound::Included(a), Bound::Excluded(b)),
        (Bound::Excluded(a), Bound::Included(b)),
        (Bound::Excluded(a), Bound::Excluded(b)),
        (Bound::Unbounded, Bound::Excluded(a)),
        (Bound::Excluded(b), Bound::Unbounded),
        (Bound::Included(a + 1), Bound::Included(b - 1)),
        (Bound::Included(b), Bound::Excluded(b)),
        (Bound::Excluded(b), Bound::Excluded(b)),
        (Bound::Included(b), Bound::Included(a)),
        (Bound::Included(i32::MIN), Bound::Included(i32::MAX)),
        (Bound::Excluded(i32::MAX), Bound::Unbounded),
    ];
    for range in bounds {
        let mut view = backend.at(map, &1);
        let found: Vec<i32> = view.range(range).unwrap().map(|entry| *entry.unwrap().0).collect();
        let within = |number: &i32| std::ops::RangeBounds::contains(&range, number);
        let expected: Vec<i32> = numbers.iter().copied().filter(within).collect();
        assert_eq!(found, expected, "{range:?}");
    }
}

/// C46: a cursor removes its current entry and continues with the next. (Removing it twice does not compile.)
pub fn c46_a_cursor_removes_each_entry_it_stands_at<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    backend.at(map, &1).put_all((0..10).map(|i| (i, i.to_string()))).unwrap();
    let mut view = backend.at(map, &1);
    let mut cursor = view.cursor();
    let mut visited = Vec::new();
    while let Some(entry) = cursor.next().unwrap() {
        visited.push(*entry.key());
        if entry.key() % 2 == 0 {
            entry.remove().unwrap();
        }
    }
    assert!(cursor.next().unwrap().is_none());
    assert_eq!(visited, (0..10).collect::<Vec<_>>());
    assert_eq!(entries(&mut view), text(&[(1, "1"), (3, "3"), (5, "5"), (7, "7"), (9, "9")]));
}

/// C47: a value replaced at a cursor is visible at once, and the remaining entries are visited exactly once.
/// (Setting the value of a removed entry, Flink's C48, does not compile.)
pub fn c47_a_value_set_at_a_cursor_shows_at_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    backend.at(map, &1).put_all(text(&[(1, "a"), (2, "b"), (3, "c")])).unwrap();
    let mut view = backend.at(map, &1);
    let mut cursor = view.cursor();
    let mut visited = Vec::new();
    while let Some(mut entry) = cursor.next().unwrap() {
        visited.push((*entry.key(), entry.value().clone()));
        let new = format!("{}!", entry.value());
        entry.set(new.clone()).unwrap();
        assert_eq!(*entry.value(), new);
        if *entry.key() == 2 {
            drop(entry);
            break;
        }
    }
    assert_eq!(visited, text(&[(1, "a"), (2, "b")]));
    assert_eq!(view.get(&2).unwrap().unwrap(), "b!");
    assert_eq!(entries(&mut view), text(&[(1, "a!"), (2, "b!"), (3, "c")]));
}

/// C48: a cursor over 4096 entries that removes some and sets others visits each exactly once.
pub fn c48_a_cursor_over_a_large_map_visits_each_entry_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(map()).unwrap();
    backend.at(token, &1).put_all((0..4096).map(|i| (i, i.to_string()))).unwrap();
    let mut view = backend.at(token, &1);
    let mut cursor = view.cursor();
    let mut next = 0;
    while let Some(mut entry) = cursor.next().unwrap() {
        assert_eq!(*entry.key(), next);
        next += 1;
        match entry.key() % 3 {
            0 => entry.remove().unwrap(),
            1 => entry.set("set".to_owned()).unwrap(),
            _ => {}
        }
    }
    assert_eq!(next, 4096);
    let expected = (0..4096).filter(|i| i % 3 != 0);
    let expected = expected.map(|i| (i, if i % 3 == 1 { "set".to_owned() } else { i.to_string() }));
    let expected: Vec<_> = expected.collect();
    assert_eq!(entries(&mut view), expected);
    drop(view);
    let mut backend = world.reopen(backend);
    let token = backend.register(map()).unwrap();
    assert_eq!(entries(&mut backend.at(token, &1)), expected);
}

/// C49: clearing the map of key 1 leaves those of 2 and 11, and clearing that of "1" leaves "11" and "1\0".
pub fn c49_clear_of_one_key_leaves_maps_of_similar_keys<F: Factory>() {
    let world = World::<F>::new();
    let mut numbers = world.open::<i32>();
    let token = numbers.register(map()).unwrap();
    for key in [1, 2, 11, 257] {
        numbers.at(token, &key).put_all(text(&[(1, "a"), (2, "b"), (3, "c")])).unwrap();
    }
    numbers.at(token, &1).clear().unwrap();
    assert_eq!(numbers.sorted_keys(token), [2, 11, 257]);
    for key in [2, 11, 257] {
        assert_eq!(numbers.at(token, &key).iter().unwrap().count(), 3);
    }
    let mut words = world.open::<String>();
    let token = words.register(map()).unwrap();
    let keys = ["", "1", "11", "1\0"].map(str::to_owned);
    for key in &keys {
        words.at(token, key).put(1, "a".to_owned()).unwrap();
    }
    words.at(token, &keys[1]).clear().unwrap();
    assert_eq!(words.sorted_keys(token), ["", "1\0", "11"]);
}

/// C49: clearing a map of a thousand entries leaves none, also after a restore.
pub fn c49b_a_large_map_leaves_nothing_when_it_is_cleared<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(map()).unwrap();
    let many: Vec<_> = (0..1000).map(|key| (key, key.to_string())).collect();
    backend.at(token, &1).put_all(many).unwrap();
    let mut backend = world.reopen(backend);
    let token = backend.register(map()).unwrap();
    backend.at(token, &1).clear().unwrap();
    assert!(backend.at(token, &1).is_empty().unwrap());
    backend.at(token, &1).put(5, "new".to_owned()).unwrap();
    assert_eq!(entries(&mut backend.at(token, &1)), text(&[(5, "new")]));
    let mut backend = world.reopen(backend);
    let token = backend.register(map()).unwrap();
    assert_eq!(entries(&mut backend.at(token, &1)), text(&[(5, "new")]));
}

/// C49: maps of many keys that are cleared and filled between two snapshots have only their new entries, also
/// after a restore.
pub fn c49c_many_cleared_maps_start_empty<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(map()).unwrap();
    for key in 0..600 {
        backend.at(token, &key).put_all(text(&[(1, "a"), (2, "b")])).unwrap();
    }
    let mut backend = world.reopen(backend);
    let token = backend.register(map()).unwrap();
    for key in 0..600 {
        backend.at(token, &key).clear().unwrap();
        backend.at(token, &key).put(3, "c".to_owned()).unwrap();
    }
    let mut backend = world.reopen(backend);
    let token = backend.register(map()).unwrap();
    for key in 0..600 {
        assert_eq!(entries(&mut backend.at(token, &key)), text(&[(3, "c")]), "key {key}");
    }
}

/// C50: an update of an entry whose function fails or panics changes nothing. One that succeeds puts,
/// replaces or removes.
pub fn c50_a_failed_update_of_an_entry_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    backend.at(map, &1).put(1, "a".to_owned()).unwrap();
    for entry in [1, 2] {
        let failed = backend.at(map, &1).try_update(entry, |value| {
            value.get_or_insert_default().push('!');
            Err::<(), _>("no".into())
        });
        assert_eq!(kind(failed), ErrorKind::Function);
        panics(|| {
            backend.at(map, &1).update(entry, |value| {
                value.get_or_insert_default().push('!');
                panic!("the user's function panics")
            })
        });
    }
    panics(|| backend.at(map, &3).update(1, |_| panic!("the user's function panics")));
    assert_eq!(entries(&mut backend.at(map, &1)), text(&[(1, "a")]));
    assert_eq!(backend.sorted_keys(map), [1]);
    for (entry, new) in [(1, Some("c")), (2, Some("b")), (1, None), (9, None)] {
        backend.at(map, &1).update(entry, |value| *value = new.map(str::to_owned)).unwrap();
    }
    assert_eq!(entries(&mut backend.at(map, &1)), text(&[(2, "b")]));
}

/// C51: putting, removing, clearing, updating and setting at a cursor after a snapshot do not change it. All
/// of it is in the next one, which may build on it.
pub fn c51_changes_of_every_kind_after_a_snapshot_are_not_in_it<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(map()).unwrap();
    let old = text(&[(-1, "x"), (1, "a"), (2, "b")]);
    for key in 0..7 {
        backend.at(token, &key).put_all(old.clone()).unwrap();
    }
    let first = world.checkpoint(&mut backend);
    backend.at(token, &0).put(3, "c".to_owned()).unwrap();
    backend.at(token, &1).remove(&1).unwrap();
    backend.at(token, &2).clear().unwrap();
    backend.at(token, &3).cursor().next().unwrap().unwrap().set("set".to_owned()).unwrap();
    backend.at(token, &4).clear().unwrap();
    backend.at(token, &4).put(9, "new".to_owned()).unwrap();
    backend.at(token, &5).update(2, |value| value.as_mut().unwrap().push('!')).unwrap();
    let second = world.checkpoint(&mut backend);
    backend.at(token, &6).clear().unwrap();
    let new = [
        text(&[(-1, "x"), (1, "a"), (2, "b"), (3, "c")]),
        text(&[(-1, "x"), (2, "b")]),
        vec![],
        text(&[(-1, "set"), (1, "a"), (2, "b")]),
        text(&[(9, "new")]),
        text(&[(-1, "x"), (1, "a"), (2, "b!")]),
        old.clone(),
    ];
    for (handle, expected) in [(first, std::array::from_fn(|_| old.clone())), (second, new)] {
        let mut backend = world.restore::<i32>(&handle);
        let token = backend.register(map()).unwrap();
        for (key, expected) in (0..).zip(expected) {
            assert_eq!(entries(&mut backend.at(token, &key)), expected, "key {key}");
        }
    }
}

/// C52: if an entry of `put_all` cannot be encoded, or the iterator panics, no entry is put. A backend that
/// encodes later fails the snapshot.
pub fn c52_put_all_is_all_or_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let codec = TestCodec::<i64>::refusing("picky", |value| *value == 13);
    let map = backend.register(MapDescriptor::<i32, i64>::with_codec("map", codec)).unwrap();
    backend.at(map, &1).put(1, 1).unwrap();
    panics(|| {
        let source = (1..9).map(|i| if i < 5 { (i, 7) } else { panic!("the source panics") });
        backend.at(map, &1).put_all(source)
    });
    assert_eq!(entries(&mut backend.at(map, &1)), [(1, 1)]);
    let put = backend.at(map, &1).put_all([(1, 2), (2, 13), (3, 3)]);
    match put {
        Ok(()) => {
            assert_eq!(kind(world.try_snapshot(&mut backend)), ErrorKind::Codec);
            backend.at(map, &1).remove(&2).unwrap();
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Codec);
            assert_eq!(entries(&mut backend.at(map, &1)), [(1, 1)]);
        }
    }
    world.checkpoint(&mut backend);
}

/// C53: an iterator visits all entries of its own key and no others. (Moving to another key while it is open
/// does not compile.)
pub fn c53_an_iterator_sees_only_its_own_key<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(map()).unwrap();
    for key in 0..50 {
        backend.at(map, &key).put_all((0..key).map(|i| (i, key.to_string()))).unwrap();
    }
    for key in 0..50 {
        let expected: Vec<_> = (0..key).map(|i| (i, key.to_string())).collect();
        assert_eq!(entries(&mut backend.at(map, &key)), expected);
    }
}
