//! Operator state: behaviours H96 to H120.

use backend_api::{
    Checkpoint, ErrorKind, OperatorStateHandle, Rescale, Result, SnapshotRequest, StateBackend, StateData,
    StateValue, TaskRestore, TaskState, redistribute,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use task_state::{
    BroadcastDescriptor, CheckpointedFunction, InitializationContext, ListCheckpointed, Listed,
    OperatorListDescriptor, OperatorState, TaskSnapshot,
};

use crate::access::kind;
use crate::{Factory, Setup, World, part};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! operator_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* operator
            h096_a_new_state_has_no_names
            h097_a_list_is_empty_and_then_in_the_order_of_the_adds
            h098_registering_again_gives_the_same_state
            h099_another_redistribution_is_refused
            h100_a_list_and_a_broadcast_map_of_one_name_are_refused
            h102_without_states_there_is_no_handle
            h103_empty_states_are_known_after_a_restore
            h104_all_kinds_are_restored_in_order
            h105_changes_after_a_snapshot_do_not_show
            h106_an_unregistered_state_is_passed_on
            h107_entries_can_be_read_without_being_changed
            h108_each_snapshot_of_a_broadcast_map_has_its_own_entries
            h109_two_lists_are_dealt_to_three_subtasks
            h110_four_lists_are_dealt_to_three_and_to_one
            h111_at_equal_parallelism_lists_stay
            h112_the_start_advances_from_state_to_state
            h113_one_list_is_dealt_to_more_subtasks_than_elements
            h114_other_codecs_are_refused_and_change_nothing
            h115_a_union_list_goes_to_every_subtask
            h116_every_subtask_gets_one_copy_of_a_broadcast_map
            h117_a_subtask_without_a_copy_gets_another
            h118_wrong_parallelisms_are_refused
            h119_metadata_does_not_grow_with_the_elements
            h119b_the_limit_of_a_state_holds_for_operator_state
            h120_no_element_is_lost_over_two_changes_of_parallelism
            h120b_a_function_with_a_list_gets_its_share
            h120c_a_closed_state_returns_closed
            h120d_keyed_and_operator_state_are_one_acknowledgement
        }
    };
}

const NAME: &str = "elements";

fn split() -> OperatorListDescriptor<i64> {
    OperatorListDescriptor::even_split(NAME)
}

fn union() -> OperatorListDescriptor<i64> {
    OperatorListDescriptor::union(NAME)
}

fn rules() -> BroadcastDescriptor<i64, String> {
    BroadcastDescriptor::new("rules")
}

/// The restore of subtask `index` of `parallelism`.
fn restore(checkpoint: Option<&Checkpoint>, parallelism: u16, index: u16) -> Result<TaskRestore> {
    match checkpoint {
        Some(checkpoint) => checkpoint.restore(&part::<i32>(10, parallelism, index)),
        None => Ok(TaskRestore::empty()),
    }
}

/// The operator states of `parallelism` subtasks, restored from `checkpoint`.
pub(super) fn open<F: Factory>(
    world: &World<F>,
    parallelism: u16,
    checkpoint: Option<&Checkpoint>,
) -> Vec<OperatorState> {
    let open = |index| {
        let restore = restore(checkpoint, parallelism, index).unwrap();
        OperatorState::open(&world.target(), &part::<i32>(10, parallelism, index), restore.operator())
            .unwrap()
    };
    (0..parallelism).map(open).collect()
}

pub(super) fn open_one<F: Factory>(world: &World<F>, checkpoint: Option<&Checkpoint>) -> OperatorState {
    open(world, 1, checkpoint).remove(0)
}

/// Takes a checkpoint of all subtasks, and encodes and decodes it as the coordinator does.
pub(super) fn checkpoint<F: Factory>(world: &World<F>, states: &mut [OperatorState]) -> Checkpoint {
    let request = world.request();
    let parallelism = states.len() as u16;
    let task = |(index, state): (u16, &mut OperatorState)| {
        let subtask = part::<i32>(10, parallelism, index);
        let snapshot = TaskSnapshot::new(&world.target(), &subtask, request.clone()).operator(state).unwrap();
        snapshot.into_task().run().unwrap()
    };
    sent(Checkpoint::new(request.checkpoint_id(), (0..).zip(states).map(task).collect()))
}

fn sent(checkpoint: Checkpoint) -> Checkpoint {
    Checkpoint::decode(&checkpoint.encode().unwrap(), "_metadata").unwrap()
}

fn list<T: StateValue + Serialize + DeserializeOwned>(
    state: &mut OperatorState,
    descriptor: OperatorListDescriptor<T>,
) -> Vec<T> {
    let token = state.register(descriptor).unwrap();
    state.list(token).unwrap().iter().cloned().collect()
}

fn set(state: &mut OperatorState, descriptor: OperatorListDescriptor<i64>, elements: &[i64]) {
    let token = state.register(descriptor).unwrap();
    state.list(token).unwrap().set(elements.iter().copied());
}

/// Writes one of `lists` in each subtask, and returns the lists that `parallelism` subtasks restore.
fn dealt<F: Factory>(
    lists: &[&[i64]],
    descriptor: fn() -> OperatorListDescriptor<i64>,
    parallelism: u16,
) -> Vec<Vec<i64>> {
    let world = World::<F>::new();
    let mut states = open(&world, lists.len() as u16, None);
    states.iter_mut().zip(lists).for_each(|(state, elements)| set(state, descriptor(), elements));
    let checkpoint = checkpoint(&world, &mut states);
    open(&world, parallelism, Some(&checkpoint)).iter_mut().map(|state| list(state, descriptor())).collect()
}

/// H96: a new operator state has no registered names.
pub fn h096_a_new_state_has_no_names<F: Factory>() {
    let world = World::<F>::new();
    let state = open_one(&world, None);
    assert!(state.list_names().is_empty());
    assert!(state.broadcast_names().is_empty());
}

/// H97: a list is empty before the first element, and then in insertion order.
pub fn h097_a_list_is_empty_and_then_in_the_order_of_the_adds<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    let token = state.register(split()).unwrap();
    assert!(state.list(token).unwrap().is_empty());
    state.list(token).unwrap().add(42);
    state.list(token).unwrap().add_all([4711, 1]);
    assert_eq!(list(&mut state, split()), [42, 4711, 1]);
    state.list(token).unwrap().clear();
    assert!(list(&mut state, split()).is_empty());
}

/// H98: registering a descriptor twice returns one state.
pub fn h098_registering_again_gives_the_same_state<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    let (first, second) = (state.register(split()).unwrap(), state.register(split()).unwrap());
    state.list(first).unwrap().add(123);
    assert!(state.list(second).unwrap().iter().eq(&[123]));
    assert_eq!(state.list_names(), [NAME]);
}

/// H99: a state registered as even-split cannot be registered as union, nor the other way round, before and
/// after a restore.
pub fn h099_another_redistribution_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let (one, other) = (split as fn() -> _, union as fn() -> _);
    for (registered, asked) in [(one, other), (other, one)] {
        let mut states = open(&world, 1, None);
        set(&mut states[0], registered(), &[1]);
        assert_eq!(kind(states[0].register(asked())), ErrorKind::IllegalState);
        assert_eq!(list(&mut states[0], registered()), [1]);

        let checkpoint = checkpoint(&world, &mut states);
        let mut restored = open_one(&world, Some(&checkpoint));
        assert_eq!(kind(restored.register(asked())), ErrorKind::IllegalState);
        assert_eq!(list(&mut restored, registered()), [1]);
    }
}

/// H100: a list and a broadcast map cannot share a name. Other types under one name are refused too.
pub fn h100_a_list_and_a_broadcast_map_of_one_name_are_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    set(&mut state, split(), &[1]);
    let map = BroadcastDescriptor::<i64, String>::new(NAME);
    assert_eq!(kind(state.register(map)), ErrorKind::IllegalState);
    let other = OperatorListDescriptor::<String>::even_split(NAME);
    assert_eq!(kind(state.register(other)), ErrorKind::IllegalState);
    assert_eq!(kind(state.register(OperatorListDescriptor::<i64>::union(""))), ErrorKind::InvalidArgument);
    assert_eq!(list(&mut state, split()), [1]);
}

/// H102: a snapshot without registered states has no handle.
pub fn h102_without_states_there_is_no_handle<F: Factory>() {
    let world = World::<F>::new();
    let checkpoint = checkpoint(&world, &mut open(&world, 1, None));
    assert_eq!(checkpoint.tasks[0].operator_state, None);
}

/// H103: an empty list and an empty broadcast map are restored as such, and their names are known.
pub fn h103_empty_states_are_known_after_a_restore<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    states[0].register(split()).unwrap();
    states[0].register(rules()).unwrap();
    let checkpoint = checkpoint(&world, &mut states);
    assert!(checkpoint.tasks[0].operator_state.is_some());
    for parallelism in [1, 3] {
        for mut state in open(&world, parallelism, Some(&checkpoint)) {
            assert_eq!((state.list_names(), state.broadcast_names()), (vec![NAME], vec!["rules"]));
            assert!(list(&mut state, split()).is_empty());
            let token = state.register(rules()).unwrap();
            assert!(state.immutable_entries(token).unwrap().is_empty());
        }
    }
}

/// H104: lists of both kinds and broadcast maps are restored completely and in order. Their names are known
/// before any access.
pub fn h104_all_kinds_are_restored_in_order<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    let lists = ["one", "two"].map(OperatorListDescriptor::<String>::even_split);
    let words = |name: &str| (0..2000).map(move |n| format!("{name} {n}")).collect::<Vec<_>>();
    for (descriptor, name) in lists.into_iter().zip(["one", "two"]) {
        let token = states[0].register(descriptor).unwrap();
        states[0].list(token).unwrap().add_all(words(name));
    }
    set(&mut states[0], union(), &[3, 1, 2]);
    for name in ["a", "b", "c"] {
        let token = states[0].register(BroadcastDescriptor::<String, i64>::new(name)).unwrap();
        let entries = (0..700).map(|n| (format!("{name}{n:03}"), n));
        states[0].broadcast(token).unwrap().put_all(entries).unwrap();
    }
    let checkpoint = checkpoint(&world, &mut states);
    drop(states);
    let mut state = open_one(&world, Some(&checkpoint));
    assert_eq!(state.list_names(), [NAME, "one", "two"]);
    assert_eq!(state.broadcast_names(), ["a", "b", "c"]);
    for name in ["one", "two"] {
        assert_eq!(list(&mut state, OperatorListDescriptor::<String>::even_split(name)), words(name));
    }
    assert_eq!(list(&mut state, union()), [3, 1, 2]);
    for name in ["a", "b", "c"] {
        let token = state.register(BroadcastDescriptor::<String, i64>::new(name)).unwrap();
        let entries = state.immutable_entries(token).unwrap();
        let expected = (0..700).map(|n| (format!("{name}{n:03}"), n));
        assert!(entries.iter().map(|(key, n)| (key.clone(), *n)).eq(expected), "{name}");
    }
}

/// H105: changes between the synchronous part of a snapshot and its task are not in the snapshot.
pub fn h105_changes_after_a_snapshot_do_not_show<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    let elements: Vec<i64> = (0..1500).collect();
    set(&mut state, split(), &elements);
    let changed = || OperatorListDescriptor::<i64>::even_split("changed in place");
    let cleared = || OperatorListDescriptor::<i64>::union("cleared");
    set(&mut state, changed(), &elements);
    set(&mut state, cleared(), &[7, 8]);
    let token = state.register(rules()).unwrap();
    state.broadcast(token).unwrap().put(1, "one".to_owned()).unwrap();
    let request = world.request();
    let subtask = part::<i32>(10, 1, 0);
    let task = TaskSnapshot::new(&world.target(), &subtask, request.clone())
        .operator(&mut state)
        .unwrap()
        .into_task();

    let lists = [split(), changed(), cleared()].map(|descriptor| state.register(descriptor).unwrap());
    state.list(lists[0]).unwrap().add(-1);
    assert!(state.list(lists[1]).unwrap().update(700, |element| *element = -2));
    assert!(!state.list(lists[1]).unwrap().update(1500, |element| *element = -2));
    state.list(lists[2]).unwrap().clear();
    state.broadcast(token).unwrap().clear();
    state.register(OperatorListDescriptor::<i64>::union("new")).unwrap();

    let checkpoint = sent(Checkpoint::new(request.checkpoint_id(), vec![task.run().unwrap()]));
    assert_eq!(state.list(lists[1]).unwrap().get(700), Some(&-2));
    let mut restored = open_one(&world, Some(&checkpoint));
    assert_eq!(restored.list_names().len(), 3);
    assert_eq!(list(&mut restored, split()), elements);
    assert_eq!(list(&mut restored, changed()), elements);
    assert_eq!(list(&mut restored, cleared()), [7, 8]);
    let token = restored.register(rules()).unwrap();
    assert_eq!(restored.broadcast(token).unwrap().get(&1), Some(&"one".to_owned()));
}

/// H106: a restored state that is not registered is in the next snapshot, unchanged, even if the files it
/// came from were deleted.
pub fn h106_an_unregistered_state_is_passed_on<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    set(&mut states[0], split(), &[1, 2, 3, 4, 5]);
    let token = states[0].register(rules()).unwrap();
    states[0].broadcast(token).unwrap().put(1, "one".to_owned()).unwrap();
    let first = checkpoint(&world, &mut states);
    let mut halves = open(&world, 2, Some(&first));
    let handle = first.tasks[0].operator_state.as_ref().unwrap();
    if let (Some(storage), StateData::File { path, .. }) = (world.storage(), &handle.file.data) {
        storage.delete(path).unwrap();
    }
    let second = checkpoint(&world, &mut halves);
    let mut state = open_one(&world, Some(&second));
    assert_eq!(list(&mut state, split()), [1, 2, 3, 4, 5]);
    let token = state.register(rules()).unwrap();
    assert_eq!(state.immutable_entries(token).unwrap().len(), 1);
}

/// H107: the entries of a broadcast map can be read through a view that cannot change them.
pub fn h107_entries_can_be_read_without_being_changed<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    let token = state.register(rules()).unwrap();
    state.broadcast(token).unwrap().put_all([(2, "two".to_owned()), (1, "one".to_owned())]).unwrap();
    let state = &state;
    let entries = state.immutable_entries(token).unwrap();
    assert_eq!(entries.get(&2), Some(&"two".to_owned()));
    assert!(entries.iter().map(|(key, _)| *key).eq([1, 2]));
}

/// H108: snapshots after put, remove and clear each restore the entries of that point.
pub fn h108_each_snapshot_of_a_broadcast_map_has_its_own_entries<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    let token = states[0].register(rules()).unwrap();
    let mut checkpoints = Vec::new();
    states[0].broadcast(token).unwrap().put_all([(1, "a".to_owned()), (2, "b".to_owned())]).unwrap();
    checkpoints.push((checkpoint(&world, &mut states), vec![1, 2]));
    assert!(states[0].broadcast(token).unwrap().remove(&1));
    assert!(!states[0].broadcast(token).unwrap().remove(&1));
    checkpoints.push((checkpoint(&world, &mut states), vec![2]));
    states[0].broadcast(token).unwrap().clear();
    checkpoints.push((checkpoint(&world, &mut states), vec![]));
    for (checkpoint, expected) in checkpoints {
        let mut state = open_one(&world, Some(&checkpoint));
        let token = state.register(rules()).unwrap();
        let keys: Vec<i64> = state.immutable_entries(token).unwrap().iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, expected);
    }
}

/// H109: lists of two and three elements are split into two, two and one for three subtasks.
pub fn h109_two_lists_are_dealt_to_three_subtasks<F: Factory>() {
    assert_eq!(dealt::<F>(&[&[1, 2], &[3, 4, 5]], split, 3), [vec![1, 2], vec![3, 4], vec![5]]);
}

/// H110: four lists of one element are split into two, one and one for three subtasks, and go to one subtask
/// in full.
pub fn h110_four_lists_are_dealt_to_three_and_to_one<F: Factory>() {
    let lists: &[&[i64]] = &[&[1], &[2], &[3], &[4]];
    assert_eq!(dealt::<F>(lists, split, 3), [vec![1, 2], vec![3], vec![4]]);
    assert_eq!(dealt::<F>(lists, split, 1), [vec![1, 2, 3, 4]]);
}

/// H111: at equal parallelism every list stays with its subtask, however uneven they are.
pub fn h111_at_equal_parallelism_lists_stay<F: Factory>() {
    assert_eq!(dealt::<F>(&[&[1, 2, 3, 4], &[], &[5]], split, 3), [vec![1, 2, 3, 4], vec![], vec![5]]);
}

/// H112: with three states of one element each, each of three subtasks gets one element.
pub fn h112_the_start_advances_from_state_to_state<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    let names = ["a", "b", "c"];
    for (name, element) in names.into_iter().zip(1..) {
        set(&mut states[0], OperatorListDescriptor::even_split(name), &[element]);
    }
    let checkpoint = checkpoint(&world, &mut states);
    let found = open(&world, 3, Some(&checkpoint)).into_iter().map(|mut state| {
        let elements = names.map(|name| list::<i64>(&mut state, OperatorListDescriptor::even_split(name)));
        elements.concat()
    });
    assert_eq!(found.collect::<Vec<_>>(), [[1], [2], [3]]);
}

/// H113: a list of two elements gives four subtasks one, one, none and none.
pub fn h113_one_list_is_dealt_to_more_subtasks_than_elements<F: Factory>() {
    assert_eq!(dealt::<F>(&[&[1, 2]], split, 4), [vec![1], vec![2], vec![], vec![]]);
}

/// H114: registering a restored state with another codec is a migration error. The state can still be
/// registered with its own codec.
pub fn h114_other_codecs_are_refused_and_change_nothing<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    set(&mut states[0], split(), &[1, 2]);
    let checkpoint = checkpoint(&world, &mut states);
    let mut state = open_one(&world, Some(&checkpoint));
    let error = state.register(OperatorListDescriptor::<String>::even_split(NAME)).unwrap_err();
    assert_eq!((error.kind(), error.state()), (ErrorKind::Migration, Some(NAME)));
    assert_eq!(list(&mut state, split()), [1, 2]);
}

/// H115: union lists go in full to each of one, two or five subtasks, in the order of the old subtasks.
pub fn h115_a_union_list_goes_to_every_subtask<F: Factory>() {
    for parallelism in [1, 2, 5] {
        let expected = vec![vec![1, 2, 3]; parallelism.into()];
        assert_eq!(dealt::<F>(&[&[1], &[2, 3]], union, parallelism), expected);
    }
}

/// H116: equal broadcast maps of two subtasks become one copy for each of one, two, three or five subtasks.
pub fn h116_every_subtask_gets_one_copy_of_a_broadcast_map<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 2, None);
    for state in &mut states {
        let token = state.register(rules()).unwrap();
        state.broadcast(token).unwrap().put_all([(1, "a".to_owned()), (2, "b".to_owned())]).unwrap();
    }
    let checkpoint = checkpoint(&world, &mut states);
    for parallelism in [1, 2, 3, 5] {
        for mut state in open(&world, parallelism, Some(&checkpoint)) {
            let token = state.register(rules()).unwrap();
            let entries = state.immutable_entries(token).unwrap();
            assert!(entries.iter().map(|(key, value)| (*key, value.as_str())).eq([(1, "a"), (2, "b")]));
        }
    }
}

/// H117: at equal parallelism a subtask without a copy of a broadcast map gets the copy of another.
pub fn h117_a_subtask_without_a_copy_gets_another<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 2, None);
    let token = states[0].register(rules()).unwrap();
    states[0].broadcast(token).unwrap().put(1, "a".to_owned()).unwrap();
    let checkpoint = checkpoint(&world, &mut states);
    for mut state in open(&world, 2, Some(&checkpoint)) {
        let token = state.register(rules()).unwrap();
        assert_eq!(state.immutable_entries(token).unwrap().len(), 1);
    }
}

/// H118: a new parallelism of 0, or fewer handles than old subtasks, is refused.
pub fn h118_wrong_parallelisms_are_refused<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 2, None);
    states.iter_mut().for_each(|state| set(state, split(), &[1]));
    let checkpoint = checkpoint(&world, &mut states);
    let handles: Vec<Option<&OperatorStateHandle>> =
        checkpoint.tasks.iter().map(|task| task.operator_state.as_ref()).collect();
    let refused = |handles: &[_], to| kind(redistribute(handles, Rescale { from: 2, to, index: 0 }));
    assert_eq!(refused(&handles, 0), ErrorKind::InvalidArgument);
    assert_eq!(refused(&handles[..1], 3), ErrorKind::InvalidArgument);
    let lacking = Checkpoint::new(checkpoint.id, checkpoint.tasks[..1].to_vec());
    assert_eq!(kind(lacking.restore(&part::<i32>(10, 1, 0))), ErrorKind::IllegalState);
}

/// H119: the metadata of a list of 500,000 elements has less than 64 KiB.
pub fn h119_metadata_does_not_grow_with_the_elements<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 1, None);
    let token = states[0].register(union()).unwrap();
    states[0].list(token).unwrap().add_all(0..500_000);
    let mut checkpoint = checkpoint(&world, &mut states);
    let mut state = open_one(&world, Some(&checkpoint));
    assert_eq!(list(&mut state, union()).len(), 500_000);
    let handle = checkpoint.tasks[0].operator_state.as_mut().unwrap();
    // Inline state does not count as metadata.
    if let StateData::Inline(bytes) = &mut handle.file.data {
        bytes.clear();
    }
    assert!(checkpoint.encode().unwrap().len() < 64 << 10);
}

/// H119: operator state above the backend's limit is refused with both sizes and leaves no file. The state
/// stays usable.
pub fn h119b_the_limit_of_a_state_holds_for_operator_state<F: Factory>() {
    let setup = Setup { max_state_bytes: Some(1000), ..Setup::default() };
    let Some(world) = World::<F>::with(setup) else { return };
    let mut state = open_one(&world, None);
    let elements: Vec<i64> = (0..1000).collect();
    set(&mut state, split(), &elements);
    let error = state.snapshot(world.request()).unwrap().run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    assert!(error.message().contains("1000"), "{error}");
    set(&mut state, split(), &[1]);
    assert!(state.snapshot(world.request()).unwrap().run().unwrap().is_some());
}

/// H120: from four subtasks to three and then to seven, no element is lost or duplicated.
pub fn h120_no_element_is_lost_over_two_changes_of_parallelism<F: Factory>() {
    let world = World::<F>::new();
    let mut states = open(&world, 4, None);
    for (state, index) in states.iter_mut().zip(0..) {
        set(state, split(), &(0..10 * index + 3).map(|n| 1000 * index + n).collect::<Vec<_>>());
    }
    let mut all: Vec<i64> = states.iter_mut().flat_map(|state| list(state, split())).collect();
    all.sort_unstable();
    for parallelism in [3, 7] {
        let checkpoint = checkpoint(&world, &mut states);
        states = open(&world, parallelism, Some(&checkpoint));
        // In the second step some states are registered, and the others are passed on.
        for state in states.iter_mut().skip(1) {
            state.register(split()).unwrap();
        }
    }
    let mut found: Vec<i64> = states.iter_mut().flat_map(|state| list(state, split())).collect();
    found.sort_unstable();
    assert_eq!(found, all);
}

struct Positions(Vec<u64>);

impl ListCheckpointed<u64> for Positions {
    fn snapshot_state(&mut self, checkpoint_id: u64) -> Result<Vec<u64>> {
        Ok(self.0.iter().map(|position| position + checkpoint_id).collect())
    }

    fn restore_state(&mut self, state: Vec<u64>) -> Result<()> {
        self.0 = state;
        Ok(())
    }
}

/// H120: a function with a list is asked for it at each snapshot, and gets its share at a restore.
pub fn h120b_a_function_with_a_list_gets_its_share<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    let mut function = Listed::new(Positions(vec![10, 20, 30]));
    function.initialize_state(&mut InitializationContext::new(&mut state, None)).unwrap();
    let subtask = part::<i32>(10, 1, 0);
    let request = SnapshotRequest::new(5);
    let snapshot = TaskSnapshot::new(&world.target(), &subtask, request);
    let task = snapshot.function(&mut function, &mut state).unwrap().into_task();
    let checkpoint = sent(Checkpoint::new(5, vec![task.run().unwrap()]));
    let found = (0..2).zip(open(&world, 2, Some(&checkpoint))).map(|(index, mut state)| {
        let restored = restore(Some(&checkpoint), 2, index).unwrap().checkpoint_id();
        let mut function = Listed::new(Positions(Vec::new()));
        function.initialize_state(&mut InitializationContext::new(&mut state, restored)).unwrap();
        function.function.0
    });
    assert_eq!(found.collect::<Vec<_>>(), [vec![15, 25], vec![35]]);
}

/// H120: a closed operator state returns closed errors, and its running snapshot is cancelled. Ids must
/// increase.
pub fn h120c_a_closed_state_returns_closed<F: Factory>() {
    let world = World::<F>::new();
    let mut state = open_one(&world, None);
    let token = state.register(split()).unwrap();
    let task = state.snapshot(SnapshotRequest::new(4)).unwrap();
    assert_eq!(kind(state.snapshot(SnapshotRequest::new(4))), ErrorKind::IllegalState);
    let mut other = open_one(&world, None);
    assert_eq!(other.list(token).map(|_| ()).unwrap_err().kind(), ErrorKind::ForeignToken);
    state.close();
    state.close();
    assert_eq!(state.list(token).map(|_| ()).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(kind(state.register(split())), ErrorKind::Closed);
    assert_eq!(kind(state.snapshot(SnapshotRequest::new(5))), ErrorKind::Closed);
    assert_eq!(kind(task.run()), ErrorKind::Cancelled);
    assert_eq!(world.files(), []);
}

/// H120: keyed and operator state of one task are acknowledged together. If one part fails, no file of the
/// other is left.
pub fn h120d_keyed_and_operator_state_are_one_acknowledgement<F: Factory>() {
    use backend_api::{ValueDescriptor, ValueState};

    let Some(world) = World::<F>::in_files(Setup::default()) else { return };
    let mut backend = world.open::<i32>();
    let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
    let key = backend.key(&7).unwrap();
    backend.value(hits, key, &()).unwrap().set(70).unwrap();
    let mut state = open_one(&world, None);
    set(&mut state, split(), &[1, 2]);
    let snapshot = |backend: &mut F::Backend<i32>, state: &mut OperatorState, fails: bool| {
        let subtask = backend.subtask().clone();
        let snapshot = TaskSnapshot::new(&world.target(), &subtask, world.request());
        let snapshot = snapshot.keyed(backend).unwrap().operator(state).unwrap();
        let snapshot = snapshot.raw_keyed(move |groups| groups.start_group(if fails { 99 } else { 1 }));
        snapshot.into_task().run()
    };
    assert_eq!(kind(snapshot(&mut backend, &mut state, true)), ErrorKind::InvalidArgument);
    assert_eq!(world.files(), []);
    let task: TaskState = snapshot(&mut backend, &mut state, false).unwrap();
    assert_eq!(task.files().count(), world.files().len());
    let checkpoint = sent(Checkpoint::new(2, vec![task]));
    let subtask = part::<i32>(10, 1, 0);
    let restore = checkpoint.restore(&subtask).unwrap();
    let mut backend = world.try_open(subtask.clone(), restore.keyed()).unwrap();
    let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
    let key = backend.key(&7).unwrap();
    assert_eq!(backend.value(hits, key, &()).unwrap().get().unwrap(), Some(70));
    let mut state = OperatorState::open(&world.target(), &subtask, restore.operator()).unwrap();
    assert_eq!(list(&mut state, split()), [1, 2]);
    assert_eq!(restore.raw_keyed().len(), 1);
}
