//! Reading the rows of a section.

use std::borrow::Cow;
use std::fmt;

use super::block::{BlockHeader, Layout};
use super::blocks::Blocks;
use super::compression::{BlockCodec, Decompressor};
use super::planes;
use crate::{Error, ErrorKind, Result};

/// Streams the rows of a section, with one block in memory at a time.
pub struct RowReader<'a> {
    blocks: Blocks<'a>,
    /// Where the current block begins in the file.
    offset: u64,
    decompressor: Decompressor,
    /// The current block, if it is not compressed and borrowed from the file.
    lent: Option<&'a [u8]>,
    /// The current block otherwise.
    raw: Vec<u8>,
    planes: Vec<u8>,
    layout: Layout,
    width: usize,
    /// Start of the lengths.
    column: usize,
    rows: usize,
    row: usize,
    at: usize,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(blocks: Blocks<'a>) -> Self {
        Self {
            offset: 0,
            blocks,
            decompressor: Decompressor::default(),
            lent: None,
            raw: Vec::new(),
            planes: Vec::new(),
            layout: Layout::Fixed,
            width: 0,
            column: 0,
            rows: 0,
            row: 0,
            at: 0,
        }
    }

    /// The next row. `None` after the last. After an error it returns that error again.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Io`].
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "the row is lent until the next call")]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.row == self.rows && !self.next_block()? {
            return Ok(None);
        }
        let block = self.lent.unwrap_or(&self.raw);
        let len = match self.layout {
            Layout::Fixed | Layout::Planes => Some(self.width),
            layout => length(block, self.column, layout, self.row),
        };
        let row = len.and_then(|len| block.get(self.at..self.at + len));
        let Some(row) = row else { return Err(self.blocks.corrupt("a row lies outside of its block")) };
        self.row += 1;
        self.at += row.len();
        Ok(Some(row))
    }

    /// Calls `f` with the remaining rows, until it fails.
    ///
    /// # Errors
    /// As [`next`](Self::next), and the first of `f` with its [position](Self::placed).
    #[inline(always)]
    pub(crate) fn for_each(mut self, mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.row < self.rows || self.next_block()? {
            let block = self.lent.unwrap_or(&self.raw);
            let (layout, width, column) = (self.layout, self.width, self.column);
            let is_fixed = layout.length_bytes() == 0;
            let mut at = self.at;
            for index in self.row..self.rows {
                let len = if is_fixed { Some(width) } else { length(block, column, layout, index) };
                let row = len.and_then(|len| block.get(at..)?.get(..len));
                let Some(row) = row else {
                    return Err(self.blocks.corrupt("a row lies outside of its block"));
                };
                at += row.len();
                f(row).map_err(|error| self.placed(error))?;
            }
            self.row = self.rows;
        }
        Ok(())
    }

    /// Adds the position of the current row to an error: state, key group, file, and offset of the block.
    #[cold]
    pub fn placed(&self, error: Error) -> Error {
        self.blocks.placed_at(error, self.offset)
    }

    /// Moves to the next block. Every block has a row.
    fn next_block(&mut self) -> Result<bool> {
        // The position for errors, at which the next call finds the error again.
        let before = self.blocks.clone();
        let Some((header, stored)) = self.blocks.next()? else { return Ok(false) };
        self.offset = before.offset();
        if let Err(error) = self.load(&header, stored) {
            self.blocks = before;
            return Err(self.blocks.placed(error));
        }
        (self.layout, self.width, self.column) = (header.layout, header.width as usize, column(&header));
        (self.rows, self.row, self.at) = (header.rows as usize, 0, 0);
        Ok(true)
    }

    /// Makes the block ready to be read row by row.
    fn load(&mut self, header: &BlockHeader, stored: Cow<'a, [u8]>) -> Result<()> {
        let raw_len = header.raw_len as usize;
        self.lent = None;
        if header.layout == Layout::Planes {
            self.decompressor.decompress(header.codec, &stored, raw_len, &mut self.planes)?;
            planes::join(&self.planes, header.width as usize, &mut self.raw);
        } else if header.codec == BlockCodec::None {
            match stored {
                Cow::Borrowed(lent) => self.lent = Some(lent),
                Cow::Owned(owned) => self.raw = owned,
            }
        } else {
            self.decompressor.decompress(header.codec, &stored, raw_len, &mut self.raw)?;
        }
        let block = self.lent.unwrap_or(&self.raw);
        if header.layout.length_bytes() > 0 {
            let rows = 0..header.rows as usize;
            let lengths =
                rows.map(|row| length(block, column(header), header.layout, row).unwrap_or(usize::MAX));
            if lengths.fold(0, usize::saturating_add) != column(header) {
                return Err(Error::new(ErrorKind::Corrupt, "the lengths of the rows do not add up"));
            }
        }
        Ok(())
    }
}

/// Start of the lengths in a block, after the rows.
fn column(header: &BlockHeader) -> usize {
    header.row_bytes() as usize
}

/// The length of a row, from the lengths that start at `column`.
#[inline]
fn length(block: &[u8], column: usize, layout: Layout, row: usize) -> Option<usize> {
    let lengths = block.get(column..)?;
    match layout {
        Layout::Lengths1 => lengths.get(row).map(|length| usize::from(*length)),
        Layout::Lengths2 => Some(u16::from_le_bytes(*lengths.get(2 * row..)?.first_chunk()?).into()),
        _ => usize::try_from(u32::from_le_bytes(*lengths.get(4 * row..)?.first_chunk()?)).ok(),
    }
}

impl fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowReader").field("row", &self.row).field("rows", &self.rows).finish_non_exhaustive()
    }
}
