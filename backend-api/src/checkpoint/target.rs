use std::sync::Arc;

use super::{FileName, JobFolder};
use crate::format::{
    BoundedBuffer, ByteSink, CheckpointWriter, Compression, DEFAULT_SPILL_THRESHOLD, FileMeta,
    MAX_SPILL_THRESHOLD, SpillingSink, Stored,
};
use crate::storage::check_folder;
use crate::{Cancel, Error, ErrorKind, Result, StateData, StateFile, Storage};

/// Maximum of inline bytes in the handle of an incremental checkpoint. Every metadata file repeats them.
const INCREMENT_INLINE_MAX: usize = 256 << 10;

/// The file of [`AttemptTarget::write_part`].
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// The operator's name.
    pub operator: &'a str,
    /// The subtask's number.
    pub subtask: u32,
    /// The checkpoint that writes it.
    pub checkpoint_id: u64,
    /// The part of the subtask's state: a name of at most [`FileName::PART_BYTES_MAX`] bytes without a dash.
    /// It is used once in a checkpoint.
    pub part: &'a str,
    /// Its [format](StateFile::format).
    pub format: &'a str,
    /// True if later checkpoints may use the file too.
    pub shared: bool,
}

/// The place of a backend's checkpoint files.
#[derive(Clone, Debug)]
pub struct CheckpointTarget(Target);

#[derive(Clone, Debug)]
enum Target {
    Memory { max_bytes: u64, restored: Option<Arc<dyn Storage>> },
    Files { storage: Arc<dyn Storage>, place: Place, inline_max: usize, compression: Option<Compression> },
}

#[derive(Clone, Debug)]
enum Place {
    /// Below the folder of a job, where checkpoints share files.
    Job(JobFolder),
    /// In one folder without shared files.
    Savepoint(String),
}

impl Place {
    fn path(&self, name: &str, shared: bool, checkpoint_id: u64) -> String {
        match self {
            Self::Job(job) if shared => format!("{}/{name}", job.shared()),
            Self::Job(job) => format!("{}/{name}", job.checkpoint(checkpoint_id)),
            Self::Savepoint(folder) if folder.is_empty() => name.to_owned(),
            Self::Savepoint(folder) => format!("{folder}/{name}"),
        }
    }
}

impl Target {
    fn storage(&self) -> Option<&Arc<dyn Storage>> {
        match self {
            Self::Memory { restored, .. } => restored.as_ref(),
            Self::Files { storage, .. } => Some(storage),
        }
    }
}

impl CheckpointTarget {
    /// Files go into the handle, and therefore into the coordinator's memory. Each has at most `max_bytes`
    /// bytes.
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
        Ok(Self(Target::Memory { max_bytes, restored: None }))
    }

    /// Sets the storage with the files of restored checkpoints, for a target in memory. Other targets have a
    /// storage.
    pub fn restoring_from(mut self, storage: Arc<dyn Storage>) -> Self {
        if let Target::Memory { restored, .. } = &mut self.0 {
            *restored = Some(storage);
        }
        self
    }

    /// Files go into `storage`, below the folder of `job`. Files of at most 20,480 bytes go into the handle.
    pub fn files(storage: Arc<dyn Storage>, job: JobFolder) -> Self {
        Self::in_place(storage, Place::Job(job))
    }

    /// Files go into `folder` of `storage`, for one savepoint. Files of at most 20,480 bytes go into the
    /// handle. No file is shared, so the savepoint depends on no other folder.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an invalid path.
    pub fn savepoint(storage: Arc<dyn Storage>, folder: impl Into<String>) -> Result<Self> {
        let folder = folder.into();
        check_folder(&folder)?;
        Ok(Self::in_place(storage, Place::Savepoint(folder)))
    }

    fn in_place(storage: Arc<dyn Storage>, place: Place) -> Self {
        let (inline_max, compression) = (DEFAULT_SPILL_THRESHOLD, None);
        Self(Target::Files { storage, place, inline_max, compression })
    }

    /// Sets the maximum size of a file in the handle: 0 to 1,048,576 bytes.
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

    /// Sets the compression of the blocks of files. The default is none, and zstd for canonical savepoints.
    pub fn with_compression(mut self, codec: Compression) -> Self {
        if let Target::Files { compression, .. } = &mut self.0 {
            *compression = Some(codec);
        }
        self
    }

    /// The storage of restored files, if there is one. New files go there too, unless the target is memory.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.0.storage()
    }

    /// Starts an attempt, for one opened backend. Its file names have a random part.
    ///
    /// An aborted attempt may still write while the next one runs, possibly in another process. With
    /// different names they cannot overwrite or use each other's files.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if the system has no random numbers.
    pub fn for_attempt(&self) -> Result<AttemptTarget> {
        let attempt = getrandom::u64().map_err(|error| {
            Error::new(ErrorKind::Io, "the system has no random numbers").with_source(error.to_string())
        })?;
        Ok(AttemptTarget { target: self.0.clone(), attempt, compression: Compression::None })
    }
}

/// The target of one opened backend. Its file names are unique: see [`CheckpointTarget::for_attempt`].
#[derive(Clone, Debug)]
pub struct AttemptTarget {
    target: Target,
    attempt: u64,
    /// Of blocks, unless the target names one.
    compression: Compression,
}

impl AttemptTarget {
    /// The storage, if there is one.
    pub fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.target.storage()
    }

    /// The same attempt in the target `named`, if there is one. Files in handles stay there. `compression` is that of blocks
    /// unless one of the targets names another.
    pub(crate) fn redirected(&self, named: Option<&CheckpointTarget>, compression: Compression) -> Self {
        let mut target = match (&self.target, named) {
            (Target::Files { .. }, Some(named)) => named.0.clone(),
            _ => self.target.clone(),
        };
        if let (Target::Files { compression, .. }, Target::Files { compression: own, .. }) =
            (&mut target, &self.target)
        {
            *compression = compression.or(*own);
        }
        Self { target, attempt: self.attempt, compression }
    }

    /// The target of an increment of `files` new files on a handle with `inline_bytes` inline bytes. At most
    /// 256 KiB of a handle are inline, so small increments do not accumulate in it.
    pub fn for_increment(mut self, inline_bytes: u64, files: usize) -> Self {
        if let Target::Files { inline_max, .. } = &mut self.target {
            let left =
                INCREMENT_INLINE_MAX.saturating_sub(usize::try_from(inline_bytes).unwrap_or(usize::MAX));
            *inline_max = (left / files.max(1)).min(*inline_max);
        }
        self
    }

    /// Name of the file of [`write`](Self::write).
    pub fn file_name(&self, meta: &FileMeta) -> String {
        let FileMeta { operator, subtask, checkpoint_id, .. } = meta;
        let (subtask, checkpoint_id, attempt) = (*subtask, *checkpoint_id, self.attempt);
        FileName { operator, subtask, attempt, part: None, checkpoint_id }.to_string()
    }

    /// Name of the file of [`write_part`](Self::write_part).
    pub fn part_name(&self, file: &NewFile<'_>) -> String {
        let NewFile { operator, subtask, checkpoint_id, part, .. } = *file;
        FileName { operator, subtask, attempt: self.attempt, part: Some(part), checkpoint_id }.to_string()
    }

    /// Writes the file of a subtask's checkpoint. `fill` writes its sections, and returns false if no file is
    /// needed. Later checkpoints may use a `shared` file too. After an error no file is left.
    ///
    /// # Errors
    /// Errors of `fill`; [`Size`](ErrorKind::Size) beyond the limit, with both sizes; [`Io`](ErrorKind::Io);
    /// [`Cancelled`](ErrorKind::Cancelled).
    pub fn write(
        &self,
        meta: &FileMeta,
        shared: bool,
        cancel: &Cancel,
        fill: impl FnOnce(&mut CheckpointWriter<'_>) -> Result<bool>,
    ) -> Result<Option<StateFile>> {
        self.put(
            self.file_name(meta),
            &meta.format,
            shared,
            meta.checkpoint_id,
            cancel,
            |sink, compression| {
                let mut writer = CheckpointWriter::new(sink, meta, compression)?;
                let wanted = fill(&mut writer)?;
                if wanted {
                    writer.finish()?;
                }
                Ok(wanted)
            },
        )
    }

    /// Writes a file of another format. `fill` writes all of its bytes. Otherwise the same as
    /// [`write`](Self::write).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for an invalid part name, and those of
    /// [`write`](Self::write).
    pub fn write_part(
        &self,
        file: NewFile<'_>,
        cancel: &Cancel,
        fill: impl FnOnce(&mut dyn ByteSink) -> Result<()>,
    ) -> Result<StateFile> {
        let NewFile { checkpoint_id, part, format, shared, .. } = file;
        if part.is_empty() || part.len() > FileName::PART_BYTES_MAX || part.contains(['-', '/']) {
            let message = format!("{part:?} is no name for a part of a subtask's state");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let name = self.part_name(&file);
        let file =
            self.put(name, format, shared, checkpoint_id, cancel, |sink, _| fill(sink).map(|()| true))?;
        file.ok_or_else(|| Error::new(ErrorKind::IllegalState, "a file that is wanted was not made"))
    }

    fn put(
        &self,
        name: String,
        format: &str,
        mut shared: bool,
        checkpoint_id: u64,
        cancel: &Cancel,
        fill: impl FnOnce(&mut dyn ByteSink, Compression) -> Result<bool>,
    ) -> Result<Option<StateFile>> {
        let data = match &self.target {
            Target::Memory { max_bytes, .. } => {
                let mut buffer = BoundedBuffer::new(*max_bytes);
                if !fill(&mut buffer, self.compression)? {
                    return Ok(None);
                }
                StateData::Inline(buffer.finish()?)
            }
            Target::Files { storage, place, inline_max, compression } => {
                shared &= matches!(place, Place::Job(_));
                let path = place.path(&name, shared, checkpoint_id);
                let mut sink = SpillingSink::new(Arc::clone(storage), path, *inline_max, cancel.clone())?;
                if !fill(&mut sink, compression.unwrap_or(self.compression))? {
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

    /// Deletes a file of a failed checkpoint. A failure is logged.
    pub fn delete(&self, file: &StateFile) {
        if let (StateData::File { path, .. }, Some(storage)) = (&file.data, self.storage())
            && let Err(error) = storage.delete(path)
        {
            tracing::warn!(%error, path, "the file of a failed snapshot could not be deleted");
        }
    }
}
