//! No damage to a file goes unnoticed, and none does harm.

use proptest::prelude::*;

use super::*;
use crate::format::block::{BlockHeader, Place};
use crate::format::trailer::Trailer;

type Sections = Vec<(u16, u16, SectionKind, Rows)>;

/// A small file with every layout of blocks that the compression has.
fn sample(compression: Compression) -> (Vec<u8>, Sections) {
    let row = |at: u8| vec![at, 0, 0, 1, 0, 0, 0, at / 2];
    let sections = vec![
        (0, 0, SectionKind::Full, (0..12).map(row).collect()),
        (0, 9, SectionKind::Delta, vec![b"unlike".to_vec(), vec![], vec![3; 40], vec![4; 30]]),
        (1, 0, SectionKind::Full, vec![b"one".to_vec()]),
        (1, 3, SectionKind::Full, vec![]),
        (1, 4, SectionKind::Full, vec![vec![5; 256], vec![6; 2]]),
    ];
    (write(&meta(&["a", "b"]), compression, &sections), sections)
}

/// Reads all that can be read: an error at last, with its place, and no wrong row before.
fn assert_noticed(bytes: &[u8], sections: &Sections, what: impl Fn() -> String) {
    let check = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error}", what());
        assert_eq!(error.file(), Some(PATH), "{}", what());
        assert!(error.offset().is_some_and(|offset| offset <= bytes.len() as u64), "{}: {error}", what());
    };
    let reader = match open(bytes) {
        Ok(reader) => reader,
        Err(error) => return check(error),
    };
    let mut noticed = 0;
    for (section, (state, group, kind, expected)) in reader.sections().iter().zip(sections) {
        assert_eq!((section.state, section.group, section.kind), (*state, *group, *kind), "{}", what());
        let (mut rows, mut expected) = (reader.rows(section), expected.iter());
        let error = loop {
            match rows.next() {
                Ok(Some(row)) => assert_eq!(Some(row), expected.next().map(|row| &row[..]), "{}", what()),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(reader.verify(section).is_err(), error.is_some(), "{}", what());
        match error {
            Some(error) => {
                assert_eq!(error.key_group(), Some(*group), "{}", what());
                check(error);
                rows.next().expect_err("the error stays");
                noticed += 1;
            }
            None => assert_eq!(expected.len(), 0, "{}", what()),
        }
    }
    assert!(noticed > 0, "{} was not noticed", what());
}

#[test]
fn every_changed_byte_is_detected() {
    for compression in COMPRESSIONS {
        let (mut bytes, sections) = sample(compression);
        assert_eq!(read(&bytes).unwrap(), sections);
        // Every other byte in its place without compression, every other bit with it.
        let all = compression == Compression::None;
        let masks = (1..=255_u8).filter(|mask| all || mask.is_power_of_two());
        for mask in masks {
            for at in 0..bytes.len() {
                bytes[at] ^= mask;
                assert_noticed(&bytes, &sections, || format!("{compression:?}: byte {at} xor {mask:#x}"));
                bytes[at] ^= mask;
            }
        }
    }
}

#[test]
fn every_truncation_and_addition_is_detected() {
    for compression in COMPRESSIONS {
        let (bytes, sections) = sample(compression);
        for len in 0..bytes.len() {
            assert_noticed(&bytes[..len], &sections, || format!("cut to {len}"));
            assert_noticed(&bytes[bytes.len() - len..], &sections, || format!("the last {len} bytes"));
            let hole = [&bytes[..len], &bytes[len + 1..]].concat();
            assert_noticed(&hole, &sections, || format!("without byte {len}"));
        }
        for added in [&[0][..], &[0; 100], &bytes[bytes.len() - Trailer::ENCODED..], &bytes] {
            assert_noticed(&[&bytes, added].concat(), &sections, || "bytes behind the end".to_owned());
            assert_noticed(&[added, &bytes].concat(), &sections, || "bytes before the start".to_owned());
        }
    }
}

#[test]
fn a_misplaced_block_is_detected() {
    let rows = |byte: u8| vec![vec![byte; 100_000]; 4];
    let sections = vec![(0, 1, SectionKind::Full, rows(1)), (0, 2, SectionKind::Full, rows(2))];
    let bytes = write(&meta(&["a"]), Compression::None, &sections);
    let reader = open(&bytes).unwrap();
    let [first, second] = reader.sections() else { panic!("two sections") };
    let block = BlockHeader::ENCODED + 200_000;
    assert_eq!((first.blocks, first.stored_bytes), (2, 2 * block as u64));
    let at = first.offset as usize;
    for (to, from, what) in
        [(at, second.offset as usize, "of another key group"), (at, at + block, "of another number")]
    {
        let mut swapped = bytes.clone();
        swapped.copy_within(from..from + block, to);
        assert_noticed(&swapped, &sections, || format!("a block {what}"));
    }
}

#[test]
fn a_file_of_another_version_is_not_reported_as_damaged() {
    let (mut bytes, _) = sample(Compression::None);
    let start = bytes.len() - Trailer::ENCODED;
    let trailer = Trailer::decode(&bytes[start..]).unwrap();
    bytes[start..].copy_from_slice(&Trailer { version: 3, ..trailer }.encode());
    let error = open(&bytes).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Unsupported, Some(PATH)));
}

#[test]
fn inconsistent_lengths_are_detected_at_their_block() {
    let (mut bytes, _) = sample(Compression::None);
    let section = open(&bytes).unwrap().sections_of(0, 9)[0];
    let last = (section.offset + section.stored_bytes - 1) as usize;
    bytes[last] += 1;
    seal_again(&mut bytes);
    let reader = open(&bytes).unwrap();
    let mut rows = reader.rows(&section);
    for _ in 0..2 {
        let error = rows.next().unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(section.offset)));
        assert_eq!(error.message(), "the lengths of the rows do not add up");
    }
}

/// The file with another index, whose checksum matches.
fn with_index(bytes: &[u8], change: impl FnOnce(&mut Vec<Section>)) -> Vec<u8> {
    let (rest, trailer) = bytes.split_at(bytes.len() - Trailer::ENCODED);
    let trailer = Trailer::decode(trailer).unwrap();
    let (rest, index) = rest.split_at(trailer.footer_offset as usize);
    let mut sections: Vec<_> = index.chunks(Section::ENCODED).filter_map(Section::decode).collect();
    change(&mut sections);
    let mut index = Vec::new();
    sections.iter().for_each(|section| section.encode(&mut index));
    let footer_crc = crc32fast::hash(&index);
    let trailer = Trailer { footer_len: index.len() as u64, footer_crc, ..trailer };
    [rest, &index, &trailer.encode()].concat()
}

#[test]
fn an_index_that_contradicts_the_file_is_detected() {
    let (bytes, sections) = sample(Compression::None);
    assert_eq!(read(&with_index(&bytes, |_| ())).unwrap(), sections);
    type Change = (&'static str, fn(&mut Vec<Section>));
    let changes: [Change; 13] = [
        ("a gap", |index| index[1].offset += 1),
        ("an overlap", |index| index[1].offset -= 1),
        ("a later start", |index| index[0].offset += 1),
        ("a start behind the end", |index| index[0].offset = u64::MAX),
        ("a section without end", |index| index[1].stored_bytes = u64::MAX),
        ("a shorter end", |index| index[4].stored_bytes -= 1),
        ("another order", |index| index.swap(0, 1)),
        ("a section twice", |index| index[3] = Section { group: 0, ..index[3] }),
        ("an unknown state", |index| index[4].state = 2),
        ("an unknown key group", |index| index[4].group = 128),
        ("more rows than blocks can hold", |index| {
            index[1] = Section { rows: 1 << 60, raw_bytes: 1 << 60, ..index[1] };
        }),
        ("more blocks than bytes can hold", |index| {
            index[1] = Section { rows: 1 << 40, raw_bytes: 1 << 40, blocks: 1 << 30, ..index[1] };
        }),
        ("rows without a block", |index| index[1].blocks = 0),
    ];
    for (what, change) in changes {
        let error = open(&with_index(&bytes, change)).expect_err(what);
        assert_eq!((error.kind(), error.file()), (ErrorKind::Corrupt, Some(PATH)), "{what}");
    }
    let changes: [fn(&mut Section); 3] =
        [|section| section.rows -= 1, |section| section.raw_bytes += 1, |section| section.blocks = 2];
    for change in changes {
        let reader = open(&with_index(&bytes, |index| change(&mut index[1]))).unwrap();
        let section = &reader.sections()[1];
        assert_eq!(reader.verify(section).unwrap_err().kind(), ErrorKind::Corrupt, "{section:?}");
        assert_eq!(rows(&reader, section).unwrap_err().kind(), ErrorKind::Corrupt, "{section:?}");
    }
}

#[test]
fn a_header_with_extra_bytes_is_detected() {
    let bytes = write(&meta(&["a"]), Compression::None, &[]);
    let end = bytes.len() - Trailer::ENCODED;
    let mut header = [&bytes[..end - 4], &[0]].concat();
    header[12] += 1;
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    let trailer = Trailer::decode(&bytes[end..]).unwrap();
    let trailer = Trailer { footer_offset: header.len() as u64, ..trailer };
    let error = open(&[header, trailer.encode()].concat()).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, "the header has bytes left over"));
}

/// Makes all checksums match again, so that what is behind them is reached.
fn seal_again(bytes: &mut [u8]) {
    let end = bytes.len() - Trailer::ENCODED;
    let Ok(trailer) = Trailer::decode(&bytes[end..]) else { return };
    let footer = trailer.footer_offset as usize..end;
    for record in bytes[footer.clone()].to_vec().chunks(Section::ENCODED) {
        let Some(section) = Section::decode(record) else { continue };
        let mut at = section.offset as usize;
        for block in 0..section.blocks {
            let place = Place { state: section.state, group: section.group, block };
            let Some((_, payload)) = bytes.get(at..).and_then(|b| b.split_at_checked(BlockHeader::ENCODED))
            else {
                break;
            };
            let len = BlockHeader::stored_len(&bytes[at..]).unwrap() as usize;
            let Some(stored) = payload.get(..len) else { break };
            let crc = crate::format::block::checksum(place, &bytes[at..at + BlockHeader::ENCODED], stored);
            bytes[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
            at += BlockHeader::ENCODED + len;
        }
    }
    let header = 16 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    if let Some((body, crc)) = bytes.split_at_mut_checked(header)
        && crc.len() >= 4
    {
        crc[..4].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }
    let footer_crc = crc32fast::hash(&bytes[footer]);
    bytes[end..].copy_from_slice(&Trailer { footer_crc, ..trailer }.encode());
}

proptest! {
    #[test]
    fn random_bytes_are_refused_as_files(mut bytes in prop::collection::vec(any::<u8>(), 0..300), ends: bool) {
        if ends && bytes.len() > 100 {
            let (sample, _) = sample(Compression::None);
            let end = bytes.len() - 8;
            bytes[..16].copy_from_slice(&sample[..16]);
            bytes[end..].copy_from_slice(&sample[sample.len() - 8..]);
        }
        prop_assert_eq!(open(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    /// A file that is made up, with checksums that match, may have any rows, but does no harm.
    #[test]
    fn a_forged_file_is_harmless(
        compression in prop::sample::select(COMPRESSIONS.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut bytes, _) = sample(compression);
        let len = bytes.len() - Trailer::ENCODED;
        for (at, byte) in changes {
            bytes[at.index(len)] = byte;
        }
        seal_again(&mut bytes);
        let Ok(reader) = open(&bytes) else { return Ok(()) };
        for section in reader.sections() {
            let limit = bytes.len() as u64 * 65_536;
            let mut count = 0;
            let mut rows = reader.rows(section);
            let end = loop {
                match rows.next() {
                    Ok(Some(_)) => count += 1,
                    end => break end.map(|_| ()),
                }
                prop_assert!(count < limit);
            };
            if let Err(error) = end {
                prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
                prop_assert!(rows.next().is_err());
            }
        }
    }
}
