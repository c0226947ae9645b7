//! All states of a heap backend at the time of a snapshot.

use std::sync::Arc;

use backend_api::format::{CheckpointWriter, FileMeta};
use backend_api::restore::RestoredState;
use backend_api::row::SortedRows;
use backend_api::{AttemptTarget, Cancel, KeyGroupRange, KeyedStateHandle, Progress, Result, StateFile};

use super::rows::{CanonicalSnapshot, Extent, StateSnapshot};

/// Writes a snapshot of the heap. Runs on any thread.
pub type WriteHeap = Box<dyn FnOnce(&Cancel, &Progress) -> Result<Option<KeyedStateHandle>> + Send>;

/// All states of a backend at one moment. A checkpoint is written from it, on any thread.
pub struct HeapSnapshot {
    pub(super) meta: FileMeta,
    pub(super) range: KeyGroupRange,
    /// One for each state of `meta`, in that order.
    pub(super) states: Vec<Box<dyn StateSnapshot>>,
}

impl HeapSnapshot {
    /// The metadata of the checkpoint file and its states.
    pub fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// The key groups of the snapshot.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// The states, in the order of the metadata.
    pub fn states(&mut self) -> impl Iterator<Item = &mut (dyn StateSnapshot + 'static)> {
        self.states.iter_mut().map(|state| &mut **state)
    }

    /// Returns the task that writes a full checkpoint into one exclusive file of `target`. Leaves out what has expired.
    pub fn write_full(mut self, target: AttemptTarget) -> WriteHeap {
        Box::new(move |cancel, progress| {
            let meta = self.meta.clone();
            let file = target.write(&meta, false, cancel, |writer| {
                for (index, state) in self.states.iter_mut().enumerate() {
                    state.prepare();
                    for group in state.groups() {
                        cancel.check()?;
                        let before = writer.flush()?;
                        let rows = state.write(group, Extent::Live, writer, index as u16)?;
                        progress.add(rows, writer.flush()? - before);
                    }
                }
                Ok(true)
            })?;
            Ok(Some(self.handle(file.into_iter().collect())))
        })
    }

    /// The handle of a checkpoint with these files.
    pub fn handle(&self, files: Vec<StateFile>) -> KeyedStateHandle {
        self.meta.handle(self.range, files)
    }
}

/// A state of a canonical savepoint.
pub(super) enum CanonicalState {
    /// A registered one.
    Registered(String, Box<dyn CanonicalSnapshot>),
    /// A restored one that the program has not registered.
    Restored(Arc<RestoredState>),
}

impl CanonicalState {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Registered(name, _) => name,
            Self::Restored(state) => state.name(),
        }
    }
}

/// Returns the task that writes a canonical savepoint into one exclusive file of `target`. `meta` describes the
/// `states`, which are in the order of their names.
pub(super) fn write_canonical(
    meta: FileMeta,
    range: KeyGroupRange,
    states: Vec<CanonicalState>,
    target: AttemptTarget,
) -> WriteHeap {
    Box::new(move |cancel, progress| {
        let mut sorted = SortedRows::default();
        let file = target.write(&meta, false, cancel, |writer| {
            let mut number = 0_u16;
            for mut state in states {
                // At most 32,767 states, which was checked for the metadata.
                match &mut state {
                    CanonicalState::Registered(_, state) => {
                        state.prepare();
                        for group in state.groups() {
                            cancel.check()?;
                            let before = writer.flush()?;
                            let rows = state.write_canonical(group, &mut sorted, writer, number)?;
                            progress.add(rows, writer.flush()? - before);
                        }
                        number += 1;
                    }
                    CanonicalState::Restored(state) => {
                        number += state.write_canonical(writer, number, cancel, progress)?;
                    }
                }
            }
            Ok(true)
        })?;
        Ok(Some(meta.handle(range, file.into_iter().collect())))
    })
}

/// A restored state that the program has not registered. It is passed on unchanged.
pub(super) struct UnregisteredSnapshot {
    state: Arc<RestoredState>,
    /// Index of its metadata in `state`.
    meta: usize,
}

impl UnregisteredSnapshot {
    pub(super) fn new(state: Arc<RestoredState>, meta: usize) -> Self {
        Self { state, meta }
    }
}

impl StateSnapshot for UnregisteredSnapshot {
    fn groups(&self) -> Vec<u16> {
        self.state.groups().collect()
    }

    fn changed_groups(&self) -> Result<Option<Vec<u16>>> {
        // The increment takes over the files by name without reading them, so their blocks are verified here.
        self.state.verify()?;
        Ok(Some(Vec::new()))
    }

    fn entries(&self, key_group: u16) -> u64 {
        self.state.chain(key_group).iter().map(|part| part.section().rows).sum()
    }

    fn prefers_full(&self, _: u16) -> Result<bool> {
        Ok(true)
    }

    fn prepare(&self) {}

    fn write(
        &mut self,
        key_group: u16,
        _: Extent,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        self.state.copy_group(key_group, self.meta, writer, state)
    }
}
