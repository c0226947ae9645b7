//! A key group in memory, merged from the sections of several files.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::format::SectionKind;
use backend_api::row::RowChange;
use backend_api::{Error, ErrorKind, Result};

use super::decode::{Parts, map_entry, map_key};
use super::{Item, Place, Visit};
use crate::types::Types;

/// The entries of a key group, in the order of key and namespace.
#[derive(Debug, Default)]
pub struct Group(BTreeMap<KeyAndNamespace, Content>);

/// Encoded.
type KeyAndNamespace = (Box<[u8]>, Box<[u8]>);

/// The content of a key and namespace.
#[derive(Debug)]
enum Content {
    Single(Box<[u8]>),
    List(List),
    Map(Map),
    Timers(BTreeSet<i64>),
}

/// Elements. A taken one is `None`.
type List = Vec<Option<Box<[u8]>>>;

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;

#[cold]
fn other_kind() -> Error {
    Error::new(ErrorKind::Corrupt, "a state has rows of several kinds")
}

impl Group {
    /// Applies a row of a section of that kind to the rows before it.
    pub fn apply(&mut self, types: &Types, section: SectionKind, row: &[u8]) -> Result<()> {
        let Parts { key, namespace, change } = Parts::of(types, section, row)?;
        let at = (key.into(), namespace.into());
        match change {
            RowChange::Remove => _ = self.0.remove(&at),
            RowChange::Value(value) => _ = self.0.insert(at, Content::Single(value.into())),
            RowChange::Elements(mut new) => {
                let elements = self.list(at).ok_or_else(other_kind)?;
                let first = usize::try_from(new.first()).unwrap_or(usize::MAX);
                if first > elements.len() {
                    let message = "a row of a list continues behind the end of the list";
                    return Err(Error::new(ErrorKind::Corrupt, message));
                }
                elements.truncate(first);
                while let Some(element) = new.next_element()? {
                    elements.push(Some(element.into()));
                }
            }
            RowChange::Entries(new) => {
                let (entries, mut rest) = (self.map(at).ok_or_else(other_kind)?, new.bytes());
                while !rest.is_empty() {
                    let (key, value) = map_entry(types, &mut rest)?;
                    entries.insert(key.into(), value.into());
                }
            }
            RowChange::AddTimer(time) => _ = self.timers(at).ok_or_else(other_kind)?.insert(time),
            RowChange::RemoveTimer(time) => _ = self.timers(at).ok_or_else(other_kind)?.remove(&time),
            RowChange::RemoveEntries(keys) => {
                let (entries, mut rest) = (self.map(at).ok_or_else(other_kind)?, keys.bytes());
                while !rest.is_empty() {
                    entries.remove(map_key(types, &mut rest)?);
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
            Place::Element(_) => {
                if let Some(elements) = self.list(at) {
                    elements.push(Some(item.value.into()));
                }
            }
            Place::Entry(key) => {
                if let Some(entries) = self.map(at) {
                    entries.insert(key.into(), item.value.into());
                }
            }
            Place::Timer(time) => {
                if let Some(times) = self.timers(at) {
                    times.insert(time);
                }
            }
        }
    }

    /// The times of the timers of a key and namespace; `None` if there is content of another kind.
    fn timers(&mut self, at: KeyAndNamespace) -> Option<&mut BTreeSet<i64>> {
        match self.0.entry(at).or_insert(Content::Timers(BTreeSet::new())) {
            Content::Timers(times) => Some(times),
            Content::Single(_) | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The list under a key and namespace; `None` if there is content of another kind.
    fn list(&mut self, at: KeyAndNamespace) -> Option<&mut List> {
        match self.0.entry(at).or_insert(Content::List(List::new())) {
            Content::List(elements) => Some(elements),
            Content::Single(_) | Content::Map(_) | Content::Timers(_) => None,
        }
    }

    /// The map under a key and namespace; `None` if there is content of another kind.
    fn map(&mut self, at: KeyAndNamespace) -> Option<&mut Map> {
        match self.0.entry(at).or_insert(Content::Map(Map::new())) {
            Content::Map(entries) => Some(entries),
            Content::Single(_) | Content::List(_) | Content::Timers(_) => None,
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
                Content::Timers(times) => {
                    times.iter().try_for_each(|time| visit(item(Place::Timer(*time), &[])))?;
                }
            }
        }
        Ok(())
    }

    /// Removes and returns the value at the place of `item`.
    pub fn take(&mut self, item: &Item<'_>) -> Option<Box<[u8]>> {
        let at = (item.key.into(), item.namespace.into());
        match (self.0.get_mut(&at)?, item.place) {
            (Content::Single(_), Place::Single) => match self.0.remove(&at)? {
                Content::Single(value) => Some(value),
                Content::List(_) | Content::Map(_) | Content::Timers(_) => None,
            },
            (Content::List(elements), Place::Element(index)) => {
                elements.get_mut(usize::try_from(index).ok()?)?.take()
            }
            (Content::Map(entries), Place::Entry(key)) => entries.remove(key),
            (Content::Timers(times), Place::Timer(time)) => times.remove(&time).then(Box::default),
            _ => None,
        }
    }
}
