//! The checkpoint file format, and the sealed container of small files. `docs/formats.md` describes every
//! byte.
//!
//! A checkpoint file contains the rows of the states of one subtask, by state and key group. This layer does
//! not interpret rows. It writes them in blocks, and verifies them when they are read.

mod block;
mod blocks;
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
pub use meta::{CANONICAL, FileMeta, MAX_STATES, StateMeta};
pub use reader::CheckpointReader;
pub use rows::RowReader;
pub use section::{Section, SectionKind};
pub use sink::{BoundedBuffer, ByteSink, DEFAULT_SPILL_THRESHOLD, MAX_SPILL_THRESHOLD, SpillingSink, Stored};
pub use writer::CheckpointWriter;
