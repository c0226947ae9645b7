//! The block that is being filled.

use super::block::{BLOCK_BYTES, BLOCK_ROWS, BlockHeader, Layout, MAX_ROW_BYTES, Place};
use super::compression::{BlockCodec, Compressor};
use super::planes;
use crate::{Error, ErrorKind, Result};

/// Collects rows after space for the header, so that a block is written in one piece.
#[derive(Default)]
pub(super) struct BlockBuilder {
    /// Space for the header, then the rows. Bytes from `end` on are not rows.
    buffer: Vec<u8>,
    end: usize,
    rows: u32,
    /// Width of the first row, or of an earlier block's rows before there is one.
    width: u32,
    /// Lengths of all rows, once two of them differ.
    lengths: Vec<u32>,
    /// The row that did not fit.
    carried: Vec<u8>,
    planes: Vec<u8>,
    compressed: Vec<u8>,
}

impl BlockBuilder {
    #[inline]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The last row, of `len` bytes.
    pub fn last(&self, len: usize) -> &[u8] {
        self.buffer.get(self.end - len..self.end).unwrap_or_default()
    }

    /// Bytes of the rows.
    pub fn row_bytes(&self) -> usize {
        self.end.saturating_sub(BlockHeader::ENCODED)
    }

    /// True if the block must be sealed before it takes another row.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.rows == BLOCK_ROWS || self.end >= BlockHeader::ENCODED + BLOCK_BYTES
    }

    /// True if an encoder has removed bytes of earlier rows, which makes the block useless.
    pub fn is_damaged(&self) -> bool {
        self.buffer.len() < self.end
    }

    /// Lets a row be appended, and returns its length. `None` if the encoder has removed bytes of earlier
    /// rows. After an error the block is unchanged.
    #[inline]
    pub fn encode(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Option<usize>> {
        if (self.buffer.len() != self.end || self.end == 0) && !self.take_back() {
            return Ok(None);
        }
        let result = encode(&mut self.buffer);
        let Some(len) = self.buffer.len().checked_sub(self.end) else { return Ok(None) };
        result?;
        if len > MAX_ROW_BYTES { Err(too_long(len)) } else { Ok(Some(len)) }
    }

    /// Removes leftovers of an encoder that failed or panicked, unless bytes of earlier rows are missing.
    /// Makes space for the header.
    #[cold]
    fn take_back(&mut self) -> bool {
        let is_whole = !self.is_damaged();
        if is_whole {
            self.end = self.end.max(BlockHeader::ENCODED);
            self.buffer.resize(self.end, 0);
        }
        is_whole
    }

    /// True if the encoded row of `len` bytes belongs to the block.
    #[inline]
    pub fn fits(&self, len: usize) -> bool {
        self.rows == 0 || self.end + len <= BlockHeader::ENCODED + BLOCK_BYTES
    }

    /// Adds the encoded row of `len` bytes to the block.
    #[inline]
    pub fn commit(&mut self, len: usize) {
        let row = len as u32;
        if row != self.width || !self.lengths.is_empty() {
            self.note_length(row);
        }
        self.end += len;
        self.rows += 1;
    }

    /// Records the length of the first row, and of all rows once they differ.
    fn note_length(&mut self, row: u32) {
        if self.rows == 0 {
            self.width = row;
            return;
        }
        self.lengths.resize(self.rows as usize, self.width);
        self.lengths.push(row);
    }

    /// Keeps the encoded row for the next block.
    pub fn carry(&mut self) {
        self.carried.extend_from_slice(&self.buffer[self.end..]);
        self.buffer.truncate(self.end);
    }

    /// Adds the row that was kept to the new block.
    pub fn take_carried(&mut self) -> Result<usize> {
        let mut carried = std::mem::take(&mut self.carried);
        let len = self.encode(|buffer| {
            buffer.append(&mut carried);
            Ok(())
        })?;
        self.carried = carried;
        Ok(len.unwrap_or(0))
    }

    /// The finished block with its header. The builder must be [reset](Self::reset) afterwards.
    pub fn seal(&mut self, place: Place, compressor: &mut Compressor) -> Result<&[u8]> {
        const HEADER: usize = BlockHeader::ENCODED;
        self.buffer.truncate(self.end);
        let mut layout = Layout::Fixed;
        if !self.lengths.is_empty() {
            layout = Layout::of_lengths(self.lengths.iter().copied().max().unwrap_or(0));
            let column = layout.length_bytes();
            for length in &self.lengths {
                self.buffer.extend_from_slice(&length.to_le_bytes()[..column]);
            }
        }
        let raw_len = self.buffer.len() - HEADER;
        let width = if layout == Layout::Fixed { self.width } else { 0 };
        let mut header = BlockHeader {
            rows: self.rows,
            raw_len: raw_len as u32,
            stored_len: raw_len as u32,
            width,
            codec: BlockCodec::None,
            layout,
        };
        let mut raw = &self.buffer[HEADER..];
        let mut compressed_layout = layout;
        let in_planes = 2..=planes::MAX_WIDTH;
        if !compressor.is_none() && self.rows > 1 && in_planes.contains(&(width as usize)) {
            planes::split(raw, width as usize, &mut self.planes);
            raw = &self.planes;
            compressed_layout = Layout::Planes;
        }
        let (block, len) = match compressor.compress(raw, &mut self.compressed, HEADER)? {
            Some((codec, len)) => {
                header = BlockHeader { codec, layout: compressed_layout, stored_len: len as u32, ..header };
                (&mut self.compressed, len)
            }
            None => (&mut self.buffer, raw_len),
        };
        let encoded = header.encode(place, &block[HEADER..HEADER + len]);
        block[..HEADER].copy_from_slice(&encoded);
        Ok(&block[..HEADER + len])
    }

    /// Empties the block. Frees the memory of an unusually large row.
    pub fn reset(&mut self) {
        self.buffer.truncate(BlockHeader::ENCODED);
        for buffer in [&mut self.buffer, &mut self.planes, &mut self.compressed] {
            if buffer.capacity() > 8 * BLOCK_BYTES {
                *buffer = Vec::new();
            }
        }
        if self.carried.is_empty() && self.carried.capacity() > 8 * BLOCK_BYTES {
            self.carried = Vec::new();
        }
        self.end = 0;
        self.rows = 0;
        self.lengths.clear();
    }
}

#[cold]
fn too_long(len: usize) -> Error {
    Error::new(ErrorKind::Size, format!("row of {len} bytes exceeds the limit of {MAX_ROW_BYTES} bytes"))
}
