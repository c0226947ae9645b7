//! Flushing dirty cache entries to the database.

use backend_api::Result;
use backend_bytes::{CacheFlushWriter, WriteBatch, WriteOp};

use crate::database::{Family, SstWriter};
use crate::writes::Writer;
use crate::writes::readers::Readers;

/// A batch of at least this many operations begins a file.
const FILE_OPS: usize = 4096;

/// Writes large sorted batches to files and ingests them. That is several times as fast as sorting them into write
/// buffers, which are written to files later. Other batches go to the write buffers.
pub(crate) struct FlushWriter<'w> {
    writer: &'w Writer,
    readers: Readers,
    /// Files that may still grow. Files of one family may overlap, but no two have a key in common.
    files: Vec<OpenFile<'w>>,
}

struct OpenFile<'w> {
    family: Family,
    file: SstWriter<'w>,
    last: Vec<u8>,
}

impl<'w> FlushWriter<'w> {
    pub fn new(writer: &'w Writer) -> Self {
        Self { writer, readers: Readers::default(), files: Vec::new() }
    }

    /// The file for a batch that begins with the key `first`: an open one that ends before it, or a new one for a large batch.
    fn file(&mut self, first: &[u8], ops: usize) -> Result<Option<&mut OpenFile<'w>>> {
        let family = self.writer.family(first)?;
        let at = match self.files.iter().position(|file| file.family == family && *file.last < *first) {
            Some(at) => at,
            None if ops < FILE_OPS => return Ok(None),
            None => {
                let file = SstWriter::create(self.writer.database(), family)?;
                self.files.push(OpenFile { family, file, last: Vec::new() });
                self.files.len() - 1
            }
        };
        Ok(self.files.get_mut(at))
    }
}

impl CacheFlushWriter for FlushWriter<'_> {
    fn write(&mut self, batch: &WriteBatch) -> Result<bool> {
        let mut ops = batch.iter().map(of_one_key);
        let first = ops.next().flatten().filter(|_| ops.all(|op| op.is_some()));
        if let Some((first, _)) = first
            && let Some(OpenFile { file, last, .. }) = self.file(first, batch.iter().len())?
        {
            for (key, value) in batch.iter().filter_map(of_one_key) {
                match value {
                    Some(value) => file.put(key, value)?,
                    None => file.delete(key)?,
                }
            }
            if let Some((key, _)) = batch.iter().next_back().and_then(of_one_key) {
                last.clear();
                last.extend_from_slice(key);
            }
            if file.size() >= self.writer.database().setup.flush_file_bytes {
                self.flush()?;
            }
        } else {
            self.writer.write(batch, &self.readers)?;
        }
        Ok(self.files.is_empty())
    }

    fn flush(&mut self) -> Result<()> {
        self.files.drain(..).try_for_each(|OpenFile { family, file, .. }| {
            self.writer.database().ingest(family, &[file.finish()?])
        })
    }
}

/// Key and new value of an operation on a single key.
fn of_one_key(op: WriteOp<'_>) -> Option<(&[u8], Option<&[u8]>)> {
    match op {
        WriteOp::Put { key, value } => Some((key, Some(value))),
        WriteOp::Delete { key } => Some((key, None)),
        WriteOp::DeleteRange { .. } => None,
    }
}
