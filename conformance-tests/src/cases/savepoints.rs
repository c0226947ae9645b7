//! Savepoints: behaviours M183 to M197.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend_api::{
    Cancel, Checkpoint, ErrorKind, KeyedStateHandle, ListDescriptor, ListState, MapDescriptor, MapState,
    MemoryStorage, Result, SavepointFormat, SnapshotKind, SnapshotRequest, StateBackend, StateData, Storage,
    TaskState, Timer, TimerDescriptor, TimerState, ValueDescriptor, ValueState,
};
use coordinator::{Savepoint, SavepointWriter};
use task_state::{BroadcastDescriptor, OperatorListDescriptor, OperatorState};

use crate::access::Access;
use crate::kinds::{Content, Kinds, content_of};
use crate::reference::{Bytes, Memory, TINY};
use crate::{Factory, OPERATOR, Setup, World, part, single, skip};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! savepoints_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* savepoints
            m183_a_canonical_savepoint_is_restored_by_every_backend
            m183b_canonical_savepoints_have_the_same_bytes
            m183c_long_lists_and_maps_are_cut_by_one_rule
            m183d_states_that_are_not_registered_are_part_of_a_savepoint
            m183e_operator_state_is_part_of_a_canonical_savepoint
            m185_a_native_savepoint_is_for_its_own_family
            m186_a_savepoint_can_be_moved
            m187_a_savepoint_needs_no_checkpoint
            m188_a_savepoint_is_no_part_of_the_checkpoints
            m197_a_savepoint_of_a_backend_without_storage_is_its_metadata
        }
    };
}

const FORMATS: [SavepointFormat; 2] = [SavepointFormat::Canonical, SavepointFormat::Native];

fn request(id: u64, format: SavepointFormat) -> SnapshotRequest {
    SnapshotRequest::new(id).with_kind(SnapshotKind::Savepoint(format))
}

/// False, and the case is skipped, if the backend writes no savepoints.
pub(super) fn writes_savepoints<F: Factory>() -> bool {
    let world = World::<F>::new();
    let mut backend = world.open::<i32>();
    let refused = FORMATS.iter().zip(1..).any(|(format, id)| {
        backend.snapshot(request(id, *format)).is_err_and(|error| error.kind() == ErrorKind::Unsupported)
    });
    if refused {
        skip("the backend writes no savepoints");
    }
    !refused
}

/// States in addition to one of each kind.
fn panes() -> MapDescriptor<String, Option<f64>, (i32, String)> {
    MapDescriptor::new("panes").namespaced()
}

fn alarms() -> TimerDescriptor<String> {
    TimerDescriptor::event_time("alarms").namespaced()
}

/// Changes all states, and returns their content.
fn fill<B: StateBackend<Key = i32>>(backend: &mut B, rounds: i32) -> Content {
    let (kinds, mut content) = (Kinds::register(backend).unwrap(), Content::default());
    (0..rounds).for_each(|round| kinds.change(backend, &mut content, round));
    let panes = backend.register(panes()).unwrap();
    let token = backend.register(alarms()).unwrap();
    for key in 0..20 {
        let context = backend.key(&key).unwrap();
        for at in [i64::from(100 - key), -1, i64::MIN] {
            backend.timers(token).unwrap().add(context, &format!("{}", key % 3), at).unwrap();
        }
        for namespace in [(key, String::new()), (-1, format!("{key}\0"))] {
            let mut pane = backend.within(panes, &key, &namespace);
            pane.put("a".to_owned(), Some(f64::from(key))).unwrap();
            pane.put(format!("{key}"), None).unwrap();
        }
    }
    content
}

/// The entries of the map with namespaces.
type Panes = BTreeMap<(i32, (i32, String)), BTreeMap<String, Option<f64>>>;

fn panes_of<B: StateBackend<Key = i32>>(backend: &mut B) -> Panes {
    let token = backend.register(panes()).unwrap();
    let places: Vec<_> = backend.keys_and_namespaces(token).unwrap().collect::<Result<_>>().unwrap();
    let read = |(key, namespace): (i32, (i32, String))| {
        let mut pane = backend.within(token, &key, &namespace);
        let entries = pane.iter().unwrap().map(|entry| {
            let (key, value) = entry.unwrap();
            (key.into_owned(), value.into_owned())
        });
        let entries = entries.collect();
        drop(pane);
        ((key, namespace), entries)
    };
    places.into_iter().map(read).collect()
}

fn alarms_of<B: StateBackend<Key = i32>>(backend: &mut B) -> Vec<Timer<i32, String>> {
    let token = backend.register(alarms()).unwrap();
    let mut timers: Vec<_> = backend.timers(token).unwrap().iter().unwrap().collect::<Result<_>>().unwrap();
    timers.sort();
    timers
}

/// Takes a savepoint into a handle. Its files are inline, so that every backend finds them.
pub(super) fn savepoint<F: Factory, B: StateBackend>(
    world: &World<F>,
    backend: &mut B,
    format: SavepointFormat,
) -> KeyedStateHandle {
    let id = world.request().checkpoint_id();
    let mut handle = backend.snapshot(request(id, format)).unwrap().run().unwrap().unwrap();
    for file in &mut handle.files {
        file.data = StateData::Inline(world.bytes(file));
    }
    handle
}

/// The bytes of the only file of a canonical savepoint.
pub(super) fn bytes(handle: &KeyedStateHandle) -> &[u8] {
    match &handle.files[..] {
        [file] => match &file.data {
            StateData::Inline(bytes) => bytes,
            StateData::File { .. } => panic!("the file is inline"),
        },
        files => panic!("{} files", files.len()),
    }
}

/// Takes a savepoint with one backend, and restores it with another at parallelism 2 and 1.
fn check_between<From: Factory, To: Factory>() {
    let (from, to) = (World::<From>::new(), World::<To>::new());
    let mut backend = from.open();
    let content = fill(&mut backend, 6);
    let panes = panes_of(&mut backend);
    let timers = alarms_of(&mut backend);
    assert_eq!((panes.len(), timers.len()), (40, 60));
    let handle = savepoint(&from, &mut backend, SavepointFormat::Canonical);

    let (mut joined, mut joined_panes, mut joined_timers) = (Content::default(), Panes::new(), Vec::new());
    for index in 0..2 {
        let subtask = part(10, 2, index);
        let mut restored = to.try_open(subtask, std::slice::from_ref(&handle)).unwrap();
        joined.join(content_of(&mut restored));
        joined_panes.extend(panes_of(&mut restored));
        joined_timers.extend(alarms_of(&mut restored));
    }
    joined_timers.sort();
    assert_eq!((&joined, &joined_panes, &joined_timers), (&content, &panes, &timers));

    let mut restored = to.restore(&handle);
    assert_eq!((content_of(&mut restored), panes_of(&mut restored)), (content, panes));
    assert_eq!(alarms_of(&mut restored), timers);
    // What was restored is changed and checkpointed like any other state. Ids come after that of the savepoint.
    while to.request().checkpoint_id() <= handle.checkpoint_id {}
    fill(&mut restored, 3);
    let content = content_of(&mut restored);
    let first = to.checkpoint(&mut restored);
    let again = to.snapshot(&mut restored);
    for handle in [first, again] {
        assert_eq!(content_of(&mut to.restore(&handle)), content);
    }
}

/// M183: Every backend restores a canonical savepoint of every other, at any parallelism.
pub fn m183_a_canonical_savepoint_is_restored_by_every_backend<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    check_between::<F, F>();
    check_between::<F, Memory>();
    check_between::<Memory, F>();
    check_between::<F, Bytes<TINY>>();
    check_between::<Bytes<TINY>, F>();
}

/// M183: The file of a canonical savepoint has the same bytes from every backend.
pub fn m183b_canonical_savepoints_have_the_same_bytes<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    fn of<F: Factory>(rounds: i32) -> Vec<u8> {
        let world = World::<F>::new();
        let mut backend = world.open();
        fill(&mut backend, rounds);
        bytes(&savepoint(&world, &mut backend, SavepointFormat::Canonical)).to_vec()
    }
    for rounds in [0, 1, 9] {
        assert!(of::<F>(rounds) == of::<Memory>(rounds), "{rounds} rounds");
        assert!(of::<F>(rounds) == of::<Bytes<0>>(rounds), "{rounds} rounds");
    }
    assert!(of::<F>(1) != of::<F>(9));
}

/// M183: Long lists and maps, and large elements, are cut into the same rows by every backend.
pub fn m183c_long_lists_and_maps_are_cut_by_one_rule<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    fn of<F: Factory>() -> (Vec<u8>, Vec<String>) {
        let world = World::<F>::new();
        let mut backend = world.open::<String>();
        let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
        let map = backend.register(MapDescriptor::<u32, Vec<u8>>::new("map")).unwrap();
        for (key, elements, length) in [("a", 1000, 3), ("b", 40, 5000), ("c", 3, 70_000), ("d", 128, 500)] {
            let key = key.to_owned();
            for number in 0..elements {
                let element = format!("{number} {}", "x".repeat(length));
                if number % 7 == 0 {
                    backend.at(list, &key).add_all([element]).unwrap();
                } else {
                    backend.at(list, &key).add(element).unwrap();
                }
                backend.at(map, &key).put(number, vec![number as u8; length]).unwrap();
            }
        }
        let handle = savepoint(&world, &mut backend, SavepointFormat::Canonical);
        let mut restored = world.restore::<String>(&handle);
        let list = restored.register(ListDescriptor::<String>::new("list")).unwrap();
        let elements = restored.at(list, &"b".to_owned()).get().unwrap();
        (bytes(&handle).to_vec(), elements)
    }
    let (bytes, elements) = of::<F>();
    assert_eq!(elements.len(), 40);
    assert!(elements.iter().zip(0..).all(|(element, number)| element.starts_with(&format!("{number} x"))));
    assert!(bytes == of::<Memory>().0);
    assert!(bytes == of::<Bytes<TINY>>().0);
}

/// M183: Restored states that nobody registers are part of a canonical savepoint, with the same bytes as if they were
/// registered. Dropped ones are not.
pub fn m183d_states_that_are_not_registered_are_part_of_a_savepoint<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    let mut world = World::<F>::new();
    let setup = Setup { incremental: Some(true), ..Setup::default() };
    if world.factory().capabilities().lacking(&setup).is_none() {
        world.set_up(setup);
    }
    let mut backend = world.open();
    let mut content = fill(&mut backend, 2);
    world.checkpoint(&mut backend);
    let kinds = Kinds::register(&mut backend).unwrap();
    (2..7).for_each(|round| kinds.change(&mut backend, &mut content, round));
    let dropped = backend.register(ValueDescriptor::<i64>::new("dropped")).unwrap();
    backend.at(dropped, &1).set(1).unwrap();
    // Where the backend writes increments, this is one.
    let checkpoint = world.checkpoint(&mut backend);
    drop(backend);

    let id = world.request().checkpoint_id();
    let savepoint_of = |register: &dyn Fn(&mut F::Backend<i32>)| {
        let mut backend = world.restore(&checkpoint);
        register(&mut backend);
        backend.drop_restored("dropped").unwrap();
        let written = backend.snapshot(request(id, SavepointFormat::Canonical)).unwrap().run();
        let mut handle = written.unwrap().unwrap();
        for file in &mut handle.files {
            file.data = StateData::Inline(world.bytes(file));
        }
        handle
    };
    let all = savepoint_of(&|backend| {
        content_of(backend);
        panes_of(backend);
    });
    let none = savepoint_of(&|_| ());
    let some = savepoint_of(&|backend| _ = panes_of(backend));
    assert!(bytes(&all) == bytes(&none) && bytes(&all) == bytes(&some));

    // They are passed on through checkpoints and further savepoints.
    let mut backend = world.restore(&none);
    panes_of(&mut backend);
    let again = savepoint(&world, &mut backend, SavepointFormat::Canonical);
    let passed_on = world.checkpoint(&mut backend);
    drop(backend);
    for handle in [again, passed_on] {
        let mut restored = world.restore(&handle);
        assert_eq!(content_of(&mut restored), content);
        assert_eq!(panes_of(&mut restored).len(), 40);
        assert_eq!(alarms_of(&mut restored).len(), 60);
        assert_eq!(restored.states().len(), Kinds::NAMES.len() + 2);
    }
}

/// M183: A canonical savepoint has the operator state of a task in the same form, and it is restored.
pub fn m183e_operator_state_is_part_of_a_canonical_savepoint<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    let world = World::<F>::new();
    let open = |restore: &[_]| OperatorState::open(&world.target(), &single::<i32>(10), restore).unwrap();
    let positions = || OperatorListDescriptor::<(String, u64)>::even_split("positions");
    let rules = || BroadcastDescriptor::<String, Option<i64>>::new("rules");
    let tags = || OperatorListDescriptor::<Vec<u8>>::union("tags");

    let mut state = open(&[]);
    let (list, map, union) = (
        state.register(tags()).unwrap(),
        state.register(rules()).unwrap(),
        state.register(positions()).unwrap(),
    );
    state.list(list).unwrap().set([vec![1, 2], vec![]]);
    for (key, value) in [("b", Some(-1)), ("a", None)] {
        state.broadcast(map).unwrap().put(key.to_owned(), value).unwrap();
    }
    state.list(union).unwrap().set([("x".to_owned(), 7), ("y".to_owned(), 1)]);
    let written = state.snapshot(request(1, SavepointFormat::Canonical)).unwrap().run().unwrap().unwrap();
    let names: Vec<_> = written.states.iter().map(|state| &*state.name).collect();
    assert_eq!(names, ["positions", "rules", "tags"]);
    let text = world.bytes(&written.file);
    drop(state);

    let checkpoint = |handle| {
        let mut task = TaskState::new(OPERATOR, 0, 1, None);
        task.operator_state = Some(handle);
        Checkpoint::new(1, vec![task])
    };
    let restore = checkpoint(written).restore(&single::<i32>(10)).unwrap();
    // One of them is not registered, and passed on.
    let mut state = open(restore.operator());
    let union = state.register(positions()).unwrap();
    assert_eq!(state.list(union).unwrap().iter().count(), 2);
    let again = state.snapshot(request(1, SavepointFormat::Canonical)).unwrap().run().unwrap().unwrap();
    assert!(world.bytes(&again.file) == text);
    let passed_on = state.snapshot(SnapshotRequest::new(2)).unwrap().run().unwrap().unwrap();
    for handle in [again, passed_on] {
        let restore = checkpoint(handle).restore(&single::<i32>(10)).unwrap();
        let mut state = open(restore.operator());
        let (list, map) = (state.register(tags()).unwrap(), state.register(rules()).unwrap());
        assert_eq!(state.list(list).unwrap().iter().cloned().collect::<Vec<_>>(), [vec![1, 2], vec![]]);
        let entries = state.broadcast(map).unwrap();
        assert_eq!(entries.get(&"a".to_owned()).copied(), Some(None));
        assert_eq!(entries.get(&"b".to_owned()).copied(), Some(Some(-1)));
    }
}

/// M185: A native savepoint is restored by backends of its family. Others refuse it as unsupported.
pub fn m185_a_native_savepoint_is_for_its_own_family<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    fn native<F: Factory>() -> (World<F>, KeyedStateHandle, Content) {
        let world = World::<F>::new();
        let mut backend = world.open();
        let content = fill(&mut backend, 5);
        let handle = savepoint(&world, &mut backend, SavepointFormat::Native);
        (world, handle, content)
    }
    fn refused<F: Factory>(handle: &KeyedStateHandle) {
        let result = World::<F>::new().try_open(single::<i32>(10), std::slice::from_ref(handle));
        let error = result.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("canonical"), "{error}");
    }
    let (world, handle, content) = native::<F>();
    assert_eq!(content_of(&mut world.restore(&handle)), content);

    let (heap, bytes) = (native::<Memory>().1, native::<Bytes<0>>().1);
    assert_ne!(heap.format, bytes.format);
    refused::<Memory>(&bytes);
    refused::<Bytes<0>>(&heap);
    for foreign in [heap, bytes] {
        if foreign.format == handle.format {
            assert_eq!(content_of(&mut world.restore(&foreign)), content);
        } else {
            refused::<F>(&foreign);
        }
    }
    if handle.format != native::<Memory>().1.format {
        refused::<Memory>(&handle);
    }
    if handle.format != native::<Bytes<0>>().1.format {
        refused::<Bytes<0>>(&handle);
    }
}

/// A savepoint with its metadata, in a storage, as a coordinator writes it.
fn complete<F: Factory>(
    world: &World<F>,
    storage: &Arc<dyn Storage>,
    backend: &mut F::Backend<i32>,
    format: SavepointFormat,
) -> Savepoint {
    let mut writer = SavepointWriter::new(Arc::clone(storage), "job");
    let id = world.request().checkpoint_id();
    let folder = writer.begin(id, "savepoints").unwrap();
    let request = request(id, format).to(writer.target(&folder).unwrap());
    let handle = backend.snapshot(request).unwrap().run().unwrap();
    let savepoint = Checkpoint::new(id, vec![TaskState::new(OPERATOR, 0, 1, handle)]);
    writer.complete(savepoint, &folder, format).unwrap()
}

fn content_in<F: Factory>(world: &World<F>, savepoint: &Savepoint) -> Content {
    let restore = savepoint.checkpoint().restore(&single::<i32>(10)).unwrap();
    content_of(&mut world.try_open(single::<i32>(10), restore.keyed()).unwrap())
}

/// The storage of a world; one of its own where checkpoints go into the handle.
fn storage_of<F: Factory>(world: &World<F>) -> Arc<dyn Storage> {
    world.storage().unwrap_or_else(|| Arc::new(MemoryStorage::new()))
}

/// M186: A savepoint in another folder is restored like before, also a native one of increments.
pub fn m186_a_savepoint_can_be_moved<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    for format in FORMATS {
        let world = World::<F>::new();
        let storage = storage_of(&world);
        let mut backend = world.open();
        let content = fill(&mut backend, 5);
        world.checkpoint(&mut backend);
        let savepoint = complete(&world, &storage, &mut backend, format);
        drop(backend);
        let folder = savepoint.folder().to_owned();
        for entry in storage.list(&folder).unwrap() {
            let file = storage.open(&entry.path).unwrap();
            let moved = entry.path.replacen(&folder, "elsewhere/moved", 1);
            let mut writer = storage.create(&moved, &Cancel::new()).unwrap();
            writer.write(&file.read(0, entry.len as usize).unwrap()).unwrap();
            writer.finish().unwrap();
            drop(file);
            storage.delete(&entry.path).unwrap();
        }
        let moved = Savepoint::open(Arc::clone(&storage), "elsewhere/moved").unwrap();
        assert_eq!(content_in(&world, &moved), content);
    }
}

/// M187: A savepoint is restored after all checkpoints were deleted, also a native one of increments.
pub fn m187_a_savepoint_needs_no_checkpoint<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    for format in FORMATS {
        let world = World::<F>::new();
        let storage = storage_of(&world);
        let mut backend = world.open();
        let content = fill(&mut backend, 5);
        world.checkpoint(&mut backend);
        world.checkpoint(&mut backend);
        let savepoint = complete(&world, &storage, &mut backend, format);
        assert_eq!(savepoint.checkpoint().savepoint, Some(format));
        assert!(savepoint.checkpoint().files().all(|file| !file.shared));
        drop(backend);
        for entry in storage.list("").unwrap() {
            if !entry.path.starts_with("savepoints/") {
                storage.delete(&entry.path).unwrap();
            }
        }
        assert_eq!(content_in(&world, &savepoint), content);
    }
}

/// M188: Checkpoints around a savepoint are as they would be without it. None names a file of it, and none deletes one.
pub fn m188_a_savepoint_is_no_part_of_the_checkpoints<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    for format in FORMATS {
        let world = World::<F>::new();
        let storage = storage_of(&world);
        let mut backend = world.open();
        let mut content = fill(&mut backend, 5);
        let at_savepoint = content.clone();
        let before = world.checkpoint(&mut backend);
        let savepoint = complete(&world, &storage, &mut backend, format);
        // No coordinator does this.
        backend.notify_complete(savepoint.checkpoint().id).unwrap();
        let kinds = Kinds::register(&mut backend).unwrap();
        kinds.change(&mut backend, &mut content, 9);
        let after = world.checkpoint(&mut backend);
        let id = savepoint.checkpoint().id;
        assert!(after.files.iter().all(|file| file.created_by != id));
        assert_eq!(content_of(&mut world.restore(&after)), content);
        drop(backend);
        if let Some(storage) = world.storage() {
            after.discard(&*storage).unwrap();
            before.discard(&*storage).unwrap();
        }
        assert_eq!(content_in(&world, &savepoint), at_savepoint);
    }
}

/// M197: Without a storage, all of a savepoint is in its metadata.
pub fn m197_a_savepoint_of_a_backend_without_storage_is_its_metadata<F: Factory>() {
    if !writes_savepoints::<F>() {
        return;
    }
    let world = World::<F>::new();
    if world.storage().is_some() {
        return skip("the backend has a storage");
    }
    for format in FORMATS {
        let storage = storage_of(&world);
        let mut backend = world.open();
        let content = fill(&mut backend, 5);
        let savepoint = complete(&world, &storage, &mut backend, format);
        let files = storage.list("").unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].path, savepoint.metadata());
        assert_eq!(content_in(&world, &savepoint), content);
    }
}
