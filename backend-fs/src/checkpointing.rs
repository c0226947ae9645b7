//! Heap checkpoints in files, full or incremental.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use backend_api::format::CheckpointWriter;
use backend_api::restore::RestorePlan;
use backend_api::{
    AttemptTarget, Cancel, CheckpointTarget, KeyedStateHandle, Progress, Result, SnapshotRequest, Storage,
};
use backend_memory::heap::{Checkpointing, Extent, HeapSnapshot, WriteHeap};

use crate::FsOptions;
use crate::chains::{Chain, Chains};

/// After this many checkpoints that nobody confirmed, the next ones build on none: the confirmed one may be gone, so that
/// no checkpoint that builds on it can complete.
const UNCONFIRMED_MAX: u32 = 3;

/// Writes checkpoints into files.
///
/// An incremental checkpoint is one file of what changed, entry by entry, since the last confirmed checkpoint, and the
/// files of earlier ones that some key group still needs. A group is written in full again when its changes have
/// grown to half of it or lie in many files, each group at its own time.
#[derive(Debug)]
pub struct InFiles {
    target: AttemptTarget,
    incremental: bool,
    claims_restored: bool,
    memory_budget: Option<u64>,
    restore_threads: usize,
    /// Of the last confirmed checkpoint, or of the one that was restored.
    confirmed: Option<Arc<Chains>>,
    /// Checkpoints taken since the last confirmed one.
    unconfirmed: u32,
    /// Of checkpoints that were written and are not confirmed, by their ids.
    written: Arc<Mutex<BTreeMap<u64, Chains>>>,
}

impl Checkpointing for InFiles {
    type Options = FsOptions;

    fn open(options: &FsOptions) -> Result<Self> {
        Ok(Self {
            target: Self::target(options)?.for_attempt()?,
            incremental: options.incremental,
            claims_restored: options.claims_restored,
            memory_budget: options.memory_budget,
            restore_threads: options.restore_threads.get(),
            confirmed: None,
            unconfirmed: 0,
            written: Arc::default(),
        })
    }

    fn target(options: &FsOptions) -> Result<CheckpointTarget> {
        Ok(options.target.clone())
    }

    fn memory_budget(&self) -> Option<u64> {
        self.memory_budget
    }

    fn restore_threads(&self) -> usize {
        self.restore_threads
    }

    fn is_incremental(&self) -> bool {
        self.incremental
    }

    fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.target.storage()
    }

    fn restored(&mut self, handles: &[KeyedStateHandle], plan: &RestorePlan) {
        if self.incremental && self.claims_restored && !handles.is_empty() {
            self.confirmed = Chains::restored(handles, plan).map(Arc::new);
        }
    }

    fn write(&mut self, heap: HeapSnapshot, request: SnapshotRequest) -> WriteHeap {
        if !self.incremental {
            return heap.write_full(self.target.clone());
        }
        let is_trusted = self.unconfirmed < UNCONFIRMED_MAX;
        self.unconfirmed += 1;
        let base = self.confirmed.clone().filter(|_| is_trusted && !request.is_full());
        let (target, written) = (self.target.clone(), Arc::clone(&self.written));
        Box::new(move |cancel, progress| {
            let (handle, chains) = write_changes(heap, base.as_deref(), &target, cancel, progress)?;
            lock(&written).insert(handle.checkpoint_id, chains);
            Ok(Some(handle))
        })
    }

    fn complete(&mut self, checkpoint_id: u64) -> bool {
        let mut written = lock(&self.written);
        let Some(chains) = written.remove(&checkpoint_id) else { return false };
        written.retain(|id, _| *id > checkpoint_id);
        self.confirmed = Some(Arc::new(chains));
        self.unconfirmed = 0;
        true
    }

    fn aborted(&mut self, checkpoint_id: u64) {
        lock(&self.written).remove(&checkpoint_id);
    }
}

fn lock(
    written: &Mutex<BTreeMap<u64, Chains>>,
) -> impl std::ops::DerefMut<Target = BTreeMap<u64, Chains>> + '_ {
    // Nothing that may panic runs under the lock.
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_changes(
    mut heap: HeapSnapshot,
    base: Option<&Chains>,
    target: &AttemptTarget,
    cancel: &Cancel,
    progress: &Progress,
) -> Result<(KeyedStateHandle, Chains)> {
    let meta = heap.meta().clone();
    let mut chains = Chains::of(&meta.states);
    let name = target.file_name(&meta);
    let file = target.write(&meta, true, cancel, |writer| {
        write_groups(&mut heap, base, &mut chains, &name, writer, cancel, progress)?;
        Ok(chains.wants(base, &name))
    })?;
    chains.set_files(base, file);
    Ok((heap.handle(chains.files().to_vec()), chains))
}

fn write_groups(
    heap: &mut HeapSnapshot,
    base: Option<&Chains>,
    chains: &mut Chains,
    file: &str,
    writer: &mut CheckpointWriter<'_>,
    cancel: &Cancel,
    progress: &Progress,
) -> Result<()> {
    let (range, names) = (heap.range(), heap.meta().states.iter().map(|state| state.name.clone()));
    let names: Vec<String> = names.collect();
    for (index, (state, name)) in heap.states().zip(&names).enumerate() {
        state.prepare();
        for group in range.iter() {
            cancel.check()?;
            let old = base.and_then(|base| base.get(name, group));
            let extent = match old {
                Some(chain) if !chain.is_due(group) && state.knows_changes(group) => Extent::Changes,
                Some(_) => Extent::Full { replaces: true },
                None => Extent::Full { replaces: false },
            };
            let before = writer.flush()?;
            let rows = state.write(group, extent, writer, index as u16)?;
            let bytes = writer.flush()? - before;
            progress.add(rows, bytes);
            let chain = match (extent, old) {
                (Extent::Changes, Some(old)) if rows > 0 => old.clone().changed(file, bytes),
                (Extent::Changes, Some(old)) => old.clone(),
                (Extent::Full { replaces: false }, _) if rows == 0 => continue,
                _ => Chain::full(file, bytes),
            };
            chains.insert(name, group, chain);
        }
    }
    Ok(())
}
