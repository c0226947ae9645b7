//! The index of a file's sections.

use super::block::{BLOCK_ROWS, BlockHeader};
use super::fields::Fields;

/// What the rows of a section are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// All entries of the key group.
    Full,
    /// The changes since the checkpoint that this one builds on.
    Delta,
}

/// The rows of one state in one key group, as the file's index has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Index of the state in [`FileMeta::states`](super::FileMeta::states).
    pub state: u16,
    /// The key group.
    pub group: u16,
    /// What the rows are.
    pub kind: SectionKind,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of all rows.
    pub raw_bytes: u64,
    /// Bytes that the section takes in the file.
    pub stored_bytes: u64,
    pub(super) offset: u64,
    pub(super) blocks: u32,
}

impl Section {
    /// Bytes of one section in the index.
    pub(super) const ENCODED: usize = 41;

    /// Whether a section of that state, group and kind may stand behind this one: they ascend, and one of changes may
    /// follow the one that it applies to.
    pub(super) fn may_precede(&self, state: u16, group: u16, kind: SectionKind) -> bool {
        let (this, next) = ((self.state, self.group), (state, group));
        this < next || (this == next && kind == SectionKind::Delta)
    }

    /// Whether its bytes can hold so many blocks, and these so many rows: readers take memory for them before they
    /// have read a block.
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
