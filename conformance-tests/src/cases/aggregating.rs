//! Aggregating state: behaviours E62 to E67.

use std::sync::atomic::Ordering;

use backend_api::{AggregatingDescriptor, AggregatingState, ErrorKind, StateBackend};

use crate::access::{Access, kind, panics};
use crate::functions::{FAIL, Mean, PANIC, Sum};
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! aggregating_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* aggregating
            e62_an_unwritten_key_is_absent_and_makes_no_accumulator
            e63_inputs_are_added_in_place_or_by_replacement
            e64_the_accumulator_is_what_is_stored
            e65_reading_leaves_the_accumulator
            e66_a_failed_function_changes_nothing
            e67_accumulators_of_two_keys_are_apart
        }
    };
}

fn mean() -> AggregatingDescriptor<Mean> {
    AggregatingDescriptor::new("mean", Mean)
}

fn sum() -> AggregatingDescriptor<Sum> {
    AggregatingDescriptor::new("sum", Sum::default())
}

/// E62: a key without inputs reads as `None`. Reads and clears create no accumulator, and all inputs of a key
/// share one.
pub fn e62_an_unwritten_key_is_absent_and_makes_no_accumulator<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let function = Sum::default();
    let created = function.created();
    let sum = backend.register(AggregatingDescriptor::new("sum", function)).unwrap();
    assert_eq!(backend.at(sum, &1).get().unwrap(), None);
    backend.at(sum, &1).clear().unwrap();
    assert_eq!(created.load(Ordering::SeqCst), 0);
    assert_eq!(backend.entries("sum", sum), 0);
    backend.at(sum, &1).add(5).unwrap();
    backend.at(sum, &1).add(5).unwrap();
    assert_eq!(created.load(Ordering::SeqCst), 1);
    assert_eq!(backend.entries("sum", sum), 1);
}

/// E63: functions that change the accumulator in place and functions that replace it give the same result.
pub fn e63_inputs_are_added_in_place_or_by_replacement<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let (sum, mean) = (backend.register(sum()).unwrap(), backend.register(mean()).unwrap());
    for input in [17, 11] {
        backend.at(sum, &1).add(input).unwrap();
        backend.at(mean, &1).add(input).unwrap();
    }
    assert_eq!(backend.at(sum, &1).get().unwrap(), Some(28));
    assert_eq!(backend.at(mean, &1).get().unwrap(), Some(14.0));
}

/// E64: the accumulator is stored, not the result, so additions continue exactly after a restore.
pub fn e64_the_accumulator_is_what_is_stored<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(mean()).unwrap();
    for input in [1, 2, 6] {
        backend.at(token, &1).add(input).unwrap();
    }
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(3.0));
    let mut backend = world.reopen(backend);
    let token = backend.register(mean()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(3.0));
    backend.at(token, &1).add(7).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(4.0));
}

/// E65: reading does not change the accumulator.
pub fn e65_reading_leaves_the_accumulator<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let mean = backend.register(mean()).unwrap();
    backend.at(mean, &1).add(1).unwrap();
    backend.at(mean, &1).add(4).unwrap();
    for _ in 0..3 {
        assert_eq!(backend.at(mean, &1).get().unwrap(), Some(2.5));
    }
    backend.at(mean, &1).add(7).unwrap();
    assert_eq!(backend.at(mean, &1).get().unwrap(), Some(4.0));
}

/// E66: a function that fails or panics after changing the accumulator has no effect, and creates no entry.
pub fn e66_a_failed_function_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let mean = backend.register(mean()).unwrap();
    backend.at(mean, &1).add(5).unwrap();
    for key in 1..=2 {
        assert_eq!(kind(backend.at(mean, &key).add(FAIL)), ErrorKind::Function);
        panics(|| backend.at(mean, &key).add(PANIC));
    }
    assert_eq!(backend.at(mean, &1).get().unwrap(), Some(5.0));
    assert_eq!(backend.at(mean, &2).get().unwrap(), None);
    assert_eq!(backend.sorted_keys(mean), [1]);
    backend.at(mean, &1).add(7).unwrap();
    assert_eq!(backend.at(mean, &1).get().unwrap(), Some(6.0));
}

/// E67: accumulators of two keys are independent, and clearing both leaves nothing.
pub fn e67_accumulators_of_two_keys_are_apart<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(mean()).unwrap();
    for (key, input) in [(1, 10), (2, 1), (1, 20), (2, 3)] {
        backend.at(token, &key).add(input).unwrap();
    }
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(15.0));
    assert_eq!(backend.at(token, &2).get().unwrap(), Some(2.0));
    world.checkpoint(&mut backend);
    backend.at(token, &1).clear().unwrap();
    backend.at(token, &2).clear().unwrap();
    assert_eq!(backend.entries("mean", token), 0);
    let mut backend = world.reopen(backend);
    let token = backend.register(mean()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert_eq!(backend.entries("mean", token), 0);
}
