//! Keys and key groups: behaviours G81 to G95.

use std::sync::Arc;

use backend_api::{
    ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, StateBackend, ValueDescriptor,
    ValueState,
};

use crate::access::{Access, kind, sorted};
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
            g87_a_listing_by_namespaces_of_another_type_is_refused
            g90_an_unknown_state_is_not_found
            g90b_a_restored_state_is_not_found_until_it_is_registered
            g91_a_key_with_several_entries_is_listed_once
            g92_every_key_can_be_visited_and_cleared
            g93_an_error_ends_the_visit_of_all_keys
            g94_one_key_group_and_the_most_of_them_work
            g95_keys_are_equal_if_their_encodings_are
            g95b_a_batch_reads_and_updates_its_keys_in_order
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
    assert!(backend.sorted_keys("value").is_empty());
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

/// G87: listing with another type of namespaces is a migration error.
pub fn g87_a_listing_by_namespaces_of_another_type_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    assert_eq!(kind(backend.keys("value", &5_i64)), ErrorKind::Migration);
    assert_eq!(kind(backend.keys_and_namespaces::<String>("value")), ErrorKind::Migration);
    assert_eq!(sorted(backend.keys_and_namespaces::<()>("value").unwrap()), [(1, ())]);
}

/// G90: listing an unregistered state is a not-found error with its name.
pub fn g90_an_unknown_state_is_not_found<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    for error in [
        backend.keys("unknown", &()).err(),
        backend.keys("unknown", &5_i64).err(),
        backend.keys_and_namespaces::<()>("unknown").err(),
        backend.for_each_key("unknown", &(), |_, _| panic!("there is no key")).err(),
    ] {
        let error = error.unwrap();
        assert_eq!((error.kind(), error.state()), (ErrorKind::NotFound, Some("unknown")));
    }
    assert!(backend.states().is_empty());
}

/// G90: a restored state lists its keys once it is registered, and is not found before.
pub fn g90b_a_restored_state_is_not_found_until_it_is_registered<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    for key in 0..100 {
        backend.at(map, &key).put(key, key).unwrap();
    }
    let mut backend = world.reopen(backend);
    assert_eq!(kind(backend.keys("map", &())), ErrorKind::NotFound);
    assert_eq!(kind(backend.keys_and_namespaces::<()>("map")), ErrorKind::NotFound);
    assert_eq!(kind(backend.for_each_key("map", &(), |_, _| Ok(()))), ErrorKind::NotFound);
    backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    assert_eq!(backend.keys("map", &()).unwrap().count(), 100);
}

/// G91: 1000 keys with a map of two entries each are listed as 1000 keys.
pub fn g91_a_key_with_several_entries_is_listed_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<i32, i32>::new("map")).unwrap();
    for key in 0..1000 {
        backend.at(map, &key).put_all([(1, key), (2, key)]).unwrap();
    }
    assert!(backend.sorted_keys("map").into_iter().eq(0..1000));
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
    backend.for_each_key("list", &(), visit).unwrap();
    visited.sort_unstable();
    assert!(visited.into_iter().eq(0..100));
    assert_eq!(backend.entries("list"), 0);
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
    let visited = backend.for_each_key("value", &(), |backend, key| {
        calls += 1;
        backend.value(token, key, &())?.clear()?;
        if calls == 3 { Err(backend_api::Error::new(ErrorKind::Function, "enough")) } else { Ok(()) }
    });
    assert_eq!(kind(visited), ErrorKind::Function);
    assert_eq!((calls, backend.entries("value")), (3, 7));
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
        assert_eq!(backend.entries("value"), 1000);
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
    assert_eq!(backend.entries("value"), 50);

    let mut half = world.try_open(part::<i32>(10, 2, 0), &[]).unwrap();
    let token = half.register(value()).unwrap();
    assert_eq!(kind(half.update_batch(token, &keys, &(), |_, _| {})), ErrorKind::KeyOutOfRange);
    assert_eq!(kind(half.get_batch(token, &keys, &(), |_, _| {})), ErrorKind::KeyOutOfRange);
}
