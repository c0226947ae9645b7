//! Restores: other parallelism, states that are not registered, increments of other backends, and what is
//! refused.

use std::slice::from_ref;
use std::sync::Arc;

use backend_api::format::{CheckpointWriter, FileMeta, SectionKind};
use backend_api::restore::{RestorePlan, RestoredSection};
use backend_api::row::{self, RowOp, encode_sized, encode_varint};
use backend_api::storage::StorageWriter;
use backend_api::{
    Cancel, CheckpointTarget, Error, ErrorKind, KeySpace, KeyedStateHandle, ListDescriptor, ListState,
    MapDescriptor, MapState, MemoryStorage, ReducingDescriptor, ReducingState, Result, StateBackend,
    StateData, StateDescriptor, StateKey, Storage, Subtask, ValueDescriptor, ValueState,
};
use backend_bytes::ByteBackend;

use crate::support::{
    Backend, GROUPS, NoThirteen, context, in_files, in_memory, key, open, snapshot, subtask,
};

fn keys() -> Vec<String> {
    (0..200).map(|n| format!("k{n}")).collect()
}

fn fill(backend: &mut Backend) {
    let value = backend.register(ValueDescriptor::<u64>::new("value").namespaced::<u64>()).unwrap();
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<String, u64>::new("map")).unwrap();
    let sum = backend.register(ReducingDescriptor::new("sum", |a: &u64, b| a + b)).unwrap();
    for (n, key) in (0..).zip(&keys()) {
        let k = context(key);
        backend.value(value, k, &n).unwrap().set(n).unwrap();
        backend.list(list, k, &()).unwrap().add_all([key.clone(), n.to_string()]).unwrap();
        backend.map(map, k, &()).unwrap().put_all([(key.clone(), n), (n.to_string(), n)]).unwrap();
        backend.reducing(sum, k, &()).unwrap().add(n).unwrap();
    }
}

/// Checks that exactly the keys of its range exist.
fn check(backend: &mut Backend) {
    let value = backend.register(ValueDescriptor::<u64>::new("value").namespaced::<u64>()).unwrap();
    let list = backend.register(ListDescriptor::<String>::new("list")).unwrap();
    let map = backend.register(MapDescriptor::<String, u64>::new("map")).unwrap();
    let sum = backend.register(ReducingDescriptor::new("sum", |a: &u64, b| a + b)).unwrap();
    let mut own = 0;
    for (n, key) in (0..).zip(&keys()) {
        let k = context(key);
        if !backend.subtask().range().contains(k.group()) {
            assert_eq!(backend.list(list, k, &()).err().map(|e| e.kind()), Some(ErrorKind::KeyOutOfRange));
            continue;
        }
        own += 1;
        assert_eq!(backend.value(value, k, &n).unwrap().get().unwrap(), Some(n));
        assert_eq!(backend.list(list, k, &()).unwrap().get().unwrap(), [key.clone(), n.to_string()]);
        let keys: Result<Vec<_>> = backend
            .map(map, k, &())
            .unwrap()
            .keys()
            .unwrap()
            .map(|key| key.map(|k| k.into_owned()))
            .collect();
        assert_eq!(keys.unwrap(), [n.to_string(), key.clone()]);
        assert_eq!(backend.reducing(sum, k, &()).unwrap().get().unwrap(), Some(n));
    }
    assert!(own > 0);
    assert_eq!(backend.keys(list, &()).unwrap().count(), own);
    assert_eq!(backend.keys(map, &()).unwrap().count(), own);
    assert_eq!(backend.keys(sum, &()).unwrap().count(), own);
    assert_eq!(backend.keys_and_namespaces(value).unwrap().count(), own);
}

#[test]
fn every_key_is_found_once_after_each_rescale() {
    let mut backend = open(&in_memory(), &[]);
    fill(&mut backend);
    let mut handles = vec![snapshot(&mut backend, 1)];
    for (id, parallelism) in [(2, 3), (3, 2), (4, 10), (5, 1)] {
        let next = (0..parallelism).map(|index| {
            let mut backend = ByteBackend::open(&in_memory(), subtask(parallelism, index), &handles).unwrap();
            check(&mut backend);
            snapshot(&mut backend, id)
        });
        handles = next.collect();
    }
}

#[test]
fn an_unregistered_state_is_passed_on() {
    let storage = Arc::new(MemoryStorage::default());
    let options = in_files(&storage);
    let mut backend = open(&options, &[]);
    fill(&mut backend);
    let mut handles = vec![snapshot(&mut backend, 1)];
    for (id, parallelism) in [(2, 1), (3, 3), (4, 2)] {
        let next = (0..parallelism).map(|index| {
            let mut backend = ByteBackend::open(&options, subtask(parallelism, index), &handles).unwrap();
            // Another state first, so that numbers shift.
            backend.register(ValueDescriptor::<u64>::new(format!("new {id}"))).unwrap();
            snapshot(&mut backend, id)
        });
        let next: Vec<_> = next.collect();
        // The old files are not needed any more.
        handles.iter().for_each(|handle| handle.discard(&*storage).unwrap());
        handles = next;
    }
    let mut backend = open(&options, &handles);
    handles.iter().for_each(|handle| handle.discard(&*storage).unwrap());
    assert!(storage.list("").unwrap().is_empty());
    assert_eq!(backend.states().len(), 7);
    check(&mut backend);
    snapshot(&mut backend, 5);
}

/// The sections of a file: kind and rows.
type File = Vec<(SectionKind, Vec<Vec<u8>>)>;

/// A subtask's checkpoint as another backend would write it: the sections of state "s" in each file.
fn chain<D: StateDescriptor>(descriptor: &D, files: &[File]) -> KeyedStateHandle {
    let target = CheckpointTarget::memory(1 << 20).unwrap().for_attempt().unwrap();
    let mut handle = KeyedStateHandle {
        format: row::FORMAT.to_owned(),
        checkpoint_id: files.len() as u64,
        operator: "op".to_owned(),
        range: subtask(1, 0).range(),
        max_parallelism: GROUPS,
        key_group_mapping: subtask(1, 0).key_space().mapping_id().to_owned(),
        key_schema: String::schema(),
        files: Vec::new(),
    };
    for (id, sections) in (1..).zip(files) {
        let meta = FileMeta {
            format: row::FORMAT.to_owned(),
            operator: "op".to_owned(),
            subtask: 0,
            checkpoint_id: id,
            max_parallelism: GROUPS.into(),
            key_groups: 0..=GROUPS - 1,
            key_schema: String::schema(),
            key_group_mapping: handle.key_group_mapping.clone(),
            states: vec![descriptor.meta().unwrap()],
        };
        let group = context(&key("a")).group();
        let fill = |writer: &mut CheckpointWriter<'_>| {
            for (kind, rows) in sections {
                writer.begin_section(0, group, *kind)?;
                for row in rows {
                    writer.row(|out| {
                        out.extend_from_slice(row);
                        Ok(())
                    })?;
                }
            }
            Ok(true)
        };
        handle.files.extend(target.write(&meta, true, &Cancel::new(), fill).unwrap());
    }
    handle
}

fn row(op: Option<RowOp>, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    op.iter().for_each(|op| op.encode(&mut out));
    row::encode_key(&key("a"), &(), &mut out);
    out.extend_from_slice(rest);
    out
}

fn elements(first: u64, elements: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint(first, &mut out);
    for element in elements {
        encode_sized(&mut out, |out| {
            out.push(element);
            Ok(())
        })
        .unwrap();
    }
    out
}

fn list_of(files: &[File]) -> Result<Vec<u8>> {
    let handle = chain(&ListDescriptor::<u8>::new("s"), files);
    let mut backend = open(&in_memory(), &[handle]);
    let list = backend.register(ListDescriptor::<u8>::new("s"))?;
    backend.list(list, context(&key("a")), &()).unwrap().get()
}

#[test]
fn increments_of_a_list_cut_and_append() {
    use SectionKind::{Delta, Full};
    let full = || (Full, vec![row(None, &elements(0, 0..5)), row(None, &elements(5, 5..8))]);
    let put = |first, range| row(Some(RowOp::Put), &elements(first, range));
    let remove = || row(Some(RowOp::Remove), &[]);
    assert_eq!(list_of(&[vec![full()]]).unwrap(), Vec::from_iter(0..8));
    assert_eq!(list_of(&[vec![full()], vec![(Delta, vec![put(8, 8..10)])]]).unwrap(), Vec::from_iter(0..10));
    let cut = vec![(Delta, vec![put(3, 30..32), put(5, 32..33)])];
    assert_eq!(list_of(&[vec![full()], cut.clone()]).unwrap(), [0, 1, 2, 30, 31, 32]);
    let further = vec![(Delta, vec![put(1, 0..0)])];
    assert_eq!(list_of(&[vec![full()], cut.clone(), further]).unwrap(), [0]);
    assert_eq!(list_of(&[vec![full()], cut.clone(), vec![(Delta, vec![put(0, 7..9)])]]).unwrap(), [7, 8]);
    let replaced = vec![(Delta, vec![remove(), put(0, 9..10)])];
    assert_eq!(list_of(&[vec![full()], cut.clone(), replaced]).unwrap(), [9]);
    assert!(list_of(&[vec![full()], vec![(Delta, vec![remove()])]]).unwrap().is_empty());
    // A later full section replaces all earlier ones, even if it is empty.
    assert_eq!(list_of(&[vec![full()], cut.clone(), vec![full()]]).unwrap(), Vec::from_iter(0..8));
    assert!(list_of(&[vec![full()], cut.clone(), vec![(Full, vec![])]]).unwrap().is_empty());
    // A group that was empty has no section in a full checkpoint.
    assert_eq!(list_of(&[vec![], vec![(Delta, vec![put(0, 1..3)])]]).unwrap(), [1, 2]);
    for gap in [vec![put(9, 0..1)], vec![remove(), put(8, 0..1)]] {
        let gap = list_of(&[vec![full()], vec![(Delta, gap)]]).unwrap_err();
        assert_eq!((gap.kind(), gap.state()), (ErrorKind::Corrupt, Some("s")));
    }
}

#[test]
fn increments_of_values_and_maps_put_and_remove() {
    use SectionKind::{Delta, Full};
    let value = |files: &[File]| {
        let mut backend = open(&in_memory(), &[chain(&ValueDescriptor::<u8>::new("s"), files)]);
        let value = backend.register(ValueDescriptor::<u8>::new("s")).unwrap();
        backend.value(value, context(&key("a")), &()).unwrap().get().unwrap()
    };
    let full = || vec![(Full, vec![row(None, &[1])])];
    assert_eq!(value(&[full()]), Some(1));
    assert_eq!(value(&[full(), vec![(Delta, vec![row(Some(RowOp::Put), &[2])])]]), Some(2));
    assert_eq!(value(&[full(), vec![(Delta, vec![row(Some(RowOp::Remove), &[])])]]), None);

    let map = |files: &[File]| {
        let mut backend = open(&in_memory(), &[chain(&MapDescriptor::<u8, u8>::new("s"), files)]);
        let map = backend.register(MapDescriptor::<u8, u8>::new("s")).unwrap();
        let a = key("a");
        let mut view = backend.map(map, context(&a), &()).unwrap();
        let entries = view.iter().unwrap().map(|entry| entry.map(|(k, v)| (*k, *v)));
        entries.collect::<Result<Vec<_>>>().unwrap()
    };
    // Each entry: key, length of the value, value.
    let full = || vec![(Full, vec![row(None, &[1, 1, 10, 2, 1, 20]), row(None, &[3, 1, 30])])];
    assert_eq!(map(&[full()]), [(1, 10), (2, 20), (3, 30)]);
    let removed = vec![(Delta, vec![row(Some(RowOp::RemoveEntries), &[1, 3])])];
    assert_eq!(map(&[full(), removed.clone()]), [(2, 20)]);
    let put = vec![(Delta, vec![row(Some(RowOp::Put), &[1, 1, 11])])];
    assert_eq!(map(&[full(), removed, put.clone()]), [(1, 11), (2, 20)]);
    let emptied = vec![(Delta, vec![row(Some(RowOp::Remove), &[])])];
    assert_eq!(map(&[full(), emptied, put]), [(1, 11)]);
}

#[test]
fn a_refused_registration_leaves_the_state_unchanged() {
    let mut backend = open(&in_memory(), &[]);
    fill(&mut backend);
    let handle = snapshot(&mut backend, 1);
    let mut restored = open(&in_memory(), &[handle]);
    let refused = |result: Result<()>, kind: ErrorKind| {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.state()), (kind, Some("list")));
    };
    refused(restored.register(ListDescriptor::<u64>::new("list")).map(|_| ()), ErrorKind::Migration);
    let codec = ListDescriptor::<u64>::with_codec("list", Arc::new(NoThirteen));
    refused(restored.register(codec).map(|_| ()), ErrorKind::Migration);
    let namespaced = ListDescriptor::<String>::new("list").namespaced::<u64>();
    refused(restored.register(namespaced).map(|_| ()), ErrorKind::Migration);
    refused(
        restored.register(MapDescriptor::<String, String>::new("list")).map(|_| ()),
        ErrorKind::IncompatibleKind,
    );
    let other_key = restored.register(MapDescriptor::<u64, u64>::new("map")).unwrap_err();
    assert_eq!(other_key.kind(), ErrorKind::Migration);
    check(&mut restored);
}

#[test]
fn rows_that_do_not_decode_are_refused_and_removed() {
    // More elements than one write, and then a row that ends within an element.
    let first = elements(0, std::iter::repeat_n(7, 100_000));
    let mut second = elements(100_000, 0..1);
    second.extend([200, 1]);
    let rows = vec![row(None, &first), row(None, &second)];
    let handle = chain(&ListDescriptor::<u8>::new("s"), &[vec![(SectionKind::Full, rows)]]);
    let mut backend = open(&in_memory(), &[handle]);
    for _ in 0..2 {
        let error = backend.register(ListDescriptor::<u8>::new("s")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!((error.state(), error.key_group()), (Some("s"), Some(context(&key("a")).group())));
        assert!(error.file().is_some());
    }
    // The next state gets the number that the failed one had.
    let other = backend.register(ListDescriptor::<u8>::new("other")).unwrap();
    assert_eq!(backend.keys(other, &()).unwrap().count(), 0);
}

#[test]
fn an_element_that_does_not_decode_ends_the_iteration() {
    let rows = vec![row(None, &elements(0, 0..3))];
    let handle = chain(&ListDescriptor::<u16>::new("s"), &[vec![(SectionKind::Full, rows)]]);
    let mut backend = open(&in_memory(), &[handle]);
    let list = backend.register(ListDescriptor::<u16>::new("s")).unwrap();
    let a = key("a");
    let mut view = backend.list(list, context(&a), &()).unwrap();
    let kinds: Vec<_> = view.iter().unwrap().map(|e| e.unwrap_err().kind()).collect();
    assert_eq!(kinds, [ErrorKind::Corrupt]);
}

fn refused(handles: &[KeyedStateHandle], subtask: Subtask<String>) -> Error {
    ByteBackend::open(&in_memory(), subtask, handles).err().unwrap()
}

#[test]
fn handles_that_do_not_fit_are_refused() {
    let mut backend = open(&in_memory(), &[]);
    fill(&mut backend);
    let handle = snapshot(&mut backend, 1);

    let twice = refused(&[handle.clone(), handle.clone()], subtask(1, 0));
    assert_eq!(twice.kind(), ErrorKind::IllegalState);
    let other = Subtask::single("op", KeySpace::<String>::new(64).unwrap()).unwrap();
    let other = refused(from_ref(&handle), other);
    assert_eq!(other.kind(), ErrorKind::IllegalState);
    assert!(other.message().contains("10") && other.message().contains("64"), "{other}");
    let flink = Subtask::single("op", KeySpace::<String>::flink(GROUPS).unwrap()).unwrap();
    assert_eq!(refused(from_ref(&handle), flink).kind(), ErrorKind::IllegalState);
    let other = Subtask::single("op", KeySpace::<u64>::new(GROUPS).unwrap()).unwrap();
    let other = ByteBackend::open(&in_memory(), other, from_ref(&handle)).err().unwrap();
    assert_eq!(other.kind(), ErrorKind::Migration);
    let other = KeyedStateHandle { format: "rocksdb/1".to_owned(), ..handle.clone() };
    assert_eq!(refused(&[other], subtask(1, 0)).kind(), ErrorKind::Unsupported);

    let mut second = open(&in_memory(), &[]);
    second.register(ListDescriptor::<u64>::new("value")).unwrap();
    let second = snapshot(&mut second, 1);
    let low = handle.cut(subtask(2, 0).range()).unwrap();
    let high = second.cut(subtask(2, 1).range()).unwrap();
    let mixed = refused(&[low, high], subtask(1, 0));
    assert_eq!((mixed.kind(), mixed.state()), (ErrorKind::IncompatibleKind, Some("value")));
}

#[test]
fn states_with_different_codecs_are_kept_and_cannot_be_registered() {
    let plain = || ValueDescriptor::<u64>::new("count");
    let other = || ValueDescriptor::<u64>::with_codec("count", Arc::new(NoThirteen));
    let write = |descriptor, parallelism, index| {
        let mut backend = ByteBackend::open(&in_memory(), subtask(parallelism, index), &[]).unwrap();
        let count = backend.register(descriptor).unwrap();
        for key in keys() {
            if let Ok(mut view) = backend.value(count, context(&key), &()) {
                view.set(u64::from(index)).unwrap();
            }
        }
        snapshot(&mut backend, 1)
    };
    let mut both = open(&in_memory(), &[write(other(), 2, 0), write(plain(), 2, 1)]);
    for id in 2..4 {
        assert_eq!(both.register(plain()).unwrap_err().kind(), ErrorKind::Migration);
        assert_eq!(both.register(other()).unwrap_err().kind(), ErrorKind::Migration);
        // The same after it was passed on.
        both = open(&in_memory(), &[snapshot(&mut both, id)]);
    }
    // Each key group still has the codec that it was written with.
    let plan = RestorePlan::open(&[snapshot(&mut both, 4)], None, &subtask(1, 0)).unwrap();
    let state = plan.state("count").unwrap();
    assert_eq!(state.groups().count(), usize::from(GROUPS));
    for group in state.groups() {
        let codecs = |section: &RestoredSection| section.meta().unwrap().codecs.clone();
        let written = if subtask(2, 0).range().contains(group) {
            other().meta().unwrap()
        } else {
            plain().meta().unwrap()
        };
        assert_eq!(state.chain(group).iter().map(codecs).collect::<Vec<_>>(), [written.codecs]);
    }
}

#[test]
fn every_flipped_bit_and_truncation_is_detected_at_open() {
    let mut backend = open(&in_memory(), &[]);
    let count = backend.register(ValueDescriptor::<u64>::new("count")).unwrap();
    for n in 0..20 {
        backend.value(count, context(&format!("k{n}")), &()).unwrap().set(n).unwrap();
    }
    let handle = snapshot(&mut backend, 1);
    let StateData::Inline(bytes) = handle.files[0].data.clone() else { panic!("in a file") };
    let with = |bytes: Vec<u8>| {
        let mut handle = handle.clone();
        handle.files[0].data = StateData::Inline(bytes);
        ByteBackend::open(&in_memory(), subtask(1, 0), &[handle]).err().map(|error| error.kind())
    };
    assert_eq!(with(bytes.clone()), None);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(with(flipped), Some(ErrorKind::Corrupt), "byte {at}");
        assert_eq!(with(bytes[..at].to_vec()), Some(ErrorKind::Corrupt), "cut at {at}");
    }
}

#[test]
fn only_needed_files_are_read_and_missing_ones_are_named() {
    let storage = Arc::new(MemoryStorage::default());
    let options = in_files(&storage);
    let mut backend = open(&options, &[]);
    fill(&mut backend);
    let handle = snapshot(&mut backend, 1);
    let path = match &handle.files[0].data {
        StateData::File { path, .. } => path.clone(),
        StateData::Inline(_) => panic!("inline"),
    };
    let no_storage = ByteBackend::open(&in_memory(), subtask(1, 0), from_ref(&handle)).err().unwrap();
    assert_eq!((no_storage.kind(), no_storage.file()), (ErrorKind::InvalidArgument, Some(path.as_str())));
    storage.delete(&path).unwrap();
    let mut writer: Box<dyn StorageWriter> = storage.create(&path, &Cancel::new()).unwrap();
    writer.write(b"short").unwrap();
    writer.finish().unwrap();
    let short = ByteBackend::open(&options, subtask(1, 0), from_ref(&handle)).err().unwrap();
    assert_eq!((short.kind(), short.file()), (ErrorKind::Corrupt, Some(path.as_str())));
    storage.delete(&path).unwrap();
    let missing = ByteBackend::open(&options, subtask(1, 0), from_ref(&handle)).err().unwrap();
    assert_eq!((missing.kind(), missing.file()), (ErrorKind::NotFound, Some(path.as_str())));
    // A part without these key groups does not look for the file.
    let elsewhere = handle.cut(subtask(2, 0).range()).unwrap();
    let range = subtask(2, 1).range();
    let empty = KeyedStateHandle { range, files: Vec::new(), ..elsewhere.clone() };
    ByteBackend::open(&options, subtask(2, 1), &[elsewhere, empty]).unwrap();
}
