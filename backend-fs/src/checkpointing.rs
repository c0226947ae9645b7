//! Heap checkpoints in files, full or incremental.

use std::sync::Arc;

use backend_api::restore::RestorePlan;
use backend_api::{
    AttemptTarget, CheckpointLedger, CheckpointTarget, KeyedStateHandle, Result, SnapshotRequest, Storage,
};
use backend_memory::heap::{Checkpointing, HeapSnapshot, WriteHeap};

use crate::FsOptions;
use crate::chains::Chains;
use crate::increment::write_increment;

/// Writes checkpoints into files.
///
/// An incremental checkpoint is one file of changes since the last confirmed checkpoint, entry by entry, plus
/// the earlier files that some key group still needs. A key group is written in full again when its changes
/// exceed half of its base, when it lies in many files, or when that takes fewer bytes. Each group does so at
/// its own time.
#[derive(Debug)]
pub struct InFiles {
    target: AttemptTarget,
    options: FsOptions,
    ledger: CheckpointLedger<Chains>,
}

impl Checkpointing for InFiles {
    type Options = FsOptions;

    fn open(options: &FsOptions) -> Result<Self> {
        let target = Self::target(options)?.for_attempt()?;
        Ok(Self { target, options: options.clone(), ledger: CheckpointLedger::new(None) })
    }

    fn target(options: &FsOptions) -> Result<CheckpointTarget> {
        Ok(options.target.clone())
    }

    fn memory_budget(&self) -> Option<u64> {
        self.options.memory_budget
    }

    fn restore_threads(&self) -> usize {
        self.options.restore_threads.get()
    }

    fn is_incremental(&self) -> bool {
        self.options.incremental
    }

    fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.target.storage()
    }

    fn restored(&mut self, handles: &[KeyedStateHandle], plan: &RestorePlan) {
        if self.options.incremental && self.options.claims_restored {
            let chains = Chains::restored(handles, plan);
            let restored = handles.first().zip(chains).map(|(handle, chains)| (handle.checkpoint_id, chains));
            self.ledger = CheckpointLedger::new(restored);
        }
    }

    fn target_for(&self, request: &SnapshotRequest) -> AttemptTarget {
        self.target.for_request(request)
    }

    fn write(&mut self, heap: HeapSnapshot, request: SnapshotRequest) -> WriteHeap {
        let target = self.target_for(&request);
        if !self.options.incremental {
            return heap.write_full(target);
        }
        let (base, entry) = self.ledger.begin(&request);
        let target = match &base {
            Some(base) => target.for_increment(base.inline_bytes(), 1),
            None => target,
        };
        Box::new(move |cancel, progress| {
            let (handle, chains) = write_increment(heap, base.as_deref(), &target, cancel, progress)?;
            entry.written(chains);
            Ok(Some(handle))
        })
    }

    fn complete(&mut self, checkpoint_id: u64) -> bool {
        self.ledger.complete(checkpoint_id)
    }

    fn aborted(&mut self, checkpoint_id: u64) {
        self.ledger.abort(checkpoint_id);
    }
}
