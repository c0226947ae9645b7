//! Keys and key groups: behaviours G81 to G97.

use std::sync::Arc;

use backend_api::{
    ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, StateBackend, ValueDescriptor,
    ValueState,
};

use crate::access::{Access, kind};
use crate::{Factory, World, part, single};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! key_context_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* key_context
            g81_a_key_of_another_subtask_is_refused
            g82_a_key_context_has_the_key_and_its_group
            g84_a_key_hashed_for_another_number_of_groups_is_refused
            g90_a_listing_by_a_token_of_another_backend_is_refused
            g90b_a_restored_state_lists_its_keys
            g91_a_key_with_several_entries_is_listed_once
            g92_every_key_can_be_visited_and_cleared
            g93_an_error_ends_the_visit_of_all_keys
            g94_one_key_group_and_the_most_of_them_work
            g95_keys_are_equal_if_their_encodings_are
            g95b_a_batch_reads_and_updates_its_keys_in_order
            g96_a_walk_over_a_map_may_use_other_states
            g96b_an_error_ends_the_walk_over_a_map
            g97_a_borrowed_key_is_the_key
        }
    };
}

fn value() -> ValueDescriptor<i64> {
    ValueDescriptor::new("value")
}

/// G81: a key of another subtask's group is refused with the group and the range, when it is hashed and when
/// it is used. Nothing is stored.
pub fn g81_a_key_of_another_subtask_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let (ours, theirs) = (part::<i32>(10, 2, 0), part::<i32>(10, 2, 1));
    let mut backend = world.try_open(ours, &[]).unwrap();
    let token = backend.register(value()).unwrap();
    let stranger = (0..).find(|key| theirs.key(key).is_ok()).unwrap();
    let hashed = theirs.key(&stranger).unwrap();
    for error in [backend.key(&stranger).err(), backend.value(token, hashed, &()).err()] {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::KeyOutOfRange);
        assert_eq!(error.key_group(), Some(hashed.group()));
        assert!(error.to_string().contains("0-4"), "{error}");
    }
    assert!(backend.sorted_keys(token).is_empty());
}

/// G82: a key context returns the key and its group.
pub fn g82_a_key_context_has_the_key_and_its_group<F: Factory>() {
    let world = World::<F>::new();
    let backend = world.open::<String>();
    let space = KeySpace::<String>::new(10).unwrap();
    for key in ["", "a", "b"].map(str::to_owned) {
        let context = backend.key(&key).unwrap();
        assert_eq!(context.key(), &key);
        assert_eq!(context.group(), space.key(&key).unwrap().group());
        assert_eq!(context.max_parallelism(), 10);
    }
    assert_eq!(backend.subtask().range().to_string(), "0-9");
}

/// G84: a key hashed for another number of key groups is refused.
pub fn g84_a_key_hashed_for_another_number_of_groups_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    let other = KeySpace::<i32>::new(11).unwrap();
    let accessed = backend.value(token, other.key(&1).unwrap(), &());
    assert_eq!(accessed.err().unwrap().kind(), ErrorKind::IllegalState);
}

/// G90: listing with a token of another backend is a foreign-token error.
pub fn g90_a_listing_by_a_token_of_another_backend_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let (mut backend, mut other) = (world.open::<i32>(), world.open::<i32>());
    backend.register(value()).unwrap();
    let foreign = other.register(value()).unwrap();
    let answers = [
        kind(backend.keys(foreign, &())),
        kind(backend.keys_and_namespaces(foreign)),
        kind(backend.for_each_key(foreign, &(), |_, _| panic!("there is no key"))),
    ];
    assert_eq!(answers, [ErrorKind::ForeignToken; 3]);
}

/// G90: a restored state lists its keys once it is registered.
pub fn g90b_a_restored_state_lists_its_keys<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    for key in 0..100 {
        backend.at(map, &key).put(key, key).unwrap();
    }
    let mut backend = world.reopen(backend);
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    assert_eq!(backend.keys(map, &()).unwrap().count(), 100);
}

/// G91: 1000 keys with a map of two entries each are listed as 1000 keys.
pub fn g91_a_key_with_several_entries_is_listed_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    for key in 0..1000 {
        backend.at(map, &key).put_all([(1, key), (2, key)]).unwrap();
    }
    assert!(backend.sorted_keys(map).into_iter().eq(0..1000));
}

/// G92: a function called with every key can change the state at the key. Each key is visited once.
pub fn g92_every_key_can_be_visited_and_cleared<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = backend.register(ListDescriptor::<i32>::new("list")).unwrap();
    for key in 0..100 {
        backend.at(list, &key).add(key).unwrap();
    }
    let mut visited = Vec::new();
    let visit = |backend: &mut F::Backend<i32>, key: backend_api::KeyContext<'_, i32>| {
        visited.push(*key.key());
        backend.list(list, key, &())?.clear()
    };
    backend.for_each_key(list, &(), visit).unwrap();
    visited.sort_unstable();
    assert!(visited.into_iter().eq(0..100));
    assert_eq!(backend.entries("list", list), 0);
}

/// G93: the first error of that function ends the visit and is returned. Earlier changes stay.
pub fn g93_an_error_ends_the_visit_of_all_keys<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for key in 0..10 {
        backend.at(token, &key).set(1).unwrap();
    }
    let mut calls = 0;
    let visited = backend.for_each_key(token, &(), |backend, key| {
        calls += 1;
        backend.value(token, key, &())?.clear()?;
        if calls == 3 { Err(backend_api::Error::new(ErrorKind::Function, "enough")) } else { Ok(()) }
    });
    assert_eq!(kind(visited), ErrorKind::Function);
    assert_eq!((calls, backend.entries("value", token)), (3, 7));
}

/// G94: one key group and 32,768 key groups work.
pub fn g94_one_key_group_and_the_most_of_them_work<F: Factory>() {
    let world = World::<F>::new();
    for groups in [1, 32_768] {
        let mut backend = world.try_open::<i32>(single(groups), &[]).unwrap();
        let token = backend.register(value()).unwrap();
        for key in 0..1000 {
            backend.at(token, &key).set(i64::from(key)).unwrap();
        }
        let mut backend = world.reopen(backend);
        let token = backend.register(value()).unwrap();
        for key in 0..1000 {
            assert_eq!(backend.at(token, &key).get().unwrap(), Some(i64::from(key)));
        }
        assert_eq!(backend.entries("value", token), 1000);
    }
}

/// G95: keys with equal encodings are equal, however they were built and whatever string type they have.
pub fn g95_keys_are_equal_if_their_encodings_are<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<String>();
    let token = backend.register(value()).unwrap();
    let mut roomy = String::with_capacity(100);
    roomy.push_str("key");
    backend.at(token, &roomy).set(7).unwrap();
    let other = ["k", "ey"].concat();
    assert_eq!(backend.at(token, &other).get().unwrap(), Some(7));
    let handle = world.checkpoint(&mut backend);
    let mut backend = world.restore::<Arc<str>>(&handle);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &Arc::from("key")).get().unwrap(), Some(7));
}

/// G95: a batch reads and updates its keys in the given order, a repeated key repeatedly. A foreign key in it
/// is an error.
pub fn g95b_a_batch_reads_and_updates_its_keys_in_order<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value().default_value(100)).unwrap();
    let numbers: Vec<i32> = (0..50).chain([7, 7]).collect();
    let keys: Vec<_> = numbers.iter().map(|key| backend.key(key).unwrap()).collect();
    let mut order = Vec::new();
    let update = |i, value: &mut Option<i64>| {
        order.push(i);
        *value = value.map(|number| number + 1);
    };
    backend.update_batch(token, &keys, &(), update).unwrap();
    assert!(order.into_iter().eq(0..52));
    let mut read = Vec::new();
    backend.get_batch(token, &keys, &(), |i, value| read.push((i, value.copied()))).unwrap();
    let expected = numbers.iter().map(|key| Some(if *key == 7 { 103 } else { 101 }));
    assert!(read.into_iter().eq((0..).zip(expected)));
    assert_eq!(backend.entries("value", token), 50);

    let mut half = world.try_open(part::<i32>(10, 2, 0), &[]).unwrap();
    let token = half.register(value()).unwrap();
    assert_eq!(kind(half.update_batch(token, &keys, &(), |_, _| {})), ErrorKind::KeyOutOfRange);
    assert_eq!(kind(half.get_batch(token, &keys, &(), |_, _| {})), ErrorKind::KeyOutOfRange);
}

/// G96: a function called with the entries of a map in a range, in order and each once, can read and change any state,
/// also the map itself.
pub fn g96_a_walk_over_a_map_may_use_other_states<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    let sums = backend.register(MapDescriptor::<i32, i32>::new("sums")).unwrap();
    for at in 0..1000 {
        backend.at(map, &1).put(at, at).unwrap();
        backend.at(sums, &2).put(at, -at).unwrap();
    }
    let (key, other) = (backend.subtask().key_space().clone(), 2);
    let (key, other) = (key.key(&1).unwrap(), key.key(&other).unwrap());
    let mut seen = Vec::new();
    let joined = backend.for_each_entry(map, key, &(), 100..=899, |backend, at, value| {
        seen.push(at);
        assert_eq!(value, at);
        backend.map(sums, other, &())?.update(at, |sum| *sum = sum.map(|sum| sum + value))?;
        if at % 2 == 0 { backend.map(map, key, &())?.remove(&at) } else { Ok(()) }
    });
    joined.unwrap();
    assert!(seen.into_iter().eq(100..900));
    assert_eq!(backend.at(map, &1).len().unwrap(), 600);
    assert_eq!(backend.at(sums, &2).len().unwrap(), 1000);
    for at in 0..1000 {
        let is_in_range = (100..900).contains(&at);
        assert_eq!(backend.at(sums, &2).get(&at).unwrap(), Some(if is_in_range { 0 } else { -at }));
        assert_eq!(backend.at(map, &1).contains(&at).unwrap(), !is_in_range || at % 2 == 1);
    }
    // One page of entries, for a program that walks by itself.
    let mut page = vec![(-1, -1)];
    backend.at(map, &1).range_into(101.., 3, &mut page).unwrap();
    assert_eq!(page, [(-1, -1), (101, 101), (103, 103), (105, 105)]);
    backend.at(map, &3).range_into(.., 3, &mut page).unwrap();
    assert_eq!(page.len(), 4);
    assert_eq!(backend.at(map, &3).len().unwrap(), 0);
}

/// G96: the first error of that function ends the walk and is returned. Earlier changes stay.
pub fn g96b_an_error_ends_the_walk_over_a_map<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    for at in 0..10 {
        backend.at(map, &1).put(at, at).unwrap();
    }
    let space = backend.subtask().key_space().clone();
    let key = space.key(&1).unwrap();
    let walked = backend.for_each_entry(map, key, &(), .., |backend, at, _| {
        backend.map(map, key, &())?.remove(&at)?;
        if at == 3 { Err(backend_api::Error::new(ErrorKind::Function, "enough")) } else { Ok(()) }
    });
    assert_eq!(kind(walked), ErrorKind::Function);
    assert_eq!(backend.at(map, &1).len().unwrap(), 6);
    let mut other = world.open::<i32>();
    let foreign = other.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    let walked = backend.for_each_entry(foreign, key, &(), .., |_, _, _| panic!("there is no entry"));
    assert_eq!(kind(walked), ErrorKind::ForeignToken);
}

/// G97: a string, or a slice of bytes, finds what was written under the key that owns it, and the other way round; what is
/// written by it is listed and restored under that key.
pub fn g97_a_borrowed_key_is_the_key<F: Factory>() {
    let world = World::<F>::new();
    let words = ["", "a", "a word that is too long to be kept in place of a pointer", "\0\u{ff}"];
    let mut backend = world.open::<String>();
    let token = backend.register(value()).unwrap();
    for (number, word) in (0..).zip(words) {
        let key = backend.key(word).unwrap();
        backend.value(token, key, &()).unwrap().set(number).unwrap();
        assert_eq!(backend.at(token, &word.to_owned()).get().unwrap(), Some(number));
        backend.at(token, &word.to_owned()).set(number + 10).unwrap();
    }
    let mut backend = world.reopen(backend);
    let token = backend.register(value()).unwrap();
    for (number, word) in (10..).zip(words) {
        let key = backend.key(word).unwrap();
        assert_eq!(backend.value(token, key, &()).unwrap().get().unwrap(), Some(number));
    }
    let mut owned = words.map(str::to_owned);
    owned.sort();
    assert_eq!(backend.sorted_keys(token), owned);

    let mut backend = world.open::<Vec<u8>>();
    let token = backend.register(value()).unwrap();
    for bytes in [&[][..], &[0], &[0, 255, 0]] {
        let key = backend.key(bytes).unwrap();
        backend.value(token, key, &()).unwrap().set(bytes.len() as i64).unwrap();
        assert_eq!(backend.at(token, &bytes.to_vec()).get().unwrap(), Some(bytes.len() as i64));
    }
    assert_eq!(backend.sorted_keys(token), [vec![], vec![0], vec![0, 255, 0]]);
}
