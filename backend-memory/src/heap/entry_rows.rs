//! The rows of one state and key group on their way into a file.

use backend_api::format::{CheckpointWriter, SectionKind};
use backend_api::row::{RowOp, SortedRows};
use backend_api::{Error, ErrorKind, Result, StateKey};

use super::row_key::RowKey;

/// Bytes that a row of a delta has in addition to the same row of a full section: the operation and its
/// length.
pub(super) const ROW_OVERHEAD: u64 = 5;

/// Writes the rows of one state and key group into a file. The first row starts the section.
pub(super) struct Rows<'r, 'w> {
    pub(super) writer: &'r mut CheckpointWriter<'w>,
    pub(super) name: &'r str,
    pub(super) state: u16,
    pub(super) group: u16,
    pub(super) kind: SectionKind,
    pub(super) begun: bool,
    pub(super) written: u64,
    /// Takes the rows of entries, which are written once they are sorted.
    pub(super) sorted: Option<&'r mut SortedRows>,
}

impl<'r, 'w> Rows<'r, 'w> {
    #[inline]
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.begun {
            self.writer.begin_section(self.state, self.group, self.kind)?;
            self.begun = true;
        }
        Ok(())
    }

    /// Adds state and key group to an encoding error. Storage errors concern no single row.
    #[cold]
    fn locate(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Cancelled => error,
            _ => error.in_state(self.name).in_group(self.group),
        }
    }

    /// Writes a row. `encode` appends what follows the operation.
    #[inline]
    pub(super) fn row(&mut self, op: RowOp, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.begin()?;
        let kind = self.kind;
        let written = self.writer.row(|out| {
            if kind == SectionKind::Delta {
                op.encode(out);
            }
            encode(out)
        });
        self.written += 1;
        written.map_err(|error| self.locate(error))
    }

    #[inline]
    pub(super) fn of<'e, K: StateKey, N: StateKey>(
        &'e mut self,
        key: &'e RowKey<K, N>,
    ) -> EntryRows<'e, 'r, 'w, K, N> {
        EntryRows { rows: self, key }
    }
}

/// The rows of one entry.
pub(super) struct EntryRows<'e, 'r, 'w, K: StateKey, N: StateKey> {
    rows: &'e mut Rows<'r, 'w>,
    key: &'e RowKey<K, N>,
}

impl<K: StateKey, N: StateKey> EntryRows<'_, '_, '_, K, N> {
    /// Writes a row. `rest` appends what follows key and namespace.
    #[inline]
    pub(super) fn row(&mut self, op: RowOp, rest: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let key = self.key;
        if self.rows.sorted.is_some() {
            return self.sort(rest);
        }
        self.rows.row(op, |out| {
            key.encode(out)?;
            rest(out)
        })
    }

    /// Keeps a row until all are sorted.
    fn sort(&mut self, rest: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        self.rows.begin()?;
        let (key, Some(sorted)) = (self.key, &mut self.rows.sorted) else { return Ok(()) };
        let added = sorted.add(|out| {
            let start = out.len();
            key.encode(out)?;
            let prefix = out.len() - start;
            rest(out)?;
            Ok(prefix)
        });
        added.map_err(|error| self.rows.locate(error))
    }
}
