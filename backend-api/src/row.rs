//! Rows: the entries of a state in a checkpoint file, the same for all backends that write rows.
//!
//! A row starts with the key and the namespace, each in its self-delimiting encoding
//! ([`StateKey::encode`](crate::StateKey::encode)). In a section of changes an operation precedes them. In a
//! full section every row puts. In rows of timers the time precedes them, 8 bytes as an
//! [`i64`](crate::StateKey), so that rows sort as timers do. The rest depends on the kind of state:
//!
//! | kind | rest of a row that puts |
//! | --- | --- |
//! | value, reducing, aggregating | the value's bytes, to the end of the row |
//! | list | index of the first element (varint), then for each element its length (varint) and bytes: the list is cut to that index, and these are appended |
//! | timer | nothing |
//! | map | for each entry the key, the length of the value (varint) and its bytes |
//!
//! A long list or map has several rows. A row [ends](is_full) after [`ROW_ITEMS`] items, or with the item
//! that brings it to [`ROW_BYTES`]. [`RowOp::Remove`] has nothing more, [`RowOp::RemoveEntries`] the keys of
//! the entries. The name of this format is [`FORMAT`]. `docs/formats.md` describes the bytes.

mod decode;
mod encode;
mod evolution;
mod items;
mod merged;
mod parts;
mod read_back;
mod sorted;

pub use decode::{
    KeysRow, ListRow, MapRow, Row, RowChange, RowHead, decode_key, decode_sized, decode_varint,
};
pub use encode::{
    ROW_BYTES, ROW_ITEMS, encode_elements, encode_items, encode_key, encode_sized, encode_varint, is_full,
    varint_len,
};
pub use evolution::RowEvolution;
pub use items::ItemRows;
pub use merged::MergedRows;
pub use parts::RowParts;
pub use read_back::{ReadBack, encode_value};
pub use sorted::SortedRows;

use crate::format::SectionKind;
use crate::{Error, ErrorKind, Result};

/// The format of checkpoints made of rows. See [`KeyedStateHandle::format`](crate::KeyedStateHandle::format).
pub const FORMAT: &str = "rows/1";

/// What the formats of native savepoints made of rows begin with. The family of backends that reads them follows.
const NATIVE: &str = "rows/1:";

/// True if files of this format are made of rows: those of [`FORMAT`], which every backend reads, and native savepoints of
/// backends that have no other format of their own.
pub fn has_rows(format: &str) -> bool {
    format == FORMAT || format.starts_with(NATIVE)
}

/// The operation of a row in a section of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp {
    /// Puts a value, appends elements, puts entries.
    Put,
    /// Removes everything under the key and namespace.
    Remove,
    /// Removes entries of a map.
    RemoveEntries,
}

impl RowOp {
    /// Appends the operation.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Put => 0,
            Self::Remove => 1,
            Self::RemoveEntries => 2,
        });
    }

    /// Takes an operation off the front of `row`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if there is none.
    pub fn decode(row: &mut &[u8]) -> Result<Self> {
        let (&op, rest) = row.split_first().ok_or_else(decode::short)?;
        *row = rest;
        match op {
            0 => Ok(Self::Put),
            1 => Ok(Self::Remove),
            2 => Ok(Self::RemoveEntries),
            _ => Err(Error::new(ErrorKind::Corrupt, format!("unknown row operation {op}"))),
        }
    }

    /// Takes the operation off the front of a row of a section of that kind. Rows of full sections have none, and put.
    ///
    /// # Errors
    /// Same as [`decode`](Self::decode).
    #[inline(always)]
    pub fn decode_in(section: SectionKind, row: &mut &[u8]) -> Result<Self> {
        match section {
            SectionKind::Full => Ok(Self::Put),
            SectionKind::Delta => Self::decode(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths_round_trip() {
        for number in (0..64).flat_map(|bits| [1 << bits, (1_u64 << bits) - 1]).chain([u64::MAX]) {
            let mut out = Vec::new();
            encode_varint(number, &mut out);
            assert_eq!(out.len(), varint_len(number));
            let mut row = &out[..];
            assert_eq!(decode_varint(&mut row).unwrap(), number);
            assert!(row.is_empty());
        }
    }

    #[test]
    fn a_number_of_65_bits_is_refused() {
        let mut row = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..];
        assert_eq!(decode_varint(&mut row).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn sized_bytes_of_all_lengths_round_trip_and_a_failed_one_leaves_nothing() {
        let mut out = Vec::new();
        for length in [0, 1, 127, 128, 20_000] {
            encode_sized(&mut out, |out| {
                out.extend(std::iter::repeat_n(7, length));
                Ok(())
            })
            .unwrap();
        }
        let before = out.clone();
        let refuse = |out: &mut Vec<u8>| {
            out.push(1);
            Err(Error::new(ErrorKind::Codec, "refused"))
        };
        encode_sized(&mut out, refuse).unwrap_err();
        assert_eq!(out, before);
        let mut row = &out[..];
        for length in [0, 1, 127, 128, 20_000] {
            assert_eq!(decode_sized(&mut row).unwrap(), vec![7; length]);
        }
        assert_eq!(decode_sized(&mut row).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(decode_sized(&mut &[3, 1][..]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
