//! Block headers, with checksums.

use super::compression::BlockCodec;
use super::fields::Fields;
use super::planes;

/// Most row bytes of a block with several rows.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Most rows in a block, which bounds the column of lengths.
pub(super) const BLOCK_ROWS: u32 = 65_536;

/// Most bytes of one row.
pub const MAX_ROW_BYTES: usize = i32::MAX as usize;

/// How the rows of a block are delimited. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Layout {
    /// All rows have the width in the header.
    Fixed = 0,
    /// The same, stored as byte planes.
    Planes = 1,
    /// The rows are followed by a column of their lengths, one byte each.
    Lengths1 = 2,
    /// Two bytes each.
    Lengths2 = 3,
    /// Four bytes each.
    Lengths4 = 4,
}

impl Layout {
    fn from_byte(byte: u8) -> Option<Self> {
        let layouts = [Self::Fixed, Self::Planes, Self::Lengths1, Self::Lengths2, Self::Lengths4];
        layouts.into_iter().find(|layout| *layout as u8 == byte)
    }

    /// The layout for rows of different lengths up to `longest`.
    pub fn of_lengths(longest: u32) -> Self {
        match longest {
            0..=0xFF => Self::Lengths1,
            0x100..=0xFFFF => Self::Lengths2,
            _ => Self::Lengths4,
        }
    }

    /// Bytes of one length.
    pub fn length_bytes(self) -> usize {
        match self {
            Self::Fixed | Self::Planes => 0,
            Self::Lengths1 => 1,
            Self::Lengths2 => 2,
            Self::Lengths4 => 4,
        }
    }
}

/// The position of a block. Its checksum covers it, so a block at another position is detected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub state: u16,
    pub group: u16,
    pub block: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub rows: u32,
    pub raw_len: u32,
    pub stored_len: u32,
    pub width: u32,
    pub codec: BlockCodec,
    pub layout: Layout,
}

impl BlockHeader {
    pub const ENCODED: usize = 24;

    /// The header of a block at `place` with this stored payload.
    pub fn encode(&self, place: Place, stored: &[u8]) -> [u8; Self::ENCODED] {
        let mut out = [0; Self::ENCODED];
        out[0..4].copy_from_slice(&self.rows.to_le_bytes());
        out[4..8].copy_from_slice(&self.raw_len.to_le_bytes());
        out[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.width.to_le_bytes());
        out[16] = self.codec as u8;
        out[17] = self.layout as u8;
        let crc = checksum(place, &out, stored);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Bytes of the rows alone.
    pub fn row_bytes(&self) -> u64 {
        u64::from(self.raw_len).saturating_sub(u64::from(self.rows) * self.layout.length_bytes() as u64)
    }

    /// Length of the stored payload, which is not verified yet.
    pub fn stored_len(header: &[u8]) -> Option<u32> {
        Fields(header.get(8..)?).u32()
    }

    /// Decodes and verifies the header. The error is a message.
    pub fn decode(header: &[u8], place: Place, stored: &[u8]) -> Result<Self, &'static str> {
        let Some(crc) = header.get(20..).and_then(|bytes| Fields(bytes).u32()) else {
            return Err("the block is cut off");
        };
        if checksum(place, header, stored) != crc {
            return Err("the checksum of the block does not match");
        }
        Self::fields(header).filter(Self::is_sound).ok_or("the block's header contradicts itself")
    }

    fn fields(header: &[u8]) -> Option<Self> {
        let mut fields = Fields(header);
        let (rows, raw_len, stored_len, width) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let (codec, layout) = (BlockCodec::from_byte(fields.u8()?)?, Layout::from_byte(fields.u8()?)?);
        Some(Self { rows, raw_len, stored_len, width, codec, layout })
    }

    /// Checks the limits that readers rely on before they allocate memory for a block. Detects forged files,
    /// whose checksums match.
    fn is_sound(&self) -> bool {
        let (rows, raw_len, width) = (u64::from(self.rows), u64::from(self.raw_len), u64::from(self.width));
        let lengths = rows * self.layout.length_bytes() as u64;
        let row_bytes_max = if rows == 1 { MAX_ROW_BYTES } else { BLOCK_BYTES };
        let fits = match self.layout {
            Layout::Fixed => raw_len == rows * width,
            Layout::Planes => raw_len == rows * width && (1..=planes::MAX_WIDTH as u64).contains(&width),
            _ => raw_len >= lengths && width == 0,
        };
        let as_stored = self.codec != BlockCodec::None || self.stored_len == self.raw_len;
        (1..=u64::from(BLOCK_ROWS)).contains(&rows)
            && fits
            && as_stored
            && raw_len <= row_bytes_max as u64 + lengths
    }
}

/// The checksum of a block: over its place, its header up to the checksum, and its payload.
pub(super) fn checksum(place: Place, header: &[u8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.state.to_le_bytes());
    hasher.update(&place.group.to_le_bytes());
    hasher.update(&place.block.to_le_bytes());
    hasher.update(header.get(..20).unwrap_or(header));
    hasher.update(stored);
    hasher.finalize()
}
