//! What caches have for a checkpoint, on its way into the database.

use backend_api::Result;
use backend_bytes::{CacheFlushWriter, WriteBatch, WriteOp};

use crate::database::{Family, SstFile};
use crate::readers::Readers;
use crate::writes::Writer;

/// Batches of at least so many operations begin a file.
const FILE_OPS: usize = 4096;

/// Puts large sorted batches into files, which become parts of the database as a whole: that is several times as fast as to
/// sort them into write buffers, which are written to files only then. All else goes to the write buffers.
pub(crate) struct LateFiles<'w> {
    writer: &'w Writer,
    readers: Readers,
    /// Those that may still grow. Files of one family may overlap, but no two have the same key.
    files: Vec<LateFile<'w>>,
}

struct LateFile<'w> {
    family: Family,
    file: SstFile<'w>,
    last: Vec<u8>,
}

impl<'w> LateFiles<'w> {
    pub fn new(writer: &'w Writer) -> Self {
        Self { writer, readers: Readers::default(), files: Vec::new() }
    }

    /// The file that operations can go to, which begin with `first`: one that ends before that, or a new one if they are many.
    fn file(&mut self, first: &[u8], ops: usize) -> Result<Option<&mut LateFile<'w>>> {
        let family = self.writer.family(first)?;
        let at = match self.files.iter().position(|file| file.family == family && *file.last < *first) {
            Some(at) => at,
            None if ops < FILE_OPS => return Ok(None),
            None => {
                let file = SstFile::create(self.writer.database(), family)?;
                self.files.push(LateFile { family, file, last: Vec::new() });
                self.files.len() - 1
            }
        };
        Ok(self.files.get_mut(at))
    }
}

impl CacheFlushWriter for LateFiles<'_> {
    fn write(&mut self, batch: &WriteBatch) -> Result<bool> {
        let mut ops = batch.iter().map(of_one_key);
        let first = ops.next().flatten().filter(|_| ops.all(|op| op.is_some()));
        if let Some((first, _)) = first
            && let Some(LateFile { file, last, .. }) = self.file(first, batch.iter().len())?
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
            if file.size() >= self.writer.database().setup.late_file_bytes {
                self.flush()?;
            }
        } else {
            self.writer.write(batch, &self.readers)?;
        }
        Ok(self.files.is_empty())
    }

    fn flush(&mut self) -> Result<()> {
        self.files.drain(..).try_for_each(|LateFile { family, file, .. }| {
            self.writer.database().ingest(family, &[file.finish()?])
        })
    }
}

/// The key of an operation and what is put there, if it is about one key.
fn of_one_key(op: WriteOp<'_>) -> Option<(&[u8], Option<&[u8]>)> {
    match op {
        WriteOp::Put { key, value } => Some((key, Some(value))),
        WriteOp::Delete { key } => Some((key, None)),
        WriteOp::DeleteRange { .. } => None,
    }
}
