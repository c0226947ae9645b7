//! Types of values and keys: values are read as they were written, or refused. These cases are not in Flink's
//! list.

use std::cmp::{Ordering, Reverse};
use std::fmt::Debug;

use backend_api::{
    CborCodec, ErrorKind, KeySpace, ListDescriptor, ListState, MapDescriptor, MapState, Result, StateBackend,
    StateKey, StateValue, TimerDescriptor, TimerState, ValueDescriptor, ValueState, serde_key,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::{Access, kind};
use crate::{Factory, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! types_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* types
            t01_a_type_of_another_shape_is_refused
            t02_a_type_that_the_encoding_cannot_carry_is_not_registered
            t03_a_value_that_could_not_be_read_fails_before_the_restore
            t04_a_key_that_could_not_be_read_is_refused_at_once
            t05_map_keys_not_in_byte_order_lose_nothing_silently
            t06_a_self_describing_codec_carries_what_attributes_do
        }
    };
}

/// Types with the same name and different shapes.
mod shapes {
    use super::*;

    macro_rules! shape {
        ($module:ident: $($item:tt)*) => {
            pub(super) mod $module {
                #[allow(unused_imports)]
                use super::*;
                #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
                $($item)*
            }
        };
    }

    shape!(first: pub struct V { pub a: u32, pub b: u32 });
    shape!(longer: pub struct V { a: u32, b: u32, c: u8 });
    shape!(renamed: pub struct V { a: u32, c: u32 });
    shape!(retyped: pub struct V { a: u32, b: i32 });
    shape!(inner: pub struct V { pub of: Vec<Option<first::V>> });
    shape!(variants: pub enum V { A, B(u8), C(u8) });
    shape!(inner_retyped: pub struct V { of: Vec<Option<retyped::V>> });
    shape!(fewer_variants: pub enum V { A, C(u8) });
}

/// T1: a type that cannot hold all restored values is a migration error that names the difference, and the
/// state can be registered with the old type: a field added without a default or renamed, a number retyped, a
/// variant removed, also nested; any change of keys.
pub fn t01_a_type_of_another_shape_is_refused<F: Factory>() {
    fn differs<V: StateValue + Serialize + DeserializeOwned>(
        backend: &mut impl StateBackend<Key = i32>,
        name: &str,
        what: &str,
    ) {
        let error = backend.register(ValueDescriptor::<V>::new(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration, "{error}");
        assert_eq!(error.state(), Some(name));
        assert!(error.to_string().contains(what), "{error}");
    }
    use shapes::*;
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let (flat, deep) = (first::V { a: 1, b: 2 }, inner::V { of: vec![None, Some(first::V { a: 3, b: 4 })] });
    let token = backend.register(ValueDescriptor::new("flat")).unwrap();
    backend.at(token, &1).set(flat.clone()).unwrap();
    let token = backend.register(ValueDescriptor::new("deep")).unwrap();
    backend.at(token, &1).set(deep.clone()).unwrap();
    let token = backend.register(ValueDescriptor::new("variants")).unwrap();
    backend.at(token, &1).set(variants::V::B(5)).unwrap();
    let token = backend.register(MapDescriptor::<Ordered, u8>::new("map")).unwrap();
    backend.at(token, &1).put(Ordered { a: 1, b: 2 }, 3).unwrap();
    let mut backend = world.reopen(backend);
    differs::<longer::V>(&mut backend, "flat", "\"c\" was added without a default");
    differs::<renamed::V>(&mut backend, "flat", "\"c\" was added without a default");
    differs::<retyped::V>(&mut backend, "flat", "in b: the type was u32 and is i32");
    differs::<inner_retyped::V>(&mut backend, "deep", "in of.element.Some.b: the type was u32 and is i32");
    differs::<fewer_variants::V>(&mut backend, "variants", "\"B\" was removed");
    let mut backend = world.reopen(backend);
    let error = backend.register(MapDescriptor::<Swapped, u8>::new("map")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration, "{error}");
    let token = backend.register(ValueDescriptor::<first::V>::new("flat")).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(flat));
    let token = backend.register(ValueDescriptor::<inner::V>::new("deep")).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(deep));
    let token = backend.register(MapDescriptor::<Ordered, u8>::new("map")).unwrap();
    assert_eq!(backend.at(token, &1).get(&Ordered { a: 1, b: 2 }).unwrap(), Some(3));
}

macro_rules! keys {
    ($($(#[$meta:meta])* $name:ident = $schema:literal: { $($item:tt)* })*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        $(#[$meta])*
        $($item)*
        serde_key!($name = $schema);
    )*};
}

keys! {
    Ordered = "k": { struct Ordered { a: u32, b: u32 } }
    Swapped = "k": { struct Swapped { b: u32, a: u32 } }
    #[serde(untagged)] Untagged = "untagged": { enum Untagged { A(u8), B(String) } }
    Flat = "flat": { struct Flat { a: u8, #[serde(flatten)] rest: std::collections::BTreeMap<String, u8> } }
    Hides = "hides": { enum Hides { A, #[serde(skip)] #[allow(dead_code)] B, C, D } }
    Leaves = "leaves": {
        struct Leaves { #[serde(default, skip_serializing_if = "Option::is_none")] a: Option<u8>, b: u8 }
    }
    Forgets = "forgets": { struct Forgets { a: u8, #[serde(skip)] b: u8 } }
    Backwards = "backwards": { struct Backwards(Reverse<u32>); }
}

/// T2: a type that must ask the bytes for their type is refused at registration, or when the key type is
/// declared, with the name of the type. Nothing is registered then.
pub fn t02_a_type_that_the_encoding_cannot_carry_is_not_registered<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let error = backend.register(ValueDescriptor::<Tagged>::new("state")).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Unsupported, Some("state")));
    assert!(error.to_string().contains("Tagged") && error.to_string().contains("CborCodec"), "{error}");
    let refused = [
        kind(backend.register(ListDescriptor::<Untagged>::new("state"))),
        kind(backend.register(MapDescriptor::<u8, Vec<Flat>>::new("state"))),
        kind(backend.register(MapDescriptor::<Untagged, u8>::new("state"))),
        kind(backend.register(ValueDescriptor::<u8>::new("state").namespaced::<(u8, Flat)>())),
        kind(KeySpace::<Untagged>::new(10)),
    ];
    assert_eq!(refused, [ErrorKind::Unsupported; 5]);
    assert!(backend.states().is_empty());
    let token = backend.register(ValueDescriptor::<u8>::new("state")).unwrap();
    backend.at(token, &1).set(1).unwrap();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Tagged {
    A { x: u8 },
    B,
}

/// A type that deserializes only even numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Even(u8);

impl TryFrom<u8> for Even {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
    }
}

impl From<Even> for u8 {
    fn from(even: Even) -> u8 {
        even.0
    }
}

/// A type that serializes a string and deserializes a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OneSided {
    #[serde(serialize_with = "as_text")]
    number: u64,
}

fn as_text<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&number.to_string())
}

/// T3: a value that its type cannot read back is refused at the write, or fails the checkpoint, so every
/// checkpoint can be restored. The error names the state and, in a checkpoint, the key group.
pub fn t03_a_value_that_could_not_be_read_fails_before_the_restore<F: Factory>() {
    fn check<F: Factory, V: StateValue + Debug + PartialEq + Serialize + DeserializeOwned>(good: V, bad: V) {
        let world = World::<F>::new();
        let mut backend = world.open::<i32>();
        let value = backend.register(ValueDescriptor::<V>::new("value")).unwrap();
        let list = backend.register(ListDescriptor::<V>::new("list")).unwrap();
        let map = backend.register(MapDescriptor::<u8, V>::new("map")).unwrap();
        backend.at(value, &1).set(good.clone()).unwrap();
        backend.at(list, &1).add(good.clone()).unwrap();
        backend.at(map, &1).put(1, good.clone()).unwrap();
        world.checkpoint(&mut backend);
        for state in ["value", "list", "map"] {
            let written = match state {
                "value" => backend.at(value, &2).set(bad.clone()),
                "list" => backend.at(list, &2).add(bad.clone()),
                _ => backend.at(map, &2).put(2, bad.clone()),
            };
            let result = written.and_then(|()| world.try_snapshot(&mut backend).map(drop));
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
            assert_eq!(error.state(), Some(state), "{error}");
            assert!(error.key_group().is_some(), "{error}");
            backend.at(value, &2).clear().unwrap();
            backend.at(list, &2).clear().unwrap();
            backend.at(map, &2).clear().unwrap();
        }
        // The backend continues.
        let mut backend = world.reopen(backend);
        let value = backend.register(ValueDescriptor::<V>::new("value")).unwrap();
        assert_eq!(backend.at(value, &1).get().unwrap(), Some(good));
    }
    check::<F, _>(Even(2), Even(3));
    check::<F, _>(Leaves { a: Some(1), b: 1 }, Leaves { a: None, b: 1 });
    check::<F, _>(Hides::A, Hides::D);
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(ValueDescriptor::<OneSided>::new("value")).unwrap();
    let written = backend.at(token, &1).set(OneSided { number: 700 });
    let error = written.and_then(|()| world.try_snapshot(&mut backend).map(drop)).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Codec, Some("value")), "{error}");
}

/// T4: a key, namespace or map key that would change or fail after a restore is refused at its first use. One
/// bad record does not affect others or checkpoints.
pub fn t04_a_key_that_could_not_be_read_is_refused_at_once<F: Factory>() {
    fn check<F: Factory, K: StateKey + Debug>(good: K, bad: K) {
        let world = World::<F>::new();
        let mut backend = world.open::<K>();
        let value = backend.register(ValueDescriptor::<u8>::new("value")).unwrap();
        let window = backend.register(ValueDescriptor::<u8>::new("window").namespaced::<K>()).unwrap();
        let map = backend.register(MapDescriptor::<K, u8>::new("map")).unwrap();
        backend.at(value, &good).set(1).unwrap();
        backend.within(window, &good, &good).set(2).unwrap();
        backend.at(map, &good).put(good.clone(), 3).unwrap();
        let key = KeySpace::<K>::new(10).unwrap();
        assert_eq!(kind(key.key(&bad)), ErrorKind::Codec);
        assert_eq!(kind(backend.key(&bad)), ErrorKind::Codec);
        let key = key.key(&good).unwrap();
        assert_eq!(kind(backend.value(window, key, &bad)), ErrorKind::Codec);
        assert_eq!(kind(backend.at(map, &good).put(bad.clone(), 4)), ErrorKind::Codec);
        assert_eq!(kind(backend.at(map, &good).put_all([(bad, 4)])), ErrorKind::Codec);
        let mut backend = world.reopen(backend);
        let value = backend.register(ValueDescriptor::<u8>::new("value")).unwrap();
        let map = backend.register(MapDescriptor::<K, u8>::new("map")).unwrap();
        assert_eq!(backend.at(value, &good).get().unwrap(), Some(1));
        assert_eq!(backend.at(map, &good).iter().unwrap().count(), 1);
    }
    check::<F, _>(Hides::A, Hides::C);
    check::<F, _>(Leaves { a: Some(1), b: 0 }, Leaves { a: None, b: 0 });
    check::<F, _>(Forgets { a: 1, b: 0 }, Forgets { a: 1, b: 1 });
}

/// A string compared without case.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Caseless(String);

impl Ord for Caseless {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.to_lowercase().cmp(&other.0.to_lowercase())
    }
}

impl PartialOrd for Caseless {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Caseless {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Caseless {}

serde_key!(Caseless);

/// T5: map keys whose `Ord` is not the order of their bytes are all found and listed once, or cause an
/// illegal-state error that says so. This also holds if different encodings are equal by `Ord`, and for timers.
pub fn t05_map_keys_not_in_byte_order_lose_nothing_silently<F: Factory>() {
    fn found<B: StateBackend<Key = i32>>(backend: &mut B, entries: u32) -> Result<()> {
        let map = backend.register(MapDescriptor::<Backwards, u32>::new("map"))?;
        let listed = backend.at(map, &1).keys()?.try_fold(0, |n, key| key.map(|_| n + 1))?;
        assert_eq!(listed, entries);
        for i in 0..entries {
            assert_eq!(backend.at(map, &1).get(&Backwards(Reverse(i)))?, Some(i));
        }
        Ok(())
    }
    let allowed = |result: Result<()>| match result {
        Ok(()) => {}
        Err(error) => {
            assert_eq!((error.kind(), error.state()), (ErrorKind::IllegalState, Some("map")), "{error}");
        }
    };
    for entries in [6, 200, 600] {
        let world = World::<F>::new();
        let mut backend = world.open::<i32>();
        let map = backend.register(MapDescriptor::<Backwards, u32>::new("map")).unwrap();
        let put = (0..entries).try_for_each(|i| backend.at(map, &1).put(Backwards(Reverse(i)), i));
        if put.is_err() {
            allowed(put);
            continue;
        }
        allowed(found(&mut backend, entries));
        let mut backend = world.reopen(backend);
        allowed(found(&mut backend, entries));
        allowed(found(&mut backend, entries));
    }
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let map = backend.register(MapDescriptor::<Caseless, u8>::new("map")).unwrap();
    let (lower, upper) = (Caseless("a".to_owned()), Caseless("A".to_owned()));
    allowed((|| {
        backend.at(map, &1).put(lower.clone(), 1)?;
        backend.at(map, &1).put(upper.clone(), 2)?;
        assert_eq!(backend.at(map, &1).iter()?.count(), 2);
        assert_eq!(backend.at(map, &1).get(&lower)?, Some(1));
        assert_eq!(backend.at(map, &1).get(&upper)?, Some(2));
        Ok(())
    })());
    let timers = TimerDescriptor::event_time("map").namespaced::<Caseless>();
    let mut backend = world.open::<i32>();
    let timers = backend.register(timers).unwrap();
    let keys = backend.subtask().clone();
    allowed((|| {
        for namespace in [&lower, &upper] {
            backend.timers(timers)?.add(keys.key(&1)?, namespace, 5)?;
        }
        assert_eq!(backend.timers(timers)?.advance(5).count(), 2);
        Ok(())
    })());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Growing {
    a: u8,
    #[serde(default)]
    b: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grown {
    #[serde(default)]
    c: Vec<u8>,
    b: Option<String>,
    a: u8,
}

/// T6: with the self-describing codec such types are read as written, and fields can be added and removed
/// between a checkpoint and its restore.
pub fn t06_a_self_describing_codec_carries_what_attributes_do<F: Factory>() {
    fn codec<V: Serialize + DeserializeOwned + StateValue>(name: &str) -> ValueDescriptor<V> {
        ValueDescriptor::with_codec(name, std::sync::Arc::new(CborCodec))
    }
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let tagged = backend.register(codec::<Vec<Tagged>>("tagged")).unwrap();
    let values = vec![Tagged::A { x: 5 }, Tagged::B];
    backend.at(tagged, &1).set(values.clone()).unwrap();
    let leaves = backend.register(codec::<Leaves>("leaves")).unwrap();
    backend.at(leaves, &1).set(Leaves { a: None, b: 1 }).unwrap();
    let growing = backend.register(codec::<Growing>("growing")).unwrap();
    backend.at(growing, &1).set(Growing { a: 1, b: Some("b".to_owned()) }).unwrap();
    let mut backend = world.reopen(backend);
    let tagged = backend.register(codec::<Vec<Tagged>>("tagged")).unwrap();
    assert_eq!(backend.at(tagged, &1).get().unwrap(), Some(values));
    let leaves = backend.register(codec::<Leaves>("leaves")).unwrap();
    assert_eq!(backend.at(leaves, &1).get().unwrap(), Some(Leaves { a: None, b: 1 }));
    let grown = backend.register(codec::<Grown>("growing")).unwrap();
    let expected = Grown { c: Vec::new(), b: Some("b".to_owned()), a: 1 };
    assert_eq!(backend.at(grown, &1).get().unwrap(), Some(expected));
}
