//! Limits and layout: behaviours O213 to O227, and X10 to X13.

use backend_api::{
    ErrorKind, KeyedStateHandle, ListDescriptor, ListState, MapDescriptor, MapState, StateBackend, StateData,
    StateKey, ValueDescriptor, ValueState,
};

use crate::access::{Access, kind};
use crate::kinds::{Content, Kinds, content_of};
use crate::{Factory, Setup, World, part, single};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! limits_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* limits
            o213_state_above_the_limit_fails_only_the_snapshot
            o214_state_of_exactly_the_limit_is_allowed
            o215_a_limit_of_zero_is_refused
            o216_all_states_share_the_limit
            o218_state_up_to_the_inline_limit_makes_no_file
            o219_the_inline_limit_has_bounds
            o220_no_state_makes_no_file
            o224_each_handle_discards_its_own_files
            o225_a_hundred_thousand_keys_are_restored
            o226_checkpoint_files_lie_in_the_folders_of_their_use
            o227_there_are_32767_states_at_most
            x10_a_list_or_map_beyond_the_limit_is_refused_when_written
            x11_keys_with_colliding_hashes_work_like_others
            x12_lists_and_maps_of_large_elements_are_restored
            x13_cleared_state_does_not_count
        }
    };
}

fn value() -> ValueDescriptor<String> {
    ValueDescriptor::new("value")
}

/// A backend of `world` with one value of `length` bytes.
fn with_text<F: Factory>(world: &World<F>, length: usize) -> F::Backend<i32> {
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    backend.at(token, &1).set("x".repeat(length)).unwrap();
    backend
}

fn limited(bytes: u64) -> Setup {
    Setup { max_state_bytes: Some(bytes), ..Setup::default() }
}

fn inline(bytes: usize) -> Setup {
    Setup { inline_max: Some(bytes), ..Setup::default() }
}

/// The length of the checkpoint file of `with_text(length)`, without a limit.
fn length_of<F: Factory>(length: usize) -> u64 {
    let world = World::<F>::new();
    world.snapshot(&mut with_text(&world, length)).full_size()
}

/// O213: a snapshot of state above the limit fails with the size and the limit, and returns no handle. The
/// backend continues.
pub fn o213_state_above_the_limit_fails_only_the_snapshot<F: Factory>() {
    let Some(world) = World::<F>::with(limited(10)) else { return };
    let mut backend = with_text(&world, 100);
    let error = world.try_snapshot(&mut backend).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    let size = length_of::<F>(100);
    let numbers = error.message().split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    assert_eq!(numbers.collect::<Vec<_>>(), [size.to_string(), "10".to_owned()], "{error}");
    let token = backend.register(value()).unwrap();
    assert_eq!(backend.at(token, &1).get().unwrap().unwrap().len(), 100);
    backend.at(token, &2).set("more".to_owned()).unwrap();
    assert_eq!(backend.entries("value", token), 2);
}

/// O214: state of exactly the limit is written and restored, and one byte more is refused. The default limit,
/// if any, allows small state.
pub fn o214_state_of_exactly_the_limit_is_allowed<F: Factory>() {
    let size = length_of::<F>(100);
    for (limit, allowed) in [(size, true), (size + 1, true), (size - 1, false)] {
        let Some(world) = World::<F>::with(limited(limit)) else { return };
        let mut backend = with_text(&world, 100);
        if allowed {
            let handle = world.checkpoint(&mut backend);
            let mut backend = world.restore::<i32>(&handle);
            let token = backend.register(value()).unwrap();
            assert_eq!(backend.at(token, &1).get().unwrap().unwrap().len(), 100);
        } else {
            assert_eq!(kind(world.try_snapshot(&mut backend)), ErrorKind::Size);
            let token = backend.register(value()).unwrap();
            backend.at(token, &1).set(String::new()).unwrap();
            world.checkpoint(&mut backend);
        }
    }
}

/// O215: a limit of 0 bytes is an invalid argument.
pub fn o215_a_limit_of_zero_is_refused<F: Factory>() {
    let Some(world) = World::<F>::with(limited(0)) else { return };
    assert_eq!(kind(world.try_open::<i32>(single(10), &[])), ErrorKind::InvalidArgument);
}

/// O216: the limit applies to all states of the backend together.
pub fn o216_all_states_share_the_limit<F: Factory>() {
    let Some(world) = World::<F>::with(limited(length_of::<F>(1000) + 500)) else { return };
    let mut backend = with_text(&world, 1000);
    world.checkpoint(&mut backend);
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    backend.at(list, &1).add("x".repeat(1000)).unwrap();
    assert_eq!(kind(world.try_snapshot(&mut backend)), ErrorKind::Size);
    backend.at(list, &1).clear().unwrap();
    world.checkpoint(&mut backend);
}

/// O218: a state file of up to the inline limit is in the handle, and not in the storage. With one byte more
/// it is exactly one file.
pub fn o218_state_up_to_the_inline_limit_makes_no_file<F: Factory>() {
    let largest =
        |handle: &KeyedStateHandle| handle.files.iter().map(|file| file.data.length()).max().unwrap();
    let world = World::<F>::new();
    let size = largest(&world.snapshot(&mut with_text(&world, 1000))) as usize;
    for (limit, files) in [(size, 0), (size + 1, 0), (size - 1, 1)] {
        let Some(world) = World::<F>::with(inline(limit)) else { return };
        let mut backend = with_text(&world, 1000);
        let handle = world.checkpoint(&mut backend);
        assert_eq!(world.files().len(), files, "a limit of {limit} for {size} bytes");
        let in_files = if files == 0 { 0 } else { size as u64 };
        assert_eq!(handle.inline_size(), handle.full_size() - in_files);
        let mut backend = world.reopen(backend);
        let token = backend.register(value()).unwrap();
        assert_eq!(backend.at(token, &1).get().unwrap().unwrap().len(), 1000);
    }
}

/// O219: an inline limit above 1 MiB is an invalid argument. 1 MiB and 0 are allowed, and with 0 all state is
/// in files.
pub fn o219_the_inline_limit_has_bounds<F: Factory>() {
    let Some(world) = World::<F>::with(inline(1_048_577)) else { return };
    assert_eq!(kind(world.try_open::<i32>(single(10), &[])), ErrorKind::InvalidArgument);
    for limit in [1_048_576, 0] {
        let Some(world) = World::<F>::with(inline(limit)) else { return };
        let handle = world.checkpoint(&mut with_text(&world, 0));
        assert_eq!(world.files().len(), if limit == 0 { handle.files.len() } else { 0 });
    }
}

/// O220: a backend without states writes no file, with any inline limit.
pub fn o220_no_state_makes_no_file<F: Factory>() {
    let Some(world) = World::<F>::in_files(Setup::default()) else { return };
    assert!(world.try_snapshot(&mut world.open::<i32>()).unwrap().is_none());
    assert!(world.files().is_empty());
}

/// O224: each handle of one checkpoint discards its own files. The last one leaves an empty folder, and
/// repeating is no error.
pub fn o224_each_handle_discards_its_own_files<F: Factory>() {
    let Some(world) = World::<F>::in_files(Setup::default()) else { return };
    let storage = world.storage().unwrap();
    let request = world.request();
    let mut handles = Vec::new();
    let mut contents = Vec::new();
    for index in 0..2 {
        let mut backend = world.try_open::<i32>(part(10, 2, index), &[]).unwrap();
        let mut content = Content::default();
        Kinds::register(&mut backend).unwrap().change(&mut backend, &mut content, 0);
        handles.push(backend.snapshot(request.clone()).unwrap().run().unwrap().unwrap());
        contents.push(content);
    }
    handles[0].discard(&*storage).unwrap();
    let mut backend = world.try_open::<i32>(part(10, 2, 1), &handles[1..]).unwrap();
    assert_eq!(content_of(&mut backend), contents[1]);
    for _ in 0..2 {
        handles[1].discard(&*storage).unwrap();
        assert!(world.files().is_empty());
    }
}

/// O225: a hundred thousand keys are restored with their values.
pub fn o225_a_hundred_thousand_keys_are_restored<F: Factory>() {
    let world = World::<F>::new();
    let numbers = || ValueDescriptor::<i64>::new("numbers");
    let mut backend = world.open::<i64>();
    let token = backend.register(numbers()).unwrap();
    for key in 0..100_000 {
        backend.at(token, &key).set(key * 3).unwrap();
    }
    let mut backend = world.reopen(backend);
    let token = backend.register(numbers()).unwrap();
    for key in 0..100_000 {
        assert_eq!(backend.at(token, &key).get().unwrap(), Some(key * 3));
    }
    assert!(backend.sorted_keys(token).into_iter().eq(0..100_000));
}

/// O226: private files are in the folder of their checkpoint, and shared ones in the shared folder. Deleting
/// the checkpoint's folder keeps the shared files.
pub fn o226_checkpoint_files_lie_in_the_folders_of_their_use<F: Factory>() {
    let Some(world) = World::<F>::in_files(Setup::default()) else { return };
    let (storage, job) = (world.storage().unwrap(), world.job());
    let lies_right = |handle: &KeyedStateHandle| {
        for file in &handle.files {
            let StateData::File { path, .. } = &file.data else { panic!("{file:?} is not a file") };
            let folder = if file.shared { job.shared() } else { job.checkpoint(file.created_by) };
            assert!(path.starts_with(&format!("{folder}/")), "{path}");
        }
    };
    let mut backend = with_text(&world, 100);
    let handle = world.checkpoint(&mut backend);
    lies_right(&handle);
    let token = backend.register(value()).unwrap();
    backend.at(token, &2).set("more".to_owned()).unwrap();
    let next = world.checkpoint(&mut backend);
    lies_right(&next);
    storage.delete_folder(&job.checkpoint(handle.checkpoint_id)).unwrap();
    let mut restored = world.restore::<i32>(&next);
    let token = restored.register(value()).unwrap();
    assert_eq!(restored.entries("value", token), 2);
}

/// O227: 32,767 states can be snapshotted and restored. One more is a size error without a handle.
pub fn o227_there_are_32767_states_at_most<F: Factory>() {
    let world = World::<F>::new();
    let state = |i: u32| ValueDescriptor::<u32>::new(format!("{i}"));
    let mut backend = world.try_open::<i32>(single(1), &[]).unwrap();
    for i in 0..32_767 {
        let token = backend.register(state(i)).unwrap();
        if i % 1000 == 0 {
            backend.at(token, &1).set(i).unwrap();
        }
    }
    let handle = world.checkpoint(&mut backend);
    let error = match backend.register(state(32_767)) {
        Err(error) => error,
        Ok(_) => world.try_snapshot(&mut backend).unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Size);
    drop(backend);
    let mut backend = world.restore::<i32>(&handle);
    assert_eq!(backend.states().len(), 32_767);
    for i in (0..32_767).step_by(1000) {
        let token = backend.register(state(i)).unwrap();
        assert_eq!(backend.at(token, &1).get().unwrap(), Some(i));
    }
}

/// X10: a write that makes a list or map larger than an entry can be is refused with state, key group, size
/// and limit. The old content stays readable. The same holds after a restore.
pub fn x10_a_list_or_map_beyond_the_limit_is_refused_when_written<F: Factory>() {
    const LIMIT: usize = 1 << 20;
    const PIECE: usize = LIMIT / 8;
    let setup = Setup { entry_bytes_max: Some(LIMIT as u64), ..Setup::default() };
    let Some(world) = World::<F>::with(setup) else { return };
    let lists = || ListDescriptor::<Vec<u8>>::new("list");
    let maps = || MapDescriptor::<u8, Vec<u8>>::new("map");
    let refused = |result: backend_api::Result<()>, state: &str| {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.state()), (ErrorKind::Size, Some(state)), "{error}");
        assert!(error.key_group().is_some() && error.to_string().contains("1048576 bytes"), "{error}");
    };
    let mut backend = world.open::<i32>();
    let (list, map) = (backend.register(lists()).unwrap(), backend.register(maps()).unwrap());
    for piece in 0..7 {
        backend.at(list, &1).add(vec![piece; PIECE]).unwrap();
        backend.at(map, &1).put(piece, vec![piece; PIECE]).unwrap();
    }
    for _ in 0..2 {
        let (list, map) = (backend.register(lists()).unwrap(), backend.register(maps()).unwrap());
        let two = [vec![7; PIECE], vec![8; PIECE]];
        refused(backend.at(list, &1).add_all(two.clone()), "list");
        refused(backend.at(list, &1).add(two.concat()), "list");
        refused(backend.at(map, &1).put_all((7..).zip(two.clone())), "map");
        refused(backend.at(map, &1).put(7, two.concat()), "map");
        let found = backend.at(list, &1).get().unwrap();
        assert!(found.into_iter().eq((0..7).map(|piece| vec![piece; PIECE])));
        for piece in 0..8 {
            let expected = (piece < 7).then(|| vec![piece; PIECE]);
            assert_eq!(backend.at(map, &1).get(&piece).unwrap(), expected);
        }
        // Replacing adds nothing, and another key has its own list and map.
        backend.at(map, &1).put(0, vec![0; PIECE]).unwrap();
        backend.at(list, &2).add(two.concat()).unwrap();
        backend.at(map, &2).put(7, two.concat()).unwrap();
        backend.at(list, &2).clear().unwrap();
        backend.at(map, &2).clear().unwrap();
        backend = world.reopen(backend);
    }
    let (list, map) = (backend.register(lists()).unwrap(), backend.register(maps()).unwrap());
    backend.at(list, &1).clear().unwrap();
    backend.at(list, &1).add_all((0..7).map(|piece| vec![piece; PIECE])).unwrap();
    backend.at(map, &1).remove(&0).unwrap();
    backend.at(map, &1).put(7, vec![7; PIECE]).unwrap();
}

/// Keys with the same XXH3 hash for any number in the middle: where the input cancels out the public secret,
/// XXH3 multiplies by 0.
fn colliding(number: u64) -> (u64, u64, u64) {
    (0xb8fe_6c39_23a4_4bbe, number, 0x7240_a4a4_b7b3_671f)
}

/// X11: any number of keys and map keys chosen to have equal hashes are written, read, cleared and restored
/// like others.
pub fn x11_keys_with_colliding_hashes_work_like_others<F: Factory>() {
    const KEYS: u64 = 600;
    assert_eq!(colliding(1).stable_hash(), colliding(2).stable_hash());
    let world = World::<F>::new();
    let mut backend = world.open::<(u64, u64, u64)>();
    let value = || ValueDescriptor::<u64>::new("value");
    let map = || MapDescriptor::<(u64, u64, u64), u64>::new("map");
    let (values, maps) = (backend.register(value()).unwrap(), backend.register(map()).unwrap());
    for number in 0..KEYS {
        backend.at(values, &colliding(number)).set(number).unwrap();
        backend.at(maps, &colliding(0)).put(colliding(number), number).unwrap();
    }
    for number in (0..KEYS).step_by(3) {
        backend.at(values, &colliding(number)).clear().unwrap();
        backend.at(maps, &colliding(0)).remove(&colliding(number)).unwrap();
    }
    let handle = world.checkpoint(&mut backend);
    let mut restored = world.restore::<(u64, u64, u64)>(&handle);
    let restored_tokens = (restored.register(value()).unwrap(), restored.register(map()).unwrap());
    for (backend, (values, maps)) in [(&mut backend, (values, maps)), (&mut restored, restored_tokens)] {
        for number in 0..KEYS {
            let expected = (number % 3 > 0).then_some(number);
            assert_eq!(backend.at(values, &colliding(number)).get().unwrap(), expected, "key {number}");
            assert_eq!(backend.at(maps, &colliding(0)).get(&colliding(number)).unwrap(), expected);
        }
        assert_eq!(backend.keys(values, &()).unwrap().count() as u64, KEYS - KEYS / 3);
    }
}

/// X12: lists and maps with large elements, keys or values are restored, also from increments.
pub fn x12_lists_and_maps_of_large_elements_are_restored<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let list = || ListDescriptor::<String>::new("list");
    let map = || MapDescriptor::<String, String>::new("map");
    let (lists, maps) = (backend.register(list()).unwrap(), backend.register(map()).unwrap());
    let large = |number: usize| format!("{number:02}{}", "x".repeat(40_000));
    let mut elements: Vec<String> = (0..30).map(large).collect();
    backend.at(lists, &1).add_all(elements.clone()).unwrap();
    backend.at(maps, &1).put_all((0..30).map(|n| (large(n), large(n)))).unwrap();
    for round in 0..2 {
        let keys: Vec<_> = (20 * round..30 + round).map(large).collect();
        let handle = world.checkpoint(&mut backend);
        let mut restored = world.restore::<i32>(&handle);
        let (list, map) = (restored.register(list()).unwrap(), restored.register(map()).unwrap());
        assert!(restored.at(list, &1).get().unwrap() == elements, "round {round}");
        assert_eq!(restored.at(map, &1).keys().unwrap().count(), keys.len(), "round {round}");
        for key in &keys {
            assert!(restored.at(map, &1).get(key).unwrap().as_ref() == Some(key), "round {round}");
        }
        backend.at(lists, &1).add(large(30)).unwrap();
        elements.push(large(30));
        (0..20).for_each(|number| backend.at(maps, &1).remove(&large(number)).unwrap());
        backend.at(maps, &1).put(large(30), large(30)).unwrap();
    }
}

/// X13: cleared state counts no entries, and its keys are not listed.
pub fn x13_cleared_state_does_not_count<F: Factory>() {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let token = backend.register(value()).unwrap();
    for round in 0..3 {
        for key in 0..1_000 {
            backend.at(token, &key).set(format!("{round}")).unwrap();
        }
        world.checkpoint(&mut backend);
        (0..1_000).for_each(|key| backend.at(token, &key).clear().unwrap());
        let info = backend.states().into_iter().next().unwrap();
        assert_eq!(info.entries.unwrap_or(0), 0);
        assert_eq!(backend.keys(token, &()).unwrap().count(), 0);
    }
    let handle = world.checkpoint(&mut backend);
    let mut restored = world.restore::<i32>(&handle);
    let token = restored.register(value()).unwrap();
    assert_eq!(restored.keys(token, &()).unwrap().count(), 0);
}
