//! The checkpoint file format, and the sealed container of small files. Byte by byte in `docs/formats.md`.
//!
//! A checkpoint file holds the rows of the states of one subtask, by state and key group. What a row
//! means is the backend's business; this layer writes them in blocks, and proves on reading that
//! they are the bytes that were written.

mod block;
mod builder;
mod compression;
mod envelope;
mod fields;
mod meta;
mod planes;
mod reader;
mod rows;
mod section;
mod sink;
mod trailer;
mod writer;

#[cfg(test)]
mod tests;

pub use block::MAX_ROW_BYTES;
pub use compression::Compression;
pub use envelope::{seal, unseal};
pub(crate) use meta::migration;
pub use meta::{FileMeta, MAX_STATES, StateMeta};
pub use reader::CheckpointReader;
pub use rows::RowReader;
pub use section::{Section, SectionKind};
pub use sink::{BoundedBuffer, ByteSink, DEFAULT_SPILL_THRESHOLD, MAX_SPILL_THRESHOLD, SpillingSink, Stored};
pub use writer::CheckpointWriter;
