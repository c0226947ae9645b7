//! A key group in memory, put together from the sections of several files.

use std::collections::BTreeMap;

use backend_api::format::SectionKind;
use backend_api::row::{RowOp, decode_varint};
use backend_api::{Error, ErrorKind, Result, StateShape};

use super::decode::{Elements, Parts, map_entry, map_key};
use super::{Item, Place, Visit};
use crate::types::Types;

/// The entries of a key group, in the order of key and namespace.
#[derive(Debug, Default)]
pub struct Group(BTreeMap<KeyAndNamespace, Content>);

/// Encoded.
type KeyAndNamespace = (Box<[u8]>, Box<[u8]>);

/// What is under a key and namespace.
#[derive(Debug)]
enum Content {
    Single(Box<[u8]>),
    /// An element is missing once it was taken out.
    List(Vec<Option<Box<[u8]>>>),
    Map(BTreeMap<Box<[u8]>, Box<[u8]>>),
}

impl Group {
    /// Applies a row of a section of that kind to what the rows before it left.
    pub fn apply(&mut self, types: &Types, section: SectionKind, row: &[u8]) -> Result<()> {
        let Parts { op, key, namespace, mut rest } = Parts::of(types, section, row)?;
        let at = (key.into(), namespace.into());
        if op == RowOp::Remove {
            self.0.remove(&at);
            return Ok(());
        }
        let new = || match types.shape {
            StateShape::Single => Content::Single(Box::default()),
            StateShape::List => Content::List(Vec::new()),
            StateShape::Map => Content::Map(BTreeMap::new()),
        };
        let content = self.0.entry(at).or_insert_with(new);
        match content {
            Content::Single(value) => *value = rest.into(),
            Content::List(elements) => {
                let first = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
                if first > elements.len() {
                    let message = "a row of a list continues behind the end of the list";
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
                elements.truncate(first);
                for element in Elements(rest) {
                    elements.push(Some(element?.into()));
                }
            }
            Content::Map(entries) => {
                while !rest.is_empty() {
                    if op == RowOp::RemoveEntries {
                        entries.remove(map_key(types, &mut rest)?);
                    } else {
                        let (key, value) = map_entry(types, &mut rest)?;
                        entries.insert(key.into(), value.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds an item. The elements of a list come in their order.
    pub fn add(&mut self, item: Item<'_>) {
        let at = (item.key.into(), item.namespace.into());
        match item.place {
            Place::Single => _ = self.0.insert(at, Content::Single(item.value.into())),
            Place::Element(_) => match self.0.entry(at).or_insert(Content::List(Vec::new())) {
                Content::List(elements) => elements.push(Some(item.value.into())),
                Content::Single(_) | Content::Map(_) => {}
            },
            Place::Entry(key) => match self.0.entry(at).or_insert(Content::Map(BTreeMap::new())) {
                Content::Map(entries) => _ = entries.insert(key.into(), item.value.into()),
                Content::Single(_) | Content::List(_) => {}
            },
        }
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `visit` with each item, in order.
    pub fn for_each(&self, visit: &mut Visit<'_>) -> Result<()> {
        for ((key, namespace), content) in &self.0 {
            let item = |place, value| Item { key, namespace, place, value };
            match content {
                Content::Single(value) => visit(item(Place::Single, value))?,
                Content::List(elements) => {
                    for (index, value) in (0..).zip(elements) {
                        let Some(value) = value else { continue };
                        visit(item(Place::Element(index), value))?;
                    }
                }
                Content::Map(entries) => {
                    for (key, value) in entries {
                        visit(item(Place::Entry(key), value))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the value at the place of `item` out.
    pub fn take(&mut self, item: &Item<'_>) -> Option<Box<[u8]>> {
        let at = (item.key.into(), item.namespace.into());
        match (self.0.get_mut(&at)?, item.place) {
            (Content::Single(_), Place::Single) => match self.0.remove(&at)? {
                Content::Single(value) => Some(value),
                Content::List(_) | Content::Map(_) => None,
            },
            (Content::List(elements), Place::Element(index)) => {
                elements.get_mut(usize::try_from(index).ok()?)?.take()
            }
            (Content::Map(entries), Place::Entry(key)) => entries.remove(key),
            _ => None,
        }
    }
}
