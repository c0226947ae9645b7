//! Reading the rows of a section.

use std::borrow::Cow;
use std::fmt;

use super::block::{BlockHeader, Layout};
use super::compression::{BlockCodec, Decompressor};
use super::planes;
use super::reader::Blocks;
use crate::{Error, ErrorKind, Result};

/// Streams the rows of a section; it holds one block at a time.
pub struct RowReader<'a> {
    blocks: Blocks<'a>,
    decompressor: Decompressor,
    /// The current block as the file lends it, if it is not compressed.
    lent: Option<Cow<'a, [u8]>>,
    /// The current block if it was compressed.
    raw: Vec<u8>,
    planes: Vec<u8>,
    layout: Layout,
    width: usize,
    /// Where the lengths begin.
    column: usize,
    rows: usize,
    row: usize,
    at: usize,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(blocks: Blocks<'a>) -> Self {
        Self {
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

    /// The next row; `None` after the last. After an error it goes on giving that error.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]; [`ErrorKind::Io`].
    #[expect(clippy::should_implement_trait, reason = "the row is lent until the next call")]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        while self.row == self.rows {
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let block = self.lent.as_deref().unwrap_or(&self.raw);
        let len = match self.layout {
            Layout::Fixed | Layout::Planes => Some(self.width),
            layout => length(block, self.column, layout.length_bytes(), self.row),
        };
        let row = len.and_then(|len| block.get(self.at..self.at + len));
        let Some(row) = row else { return Err(self.blocks.corrupt("a row lies outside of its block")) };
        self.row += 1;
        self.at += row.len();
        Ok(Some(row))
    }

    fn next_block(&mut self) -> Result<bool> {
        // Where the error is, should there be one; and the next call is to find it again.
        let before = self.blocks.clone();
        let Some((header, stored)) = self.blocks.next()? else { return Ok(false) };
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
            self.lent = Some(stored);
        } else {
            self.decompressor.decompress(header.codec, &stored, raw_len, &mut self.raw)?;
        }
        let block = self.lent.as_deref().unwrap_or(&self.raw);
        let (start, size) = (column(header), header.layout.length_bytes());
        if size > 0 {
            let lengths =
                (0..header.rows as usize).map(|row| length(block, start, size, row).unwrap_or(usize::MAX));
            if lengths.fold(0, usize::saturating_add) != start {
                return Err(Error::new(ErrorKind::Corrupt, "the lengths of the rows do not add up"));
            }
        }
        Ok(())
    }
}

/// Where the lengths begin in a block: behind the rows.
fn column(header: &BlockHeader) -> usize {
    header.row_bytes() as usize
}

/// The length of a row, from the column of lengths that begins at `start` and has `size` bytes for each.
fn length(block: &[u8], start: usize, size: usize, row: usize) -> Option<usize> {
    let at = start + row * size;
    let field = block.get(at..at + size)?;
    Some(field.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

impl fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowReader").field("row", &self.row).field("rows", &self.rows).finish_non_exhaustive()
    }
}
