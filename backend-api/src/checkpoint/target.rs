use std::sync::Arc;

use super::JobFolder;
use crate::format::{
    BoundedBuffer, ByteSink, CheckpointWriter, Compression, DEFAULT_SPILL_THRESHOLD, FileMeta,
    MAX_SPILL_THRESHOLD, SpillingSink, Stored,
};
use crate::{Cancel, Error, ErrorKind, Result, StateData, StateFile, Storage};

/// A file that [`CheckpointTarget::write_file`] is to write.
#[derive(Clone, Debug)]
pub struct NewFile<'a> {
    /// Its [name](StateFile::name).
    pub name: String,
    /// Its [format](StateFile::format).
    pub format: &'a str,
    /// Whether later checkpoints may use it too.
    pub shared: bool,
}

/// Where a backend writes its checkpoint files.
#[derive(Clone, Debug)]
pub struct CheckpointTarget(Target);

#[derive(Clone, Debug)]
enum Target {
    Memory { max_bytes: u64 },
    Files { storage: Arc<dyn Storage>, job: JobFolder, inline_max: usize, compression: Compression },
}

impl CheckpointTarget {
    /// Into the handle, and so into the coordinator's memory, at most `max_bytes` for each file.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a limit of 0.
    pub fn memory(max_bytes: u64) -> Result<Self> {
        if max_bytes == 0 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the limit of a state must be at least 1 byte",
            ));
        }
        Ok(Self(Target::Memory { max_bytes }))
    }

    /// Into files of `storage`, below the folder of `job`; files of at most 20,480 bytes into the handle.
    pub fn files(storage: Arc<dyn Storage>, job: JobFolder) -> Self {
        let (inline_max, compression) = (DEFAULT_SPILL_THRESHOLD, Compression::None);
        Self(Target::Files { storage, job, inline_max, compression })
    }

    /// Sets up to how many bytes a file goes into the handle: 0 to 1,048,576.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) beyond that.
    pub fn with_inline_max(mut self, bytes: usize) -> Result<Self> {
        if bytes > MAX_SPILL_THRESHOLD {
            let message =
                format!("an inline limit of {bytes} bytes is not within 0 to {MAX_SPILL_THRESHOLD} bytes");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if let Target::Files { inline_max, .. } = &mut self.0 {
            *inline_max = bytes;
        }
        Ok(self)
    }

    /// Sets how the blocks of files are compressed (not at all by default).
    pub fn with_compression(mut self, codec: Compression) -> Self {
        if let Target::Files { compression, .. } = &mut self.0 {
            *compression = codec;
        }
        self
    }

    /// The storage, if there is one.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        match &self.0 {
            Target::Memory { .. } => None,
            Target::Files { storage, .. } => Some(storage),
        }
    }

    /// Name of the file of a subtask's checkpoint: no other file of the job has it.
    pub fn file_name(meta: &FileMeta) -> String {
        format!("{}-{}-{}", meta.operator, meta.subtask, meta.checkpoint_id)
    }

    /// Writes the file of a subtask's checkpoint: `fill` writes its sections, and answers whether the file is wanted.
    /// A `shared` one may be used by later checkpoints too. Nothing is left behind unless this succeeds.
    ///
    /// # Errors
    /// Those of `fill`; [`Size`](ErrorKind::Size) beyond the limit, naming both sizes; [`Io`](ErrorKind::Io);
    /// [`Cancelled`](ErrorKind::Cancelled).
    pub fn write(
        &self,
        meta: &FileMeta,
        shared: bool,
        cancel: &Cancel,
        fill: impl FnOnce(&mut CheckpointWriter<'_>) -> Result<bool>,
    ) -> Result<Option<StateFile>> {
        let file = NewFile { name: Self::file_name(meta), format: &meta.format, shared };
        self.put(file, meta.checkpoint_id, cancel, |sink, compression| {
            let mut writer = CheckpointWriter::new(sink, meta, compression)?;
            let wanted = fill(&mut writer)?;
            if wanted {
                writer.finish()?;
            }
            Ok(wanted)
        })
    }

    /// Writes a file of another format, to which `fill` appends all bytes. Its name is one that no other file of the
    /// job has, and ends with `-<checkpoint_id>`. Else as [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_file(
        &self,
        file: NewFile<'_>,
        checkpoint_id: u64,
        cancel: &Cancel,
        fill: impl FnOnce(&mut dyn ByteSink) -> Result<()>,
    ) -> Result<StateFile> {
        let file = self.put(file, checkpoint_id, cancel, |sink, _| fill(sink).map(|()| true))?;
        file.ok_or_else(|| Error::new(ErrorKind::IllegalState, "a file that is wanted was not made"))
    }

    fn put(
        &self,
        NewFile { name, format, shared }: NewFile<'_>,
        checkpoint_id: u64,
        cancel: &Cancel,
        fill: impl FnOnce(&mut dyn ByteSink, Compression) -> Result<bool>,
    ) -> Result<Option<StateFile>> {
        let data = match &self.0 {
            Target::Memory { max_bytes } => {
                let mut buffer = BoundedBuffer::new(*max_bytes);
                if !fill(&mut buffer, Compression::None)? {
                    return Ok(None);
                }
                StateData::Inline(buffer.finish()?)
            }
            Target::Files { storage, job, inline_max, compression } => {
                let folder = if shared { job.shared() } else { job.checkpoint(checkpoint_id) };
                let path = format!("{folder}/{name}");
                let mut sink = SpillingSink::new(Arc::clone(storage), path, *inline_max, cancel.clone())?;
                if !fill(&mut sink, *compression)? {
                    return Ok(None);
                }
                match sink.finish()? {
                    Stored::File { path, length } => StateData::File { path, length },
                    Stored::Inline(bytes) => StateData::Inline(bytes),
                    Stored::Empty => StateData::Inline(Vec::new()),
                }
            }
        };
        let file = StateFile { name, format: format.to_owned(), created_by: checkpoint_id, shared, data };
        if let Err(error) = cancel.check() {
            self.delete(&file);
            return Err(error);
        }
        Ok(Some(file))
    }

    /// Deletes a file of a checkpoint that failed. If that fails too, it is said in the log.
    pub fn delete(&self, file: &StateFile) {
        if let (StateData::File { path, .. }, Some(storage)) = (&file.data, self.storage())
            && let Err(error) = storage.delete(path)
        {
            tracing::warn!(%error, path, "the file of a failed snapshot could not be deleted");
        }
    }
}
