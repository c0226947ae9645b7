//! A whole heap as it was at a snapshot.

use std::sync::Arc;

use backend_api::format::{CheckpointWriter, FileMeta};
use backend_api::restore::RestoredState;
use backend_api::row::FORMAT;
use backend_api::{AttemptTarget, KeyGroupRange, KeyedStateHandle, Result, StateFile};

use super::checkpointing::WriteHeap;
use super::rows::{Extent, StateSnapshot};

/// All states of a backend as they were at one moment: what a checkpoint is written from, on any thread.
pub struct HeapSnapshot {
    pub(super) meta: FileMeta,
    pub(super) range: KeyGroupRange,
    pub(super) max_parallelism: u16,
    /// One for each state of `meta`, in that order.
    pub(super) states: Vec<Box<dyn StateSnapshot>>,
}

impl HeapSnapshot {
    /// What a checkpoint file says of itself and its states.
    pub fn meta(&self) -> &FileMeta {
        &self.meta
    }

    /// The key groups.
    pub fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// The states, in the order of the meta.
    pub fn states(&mut self) -> impl Iterator<Item = &mut (dyn StateSnapshot + 'static)> {
        self.states.iter_mut().map(|state| &mut **state)
    }

    /// Writes all of it into one exclusive file of `target`: a full checkpoint.
    pub fn write_full(mut self, target: AttemptTarget) -> WriteHeap {
        Box::new(move |cancel, progress| {
            let meta = self.meta.clone();
            let file = target.write(&meta, false, cancel, |writer| {
                for (index, state) in self.states.iter_mut().enumerate() {
                    state.prepare();
                    for group in self.range.iter() {
                        cancel.check()?;
                        let before = writer.flush()?;
                        let rows =
                            state.write(group, Extent::Full { replaces: false }, writer, index as u16)?;
                        progress.add(rows, writer.flush()? - before);
                    }
                }
                Ok(true)
            })?;
            Ok(Some(self.handle(file.into_iter().collect())))
        })
    }

    /// The handle of a checkpoint made of these files.
    pub fn handle(&self, files: Vec<StateFile>) -> KeyedStateHandle {
        KeyedStateHandle {
            format: FORMAT.to_owned(),
            checkpoint_id: self.meta.checkpoint_id,
            operator: self.meta.operator.clone(),
            range: self.range,
            max_parallelism: self.max_parallelism,
            key_group_mapping: self.meta.key_group_mapping.clone(),
            key_schema: self.meta.key_schema.clone(),
            files,
        }
    }
}

/// A restored state that the program has not registered: it is passed on as it is.
pub(super) struct UnregisteredSnapshot {
    pub(super) state: Arc<RestoredState>,
    /// Which of its metas this one stands for.
    pub(super) meta: usize,
}

impl StateSnapshot for UnregisteredSnapshot {
    fn entries(&self, key_group: u16) -> u64 {
        self.state.chain(key_group).iter().map(|part| part.section().rows).sum()
    }

    fn knows_changes(&self, _: u16) -> bool {
        true
    }

    fn prepare(&self) {}

    fn write(
        &mut self,
        key_group: u16,
        extent: Extent,
        writer: &mut CheckpointWriter<'_>,
        state: u16,
    ) -> Result<u64> {
        match extent {
            Extent::Full { .. } => self.state.copy_group(key_group, self.meta, writer, state),
            // The files are taken over by name: nobody else would look at their blocks.
            Extent::Changes => self.state.verify_group(key_group).map(|()| 0),
        }
    }
}
