//! Decodes rows without the types of the program.

use backend_api::format::SectionKind;
use backend_api::row::{RowChange, RowHead, decode_sized};
use backend_api::{Error, ErrorKind, Result};

use super::{Item, Place, Visit};
use crate::types::Types;

/// A row without the types of its parts.
pub(super) struct Parts<'r> {
    pub key: &'r [u8],
    pub namespace: &'r [u8],
    pub change: RowChange<'r>,
}

impl<'r> Parts<'r> {
    /// Splits a row of a section of that kind.
    pub fn of(types: &Types, section: SectionKind, mut row: &'r [u8]) -> Result<Self> {
        let head = RowHead::decode(types.shape, section, &mut row)?;
        let (key, row) = types.key.split(row)?;
        let (namespace, rest) = types.namespace.split(row)?;
        Ok(Self { key, namespace, change: RowChange::decode(head, rest)? })
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
    let Parts { key, namespace, change } = Parts::of(types, SectionKind::Full, row)?;
    match change {
        RowChange::Value(value) => visit(Item { key, namespace, place: Place::Single, value }),
        RowChange::Elements(mut elements) => {
            let mut index = elements.first();
            while let Some(value) = elements.next_element()? {
                visit(Item { key, namespace, place: Place::Element(index), value })?;
                index = index.saturating_add(1);
            }
            Ok(())
        }
        RowChange::Entries(entries) => {
            let mut rest = entries.bytes();
            while !rest.is_empty() {
                let (entry, value) = map_entry(types, &mut rest)?;
                visit(Item { key, namespace, place: Place::Entry(entry), value })?;
            }
            Ok(())
        }
        RowChange::AddTimer(at) => visit(Item { key, namespace, place: Place::Timer(at), value: &[] }),
        RowChange::RemoveEntries(_) | RowChange::Remove | RowChange::RemoveTimer(_) => {
            Err(corrupt("a row of a full section removes"))
        }
    }
}

/// Checks that all of a row decodes, and that its key belongs to `group` if the mapping is known. Returns the number of
/// values, elements, entries or timers that it puts or removes.
pub fn check_row(types: &Types, section: SectionKind, row: &[u8], group: u16) -> Result<u64> {
    let Parts { key, change, .. } = Parts::of(types, section, row)?;
    types.check_group(key, group)?;
    let mut items = 0;
    match change {
        RowChange::Value(value) => {
            types.value.check(value)?;
            items = 1;
        }
        RowChange::Elements(mut elements) => {
            while let Some(element) = elements.next_element()? {
                types.value.check(element)?;
                items += 1;
            }
        }
        RowChange::Entries(entries) => {
            let mut rest = entries.bytes();
            while !rest.is_empty() {
                types.value.check(map_entry(types, &mut rest)?.1)?;
                items += 1;
            }
        }
        RowChange::RemoveEntries(keys) => {
            let mut rest = keys.bytes();
            while !rest.is_empty() {
                map_key(types, &mut rest)?;
                items += 1;
            }
        }
        RowChange::Remove | RowChange::AddTimer(_) | RowChange::RemoveTimer(_) => items = 1,
    }
    Ok(items)
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
