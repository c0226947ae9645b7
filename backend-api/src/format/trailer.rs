//! Header and trailer of a checkpoint file.

use super::fields::Fields;

/// The format version, the only one that is written and read.
pub(super) const VERSION: u32 = 2;

/// First bytes of a checkpoint file.
pub(super) const HEADER_MAGIC: [u8; 8] = *b"\x89SBCKPT\n";

/// Last bytes of a checkpoint file.
const TRAILER_MAGIC: [u8; 8] = *b"\nSBCEND\x89";

/// Bytes of the header besides the encoded metadata: magic, version, length of the metadata, and crc.
pub(super) const HEADER_PREFIX: usize = 16;

/// The last bytes of a file, which locate the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub footer_offset: u64,
    pub footer_len: u64,
    pub footer_crc: u32,
    pub version: u32,
}

impl Trailer {
    pub const ENCODED: usize = 36;

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::ENCODED);
        out.extend_from_slice(&self.footer_offset.to_le_bytes());
        out.extend_from_slice(&self.footer_len.to_le_bytes());
        out.extend_from_slice(&self.footer_crc.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.extend_from_slice(&TRAILER_MAGIC);
        out
    }

    /// Decodes and verifies the trailer. The error is a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        Self::fields(bytes).ok_or("the trailer is cut off").and_then(|(trailer, crc, magic)| {
            if magic != TRAILER_MAGIC {
                Err("the file does not end as a checkpoint file does")
            } else if bytes.get(..24).map(crc32fast::hash) != Some(crc) {
                Err("the checksum of the trailer does not match")
            } else {
                Ok(trailer)
            }
        })
    }

    fn fields(bytes: &[u8]) -> Option<(Self, u32, [u8; 8])> {
        let mut fields = Fields(bytes);
        let (footer_offset, footer_len) = (fields.u64()?, fields.u64()?);
        let (footer_crc, version) = (fields.u32()?, fields.u32()?);
        let trailer = Self { footer_offset, footer_len, footer_crc, version };
        Some((trailer, fields.u32()?, fields.bytes()?))
    }
}
