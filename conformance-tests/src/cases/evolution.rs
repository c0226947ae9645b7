//! Types of values that change between a checkpoint and its restore: behaviours N198 to N212.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, AggregatingToken, BoxError, CborCodec, Codec,
    ErrorKind, KeySpace, ListDescriptor, ListState, ListToken, MapDescriptor, MapState, MapToken, ReadOld,
    ReducingDescriptor, ReducingState, ReducingToken, Result, StateBackend, StateValue, Subtask,
    ValueDescriptor, ValueState, ValueToken, default_codec, serde_key,
};
use serde::{Deserialize, Serialize};
use task_state::{BroadcastDescriptor, OperatorListDescriptor};

use super::operator::{checkpoint, open, open_one};
use crate::access::{Access, kind};
use crate::functions::TestCodec;
use crate::{Factory, World, part, single};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! evolution_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* evolution
            n198_values_of_an_older_type_are_read_and_written_in_the_new_one
            n198b_migrations_run_for_exactly_their_versions
            n198c_a_failed_migration_changes_nothing
            n198d_an_unknown_version_is_refused
            n198e_values_of_any_codec_are_migrated
            n198f_only_the_older_part_of_a_state_is_migrated
            n199_a_codec_decides_which_others_it_reads
            n201_other_keys_are_refused_with_one_of_five_reasons
            n203b_other_namespaces_are_refused_with_one_of_five_reasons
            n204_operator_state_evolves_like_keyed_state
            n204b_operator_state_that_cannot_be_read_is_refused
            n208_fields_are_added_and_removed_by_name
            n208b_variants_are_found_by_name
            n208c_a_value_becomes_optional
            n210_a_changed_type_is_rescaled_at_once
            n212_other_map_keys_are_refused_with_one_of_five_reasons
        }
    };
}

/// Keeps the last input.
#[derive(Debug, Default)]
struct Last<V>(PhantomData<fn() -> V>);

impl<V: StateValue + Default> Aggregate for Last<V> {
    type Input = V;
    type Accumulator = V;
    type Output = V;

    fn create(&self) -> V {
        V::default()
    }

    fn add(&self, last: &mut V, input: V) -> Result<(), BoxError> {
        *last = input;
        Ok(())
    }

    fn result(&self, last: &V) -> V {
        last.clone()
    }

    fn merge(&self, into: &mut V, other: &V) -> Result<(), BoxError> {
        *into = other.clone();
        Ok(())
    }
}

/// One state of each kind with values `V`, and one with namespaces.
struct Tokens<V: StateValue + Default> {
    value: ValueToken<V>,
    window: ValueToken<V, u8>,
    list: ListToken<V>,
    map: MapToken<u8, V>,
    reduced: ReducingToken<V>,
    aggregated: AggregatingToken<Last<V>>,
}

/// The names of the states, sorted.
const NAMES: [&str; 6] = ["aggregated", "list", "map", "reduced", "value", "window"];

/// Registers the states with calls to each descriptor.
macro_rules! register {
    ($backend:ident, $value:ty $(, $($call:tt)+)?) => {
        Tokens::<$value> {
            value: $backend.register(ValueDescriptor::new("value")$($($call)+)?).unwrap(),
            window: $backend.register(ValueDescriptor::new("window").namespaced()$($($call)+)?).unwrap(),
            list: $backend.register(ListDescriptor::new("list")$($($call)+)?).unwrap(),
            map: $backend.register(MapDescriptor::new("map")$($($call)+)?).unwrap(),
            reduced: $backend.register(reduced()$($($call)+)?).unwrap(),
            aggregated: $backend.register(AggregatingDescriptor::new("aggregated", Last::default())$($($call)+)?).unwrap(),
        }
    };
}

/// Registers one of the states with calls to its descriptor.
macro_rules! register_one {
    ($backend:ident, $name:expr, $value:ty, $($call:tt)+) => {
        match $name {
            "value" => $backend.register(ValueDescriptor::<$value>::new("value")$($call)+).map(drop),
            "window" => {
                $backend.register(ValueDescriptor::<$value>::new("window").namespaced::<u8>()$($call)+).map(drop)
            }
            "list" => $backend.register(ListDescriptor::<$value>::new("list")$($call)+).map(drop),
            "map" => $backend.register(MapDescriptor::<u8, $value>::new("map")$($call)+).map(drop),
            "reduced" => $backend.register(reduced::<$value>()$($call)+).map(drop),
            _ => $backend
                .register(AggregatingDescriptor::new("aggregated", Last::<$value>::default())$($call)+)
                .map(drop),
        }
    };
}

fn reduced<V: StateValue + Serialize + serde::de::DeserializeOwned>() -> ReducingDescriptor<V> {
    ReducingDescriptor::new("reduced", |_, new: &V| new.clone())
}

const KEYS: i32 = 40;

impl<V: StateValue + Default + Debug + PartialEq> Tokens<V> {
    /// Writes `value(0)` to `value(7)` at each key of the backend.
    fn write<B: StateBackend<Key = i32>>(&self, backend: &mut B, value: impl Fn(i32, i32) -> V) {
        for key in (0..KEYS).filter(|key| backend.key(key).is_ok()).collect::<Vec<_>>() {
            backend.at(self.value, &key).set(value(key, 0)).unwrap();
            backend.within(self.window, &key, &7).set(value(key, 1)).unwrap();
            backend.at(self.list, &key).set(vec![value(key, 2), value(key, 3)]).unwrap();
            backend.at(self.map, &key).put(1, value(key, 4)).unwrap();
            backend.at(self.map, &key).put(2, value(key, 5)).unwrap();
            backend.at(self.reduced, &key).add(value(key, 6)).unwrap();
            backend.at(self.aggregated, &key).add(value(key, 7)).unwrap();
        }
    }

    /// Checks what [`write`](Self::write) has written.
    #[track_caller]
    fn check<B: StateBackend<Key = i32>>(&self, backend: &mut B, value: impl Fn(i32, i32) -> V) {
        for key in (0..KEYS).filter(|key| backend.key(key).is_ok()).collect::<Vec<_>>() {
            let mut found = Vec::new();
            found.extend(backend.at(self.value, &key).get().unwrap());
            found.extend(backend.within(self.window, &key, &7).get().unwrap());
            found.extend(backend.at(self.list, &key).get().unwrap());
            found.extend(backend.at(self.map, &key).get(&1).unwrap());
            found.extend(backend.at(self.map, &key).get(&2).unwrap());
            found.extend(backend.at(self.reduced, &key).get().unwrap());
            found.extend(backend.at(self.aggregated, &key).get().unwrap());
            let expected: Vec<_> = (0..8).map(|part| value(key, part)).collect();
            assert_eq!(found, expected, "key {key}");
        }
    }
}

/// Version 1.
fn seconds(key: i32, part: i32) -> i64 {
    i64::from(key * 10 + part)
}

/// Version 2.
fn millis(key: i32, part: i32) -> i64 {
    seconds(key, part) * 1000
}

/// Version 3.
fn text(key: i32, part: i32) -> String {
    format!("{} ms", millis(key, part))
}

fn to_millis(seconds: i64) -> Result<i64, BoxError> {
    Ok(seconds * 1000)
}

fn to_text(millis: i64) -> Result<String, BoxError> {
    Ok(format!("{millis} ms"))
}

/// N198: values, elements, map values and accumulators of an older type are read as the new one, with wider
/// numbers. Writes work, and the next checkpoints, also increments, hold only the new type.
pub fn n198_values_of_an_older_type_are_read_and_written_in_the_new_one<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = backend.register(ValueDescriptor::<u32>::new("value")).unwrap();
    let list = backend.register(ListDescriptor::<Vec<u16>>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<u8, f32>::new("map")).unwrap();
    let sum = backend.register(ReducingDescriptor::new("sum", |a: &i32, b| a + b)).unwrap();
    for key in 0..50 {
        backend.at(value, &key).set(key as u32).unwrap();
        backend.at(list, &key).add(vec![key as u16]).unwrap();
        backend.at(list, &key).add(vec![]).unwrap();
        backend.at(map, &key).put(7, key as f32).unwrap();
        backend.at(sum, &key).add(key).unwrap();
    }
    let mut backend = world.reopen(backend);
    for round in 0..3_i64 {
        let value = backend.register(ValueDescriptor::<u64>::new("value")).unwrap();
        let list = backend.register(ListDescriptor::<VecDeque<u16>>::new("list")).unwrap();
        let map = backend.register(MapDescriptor::<u8, f64>::new("map")).unwrap();
        let sum = backend.register(ReducingDescriptor::new("sum", |a: &i64, b| a + b)).unwrap();
        for key in 0..50_i32 {
            let wide = if key == 9 && round > 0 { 1 << 40 } else { key as u64 };
            assert_eq!(backend.at(value, &key).get().unwrap(), Some(wide));
            let mut elements = vec![VecDeque::from([key as u16]), VecDeque::new()];
            elements.extend(vec![VecDeque::from([1]); if key == 9 { round as usize } else { 0 }]);
            assert_eq!(backend.at(list, &key).get().unwrap(), elements);
            assert_eq!(backend.at(map, &key).get(&7).unwrap(), Some(f64::from(key)));
            let added = if key == 9 { round << 40 } else { 0 };
            assert_eq!(backend.at(sum, &key).get().unwrap(), Some(i64::from(key) + added));
        }
        backend.at(value, &9).set(1 << 40).unwrap();
        backend.at(list, &9).add(VecDeque::from([1])).unwrap();
        backend.at(sum, &9).add(1 << 40).unwrap();
        backend = world.reopen(backend);
    }
    let error = backend.register(ValueDescriptor::<u32>::new("value")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migration, "{error}");
}

/// N198: values of every kind pass through the migrations from their version on, each once, also between versions
/// of one type. The next checkpoints, also increments, have the new version.
pub fn n198b_migrations_run_for_exactly_their_versions<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    register!(backend, i64).write(&mut backend, seconds);
    let first = world.checkpoint(&mut backend);
    drop(backend);
    let mut backend = world.restore::<i32>(&first);
    for _ in 0..3 {
        let tokens = register!(backend, i64, .version(2).migrate(1, to_millis));
        tokens.check(&mut backend, millis);
        backend.at(tokens.value, &3).set(millis(3, 0)).unwrap();
        backend = world.reopen(backend);
    }
    let second = world.checkpoint(&mut backend);
    drop(backend);
    for handle in [&first, &second] {
        let mut backend = world.restore::<i32>(handle);
        register!(backend, String, .version(3).migrate(1, to_millis).migrate(2, to_text))
            .check(&mut backend, text);
        let mut backend = world.reopen(backend);
        register!(backend, String, .version(3)).check(&mut backend, text);
    }
}

/// N198: if a migration fails or panics at any value, the registration fails with a function error that names state
/// and key group. The state is then as before: it is part of checkpoints, and can be registered again.
pub fn n198c_a_failed_migration_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    register!(backend, i64).write(&mut backend, seconds);
    let large = backend.register(ValueDescriptor::<Vec<u8>>::new("large")).unwrap();
    for key in 0..KEYS {
        backend.at(large, &key).set(vec![key as u8; 64 << 10]).unwrap();
    }
    let handle = world.checkpoint(&mut backend);
    drop(backend);
    fn failing<T>(at: usize, panics: bool) -> impl Fn(T) -> Result<T, BoxError> + Clone {
        let calls = Arc::new(AtomicUsize::new(0));
        move |old| match calls.fetch_add(1, Ordering::SeqCst) {
            call if call != at => Ok(old),
            _ if panics => panic!("the test's migration panics"),
            _ => Err("the test's migration fails".into()),
        }
    }
    for (at, panics) in [(0, true), (KEYS as usize - 1, false)] {
        let mut backend = world.restore::<i32>(&handle);
        for name in NAMES {
            let error = register_one!(backend, name, i64, .version(2).migrate(1, failing::<i64>(at, panics)));
            let error = error.unwrap_err();
            assert_eq!((error.kind(), error.state()), (ErrorKind::Function, Some(name)), "{error}");
            assert!(
                error.key_group().is_some() && error.to_string().contains("the test's migration"),
                "{error}"
            );
        }
        let large = || ValueDescriptor::<Vec<u8>>::new("large").version(2);
        let error = backend.register(large().migrate(1, failing::<Vec<u8>>(at, panics))).unwrap_err();
        assert_eq!((error.kind(), error.state()), (ErrorKind::Function, Some("large")), "{error}");
        assert!(backend.states().iter().all(|state| !state.registered));
        let after = world.checkpoint(&mut backend);
        for mut backend in [backend, world.restore::<i32>(&after)] {
            register!(backend, i64, .version(2).migrate(1, to_millis)).check(&mut backend, millis);
            let token = backend.register(large().migrate(1, |old: Vec<u8>| Ok(old))).unwrap();
            for key in 0..KEYS {
                assert_eq!(backend.at(token, &key).get().unwrap(), Some(vec![key as u8; 64 << 10]));
            }
        }
    }
}

/// N198: a newer version, and an older one without a migration, are migration errors that name both. Migrations that do not
/// fit each other are refused at every registration. So is another version of a registered state.
pub fn n198d_an_unknown_version_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let three = || ValueDescriptor::<i64>::new("value").version(3);
    let misfits = [
        kind(backend.register(ValueDescriptor::<i64>::new("value").version(0))),
        kind(backend.register(three().migrate(0, to_millis))),
        kind(backend.register(three().migrate(3, to_millis))),
        kind(backend.register(three().migrate(4, to_millis))),
        kind(backend.register(three().migrate(2, to_text))),
        kind(backend.register(three().migrate(1, to_text).migrate(2, to_millis))),
        kind(backend.register(three().migrate(1, to_millis).migrate(1, to_millis))),
    ];
    assert_eq!(misfits, [ErrorKind::InvalidArgument; 7]);
    let token = backend.register(three().migrate(1, |old: u8| Ok(i64::from(old)))).unwrap();
    backend.at(token, &1).set(5).unwrap();
    assert_eq!(kind(backend.register(three().version(4))), ErrorKind::IllegalState);
    assert!(backend.register(three()).is_ok());
    let mut backend = world.reopen(backend);
    let refused = [
        (ValueDescriptor::new("value"), ["version 3", "version 1"]),
        (three().version(2).migrate(1, to_millis), ["version 3", "version 2"]),
        (three().version(5).migrate(4, to_millis).migrate(2, to_millis), ["version 3", "version 5"]),
    ];
    for (descriptor, versions) in refused {
        let error = backend.register(descriptor).unwrap_err();
        assert_eq!((error.kind(), error.state()), (ErrorKind::Migration, Some("value")), "{error}");
        assert!(versions.iter().all(|version| error.to_string().contains(version)), "{error}");
    }
    let token = backend.register(three()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(5));
}

/// N198: a migration reads the values of a user's codec if it has that codec, and the values of all other codecs by any type
/// that fits them. A type that does not is a migration error.
pub fn n198e_values_of_any_codec_are_migrated<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let own = || TestCodec::<i64>::new("own");
    let token = backend.register(ValueDescriptor::with_codec("own", own())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    let cbor = ListDescriptor::<Pair>::with_codec("cbor", Arc::new(CborCodec));
    let token = backend.register(cbor).unwrap();
    backend.at(token, &1).set(vec![Pair { a: 1, b: 2 }]).unwrap();
    let token = backend.register(MapDescriptor::<u8, Pair>::new("shaped")).unwrap();
    backend.at(token, &1).put(9, Pair { a: 3, b: 4 }).unwrap();
    let mut backend = world.reopen(backend);
    let text = || ValueDescriptor::<String>::new("own").version(2);
    let print = |old: i64| Ok(old.to_string());
    let error = backend.register(text().migrate(1, print)).unwrap_err();
    assert!(error.kind() == ErrorKind::Migration && error.to_string().contains("migrate_with"), "{error}");
    let other = text().migrate_with(1, TestCodec::<i64>::new("other"), print);
    assert_eq!(kind(backend.register(other)), ErrorKind::Migration);
    let sums = || MapDescriptor::<u8, u64>::new("shaped").version(2);
    assert_eq!(
        kind(backend.register(sums().migrate(1, |old: String| Ok(old.len() as u64)))),
        ErrorKind::Migration
    );
    for _ in 0..2 {
        let token = backend.register(text().migrate_with(1, own(), print)).unwrap();
        assert_eq!(backend.at(token, &1).get().unwrap(), Some("7".to_owned()));
        let sum = |old: Pair| Ok(u64::from(old.a + old.b));
        let token = backend.register(ListDescriptor::<u64>::new("cbor").version(2).migrate(1, sum)).unwrap();
        assert_eq!(backend.at(token, &1).get().unwrap(), [3]);
        // The old type need not have all fields.
        let token = backend.register(sums().migrate(1, |old: OnlyB| Ok(old.b))).unwrap();
        assert_eq!(backend.at(token, &1).get(&9).unwrap(), Some(4));
        backend = world.reopen(backend);
    }
}

/// N198: if the parts of a state have two versions, only the older part is migrated, also after a checkpoint in which the
/// state was not registered.
pub fn n198f_only_the_older_part_of_a_state_is_migrated<F: Factory>() {
    let world = World::<F>::new();
    let mut handles = Vec::new();
    for index in 0..2 {
        let mut backend = world.try_open(part::<i32>(10, 2, index), &[]).unwrap();
        match index {
            0 => register!(backend, i64).write(&mut backend, seconds),
            _ => register!(backend, i64, .version(2)).write(&mut backend, millis),
        }
        handles.push(world.checkpoint(&mut backend));
    }
    let mut joined = world.try_open::<i32>(single(10), &handles).unwrap();
    assert_eq!(joined.state_names(), NAMES);
    assert_eq!(kind(joined.register(ValueDescriptor::<i64>::new("value"))), ErrorKind::Migration);
    let passed_on = world.checkpoint(&mut joined);
    for mut backend in [joined, world.restore::<i32>(&passed_on)] {
        for _ in 0..2 {
            register!(backend, i64, .version(2).migrate(1, to_millis)).check(&mut backend, millis);
            backend = world.reopen(backend);
        }
        backend.drop_restored("list").unwrap();
        register_one!(backend, "map", i64, .version(2)).unwrap();
    }
}

/// Reads what a codec of 32-bit numbers with the id `narrow` has written.
struct Wide(Arc<dyn Codec<i64>>);

impl Codec<i64> for Wide {
    fn id(&self) -> String {
        "wide".to_owned()
    }

    fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<()> {
        self.0.encode(value, out)
    }

    fn decode(&self, input: &[u8]) -> Result<i64> {
        self.0.decode(input)
    }

    fn evolve(&self, old: &str) -> Result<ReadOld<i64>> {
        match old {
            "narrow" => {
                let narrow = default_codec::<i32>();
                Ok(Box::new(move |bytes| narrow.decode(bytes).map(i64::from)))
            }
            _ => self.0.evolve(old),
        }
    }

    fn heap_size(&self, _: &i64) -> usize {
        0
    }
}

/// N199: a user's codec decides by `evolve` which others it reads. It then writes its own form, and only that is in
/// the next checkpoints.
pub fn n199_a_codec_decides_which_others_it_reads<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token =
        backend.register(ListDescriptor::with_codec("list", TestCodec::<i32>::new("narrow"))).unwrap();
    for key in 0..KEYS {
        backend.at(token, &key).set(vec![key, -key]).unwrap();
    }
    let mut backend = world.reopen(backend);
    let wide = || ListDescriptor::<i64>::with_codec("list", Arc::new(Wide(default_codec())));
    for _ in 0..2 {
        let token = backend.register(wide()).unwrap();
        for key in 0..KEYS {
            let expected = [i64::from(key), -i64::from(key)];
            assert_eq!(backend.at(token, &key).get().unwrap(), expected);
        }
        backend = world.reopen(backend);
    }
    let narrow = ListDescriptor::with_codec("list", TestCodec::<i32>::new("narrow"));
    assert_eq!(kind(backend.register(narrow)), ErrorKind::Migration);
    assert!(backend.register(wide()).is_ok());
}

macro_rules! places {
    ($($name:ident = $schema:literal { $($fields:tt)* })*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        struct $name { $($fields)* }
        serde_key!($name = $schema);
    )*};
}

// A type of keys, and changes of it.
places! {
    Place = "place" { city: u32, street: String }
    Retyped = "place" { city: u32, street: bool }
    Widened = "place" { city: u64, street: String }
    Reordered = "place" { street: String, city: u32 }
    Renamed = "place" { city: u32, road: String }
    Reencoded = "place/2" { city: u32, street: String }
}

fn place() -> Place {
    Place { city: 7, street: "a".to_owned() }
}

/// Checks that `refuse` refuses each change of [`Place`] with its own reason.
macro_rules! assert_five_reasons {
    ($refuse:ident, $remedy:literal) => {
        let errors = [
            ($refuse!(Retyped), "(another type): in place.street: the type was string and is bool"),
            (
                $refuse!(Widened),
                "(a number of another width or sign): in place.city: the type was u32 and is u64",
            ),
            ($refuse!(Reordered), "(more, fewer or reordered parts): in place: the fields were"),
            (
                $refuse!(Renamed),
                "(fields or variants of other names): in place: the field \"street\" was removed",
            ),
            ($refuse!(Reencoded), "(another encoding): the type was place:struct"),
        ];
        for (error, reason) in errors {
            assert_eq!(error.kind(), ErrorKind::Migration, "{error}");
            assert!(error.to_string().contains(reason) && error.to_string().contains($remedy), "{error}");
        }
    };
}

/// N201: a restore with other keys is refused at once, with one of five reasons and a remedy: another type, a
/// number of another width or sign, more, fewer or reordered parts, other names, another encoding. The restore works with the
/// right type.
pub fn n201_other_keys_are_refused_with_one_of_five_reasons<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<Place>();
    let token = backend.register(ValueDescriptor::new("value")).unwrap();
    backend.at(token, &place()).set(1_u8).unwrap();
    let handle = world.checkpoint(&mut backend);
    macro_rules! refuse {
        ($key:ty) => {
            world.try_open::<$key>(single(10), std::slice::from_ref(&handle)).map(drop).unwrap_err()
        };
    }
    assert_five_reasons!(refuse, "a new operator id");
    let mut backend = world.restore::<Place>(&handle);
    let token = backend.register(ValueDescriptor::new("value")).unwrap();
    assert_eq!(backend.at(token, &place()).get().unwrap(), Some(1_u8));
}

/// N203: a restored state is refused with other namespaces, with one of the same reasons and a remedy. The data is kept.
pub fn n203b_other_namespaces_are_refused_with_one_of_five_reasons<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = || ValueDescriptor::<u8>::new("value");
    let token = backend.register(value().namespaced::<Place>()).unwrap();
    backend.within(token, &1, &place()).set(1).unwrap();
    let mut backend = world.reopen(backend);
    macro_rules! refuse {
        ($namespace:ty) => {
            backend.register(value().namespaced::<$namespace>()).unwrap_err()
        };
    }
    assert_five_reasons!(refuse, "a state of another name");
    let token = backend.register(value().namespaced::<Place>()).unwrap();
    assert_eq!(backend.within(token, &1, &place()).get().unwrap(), Some(1));
}

const LIST: &str = "list";

/// N204: elements of split and union lists, and values of broadcast maps, change their types by the rules of keyed state,
/// and entries of broadcast maps by migrations with their keys. Other parallelisms restore them, and the next checkpoint has
/// the new types only.
pub fn n204_operator_state_evolves_like_keyed_state<F: Factory>() {
    let world = World::<F>::new();
    let kinds = [OperatorListDescriptor::even_split, OperatorListDescriptor::union];
    let mut states = open(&world, 2, None);
    for state in &mut states {
        let pair = Pair { a: 1, b: 2 };
        for (list, name) in kinds.iter().zip(["split", "union"]) {
            let token = state.register(list(name)).unwrap();
            state.list(token).unwrap().set([pair.clone(), Pair { a: 3, b: 4 }]);
        }
        let token = state.register(OperatorListDescriptor::even_split("migrated")).unwrap();
        state.list(token).unwrap().set([5_u32, 6]);
        let token = state.register(BroadcastDescriptor::new("widened")).unwrap();
        state.broadcast(token).unwrap().put(1_u8, 2_u32).unwrap();
        let token = state.register(BroadcastDescriptor::new("entries")).unwrap();
        state.broadcast(token).unwrap().put_all([(10_u32, pair.clone()), (20, pair)]).unwrap();
    }
    let mut taken = checkpoint(&world, &mut states);
    for round in 0..2 {
        let mut states = open(&world, 3, Some(&taken));
        let mut shares = [Vec::new(), Vec::new()];
        for state in &mut states {
            let expected = [(0, 2), (0, 4)].map(|(c, d)| Changed { c, d });
            let split = state.register(OperatorListDescriptor::<Changed>::even_split("split")).unwrap();
            shares[0].extend(state.list(split).unwrap().iter().map(|element| element.d));
            let union = state.register(OperatorListDescriptor::<Changed>::union("union")).unwrap();
            let union: Vec<_> = state.list(union).unwrap().iter().cloned().collect();
            if round == 0 {
                assert_eq!(union, [&expected[..], &expected[..]].concat());
            }
            let migrated = OperatorListDescriptor::<u64>::even_split("migrated").version(3);
            let migrated =
                migrated.migrate(1, |old: u32| Ok(old * 10)).migrate(2, |old: u32| Ok(u64::from(old)));
            let migrated = state.register(migrated).unwrap();
            shares[1].extend(state.list(migrated).unwrap().iter().copied());
            let widened = state.register(BroadcastDescriptor::<u8, i64>::new("widened")).unwrap();
            assert_eq!(state.broadcast(widened).unwrap().get(&1), Some(&2));
            let entries = BroadcastDescriptor::<String, u32>::new("entries").version(2);
            let sum = |key: u32, pair: Pair| Ok((format!("{key}"), pair.a + pair.b));
            let entries = state.register(entries.migrate(1, sum)).unwrap();
            let entries = state.broadcast(entries).unwrap();
            let entries: Vec<_> = entries.iter().map(|(key, value)| (key.clone(), *value)).collect();
            assert_eq!(entries, [("10".to_owned(), 3), ("20".to_owned(), 3)]);
        }
        shares.iter_mut().for_each(|share| share.sort_unstable());
        assert_eq!(shares, [vec![2, 2, 4, 4], vec![50, 50, 60, 60]]);
        taken = checkpoint(&world, &mut states);
    }
}

/// N204: operator state is refused with a migration error if its values, its version or its map keys cannot be read, and if
/// two map keys become one. A migration that fails or panics is a function error. The state stays as it is.
pub fn n204b_operator_state_that_cannot_be_read_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    let token = states[0].register(OperatorListDescriptor::union(LIST)).unwrap();
    states[0].list(token).unwrap().set([1_i64, 2, 3]);
    let map = || BroadcastDescriptor::<Place, i64>::new("map");
    let token = states[0].register(map()).unwrap();
    let other = Place { city: 8, ..place() };
    states[0].broadcast(token).unwrap().put_all([(place(), 1), (other, 2)]).unwrap();
    let taken = checkpoint(&world, &mut states);
    let mut state = open_one(&world, Some(&taken));
    let list = || OperatorListDescriptor::<i64>::union(LIST);
    let narrow = OperatorListDescriptor::<i32>::union(LIST);
    let refused = [
        kind(state.register(narrow)),
        kind(state.register(OperatorListDescriptor::<i64>::union_with(LIST, TestCodec::new("own")))),
        kind(state.register(list().version(2))),
        kind(state.register(list().version(2).migrate(1, |old: String| Ok(old.len() as i64)))),
        kind(state.register(BroadcastDescriptor::<Place, i32>::new("map"))),
        kind(state.register(map().version(3).migrate(2, |key: Place, value: i64| Ok((key, value))))),
        kind(state.register(map().version(2).migrate(1, |_: Widened, value: i64| Ok((place(), value))))),
        kind(state.register(map().version(2).migrate(1, |_: Place, value: i64| Ok((place(), value))))),
    ];
    assert_eq!(refused, [ErrorKind::Migration; 8]);
    macro_rules! refuse {
        ($key:ty) => {
            state.register(BroadcastDescriptor::<$key, i64>::new("map")).unwrap_err()
        };
    }
    assert_five_reasons!(refuse, "a migration");
    for panics in [false, true] {
        let fail = move |old: i64| match old {
            3 if panics => panic!("the test's migration panics"),
            3 => Err("the test's migration fails".into()),
            old => Ok(old),
        };
        let error = state.register(list().version(2).migrate(1, fail)).unwrap_err();
        assert_eq!((error.kind(), error.state()), (ErrorKind::Function, Some(LIST)), "{error}");
    }
    let misfit = list().version(2).migrate(1, |old: i64| Ok(old.to_string()));
    assert_eq!(kind(state.register(misfit)), ErrorKind::InvalidArgument);
    let again = checkpoint(&world, std::slice::from_mut(&mut state));
    for mut state in [state, open_one(&world, Some(&again))] {
        let token = state.register(list().version(2).migrate(1, to_millis)).unwrap();
        assert_eq!(state.list(token).unwrap().iter().copied().collect::<Vec<_>>(), [1000, 2000, 3000]);
        let token = state.register(map()).unwrap();
        assert_eq!(state.broadcast(token).unwrap().get(&place()), Some(&1));
        assert_eq!(kind(state.register(list().version(3))), ErrorKind::IllegalState);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    a: u32,
    b: u32,
}

#[derive(Deserialize)]
struct OnlyB {
    b: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Changed {
    #[serde(default)]
    c: u8,
    #[serde(alias = "b")]
    d: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u32),
    Square { side: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum MoreShapes {
    Line(u8, u8),
    Square {
        side: u64,
    },
    Circle(u64),
    #[serde(alias = "Point")]
    Dot,
}

/// N208: a field that was added has its default, one that was removed is gone, and a renamed one is found by its
/// alias, in any order.
pub fn n208_fields_are_added_and_removed_by_name<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(ValueDescriptor::new("flat")).unwrap();
    for key in 0..20 {
        backend.at(token, &key).set(Pair { a: 1, b: key as u32 }).unwrap();
    }
    let mut backend = world.reopen(backend);
    for _ in 0..2 {
        let token = backend.register(ValueDescriptor::<Changed>::new("flat")).unwrap();
        for key in 0..20 {
            let expected = Changed { c: 0, d: key as u64 };
            assert_eq!(backend.at(token, &key).get().unwrap(), Some(expected));
        }
        backend = world.reopen(backend);
    }
}

/// N208: variants of an enum are found by their names, or their aliases, in any order and among new ones.
pub fn n208b_variants_are_found_by_name<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(ListDescriptor::new("shapes")).unwrap();
    for key in 0..KEYS {
        let side = key as u32;
        backend.at(token, &key).set(vec![Shape::Square { side }, Shape::Point, Shape::Circle(9)]).unwrap();
    }
    let mut backend = world.reopen(backend);
    for _ in 0..2 {
        let token = backend.register(ListDescriptor::<MoreShapes>::new("shapes")).unwrap();
        for key in 0..KEYS {
            let side = key as u64;
            let expected = [MoreShapes::Square { side }, MoreShapes::Dot, MoreShapes::Circle(9)];
            assert_eq!(backend.at(token, &key).get().unwrap(), expected);
        }
        backend.at(token, &KEYS).add(MoreShapes::Line(1, 2)).unwrap();
        backend = world.reopen(backend);
    }
    assert_eq!(kind(backend.register(ListDescriptor::<Shape>::new("shapes"))), ErrorKind::Migration);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OptionalPair {
    a: Option<u32>,
    b: Option<u64>,
}

/// N208: a value that becomes optional is `Some`, alone or as a field.
pub fn n208c_a_value_becomes_optional<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let value = backend.register(ValueDescriptor::new("value")).unwrap();
    let pair = backend.register(ValueDescriptor::new("pair")).unwrap();
    for key in 0..KEYS {
        backend.at(value, &key).set(key as u32).unwrap();
        backend.at(pair, &key).set(Pair { a: 1, b: key as u32 }).unwrap();
    }
    let mut backend = world.reopen(backend);
    for _ in 0..2 {
        let value = backend.register(ValueDescriptor::<Option<u32>>::new("value")).unwrap();
        let pair = backend.register(ValueDescriptor::<OptionalPair>::new("pair")).unwrap();
        for key in 0..KEYS {
            assert_eq!(backend.at(value, &key).get().unwrap(), Some(Some(key as u32)));
            let expected = OptionalPair { a: Some(1), b: Some(key as u64) };
            assert_eq!(backend.at(pair, &key).get().unwrap(), Some(expected));
        }
        backend = world.reopen(backend);
    }
    assert_eq!(kind(backend.register(ValueDescriptor::<u32>::new("value"))), ErrorKind::Migration);
}

/// N210: a state of an older type is restored at another parallelism, changed, and rescaled again at once.
pub fn n210_a_changed_type_is_rescaled_at_once<F: Factory>() {
    let world = World::<F>::new();
    let part = |of, index| Subtask::new("op", KeySpace::<i32>::new(10).unwrap(), of, index).unwrap();
    let mut backend = world.try_open(part(1, 0), &[]).unwrap();
    let token = backend.register(ValueDescriptor::<u32>::new("value")).unwrap();
    for key in 0..100 {
        backend.at(token, &key).set(key as u32).unwrap();
    }
    let mut handles = vec![world.checkpoint(&mut backend)];
    drop(backend);
    for of in [3, 2, 1] {
        let mut next = Vec::new();
        for index in 0..of {
            let mut backend = world.try_open(part(of, index), &handles).unwrap();
            let token = backend.register(ValueDescriptor::<u64>::new("value")).unwrap();
            for key in (0..100).filter(|key| part(of, index).key(key).is_ok()) {
                assert_eq!(backend.at(token, &key).get().unwrap(), Some(key as u64));
            }
            next.push(world.checkpoint(&mut backend));
        }
        handles = next;
    }
}

/// N212: a restored map is refused with other map keys, with one of the same reasons and a remedy. The data is kept, and is
/// never looked up by other bytes.
pub fn n212_other_map_keys_are_refused_with_one_of_five_reasons<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(MapDescriptor::<Place, u8>::new("map")).unwrap();
    backend.at(token, &1).put(place(), 1).unwrap();
    let mut backend = world.reopen(backend);
    macro_rules! refuse {
        ($key:ty) => {
            backend
                .register(MapDescriptor::<$key, u8>::new("map").version(2).migrate(1, |old: u8| Ok(old)))
                .unwrap_err()
        };
    }
    assert_five_reasons!(refuse, "a state of another name");
    let token = backend.register(MapDescriptor::<Place, u16>::new("map")).unwrap();
    assert_eq!(backend.at(token, &1).get(&place()).unwrap(), Some(1));
}
