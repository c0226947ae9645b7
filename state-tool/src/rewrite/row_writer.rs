//! Items as rows of a full section.

use backend_api::format::CheckpointWriter;
use backend_api::row::{encode_varint, is_full};
use backend_api::{Result, StateKey, StateShape};

use super::put_sized;
use crate::rows::{Item, Place};

/// Writes sorted items as rows. Elements and entries of one key and namespace share rows.
pub struct RowWriter<'w, 'c> {
    writer: &'w mut CheckpointWriter<'c>,
    shape: StateShape,
    /// Key and namespace of the row that is being made.
    key: Vec<u8>,
    namespace: Vec<u8>,
    row: Vec<u8>,
    /// Items in the row, and its bytes before the first of them.
    items: usize,
    head: usize,
    written: u64,
}

impl<'w, 'c> RowWriter<'w, 'c> {
    /// Writes to the current section of `writer`.
    pub fn new(shape: StateShape, writer: &'w mut CheckpointWriter<'c>) -> Self {
        let (key, namespace, row) = (Vec::new(), Vec::new(), Vec::new());
        Self { writer, shape, key, namespace, row, items: 0, head: 0, written: 0 }
    }

    /// Adds an item.
    pub fn add(&mut self, item: &Item<'_>) -> Result<()> {
        let is_same = self.key == item.key && self.namespace == item.namespace;
        let is_single = matches!(self.shape, StateShape::Single | StateShape::Timer);
        if self.items > 0 && (is_single || !is_same || is_full(self.items, self.row.len() - self.head)) {
            self.end_row()?;
        }
        if self.items == 0 {
            self.key = item.key.to_vec();
            self.namespace = item.namespace.to_vec();
            if let Place::Timer(time) = item.place {
                time.encode(&mut self.row);
            }
            self.row.extend_from_slice(item.key);
            self.row.extend_from_slice(item.namespace);
            if let Place::Element(index) = item.place {
                encode_varint(index, &mut self.row);
            }
            self.head = self.row.len();
        }
        match item.place {
            Place::Single => self.row.extend_from_slice(item.value),
            Place::Timer(_) => {}
            Place::Element(_) => put_sized(item.value, &mut self.row)?,
            Place::Entry(key) => {
                self.row.extend_from_slice(key);
                put_sized(item.value, &mut self.row)?;
            }
        }
        self.items += 1;
        self.written += 1;
        Ok(())
    }

    /// Writes the last row. Returns the number of items.
    pub fn finish(mut self) -> Result<u64> {
        if self.items > 0 {
            self.end_row()?;
        }
        Ok(self.written)
    }

    fn end_row(&mut self) -> Result<()> {
        let row = &self.row;
        self.writer.row(|out| {
            out.extend_from_slice(row);
            Ok(())
        })?;
        self.row.clear();
        self.items = 0;
        Ok(())
    }
}
