//! Rows taken apart without the types of the program.

use backend_api::format::SectionKind;
use backend_api::row::{RowOp, decode_sized, decode_varint};
use backend_api::{Error, ErrorKind, Result, StateShape};

use super::{Item, Place, Visit};
use crate::types::Types;

/// A row.
pub(super) struct Parts<'r> {
    pub op: RowOp,
    pub key: &'r [u8],
    pub namespace: &'r [u8],
    /// What follows.
    pub rest: &'r [u8],
}

impl<'r> Parts<'r> {
    /// Takes a row of a section of that kind apart.
    pub fn of(types: &Types, section: SectionKind, mut row: &'r [u8]) -> Result<Self> {
        let op = match section {
            SectionKind::Full => RowOp::Put,
            SectionKind::Delta => RowOp::decode(&mut row)?,
        };
        let (key, row) = types.key.split(row)?;
        let (namespace, rest) = types.namespace.split(row)?;
        match op {
            RowOp::Remove if !rest.is_empty() => Err(corrupt("a row that removes has bytes left over")),
            RowOp::RemoveEntries if types.shape != StateShape::Map => {
                Err(corrupt("a row removes entries of a state that is no map"))
            }
            _ => Ok(Self { op, key, namespace, rest }),
        }
    }
}

/// Elements of a list, from the bytes behind the index.
pub(super) struct Elements<'r>(pub &'r [u8]);

impl<'r> Iterator for Elements<'r> {
    type Item = Result<&'r [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| decode_sized(&mut self.0).inspect_err(|_| self.0 = &[]))
    }
}

/// Takes the key of a map's entry off the front of `row`.
pub(super) fn map_key<'r>(types: &Types, row: &mut &'r [u8]) -> Result<&'r [u8]> {
    let schema = types.map_key.as_ref().ok_or_else(|| corrupt("the state is no map"))?;
    let (key, rest) = schema.split(row)?;
    *row = rest;
    Ok(key)
}

/// Takes an entry of a map off the front of `row`.
pub(super) fn map_entry<'r>(types: &Types, row: &mut &'r [u8]) -> Result<(&'r [u8], &'r [u8])> {
    Ok((map_key(types, row)?, decode_sized(row)?))
}

/// Calls `visit` with each item of a row of a full section.
pub(super) fn each_item(types: &Types, row: &[u8], visit: &mut Visit<'_>) -> Result<()> {
    let Parts { key, namespace, mut rest, .. } = Parts::of(types, SectionKind::Full, row)?;
    match types.shape {
        StateShape::Single => visit(Item { key, namespace, place: Place::Single, value: rest }),
        StateShape::List => {
            let first = decode_varint(&mut rest)?;
            for (number, value) in (0..).zip(Elements(rest)) {
                let index: u64 = first.saturating_add(number);
                visit(Item { key, namespace, place: Place::Element(index), value: value? })?;
            }
            Ok(())
        }
        StateShape::Map => {
            while !rest.is_empty() {
                let (entry, value) = map_entry(types, &mut rest)?;
                visit(Item { key, namespace, place: Place::Entry(entry), value })?;
            }
            Ok(())
        }
    }
}

/// Checks that all of a row decodes, and that its key belongs to `group` as far as the mapping is known. Answers the number of
/// values, elements or entries that it puts or removes.
pub fn check_row(types: &Types, section: SectionKind, row: &[u8], group: u16) -> Result<u64> {
    let Parts { op, key, mut rest, .. } = Parts::of(types, section, row)?;
    types.check_group(key, group)?;
    let mut items = 0;
    match (op, types.shape) {
        (RowOp::Put, StateShape::Single) => {
            types.value.check(rest)?;
            items = 1;
        }
        (RowOp::Put, StateShape::List) => {
            decode_varint(&mut rest)?;
            for element in Elements(rest) {
                types.value.check(element?)?;
                items += 1;
            }
        }
        (RowOp::Put, StateShape::Map) => {
            while !rest.is_empty() {
                types.value.check(map_entry(types, &mut rest)?.1)?;
                items += 1;
            }
        }
        (RowOp::RemoveEntries, _) => {
            while !rest.is_empty() {
                map_key(types, &mut rest)?;
                items += 1;
            }
        }
        (RowOp::Remove, _) => items = 1,
    }
    Ok(items)
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
