//! Writes a snapshot of the store as a checkpoint of rows, or of the store's own files.

use std::sync::Arc;

use super::registry::{Prefix, RowForm};
use super::{ByteSnapshot, EntryKey, NativeTask, runs};

use backend_api::format::{CheckpointWriter, FileMeta, SectionKind};
use backend_api::restore::RestoredState;
use backend_api::row::{self, encode_sized, encode_varint};
use backend_api::{
    AttemptTarget, Cancel, Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Progress, Result, StateFile,
    StateKind,
};

/// Entries between two checks for cancellation.
const CHECK_ENTRIES: u64 = 1024;

/// The frozen state of a snapshot.
pub(super) enum Frozen {
    Rows(FrozenRows),
    Native(FrozenNative),
}

/// State that is written as rows.
pub(super) struct FrozenRows {
    pub store: Box<dyn ByteSnapshot>,
    /// How rows are made for each state in the store.
    pub states: Vec<RowForm>,
    /// Restored states that are not registered.
    pub restored: Vec<Arc<RestoredState>>,
    /// The registered states.
    pub meta: FileMeta,
    pub range: KeyGroupRange,
    pub target: AttemptTarget,
}

/// State that is written in the store's own format. Restored states that are not registered are written as a
/// separate file of rows.
pub(super) struct FrozenNative {
    pub task: NativeTask,
    pub format: &'static str,
    pub restored: Vec<Arc<RestoredState>>,
    /// The states in the store.
    pub meta: FileMeta,
    pub range: KeyGroupRange,
    pub target: AttemptTarget,
}

impl Frozen {
    /// Writes the files.
    pub fn write(self, cancel: &Cancel, progress: &Progress) -> Result<KeyedStateHandle> {
        match self {
            Self::Rows(rows) => rows.write(cancel, progress),
            Self::Native(native) => native.write(cancel, progress),
        }
    }
}

impl FrozenNative {
    /// A handle of the rows beside the native files of `handle`.
    pub fn rows_of(handle: &KeyedStateHandle) -> Option<KeyedStateHandle> {
        let files: Vec<StateFile> =
            handle.files.iter().filter(|file| file.format == row::FORMAT).cloned().collect();
        let format = row::FORMAT.to_owned();
        (!files.is_empty()).then(|| KeyedStateHandle { format, files, ..handle.clone() })
    }

    fn write(self, cancel: &Cancel, progress: &Progress) -> Result<KeyedStateHandle> {
        let Self { task, format, restored, mut meta, range, target } = self;
        meta.states.clear();
        let rows = if restored.is_empty() {
            None
        } else {
            rows_beside(&meta, &restored, &target, cancel, progress)?
        };
        match task(cancel, progress) {
            Ok(mut files) => {
                files.extend(rows);
                Ok(KeyedStateHandle { format: format.to_owned(), ..handle(&meta, range, files) })
            }
            Err(error) => {
                if let Some(rows) = &rows {
                    target.delete(rows);
                }
                Err(error)
            }
        }
    }
}

fn rows_beside(
    meta: &FileMeta,
    restored: &[Arc<RestoredState>],
    target: &AttemptTarget,
    cancel: &Cancel,
    progress: &Progress,
) -> Result<Option<StateFile>> {
    let states = restored.iter().flat_map(|state| state.metas()).cloned().collect();
    let meta = FileMeta { states, ..meta.clone() };
    target.write(&meta, false, cancel, |writer| {
        copy_restored(restored, 0, writer, cancel, progress)?;
        Ok(true)
    })
}

/// Copies restored states unchanged, under the numbers from `first` on.
fn copy_restored(
    restored: &[Arc<RestoredState>],
    mut first: usize,
    writer: &mut CheckpointWriter<'_>,
    cancel: &Cancel,
    progress: &Progress,
) -> Result<()> {
    for state in restored {
        // At most 32,767 states, which was checked for the metadata.
        state.copy_to(writer, first as u16, cancel, progress)?;
        first += state.metas().len();
    }
    Ok(())
}

fn handle(meta: &FileMeta, range: KeyGroupRange, files: Vec<StateFile>) -> KeyedStateHandle {
    KeyedStateHandle {
        format: row::FORMAT.to_owned(),
        checkpoint_id: meta.checkpoint_id,
        operator: meta.operator.clone(),
        range,
        // The file stores it as a wider type.
        max_parallelism: meta.max_parallelism as u16,
        key_group_mapping: meta.key_group_mapping.clone(),
        key_schema: meta.key_schema.clone(),
        files,
    }
}

impl FrozenRows {
    fn write(mut self, cancel: &Cancel, progress: &Progress) -> Result<KeyedStateHandle> {
        self.store.prepare()?;
        let mut meta = self.meta.clone();
        meta.states.extend(self.restored.iter().flat_map(|state| state.metas()).cloned());
        let file = self.target.write(&meta, false, cancel, |writer| {
            // At most 32,767 states, which was checked for the metadata.
            for (number, state) in (0..).zip(&self.meta.states) {
                self.registered(number, &state.name, writer, cancel, progress)?;
            }
            copy_restored(&self.restored, self.states.len(), writer, cancel, progress)?;
            Ok(true)
        })?;
        Ok(handle(&meta, self.range, file.into_iter().collect()))
    }

    /// Writes the rows of a registered state.
    fn registered(
        &self,
        state: u16,
        name: &str,
        writer: &mut CheckpointWriter<'_>,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<()> {
        let named = |error: Error| error.in_state(name);
        let form = self.states.get(usize::from(state));
        if let Some(rows) = form.and_then(|form| form.read_back.as_ref()) {
            writer.read_back(state, rows.clone());
        }
        let (from, to) = EntryKey::state_range(state);
        let mut cursor = self.store.scan(&from, &to).map_err(named)?;
        let mut rows = Rows { writer, section: None, key_len: 0, row: Vec::new(), in_row: 0, index: 0 };
        let (mut entries, mut bytes) = (0, 0);
        while let Some((key, value)) = cursor.next().map_err(named)? {
            self.entry(&mut rows, key, value).map_err(named)?;
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            if entries == CHECK_ENTRIES {
                cancel.check()?;
                progress.add(entries, bytes);
                (entries, bytes) = (0, 0);
            }
        }
        rows.flush().map_err(named)?;
        progress.add(entries, bytes);
        Ok(())
    }

    fn entry(&self, rows: &mut Rows<'_, '_>, key: &[u8], value: &[u8]) -> Result<()> {
        let foreign = || Error::new(ErrorKind::Corrupt, "the store returned a key that was never put");
        let key = EntryKey::split(key).ok_or_else(foreign)?;
        let form = self.states.get(usize::from(key.state)).ok_or_else(foreign)?;
        rows.entry(key, form.kind, &form.prefix, value).map_err(|error| error.in_group(key.group))
    }
}

/// Makes rows from entries. All entries of one list or map are consecutive.
struct Rows<'w, 'f> {
    writer: &'w mut CheckpointWriter<'f>,
    /// State and key group of the section.
    section: Option<(u16, u16)>,
    /// Length of the key and namespace at the beginning of `row`.
    key_len: usize,
    /// The row being filled. There is none while `in_row` is 0.
    row: Vec<u8>,
    in_row: usize,
    /// Index of the next element in its list.
    index: u64,
}

impl Rows<'_, '_> {
    /// Adds an entry of a state of `kind`.
    fn entry(&mut self, key: EntryKey<'_>, kind: StateKind, prefix: &Prefix, value: &[u8]) -> Result<()> {
        let EntryKey { state, group, own } = key;
        if self.section != Some((state, group)) {
            self.flush()?;
            self.writer.begin_section(state, group, SectionKind::Full)?;
            self.section = Some((state, group));
        }
        match kind {
            StateKind::Value | StateKind::Reducing | StateKind::Aggregating | StateKind::Timer => {
                self.value(own, value)
            }
            StateKind::List => {
                let mut begins = self.begins_other(own, prefix)?;
                if begins {
                    self.index = 0;
                }
                for element in runs::elements(value) {
                    if std::mem::take(&mut begins) || self.is_full() {
                        self.begin(own, kind)?;
                    }
                    self.index += 1;
                    self.add(&[], element?)?;
                }
                Ok(())
            }
            StateKind::Map => {
                if self.begins_other(own, prefix)? || self.is_full() {
                    self.begin(own, kind)?;
                }
                let map_key = own.get(self.key_len..).unwrap_or_default();
                self.add(map_key, value)
            }
        }
    }

    fn value(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.row(|out| {
            out.extend_from_slice(key);
            out.extend_from_slice(value);
            Ok(())
        })
    }

    /// True if `key` belongs to another list or map than the row. Then also finds the end of its key and
    /// namespace.
    fn begins_other(&mut self, key: &[u8], prefix: &Prefix) -> Result<bool> {
        // Encodings are self-delimiting, so equal bytes mean an equal key and namespace.
        if self.in_row > 0 && self.row.get(..self.key_len) == key.get(..self.key_len) {
            return Ok(false);
        }
        self.flush()?;
        self.key_len = prefix.len(key)?;
        Ok(true)
    }

    fn is_full(&self) -> bool {
        row::is_full(self.in_row, self.row.len())
    }

    fn begin(&mut self, key: &[u8], kind: StateKind) -> Result<()> {
        self.flush()?;
        self.row.extend(key.iter().take(self.key_len));
        if kind == StateKind::List {
            encode_varint(self.index, &mut self.row);
        }
        Ok(())
    }

    fn add(&mut self, map_key: &[u8], value: &[u8]) -> Result<()> {
        self.row.extend_from_slice(map_key);
        encode_sized(&mut self.row, |out| {
            out.extend_from_slice(value);
            Ok(())
        })?;
        self.in_row += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.in_row > 0 {
            self.writer.row(|out| {
                out.extend_from_slice(&self.row);
                Ok(())
            })?;
        }
        self.row.clear();
        self.in_row = 0;
        Ok(())
    }
}
