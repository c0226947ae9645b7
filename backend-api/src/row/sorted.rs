//! Sorting the rows of a key group.

use crate::Result;
use crate::format::CheckpointWriter;

/// The rows of a key group in memory, to be written in the order of key and namespace.
#[derive(Debug, Default)]
pub struct SortedRows {
    bytes: Vec<u8>,
    rows: Vec<RowAt>,
}

/// A row in the buffer.
#[derive(Clone, Copy, Debug)]
struct RowAt {
    /// The first bytes of key and namespace as a number, which decides most comparisons.
    head: u64,
    start: usize,
    /// Bytes of key and namespace, and of the row.
    prefix: u32,
    len: u32,
}

impl SortedRows {
    /// Adds the row that `encode` appends. It returns the length of key and namespace at the start of the row. Rows of one
    /// key and namespace keep their order.
    ///
    /// # Errors
    /// The error of `encode`. [`Size`](crate::ErrorKind::Size) for a row that no file can hold.
    #[inline]
    pub fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<usize>) -> Result<()> {
        let start = self.bytes.len();
        let prefix = encode(&mut self.bytes)?;
        let len = self.bytes.len().saturating_sub(start);
        let (Ok(len), Ok(prefix)) = (u32::try_from(len), u32::try_from(prefix)) else {
            return Err(too_long(len));
        };
        let of_prefix = self.bytes.get(start..start + prefix as usize).unwrap_or_default();
        self.rows.push(RowAt { head: head(of_prefix), start, prefix, len });
        Ok(())
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the rows in order to the section of `writer`, and forgets them. Returns their number.
    ///
    /// # Errors
    /// Errors of [`CheckpointWriter::row`].
    pub fn write(&mut self, writer: &mut CheckpointWriter<'_>) -> Result<u64> {
        let Self { bytes, rows } = self;
        let prefix = |row: &RowAt| bytes.get(row.start..row.start + row.prefix as usize).unwrap_or_default();
        rows.sort_unstable_by(|a, b| {
            let by_rest = || prefix(a).cmp(prefix(b)).then(a.start.cmp(&b.start));
            a.head.cmp(&b.head).then_with(by_rest)
        });
        for row in rows.iter() {
            writer.row(|out| {
                out.extend_from_slice(bytes.get(row.start..row.start + row.len as usize).unwrap_or_default());
                Ok(())
            })?;
        }
        let written = rows.len() as u64;
        rows.clear();
        bytes.clear();
        Ok(written)
    }
}

/// The first 8 bytes as a number, so that the order of numbers is the order of bytes.
#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut first = [0; 8];
            first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(first)
        }
    }
}

#[cold]
fn too_long(len: usize) -> crate::Error {
    crate::Error::new(crate::ErrorKind::Size, format!("a row of {len} bytes is too long"))
}
