//! Writing a checkpoint file.

use std::fmt;

use super::block::{BlockHeader, Place};
use super::builder::BlockBuilder;
use super::compression::{Compression, Compressor};
use super::meta::FileMeta;
use super::section::{Section, SectionKind};
use super::sink::ByteSink;
use super::trailer::{HEADER_MAGIC, HEADER_PREFIX, Trailer, VERSION};
use crate::row::ReadBack;
use crate::{Error, ErrorKind, Result};

/// Writes a checkpoint file, section by section and row by row.
///
/// Sections are in ascending order of (state, key group). Changes may follow a section of the same state and
/// group, to which they apply. A key group without entries needs no section, unless a
/// [`Full`](SectionKind::Full) one must replace an older chain. Rows are read in the order in which they were
/// written.
///
/// An error of the sink is final: all later calls fail, including [`finish`](Self::finish). So is an encoder
/// that removes bytes of earlier rows.
pub struct CheckpointWriter<'a> {
    sink: &'a mut dyn ByteSink,
    meta: &'a FileMeta,
    compressor: Compressor,
    block: BlockBuilder,
    /// All sections; the last one is being written.
    sections: Vec<Section>,
    /// Checks that rows of a state can be read back.
    read_back: Option<(u16, ReadBack)>,
    written: u64,
    failed: bool,
}

impl<'a> CheckpointWriter<'a> {
    /// Starts a file.
    ///
    /// # Errors
    /// Errors of [`FileMeta::check`]. [`ErrorKind::InvalidArgument`] for an invalid compression level. Those
    /// of the sink.
    pub fn new(sink: &'a mut dyn ByteSink, meta: &'a FileMeta, compression: Compression) -> Result<Self> {
        meta.check()?;
        let encoded = postcard::to_allocvec(meta).map_err(not_encodable)?;
        let len = u32::try_from(encoded.len()).map_err(not_encodable)?;
        let mut header = Vec::with_capacity(HEADER_PREFIX + encoded.len() + 4);
        header.extend_from_slice(&HEADER_MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&len.to_le_bytes());
        header.extend_from_slice(&encoded);
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        let mut writer = Self {
            sink,
            meta,
            compressor: Compressor::new(compression)?,
            block: BlockBuilder::default(),
            sections: Vec::new(),
            read_back: None,
            written: 0,
            failed: false,
        };
        writer.write(&header)?;
        Ok(writer)
    }

    /// Starts the section of this state (its index in the metadata) and key group, and ends the previous one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a state or key group that the metadata lacks.
    /// [`ErrorKind::IllegalState`] if sections are not in order. Errors of the sink.
    pub fn begin_section(&mut self, state: u16, group: u16, kind: SectionKind) -> Result<()> {
        self.end_section()?;
        let place = |error: Error| error.in_group(group);
        if usize::from(state) >= self.meta.states.len() || !self.meta.key_groups.contains(&group) {
            let message = format!("the file has no section for state {state} and key group {group}");
            return Err(place(Error::new(ErrorKind::InvalidArgument, message)));
        }
        let late = self.sections.last().is_some_and(|last| !last.may_precede(state, group, kind));
        if late {
            let message = format!("the section of state {state} and key group {group} comes too late");
            return Err(place(Error::new(ErrorKind::IllegalState, message)));
        }
        self.sections.push(Section {
            state,
            group,
            kind,
            rows: 0,
            raw_bytes: 0,
            stored_bytes: 0,
            offset: self.written,
            blocks: 0,
        });
        Ok(())
    }

    /// Checks a sample of a state's rows as they are written: the first of each block, or all in debug
    /// builds.
    pub fn read_back(&mut self, state: u16, rows: ReadBack) {
        self.read_back = Some((state, rows));
    }

    /// Adds a row to the section: the bytes that `encode` appends to its buffer.
    ///
    /// # Errors
    /// The error of `encode`: the row is removed, and more rows may follow. [`ErrorKind::Codec`] if the row
    /// cannot be [read back](Self::read_back). [`ErrorKind::Size`] for a row of more than
    /// [`MAX_ROW_BYTES`](super::MAX_ROW_BYTES). [`ErrorKind::IllegalState`] without a section. Errors of the
    /// sink.
    #[inline]
    pub fn row(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        if self.failed || self.sections.is_empty() {
            return Err(self.refuse());
        }
        let Some(mut len) = self.block.encode(encode)? else { return Err(self.refuse()) };
        if !self.block.fits(len) {
            self.block.carry();
            self.end_block()?;
            len = self.block.take_carried()?;
        }
        self.block.commit(len);
        if self.block.rows() == 1 || cfg!(debug_assertions) {
            self.check_last(len)?;
        }
        if self.block.is_full() { self.end_block() } else { Ok(()) }
    }

    /// Reads back the last row, of `len` bytes.
    #[cold]
    fn check_last(&self, len: usize) -> Result<()> {
        let (Some((state, rows)), Some(section)) = (&self.read_back, self.sections.last()) else {
            return Ok(());
        };
        if *state != section.state {
            return Ok(());
        }
        rows.check(section.kind, self.block.last(len)).map_err(|error| {
            let name = self.meta.states.get(usize::from(*state)).map_or("", |meta| &meta.name);
            error.in_state(name).in_group(section.group)
        })
    }

    /// Ends the current block, and returns the length of the file so far.
    ///
    /// # Errors
    /// Errors of the sink.
    pub fn flush(&mut self) -> Result<u64> {
        self.check()?;
        self.end_block()?;
        Ok(self.written)
    }

    /// Ends the file, and returns its length. The sink must still be finished.
    ///
    /// # Errors
    /// Errors of the sink.
    pub fn finish(mut self) -> Result<u64> {
        self.end_section()?;
        let mut footer = Vec::with_capacity(self.sections.len() * Section::ENCODED + Trailer::ENCODED);
        for section in &self.sections {
            section.encode(&mut footer);
        }
        let trailer = Trailer {
            footer_offset: self.written,
            footer_len: footer.len() as u64,
            footer_crc: crc32fast::hash(&footer),
            version: VERSION,
        };
        footer.extend_from_slice(&trailer.encode());
        self.write(&footer)?;
        Ok(self.written)
    }

    /// Adds a block of another file to the section unchanged.
    pub(super) fn copy_block(&mut self, header: BlockHeader, stored: &[u8]) -> Result<()> {
        self.check()?;
        let place = self.place()?;
        self.write(&header.encode(place, stored))?;
        self.write(stored)?;
        if let Some(section) = self.sections.last_mut() {
            section.blocks += 1;
            section.rows += u64::from(header.rows);
            section.raw_bytes += header.row_bytes();
        }
        Ok(())
    }

    fn end_section(&mut self) -> Result<()> {
        self.check()?;
        self.end_block()?;
        if let Some(section) = self.sections.last_mut() {
            section.stored_bytes = self.written - section.offset;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block.rows() == 0 {
            return Ok(());
        }
        let place = self.place()?;
        let block = self.block.seal(place, &mut self.compressor).inspect_err(|_| self.failed = true)?;
        self.written += block.len() as u64;
        self.sink.write(block).inspect_err(|_| self.failed = true)?;
        if let Some(section) = self.sections.last_mut() {
            section.blocks += 1;
            section.rows += u64::from(self.block.rows());
            section.raw_bytes += self.block.row_bytes() as u64;
        }
        self.block.reset();
        Ok(())
    }

    /// The position of the section's next block.
    fn place(&self) -> Result<Place> {
        match self.sections.last() {
            Some(section) if section.blocks < u32::MAX => {
                Ok(Place { state: section.state, group: section.group, block: section.blocks })
            }
            Some(_) => Err(Error::new(ErrorKind::Size, "the section has too many blocks")),
            None => Err(no_section()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        self.sink.write(bytes).inspect_err(|_| self.failed = true)
    }

    #[inline]
    fn check(&self) -> Result<()> {
        if self.block.is_damaged() || self.failed { Err(self.refuse()) } else { Ok(()) }
    }

    #[cold]
    fn refuse(&self) -> Error {
        if self.block.is_damaged() {
            Error::new(ErrorKind::IllegalState, "the encoder of a row took bytes of other rows away")
        } else if self.failed {
            Error::new(ErrorKind::Io, "an earlier write failed")
        } else {
            no_section()
        }
    }
}

#[cold]
fn no_section() -> Error {
    Error::new(ErrorKind::IllegalState, "a row before the first section")
}

fn not_encodable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Size, "the file's meta cannot be encoded").with_source(error)
}

impl fmt::Debug for CheckpointWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("CheckpointWriter");
        debug.field("written", &self.written).field("sections", &self.sections.len()).finish_non_exhaustive()
    }
}
