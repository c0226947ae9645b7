//! Every decoder of foreign bytes, for fuzzers (`fuzz/`) and for their corpora in `tests/decoders.rs`. Each
//! function panics if a decoder panics or breaks its contract.
//!
//! Checksums would stop a fuzzer, so the bytes behind a checksum are also tried with a correct one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use backend_api::format::{
    BoundedBuffer, CheckpointReader, CheckpointWriter, Compression, SectionKind, seal,
};
use backend_api::storage::Bytes;
use backend_api::{
    Checkpoint, ErrorKind, Result, SnapshotRequest, StateBackend, StateData, StateKey, default_codec, row,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::family::{Bytes as ByteFamily, Memory};
use crate::kinds::{Kinds, content_of};
use crate::script::Datum;
use crate::{Factory, World, single};

/// The file name in errors.
const PATH: &str = "fuzzed";

fn check_damage<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let known = [ErrorKind::Corrupt, ErrorKind::Unsupported].contains(&error.kind());
            assert!(known, "{error}");
            None
        }
    }
}

/// The metadata of a checkpoint: the bytes as a file, and as the payload of a sealed container.
pub fn metadata(bytes: &[u8]) {
    check_damage(Checkpoint::decode(bytes, PATH));
    if let Some(checkpoint) = check_damage(Checkpoint::decode(&seal(1, bytes), PATH)) {
        let encoded = checkpoint.encode().expect("what was decoded can be encoded");
        assert_eq!(Checkpoint::decode(&encoded, PATH).expect("what was encoded can be decoded"), checkpoint);
    }
}

/// A checkpoint file: opened, with all its sections read.
pub fn checkpoint_file(bytes: &[u8]) {
    read_file(bytes.to_vec());
    // The trailer is the last 36 bytes, 24 of them under a checksum. It contains the checksum of the index.
    let mut mended = bytes.to_vec();
    let Some(trailer) = mended.len().checked_sub(36) else { return };
    let number = |at: usize| {
        mended[at..at + 8].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (offset, len) = (number(trailer), number(trailer + 8));
    let footer =
        usize::try_from(offset).ok().zip(offset.checked_add(len).and_then(|end| usize::try_from(end).ok()));
    if let Some(crc) = footer.and_then(|(from, to)| mended.get(from..to)).map(crc32fast::hash) {
        mended[trailer + 16..trailer + 20].copy_from_slice(&crc.to_le_bytes());
    }
    mended[trailer + 20..trailer + 24].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32fast::hash(&mended[trailer..trailer + 24]);
    mended[trailer + 24..trailer + 28].copy_from_slice(&crc.to_le_bytes());
    mended[trailer + 28..].copy_from_slice(b"\nSBCEND\x89");
    read_file(mended);
}

fn read_file(bytes: Vec<u8>) {
    let Some(reader) = check_damage(CheckpointReader::open(Box::new(Bytes::new(PATH, bytes)))) else {
        return;
    };
    for section in reader.sections() {
        let verified = reader.verify(section);
        let mut rows = reader.rows(section);
        while let Some(Some(_)) = check_damage(rows.next()) {}
        check_damage(verified);
    }
}

/// Rows of a checkpoint with correct checksums, restored by the heap and by a byte engine. The engine accepts
/// what the heap accepts, with the same content. (The engine decodes values when they are read, so it may
/// accept more.) Each row is its state, a flag for changes, its length, and its bytes.
pub fn rows(mut bytes: &[u8]) {
    let mut sections: BTreeMap<(u8, bool), Vec<&[u8]>> = BTreeMap::new();
    while let [state, is_change, len, rest @ ..] = bytes {
        let (row, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        sections.entry((state % 5, is_change % 2 == 1)).or_default().push(row);
        bytes = rest;
    }
    let (of_engine, of_heap) = (World::<ByteFamily<0>>::new(), World::<Memory>::new());
    let engine = restored(&of_engine, &sections);
    if let Some(mut heap) = restored(&of_heap, &sections) {
        let mut engine = engine.expect("the engine refuses what the heap takes");
        assert_eq!(content_of(&mut heap), content_of(&mut engine));
    } else if let Some(mut engine) = engine {
        let kinds = Kinds::register(&mut engine).expect("the states are registered");
        kinds.keys(&mut engine).into_iter().for_each(|key| _ = check_damage(key));
    }
}

fn restored<F: Factory>(
    world: &World<F>,
    sections: &BTreeMap<(u8, bool), Vec<&[u8]>>,
) -> Option<F::Backend<i32>> {
    let mut backend = world.try_open::<i32>(single(1), &[]).expect("an empty backend opens");
    Kinds::register(&mut backend).expect("the states are new");
    let task = backend.snapshot(SnapshotRequest::new(1)).expect("a first snapshot");
    let mut handle = task.run().expect("an empty snapshot is written").expect("there are states");
    let file = handle.files.first_mut().expect("its file");
    let written = Bytes::new(PATH, world.bytes(file));
    let meta = CheckpointReader::open(Box::new(written)).expect("the file is whole").meta().clone();

    let mut buffer = BoundedBuffer::new(1 << 30);
    let mut writer = CheckpointWriter::new(&mut buffer, &meta, Compression::None).expect("a sound meta");
    for ((state, is_change), rows) in sections {
        let kind = if *is_change { SectionKind::Delta } else { SectionKind::Full };
        writer.begin_section((*state).into(), 0, kind).expect("sections in order");
        for row in rows {
            let written = writer.row(|out| {
                out.extend_from_slice(row);
                Ok(())
            });
            written.expect("a short row");
        }
    }
    writer.finish().expect("a buffer takes all");
    file.data = StateData::Inline(buffer.finish().expect("within the limit"));
    let mut backend = check_damage(world.try_open::<i32>(single(1), std::slice::from_ref(&handle)))?;
    check_damage(Kinds::register(&mut backend))?;
    Some(backend)
}

/// A type with everything that serde's order-keeping format has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Own {
    Nothing,
    Number(i16),
    Pair(bool, String),
    Fields { at: i64, user: Option<u8>, name: char },
    Many(Vec<Own>),
    Sorted(BTreeMap<u8, BTreeSet<char>>),
}

backend_api::serde_key!(Own);

/// Keys: a decoded key encodes to the same bytes or to equivalent ones, and the order of two keys is that of
/// their bytes.
pub fn keys(bytes: &[u8]) {
    key::<i64>(bytes);
    key::<u128>(bytes);
    key::<bool>(bytes);
    key::<char>(bytes);
    key::<String>(bytes);
    key::<Vec<u8>>(bytes);
    key::<[u8; 3]>(bytes);
    key::<Option<String>>(bytes);
    key::<(String, i32)>(bytes);
    key::<(u8, Vec<u8>, Option<bool>, Arc<str>)>(bytes);
    key::<Datum>(bytes);
    key::<Own>(bytes);
}

fn key<K: StateKey + Debug>(bytes: &[u8]) {
    let mut rest = bytes;
    let Some(first) = check_damage(K::decode(&mut rest)) else { return };
    let encoded = |key: &K| {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    };
    let used = &bytes[..bytes.len() - rest.len()];
    assert_eq!(encoded(&first), used, "{first:?}");
    let mut last = Vec::new();
    first.encode_last(&mut last);
    assert_eq!(K::decode_last(&last).expect("what was encoded decodes"), first);
    if let Some(second) = check_damage(K::decode(&mut rest)) {
        assert_eq!(first.cmp(&second), encoded(&first).cmp(&encoded(&second)), "{first:?} and {second:?}");
    }
    check_damage(K::decode_last(bytes));
}

/// Codecs of values: a decoded value encodes to bytes that decode equally. Also the numbers in rows.
pub fn codecs(bytes: &[u8]) {
    codec::<u64>(bytes);
    codec::<f64>(bytes);
    codec::<bool>(bytes);
    codec::<char>(bytes);
    codec::<String>(bytes);
    codec::<Vec<u8>>(bytes);
    codec::<Vec<i64>>(bytes);
    codec::<Vec<(String, Option<u16>)>>(bytes);
    codec::<BTreeMap<String, Vec<u32>>>(bytes);
    codec::<(i8, [u16; 3], Box<str>)>(bytes);
    codec::<Own>(bytes);
    codec::<Option<Datum>>(bytes);
    let mut rest = bytes;
    check_damage(row::decode_varint(&mut rest));
    let mut rest = bytes;
    check_damage(row::decode_sized(&mut rest));
    let mut rest = bytes;
    check_damage(row::RowOp::decode(&mut rest));
}

fn codec<T: Serialize + DeserializeOwned + Send + Sync + 'static>(bytes: &[u8]) {
    let codec = default_codec::<T>();
    let encoded = |value: &T| {
        let mut out = Vec::new();
        codec.encode(value, &mut out).expect("what was decoded can be encoded");
        out
    };
    if let Some(value) = check_damage(codec.decode(bytes)) {
        let once = encoded(&value);
        let again = codec.decode(&once).expect("what was encoded can be decoded");
        assert_eq!(encoded(&again), once);
    }
}
