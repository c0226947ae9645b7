//! Restores and rescaling: behaviours K145 to K160, and registration after a restore from group N.

use std::collections::BTreeMap;

use backend_api::{
    AggregatingDescriptor, Checkpoint, ErrorKind, KeyGroupRange, KeySpace, KeyedStateHandle, ListDescriptor,
    ListState, MapDescriptor, MapState, ReducingDescriptor, StateBackend, Subtask, TimerDescriptor,
    ValueDescriptor, ValueState,
};

use crate::access::{Access, kind};
use crate::functions::{Mean, Sum, TestCodec};
use crate::kinds::{Content, Kinds, content_of};
use crate::storage::FailingStorage;
use crate::{Factory, OPERATOR, Setup, World, checkpoint_of, part, single};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! restore_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* restore
            k145_a_rescaled_operator_finds_every_key_once
            k145b_joined_lists_continue_after_their_last_element
            k146_states_that_only_some_subtasks_have_are_found
            k147_a_cut_handle_restores_exactly_its_groups
            k148_an_uncut_handle_restores_no_foreign_groups
            k149_one_handle_restores_repeatedly
            k150_two_handles_of_one_group_are_refused
            k150b_a_handle_of_more_groups_than_its_files_is_refused
            k150c_handles_that_leave_a_key_group_out_are_refused
            k151_another_number_of_key_groups_is_refused
            k153_another_type_or_mapping_of_keys_is_refused
            k154_a_restored_backend_does_not_need_the_checkpoint
            k155_compression_can_differ
            k156_handles_of_one_state_must_agree_on_its_codec
            k157_a_failed_restore_leaves_nothing
            k158_each_generation_restores_from_the_one_before
            k159_groups_without_entries_cost_nothing
            k160_rescaling_works_around_128_groups
            n200_another_codec_is_refused_and_the_data_kept
            n203_another_type_of_namespaces_is_refused
            n205_another_kind_is_refused_and_the_data_kept
            n207_an_unregistered_restored_state_is_reported
            n207b_a_restored_state_can_be_dropped
            n206_other_types_under_a_registered_name_are_refused
        }
    };
}

fn value() -> ValueDescriptor<i64> {
    ValueDescriptor::new("value")
}

/// Runs an operator of `parallelism` subtasks from `checkpoint`, with one more round of changes. Returns its
/// next checkpoint, the restored content, and the content at the end.
fn run<F: Factory>(
    world: &World<F>,
    groups: u16,
    parallelism: u16,
    checkpoint: Option<&Checkpoint>,
    round: i32,
) -> (Checkpoint, Content, Content) {
    let (mut found, mut left, mut handles) = (Content::default(), Content::default(), Vec::new());
    for index in 0..parallelism {
        let subtask = part::<i32>(groups, parallelism, index);
        let parents = checkpoint.map(|checkpoint| checkpoint.handles_for(OPERATOR, subtask.range()).unwrap());
        let mut backend = world.try_open(subtask, &parents.unwrap_or_default()).unwrap();
        let kinds = Kinds::register(&mut backend).unwrap();
        let mut content = kinds.read(&mut backend);
        found.join(content.clone());
        kinds.change(&mut backend, &mut content, round);
        left.join(content);
        handles.push(world.checkpoint(&mut backend));
    }
    (checkpoint_of(handles), found, left)
}

/// Rescales an operator from one number of subtasks to the next.
fn rescale<F: Factory>(groups: u16, parallelisms: &[u16]) {
    let world = World::<F>::new();
    let (mut checkpoint, mut expected) = (None, Content::default());
    for (round, parallelism) in (0..).zip(parallelisms) {
        let (next, found, left) = run(&world, groups, *parallelism, checkpoint.as_ref(), round);
        assert_eq!(found, expected, "{parallelism} of {parallelisms:?}");
        (checkpoint, expected) = (Some(next), left);
    }
    assert_ne!(expected, Content::default());
}

/// K145: after every rescale each key is in exactly one subtask, with all its state.
pub fn k145_a_rescaled_operator_finds_every_key_once<F: Factory>() {
    rescale::<F>(128, &[4, 2, 2, 4, 1]);
    rescale::<F>(128, &[15, 77, 15]);
    rescale::<F>(10, &[1, 2, 3, 2, 1]);
}

/// K145: joined lists continue after their last element, also those of a subtask with less state but more
/// elements.
pub fn k145b_joined_lists_continue_after_their_last_element<F: Factory>() {
    let list = || ListDescriptor::<i64>::new("list");
    let world = World::<F>::new();
    let (mut handles, mut lists) = (Vec::new(), Vec::new());
    for (index, (values, elements)) in (0..).zip([(3000, 1), (1, 500)]) {
        let mut backend = world.try_open(part::<i32>(10, 2, index), &[]).unwrap();
        let (value, list) = (backend.register(value()).unwrap(), backend.register(list()).unwrap());
        let mine: Vec<i32> = (0..).filter(|key| backend.key(key).is_ok()).take(values).collect();
        for key in &mine {
            backend.at(value, key).set(i64::from(*key) << 32).unwrap();
        }
        for element in 0..elements {
            backend.at(list, &mine[0]).add(element).unwrap();
        }
        lists.push((mine[0], elements));
        handles.push(world.checkpoint(&mut backend));
    }
    let mut backend = world.try_open(single::<i32>(10), &handles).unwrap();
    let token = backend.register(list()).unwrap();
    for (key, elements) in &lists {
        backend.at(token, key).add(*elements).unwrap();
    }
    let mut backend = world.reopen(backend);
    let token = backend.register(list()).unwrap();
    for (key, elements) in lists {
        assert!(backend.at(token, &key).get().unwrap().into_iter().eq(0..=elements), "key {key}");
    }
}

/// K146: states that only some subtasks registered are all found after a rescale.
pub fn k146_states_that_only_some_subtasks_have_are_found<F: Factory>() {
    let world = World::<F>::new();
    let name = |group: u16| format!("group-{group}");
    let space = KeySpace::<i32>::new(128).unwrap();
    let keys: BTreeMap<u16, i32> = (0..2000).map(|key| (space.key(&key).unwrap().group(), key)).collect();
    let mut checkpoint: Option<Checkpoint> = None;
    for parallelism in [15, 77, 15] {
        let mut handles = Vec::new();
        for index in 0..parallelism {
            let subtask = part::<i32>(128, parallelism, index);
            let range = subtask.range();
            let parents =
                checkpoint.as_ref().map(|checkpoint| checkpoint.handles_for(OPERATOR, range).unwrap());
            let mut backend = world.try_open(subtask, &parents.unwrap_or_default()).unwrap();
            for group in range {
                let Some(key) = keys.get(&group) else { continue };
                let token = backend.register(ValueDescriptor::<i32>::new(name(group))).unwrap();
                let expected = checkpoint.is_some().then_some(*key);
                assert_eq!(backend.at(token, key).get().unwrap(), expected, "group {group}");
                backend.at(token, key).set(*key).unwrap();
            }
            if let Some(handle) = world.try_snapshot(&mut backend).unwrap() {
                handles.push(handle);
            }
        }
        checkpoint = Some(checkpoint_of(handles));
    }
}

/// A handle of all key groups in which the state "value" is empty.
fn empty_handle<F: Factory>(world: &World<F>) -> KeyedStateHandle {
    let mut backend = world.open::<i32>();
    backend.register(value()).unwrap();
    world.checkpoint(&mut backend)
}

/// K147: a handle cut to some groups restores exactly those. Cut to groups that it lacks, there is no handle.
pub fn k147_a_cut_handle_restores_exactly_its_groups<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for key in 0..100 {
        backend.at(token, &key).set(i64::from(key)).unwrap();
    }
    let handle = world.checkpoint(&mut backend);
    let cut = handle.cut(KeyGroupRange::new(3, 5).unwrap()).unwrap();
    assert_eq!((cut.range, &cut.files), (KeyGroupRange::new(3, 5).unwrap(), &handle.files));
    assert!(cut.cut(KeyGroupRange::new(6, 9).unwrap()).is_none());
    let empty = empty_handle(&world);
    let rest =
        [(0, 2), (6, 9)].map(|(first, last)| empty.cut(KeyGroupRange::new(first, last).unwrap()).unwrap());
    let mut backend = world.try_open::<i32>(single(10), &[&[cut][..], &rest[..]].concat()).unwrap();
    let token = backend.register(value()).unwrap();
    let within = |key: &i32| (3..=5).contains(&single(10).key(key).unwrap().group());
    assert_eq!(backend.sorted_keys(token), (0..100).filter(within).collect::<Vec<_>>());
}

/// K148: from a handle with more groups than the subtask's, other groups are not restored: their keys are not
/// listed, and do not return at the next rescale.
pub fn k148_an_uncut_handle_restores_no_foreign_groups<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for key in 0..100 {
        backend.at(token, &key).set(i64::from(key)).unwrap();
    }
    let handle = world.checkpoint(&mut backend);
    let half = part::<i32>(10, 2, 1);
    let own: Vec<i32> = (0..100).filter(|key| half.key(key).is_ok()).collect();
    let mut backend = world.try_open(half, std::slice::from_ref(&handle)).unwrap();
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.sorted_keys(token), own);
    let handle = world.checkpoint(&mut backend);
    let other = empty_handle(&world).cut(part::<i32>(10, 2, 0).range()).unwrap();
    let mut backend = world.try_open::<i32>(single(10), &[other, handle]).unwrap();
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.sorted_keys(token), own);
}

/// K149: two backends restored from one handle both have all of it, and are independent.
pub fn k149_one_handle_restores_repeatedly<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let handle = world.checkpoint(&mut backend);
    let mut first = world.restore::<i32>(&handle);
    let kinds = Kinds::register(&mut first).unwrap();
    kinds.change(&mut first, &mut content.clone(), 2);
    world.checkpoint(&mut first);
    let mut second = world.restore::<i32>(&handle);
    assert_eq!(content_of(&mut second), content);
    drop(first);
    assert_eq!(content_of(&mut world.restore(&handle)), content);
}

/// K150: two handles of one key group are refused, and so is one handle given twice.
pub fn k150_two_handles_of_one_group_are_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    backend.register(value()).unwrap();
    let handle = world.checkpoint(&mut backend);
    let part = handle.cut(KeyGroupRange::new(9, 9).unwrap()).unwrap();
    for handles in [[handle.clone(), handle.clone()], [handle.clone(), part.clone()], [part, handle]] {
        assert_eq!(kind(world.try_open::<i32>(single(10), &handles)), ErrorKind::IllegalState);
    }
}

/// K150b: a handle that claims more key groups than its files have is refused, because the others would be
/// empty.
pub fn k150b_a_handle_of_more_groups_than_its_files_is_refused<F: Factory>() {
    let world = World::<F>::new();
    for index in 0..2 {
        let mut backend = world.try_open::<i32>(part(10, 2, index), &[]).unwrap();
        backend.register(value()).unwrap();
        let handle = world.checkpoint(&mut backend);
        let larger = KeyedStateHandle { range: KeyGroupRange::all(10).unwrap(), ..handle.clone() };
        assert_eq!(kind(world.try_open::<i32>(single(10), &[larger])), ErrorKind::Corrupt);
        world.try_open::<i32>(part(10, 2, index), &[handle]).unwrap();
    }
}

/// K150c: handles that lack a key group of the subtask are refused, naming the first one. Without handles a
/// backend starts empty.
pub fn k150c_handles_that_leave_a_key_group_out_are_refused<F: Factory>() {
    let world = World::<F>::new();
    let handle = empty_handle(&world);
    let cut = |first, last| handle.cut(KeyGroupRange::new(first, last).unwrap()).unwrap();
    for (handles, missing) in
        [(vec![cut(0, 8)], 9), (vec![cut(1, 9)], 0), (vec![cut(7, 9), cut(0, 4)], 5), (vec![cut(3, 3)], 0)]
    {
        let error = world.try_open::<i32>(single(10), &handles).err().unwrap();
        assert_eq!((error.kind(), error.key_group()), (ErrorKind::IllegalState, Some(missing)), "{error}");
    }
    // Other groups are not needed.
    let half = part::<i32>(10, 2, 0);
    assert_eq!(kind(world.try_open(half.clone(), &[cut(5, 9)])), ErrorKind::IllegalState);
    world.try_open(half, &[cut(0, 4)]).unwrap();
    world.try_open::<i32>(single(10), &[cut(5, 9), cut(0, 4)]).unwrap();
}

/// K151: a snapshot with another number of key groups is refused, and the error names both numbers.
pub fn k151_another_number_of_key_groups_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.try_open::<i32>(single(128), &[]).unwrap();
    backend.register(value()).unwrap();
    let handle = world.checkpoint(&mut backend);
    let error = world.try_open::<i32>(single(64), &[handle]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    assert!(error.to_string().contains("64") && error.to_string().contains("128"), "{error}");
}

/// K153: a snapshot with keys of another type or another mapping to groups is refused, and can still be
/// restored with the right ones.
pub fn k153_another_type_or_mapping_of_keys_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let handle = world.checkpoint(&mut backend);
    let handles = std::slice::from_ref(&handle);
    assert_eq!(kind(world.try_open::<i64>(single(10), handles)), ErrorKind::Migration);
    assert_eq!(kind(world.try_open::<String>(single(10), handles)), ErrorKind::Migration);
    let flink = Subtask::single(OPERATOR, KeySpace::<i32>::flink(10).unwrap()).unwrap();
    assert_eq!(kind(world.try_open(flink, handles)), ErrorKind::IllegalState);
    let mut backend = world.restore::<i32>(&handle);
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(1));
}

/// K154: after a restore all files of the checkpoint can be deleted. Reads and further checkpoints work.
pub fn k154_a_restored_backend_does_not_need_the_checkpoint<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    for round in 0..3 {
        kinds.change(&mut backend, &mut content, round);
        world.checkpoint(&mut backend);
    }
    let handle = world.checkpoint(&mut backend);
    drop(backend);
    let mut backend = world.restore::<i32>(&handle);
    if let Some(storage) = world.storage() {
        storage.delete_folder("").unwrap();
    }
    // With states that are not registered yet.
    let first = world.checkpoint(&mut backend);
    let kinds = Kinds::register(&mut backend).unwrap();
    assert_eq!(kinds.read(&mut backend), content);
    assert_eq!(content_of(&mut world.restore(&first)), content);
    kinds.change(&mut backend, &mut content, 3);
    let next = world.checkpoint(&mut backend);
    assert_eq!(content_of(&mut world.restore(&next)), content);
}

/// K155: backends with and without compression restore each other's checkpoints.
pub fn k155_compression_can_differ<F: Factory>() {
    for first in [true, false] {
        let setup = |compression| Setup { compression: Some(compression), ..Setup::default() };
        let Some(mut world) = World::<F>::in_files(setup(first)) else { return };
        let mut backend = world.open::<i32>();
        let kinds = Kinds::register(&mut backend).unwrap();
        let mut content = Content::default();
        kinds.change(&mut backend, &mut content, 0);
        let handle = world.checkpoint(&mut backend);
        world.set_up(setup(!first));
        let backend = world.restore::<i32>(&handle);
        assert_eq!(content_of(&mut world.reopen(backend)), content);
    }
}

/// K156: two handles may contain a state of the same name with the same codec. With different codecs the
/// restore or the registration is refused.
pub fn k156_handles_of_one_state_must_agree_on_its_codec<F: Factory>() {
    for (codecs, agree) in [(["a", "a"], true), (["a", "b"], false)] {
        let world = World::<F>::new();
        let descriptor = |codec| ValueDescriptor::with_codec("value", TestCodec::<i64>::new(codec));
        let mut handles = Vec::new();
        for (index, codec) in (0..).zip(codecs) {
            let mut backend = world.try_open(part::<i32>(10, 2, index), &[]).unwrap();
            let token = backend.register(descriptor(codec)).unwrap();
            for key in (0..20).filter(|key| part(10, 2, index).key(key).is_ok()) {
                backend.at(token, &key).set(i64::from(key)).unwrap();
            }
            handles.push(world.checkpoint(&mut backend));
        }
        let restored = world.try_open::<i32>(single(10), &handles);
        let registered = restored.and_then(|mut backend| {
            let token = backend.register(descriptor("a"))?;
            Ok((backend, token))
        });
        if !agree {
            assert_eq!(kind(registered), ErrorKind::Migration);
            continue;
        }
        let (mut backend, token) = registered.unwrap();
        for key in 0..20 {
            assert_eq!(backend.at(token, &key).get().unwrap(), Some(i64::from(key)));
        }
    }
}

/// K157: a restore that fails halfway, at open or at registration, leaves no working files and changes
/// nothing in the storage. A second try with a good handle works.
pub fn k157_a_failed_restore_leaves_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut handles = Vec::new();
    let mut content = Content::default();
    for index in 0..2 {
        let mut backend = world.try_open(part::<i32>(10, 2, index), &[]).unwrap();
        let kinds = Kinds::register(&mut backend).unwrap();
        let mut own = Content::default();
        kinds.change(&mut backend, &mut own, 0);
        content.join(own);
        handles.push(world.checkpoint(&mut backend));
    }
    let good = world.bytes(&handles[1].files[0]);
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    let mut broken = handles.clone();
    broken[1].files[0] = world.put_bytes(&handles[1].files[0], damaged);
    let files = world.files();
    let working = world.working_files();
    let restored = world.try_open::<i32>(single(10), &broken);
    assert_eq!(kind(restored.and_then(|mut backend| Kinds::register(&mut backend))), ErrorKind::Corrupt);
    assert_eq!((world.files(), world.working_files()), (files, working));
    handles[1].files[0] = world.put_bytes(&handles[1].files[0], good);
    let mut backend = world.try_open::<i32>(single(10), &handles).unwrap();
    assert_eq!(content_of(&mut backend), content);
}

/// K158: the snapshot of a restored backend restores, over many generations, with and without changes.
pub fn k158_each_generation_restores_from_the_one_before<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let mut content = Content::default();
    for round in 0..8 {
        let kinds = Kinds::register(&mut backend).unwrap();
        assert_eq!(kinds.read(&mut backend), content, "round {round}");
        if round % 3 != 2 {
            kinds.change(&mut backend, &mut content, round);
        }
        backend = world.reopen(backend);
    }
}

/// K159: key groups without entries are not read: restoring 32,768 groups with few entries needs few calls of
/// the storage.
pub fn k159_groups_without_entries_cost_nothing<F: Factory>() {
    let Some((world, storage)) = World::<F>::over(Setup::default(), FailingStorage::new) else { return };
    let mut backend = world.try_open::<i32>(single(32_768), &[]).unwrap();
    let token = backend.register(value()).unwrap();
    for key in 0..3 {
        backend.at(token, &key).set(1).unwrap();
    }
    let handle = world.checkpoint(&mut backend);
    storage.heal();
    let mut backend = world.restore::<i32>(&handle);
    let token = backend.register(value()).unwrap();
    assert!(storage.calls() < 100, "{} calls for 3 entries", storage.calls());
    assert_eq!(backend.sorted_keys(token), [0, 1, 2]);
}

/// K160: snapshots and rescaling work with 127, 128, 129 and 257 key groups.
pub fn k160_rescaling_works_around_128_groups<F: Factory>() {
    for groups in [127, 128, 129, 257] {
        rescale::<F>(groups, &[1, 3, 2]);
    }
}

/// N200: a codec with another id is refused for every kind of state. The data is kept for another try with
/// the right codec.
pub fn n200_another_codec_is_refused_and_the_data_kept<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let mut backend = world.reopen(backend);
    let numbers = || TestCodec::<i64>::new("another");
    let words = || TestCodec::<String>::new("another");
    let refused = [
        kind(backend.register(ValueDescriptor::with_codec("value", numbers()))),
        kind(backend.register(ValueDescriptor::<String>::new("value"))),
        kind(backend.register(ListDescriptor::with_codec("list", words()))),
        kind(backend.register(ListDescriptor::<i64>::new("list"))),
        kind(backend.register(MapDescriptor::<i32, String>::with_codec("map", words()))),
        kind(backend.register(MapDescriptor::<i64, String>::new("map"))),
        kind(backend.register(MapDescriptor::<i32, i64>::new("map"))),
        kind(backend.register(ReducingDescriptor::with_codec("sum", |a, _| Ok(*a), numbers()))),
        kind(backend.register(ReducingDescriptor::new("sum", |a: &String, _| a.clone()))),
        kind(backend.register(AggregatingDescriptor::new("tally", Sum::default()))),
    ];
    assert_eq!(refused, [ErrorKind::Migration; 10]);
    assert_eq!(content_of(&mut world.reopen(backend)), content);
}

/// N203: another type of namespaces is refused. The data is kept for another try.
pub fn n203_another_type_of_namespaces_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let windows = || value().namespaced::<i64>();
    let token = backend.register(windows()).unwrap();
    backend.within(token, &1, &7).set(1).unwrap();
    let mut backend = world.reopen(backend);
    assert_eq!(kind(backend.register(value())), ErrorKind::Migration);
    assert_eq!(kind(backend.register(value().namespaced::<String>())), ErrorKind::Migration);
    let token = backend.register(windows()).unwrap();
    assert_eq!(backend.within(token, &1, &7).get().unwrap(), Some(1));
}

/// N205: a restored state is refused as any other kind, before its types are compared.
pub fn n205_another_kind_is_refused_and_the_data_kept<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let kinds = Kinds::register(&mut backend).unwrap();
    let mut content = Content::default();
    kinds.change(&mut backend, &mut content, 0);
    let mut backend = world.reopen(backend);
    for name in Kinds::NAMES {
        let mut refused = Vec::new();
        if name != "value" {
            refused.push(kind(backend.register(ValueDescriptor::<String>::new(name))));
        }
        if name != "list" {
            refused.push(kind(backend.register(ListDescriptor::<i64>::new(name))));
        }
        if name != "map" {
            refused.push(kind(backend.register(MapDescriptor::<i64, i64>::new(name))));
        }
        if name != "sum" {
            refused.push(kind(backend.register(ReducingDescriptor::new(name, |a: &i64, b| a + b))));
        }
        if name != "tally" {
            refused.push(kind(backend.register(AggregatingDescriptor::new(name, Mean))));
        }
        if name != "timers" {
            refused.push(kind(backend.register(TimerDescriptor::event_time(name))));
        }
        assert_eq!(refused, [ErrorKind::IncompatibleKind; 5], "{name}");
    }
    assert_eq!(content_of(&mut backend), content);
}

/// N207: while a restored state is not registered, `check_restored` is an error that names it.
pub fn n207_an_unregistered_restored_state_is_reported<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    backend.check_restored().unwrap();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    backend.check_restored().unwrap();
    let mut backend = world.reopen(backend);
    backend.register(ValueDescriptor::<i64>::new("renamed")).unwrap();
    let error = backend.check_restored().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    assert!(error.message().contains("\"value\"") && !error.message().contains("renamed"), "{error}");
    // It is passed on, also by a backend that is restored and does not register it.
    let mut backend = world.reopen(backend);
    assert_eq!(kind(backend.check_restored()), ErrorKind::IllegalState);
    backend.register(ValueDescriptor::<i64>::new("renamed")).unwrap();
    let token = backend.register(value()).unwrap();
    backend.check_restored().unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(1));
}

/// N207: a dropped state is absent from later snapshots, including increments. Registered and unknown states
/// cannot be dropped. The name can be used again.
pub fn n207b_a_restored_state_can_be_dropped<F: Factory>() {
    let Some(world) = World::<F>::with(Setup::default()) else { return };
    let mut backend = world.open::<i32>();
    let list = backend.register(ListDescriptor::<i64>::new("list")).unwrap();
    let kept = backend.register(value()).unwrap();
    for key in 0..100 {
        backend.at(list, &key).add(7).unwrap();
        backend.at(kept, &key).set(i64::from(key)).unwrap();
    }
    assert_eq!(kind(backend.drop_restored("list")), ErrorKind::NotFound, "it is registered");
    let mut backend = world.reopen(backend);
    assert_eq!(kind(backend.drop_restored("unknown")), ErrorKind::NotFound);
    let kept = backend.register(value()).unwrap();
    backend.drop_restored("list").unwrap();
    assert_eq!(kind(backend.drop_restored("list")), ErrorKind::NotFound);
    backend.check_restored().unwrap();
    assert_eq!(backend.states().len(), 1);
    assert_eq!(backend.at(kept, &3).get().unwrap(), Some(3));
    let mut backend = world.reopen(backend);
    assert_eq!(backend.states().into_iter().map(|state| state.name).collect::<Vec<_>>(), ["value"]);
    // Another kind of state under the same name.
    let map = backend.register(MapDescriptor::<i32, i64>::new("list")).unwrap();
    let kept = backend.register(value()).unwrap();
    assert_eq!(backend.sorted_keys(map), Vec::<i32>::new());
    backend.at(map, &1).put(1, 1).unwrap();
    assert_eq!(backend.at(kept, &99).get().unwrap(), Some(99));
    let mut backend = world.reopen(backend);
    let map = backend.register(MapDescriptor::<i32, i64>::new("list")).unwrap();
    assert_eq!(backend.sorted_keys(map), [1]);
}

/// N206: registering a registered name with another type, kind or namespace, or an empty name, is refused at
/// once. The first registration stays valid.
pub fn n206_other_types_under_a_registered_name_are_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set(1).unwrap();
    let refused = [
        kind(backend.register(ValueDescriptor::<String>::new("value"))),
        kind(backend.register(ValueDescriptor::<u64>::new("value"))),
        kind(backend.register(value().namespaced::<i64>())),
    ];
    assert_eq!(refused, [ErrorKind::IllegalState; 3]);
    let refused = [
        kind(backend.register(ListDescriptor::<i64>::new("value"))),
        kind(backend.register(MapDescriptor::<i64, i64>::new("value"))),
        kind(backend.register(ReducingDescriptor::new("value", |a: &i64, b| a + b))),
        kind(backend.register(AggregatingDescriptor::new("value", Sum::default()))),
    ];
    assert_eq!(refused, [ErrorKind::IncompatibleKind; 4]);
    assert_eq!(kind(backend.register(ValueDescriptor::<i64>::new(""))), ErrorKind::InvalidArgument);
    assert_eq!(backend.at(token, &1).get().unwrap(), Some(1));
    assert_eq!(backend.states().len(), 1);
}
