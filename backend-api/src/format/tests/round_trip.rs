//! Rows of all shapes are read as they were written.

use proptest::prelude::*;

use super::*;
use crate::format::block::{BLOCK_BYTES, BLOCK_ROWS, BlockHeader};

/// Rows of one section: of one width or of many, repetitive or not, none or few.
fn section_rows() -> impl Strategy<Value = Rows> {
    let fixed = (0_usize..70, 0_usize..40, any::<bool>()).prop_flat_map(|(width, count, alike)| {
        let byte = if alike { (0_u8..2).boxed() } else { any::<u8>().boxed() };
        prop::collection::vec(prop::collection::vec(byte, width), count)
    });
    let mixed = prop::collection::vec(prop::collection::vec(0_u8..3, 0..50), 0..40);
    let longer =
        prop::collection::vec((0_usize..700, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]), 0..10);
    let longest =
        prop::collection::vec((0_usize..300_000, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]), 0..5);
    prop_oneof![4 => fixed, 4 => mixed, 2 => longer, 1 => longest]
}

proptest! {
    #[test]
    fn written_rows_are_read(
        compression in prop::sample::select(COMPRESSIONS.to_vec()),
        sections in prop::collection::btree_map((0_u16..3, 0_u16..128), (any::<bool>(), section_rows()), 0..6),
    ) {
        let kind = |full: bool| if full { SectionKind::Full } else { SectionKind::Delta };
        let sections: Vec<_> = sections.into_iter().map(|((s, g), (full, rows))| (s, g, kind(full), rows)).collect();
        let meta = meta(&["a", "b", "c"]);
        let bytes = write(&meta, compression, &sections);
        prop_assert_eq!(read(&bytes).unwrap(), &sections[..]);

        let reader = open(&bytes).unwrap();
        prop_assert_eq!(reader.meta(), &meta);
        prop_assert_eq!(reader.path(), PATH);
        let stored: u64 = reader.sections().iter().map(|section| section.stored_bytes).sum();
        prop_assert!(stored < bytes.len() as u64);
        for (section, (_, _, _, rows)) in reader.sections().iter().zip(&sections) {
            reader.verify(section).unwrap();
            prop_assert_eq!(section.rows, rows.len() as u64);
            prop_assert_eq!(section.raw_bytes, rows.iter().map(|row| row.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn copied_sections_have_the_same_rows(
        compression in prop::sample::select(COMPRESSIONS.to_vec()),
        first in section_rows(),
        second in section_rows(),
    ) {
        let sections = [(0, 5, SectionKind::Full, first), (1, 4, SectionKind::Delta, second)];
        let reader = open(&write(&meta(&["a", "b"]), compression, &sections)).unwrap();
        let mut sink = BoundedBuffer::new(u64::MAX);
        let target = meta(&["x", "y", "a", "b"]);
        let mut writer = CheckpointWriter::new(&mut sink, &target, Compression::None).unwrap();
        writer.begin_section(0, 0, SectionKind::Full).unwrap();
        put(&mut writer, b"own").unwrap();
        for section in reader.sections() {
            reader.copy_section(section, &mut writer, section.state + 2).unwrap();
        }
        writer.finish().unwrap();
        let [(_, _, _, first), (_, _, _, second)] = sections;
        let expected = [
            (0, 0, SectionKind::Full, vec![b"own".to_vec()]),
            (2, 5, SectionKind::Full, first),
            (3, 4, SectionKind::Delta, second),
        ];
        let copy = sink.finish().unwrap();
        prop_assert_eq!(&read(&copy).unwrap()[..], &expected[..]);
        for (copied, section) in open(&copy).unwrap().sections()[1..].iter().zip(reader.sections()) {
            prop_assert_eq!(copied.stored_bytes, section.stored_bytes, "blocks are copied as they are");
            prop_assert_eq!((copied.rows, copied.raw_bytes), (section.rows, section.raw_bytes));
        }
    }
}

fn one_section(compression: Compression, rows: &Rows) -> Section {
    let bytes = write(&meta(&["a"]), compression, &[(0, 0, SectionKind::Full, rows.clone())]);
    assert!(read(&bytes).unwrap()[0].3 == *rows, "{compression:?}, {} rows", rows.len());
    open(&bytes).unwrap().sections()[0]
}

#[test]
fn blocks_hold_256_kib_and_a_longer_row_has_its_own() {
    let row = |len: usize| vec![7; len];
    for (rows, blocks) in [
        (vec![row(BLOCK_BYTES / 2), row(BLOCK_BYTES / 2)], 1),
        (vec![row(BLOCK_BYTES / 2), row(BLOCK_BYTES / 2 + 1)], 2),
        (vec![row(BLOCK_BYTES), row(1)], 2),
        (vec![row(1), row(BLOCK_BYTES + 1), row(1), row(1)], 3),
        (vec![row(1), row(9 * BLOCK_BYTES), row(0)], 3),
        (vec![row(0); BLOCK_ROWS as usize], 1),
        (vec![row(0); BLOCK_ROWS as usize + 1], 2),
        (vec![row(16); BLOCK_BYTES / 16 * 2], 2),
        (vec![], 0),
    ] {
        for compression in COMPRESSIONS {
            assert_eq!(
                one_section(compression, &rows).blocks,
                blocks,
                "{compression:?}, {} rows",
                rows.len()
            );
        }
    }
}

#[test]
fn lengths_are_as_wide_as_the_longest_row_needs() {
    for (longest, column) in [(0xFF, 1), (0x100, 2), (0xFFFF, 2), (0x1_0000, 4)] {
        let section = one_section(Compression::None, &vec![vec![1; longest], vec![2; 3], vec![]]);
        assert_eq!(
            section.stored_bytes,
            (BlockHeader::ENCODED + longest + 3 + 3 * column) as u64,
            "{longest}"
        );
    }
    let section = one_section(Compression::None, &vec![vec![1; 1000]; 3]);
    assert_eq!(section.stored_bytes, (BlockHeader::ENCODED + 3000) as u64, "one width has no lengths");
}

#[test]
fn counters_shrink_as_byte_planes_and_noise_is_stored_uncompressed() {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (state ^ state >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ state >> 33
    };
    // 48 random bits a row in 128: byte planes find the other 80, which are alike.
    let counters: Rows = (0..4096).map(|_| (u128::from(noise() >> 16)).to_le_bytes().to_vec()).collect();
    let random: Rows = (0..4096).map(|_| noise().to_le_bytes().to_vec()).collect();
    for compression in [Compression::Lz4, Compression::Zstd(1)] {
        let section = one_section(compression, &counters);
        assert!(section.stored_bytes < section.raw_bytes * 4 / 10, "{section:?}");
        let section = one_section(compression, &random);
        assert_eq!(section.stored_bytes, section.raw_bytes + BlockHeader::ENCODED as u64);
    }
}
