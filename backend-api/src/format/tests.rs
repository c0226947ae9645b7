//! Whole files: what is written is read, and what was damaged is not.

mod damage;
mod round_trip;

use std::collections::BTreeMap;

use super::{
    BoundedBuffer, CheckpointReader, CheckpointWriter, Compression, FileMeta, Section, SectionKind, StateMeta,
};
use crate::storage::Bytes;
use crate::{Error, ErrorKind, Result, StateKind};

const PATH: &str = "job/chk-7/count-0";

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd(1)];

type Rows = Vec<Vec<u8>>;

fn meta(states: &[&str]) -> FileMeta {
    let state = |name: &&str| StateMeta {
        name: (*name).to_owned(),
        kind: StateKind::Value,
        namespace_schema: "()".to_owned(),
        codecs: vec!["u64".to_owned()],
        table_seed: 42,
        options: BTreeMap::new(),
    };
    FileMeta {
        format: "rows/1".to_owned(),
        operator: "count".to_owned(),
        subtask: 3,
        checkpoint_id: 7,
        max_parallelism: 128,
        key_groups: 0..=127,
        key_schema: "u64".to_owned(),
        key_group_mapping: "xxh3".to_owned(),
        states: states.iter().map(state).collect(),
    }
}

fn write(meta: &FileMeta, compression: Compression, sections: &[(u16, u16, SectionKind, Rows)]) -> Vec<u8> {
    let mut sink = BoundedBuffer::new(u64::MAX);
    let mut writer = CheckpointWriter::new(&mut sink, meta, compression).unwrap();
    for (state, group, kind, rows) in sections {
        writer.begin_section(*state, *group, *kind).unwrap();
        rows.iter().for_each(|row| put(&mut writer, row).unwrap());
    }
    let length = writer.finish().unwrap();
    let bytes = sink.finish().unwrap();
    assert_eq!(length, bytes.len() as u64);
    bytes
}

fn put(writer: &mut CheckpointWriter<'_>, row: &[u8]) -> Result<()> {
    writer.row(|buffer| {
        buffer.extend_from_slice(row);
        Ok(())
    })
}

fn open(bytes: &[u8]) -> Result<CheckpointReader> {
    CheckpointReader::open(Box::new(Bytes::new(PATH, bytes.to_vec())))
}

fn rows(reader: &CheckpointReader, section: &Section) -> Result<Rows> {
    let (mut found, mut rows) = (Vec::new(), reader.rows(section));
    while let Some(row) = rows.next()? {
        found.push(row.to_vec());
    }
    Ok(found)
}

fn read(bytes: &[u8]) -> Result<Vec<(u16, u16, SectionKind, Rows)>> {
    let reader = open(bytes)?;
    let sections = reader.sections().iter();
    sections.map(|s| Ok((s.state, s.group, s.kind, rows(&reader, s)?))).collect()
}

/// The file that `docs/formats.md` shows, byte by byte.
#[test]
fn the_format_is_the_documented_one() {
    let meta = FileMeta { states: Vec::new(), ..meta(&[]) };
    let meta = FileMeta { operator: "op".into(), key_schema: "u8".into(), ..meta };
    let state = StateMeta {
        name: "s".into(),
        kind: StateKind::Map,
        namespace_schema: "()".into(),
        codecs: vec!["a".into(), "b".into()],
        table_seed: 5,
        options: [("o".to_owned(), vec![9])].into(),
    };
    let meta = FileMeta { states: vec![state], ..meta };
    let sections = [
        (0, 1, SectionKind::Full, vec![b"ab".to_vec(), b"cd".to_vec()]),
        (0, 2, SectionKind::Delta, vec![b"abc".to_vec(), b"d".to_vec()]),
    ];
    let bytes = write(&meta, Compression::None, &sections);
    assert_eq!(bytes, crate::documented_example(1));
    assert_eq!(read(&bytes).unwrap(), sections);
}

#[test]
fn sections_must_be_in_order_and_belong_to_the_file() {
    let mut sink = BoundedBuffer::new(u64::MAX);
    let meta = FileMeta { key_groups: 2..=5, ..meta(&["a", "b"]) };
    let mut writer = CheckpointWriter::new(&mut sink, &meta, Compression::None).unwrap();
    assert_eq!(put(&mut writer, b"x").unwrap_err().kind(), ErrorKind::IllegalState);
    writer.begin_section(0, 3, SectionKind::Full).unwrap();
    for (state, group, kind) in [
        (0, 1, ErrorKind::InvalidArgument),
        (0, 6, ErrorKind::InvalidArgument),
        (2, 3, ErrorKind::InvalidArgument),
        (0, 3, ErrorKind::IllegalState),
        (0, 2, ErrorKind::IllegalState),
    ] {
        let error = writer.begin_section(state, group, SectionKind::Full).unwrap_err();
        assert_eq!((error.kind(), error.key_group()), (kind, Some(group)));
    }
    put(&mut writer, b"x").unwrap();
    writer.begin_section(0, 3, SectionKind::Delta).unwrap();
    put(&mut writer, b"y").unwrap();
    writer.begin_section(1, 2, SectionKind::Delta).unwrap();
    writer.finish().unwrap();
    let reader = open(&sink.finish().unwrap()).unwrap();
    let found: Vec<_> = reader.sections().iter().map(|s| (s.state, s.group, s.kind, s.rows)).collect();
    let delta = SectionKind::Delta;
    assert_eq!(found, [(0, 3, SectionKind::Full, 1), (0, 3, delta, 1), (1, 2, delta, 0)]);
    assert_eq!(reader.sections_of(0, 3), &reader.sections()[..2]);
    assert_eq!(reader.sections_of(0, 2), []);
}

#[test]
fn a_row_that_cannot_be_encoded_is_removed() {
    let mut sink = BoundedBuffer::new(u64::MAX);
    let meta = meta(&["a"]);
    let mut writer = CheckpointWriter::new(&mut sink, &meta, Compression::None).unwrap();
    writer.begin_section(0, 0, SectionKind::Full).unwrap();
    put(&mut writer, b"first").unwrap();
    let error = writer.row(|buffer| {
        buffer.extend_from_slice(b"half a ro");
        Err(Error::new(ErrorKind::Codec, "refused"))
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Codec);
    put(&mut writer, b"other").unwrap();
    let error = writer.row(|buffer| {
        buffer.truncate(3);
        Ok(())
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::IllegalState, "rows have been lost");

    let mut sink = BoundedBuffer::new(u64::MAX);
    let mut writer = CheckpointWriter::new(&mut sink, &meta, Compression::None).unwrap();
    writer.begin_section(0, 0, SectionKind::Full).unwrap();
    put(&mut writer, b"first").unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        _ = writer.row(|buffer| {
            buffer.extend_from_slice(b"half a ro");
            panic!("in the encoder");
        });
    }));
    panicked.unwrap_err();
    put(&mut writer, b"last").unwrap();
    writer.finish().unwrap();
    let read = read(&sink.finish().unwrap()).unwrap();
    assert_eq!(read[0].3, [b"first".to_vec(), b"last".to_vec()]);
}

#[test]
fn an_error_of_the_sink_is_final() {
    struct Full(usize);
    impl super::ByteSink for Full {
        fn write(&mut self, _: &[u8]) -> Result<()> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| Error::new(ErrorKind::Io, "full"))?;
            Ok(())
        }
    }
    let meta = meta(&["a"]);
    assert_eq!(CheckpointWriter::new(&mut Full(0), &meta, Compression::None).unwrap_err().message(), "full");
    let mut sink = Full(1);
    let mut writer = CheckpointWriter::new(&mut sink, &meta, Compression::None).unwrap();
    writer.begin_section(0, 0, SectionKind::Full).unwrap();
    let failed = (0..3).map(|_| put(&mut writer, &[0; 200_000]).is_err());
    assert_eq!(failed.collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(writer.begin_section(0, 1, SectionKind::Full).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_bounded_buffer_names_both_sizes() {
    use super::ByteSink;
    let fill = |size: usize| {
        let mut buffer = BoundedBuffer::new(5_242_880);
        [1, size - 11, 10].into_iter().for_each(|len| buffer.write(&vec![1; len]).unwrap());
        buffer.finish()
    };
    assert_eq!(fill(5_242_880).unwrap().len(), 5_242_880);
    let error = fill(5_242_881).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Size);
    assert_eq!(error.message(), "state of 5242881 bytes exceeds the limit of 5242880 bytes");
}

#[test]
fn an_invalid_compression_level_is_refused() {
    let mut sink = BoundedBuffer::new(u64::MAX);
    let error = CheckpointWriter::new(&mut sink, &meta(&[]), Compression::Zstd(1000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
