//! Reading a checkpoint file.

use std::fmt;

use super::blocks::{Blocks, corrupt, read};
use super::meta::FileMeta;
use super::rows::RowReader;
use super::section::Section;
use super::trailer::{HEADER_MAGIC, HEADER_PREFIX, Trailer, VERSION};
use super::writer::CheckpointWriter;
use crate::storage::StorageFile;
use crate::{Error, ErrorKind, Result};

/// A checkpoint file, open for reading. It is `Sync`, so sections can be read in parallel.
///
/// # Behavior
/// - No row is returned before the checksum of its block matched.
/// - Every fault in the bytes is [`ErrorKind::Corrupt`], with file and offset. Allocations are limited by the
///   length of the file or covered by a checksum.
pub struct CheckpointReader {
    file: Box<dyn StorageFile>,
    meta: FileMeta,
    sections: Vec<Section>,
}

impl CheckpointReader {
    /// Reads and verifies header, index and trailer.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]. [`ErrorKind::Unsupported`] for a file of another version. [`ErrorKind::Io`].
    pub fn open(file: Box<dyn StorageFile>) -> Result<Self> {
        let trailer = read_trailer(&*file)?;
        let corrupt = |offset: u64, message: &str| corrupt(&*file, offset, message);
        let footer = read(&*file, trailer.footer_offset, trailer.footer_len)?;
        if crc32fast::hash(&footer) != trailer.footer_crc {
            return Err(corrupt(trailer.footer_offset, "the checksum of the index does not match"));
        }
        let records = footer.chunks(Section::ENCODED);
        let sections: Option<Vec<Section>> = records.map(Section::decode).collect();
        let sections = sections.ok_or_else(|| corrupt(trailer.footer_offset, "the index cannot be read"))?;
        drop(footer);

        let data = sections.first().map_or(trailer.footer_offset, |section| section.offset);
        let meta = read_header(&*file, data, &trailer)?;
        let mut end = data;
        let mut last: Option<&Section> = None;
        for section in &sections {
            if usize::from(section.state) >= meta.states.len() || !meta.key_groups.contains(&section.group) {
                return Err(corrupt(
                    trailer.footer_offset,
                    "the index has a section that the header does not know",
                ));
            }
            let late = last.is_some_and(|last| !last.may_precede(section.state, section.group, section.kind));
            if late || section.offset != end {
                return Err(corrupt(trailer.footer_offset, "the sections of the index are not in order"));
            }
            if !section.is_possible() {
                let message = "a section of the index has more rows or blocks than its bytes can hold";
                return Err(corrupt(trailer.footer_offset, message));
            }
            last = Some(section);
            let after = end.checked_add(section.stored_bytes);
            end = after.ok_or_else(|| corrupt(trailer.footer_offset, "a section is longer than the file"))?;
        }
        if end != trailer.footer_offset {
            return Err(corrupt(trailer.footer_offset, "the sections do not fill the file"));
        }
        Ok(Self { file, meta, sections })
    }

    /// The file's metadata.
    pub fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// Path of the file.
    pub fn path(&self) -> &str {
        self.file.path()
    }

    /// All sections, in order of (state, key group).
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The sections of this state (its index in the metadata) and key group, in the order in which they
    /// apply.
    pub fn sections_of(&self, state: u16, group: u16) -> &[Section] {
        let sections =
            &self.sections[self.sections.partition_point(|at| (at.state, at.group) < (state, group))..];
        &sections[..sections.partition_point(|at| (at.state, at.group) == (state, group))]
    }

    /// The rows of a section of this file, in the order in which they were written.
    pub fn rows(&self, section: &Section) -> RowReader<'_> {
        RowReader::new(self.blocks(section))
    }

    /// Verifies the blocks of a section without decompressing them.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Io`].
    pub fn verify(&self, section: &Section) -> Result<()> {
        let mut blocks = self.blocks(section);
        while blocks.next()?.is_some() {}
        Ok(())
    }

    /// Copies a section to another file, for the state with the index `state` there. Blocks are verified, and
    /// copied without being decompressed.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), [`CheckpointWriter::begin_section`] and the sink of `writer`.
    pub fn copy_section(
        &self,
        section: &Section,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<()> {
        writer.begin_section(state, section.group, section.kind)?;
        let mut blocks = self.blocks(section);
        while let Some((header, stored)) = blocks.next()? {
            writer.copy_block(header, &stored)?;
        }
        Ok(())
    }

    fn blocks(&self, section: &Section) -> Blocks<'_> {
        Blocks::new(&*self.file, &self.meta, *section)
    }
}

fn read_trailer(file: &dyn StorageFile) -> Result<Trailer> {
    let Some(offset) = file.len().checked_sub(Trailer::ENCODED as u64) else {
        return Err(corrupt(file, file.len(), "the file is too short for a checkpoint file"));
    };
    let bytes = read(file, offset, Trailer::ENCODED as u64)?;
    let trailer = Trailer::decode(&bytes).map_err(|message| corrupt(file, offset, message))?;
    check_version(file, trailer.version)?;
    if trailer.footer_offset.checked_add(trailer.footer_len) != Some(offset) {
        return Err(corrupt(file, offset, "the file does not have the length that it was written with"));
    }
    Ok(trailer)
}

fn read_header(file: &dyn StorageFile, len: u64, trailer: &Trailer) -> Result<FileMeta> {
    let fault = |message: &str| corrupt(file, 0, message);
    if len > trailer.footer_offset {
        return Err(fault("the first section lies behind the last"));
    }
    let header = read(file, 0, len)?;
    let Some((body, crc)) = header.split_last_chunk::<4>() else {
        return Err(fault("the header is cut off"));
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(fault("the checksum of the header does not match"));
    }
    let mut fields = super::fields::Fields(body);
    if fields.bytes() != Some(HEADER_MAGIC) {
        return Err(fault("the file does not begin as a checkpoint file does"));
    }
    let encoded = body.get(HEADER_PREFIX..).unwrap_or_default();
    if fields.u32() != Some(VERSION) || fields.u32().map(u64::from) != Some(encoded.len() as u64) {
        return Err(fault("the header contradicts the trailer"));
    }
    let meta = match postcard::take_from_bytes::<FileMeta>(encoded) {
        Ok((meta, [])) => meta,
        Ok(_) => return Err(fault("the header has bytes left over")),
        Err(error) => return Err(fault("the header cannot be decoded").with_source(error)),
    };
    meta.check().map_err(|error| fault("the header contradicts itself").with_source(error))?;
    Ok(meta)
}

fn check_version(file: &dyn StorageFile, version: u32) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    let message = format!("the file has version {version} of the format, and {VERSION} is known");
    Err(Error::new(ErrorKind::Unsupported, message).in_file(file.path(), None))
}

impl fmt::Debug for CheckpointReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("CheckpointReader");
        debug.field("path", &self.path()).field("sections", &self.sections.len()).finish_non_exhaustive()
    }
}
