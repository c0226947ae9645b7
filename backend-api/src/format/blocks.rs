//! Reading the blocks of a section.

use std::borrow::Cow;

use super::block::{BlockHeader, Place};
use super::meta::FileMeta;
use super::section::Section;
use crate::storage::StorageFile;
use crate::{Error, ErrorKind, Result};

/// The blocks of a section, verified one by one. After an error it does not advance.
#[derive(Clone)]
pub(super) struct Blocks<'a> {
    file: &'a dyn StorageFile,
    meta: &'a FileMeta,
    section: Section,
    block: u32,
    offset: u64,
    rows: u64,
    raw_bytes: u64,
}

impl<'a> Blocks<'a> {
    /// The blocks of a section of `file`.
    pub fn new(file: &'a dyn StorageFile, meta: &'a FileMeta, section: Section) -> Self {
        Self { file, meta, section, block: 0, offset: section.offset, rows: 0, raw_bytes: 0 }
    }

    /// The next block with its stored payload.
    pub fn next(&mut self) -> Result<Option<(BlockHeader, Cow<'a, [u8]>)>> {
        let section = &self.section;
        let end = section.offset.saturating_add(section.stored_bytes);
        if self.block == section.blocks {
            let whole =
                self.offset == end && self.rows == section.rows && self.raw_bytes == section.raw_bytes;
            return if whole { Ok(None) } else { Err(self.corrupt("the section is not as the index says")) };
        }
        const HEADER: u64 = BlockHeader::ENCODED as u64;
        let left = end - self.offset;
        if left < HEADER {
            return Err(self.corrupt("the section is cut off"));
        }
        let file = self.file;
        let header = read(file, self.offset, HEADER).map_err(|error| self.placed(error))?;
        let stored_len = BlockHeader::stored_len(&header).map_or(0, u64::from);
        if stored_len > left - HEADER {
            return Err(self.corrupt("the block is longer than its section"));
        }
        let stored = read(file, self.offset + HEADER, stored_len).map_err(|error| self.placed(error))?;
        let place = Place { state: section.state, group: section.group, block: self.block };
        let header = BlockHeader::decode(&header, place, &stored).map_err(|message| self.corrupt(message))?;
        self.block += 1;
        self.offset += HEADER + stored_len;
        self.rows += u64::from(header.rows);
        self.raw_bytes += header.row_bytes();
        Ok(Some((header, stored)))
    }

    /// A fault at the current block.
    pub fn corrupt(&self, message: &str) -> Error {
        self.placed(Error::new(ErrorKind::Corrupt, message))
    }

    /// Where the next block begins in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds the position of the next block to an error.
    pub fn placed(&self, error: Error) -> Error {
        self.placed_at(error, self.offset)
    }

    /// Adds the position of the block at `offset` to an error.
    pub fn placed_at(&self, error: Error, offset: u64) -> Error {
        let error = error.in_group(self.section.group).in_file(self.file.path(), Some(offset));
        match self.meta.states.get(usize::from(self.section.state)) {
            Some(state) => error.in_state(&state.name),
            None => error,
        }
    }
}

/// Reads bytes of a file, at a place that may be wrong.
pub(super) fn read(file: &dyn StorageFile, offset: u64, len: u64) -> Result<Cow<'_, [u8]>> {
    let fits = offset.checked_add(len).is_some_and(|end| end <= file.len());
    match usize::try_from(len) {
        Ok(len) if fits => file.read(offset, len).map_err(|error| error.in_file(file.path(), Some(offset))),
        _ => Err(corrupt(file, offset, "the file is cut off")),
    }
}

/// A fault at an offset of a file.
pub(super) fn corrupt(file: &dyn StorageFile, offset: u64, message: &str) -> Error {
    Error::new(ErrorKind::Corrupt, message).in_file(file.path(), Some(offset))
}
