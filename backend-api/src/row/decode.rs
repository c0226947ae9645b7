//! Decoding rows.

use super::RowOp;
use crate::format::SectionKind;
use crate::{Error, ErrorKind, Result, StateKey, StateKind, StateShape};

/// A row: a key, a namespace, and a change of their content.
#[derive(Debug)]
pub struct Row<'r, K, N> {
    /// The key.
    pub key: K,
    /// The namespace.
    pub namespace: N,
    /// The rest of the row.
    pub change: RowChange<'r>,
}

/// The change that a row makes under its key and namespace.
#[derive(Debug)]
pub enum RowChange<'r> {
    /// Puts these bytes of a value or an accumulator.
    Value(&'r [u8]),
    /// Cuts the list to [`first`](ListRow::first) elements and appends these.
    Elements(ListRow<'r>),
    /// Puts these entries into the map.
    Entries(MapRow<'r>),
    /// Removes the entries of these keys from the map.
    RemoveEntries(KeysRow<'r>),
    /// Removes all.
    Remove,
    /// Adds a timer with this time.
    AddTimer(i64),
    /// Removes the timer with this time.
    RemoveTimer(i64),
}

/// What precedes key and namespace in a row: the operation, and the time of a timer.
#[derive(Clone, Copy, Debug)]
pub struct RowHead {
    op: RowOp,
    shape: StateShape,
    /// 0 unless it is a timer.
    at: i64,
}

impl RowHead {
    /// Takes the head off the front of a row of a state of this shape, from a section of `section`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if there is none.
    #[inline(always)]
    pub fn decode(shape: StateShape, section: SectionKind, row: &mut &[u8]) -> Result<Self> {
        let op = RowOp::decode_in(section, row)?;
        let at = if shape == StateShape::Timer { i64::decode(row)? } else { 0 };
        Ok(Self { op, shape, at })
    }
}

impl<'r, K: StateKey, N: StateKey> Row<'r, K, N> {
    /// Decodes a row of a state of `kind` from a section of `section`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is not such a row.
    #[inline(always)]
    pub fn decode(kind: StateKind, section: SectionKind, mut row: &'r [u8]) -> Result<Self> {
        let head = RowHead::decode(kind.shape(), section, &mut row)?;
        let (key, namespace) = decode_key(&mut row)?;
        Ok(Self { key, namespace, change: RowChange::decode(head, row)? })
    }
}

impl<'r> RowChange<'r> {
    /// Decodes the rest of a row with this head, after key and namespace.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is not such a rest.
    #[inline(always)]
    pub fn decode(head: RowHead, mut rest: &'r [u8]) -> Result<Self> {
        Ok(match (head.op, head.shape) {
            (RowOp::Put, StateShape::Single) => Self::Value(rest),
            (RowOp::Put, StateShape::List) => {
                Self::Elements(ListRow { first: decode_varint(&mut rest)?, elements: rest })
            }
            (RowOp::Put, StateShape::Map) => Self::Entries(MapRow(rest)),
            (RowOp::RemoveEntries, StateShape::Map) => Self::RemoveEntries(KeysRow(rest)),
            (RowOp::Put, StateShape::Timer) if rest.is_empty() => Self::AddTimer(head.at),
            (RowOp::Put, StateShape::Timer) => return Err(corrupt("a row of a timer has bytes left over")),
            (RowOp::Remove, StateShape::Timer) if rest.is_empty() => Self::RemoveTimer(head.at),
            (RowOp::Remove, _) if rest.is_empty() => Self::Remove,
            (RowOp::Remove, _) => return Err(corrupt("a row that removes has bytes left over")),
            (RowOp::RemoveEntries, _) => {
                return Err(corrupt("a row removes entries of a state that is no map"));
            }
        })
    }
}

/// Elements of a list.
#[derive(Clone, Copy, Debug)]
pub struct ListRow<'r> {
    first: u64,
    elements: &'r [u8],
}

impl<'r> ListRow<'r> {
    /// Index of the first of these elements in the list. Earlier elements are kept, and later ones are cut
    /// off.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of the next element.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    #[inline]
    pub fn next_element(&mut self) -> Result<Option<&'r [u8]>> {
        if self.elements.is_empty() { Ok(None) } else { decode_sized(&mut self.elements).map(Some) }
    }
}

/// Entries of a map.
#[derive(Clone, Copy, Debug)]
pub struct MapRow<'r>(&'r [u8]);

impl<'r> MapRow<'r> {
    /// The encoded entries, for readers without the type of the keys.
    pub fn bytes(self) -> &'r [u8] {
        self.0
    }

    /// Key and bytes of the value of the next entry.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    #[inline]
    pub fn next_entry<MK: StateKey>(&mut self) -> Result<Option<(MK, &'r [u8])>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = MK::decode(&mut self.0)?;
        Ok(Some((key, decode_sized(&mut self.0)?)))
    }
}

/// Keys of a map.
#[derive(Clone, Copy, Debug)]
pub struct KeysRow<'r>(&'r [u8]);

impl<'r> KeysRow<'r> {
    /// The encoded keys, for readers without their type.
    pub fn bytes(self) -> &'r [u8] {
        self.0
    }

    /// The next key.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt).
    #[inline]
    pub fn next_key<MK: StateKey>(&mut self) -> Result<Option<MK>> {
        if self.0.is_empty() { Ok(None) } else { MK::decode(&mut self.0).map(Some) }
    }
}

/// Takes key and namespace off the front of `row`.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt).
#[inline]
pub fn decode_key<K: StateKey, N: StateKey>(row: &mut &[u8]) -> Result<(K, N)> {
    Ok((K::decode(row)?, N::decode(row)?))
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
pub(super) fn short() -> Error {
    Error::new(ErrorKind::Corrupt, "a row ends too early")
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(state: StateKind, section: SectionKind, row: &[u8]) -> Result<(), ErrorKind> {
        Row::<u8, ()>::decode(state, section, row).map(|_| ()).map_err(|error| error.kind())
    }

    #[test]
    fn invalid_rows_are_refused() {
        let all =
            [StateKind::Value, StateKind::List, StateKind::Map, StateKind::Reducing, StateKind::Aggregating];
        for state in all {
            assert_eq!(kind(state, SectionKind::Full, &[]), Err(ErrorKind::Corrupt));
            assert_eq!(kind(state, SectionKind::Delta, &[3, 7]), Err(ErrorKind::Corrupt));
            assert_eq!(kind(state, SectionKind::Delta, &[1, 7]), Ok(()));
            assert_eq!(kind(state, SectionKind::Delta, &[1, 7, 0]), Err(ErrorKind::Corrupt));
            let removes_entries = kind(state, SectionKind::Delta, &[2, 7, 1]);
            assert_eq!(removes_entries.is_ok(), state == StateKind::Map);
        }
        assert_eq!(kind(StateKind::List, SectionKind::Full, &[7]), Err(ErrorKind::Corrupt));
    }

    #[test]
    fn a_row_of_a_timer_is_time_key_and_namespace() {
        let time = [0x80, 0, 0, 0, 0, 0, 0, 5];
        let row = |parts: &[&[u8]]| kind(StateKind::Timer, SectionKind::Full, &parts.concat());
        assert_eq!(row(&[&time, &[7]]), Ok(()));
        for invalid in [&[&time[..]][..], &[&time, &[7, 0]], &[&time[1..], &[7]]] {
            assert_eq!(row(invalid), Err(ErrorKind::Corrupt));
        }
        let change = |op: u8| [&[op][..], &time, &[7]].concat();
        let decode = |row: &[u8]| {
            let row = Row::<u8, ()>::decode(StateKind::Timer, SectionKind::Delta, row)?;
            assert_eq!(row.key, 7);
            Ok::<_, Error>(matches!(row.change, RowChange::AddTimer(5)))
        };
        assert!(decode(&change(0)).unwrap());
        assert!(!decode(&change(1)).unwrap());
        assert_eq!(decode(&change(2)).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn elements_entries_and_keys_end_where_the_row_does() {
        let mut list = ListRow { first: 0, elements: &[1, 10, 0, 2, 20] };
        assert_eq!(list.next_element().unwrap(), Some(&[10][..]));
        assert_eq!(list.next_element().unwrap(), Some(&[][..]));
        assert_eq!(list.next_element().unwrap_err().kind(), ErrorKind::Corrupt);
        let mut map = MapRow(&[5, 1, 50, 6]);
        assert_eq!(map.next_entry::<u8>().unwrap(), Some((5, &[50][..])));
        assert_eq!(map.next_entry::<u8>().unwrap_err().kind(), ErrorKind::Corrupt);
        let mut keys = KeysRow(&[0, 5, 0]);
        assert_eq!(keys.next_key::<u16>().unwrap(), Some(5));
        assert_eq!(keys.next_key::<u16>().unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(KeysRow(&[]).next_key::<u16>().unwrap(), None);
    }
}
