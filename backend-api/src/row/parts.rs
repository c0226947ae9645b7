//! The parts of rows, found with and without their types.

use std::fmt;

use super::{RowChange, RowHead};
use crate::format::{SectionKind, StateMeta};
use crate::{Error, ErrorKind, KeySchema, Result, StateKey, StateKind, StateShape};

/// Takes the rows of a state apart. Values stay bytes.
#[derive(Clone)]
pub struct RowParts {
    shape: StateShape,
    key: PartLen,
    namespace: PartLen,
    /// `None` unless the state is a map.
    map_key: Option<PartLen>,
}

/// Finds the end of a part at the start of some bytes.
#[derive(Clone)]
enum PartLen {
    Typed(fn(&[u8]) -> Result<usize>),
    Parsed(KeySchema),
}

impl PartLen {
    fn of<P: StateKey>() -> Self {
        Self::Typed(|bytes| {
            let mut rest = bytes;
            P::decode(&mut rest)?;
            Ok(bytes.len() - rest.len())
        })
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Typed(len) => len(bytes),
            Self::Parsed(schema) => schema.prefix_len(bytes),
        }
    }
}

impl RowParts {
    /// For a state of `kind` with keys `K`, namespaces `N` and map keys `MK`.
    pub fn typed<K: StateKey, N: StateKey, MK: StateKey>(kind: StateKind) -> Self {
        let shape = kind.shape();
        let map_key = (shape == StateShape::Map).then(PartLen::of::<MK>);
        Self { shape, key: PartLen::of::<K>(), namespace: PartLen::of::<N>(), map_key }
    }

    /// For a state that `meta` describes, with keys of a schema.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if a schema does not tell what a key consists of.
    /// [`Corrupt`](ErrorKind::Corrupt) for a map without a schema of its keys.
    pub fn parse(key_schema: &str, meta: &StateMeta) -> Result<Self> {
        let parse = |text: &str| KeySchema::parse(text).map(PartLen::Parsed);
        let shape = meta.kind.shape();
        let parts = || {
            let map_key = match (shape, meta.codecs.first()) {
                (StateShape::Map, Some(schema)) => Some(parse(schema)?),
                (StateShape::Map, None) => {
                    return Err(Error::new(ErrorKind::Corrupt, "a map has no schema of its keys"));
                }
                _ => None,
            };
            Ok(Self { shape, key: parse(key_schema)?, namespace: parse(&meta.namespace_schema)?, map_key })
        };
        parts().map_err(|error| error.in_state(&meta.name))
    }

    /// The contents of the rows.
    pub fn shape(&self) -> StateShape {
        self.shape
    }

    /// Splits a row of a section of that kind into what ends with its namespace, and its change.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is no such row.
    #[inline]
    pub fn split<'r>(&self, section: SectionKind, row: &'r [u8]) -> Result<(&'r [u8], RowChange<'r>)> {
        let mut rest = row;
        let start = RowHead::decode(self.shape, section, &mut rest)?;
        let key = self.key.find(rest)?;
        let namespace = self.namespace.find(rest.get(key..).unwrap_or_default())?;
        let end = row.len() - rest.len() + key + namespace;
        let (head, rest) = row.split_at_checked(end).ok_or_else(super::decode::short)?;
        Ok((head, RowChange::decode(start, rest)?))
    }

    /// Takes the key of a map's entry off the front of `row`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if there is none.
    pub fn take_map_key<'r>(&self, row: &mut &'r [u8]) -> Result<&'r [u8]> {
        let Some(map_key) = &self.map_key else {
            return Err(Error::new(ErrorKind::Corrupt, "a row has entries, and the state is no map"));
        };
        let (key, rest) = row.split_at_checked(map_key.find(row)?).ok_or_else(super::decode::short)?;
        *row = rest;
        Ok(key)
    }
}

impl fmt::Debug for RowParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowParts").field("shape", &self.shape).finish_non_exhaustive()
    }
}
