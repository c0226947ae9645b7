//! Raw state: behaviours I121 to I130.

use std::io::{Read, Write};

use backend_api::{
    Checkpoint, ErrorKind, Result, StateBackend, Subtask, TaskState, ValueDescriptor, ValueState,
};
use task_state::{
    OperatorListDescriptor, OperatorState, RawKeyedState, RawKeyedWriter, RawOperatorState,
    RawOperatorWriter, TaskSnapshot,
};

use crate::access::kind;
use crate::{Factory, World, part};

/// The cases of this group.
#[doc(hidden)]
#[macro_export]
macro_rules! raw_cases {
    ($expand:ident! $($args:tt)*) => {
        $crate::$expand! { $($args)* raw
            i121_each_group_reads_what_it_wrote
            i122_a_group_outside_of_the_range_is_refused
            i123_a_group_is_started_once
            i125_a_group_that_was_not_started_has_no_stream
            i126_without_a_stream_there_is_no_handle
            i127_raw_keyed_state_moves_with_its_groups
            i128_partitions_are_dealt_out_in_order
            i129_a_stream_that_is_not_read_is_skipped
            i130_managed_and_raw_state_do_not_see_each_other
            i130b_damaged_raw_state_is_found
        }
    };
}

fn subtask(parallelism: u16, index: u16) -> Subtask<i32> {
    part(10, parallelism, index)
}

/// Writes raw keyed state with each subtask of `parallelism`.
fn write_keyed<F: Factory>(
    world: &World<F>,
    parallelism: u16,
    write: impl Fn(&mut RawKeyedWriter) -> Result<()> + Clone + Send + 'static,
) -> Result<Checkpoint> {
    let request = world.request();
    let tasks = (0..parallelism).map(|index| {
        let snapshot = TaskSnapshot::new(&world.target(), &subtask(parallelism, index), request.clone());
        snapshot.raw_keyed(write.clone()).into_task().run()
    });
    sent(request.checkpoint_id(), tasks.collect::<Result<_>>()?)
}

/// Writes raw operator state with each subtask of `parallelism`.
fn write_partitions<F: Factory>(
    world: &World<F>,
    parallelism: u16,
    write: impl Fn(u16, &mut RawOperatorWriter<'_, '_>) -> Result<()> + Clone + Send + 'static,
) -> Result<Checkpoint> {
    let request = world.request();
    let tasks = (0..parallelism).map(|index| {
        let snapshot = TaskSnapshot::new(&world.target(), &subtask(parallelism, index), request.clone());
        let write = write.clone();
        snapshot.raw_operator(move |writer| write(index, writer)).into_task().run()
    });
    sent(request.checkpoint_id(), tasks.collect::<Result<_>>()?)
}

/// The checkpoint, encoded and decoded as the coordinator does.
fn sent(id: u64, tasks: Vec<TaskState>) -> Result<Checkpoint> {
    Checkpoint::decode(&Checkpoint::new(id, tasks).encode()?, "_metadata")
}

/// The restored groups of a subtask, with their bytes.
fn groups<F: Factory>(world: &World<F>, checkpoint: &Checkpoint, of: Subtask<i32>) -> Vec<(u16, Vec<u8>)> {
    let restore = checkpoint.restore(&of).unwrap();
    let state = RawKeyedState::open(&world.target(), &of, restore.raw_keyed()).unwrap();
    let read = |(group, mut stream): (u16, task_state::RawStream<'_>)| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        (group, bytes)
    };
    state.groups().map(read).collect()
}

/// The restored partitions of a subtask.
fn partitions<F: Factory>(world: &World<F>, checkpoint: &Checkpoint, of: Subtask<i32>) -> Vec<Vec<u8>> {
    let restore = checkpoint.restore(&of).unwrap();
    let state = RawOperatorState::open(&world.target(), restore.raw_operator()).unwrap();
    let (mut partitions, mut found) = (state.partitions(), Vec::new());
    while let Some(mut stream) = partitions.next().unwrap() {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        found.push(bytes);
    }
    assert_eq!(state.len(), found.len() as u64);
    found
}

/// Bytes that identify group and position, longer than one row of a file.
fn long(group: u16) -> Vec<u8> {
    (0..100_000_u32).flat_map(|n| (n * u32::from(group + 1)).to_le_bytes()).collect()
}

/// I121: the stream of each group returns what was written for it, whatever order the groups were started in.
pub fn i121_each_group_reads_what_it_wrote<F: Factory>() {
    let world = World::<F>::new();
    let write = |writer: &mut RawKeyedWriter| {
        for group in [2, 0, 1] {
            writer.start_group(group)?;
            writer.write_all(&group.to_le_bytes())?;
            writer.write_all(&long(group))?;
        }
        Ok(())
    };
    let checkpoint = write_keyed(&world, 1, write).unwrap();
    let expected = [0, 1, 2].map(|group: u16| (group, [&group.to_le_bytes()[..], &long(group)].concat()));
    assert!(groups(&world, &checkpoint, subtask(1, 0)) == expected);
}

/// I122: a group out of range is an invalid argument, and nothing of it is stored.
pub fn i122_a_group_outside_of_the_range_is_refused<F: Factory>() {
    let world = World::<F>::new();
    let write = |writer: &mut RawKeyedWriter| {
        assert!(writer.write_all(b"no group yet").is_err());
        assert_eq!(kind(writer.start_group(10)), ErrorKind::InvalidArgument);
        assert!(writer.write_all(b"no group yet").is_err());
        writer.start_group(9)?;
        Ok(writer.write_all(b"nine")?)
    };
    let checkpoint = write_keyed(&world, 1, write).unwrap();
    assert_eq!(groups(&world, &checkpoint, subtask(1, 0)), [(9, b"nine".to_vec())]);
}

/// I123: starting a group twice is an I/O error, for the current group and for others.
pub fn i123_a_group_is_started_once<F: Factory>() {
    let world = World::<F>::new();
    let write = |writer: &mut RawKeyedWriter| {
        writer.start_group(1)?;
        writer.start_group(2)?;
        assert_eq!(kind(writer.start_group(1)), ErrorKind::Io);
        assert_eq!(kind(writer.start_group(2)), ErrorKind::Io);
        Ok(writer.write_all(b"two")?)
    };
    let checkpoint = write_keyed(&world, 1, write).unwrap();
    assert_eq!(groups(&world, &checkpoint, subtask(1, 0)), [(1, vec![]), (2, b"two".to_vec())]);
}

/// I125: only groups that were started have a stream.
pub fn i125_a_group_that_was_not_started_has_no_stream<F: Factory>() {
    let world = World::<F>::new();
    let write = |writer: &mut RawKeyedWriter| {
        writer.start_group(1)?;
        Ok(writer.write_all(b"one")?)
    };
    let checkpoint = write_keyed(&world, 1, write).unwrap();
    let of = subtask(1, 0);
    let restore = checkpoint.restore(&of).unwrap();
    let state = RawKeyedState::open(&world.target(), &of, restore.raw_keyed()).unwrap();
    assert!(state.group(0).is_none() && state.group(2).is_none());
    let mut bytes = Vec::new();
    state.group(1).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"one");
}

/// I126: raw state without streams or partitions has no handle and no file.
pub fn i126_without_a_stream_there_is_no_handle<F: Factory>() {
    let world = World::<F>::new();
    let checkpoint = write_keyed(&world, 1, |_| Ok(())).unwrap();
    assert_eq!(checkpoint.tasks[0].raw_keyed, None);
    let checkpoint = write_partitions(&world, 1, |_, _| Ok(())).unwrap();
    assert_eq!(checkpoint.tasks[0].raw_operator, None);
    assert_eq!(world.files(), []);
}

/// I127: at another parallelism each subtask gets the streams of its key groups, whichever subtask wrote
/// them.
pub fn i127_raw_keyed_state_moves_with_its_groups<F: Factory>() {
    let world = World::<F>::new();
    let write = |writer: &mut RawKeyedWriter| {
        for group in writer.range() {
            writer.start_group(group)?;
            writer.write_all(&[group as u8; 3])?;
        }
        Ok(())
    };
    let checkpoint = write_keyed(&world, 3, write).unwrap();
    for parallelism in [1, 2, 3, 5, 10] {
        for index in 0..parallelism {
            let of = subtask(parallelism, index);
            let expected: Vec<_> = of.range().iter().map(|group| (group, vec![group as u8; 3])).collect();
            assert_eq!(groups(&world, &checkpoint, of), expected);
        }
    }
}

/// I128: five partitions of one subtask become three and two for two subtasks, in order. At equal parallelism
/// they stay.
pub fn i128_partitions_are_dealt_out_in_order<F: Factory>() {
    let world = World::<F>::new();
    let write = |index: u16, writer: &mut RawOperatorWriter<'_, '_>| {
        for partition in 0..5 - 4 * index {
            writer.start_partition()?;
            writer.write_all(&[partition as u8])?;
            writer.write_all(&long(partition)[..usize::from(partition) * 50_000])?;
        }
        Ok(())
    };
    let expected: Vec<Vec<u8>> = (0..5_u16)
        .map(|partition| {
            [&[partition as u8][..], &long(partition)[..usize::from(partition) * 50_000]].concat()
        })
        .collect();
    let one = write_partitions(&world, 1, write).unwrap();
    assert!(partitions(&world, &one, subtask(2, 0)) == expected[..3]);
    assert!(partitions(&world, &one, subtask(2, 1)) == expected[3..]);
    let two = write_partitions(&world, 2, write).unwrap();
    assert!(partitions(&world, &two, subtask(2, 0)) == expected);
    assert!(partitions(&world, &two, subtask(2, 1)) == expected[..1]);
    let all = [&expected[..], &expected[..1]].concat();
    let found: Vec<Vec<u8>> = (0..4).flat_map(|index| partitions(&world, &two, subtask(4, index))).collect();
    assert!(found == all);
}

/// I129: a partition that is not read to its end is skipped. An empty one counts.
pub fn i129_a_stream_that_is_not_read_is_skipped<F: Factory>() {
    let world = World::<F>::new();
    let write = |_: u16, writer: &mut RawOperatorWriter<'_, '_>| {
        assert!(writer.write_all(b"no partition yet").is_err());
        for bytes in [&b"first"[..], b"", b"third"] {
            writer.start_partition()?;
            writer.write_all(bytes)?;
        }
        Ok(())
    };
    let checkpoint = write_partitions(&world, 1, write).unwrap();
    let restore = checkpoint.restore(&subtask(1, 0)).unwrap();
    let state = RawOperatorState::open(&world.target(), restore.raw_operator()).unwrap();
    let mut partitions = state.partitions();
    let mut two = [0; 2];
    partitions.next().unwrap().unwrap().read_exact(&mut two).unwrap();
    assert_eq!(&two, b"fi");
    let mut bytes = Vec::new();
    partitions.next().unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"");
    partitions.next().unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"third");
    assert!(partitions.next().unwrap().is_none());
}

/// I130: managed and raw state in one snapshot are restored independently.
pub fn i130_managed_and_raw_state_do_not_see_each_other<F: Factory>() {
    let world = World::<F>::new();
    let of = subtask(1, 0);
    let mut backend = world.open::<i32>();
    let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
    let key = backend.key(&7).unwrap();
    backend.value(hits, key, &()).unwrap().set(70).unwrap();
    let mut state = OperatorState::open(&world.target(), &of, &[]).unwrap();
    let descriptor = || OperatorListDescriptor::<u64>::even_split("list");
    let token = state.register(descriptor()).unwrap();
    state.list(token).unwrap().add(1);
    let request = world.request();
    let snapshot = TaskSnapshot::new(&world.target(), &of, request.clone()).keyed(&mut backend).unwrap();
    let snapshot = snapshot.operator(&mut state).unwrap().raw_keyed(|writer| {
        writer.start_group(3)?;
        Ok(writer.write_all(b"keyed")?)
    });
    let snapshot = snapshot.raw_operator(|writer| {
        writer.start_partition()?;
        Ok(writer.write_all(b"operator")?)
    });
    let task = snapshot.into_task().run().unwrap();
    let checkpoint = sent(request.checkpoint_id(), vec![task]).unwrap();
    assert_eq!(groups(&world, &checkpoint, of.clone()), [(3, b"keyed".to_vec())]);
    assert_eq!(partitions(&world, &checkpoint, of.clone()), [b"operator"]);
    let restore = checkpoint.restore(&of).unwrap();
    let mut backend = world.try_open::<i32>(of.clone(), restore.keyed()).unwrap();
    assert_eq!(backend.states().len(), 1);
    let hits = backend.register(ValueDescriptor::<u64>::new("hits")).unwrap();
    let key = backend.key(&7).unwrap();
    assert_eq!(backend.value(hits, key, &()).unwrap().get().unwrap(), Some(70));
    let mut state = OperatorState::open(&world.target(), &of, restore.operator()).unwrap();
    assert_eq!((state.list_names(), state.broadcast_names()), (vec!["list"], vec![]));
    let token = state.register(descriptor()).unwrap();
    assert!(state.list(token).unwrap().iter().eq(&[1]));
}

/// I130: a changed byte in raw state is found, with the file, and none of its bytes are returned.
pub fn i130b_damaged_raw_state_is_found<F: Factory>() {
    let world = World::<F>::new();
    let write = |writer: &mut RawKeyedWriter| {
        writer.start_group(3)?;
        Ok(writer.write_all(b"a few bytes")?)
    };
    let checkpoint = write_keyed(&world, 1, write).unwrap();
    let of = subtask(1, 0);
    let handle = checkpoint.tasks[0].raw_keyed.clone().unwrap();
    let bytes = world.bytes(&handle.file);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let handle =
            backend_api::RawKeyedHandle { file: world.put_bytes(&handle.file, damaged), ..handle.clone() };
        let read = || {
            let state = RawKeyedState::open(&world.target(), &of, &[handle])?;
            let mut found = Vec::new();
            state.groups().try_for_each(|(_, mut stream)| stream.read_to_end(&mut found).map(|_| ()))?;
            Ok::<_, backend_api::Error>(found)
        };
        match read() {
            Ok(found) => assert!(found.is_empty(), "byte {at}: {found:?}"),
            Err(error) => assert!(
                error.to_string().contains("corrupt") || error.kind() == ErrorKind::Unsupported,
                "byte {at}: {error}"
            ),
        }
    }
}
