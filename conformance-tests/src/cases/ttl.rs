//! Time to live: behaviours R265 to R287.

use std::collections::BTreeMap;

use backend_api::{
    AggregatingDescriptor, AggregatingState, AggregatingToken, ErrorKind, KeyedStateHandle, ListDescriptor,
    ListState, ListToken, MapDescriptor, MapState, MapToken, ReducingDescriptor, ReducingState,
    ReducingToken, SavepointFormat, StateBackend, Ttl, ValueDescriptor, ValueState, ValueToken,
};

use super::savepoints::{bytes, savepoint, writes_savepoints};
use crate::access::{Access, kind};
use crate::functions::Mean;
use crate::random::Random;
use crate::reference::{Bytes, Memory, TINY};
use crate::{Factory, Setup, World};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! ttl_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* ttl
            r265_a_value_expires_exactly_after_its_time_to_live
            r266_a_time_to_live_is_at_least_a_millisecond
            r266b_a_state_with_a_time_to_live_needs_the_time
            r266c_a_state_has_one_time_to_live
            r267_reading_an_expired_value_removes_it
            r268_an_expired_value_can_be_returned_once
            r269_reads_do_not_renew_by_default
            r270_reads_can_renew
            r271_writes_renew
            r273_elements_of_a_list_expire_one_by_one
            r273b_reading_a_list_can_renew_its_elements
            r274_entries_of_a_map_expire_one_by_one
            r274b_reading_a_map_can_renew_or_return_expired_entries
            r276_reducing_starts_anew_after_expiry
            r276b_aggregating_starts_anew_after_expiry
            r277_only_live_parts_are_merged
            r278_a_value_can_be_cleared_by_an_update
            r279_a_default_value_does_not_apply
            r280_stamps_are_part_of_checkpoints
            r281_a_changed_time_to_live_applies_to_old_stamps
            r282_expired_contents_are_left_out_of_full_snapshots
            r282b_increments_match_the_state_with_expired_contents
            r283_accesses_remove_other_expired_entries
            r283b_a_failing_update_changes_nothing
            r284_a_time_to_live_can_be_turned_on_and_off
            r285_random_programs_match_a_model
            r286_stamps_are_part_of_canonical_savepoints
            r287_a_time_to_live_can_change_through_canonical_savepoints
        }
    };
}

fn ttl() -> Ttl {
    Ttl::millis(100).unwrap()
}

fn value() -> ValueDescriptor<u64> {
    ValueDescriptor::new("value")
}

fn list() -> ListDescriptor<u64> {
    ListDescriptor::new("list")
}

fn map() -> MapDescriptor<u64, String> {
    MapDescriptor::new("map")
}

/// A backend at the time 0.
fn open<F: Factory>(world: &World<F>) -> F::Backend<i32> {
    let mut backend = world.open::<i32>();
    backend.advance_to(0).unwrap();
    backend
}

/// A backend with the state of `handle` at the time `now`.
fn restore<F: Factory>(world: &World<F>, handle: &KeyedStateHandle, now: i64) -> F::Backend<i32> {
    let mut backend = world.restore::<i32>(handle);
    backend.advance_to(now).unwrap();
    backend
}

/// Reads a value at a time.
fn read<B: StateBackend<Key = i32>>(backend: &mut B, token: ValueToken<u64>, now: i64) -> Option<u64> {
    backend.advance_to(now).unwrap();
    backend.at(token, &1).get().unwrap()
}

/// R265: a value is there until its time to live has passed, and not a millisecond longer.
pub fn r265_a_value_expires_exactly_after_its_time_to_live<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    assert_eq!(read(&mut backend, token, 99), Some(7));
    assert_eq!(read(&mut backend, token, 100), None);
    // A clock that goes back revives only what was not removed.
    assert_eq!(read(&mut backend, token, 50), None);
    backend.at(token, &2).set(8).unwrap();
    backend.advance_to(150).unwrap();
    backend.advance_to(149).unwrap();
    assert_eq!(backend.at(token, &2).get().unwrap(), Some(8));
}

/// R266: a time to live of nothing or less is refused.
pub fn r266_a_time_to_live_is_at_least_a_millisecond<F: Factory>() {
    assert_eq!(kind(Ttl::millis(0)), ErrorKind::InvalidArgument);
    assert_eq!(kind(Ttl::millis(-1)), ErrorKind::InvalidArgument);
}

/// R266b: a state with a time to live is registered once the time is known.
pub fn r266b_a_state_with_a_time_to_live_needs_the_time<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let error = backend.register(value().ttl(ttl())).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::IllegalState, Some("value")));
    assert!(backend.states().is_empty());
    backend.advance_to(-5).unwrap();
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    assert_eq!(read(&mut backend, token, 94), Some(7));
    assert_eq!(read(&mut backend, token, 95), None);
    backend.close().unwrap();
    assert_eq!(kind(backend.advance_to(1)), ErrorKind::Closed);
}

/// R266c: a state is registered again with the same time to live only.
pub fn r266c_a_state_has_one_time_to_live<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    let again = backend.register(value().ttl(ttl())).unwrap();
    assert_eq!(backend.at(again, &1).get().unwrap(), Some(7));
    for other in [Ttl::millis(200).unwrap(), ttl().renewed_by_reads()] {
        let error = backend.register(value().ttl(other)).unwrap_err();
        assert_eq!((error.kind(), error.state()), (ErrorKind::InvalidArgument, Some("value")));
    }
    backend.register(value()).unwrap_err();
    let plain = backend.register(ValueDescriptor::<u64>::new("plain")).unwrap();
    backend.register(ValueDescriptor::<u64>::new("plain").ttl(ttl())).unwrap_err();
    backend.at(plain, &1).set(8).unwrap();
    backend.advance_to(99).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(7));
    backend.advance_to(100).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert_eq!(backend.at(plain, &1).get().unwrap(), Some(8));
}

/// R267: a read of an expired value removes it.
pub fn r267_reading_an_expired_value_removes_it<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl().cleaning_per_access(0))).unwrap();
    backend.at(token, &1).set(7).unwrap();
    backend.advance_to(100).unwrap();
    // A listing may remove it, too.
    assert!(backend.entries("value", token) <= 1);
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert_eq!(backend.entries("value", token), 0);
}

/// R268: if it is set so, an expired value is returned once.
pub fn r268_an_expired_value_can_be_returned_once<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let ttl = ttl().cleaning_per_access(0).returning_expired();
    let token = backend.register(value().ttl(ttl)).unwrap();
    backend.at(token, &1).set(7).unwrap();
    assert_eq!(read(&mut backend, token, 100), Some(7));
    assert_eq!(read(&mut backend, token, 100), None);
    backend.at(token, &1).set(8).unwrap();
    backend.advance_to(300).unwrap();
    backend.at(token, &1).update(|value| assert_eq!(value.take(), Some(8))).unwrap();
    assert_eq!(read(&mut backend, token, 300), None);
}

/// R269: a read does not renew the time to live.
pub fn r269_reads_do_not_renew_by_default<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    assert_eq!(read(&mut backend, token, 50), Some(7));
    assert_eq!(read(&mut backend, token, 120), None);
}

/// R270: if it is set so, a read renews the time to live.
pub fn r270_reads_can_renew<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl().renewed_by_reads())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    assert_eq!(read(&mut backend, token, 50), Some(7));
    assert_eq!(read(&mut backend, token, 120), Some(7));
    assert_eq!(read(&mut backend, token, 250), None);
}

/// R271: a write renews the time to live.
pub fn r271_writes_renew<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    backend.advance_to(50).unwrap();
    backend.at(token, &1).update(|value| *value = value.map(|value| value + 1)).unwrap();
    assert_eq!(read(&mut backend, token, 120), Some(8));
    assert_eq!(read(&mut backend, token, 150), None);
    let mut seen = Vec::new();
    let keys = backend.subtask().clone();
    let keys = [keys.key(&1).unwrap(), keys.key(&2).unwrap()];
    backend.update_batch(token, &keys, &(), |_, value| *value = Some(9)).unwrap();
    backend.advance_to(249).unwrap();
    backend.get_batch(token, &keys, &(), |_, value| seen.push(value.copied())).unwrap();
    backend.advance_to(250).unwrap();
    backend.get_batch(token, &keys, &(), |_, value| seen.push(value.copied())).unwrap();
    assert_eq!(seen, [Some(9), Some(9), None, None]);
}

/// R273: each element of a list expires by itself, and a list of expired elements is gone.
pub fn r273_elements_of_a_list_expire_one_by_one<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(list().ttl(ttl().cleaning_per_access(0))).unwrap();
    backend.at(token, &1).add_all([1, 2]).unwrap();
    backend.advance_to(60).unwrap();
    backend.at(token, &1).add(3).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [1, 2, 3]);
    backend.advance_to(120).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [3]);
    assert!(!backend.at(token, &1).is_empty().unwrap());
    backend.advance_to(160).unwrap();
    assert!(backend.entries("list", token) <= 1);
    assert!(backend.at(token, &1).is_empty().unwrap());
    assert_eq!(backend.entries("list", token), 0);
    backend.at(token, &1).set([4]).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [4]);
}

/// R273b: if reads renew, a read of a list renews its live elements and drops the others.
pub fn r273b_reading_a_list_can_renew_its_elements<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(list().ttl(ttl().renewed_by_reads())).unwrap();
    backend.at(token, &1).add(1).unwrap();
    backend.advance_to(60).unwrap();
    backend.at(token, &1).add(2).unwrap();
    backend.advance_to(120).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [2]);
    backend.advance_to(219).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), [2]);
    backend.advance_to(319).unwrap();
    assert!(backend.at(token, &1).get().unwrap().is_empty());
}

/// R274: each entry of a map expires by itself, and all ways to read agree on that.
pub fn r274_entries_of_a_map_expire_one_by_one<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(map().ttl(ttl().cleaning_per_access(0))).unwrap();
    backend.at(token, &1).put(1, "a".into()).unwrap();
    backend.advance_to(60).unwrap();
    backend.at(token, &1).put_all([(0, "b".into()), (2, "c".into())]).unwrap();
    backend.at(token, &1).remove(&0).unwrap();
    backend.advance_to(120).unwrap();
    let mut view = backend.at(token, &1);
    assert_eq!((view.contains(&1).unwrap(), view.contains(&2).unwrap()), (false, true));
    assert_eq!(view.keys().unwrap().map(|key| *key.unwrap()).collect::<Vec<_>>(), [2]);
    assert_eq!(view.values().unwrap().map(|value| value.unwrap().into_owned()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(view.iter().unwrap().count(), 1);
    assert_eq!((view.len().unwrap(), view.is_empty().unwrap()), (1, false));
    let mut cursor = view.cursor();
    assert_eq!(cursor.next().unwrap().map(|entry| *entry.key()), Some(2));
    assert!(cursor.next().unwrap().is_none());
    view.update(2, |value| value.as_mut().unwrap().push('d')).unwrap();
    drop(view);
    backend.advance_to(219).unwrap();
    assert_eq!(backend.at(token, &1).get(&2).unwrap().as_deref(), Some("cd"));
    backend.advance_to(220).unwrap();
    assert!(backend.at(token, &1).is_empty().unwrap());
    assert_eq!(backend.at(token, &1).get(&2).unwrap(), None);
    assert!(backend.sorted_keys(token).is_empty());
}

/// R274b: reads of a map can renew live entries, and return expired ones once.
pub fn r274b_reading_a_map_can_renew_or_return_expired_entries<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let keys = |view: Vec<(u64, String)>| view.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let token = backend.register(map().ttl(ttl().cleaning_per_access(0).renewed_by_reads())).unwrap();
    backend.at(token, &1).put_all([(1, "a".into()), (2, "b".into())]).unwrap();
    backend.advance_to(60).unwrap();
    let mut read = Vec::new();
    backend.at(token, &1).range_into(2.., 9, &mut read).unwrap();
    assert_eq!(keys(read), [2]);
    backend.advance_to(120).unwrap();
    let all = backend.at(token, &1).iter().unwrap().count();
    assert_eq!(all, 1);
    backend.advance_to(219).unwrap();
    assert!(backend.at(token, &1).contains(&2).unwrap());

    let descriptor = MapDescriptor::<u64, String>::new("other");
    let token = backend.register(descriptor.ttl(ttl().cleaning_per_access(0).returning_expired())).unwrap();
    backend.at(token, &1).put_all([(1, "a".into()), (2, "b".into())]).unwrap();
    backend.advance_to(400).unwrap();
    assert_eq!(backend.at(token, &1).get(&1).unwrap().as_deref(), Some("a"));
    assert_eq!(backend.at(token, &1).get(&1).unwrap(), None);
    assert_eq!(backend.at(token, &1).iter().unwrap().count(), 1);
    assert_eq!(backend.at(token, &1).iter().unwrap().count(), 0);
}

/// R276: after a reducing state has expired, an added value is stored as it is.
pub fn r276_reducing_starts_anew_after_expiry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let descriptor = || ReducingDescriptor::new("sum", |sum: &u64, new| sum + new);
    let token = backend.register(descriptor().ttl(ttl())).unwrap();
    backend.at(token, &1).add(1).unwrap();
    backend.advance_to(60).unwrap();
    backend.at(token, &1).add(2).unwrap();
    backend.advance_to(159).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(3));
    backend.advance_to(160).unwrap();
    backend.at(token, &1).add(5).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(5));
    backend.advance_to(260).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert!(backend.sorted_keys(token).is_empty());

    let renewed = ReducingDescriptor::new("renewed", |sum: &u64, new| sum + new);
    let token = backend.register(renewed.ttl(ttl().renewed_by_reads())).unwrap();
    backend.at(token, &1).add(1).unwrap();
    for now in [320, 400, 499] {
        backend.advance_to(now).unwrap();
        assert_eq!(backend.at(token, &1).get().unwrap(), Some(1));
    }
}

/// R276b: after an aggregating state has expired, an input goes into a new accumulator.
pub fn r276b_aggregating_starts_anew_after_expiry<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(AggregatingDescriptor::new("mean", Mean).ttl(ttl())).unwrap();
    backend.at(token, &1).add(10).unwrap();
    backend.advance_to(60).unwrap();
    backend.at(token, &1).add(20).unwrap();
    backend.advance_to(159).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(15.0));
    backend.advance_to(160).unwrap();
    backend.at(token, &1).add(30).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(30.0));
    backend.advance_to(260).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert!(backend.sorted_keys(token).is_empty());

    let renewed = AggregatingDescriptor::new("renewed", Mean).ttl(ttl().renewed_by_reads());
    let token = backend.register(renewed).unwrap();
    backend.at(token, &1).add(1).unwrap();
    for now in [320, 400, 499] {
        backend.advance_to(now).unwrap();
        assert_eq!(backend.at(token, &1).get().unwrap(), Some(1.0));
    }
}

/// R277: expired parts do not take part when namespaces are merged.
pub fn r277_only_live_parts_are_merged<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let ttl = ttl().cleaning_per_access(0);
    let sum = ReducingDescriptor::new("sum", |sum: &u64, new| sum + new).namespaced::<u8>();
    let sum = backend.register(sum.ttl(ttl)).unwrap();
    let mean =
        backend.register(AggregatingDescriptor::new("mean", Mean).namespaced::<u8>().ttl(ttl)).unwrap();
    let list = backend.register(list().namespaced::<u8>().ttl(ttl)).unwrap();
    for (now, namespace) in [(0, 1), (60, 2), (60, 3)] {
        backend.advance_to(now).unwrap();
        let added = 10_u64.pow(namespace.into());
        backend.within(sum, &1, &namespace).add(added).unwrap();
        backend.within(mean, &1, &namespace).add(added as i64).unwrap();
        backend.within(list, &1, &namespace).add(added).unwrap();
    }
    backend.advance_to(120).unwrap();
    assert_eq!(backend.within(sum, &1, &9).get_merged(&[1, 2, 3]).unwrap(), Some(1100));
    assert_eq!(backend.within(mean, &1, &9).get_merged(&[1, 2, 3]).unwrap(), Some(550.0));
    assert_eq!(backend.within(list, &1, &9).get_merged(&[1, 2, 3]).unwrap(), [100, 1000]);
    // Into an expired target.
    backend.within(sum, &1, &1).merge_from(&[2, 3]).unwrap();
    backend.within(mean, &1, &1).merge_from(&[2, 3]).unwrap();
    backend.within(list, &1, &1).merge_from(&[2, 3]).unwrap();
    assert_eq!(backend.within(sum, &1, &1).get().unwrap(), Some(1100));
    assert_eq!(backend.within(mean, &1, &1).get().unwrap(), Some(550.0));
    assert_eq!(backend.within(list, &1, &1).get().unwrap(), [100, 1000]);
    backend.advance_to(1000).unwrap();
    assert_eq!(backend.within(sum, &1, &9).get_merged(&[1]).unwrap(), None);
    assert_eq!(backend.within(mean, &1, &9).get_merged(&[1]).unwrap(), None);
    backend.within(sum, &1, &5).merge_from(&[1]).unwrap();
    assert_eq!(backend.within(sum, &1, &5).get().unwrap(), None);
}

/// R278: an update to nothing clears the value.
pub fn r278_a_value_can_be_cleared_by_an_update<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    backend.at(token, &1).update(|value| *value = None).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    backend.at(token, &1).set(7).unwrap();
    backend.at(token, &1).clear().unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
    assert!(backend.sorted_keys(token).is_empty());
}

/// R279: a state with a time to live has no default value.
pub fn r279_a_default_value_does_not_apply<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().default_value(5).ttl(ttl())).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), None);
}

/// R280: a checkpoint has the stamps, and the time until its restore counts.
pub fn r280_stamps_are_part_of_checkpoints<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    backend.advance_to(50).unwrap();
    let handle = world.checkpoint(&mut backend);
    let mut restored = restore(&world, &handle, 60);
    let token = restored.register(value().ttl(ttl())).unwrap();
    assert_eq!(read(&mut restored, token, 99), Some(7));
    assert_eq!(read(&mut restored, token, 100), None);
}

/// R281: another time to live applies to contents that were written before.
pub fn r281_a_changed_time_to_live_applies_to_old_stamps<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    let handle = world.checkpoint(&mut backend);
    for (millis, last) in [(200, 199), (30, 29)] {
        let mut restored = restore(&world, &handle, 0);
        let token = restored.register(value().ttl(Ttl::millis(millis).unwrap())).unwrap();
        assert_eq!(read(&mut restored, token, last), Some(7));
        assert_eq!(read(&mut restored, token, last + 1), None);
    }
}

/// One state of each kind with a time to live.
#[derive(Clone, Copy)]
struct States {
    value: ValueToken<u64>,
    list: ListToken<u64>,
    map: MapToken<u64, String>,
    sum: ReducingToken<u64>,
    mean: AggregatingToken<Mean>,
}

/// What a key has in each of the states.
type Content = (Option<u64>, Vec<u64>, Vec<(u64, String)>, Option<u64>, Option<f64>);

impl States {
    fn register<B: StateBackend<Key = i32>>(backend: &mut B, ttl: Ttl) -> Self {
        let sum = ReducingDescriptor::new("sum", |sum: &u64, new| sum + new);
        Self {
            value: backend.register(value().ttl(ttl)).unwrap(),
            list: backend.register(list().ttl(ttl)).unwrap(),
            map: backend.register(map().ttl(ttl)).unwrap(),
            sum: backend.register(sum.ttl(ttl)).unwrap(),
            mean: backend.register(AggregatingDescriptor::new("mean", Mean).ttl(ttl)).unwrap(),
        }
    }

    /// Writes even keys at 0 and odd ones at 60, and parts of all lists and maps at both times.
    fn fill<B: StateBackend<Key = i32>>(self, backend: &mut B) {
        for (now, part) in [(0, 0), (60, 1)] {
            backend.advance_to(now).unwrap();
            for key in 0..50 {
                if key % 2 == part {
                    backend.at(self.value, &key).set(7).unwrap();
                    backend.at(self.sum, &key).add(8).unwrap();
                    backend.at(self.mean, &key).add(9).unwrap();
                }
                backend.at(self.list, &key).add(part as u64).unwrap();
                backend.at(self.map, &key).put(part as u64, "x".into()).unwrap();
            }
        }
    }

    fn content<B: StateBackend<Key = i32>>(self, backend: &mut B, key: i32) -> Content {
        let value = backend.at(self.value, &key).get().unwrap();
        let list = backend.at(self.list, &key).get().unwrap();
        let mut entries = Vec::new();
        backend.at(self.map, &key).range_into(.., usize::MAX, &mut entries).unwrap();
        let sum = backend.at(self.sum, &key).get().unwrap();
        (value, list, entries, sum, backend.at(self.mean, &key).get().unwrap())
    }

    /// Checks that there is exactly what was written at 60.
    fn check_later<B: StateBackend<Key = i32>>(self, backend: &mut B) {
        assert_eq!(backend.sorted_keys(self.value), (0..50).filter(|key| key % 2 == 1).collect::<Vec<_>>());
        for key in 0..50 {
            let single = |n| (key % 2 == 1).then_some(n);
            let expected =
                (single(7), vec![1], vec![(1, "x".into())], single(8), single(9).map(|n| n as f64));
            assert_eq!(self.content(backend, key), expected, "key {key}");
        }
    }
}

/// R282: a snapshot that no increment builds on leaves out what has expired, and the live state keeps it.
pub fn r282_expired_contents_are_left_out_of_full_snapshots<F: Factory>() {
    let incremental = World::<F>::new().factory().capabilities().incremental.then_some(false);
    let Some(world) = World::<F>::with(Setup { incremental, ..Setup::default() }) else { return };
    let mut backend = open(&world);
    let ttl = ttl().cleaning_per_access(0);
    let states = States::register(&mut backend, ttl);
    states.fill(&mut backend);
    backend.advance_to(120).unwrap();
    let full = backend.snapshot(world.request().full()).unwrap().run().unwrap().unwrap();
    let canonical =
        writes_savepoints::<F>().then(|| savepoint(&world, &mut backend, SavepointFormat::Canonical));
    // A backend removes all of what has expired, or nothing.
    let left = backend.entries("value", states.value);
    assert!(left == 25 || left == 50, "{left} entries are left");
    for handle in [Some(full), canonical].iter().flatten() {
        // At the time 50, all of it would be live.
        let mut restored = restore(&world, handle, 50);
        States::register(&mut restored, ttl).check_later(&mut restored);
    }
}

/// R282b: an increment has the same state as the backend, which has removed expired contents meanwhile or not.
pub fn r282b_increments_match_the_state_with_expired_contents<F: Factory>() {
    let Some(world) = World::<F>::with(Setup { incremental: Some(true), ..Setup::default() }) else { return };
    let mut backend = open(&world);
    let states = States::register(&mut backend, ttl());
    states.fill(&mut backend);
    world.checkpoint(&mut backend);
    for (now, added) in [(120, 2), (150, 3), (170, 4)] {
        backend.advance_to(now).unwrap();
        for key in 0..20 {
            backend.at(states.list, &key).add(added).unwrap();
            backend.at(states.map, &key).put(added, "y".into()).unwrap();
        }
        let handle = world.checkpoint(&mut backend);
        let mut restored = restore(&world, &handle, now);
        let again = States::register(&mut restored, ttl());
        for key in 0..50 {
            assert_eq!(again.content(&mut restored, key), states.content(&mut backend, key), "key {key}");
        }
    }
}

/// R283: accesses to other keys remove expired entries, also while a snapshot runs, which they do not affect.
pub fn r283_accesses_remove_other_expired_entries<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    for key in 0..500 {
        backend.at(token, &key).set(7).unwrap();
    }
    backend.advance_to(60).unwrap();
    let task = backend.snapshot(world.request()).unwrap();
    backend.advance_to(100).unwrap();
    for _ in 0..2 {
        for key in 1000..1500 {
            backend.at(token, &key).set(8).unwrap();
        }
    }
    // A backend without clean-up by accesses has removed none of them.
    let left = backend.entries("value", token);
    assert!(left == 500 || left == 1000, "{left} entries are left");
    let handle = task.run().unwrap().unwrap();
    let mut restored = restore(&world, &handle, 60);
    let token = restored.register(value().ttl(ttl())).unwrap();
    assert_eq!(restored.sorted_keys(token), (0..500).collect::<Vec<_>>());
}

/// R283b: an update that fails changes neither value nor stamp.
pub fn r283b_a_failing_update_changes_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = open(&world);
    let token = backend.register(value().ttl(ttl())).unwrap();
    backend.at(token, &1).set(7).unwrap();
    backend.advance_to(50).unwrap();
    let failed = backend.at(token, &1).try_update(|value| {
        *value = Some(8);
        Err::<(), _>("no".into())
    });
    assert_eq!(kind(failed), ErrorKind::Function);
    assert_eq!(read(&mut backend, token, 99), Some(7));
    assert_eq!(read(&mut backend, token, 100), None);
}

/// R284: a time to live can be turned on, when old contents start theirs, changed, and turned off, when they stay for ever.
pub fn r284_a_time_to_live_can_be_turned_on_and_off<F: Factory>() {
    check_on_and_off::<F>(|world, backend| world.checkpoint(backend));
}

fn check_on_and_off<F: Factory>(take: impl Fn(&World<F>, &mut F::Backend<i32>) -> KeyedStateHandle) {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let tokens = (backend.register(value()).unwrap(), backend.register(list()).unwrap());
    let entries = backend.register(map()).unwrap();
    backend.at(tokens.0, &1).set(7).unwrap();
    backend.at(tokens.1, &1).add_all([1, 2]).unwrap();
    backend.at(entries, &1).put(1, "a".into()).unwrap();
    let handle = take(&world, &mut backend);

    let mut on = restore(&world, &handle, 1000);
    let tokens = (on.register(value().ttl(ttl())).unwrap(), on.register(list().ttl(ttl())).unwrap());
    let entries = on.register(map().ttl(ttl())).unwrap();
    assert_eq!(read(&mut on, tokens.0, 1099), Some(7));
    assert_eq!(on.at(tokens.1, &1).get().unwrap(), [1, 2]);
    assert_eq!(on.at(entries, &1).get(&1).unwrap().as_deref(), Some("a"));
    let handle = take(&world, &mut on);
    assert_eq!(read(&mut on, tokens.0, 1100), None);
    assert!(on.at(tokens.1, &1).is_empty().unwrap());
    assert_eq!(on.at(entries, &1).get(&1).unwrap(), None);

    let longer = Ttl::millis(200).unwrap();
    let mut changed = restore(&world, &handle, 1199);
    let tokens =
        (changed.register(value().ttl(longer)).unwrap(), changed.register(list().ttl(longer)).unwrap());
    assert_eq!(read(&mut changed, tokens.0, 1199), Some(7));
    // The map is passed on unregistered.
    let handle = take(&world, &mut changed);
    assert_eq!(read(&mut changed, tokens.0, 1200), None);

    let mut off = world.restore::<i32>(&handle);
    let tokens = (off.register(value()).unwrap(), off.register(list()).unwrap());
    let entries = off.register(map()).unwrap();
    off.advance_to(i64::MAX).unwrap();
    assert_eq!(off.at(tokens.0, &1).get().unwrap(), Some(7));
    assert_eq!(off.at(tokens.1, &1).get().unwrap(), [1, 2]);
    assert_eq!(off.at(entries, &1).get(&1).unwrap().as_deref(), Some("a"));
}

/// R285: random programs with a moving time match a map with stamps, also after restores.
pub fn r285_random_programs_match_a_model<F: Factory>() {
    let world = World::<F>::new();
    for seed in 0..4 {
        let mut random = Random(seed);
        let (mut now, mut model) = (0_i64, BTreeMap::<(i32, u64), (i64, String)>::new());
        let mut backend = open(&world);
        let mut token = backend.register(map().ttl(ttl())).unwrap();
        for step in 0..400 {
            let (key, entry) = (random.below(5) as i32, random.below(6));
            let is_live = |at: i64, now: i64| at + 100 > now;
            match random.below(10) {
                0..3 => {
                    backend.at(token, &key).put(entry, step.to_string()).unwrap();
                    model.insert((key, entry), (now, step.to_string()));
                }
                3 => {
                    backend.at(token, &key).remove(&entry).unwrap();
                    model.remove(&(key, entry));
                }
                4 => {
                    backend
                        .at(token, &key)
                        .update(entry, |value| value.get_or_insert_default().push('u'))
                        .unwrap();
                    let old = model.remove(&(key, entry)).filter(|(at, _)| is_live(*at, now));
                    model.insert((key, entry), (now, old.map_or_else(String::new, |(_, value)| value) + "u"));
                }
                5..7 => {
                    now += random.below(60) as i64;
                    backend.advance_to(now).unwrap();
                }
                7 if step % 5 == 0 => {
                    let handle = world.checkpoint(&mut backend);
                    backend = restore(&world, &handle, now);
                    token = backend.register(map().ttl(ttl())).unwrap();
                }
                _ => {
                    let mut view = backend.at(token, &key);
                    let found: Vec<_> = view
                        .iter()
                        .unwrap()
                        .map(|pair| pair.map(|(entry, value)| (*entry, value.into_owned())).unwrap())
                        .collect();
                    let expected: Vec<_> = model
                        .range((key, 0)..=(key, u64::MAX))
                        .filter(|(_, (at, _))| is_live(*at, now))
                        .map(|((_, entry), (_, value))| (*entry, value.clone()))
                        .collect();
                    assert_eq!(found, expected, "seed {seed}, step {step}");
                }
            }
        }
    }
}

/// Takes a savepoint of states with one backend, when part of them has expired, and restores it with another.
fn check_between<From: Factory, To: Factory>() -> Vec<u8> {
    let (from, to) = (World::<From>::new(), World::<To>::new());
    let ttl = ttl().cleaning_per_access(0);
    let mut backend = open(&from);
    let states = States::register(&mut backend, ttl);
    states.fill(&mut backend);
    backend.advance_to(120).unwrap();
    let handle = savepoint(&from, &mut backend, SavepointFormat::Canonical);
    let mut restored = restore(&to, &handle, 50);
    let states = States::register(&mut restored, ttl);
    states.check_later(&mut restored);
    restored.advance_to(159).unwrap();
    states.check_later(&mut restored);
    restored.advance_to(160).unwrap();
    for key in 0..50 {
        assert_eq!(states.content(&mut restored, key), (None, vec![], vec![], None, None));
    }
    bytes(&handle).to_vec()
}

/// R286: a canonical savepoint has the stamps, without what has expired, between all backends and with the same bytes.
pub fn r286_stamps_are_part_of_canonical_savepoints<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    let savepoints = [
        check_between::<F, F>(),
        check_between::<F, Memory>(),
        check_between::<F, Bytes<TINY>>(),
        check_between::<Memory, F>(),
        check_between::<Bytes<TINY>, F>(),
        check_between::<Bytes<0>, Memory>(),
    ];
    assert!(savepoints.iter().all(|savepoint| *savepoint == savepoints[0]));
}

/// R287: a time to live can be turned on, changed and turned off through canonical savepoints.
pub fn r287_a_time_to_live_can_change_through_canonical_savepoints<F: Factory>() {
    if writes_savepoints::<F>() {
        check_on_and_off::<F>(|world, backend| savepoint(world, backend, SavepointFormat::Canonical));
    }
}
