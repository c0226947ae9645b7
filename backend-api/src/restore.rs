//! Restoring checkpoints made of rows: the sections of each state and key group.

mod canonical;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use crate::format::{CheckpointReader, CheckpointWriter, Section, SectionKind, StateMeta};
use crate::row::{self, Row, RowEvolution};
use crate::shape::{KeyRole, check_key_type};
use crate::{
    Cancel, Error, ErrorKind, KeyGroupRange, KeyedStateHandle, Progress, Result, StateDescriptor, StateKey,
    StateKind, Storage, Subtask,
};

/// The content of a restore's handles for one subtask, located but not decoded.
///
/// It keeps the files open, so the handles may be discarded once there is a plan, and each state is decoded
/// when it is registered.
#[derive(Debug, Default)]
pub struct RestorePlan {
    states: BTreeMap<String, Arc<RestoredState>>,
}

/// One restored state.
#[derive(Debug)]
pub struct RestoredState {
    kind: StateKind,
    /// All metadata of the state that differs in more than the seed. At least one.
    metas: Vec<StateMeta>,
    /// For each key group that has or had rows, its sections in the order in which they apply.
    chains: BTreeMap<u16, Vec<RestoredSection>>,
    /// Set once all blocks are verified.
    verified: OnceLock<()>,
}

/// A section of a restored key group. No row of a block is returned before its checksum matched.
#[derive(Clone, Debug)]
pub struct RestoredSection {
    reader: Arc<CheckpointReader>,
    section: Section,
    /// Index in [`RestoredState::metas`].
    meta: usize,
    /// Makes rows of the registered codec.
    evolution: Option<RowEvolution>,
    /// Set once all blocks are verified.
    verified: OnceLock<()>,
}

impl RestorePlan {
    /// Locates the key groups of `subtask` in `handles`. Does not open files without any of them. `storage`
    /// may be missing if all state is inline. Verifies headers and indexes. Blocks are verified when they are
    /// read, or by [`verify`](Self::verify).
    ///
    /// # Errors
    /// Same as [`StateBackend::open`](crate::StateBackend::open).
    /// [`IncompatibleKind`](ErrorKind::IncompatibleKind) if two handles have states of one name and different
    /// kinds. [`InvalidArgument`](ErrorKind::InvalidArgument) if there is a file and no storage.
    pub fn open<K: StateKey>(
        handles: &[KeyedStateHandle],
        storage: Option<&dyn Storage>,
        subtask: &Subtask<K>,
    ) -> Result<Self> {
        Self::open_formats(handles, storage, subtask, &[row::FORMAT])
    }

    /// [`open`](Self::open) for a backend that also reads native savepoints of its family, which are
    /// [made of rows](row::has_rows).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_formats<K: StateKey>(
        handles: &[KeyedStateHandle],
        storage: Option<&dyn Storage>,
        subtask: &Subtask<K>,
        formats: &[&str],
    ) -> Result<Self> {
        let parts = check_handles(handles, subtask, formats)?;
        Self::of(&parts, storage)
    }

    /// [`open_formats`](Self::open_formats) for a backend that restores other handles too, so that key groups of the subtask
    /// may be missing in these.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_some<K: StateKey>(
        handles: &[KeyedStateHandle],
        storage: Option<&dyn Storage>,
        subtask: &Subtask<K>,
        formats: &[&str],
    ) -> Result<Self> {
        let parts = parts_of(handles, subtask, formats)?;
        Self::of(&parts, storage)
    }

    /// Locates all content of `handle`, for tools that do not know the type of its keys. The handle must have rows. Its key
    /// groups and keys are not checked.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_handle(handle: &KeyedStateHandle, storage: Option<&dyn Storage>) -> Result<Self> {
        Self::of(&[(handle.range, handle)], storage)
    }

    fn of(parts: &[(KeyGroupRange, &KeyedStateHandle)], storage: Option<&dyn Storage>) -> Result<Self> {
        let mut states = BTreeMap::new();
        for (range, handle) in parts {
            for file in &handle.files {
                let reader = Arc::new(file.open(storage)?);
                check_file(&reader, handle, file.created_by)?;
                add_file(&mut states, &reader, *range)?;
            }
        }
        Ok(Self { states: states.into_iter().map(|(name, state)| (name, Arc::new(state))).collect() })
    }

    /// Verifies all blocks, for backends that use some before they have read all.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), [`Io`](ErrorKind::Io).
    pub fn verify(&self) -> Result<()> {
        let mut sections = self.states.values().flat_map(|state| state.chains.values().flatten());
        sections.try_for_each(RestoredSection::verify)
    }

    /// The states that were not taken, by name.
    pub fn states(&self) -> impl ExactSizeIterator<Item = &Arc<RestoredState>> {
        self.states.values()
    }

    /// The state of that name.
    pub fn state(&self, name: &str) -> Option<&Arc<RestoredState>> {
        self.states.get(name)
    }

    /// Removes the state of that name, once it is registered and decoded.
    pub fn take(&mut self, name: &str) -> Option<Arc<RestoredState>> {
        self.states.remove(name)
    }
}

impl RestoredState {
    /// The state's name.
    pub fn name(&self) -> &str {
        self.metas.first().map_or("", |meta| &meta.name)
    }

    /// Its kind.
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    /// The state's metadata in the files: usually one, and several if it was written with different codecs.
    /// Then it cannot be registered.
    pub fn metas(&self) -> &[StateMeta] {
        &self.metas
    }

    /// The key groups that have a chain, ascending.
    pub fn groups(&self) -> impl Iterator<Item = u16> {
        self.chains.iter().filter(|(_, chain)| !chain.is_empty()).map(|(group, _)| *group)
    }

    /// The sections of a key group, in the order in which they apply. Only the first can be a
    /// [`Full`](SectionKind::Full) section. Without one, the group was empty before.
    pub fn chain(&self, group: u16) -> &[RestoredSection] {
        self.chains.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Verifies all blocks once, for backends that pass the files on without reading them.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), [`Io`](ErrorKind::Io).
    pub fn verify(&self) -> Result<()> {
        if self.verified.get().is_none() {
            self.chains.values().flatten().try_for_each(RestoredSection::verify)?;
            self.verified.get_or_init(|| ());
        }
        Ok(())
    }

    /// The state as `descriptor` registers it. Its sections return rows of the descriptor's codec, also if a codec of an
    /// older type has written them.
    ///
    /// # Errors
    /// Same as [`StateDescriptor::evolution`]. The state can then be registered with another descriptor.
    pub fn evolve<K: StateKey, D: StateDescriptor>(&self, descriptor: &D) -> Result<Self> {
        // A newer file may have replaced all that an older type has written.
        let has_rows: BTreeSet<_> = self.chains.values().flatten().map(|part| part.meta).collect();
        let last = self.metas.len().saturating_sub(1);
        let evolution = |(at, meta)| match has_rows.contains(&at) || (has_rows.is_empty() && at == last) {
            true => descriptor.evolution::<K>(meta),
            false => Ok(None),
        };
        let evolutions: Vec<_> = self.metas.iter().enumerate().map(evolution).collect::<Result<_>>()?;
        let mut chains = self.chains.clone();
        for part in chains.values_mut().flatten() {
            part.evolution = evolutions.get(part.meta).cloned().flatten();
        }
        Ok(Self { kind: self.kind, metas: self.metas.clone(), chains, verified: self.verified.clone() })
    }

    /// True if another codec than the one it was [evolved](Self::evolve) to has written a part of the state. Later
    /// checkpoints must not use these files then.
    pub fn is_evolved(&self) -> bool {
        self.chains.values().flatten().any(|part| part.evolution.is_some())
    }

    /// Copies all sections to another checkpoint file without decoding them. There, `metas()[i]` is state
    /// number `first + i`.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled), and those of [`CheckpointReader::copy_section`].
    pub fn copy_to(
        &self,
        writer: &mut CheckpointWriter<'_>,
        first: u16,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<()> {
        for (state, meta) in (first..).zip(0..self.metas.len()) {
            for group in self.groups() {
                cancel.check()?;
                let before = writer.flush()?;
                let rows = self.copy_group(group, meta, writer, state)?;
                progress.add(rows, writer.flush()? - before);
            }
        }
        Ok(())
    }

    /// Copies the sections of one key group with `metas()[meta]` to another checkpoint file without decoding
    /// them, for the state with the index `state` there. Returns the number of rows.
    ///
    /// # Errors
    /// Same as [`CheckpointReader::copy_section`].
    pub fn copy_group(
        &self,
        group: u16,
        meta: usize,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        let mut rows = 0;
        for part in self.chain(group).iter().filter(|part| part.meta == meta) {
            part.reader.copy_section(&part.section, writer, state)?;
            rows += part.section.rows;
        }
        Ok(rows)
    }

    /// Index of an equal meta, added if it is new.
    fn add_meta(&mut self, meta: &StateMeta) -> Result<usize> {
        if meta.kind != self.kind {
            let message = format!("one snapshot has it as {} state, another as {}", self.kind, meta.kind);
            return Err(Error::new(ErrorKind::IncompatibleKind, message).in_state(&meta.name));
        }
        let same = |known: &StateMeta| {
            (&known.namespace_schema, &known.codecs, &known.options)
                == (&meta.namespace_schema, &meta.codecs, &meta.options)
        };
        Ok(self.metas.iter().position(same).unwrap_or_else(|| {
            self.metas.push(meta.clone());
            self.metas.len() - 1
        }))
    }
}

impl RestoredSection {
    /// The file.
    pub fn reader(&self) -> &Arc<CheckpointReader> {
        &self.reader
    }

    /// The section.
    pub fn section(&self) -> &Section {
        &self.section
    }

    fn verify(&self) -> Result<()> {
        if self.verified.get().is_none() {
            self.reader.verify(&self.section)?;
            self.verified.get_or_init(|| ());
        }
        Ok(())
    }

    /// The state's metadata in the file.
    pub fn meta(&self) -> Option<&StateMeta> {
        self.reader.meta().states.get(usize::from(self.section.state))
    }

    /// Calls `f` with all rows, in the order in which they were written.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt), [`Io`](ErrorKind::Io), and those of `f`, with the place where they occurred.
    pub fn for_each_row<K: StateKey, N: StateKey>(
        &self,
        mut f: impl FnMut(Row<'_, K, N>) -> Result<()>,
    ) -> Result<()> {
        let (kind, section) = (self.meta().map(|meta| meta.kind), self.section.kind);
        self.for_each_raw_row(|row| match kind {
            Some(kind) => f(Row::decode(kind, section, row)?),
            None => Ok(()),
        })
    }

    /// Calls `f` with the bytes of all rows, in the order in which they were written.
    ///
    /// # Errors
    /// As [`for_each_row`](Self::for_each_row).
    #[inline(always)]
    pub fn for_each_raw_row(&self, mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let rows = self.reader.rows(&self.section);
        let Some(evolution) = &self.evolution else {
            return rows.for_each(|row| f(row).map_err(|error| self.placed(error)));
        };
        let mut present = Vec::new();
        rows.for_each(|row| {
            present.clear();
            let converted = evolution.convert(self.section.kind, row, &mut present);
            converted.and_then(|()| f(&present)).map_err(|error| self.placed(error))
        })
    }

    #[cold]
    fn placed(&self, error: Error) -> Error {
        let error = error.in_group(self.section.group).in_file(self.reader.path(), None);
        match self.meta() {
            Some(meta) => error.in_state(&meta.name),
            None => error,
        }
    }
}

/// Adds the sections of `reader` for the groups in `range`, after those of earlier files.
fn add_file(
    states: &mut BTreeMap<String, RestoredState>,
    reader: &Arc<CheckpointReader>,
    range: KeyGroupRange,
) -> Result<()> {
    let mut metas = Vec::with_capacity(reader.meta().states.len());
    for meta in &reader.meta().states {
        if meta.is_dropped() {
            metas.push(usize::MAX);
            continue;
        }
        let new = || RestoredState {
            kind: meta.kind,
            metas: Vec::new(),
            chains: BTreeMap::new(),
            verified: OnceLock::new(),
        };
        metas.push(states.entry(meta.name.clone()).or_insert_with(new).add_meta(meta)?);
    }
    for section in reader.sections().iter().filter(|section| range.contains(section.group)) {
        let number = usize::from(section.state);
        // The reader has checked that the state of every section exists.
        let (Some(meta), Some(&at)) = (reader.meta().states.get(number), metas.get(number)) else { continue };
        let Some(state) = states.get_mut(&meta.name) else { continue };
        let chain = state.chains.entry(section.group).or_default();
        // An empty section replaces earlier ones. An increment that builds on these files must keep it.
        let replaces = section.kind == SectionKind::Full && !chain.is_empty();
        if section.kind == SectionKind::Full {
            chain.clear();
        }
        if section.rows > 0 || replaces {
            let (reader, section) = (Arc::clone(reader), *section);
            let verified = OnceLock::new();
            chain.push(RestoredSection { reader, section, meta: at, evolution: None, verified });
        }
    }
    Ok(())
}

/// The parts of the handles that belong to `subtask`. They must cover its key groups, unless there are no
/// handles.
///
/// # Errors
/// As [`StateBackend::open`](crate::StateBackend::open): another format, other keys, or a key group in two
/// handles or in none.
pub fn check_handles<'h, K: StateKey>(
    handles: &'h [KeyedStateHandle],
    subtask: &Subtask<K>,
    formats: &[&str],
) -> Result<Vec<(KeyGroupRange, &'h KeyedStateHandle)>> {
    let parts = parts_of(handles, subtask, formats)?;
    if !handles.is_empty() {
        check_covered(subtask.range(), parts.iter().map(|(range, _)| *range))?;
    }
    Ok(parts)
}

/// [`check_handles`] with missing key groups allowed.
fn parts_of<'h, K: StateKey>(
    handles: &'h [KeyedStateHandle],
    subtask: &Subtask<K>,
    formats: &[&str],
) -> Result<Vec<(KeyGroupRange, &'h KeyedStateHandle)>> {
    handles.iter().try_for_each(|handle| check_handle(handle, subtask, formats))?;
    let mut parts = Vec::new();
    for handle in handles {
        parts.extend(handle.range.intersection(subtask.range()).map(|range| (range, handle)));
    }
    check_disjoint(&parts)?;
    Ok(parts)
}

fn check_handle<K: StateKey>(
    handle: &KeyedStateHandle,
    subtask: &Subtask<K>,
    formats: &[&str],
) -> Result<()> {
    let of = |what: String| format!("the snapshot of checkpoint {} {what}", handle.checkpoint_id);
    if !formats.contains(&&*handle.format) {
        let message = of(format!(
            "is in {:?}, the own format of another backend, and this one reads {formats:?}; every backend can restore \
             canonical savepoints and full checkpoints",
            handle.format
        ));
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let (old, new) = (handle.max_parallelism, subtask.key_space().max_parallelism());
    if old != new {
        let message = of(format!("has max parallelism {old}, this backend {new}"));
        return Err(Error::new(ErrorKind::IllegalState, message));
    }
    let (old, new) = (handle.key_group_mapping.as_str(), subtask.key_space().mapping_id());
    if old != new {
        let message = of(format!("has keys mapped to groups by {old:?}, this backend by {new:?}"));
        return Err(Error::new(ErrorKind::IllegalState, message));
    }
    check_key_type(KeyRole::Key, &handle.key_schema, &K::schema())
}

fn check_disjoint(parts: &[(KeyGroupRange, &KeyedStateHandle)]) -> Result<()> {
    let mut ranges: Vec<_> = parts.iter().map(|(range, _)| *range).collect();
    ranges.sort_unstable();
    let mut pairs = ranges.iter().zip(ranges.iter().skip(1));
    match pairs.find_map(|(a, b)| a.intersection(*b)) {
        None => Ok(()),
        Some(both) => {
            let message = format!("two snapshots hold the key groups {both}");
            Err(Error::new(ErrorKind::IllegalState, message).in_group(both.start()))
        }
    }
}

/// Checks that `parts` cover all key groups of `range`.
pub(crate) fn check_covered(range: KeyGroupRange, parts: impl Iterator<Item = KeyGroupRange>) -> Result<()> {
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    let mut next = u32::from(range.start());
    for part in parts {
        if u32::from(part.start()) > next {
            break;
        }
        next = next.max(u32::from(part.end()) + 1);
    }
    match u16::try_from(next).ok().filter(|missing| range.contains(*missing)) {
        None => Ok(()),
        Some(missing) => {
            let message = format!("no snapshot holds key group {missing}, which is one of {range}");
            Err(Error::new(ErrorKind::IllegalState, message).in_group(missing))
        }
    }
}

/// Checks that the file's metadata agrees with its handle, which was compared with the subtask.
fn check_file(reader: &CheckpointReader, handle: &KeyedStateHandle, checkpoint_id: u64) -> Result<()> {
    let meta = reader.meta();
    let same = meta.format == handle.format
        && meta.checkpoint_id == checkpoint_id
        && meta.max_parallelism == u32::from(handle.max_parallelism)
        && meta.key_group_mapping == handle.key_group_mapping
        && meta.key_schema == handle.key_schema;
    if !same {
        let message = "the file contradicts the handle that names it: another format, checkpoint, key type, mapping or max parallelism";
        return Err(Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), None));
    }
    if meta.holds_groups(handle.range) {
        return Ok(());
    }
    let (first, last) = meta.key_groups.clone().into_inner();
    let message = format!("the handle names the key groups {}, the file has {first}-{last}", handle.range);
    Err(Error::new(ErrorKind::Corrupt, message).in_file(reader.path(), None))
}
