//! Rows for people.

use backend_api::{Datum, KeySchema, Result, StateShape};
use serde::{Serialize, Serializer};

use crate::rows::{Item, Place};
use crate::types::{OperatorTypes, Types, read_key};

/// A column of a table of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What its cells are.
    pub cells: Cells,
}

/// What the cells of a column are, if all are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// Whole numbers of at most 64 bits.
    Signed,
    /// Whole numbers of at most 64 bits.
    Unsigned,
    /// Numbers.
    Float,
    /// True or false.
    Flag,
    /// Texts, or JSON of something else.
    Text,
}

impl Cells {
    /// The cells for values of a type.
    fn of(shape: &str) -> Self {
        match shape {
            "u8" | "u16" | "u32" | "u64" => Self::Unsigned,
            "i8" | "i16" | "i32" | "i64" => Self::Signed,
            "f32" | "f64" => Self::Float,
            "bool" => Self::Flag,
            _ => Self::Text,
        }
    }
}

/// A row with decoded parts, in the order of its columns.
#[derive(Debug)]
pub struct Printed {
    /// Cells with the names of their columns.
    pub cells: Vec<(&'static str, Datum)>,
}

impl Printed {
    /// An item of keyed state.
    ///
    /// # Errors
    /// [`Corrupt`](backend_api::ErrorKind::Corrupt) if it does not decode.
    pub fn of(types: &Types, group: u16, item: &Item<'_>) -> Result<Self> {
        let mut cells = vec![("key_group", number(group)), ("key", read_key(&types.key, item.key)?)];
        if types.has_namespaces() {
            cells.push(("namespace", read_key(&types.namespace, item.namespace)?));
        }
        match (item.place, &types.map_key) {
            (Place::Element(index), _) => cells.push(("index", number(index))),
            (Place::Entry(key), Some(schema)) => cells.push(("map_key", read_key(schema, key)?)),
            (Place::Timer(time), _) => {
                cells.push(("time", number(time)));
                return Ok(Self { cells });
            }
            _ => {}
        }
        cells.push(("value", types.value.read(item.value)?));
        Ok(Self { cells })
    }

    /// The columns of [`of`](Self::of).
    pub fn columns(types: &Types) -> Vec<Column> {
        let of = |name, schema: &KeySchema| Column { name, cells: Cells::of(&schema.to_string()) };
        let mut columns = vec![Column { name: "key_group", cells: Cells::Unsigned }, of("key", &types.key)];
        columns.extend(types.has_namespaces().then(|| of("namespace", &types.namespace)));
        match (types.shape, &types.map_key) {
            (StateShape::List, _) => columns.push(Column { name: "index", cells: Cells::Unsigned }),
            (StateShape::Map, Some(schema)) => columns.push(of("map_key", schema)),
            (StateShape::Timer, _) => {
                columns.push(Column { name: "time", cells: Cells::Signed });
                return columns;
            }
            _ => {}
        }
        columns.push(Column { name: "value", cells: Cells::of(&types.value_type) });
        columns
    }

    /// A row of operator state.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_operator(types: &OperatorTypes, subtask: u16, index: u64, row: &[u8]) -> Result<Self> {
        let (key, value) = types.split(row)?;
        let place = match (&types.key, key) {
            (Some(schema), Some(key)) => ("map_key", read_key(schema, key)?),
            _ => ("index", number(index)),
        };
        Ok(Self { cells: vec![("subtask", number(subtask)), place, ("value", types.value.read(value)?)] })
    }

    /// The columns of [`of_operator`](Self::of_operator).
    pub fn operator_columns(types: &OperatorTypes) -> Vec<Column> {
        let place = match &types.key {
            Some(schema) => Column { name: "map_key", cells: Cells::of(&schema.to_string()) },
            None => Column { name: "index", cells: Cells::Unsigned },
        };
        let value = Column { name: "value", cells: Cells::of(&types.value_type) };
        vec![Column { name: "subtask", cells: Cells::Unsigned }, place, value]
    }

    /// The key of an entry of a map.
    pub fn map_key(&self) -> Option<&Datum> {
        self.cells.iter().find(|(name, _)| *name == "map_key").map(|(_, key)| key)
    }
}

/// An object.
impl Serialize for Printed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.cells.iter().map(|(name, cell)| (name, cell)))
    }
}

fn number(number: impl Into<i128>) -> Datum {
    Datum::Integer(number.into())
}
