//! Sorted items as rows of full sections.

use std::fmt;

use super::{encode_sized, encode_varint, is_full};
use crate::format::{CheckpointWriter, SectionKind};
use crate::{Result, StateShape, ValueSchema};

/// Makes rows from values, elements and entries. All items of one list or map are consecutive. How they are cut into rows
/// depends on nothing else than these items.
pub struct ItemRows<'r, 'w> {
    writer: &'r mut CheckpointWriter<'w>,
    shape: StateShape,
    /// Writes values in their canonical form.
    canonical: Option<&'r ValueSchema>,
    /// The row that is being filled. There is none while `items` is 0.
    row: Vec<u8>,
    items: usize,
    /// Length of key and namespace at the beginning of `row`.
    prefix_len: usize,
    /// Bytes of the row before the first item.
    head_len: usize,
    /// Index of the next element in its list.
    index: u64,
    written: u64,
}

impl<'r, 'w> ItemRows<'r, 'w> {
    /// Writes rows of a state of this shape to `writer`. With a schema, values become
    /// [canonical](ValueSchema::encode_canonical).
    pub fn new(
        writer: &'r mut CheckpointWriter<'w>,
        shape: StateShape,
        canonical: Option<&'r ValueSchema>,
    ) -> Self {
        let row = Vec::new();
        Self { writer, shape, canonical, row, items: 0, prefix_len: 0, head_len: 0, index: 0, written: 0 }
    }

    /// Begins the section of a state and key group.
    ///
    /// # Errors
    /// Errors of [`CheckpointWriter`].
    pub fn begin_section(&mut self, state: u16, group: u16) -> Result<()> {
        self.end_row()?;
        self.writer.begin_section(state, group, SectionKind::Full)
    }

    /// The length of key and namespace at the start of `item`, if they are those of the item before it.
    #[inline]
    pub fn known_prefix(&self, item: &[u8]) -> Option<usize> {
        // Encodings are self-delimiting, so equal bytes mean an equal key and namespace.
        (self.items > 0 && self.row.get(..self.prefix_len) == item.get(..self.prefix_len))
            .then_some(self.prefix_len)
    }

    /// Adds an item under a key and namespace, which the time precedes in a timer. `map_key` is empty unless the state is a
    /// map.
    ///
    /// # Errors
    /// Errors of [`CheckpointWriter`]. [`Corrupt`](crate::ErrorKind::Corrupt) if a value is none of its codec.
    pub fn add(&mut self, prefix: &[u8], map_key: &[u8], value: &[u8]) -> Result<()> {
        let canonical = self.canonical;
        let put = |out: &mut Vec<u8>| match canonical {
            Some(schema) => schema.encode_canonical(value, out),
            None => {
                out.extend_from_slice(value);
                Ok(())
            }
        };
        if matches!(self.shape, StateShape::Single | StateShape::Timer) {
            let is_timer = self.shape == StateShape::Timer;
            self.written += 1;
            return self.writer.row(|out| {
                out.extend_from_slice(prefix);
                if is_timer { Ok(()) } else { put(out) }
            });
        }
        let is_same = self.items > 0 && self.row.get(..self.prefix_len) == Some(prefix);
        if !is_same {
            self.end_row()?;
            self.index = 0;
        } else if is_full(self.items, self.row.len() - self.head_len) {
            self.end_row()?;
        }
        if self.items == 0 {
            self.row.extend_from_slice(prefix);
            self.prefix_len = prefix.len();
            if self.shape == StateShape::List {
                encode_varint(self.index, &mut self.row);
            }
            self.head_len = self.row.len();
        }
        self.row.extend_from_slice(map_key);
        encode_sized(&mut self.row, put)?;
        self.items += 1;
        self.index += 1;
        Ok(())
    }

    /// Ends the last row, and returns the number of rows so far.
    ///
    /// # Errors
    /// Errors of [`CheckpointWriter`].
    pub fn finish(&mut self) -> Result<u64> {
        self.end_row()?;
        Ok(self.written)
    }

    fn end_row(&mut self) -> Result<()> {
        if self.items > 0 {
            self.written += 1;
            self.writer.row(|out| {
                out.extend_from_slice(&self.row);
                Ok(())
            })?;
        }
        self.row.clear();
        self.items = 0;
        Ok(())
    }
}

impl fmt::Debug for ItemRows<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemRows").field("shape", &self.shape).finish_non_exhaustive()
    }
}
