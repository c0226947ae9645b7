//! The index of a file's sections.

use super::block::{BLOCK_ROWS, BlockHeader};
use super::fields::Fields;

/// The meaning of a section's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// All entries of the key group.
    Full,
    /// The changes since the checkpoint that this one builds on.
    Delta,
}

/// The rows of one state in one key group, as described in the file's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Index of the state in [`FileMeta::states`](super::FileMeta::states).
    pub state: u16,
    /// The key group.
    pub group: u16,
    /// The meaning of the rows.
    pub kind: SectionKind,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of all rows.
    pub raw_bytes: u64,
    /// Bytes of the section in the file.
    pub stored_bytes: u64,
    pub(super) offset: u64,
    pub(super) blocks: u32,
}

impl Section {
    /// Bytes of one section in the index.
    pub(super) const ENCODED: usize = 41;

    /// True if a section of that state, group and kind may follow this one. They ascend, and changes may
    /// follow the section that they apply to.
    pub(super) fn may_precede(&self, state: u16, group: u16, kind: SectionKind) -> bool {
        let (this, next) = ((self.state, self.group), (state, group));
        this < next || (this == next && kind == SectionKind::Delta)
    }

    /// True if its bytes can contain its blocks, and the blocks its rows. Readers allocate memory for them
    /// before they read a block.
    pub(super) fn is_possible(&self) -> bool {
        let blocks = u64::from(self.blocks);
        blocks * BlockHeader::ENCODED as u64 <= self.stored_bytes
            && self.rows <= blocks * u64::from(BLOCK_ROWS)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.state.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.push(match self.kind {
            SectionKind::Full => 0,
            SectionKind::Delta => 1,
        });
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.stored_bytes.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (state, group) = (fields.u16()?, fields.u16()?);
        let kind = match fields.u8()? {
            0 => SectionKind::Full,
            1 => SectionKind::Delta,
            _ => return None,
        };
        let (blocks, rows, raw_bytes) = (fields.u32()?, fields.u64()?, fields.u64()?);
        let (offset, stored_bytes) = (fields.u64()?, fields.u64()?);
        Some(Self { state, group, kind, rows, raw_bytes, stored_bytes, offset, blocks })
    }
}
