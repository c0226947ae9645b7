//! Compression of blocks.

use zstd::bulk;

use crate::{Error, ErrorKind, Result};

/// How the blocks of a file are compressed. A block that would not shrink is stored uncompressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None. Best for local files, whose disk is faster than compression.
    #[default]
    None,
    /// LZ4. For files that are read soon, where the disk is the bottleneck.
    Lz4,
    /// Zstandard at this level (1 is usually enough). For remote storage and savepoints.
    Zstd(i32),
}

/// How one block is stored. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum BlockCodec {
    None = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl BlockCodec {
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::None, Self::Lz4, Self::Zstd].into_iter().find(|codec| *codec as u8 == byte)
    }
}

pub(super) enum Compressor {
    None,
    Lz4,
    Zstd(bulk::Compressor<'static>),
}

impl Compressor {
    pub fn new(compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd(level) => {
                let levels = zstd::compression_level_range();
                if !levels.contains(&level) {
                    let message = format!("the zstd level {level} is not one of {levels:?}");
                    return Err(Error::new(ErrorKind::InvalidArgument, message));
                }
                Self::Zstd(bulk::Compressor::new(level).map_err(failed)?)
            }
        })
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Compresses `raw` into `out` from `start` on, and returns codec and length, or `None` if it is not
    /// shorter. Bytes beyond that in `out` are unspecified, so that it need not be cleared for every block.
    pub fn compress(
        &mut self,
        raw: &[u8],
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<Option<(BlockCodec, usize)>> {
        let longest = match self {
            Self::None => return Ok(None),
            Self::Lz4 => lz4_flex::block::get_maximum_output_size(raw.len()),
            Self::Zstd(_) => zstd::zstd_safe::compress_bound(raw.len()),
        };
        if out.len() < start + longest {
            out.resize(start + longest, 0);
        }
        let (codec, len) = match self {
            Self::None => return Ok(None),
            Self::Lz4 => {
                (BlockCodec::Lz4, lz4_flex::block::compress_into(raw, &mut out[start..]).map_err(failed)?)
            }
            Self::Zstd(zstd) => {
                (BlockCodec::Zstd, zstd.compress_to_buffer(raw, &mut out[start..]).map_err(failed)?)
            }
        };
        Ok((len < raw.len()).then_some((codec, len)))
    }
}

/// Decompression state for the blocks of one file.
#[derive(Default)]
pub(super) struct Decompressor {
    zstd: Option<bulk::Decompressor<'static>>,
}

impl Decompressor {
    /// Decompresses `stored` into `out`, which must become exactly `raw_len` bytes.
    pub fn decompress(
        &mut self,
        codec: BlockCodec,
        stored: &[u8],
        raw_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.resize(raw_len, 0);
        let len = match codec {
            BlockCodec::None => {
                out.clear();
                out.extend_from_slice(stored);
                stored.len()
            }
            BlockCodec::Lz4 => lz4_flex::block::decompress_into(stored, out).map_err(broken)?,
            BlockCodec::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    empty => empty.insert(bulk::Decompressor::new().map_err(failed)?),
                };
                zstd.decompress_to_buffer(stored, &mut out[..]).map_err(broken)?
            }
        };
        if len == raw_len { Ok(()) } else { Err(broken(format!("{len} bytes in place of {raw_len}"))) }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Io, "the compression failed").with_source(error)
}

fn broken(cause: impl Into<crate::BoxError>) -> Error {
    Error::new(ErrorKind::Corrupt, "the block cannot be decompressed").with_source(cause)
}
