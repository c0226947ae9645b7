//! Rows: what one entry of a state is in a checkpoint file, the same from every backend that writes rows.
//!
//! A row begins with the key and the namespace, each in its self-delimiting encoding ([`StateKey::encode`]). In a
//! section of changes an operation stands before them; in a full one there is none, every row puts. What follows
//! depends on the kind of state:
//!
//! | kind | rest of a row that puts |
//! | --- | --- |
//! | value, reducing, aggregating | the value's bytes, to the end of the row |
//! | list | index of the first element (varint), then of each element its length (varint) and bytes: the list is cut to that index, and these are appended |
//! | map | of each entry the key, the length of the value (varint) and its bytes |
//!
//! A long list or map has several rows. [`RowOp::Remove`] has nothing more, [`RowOp::RemoveEntries`] the keys of the
//! entries. The family of these rows is [`FORMAT`]; `docs/formats.md` has the bytes.

mod decode;

pub use decode::{KeysRow, ListRow, MapRow, Row, RowChange};

use crate::{Error, ErrorKind, Result, StateKey};

/// The format family of checkpoints made of rows; see [`KeyedStateHandle::format`](crate::KeyedStateHandle::format).
pub const FORMAT: &str = "rows/1";

/// What a row of a section of changes does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp {
    /// Puts a value, appends elements, puts entries.
    Put,
    /// Removes all that is under the key and namespace.
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
        let (&op, rest) = row.split_first().ok_or_else(short)?;
        *row = rest;
        match op {
            0 => Ok(Self::Put),
            1 => Ok(Self::Remove),
            2 => Ok(Self::RemoveEntries),
            _ => Err(Error::new(ErrorKind::Corrupt, format!("unknown row operation {op}"))),
        }
    }
}

/// Appends key and namespace: the beginning of a row.
#[inline]
pub fn encode_key<K: StateKey, N: StateKey>(key: &K, namespace: &N, out: &mut Vec<u8>) {
    key.encode(out);
    namespace.encode(out);
}

/// Takes key and namespace off the front of `row`.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt).
#[inline]
pub fn decode_key<K: StateKey, N: StateKey>(row: &mut &[u8]) -> Result<(K, N)> {
    Ok((K::decode(row)?, N::decode(row)?))
}

/// Appends a whole number, seven bits a byte, the lowest first.
#[inline]
pub fn encode_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a whole number as [`encode_varint`] writes it.
#[inline]
pub fn varint_len(number: u64) -> usize {
    if number < 0x80 { 1 } else { (u64::BITS - number.leading_zeros()).div_ceil(7) as usize }
}

/// Takes a whole number off the front of `row`.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if there is none, or it has more than 64 bits.
#[inline]
pub fn decode_varint(row: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = row.split_first().ok_or_else(short)?;
        *row = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Error::new(ErrorKind::Corrupt, "a number in a row has more than 64 bits"))
}

/// Appends what `encode` appends, its length before it.
///
/// # Errors
/// Those of `encode`; `out` is as before then.
#[inline]
pub fn encode_sized(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.push(0);
    let result = encode(out);
    let length = out.len() - start - 1;
    match result {
        Ok(()) if length < 0x80 => out[start] = length as u8,
        Ok(()) => {
            // Rare enough: the bytes move up to make room for a longer length.
            let mut prefix = Vec::with_capacity(10);
            encode_varint(length as u64, &mut prefix);
            out.splice(start..=start, prefix);
        }
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    }
    Ok(())
}

/// Takes bytes with their length before them off the front of `row`.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if the row ends before them.
#[inline]
pub fn decode_sized<'r>(row: &mut &'r [u8]) -> Result<&'r [u8]> {
    let length = usize::try_from(decode_varint(row)?).map_err(|_| short())?;
    let (bytes, rest) = row.split_at_checked(length).ok_or_else(short)?;
    *row = rest;
    Ok(bytes)
}

#[cold]
fn short() -> Error {
    Error::new(ErrorKind::Corrupt, "a row ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths_come_back() {
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
    fn sized_bytes_of_all_lengths_come_back_and_a_failed_one_leaves_nothing() {
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
            Err(Error::new(ErrorKind::Codec, "no"))
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
