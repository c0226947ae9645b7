//! The file `_metadata`.

use std::fmt;
use std::sync::Arc;

use backend_api::{Result, Storage, StorageFile};

use crate::input::{Input, corrupt, unsupported};
use crate::stream::Stream;

/// First bytes of the file.
const MAGIC: u32 = 0x4960_672D;
/// First bytes of the state of a master hook.
const MASTER_MAGIC: u32 = 0xC96B_1696;
/// Versions that this crate reads.
const VERSIONS: std::ops::RangeInclusive<i32> = 3..=6;
/// Upper bound of Flink for the number of key groups.
const MAX_PARALLELISM: i32 = 1 << 15;

/// The id of an operator: a hash of its uid, or of its place in the job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub(crate) [u8; 16]);

impl OperatorId {
    /// The id that Flink gives to an operator with this `uid`.
    ///
    /// ```
    /// let id = flink_savepoint::OperatorId::of_uid("long-keys");
    /// assert_eq!(id.to_string(), "74a0e50443aaf8d196d9e77d9046894a");
    /// ```
    pub fn of_uid(uid: &str) -> Self {
        // Bytes in memory are read without errors.
        let hash = murmur3::murmur3_x64_128(&mut uid.as_bytes(), 0).unwrap_or_default();
        Self(hash.to_le_bytes())
    }
}

/// 32 hexadecimal digits, as Flink's messages have them.
impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What the file says.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) version: i32,
    pub(crate) checkpoint_id: i64,
    pub(crate) operators: Vec<OperatorMeta>,
}

/// The state of an operator.
#[derive(Debug)]
pub(crate) struct OperatorMeta {
    pub(crate) id: OperatorId,
    pub(crate) name: Option<String>,
    pub(crate) uid: Option<String>,
    pub(crate) parallelism: u32,
    pub(crate) max_parallelism: u16,
    /// Those of subtasks that had not finished.
    pub(crate) subtasks: Vec<SubtaskMeta>,
    pub(crate) coordinator: Option<Stream>,
    pub(crate) is_finished: bool,
}

#[derive(Debug)]
pub(crate) struct SubtaskMeta {
    pub(crate) index: u32,
    pub(crate) operator: Option<OperatorHandle>,
    pub(crate) raw_operator: Option<OperatorHandle>,
    pub(crate) keyed: Option<KeyedHandle>,
    pub(crate) raw_keyed: Option<KeyedHandle>,
}

/// Keyed state of one subtask.
#[derive(Debug)]
pub(crate) struct KeyedHandle {
    pub(crate) first_group: u16,
    /// The offset of each group in the stream, 0 for those without data.
    pub(crate) offsets: Vec<u64>,
    pub(crate) stream: Stream,
}

/// Operator state of one subtask.
#[derive(Debug)]
pub(crate) struct OperatorHandle {
    pub(crate) states: Vec<Partitions>,
    pub(crate) stream: Stream,
}

/// Where the elements of a state are in the stream.
#[derive(Debug)]
pub(crate) struct Partitions {
    pub(crate) name: String,
    pub(crate) offsets: Vec<u64>,
}

/// True if a file that begins with these bytes is the `_metadata` of a savepoint or checkpoint of Flink.
pub fn is_metadata(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Reads the file.
pub(crate) fn read(storage: &Arc<dyn Storage>, folder: &str) -> Result<Metadata> {
    let file: Arc<dyn StorageFile> = storage.open(&join(folder, "_metadata"))?.into();
    let len = usize::try_from(file.len()).map_err(|_| corrupt("the file is too large"))?;
    let bytes = file.read(0, len)?;
    let mut parser = Parser { input: Input::new(&bytes), storage, folder, file: &file };
    let result = parser.metadata();
    result.map_err(|error| error.in_file(file.path(), Some(parser.input.offset() as u64)))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

struct Parser<'m> {
    input: Input<'m>,
    storage: &'m Arc<dyn Storage>,
    folder: &'m str,
    file: &'m Arc<dyn StorageFile>,
}

impl Parser<'_> {
    fn metadata(&mut self) -> Result<Metadata> {
        if self.input.left() < 8 || self.input.u32()? != MAGIC {
            return Err(corrupt("the file is no metadata of a Flink savepoint"));
        }
        let version = self.input.i32()?;
        if !VERSIONS.contains(&version) {
            let range = format!("{} to {}", VERSIONS.start(), VERSIONS.end());
            return Err(unsupported(format!(
                "the savepoint has metadata of version {version}; versions {range} can be read"
            )));
        }
        let checkpoint_id = self.input.i64()?;
        if checkpoint_id < 0 {
            return Err(corrupt("the checkpoint's id is negative"));
        }
        for _ in 0..self.input.len(8)? {
            if self.input.u32()? != MASTER_MAGIC {
                return Err(corrupt("the state of a master hook is expected here"));
            }
            self.input.framed()?;
        }
        let operators = self.input.len(32)?;
        let operators = (0..operators).map(|_| self.operator(version)).collect::<Result<_>>()?;
        // What follows is Java's serialization of the checkpoint's properties, which no state needs.
        Ok(Metadata { version, checkpoint_id, operators })
    }

    fn operator(&mut self, version: i32) -> Result<OperatorMeta> {
        let (mut name, mut uid) = (None, None);
        if version >= 5 {
            (name, uid) = (self.input.optional_utf()?, self.input.optional_utf()?);
        }
        let mut id = [0; 16];
        id.copy_from_slice(self.input.take(16)?);
        let parallelism = self.input.i32()?;
        let max_parallelism = self.input.i32()?;
        if !(1..=MAX_PARALLELISM).contains(&max_parallelism) || !(1..=MAX_PARALLELISM).contains(&parallelism)
        {
            let message = format!("an operator has parallelism {parallelism} of at most {max_parallelism}");
            return Err(corrupt(message));
        }
        let coordinator = self.stream()?;
        let subtasks = self.input.i32()?;
        let mut operator = OperatorMeta {
            id: OperatorId(id),
            name,
            uid,
            parallelism: parallelism as u32,
            max_parallelism: max_parallelism as u16,
            subtasks: Vec::new(),
            coordinator,
            is_finished: subtasks == -1,
        };
        if subtasks < -1 || subtasks > parallelism {
            return Err(corrupt(format!("an operator of parallelism {parallelism} has {subtasks} subtasks")));
        }
        for _ in 0..subtasks {
            let index = self.input.i32()?;
            if index >= parallelism || -1 - i64::from(index) >= parallelism.into() {
                return Err(corrupt(format!(
                    "an operator of parallelism {parallelism} has a subtask {index}"
                )));
            }
            // A negative one stands for a finished subtask, which has no state.
            if let Ok(index) = u32::try_from(index) {
                let subtask = self.subtask(index, operator.max_parallelism)?;
                operator.subtasks.push(subtask);
            }
        }
        Ok(operator)
    }

    fn subtask(&mut self, index: u32, max_parallelism: u16) -> Result<SubtaskMeta> {
        let subtask = SubtaskMeta {
            index,
            operator: self.single_operator_handle()?,
            raw_operator: self.single_operator_handle()?,
            keyed: self.keyed_handle(max_parallelism, false)?,
            raw_keyed: self.keyed_handle(max_parallelism, true)?,
        };
        for _ in 0..2 {
            if self.input.i32()? != 0 {
                return Err(unsupported(
                    "this is an unaligned checkpoint, with data of channels; only canonical savepoints can be read",
                ));
            }
        }
        Ok(subtask)
    }

    fn single_operator_handle(&mut self) -> Result<Option<OperatorHandle>> {
        match self.input.i32()? {
            0 => Ok(None),
            1 => self.operator_handle(),
            other => Err(corrupt(format!("a subtask has {other} handles of operator state"))),
        }
    }

    fn operator_handle(&mut self) -> Result<Option<OperatorHandle>> {
        match self.input.u8()? {
            0 => return Ok(None),
            4 => {}
            17 => return Err(unsupported(MERGED)),
            other => return Err(corrupt(format!("operator state has a handle of type {other}"))),
        }
        let states = self.input.len(7)?;
        let states = (0..states).map(|_| {
            let name = self.input.utf()?;
            let mode = self.input.u8()?;
            if mode > 2 {
                return Err(corrupt(format!("operator state has the distribution mode {mode}")));
            }
            Ok(Partitions { name, offsets: self.offsets()? })
        });
        let states = states.collect::<Result<_>>()?;
        let stream = self.stream()?.ok_or_else(|| corrupt("operator state has no stream"))?;
        Ok(Some(OperatorHandle { states, stream }))
    }

    fn keyed_handle(&mut self, max_parallelism: u16, is_raw: bool) -> Result<Option<KeyedHandle>> {
        let kind = self.input.u8()?;
        match kind {
            0 => return Ok(None),
            7 => {}
            3 | 12 if is_raw => {}
            3 | 12 => {
                return Err(unsupported(
                    "this is a checkpoint or a native savepoint of the heap, or a savepoint of Flink before 1.13; only canonical savepoints can be read: take one with `flink savepoint --type canonical`",
                ));
            }
            5 | 11 => {
                return Err(unsupported(
                    "this is an incremental checkpoint or a native savepoint of RocksDB or ForSt; only canonical savepoints can be read: take one with `flink savepoint --type canonical`",
                ));
            }
            8..=10 | 13 | 14 => {
                return Err(unsupported(
                    "this is a checkpoint with a changelog; only canonical savepoints can be read: take one with `flink savepoint --type canonical`",
                ));
            }
            other => return Err(corrupt(format!("keyed state has a handle of type {other}"))),
        }
        let first = self.input.i32()?;
        let offsets = self.offsets()?;
        let in_range = usize::try_from(first).ok().zip(first.checked_add(offsets.len() as i32));
        if in_range.is_none_or(|(_, end)| end > max_parallelism.into()) {
            let message = format!(
                "a subtask has {} key groups from {first} on, its operator has {max_parallelism}",
                offsets.len()
            );
            return Err(corrupt(message));
        }
        let stream = self.stream()?.ok_or_else(|| corrupt("keyed state has no stream"))?;
        if kind == 12 {
            self.input.utf()?;
        }
        Ok(Some(KeyedHandle { first_group: first as u16, offsets, stream }))
    }

    fn offsets(&mut self) -> Result<Vec<u64>> {
        let number = self.input.len(8)?;
        (0..number).map(|_| self.input.u64()).collect()
    }

    fn stream(&mut self) -> Result<Option<Stream>> {
        match self.input.u8()? {
            0 => Ok(None),
            1 => {
                self.input.utf()?;
                let len = self.input.len(1)?;
                let start = self.input.offset();
                self.input.take(len)?;
                Ok(Some(Stream::inline(Arc::clone(self.file), start as u64, len as u64)))
            }
            2 => {
                let size = self.input.u64()?;
                let path = self.input.utf()?;
                // A savepoint that has been moved still names its first place: its files are beside the metadata.
                let name = path.rsplit('/').next().unwrap_or(&path);
                Ok(Some(Stream::file(Arc::clone(self.storage), join(self.folder, name), size)))
            }
            6 => {
                let name = self.input.utf()?;
                let size = self.input.u64()?;
                Ok(Some(Stream::file(Arc::clone(self.storage), join(self.folder, &name), size)))
            }
            15 | 16 => Err(unsupported(MERGED)),
            other => Err(corrupt(format!("a stream has a handle of type {other}"))),
        }
    }
}

const MERGED: &str = "this is a checkpoint with merged files; only canonical savepoints can be read";
