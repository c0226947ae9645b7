//! Reducing state: behaviours D54 to D61.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend_api::{ErrorKind, ReducingDescriptor, ReducingState, StateBackend, default_codec};

use crate::access::{Access, kind, panics};
use crate::functions::TestCodec;
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! reducing_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* reducing
            d54_an_unwritten_key_is_absent
            d55_added_values_are_folded_by_key
            d56_the_accumulated_value_is_the_first_argument
            d57_the_first_value_is_stored_unchanged
            d58_after_clear_nothing_of_the_old_value_is_left
            d59_a_failed_function_changes_nothing
            d60_a_snapshot_between_two_adds_has_the_first
            d61_a_result_without_encoding_fails_once
        }
    };
}

fn sum() -> ReducingDescriptor<i64> {
    ReducingDescriptor::new("sum", |a, b| a + b)
}

fn joined() -> ReducingDescriptor<String> {
    ReducingDescriptor::new("joined", |a, b| format!("{a},{b}"))
}

/// D54: a key to which nothing was added reads as `None`. Reading creates no entry.
pub fn d54_an_unwritten_key_is_absent<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let sum = backend.register(sum()).unwrap();
    assert_eq!(backend.at(sum, &1).get().unwrap(), None);
    assert!(backend.at(sum, &1).with(|value| value.is_none()).unwrap());
    backend.at(sum, &1).clear().unwrap();
    assert_eq!(backend.entries("sum", sum), 0);
}

/// D55: values added to one key are folded, separately for each key.
pub fn d55_added_values_are_folded_by_key<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let sum = backend.register(sum()).unwrap();
    backend.at(sum, &1).add(17).unwrap();
    backend.at(sum, &1).add(11).unwrap();
    assert_eq!(backend.at(sum, &1).get().unwrap(), Some(28));
    assert_eq!(backend.at(sum, &2).get().unwrap(), None);
    assert_eq!(backend.sorted_keys(sum), [1]);
}

/// D56: the function gets the accumulated value first and the new one second.
pub fn d56_the_accumulated_value_is_the_first_argument<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let joined = backend.register(joined()).unwrap();
    for value in ["1", "u1", "x"] {
        backend.at(joined, &1).add(value.to_owned()).unwrap();
    }
    assert_eq!(backend.at(joined, &1).get().unwrap().unwrap(), "1,u1,x");
}

/// D57: the first value is stored without calling the function.
pub fn d57_the_first_value_is_stored_unchanged<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let sum = ReducingDescriptor::new("sum", move |a: &i64, b| {
        counted.fetch_add(1, Ordering::SeqCst);
        a + b
    });
    let sum = backend.register(sum).unwrap();
    backend.at(sum, &1).add(17).unwrap();
    assert_eq!(backend.at(sum, &1).get().unwrap(), Some(17));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    backend.at(sum, &1).add(1).unwrap();
    assert_eq!(backend.at(sum, &1).get().unwrap(), Some(18));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// D58: after `clear` a fold starts again, also with a snapshot in between.
pub fn d58_after_clear_nothing_of_the_old_value_is_left<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(sum()).unwrap();
    backend.at(token, &1).add(100).unwrap();
    backend.at(token, &2).add(100).unwrap();
    world.checkpoint(&mut backend);
    backend.at(token, &1).clear().unwrap();
    backend.at(token, &2).clear().unwrap();
    backend.at(token, &1).add(5).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(5));
    let mut backend = world.reopen(backend);
    let token = backend.register(sum()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(5));
    assert_eq!(backend.sorted_keys(token), [1]);
}

/// D59: a function that fails or panics leaves the accumulated value unchanged. `add` returns the failure.
pub fn d59_a_failed_function_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let reduce = |a: &String, b: &String| match b.as_str() {
        "fail" => Err("the test's function fails".into()),
        "panic" => panic!("the test's function panics"),
        _ => Ok(format!("{a},{b}")),
    };
    let joined = backend.register(ReducingDescriptor::with_codec("joined", reduce, default_codec())).unwrap();
    backend.at(joined, &1).add("a".to_owned()).unwrap();
    assert_eq!(kind(backend.at(joined, &1).add("fail".to_owned())), ErrorKind::Function);
    assert_eq!(backend.at(joined, &1).get().unwrap().unwrap(), "a");
    panics(|| backend.at(joined, &1).add("panic".to_owned()));
    assert_eq!(backend.at(joined, &1).get().unwrap().unwrap(), "a");
    backend.at(joined, &1).add("b".to_owned()).unwrap();
    assert_eq!(backend.at(joined, &1).get().unwrap().unwrap(), "a,b");
}

/// D60: a snapshot between two additions restores the first, and further additions continue from it.
pub fn d60_a_snapshot_between_two_adds_has_the_first<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(joined()).unwrap();
    backend.at(token, &1).add("a".to_owned()).unwrap();
    let handle = world.checkpoint(&mut backend);
    backend.at(token, &1).add("b".to_owned()).unwrap();
    let mut backend = world.restore::<i32>(&handle);
    let token = backend.register(joined()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap().unwrap(), "a");
    backend.at(token, &1).add("c".to_owned()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap().unwrap(), "a,c");
}

/// D61: a result that cannot be encoded fails in `add`, which keeps the old value, or in the snapshot.
pub fn d61_a_result_without_encoding_fails_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let codec = TestCodec::<i64>::refusing("picky", |value| *value == 13);
    let sum = ReducingDescriptor::with_codec("sum", |a: &i64, b: &i64| Ok(a + b), codec);
    let sum = backend.register(sum).unwrap();
    backend.at(sum, &1).add(6).unwrap();
    let added = backend.at(sum, &1).add(7);
    match added {
        Ok(()) => {
            assert_eq!(kind(world.try_snapshot(&mut backend)), ErrorKind::Codec);
            backend.at(sum, &1).add(-7).unwrap();
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Codec),
    }
    assert_eq!(backend.at(sum, &1).get().unwrap(), Some(6));
    world.checkpoint(&mut backend);
}
