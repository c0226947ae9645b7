//! Writes a snapshot of the store as a checkpoint of rows, or of the store's own files.

use std::sync::Arc;

use super::registry::RowForm;
use super::{ByteSnapshot, EntryKey, NativeTask, runs};

use backend_api::format::{CheckpointWriter, FileMeta, StateMeta};
use backend_api::restore::RestoredState;
use backend_api::row::{self, ItemRows};
use backend_api::{
    AttemptTarget, Cancel, Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Progress, Result, StateFile,
    StateShape,
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
    /// True for a canonical savepoint.
    pub is_canonical: bool,
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
                Ok(KeyedStateHandle { format: format.to_owned(), ..meta.handle(range, files) })
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

impl FrozenRows {
    fn write(mut self, cancel: &Cancel, progress: &Progress) -> Result<KeyedStateHandle> {
        self.store.prepare()?;
        let parts = self.parts();
        let metas = parts.iter().flat_map(|part| match part {
            Part::Registered(_, meta) => {
                vec![if self.is_canonical { meta.canonical() } else { (*meta).clone() }]
            }
            Part::Restored(state) if self.is_canonical => state.canonical_metas(),
            Part::Restored(state) => state.metas().to_vec(),
        });
        let meta = FileMeta { states: metas.collect(), ..self.meta.clone() };
        let file = self.target.write(&meta, false, cancel, |writer| {
            // At most 32,767 states, which was checked for the metadata.
            let mut number = 0;
            for part in &parts {
                number += match part {
                    Part::Registered(state, meta) => {
                        self.registered(*state, number, meta, writer, cancel, progress)?;
                        1
                    }
                    Part::Restored(state) if self.is_canonical => {
                        state.write_canonical(writer, number, cancel, progress)?
                    }
                    Part::Restored(state) => {
                        state.copy_to(writer, number, cancel, progress)?;
                        state.metas().len() as u16
                    }
                };
            }
            Ok(true)
        })?;
        Ok(meta.handle(self.range, file.into_iter().collect()))
    }

    /// What the file consists of. Canonical savepoints have their states in the order of their names, and no placeholders.
    fn parts(&self) -> Vec<Part<'_>> {
        let registered = (0..).zip(&self.meta.states).map(|(number, meta)| Part::Registered(number, meta));
        let mut parts: Vec<_> = registered.chain(self.restored.iter().map(Part::Restored)).collect();
        if self.is_canonical {
            parts.retain(|part| !matches!(part, Part::Registered(_, meta) if meta.is_dropped()));
            parts.sort_by(|a, b| a.name().cmp(b.name()));
        }
        parts
    }

    /// Writes the rows of state `state` of the store, as state `number` of the file.
    fn registered(
        &self,
        state: u16,
        number: u16,
        meta: &StateMeta,
        writer: &mut CheckpointWriter<'_>,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<()> {
        let named = |error: Error| error.in_state(&meta.name);
        let Some(form) = self.states.get(usize::from(state)) else { return Ok(()) };
        if let Some(rows) = &form.read_back {
            writer.read_back(number, if self.is_canonical { rows.canonical() } else { rows.clone() });
        }
        let canonical = meta.values().filter(|_| self.is_canonical);
        let (from, to) = EntryKey::state_range(state);
        let mut cursor = self.store.scan(&from, &to).map_err(named)?;
        let mut rows = ItemRows::new(writer, meta.kind.shape(), canonical.as_ref());
        let mut group = None;
        let (mut entries, mut bytes) = (0, 0);
        while let Some((key, value)) = cursor.next().map_err(named)? {
            let foreign = || Error::new(ErrorKind::Corrupt, "the store returned a key that was never put");
            let entry = EntryKey::split(key).ok_or_else(foreign).map_err(named)?;
            let place = |error: Error| error.in_state(&meta.name).in_group(entry.group);
            if !form.expiry.as_ref().is_some_and(|expiry| expiry.has_expired(value)) {
                if group != Some(entry.group) {
                    rows.begin_section(number, entry.group).map_err(place)?;
                    group = Some(entry.group);
                }
                add_entry(&mut rows, form, entry.own, value).map_err(place)?;
            }
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            if entries == CHECK_ENTRIES {
                cancel.check()?;
                progress.add(entries, bytes);
                (entries, bytes) = (0, 0);
            }
        }
        rows.finish().map_err(named)?;
        progress.add(entries, bytes);
        Ok(())
    }
}

/// A state of the file.
enum Part<'f> {
    /// One of the store, with its number there.
    Registered(u16, &'f StateMeta),
    Restored(&'f Arc<RestoredState>),
}

impl Part<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Registered(_, meta) => &meta.name,
            Self::Restored(state) => state.name(),
        }
    }
}

/// Adds an entry of the store, whose key without its head is `own`. Leaves out expired elements of a list.
fn add_entry(rows: &mut ItemRows<'_, '_>, form: &RowForm, own: &[u8], value: &[u8]) -> Result<()> {
    let shape = form.kind.shape();
    if matches!(shape, StateShape::Single | StateShape::Timer) {
        return rows.add(own, &[], value);
    }
    let prefix_len = match rows.known_prefix(own) {
        Some(len) => len,
        None => form.prefix.len(own)?,
    };
    let (prefix, map_key) = own.split_at_checked(prefix_len).unwrap_or((own, &[]));
    if shape != StateShape::List {
        return rows.add(prefix, map_key, value);
    }
    for element in runs::elements(value) {
        let element = element?;
        if !form.expiry.as_ref().is_some_and(|expiry| expiry.is_expired(element)) {
            rows.add(prefix, &[], element)?;
        }
    }
    Ok(())
}
