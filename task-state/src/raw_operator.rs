use std::io::{self, Read, Write};

use backend_api::format::{CheckpointReader, CheckpointWriter, FileMeta, RowReader, SectionKind};
use backend_api::{
    AttemptTarget, Cancel, CheckpointTarget, Error, ErrorKind, RawOperatorHandle, RawPartitions, Result,
    StateKey, Subtask,
};

use crate::operator::file_meta;
use crate::raw_keyed::state;

/// Format of files with partitions of raw bytes.
pub const FORMAT: &str = "raw-operator/1";

/// Bytes of one row, without the mark at its start.
const CHUNK: usize = 64 << 10;

/// Mark of a row that starts a partition.
const BEGINS: u8 = 1;

/// Mark of a row that continues a partition.
const GOES_ON: u8 = 0;

/// Takes the raw operator state of a snapshot: a list of byte partitions.
pub struct RawOperatorWriter<'a, 'w> {
    writer: &'a mut CheckpointWriter<'w>,
    cancel: &'a Cancel,
    partitions: u32,
}

impl RawOperatorWriter<'_, '_> {
    /// Ends the current partition and starts the next one, which receives what is written next.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), [`Cancelled`](ErrorKind::Cancelled). [`Size`](ErrorKind::Size) for more than
    /// 4,294,967,295 partitions.
    pub fn start_partition(&mut self) -> Result<()> {
        let Some(partitions) = self.partitions.checked_add(1) else {
            return Err(Error::new(ErrorKind::Size, "too many partitions of raw operator state"));
        };
        if self.partitions == 0 {
            self.writer.begin_section(0, 0, SectionKind::Full)?;
        }
        self.row(BEGINS, &[])?;
        self.partitions = partitions;
        Ok(())
    }

    fn row(&mut self, mark: u8, bytes: &[u8]) -> Result<()> {
        self.cancel.check()?;
        self.writer.row(|row| {
            row.push(mark);
            row.extend_from_slice(bytes);
            Ok(())
        })
    }
}

impl Write for RawOperatorWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.partitions == 0 {
            return Err(io::Error::other("no partition was begun"));
        }
        let taken = bytes.len().min(CHUNK);
        if taken > 0 {
            self.row(GOES_ON, &bytes[..taken]).map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for RawOperatorWriter<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawOperatorWriter").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

/// The metadata of a file of raw operator state.
pub(crate) fn raw_operator_meta<K: StateKey>(subtask: &Subtask<K>, checkpoint_id: u64) -> FileMeta {
    let meta = file_meta(FORMAT, subtask.operator(), subtask.index(), checkpoint_id, 0..=0);
    FileMeta { states: vec![state()], ..meta }
}

/// Writes the file that `fill` fills. Writes none if it starts no partition.
pub(crate) fn write(
    target: &AttemptTarget,
    meta: &FileMeta,
    cancel: &Cancel,
    fill: impl FnOnce(&mut RawOperatorWriter<'_, '_>) -> Result<()>,
) -> Result<Option<RawOperatorHandle>> {
    let mut partitions = 0;
    let file = target.write(meta, false, cancel, |writer| {
        let mut writer = RawOperatorWriter { writer, cancel, partitions: 0 };
        fill(&mut writer)?;
        partitions = writer.partitions;
        Ok(partitions > 0)
    })?;
    let checkpoint_id = meta.checkpoint_id;
    Ok(file.map(|file| RawOperatorHandle { checkpoint_id, partitions, file }))
}

/// Restored raw operator state: the partitions of this subtask.
#[derive(Debug)]
pub struct RawOperatorState {
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    reader: CheckpointReader,
    skip: u64,
    take: u64,
}

impl RawOperatorState {
    /// Opens `restore`. See [`TaskRestore::raw_operator`](backend_api::TaskRestore::raw_operator).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io). [`Corrupt`](ErrorKind::Corrupt) for a
    /// damaged file. [`InvalidArgument`](ErrorKind::InvalidArgument) if a file is in a storage and the target
    /// has none.
    pub fn open(target: &CheckpointTarget, restore: &[RawPartitions]) -> Result<Self> {
        let open = |part: &RawPartitions| {
            let reader = part.file.open(target.storage().map(|storage| &**storage))?;
            if reader.meta().format != FORMAT || reader.meta().checkpoint_id != part.file.created_by {
                let message = "the file holds no raw operator state of its checkpoint";
                return Err(Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), None));
            }
            Ok(Run { reader, skip: part.skip, take: part.take })
        };
        Ok(Self { runs: restore.iter().map(open).collect::<Result<_>>()? })
    }

    /// Number of partitions.
    pub fn len(&self) -> u64 {
        self.runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.take))
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partitions, in order.
    pub fn partitions(&self) -> Partitions<'_> {
        let (file, row) = (None, Vec::new());
        Partitions { runs: self.runs.iter(), file, left: 0, row, at: 0, begins: false }
    }
}

/// Iterates over partitions, one at a time. `next` skips what was not read of the last one.
pub struct Partitions<'a> {
    runs: std::slice::Iter<'a, Run>,
    file: Option<(&'a CheckpointReader, RowReader<'a>)>,
    /// Partitions left in the current file.
    left: u64,
    /// The current row, with its mark.
    row: Vec<u8>,
    /// Read position in the row.
    at: usize,
    /// True if the current row starts a partition that was not returned yet.
    begins: bool,
}

impl<'a> Partitions<'a> {
    /// The bytes of the next partition, or `None` after the last.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), [`Io`](ErrorKind::Io).
    #[expect(clippy::should_implement_trait, reason = "the stream is lent until the next call")]
    pub fn next(&mut self) -> Result<Option<PartitionStream<'_, 'a>>> {
        while self.left == 0 {
            let Some(run) = self.runs.next() else { return Ok(None) };
            self.file = run.reader.sections().first().map(|section| (&run.reader, run.reader.rows(section)));
            self.row.clear();
            (self.left, self.at, self.begins) = (run.take, 0, false);
            (0..run.skip).try_for_each(|_| self.seek())?;
        }
        self.seek()?;
        self.left -= 1;
        Ok(Some(PartitionStream(self)))
    }

    /// Moves to the row that starts the next partition.
    fn seek(&mut self) -> Result<()> {
        while !self.begins {
            if !self.load()? {
                let message = "there are fewer partitions of raw operator state than the handle says";
                return Err(self.corrupt(message));
            }
        }
        self.begins = false;
        Ok(())
    }

    /// Moves to the next row of the file, if there is one.
    fn load(&mut self) -> Result<bool> {
        let Some((_, rows)) = &mut self.file else { return Ok(false) };
        let Some(row) = rows.next()? else { return Ok(false) };
        self.row.clear();
        self.row.extend_from_slice(row);
        self.at = 1;
        match self.row.first() {
            Some(&BEGINS) => self.begins = true,
            Some(&GOES_ON) => {}
            _ => return Err(self.corrupt("a row of raw operator state has no mark")),
        }
        Ok(true)
    }

    fn corrupt(&self, message: &str) -> Error {
        let error = Error::new(ErrorKind::Corrupt, message);
        match &self.file {
            Some((reader, _)) => error.in_file(reader.path(), None),
            None => error,
        }
    }
}

impl std::fmt::Debug for Partitions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partitions").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The bytes of one partition.
#[derive(Debug)]
pub struct PartitionStream<'p, 'a>(&'p mut Partitions<'a>);

impl Read for PartitionStream<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Self(partitions) = self;
        loop {
            if partitions.begins {
                return Ok(0);
            }
            let rest = partitions.row.get(partitions.at..).unwrap_or_default();
            if !rest.is_empty() || out.is_empty() {
                let taken = out.len().min(rest.len());
                out[..taken].copy_from_slice(&rest[..taken]);
                partitions.at += taken;
                return Ok(taken);
            }
            if !partitions.load().map_err(io::Error::other)? {
                return Ok(0);
            }
        }
    }
}
