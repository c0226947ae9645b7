use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Write};

use backend_api::format::{CheckpointReader, FileMeta, RowReader, Section, SectionKind, StateMeta};
use backend_api::{
    AttemptTarget, Cancel, CheckpointTarget, Error, ErrorKind, KeyGroupRange, RawKeyedHandle, Result,
    StateKey, StateKind, Subtask,
};

use crate::operator::file_meta;

/// Format of files with one byte stream per key group.
pub const FORMAT: &str = "raw-keyed/1";

/// Bytes of one row of a stream.
const CHUNK: usize = 64 << 10;

/// Takes the raw keyed state of a snapshot: one byte stream per key group. Streams can be started in any
/// order, each once.
///
/// All streams stay in memory until the last is written.
#[derive(Debug)]
pub struct RawKeyedWriter {
    range: KeyGroupRange,
    groups: BTreeMap<u16, Vec<u8>>,
    current: Option<u16>,
}

impl RawKeyedWriter {
    pub(crate) fn new(range: KeyGroupRange) -> Self {
        Self { range, groups: BTreeMap::new(), current: None }
    }

    /// The key groups of the subtask.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// Ends the current stream and starts that of `group`, which receives what is written next.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a group out of range. [`Io`](ErrorKind::Io) for a
    /// group that was started before. Nothing is changed then.
    pub fn start_group(&mut self, group: u16) -> Result<()> {
        if !self.range.contains(group) {
            let message = format!("key group {group} is not in the range {}", self.range);
            return Err(Error::new(ErrorKind::InvalidArgument, message).in_group(group));
        }
        match self.groups.entry(group) {
            Entry::Occupied(_) => {
                let message = "the stream of the key group was begun before";
                Err(Error::new(ErrorKind::Io, message).in_group(group))
            }
            Entry::Vacant(place) => {
                place.insert(Vec::new());
                self.current = Some(group);
                Ok(())
            }
        }
    }

    /// Writes the file. Writes none if no stream was started.
    pub(crate) fn finish(
        self,
        target: &AttemptTarget,
        meta: FileMeta,
        cancel: &Cancel,
    ) -> Result<Option<RawKeyedHandle>> {
        if self.groups.is_empty() {
            return Ok(None);
        }
        let file = target.write(&meta, false, cancel, |writer| {
            for (&group, bytes) in &self.groups {
                writer.begin_section(0, group, SectionKind::Full)?;
                for chunk in bytes.chunks(CHUNK) {
                    cancel.check()?;
                    writer.row(|row| {
                        row.extend_from_slice(chunk);
                        Ok(())
                    })?;
                }
            }
            Ok(true)
        })?;
        let (checkpoint_id, range) = (meta.checkpoint_id, self.range);
        let max_parallelism = meta.max_parallelism as u16;
        Ok(file.map(|file| RawKeyedHandle { checkpoint_id, range, max_parallelism, file }))
    }
}

impl Write for RawKeyedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.current.and_then(|group| self.groups.get_mut(&group));
        let stream = stream.ok_or_else(|| io::Error::other("no key group was begun"))?;
        stream.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The metadata of a file of raw keyed state.
pub(crate) fn raw_keyed_meta<K: StateKey>(subtask: &Subtask<K>, checkpoint_id: u64) -> FileMeta {
    let (operator, index) = (subtask.operator(), subtask.index());
    FileMeta {
        max_parallelism: subtask.key_space().max_parallelism().into(),
        key_group_mapping: subtask.key_space().mapping_id().to_owned(),
        states: vec![state()],
        ..file_meta(FORMAT, operator, index, checkpoint_id, subtask.range().iter())
    }
}

/// The only state of a file.
pub(crate) fn state() -> StateMeta {
    StateMeta {
        name: "raw".to_owned(),
        kind: StateKind::List,
        namespace_schema: <()>::schema(),
        codecs: Vec::new(),
        table_seed: 0,
        options: BTreeMap::new(),
    }
}

/// Restored raw keyed state: the streams of the key groups that have one.
#[derive(Debug)]
pub struct RawKeyedState {
    files: Vec<(KeyGroupRange, CheckpointReader)>,
}

impl RawKeyedState {
    /// Opens `restore` for `subtask`. See [`TaskRestore::raw_keyed`](backend_api::TaskRestore::raw_keyed).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io). [`Corrupt`](ErrorKind::Corrupt) for a
    /// damaged file. [`IllegalState`](ErrorKind::IllegalState) if the max parallelism or the mapping of keys
    /// to groups differs, or if two handles contain the same group.
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if a file is in a storage and the target has none.
    pub fn open<K: StateKey>(
        target: &CheckpointTarget,
        subtask: &Subtask<K>,
        restore: &[RawKeyedHandle],
    ) -> Result<Self> {
        let mut files: Vec<(KeyGroupRange, CheckpointReader)> = Vec::with_capacity(restore.len());
        for handle in restore {
            let Some(range) = handle.range.intersection(subtask.range()) else { continue };
            if let Some(both) = files.iter().find_map(|(other, _)| other.intersection(range)) {
                let message = format!("two snapshots hold raw state of the key groups {both}");
                return Err(Error::new(ErrorKind::IllegalState, message).in_group(both.start()));
            }
            let reader = handle.file.open(target.storage().map(|storage| &**storage))?;
            check_file(&reader, handle)?;
            check_keys(&reader, subtask)?;
            files.push((range, reader));
        }
        files.sort_by_key(|(range, _)| range.start());
        Ok(Self { files })
    }

    /// The key groups that have a stream, ascending, with their streams.
    pub fn groups(&self) -> impl Iterator<Item = (u16, RawStream<'_>)> {
        self.files.iter().flat_map(|(range, reader)| {
            let sections = reader.sections().iter().filter(|section| range.contains(section.group));
            sections.map(|section| (section.group, RawStream::of(reader, section)))
        })
    }

    /// The stream of a key group, if it has one.
    pub fn group(&self, group: u16) -> Option<RawStream<'_>> {
        self.groups().find(|(found, _)| *found == group).map(|(_, stream)| stream)
    }
}

/// Checks that the file is the one its handle describes.
fn check_file(reader: &CheckpointReader, handle: &RawKeyedHandle) -> Result<()> {
    let meta = reader.meta();
    let is_same = meta.format == FORMAT
        && meta.checkpoint_id == handle.file.created_by
        && meta.max_parallelism == u32::from(handle.max_parallelism);
    if is_same {
        return Ok(());
    }
    let message =
        "the file contradicts the handle that names it: another format, checkpoint or max parallelism";
    Err(Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), None))
}

/// Checks that the file's key groups are groups of the same keys.
fn check_keys<K: StateKey>(reader: &CheckpointReader, subtask: &Subtask<K>) -> Result<()> {
    let (meta, space) = (reader.meta(), subtask.key_space());
    let (old, new) = (meta.max_parallelism, u32::from(space.max_parallelism()));
    let message = if old != new {
        format!("the raw state has max parallelism {old}, this subtask {new}")
    } else if meta.key_group_mapping != space.mapping_id() {
        let (old, new) = (&meta.key_group_mapping, space.mapping_id());
        format!("the raw state has keys mapped to groups by {old:?}, this subtask by {new:?}")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::IllegalState, message).in_file(reader.path(), None))
}

/// The bytes of one stream, in the order in which they were written.
pub struct RawStream<'a> {
    rows: RowReader<'a>,
    row: Vec<u8>,
    at: usize,
}

impl<'a> RawStream<'a> {
    fn of(reader: &'a CheckpointReader, section: &Section) -> Self {
        Self { rows: reader.rows(section), row: Vec::new(), at: 0 }
    }
}

impl Read for RawStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.row.len() {
            let Some(row) = self.rows.next().map_err(io::Error::other)? else { return Ok(0) };
            self.row.clear();
            self.row.extend_from_slice(row);
            self.at = 0;
        }
        let taken = (&self.row[self.at..]).read(out)?;
        self.at += taken;
        Ok(taken)
    }
}

impl std::fmt::Debug for RawStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawStream").finish_non_exhaustive()
    }
}
