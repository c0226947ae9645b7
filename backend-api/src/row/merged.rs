//! The content of a key group, put together from several sections.

use std::collections::BTreeMap;

use super::{ItemRows, RowChange, RowOp, RowParts, decode_sized};
use crate::format::SectionKind;
use crate::{Error, ErrorKind, Result};

/// The entries of a key group in memory, in the order of key and namespace. Values stay bytes.
#[derive(Debug, Default)]
pub struct MergedRows(BTreeMap<Box<[u8]>, Content>);

/// The content of a key and namespace.
#[derive(Debug)]
enum Content {
    Single(Box<[u8]>),
    List(Vec<Box<[u8]>>),
    Map(BTreeMap<Box<[u8]>, Box<[u8]>>),
}

impl MergedRows {
    /// Applies a row of a section of that kind to the rows before it.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is no such row.
    pub fn apply(&mut self, parts: &RowParts, section: SectionKind, row: &[u8]) -> Result<()> {
        let (mut prefix, change) = parts.split(section, row)?;
        RowOp::decode_in(section, &mut prefix)?;
        match change {
            RowChange::Remove | RowChange::RemoveTimer(_) => _ = self.0.remove(prefix),
            RowChange::AddTimer(_) => _ = self.0.insert(prefix.into(), Content::Single(Box::default())),
            RowChange::Value(value) => _ = self.0.insert(prefix.into(), Content::Single(value.into())),
            RowChange::Elements(mut new) => {
                let list = || Content::List(Vec::new());
                let Content::List(elements) = self.0.entry(prefix.into()).or_insert_with(list) else {
                    return Err(other_kind());
                };
                let first = usize::try_from(new.first()).ok().filter(|first| *first <= elements.len());
                elements.truncate(first.ok_or_else(beyond)?);
                while let Some(element) = new.next_element()? {
                    elements.push(element.into());
                }
            }
            RowChange::Entries(new) => {
                let map = || Content::Map(BTreeMap::new());
                let Content::Map(entries) = self.0.entry(prefix.into()).or_insert_with(map) else {
                    return Err(other_kind());
                };
                let mut rest = new.bytes();
                while !rest.is_empty() {
                    let key = parts.take_map_key(&mut rest)?;
                    entries.insert(key.into(), decode_sized(&mut rest)?.into());
                }
            }
            RowChange::RemoveEntries(keys) => {
                let mut entries = match self.0.get_mut(prefix) {
                    Some(Content::Map(entries)) => Some(entries),
                    Some(_) => return Err(other_kind()),
                    None => None,
                };
                let mut rest = keys.bytes();
                while !rest.is_empty() {
                    let key = parts.take_map_key(&mut rest)?;
                    entries.as_mut().and_then(|entries| entries.remove(key));
                }
            }
        }
        Ok(())
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let is_empty = |content: &Content| match content {
            Content::Single(_) => false,
            Content::List(elements) => elements.is_empty(),
            Content::Map(entries) => entries.is_empty(),
        };
        self.0.values().all(is_empty)
    }

    /// Adds all items to `rows`, in order.
    ///
    /// # Errors
    /// Errors of [`ItemRows::add`].
    pub fn write(&self, rows: &mut ItemRows<'_, '_>) -> Result<()> {
        for (prefix, content) in &self.0 {
            match content {
                Content::Single(value) => rows.add(prefix, &[], value)?,
                Content::List(elements) => {
                    elements.iter().try_for_each(|element| rows.add(prefix, &[], element))?;
                }
                Content::Map(entries) => {
                    entries.iter().try_for_each(|(key, value)| rows.add(prefix, key, value))?;
                }
            }
        }
        Ok(())
    }
}

#[cold]
fn other_kind() -> Error {
    Error::new(ErrorKind::Corrupt, "a state has rows of several kinds")
}

#[cold]
fn beyond() -> Error {
    Error::new(ErrorKind::Corrupt, "a row of a list begins beyond the list's end")
}
