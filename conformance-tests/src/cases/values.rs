//! Value state: behaviours A1 to A16.

use backend_api::{ErrorKind, MapDescriptor, MapState, StateBackend, ValueDescriptor, ValueState};

use crate::access::{Access, kind, panics};
use crate::functions::TestCodec;
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! values_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* values
            a01_an_unwritten_key_is_absent
            a02_the_default_is_read_and_not_stored
            a03_a_written_key_hides_the_default_of_that_key_alone
            a04_the_default_is_copied_and_not_shared
            a05_clear_restores_the_default_and_drops_the_entry
            a06_updating_to_nothing_clears_and_encodes_nothing
            a07_clear_of_an_absent_value_changes_nothing
            a08_the_last_write_wins_and_is_one_entry
            a09_a_stored_default_is_an_entry
            a10_a_failed_update_changes_nothing
            a10b_the_error_of_an_update_reaches_the_caller
            a11_states_of_other_names_are_apart
            a12_another_key_leaves_a_value_alone
            a13_registering_again_reaches_the_same_state
            a14_empty_is_not_absent
            a15_extreme_and_large_values_are_restored
            a16_a_value_without_encoding_fails_once
        }
    };
}

fn number() -> ValueDescriptor<i64> {
    ValueDescriptor::new("number")
}

fn answer() -> ValueDescriptor<i64> {
    number().default_value(42)
}

/// A1: a key that was never written reads as `None`. Reading creates no entry.
pub fn a01_an_unwritten_key_is_absent<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let number = backend.register(number()).unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), None);
    assert!(backend.at(number, &1).with(|value| value.is_none()).unwrap());
    assert_eq!(backend.entries("number", number), 0);
    assert!(backend.sorted_keys(number).is_empty());
}

/// A2: an unwritten key reads as the descriptor's default. Reading creates no entry.
pub fn a02_the_default_is_read_and_not_stored<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let number = backend.register(answer()).unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), Some(42));
    assert_eq!(backend.at(number, &2).with(|value| value.copied()).unwrap(), Some(42));
    assert_eq!(backend.entries("number", number), 0);
    assert!(backend.sorted_keys(number).is_empty());
    // The default belongs to the program, not to the snapshot.
    let mut backend = world.reopen(backend);
    let number = backend.register(answer().default_value(43)).unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), Some(43));
}

/// A3: a write to one key does not change the default of others.
pub fn a03_a_written_key_hides_the_default_of_that_key_alone<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let number = backend.register(answer()).unwrap();
    backend.at(number, &1).set(1).unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), Some(1));
    assert_eq!(backend.at(number, &2).get().unwrap(), Some(42));
    assert_eq!(backend.entries("number", number), 1);
}

/// A4: an update of the default changes that key only.
pub fn a04_the_default_is_copied_and_not_shared<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let words = ValueDescriptor::<Vec<String>>::new("words").default_value(vec!["a".to_owned()]);
    let words = backend.register(words).unwrap();
    backend.at(words, &1).update(|value| value.as_mut().unwrap().push("b".to_owned())).unwrap();
    backend.at(words, &2).get().unwrap().unwrap().push("c".to_owned());
    assert_eq!(backend.at(words, &1).get().unwrap().unwrap(), ["a", "b"]);
    assert_eq!(backend.at(words, &2).get().unwrap().unwrap(), ["a"]);
    assert_eq!(backend.sorted_keys(words), [1]);
}

/// A5: after `clear` the default is read again, and there is one entry less.
pub fn a05_clear_restores_the_default_and_drops_the_entry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let with_default = backend.register(answer()).unwrap();
    let without = backend.register(ValueDescriptor::<i64>::new("without")).unwrap();
    for key in 0..2 {
        backend.at(with_default, &key).set(7).unwrap();
        backend.at(without, &key).set(7).unwrap();
    }
    backend.at(with_default, &1).clear().unwrap();
    backend.at(without, &1).clear().unwrap();
    assert_eq!(backend.at(with_default, &1).get().unwrap(), Some(42));
    assert_eq!(backend.at(without, &1).get().unwrap(), None);
    assert_eq!((backend.entries("number", with_default), backend.entries("without", without)), (1, 1));
    assert_eq!(backend.sorted_keys(without), [0]);
}

/// A6: an update to nothing is a `clear`. The codec encodes nothing, also in the next snapshot.
pub fn a06_updating_to_nothing_clears_and_encodes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let codec = TestCodec::<i64>::new("counting");
    let counted = backend.register(ValueDescriptor::with_codec("counted", codec.clone())).unwrap();
    backend.at(counted, &1).set(1).unwrap();
    let encoded = codec.encoded();
    backend.at(counted, &1).update(|value| *value = None).unwrap();
    backend.at(counted, &2).update(|value| *value = None).unwrap();
    assert_eq!(backend.at(counted, &1).get().unwrap(), None);
    assert_eq!(backend.entries("counted", counted), 0);
    world.checkpoint(&mut backend);
    assert_eq!(codec.encoded(), encoded);
}

/// A7: clearing a missing value is no error and creates no entry.
pub fn a07_clear_of_an_absent_value_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let number = backend.register(number()).unwrap();
    backend.at(number, &1).clear().unwrap();
    backend.at(number, &1).clear().unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), None);
    assert_eq!(backend.entries("number", number), 0);
}

/// A8: two writes to one key are one entry, and the last one is read.
pub fn a08_the_last_write_wins_and_is_one_entry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(number()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    backend.at(token, &1).set(2).unwrap();
    let seen = backend.at(token, &1).update(|value| value.replace(3)).unwrap();
    assert_eq!((seen, backend.at(token, &1).get().unwrap()), (Some(2), Some(3)));
    assert_eq!(backend.entries("number", token), 1);
    let mut backend = world.reopen(backend);
    let token = backend.register(number()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(3));
}

/// A9: a value equal to the default is stored like any other, however it is written.
pub fn a09_a_stored_default_is_an_entry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(answer()).unwrap();
    backend.at(token, &1).set(42).unwrap();
    backend.at(token, &2).update(|value| assert_eq!(*value, Some(42))).unwrap();
    assert_eq!(backend.sorted_keys(token), [1, 2]);
    let mut backend = world.reopen(backend);
    let token = backend.register(answer().default_value(0)).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(42));
    assert_eq!(backend.at(token, &2).get().unwrap(), Some(42));
}

/// A10: an update whose function fails or panics changes nothing.
pub fn a10_a_failed_update_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let words = backend.register(ValueDescriptor::<Vec<String>>::new("words")).unwrap();
    let before = Some(vec!["a".to_owned()]);
    backend.at(words, &1).set(vec!["a".to_owned()]).unwrap();
    let spoil = |value: &mut Option<Vec<String>>| value.get_or_insert_default().push("b".to_owned());
    for (key, before) in [(1, before), (2, None)] {
        let failed = backend.at(words, &key).try_update(|value| {
            spoil(value);
            Err::<(), _>("no".into())
        });
        assert_eq!(kind(failed), ErrorKind::Function);
        assert_eq!(backend.at(words, &key).get().unwrap(), before);
        let failed = backend.at(words, &key).try_update(|value| {
            *value = None;
            Err::<(), _>("no".into())
        });
        assert_eq!(kind(failed), ErrorKind::Function);
        panics(|| {
            backend.at(words, &key).update(|value| {
                spoil(value);
                panic!("the user's function panics")
            })
        });
        assert_eq!(backend.at(words, &key).get().unwrap(), before);
    }
    panics(|| backend.at(words, &1).with(|_| panic!("the user's function panics")));
    assert_eq!(backend.sorted_keys(words), [1]);
}

/// A10: a library error of that function is returned as it is. Any other error is the source of a function error that
/// names state and key group.
pub fn a10b_the_error_of_an_update_reaches_the_caller<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let number = backend.register(number()).unwrap();
    let map = backend.register(MapDescriptor::<i32, i64>::new("map")).unwrap();
    backend.at(map, &1).put(1, 1).unwrap();
    let parse = |value: &mut Option<i64>, text: &str| {
        *value = Some(text.parse()?);
        Ok(())
    };
    let group = backend.key(&1).unwrap().group();
    let of_number = backend.at(number, &1).try_update(|value| parse(value, "x"));
    let of_entry = backend.at(map, &1).try_update(1, |value| parse(value, "x"));
    let of_new_entry = backend.at(map, &1).try_update(2, |value| parse(value, "x"));
    for (state, failed) in [("number", of_number), ("map", of_entry), ("map", of_new_entry)] {
        let error = failed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Function);
        assert_eq!((error.state(), error.key_group()), (Some(state), Some(group)));
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.is::<std::num::ParseIntError>(), "{source}");
    }
    let failed = backend
        .at(number, &1)
        .try_update(|_| Err::<(), _>(backend_api::Error::new(ErrorKind::Unsupported, "not that").into()));
    assert_eq!(kind(failed), ErrorKind::Unsupported);
    backend.at(number, &1).try_update(|value| parse(value, "7")).unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), Some(7));
}

/// A11: states of one backend are independent, whatever their types.
pub fn a11_states_of_other_names_are_apart<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let a = backend.register(ValueDescriptor::<String>::new("a")).unwrap();
    let b = backend.register(ValueDescriptor::<i32>::new("b")).unwrap();
    backend.at(a, &1).set("text".to_owned()).unwrap();
    assert_eq!(backend.at(b, &1).get().unwrap(), None);
    backend.at(b, &1).set(5).unwrap();
    let mut backend = world.reopen(backend);
    // In the other order, which must not matter.
    let b = backend.register(ValueDescriptor::<i32>::new("b")).unwrap();
    let a = backend.register(ValueDescriptor::<String>::new("a")).unwrap();
    assert_eq!(backend.at(a, &1).get().unwrap().unwrap(), "text");
    assert_eq!(backend.at(b, &1).get().unwrap(), Some(5));
}

/// A12: accessing another key in between changes nothing.
pub fn a12_another_key_leaves_a_value_alone<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let number = backend.register(number()).unwrap();
    backend.at(number, &1).set(10).unwrap();
    backend.at(number, &2).set(20).unwrap();
    backend.at(number, &2).clear().unwrap();
    assert_eq!(backend.at(number, &1).get().unwrap(), Some(10));
}

/// A13: registering a name again returns the same state, and both tokens are valid.
pub fn a13_registering_again_reaches_the_same_state<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let first = backend.register(number()).unwrap();
    backend.at(first, &1).set(1).unwrap();
    let second = backend.register(number()).unwrap();
    assert_eq!(backend.at(second, &1).get().unwrap(), Some(1));
    backend.at(second, &1).set(2).unwrap();
    assert_eq!(backend.at(first, &1).get().unwrap(), Some(2));
    assert_eq!(backend.states().len(), 1);
}

/// A14: an empty string and an empty byte vector are present, also after a restore.
pub fn a14_empty_is_not_absent<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<String>();
    let text = || ValueDescriptor::<String>::new("text");
    let bytes = || ValueDescriptor::<Vec<u8>>::new("bytes");
    let unit = || ValueDescriptor::<()>::new("unit");
    let (empty, other) = (String::new(), "other".to_owned());
    let (t, b, u) = (
        backend.register(text()).unwrap(),
        backend.register(bytes()).unwrap(),
        backend.register(unit()).unwrap(),
    );
    // With an empty key too.
    backend.at(t, &empty).set(String::new()).unwrap();
    backend.at(b, &empty).set(Vec::new()).unwrap();
    backend.at(u, &empty).set(()).unwrap();
    let mut backend = world.reopen(backend);
    let (t, b, u) = (
        backend.register(text()).unwrap(),
        backend.register(bytes()).unwrap(),
        backend.register(unit()).unwrap(),
    );
    assert_eq!(backend.at(t, &empty).get().unwrap(), Some(String::new()));
    assert_eq!(backend.at(b, &empty).get().unwrap(), Some(Vec::new()));
    assert_eq!(backend.at(u, &empty).get().unwrap(), Some(()));
    assert_eq!(backend.at(t, &other).get().unwrap(), None);
    assert_eq!(backend.at(u, &other).get().unwrap(), None);
}

/// A15: extreme values, NaN with its bits, and a value of 1 MiB are restored exactly.
pub fn a15_extreme_and_large_values_are_restored<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let float = || ValueDescriptor::<f64>::new("float");
    let large = || ValueDescriptor::<String>::new("large");
    let (n, f, l) = (
        backend.register(number()).unwrap(),
        backend.register(float()).unwrap(),
        backend.register(large()).unwrap(),
    );
    let nan = f64::from_bits(0x7ff8_0000_dead_beef);
    let text: String = (0..1 << 20).map(|i: u32| char::from(b'a' + (i % 23) as u8)).collect();
    for (key, value) in [(i32::MIN, i64::MIN), (0, 0), (i32::MAX, i64::MAX)] {
        backend.at(n, &key).set(value).unwrap();
    }
    backend.at(f, &1).set(nan).unwrap();
    backend.at(f, &2).set(-0.0).unwrap();
    backend.at(l, &1).set(text.clone()).unwrap();
    let mut backend = world.reopen(backend);
    let (n, f, l) = (
        backend.register(number()).unwrap(),
        backend.register(float()).unwrap(),
        backend.register(large()).unwrap(),
    );
    for (key, value) in [(i32::MIN, i64::MIN), (0, 0), (i32::MAX, i64::MAX)] {
        assert_eq!(backend.at(n, &key).get().unwrap(), Some(value));
    }
    assert_eq!(backend.at(f, &1).get().unwrap().unwrap().to_bits(), nan.to_bits());
    assert_eq!(backend.at(f, &2).get().unwrap().unwrap().to_bits(), (-0.0_f64).to_bits());
    assert!(backend.at(l, &1).with(|value| value == Some(&text)).unwrap());
}

/// A16: a value that cannot be encoded fails exactly once: at the write, or in the snapshot, which returns no
/// handle. Other keys keep their values, and without it the next snapshot is complete.
pub fn a16_a_value_without_encoding_fails_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let descriptor =
        || ValueDescriptor::with_codec("picky", TestCodec::<i64>::refusing("picky", |value| *value == 13));
    let picky = backend.register(descriptor()).unwrap();
    backend.at(picky, &1).set(1).unwrap();
    backend.at(picky, &2).set(2).unwrap();
    let written = backend.at(picky, &2).set(13);
    let snapshot = world.try_snapshot(&mut backend);
    match written {
        Ok(()) => assert_eq!(kind(snapshot), ErrorKind::Codec),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Codec);
            assert!(snapshot.is_ok());
            assert_eq!(backend.at(picky, &2).get().unwrap(), Some(2));
        }
    }
    assert_eq!(backend.at(picky, &1).get().unwrap(), Some(1));
    backend.at(picky, &2).set(3).unwrap();
    let mut backend = world.reopen(backend);
    let picky = backend.register(descriptor()).unwrap();
    assert_eq!(backend.at(picky, &1).get().unwrap(), Some(1));
    assert_eq!(backend.at(picky, &2).get().unwrap(), Some(3));
}
