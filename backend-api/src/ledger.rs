//! For authors of backends with incremental checkpoints: the base of the next increment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::SnapshotRequest;

/// After this many written checkpoints that were neither confirmed nor named by a request, the next ones are
/// full. The base may be deleted, and then no checkpoint on top of it can complete.
const UNCONFIRMED_MAX: usize = 3;

/// The written checkpoints, and the last confirmed one. `T` describes the files of a checkpoint.
///
/// An increment builds on the last confirmed checkpoint. Notifications can get lost, so a request may name
/// the last completed checkpoint ([`SnapshotRequest::after`]). That confirms it, and an increment builds on
/// it or on nothing. Without such requests, a checkpoint builds on nothing if its base may be deleted: after an
/// abort while an earlier checkpoint is undecided, and after several consecutive checkpoints without a
/// confirmation.
#[derive(Debug)]
pub struct CheckpointLedger<T> {
    confirmed: Option<(u64, Arc<T>)>,
    written: Written<T>,
    /// True if a checkpoint was aborted while an earlier one was undecided.
    is_doubtful: bool,
}

/// Written checkpoints that are not confirmed, by id.
type Written<T> = Arc<Mutex<BTreeMap<u64, T>>>;

/// Reports to a [`CheckpointLedger`] that a checkpoint was written. For the task.
#[derive(Debug)]
pub struct LedgerEntry<T> {
    checkpoint_id: u64,
    /// `None` for a savepoint, on which nothing builds.
    written: Option<Written<T>>,
}

impl<T> CheckpointLedger<T> {
    /// The ledger of a new backend. `restored` is the restored checkpoint if its files may be built on.
    pub fn new(restored: Option<(u64, T)>) -> Self {
        let confirmed = restored.map(|(id, checkpoint)| (id, Arc::new(checkpoint)));
        Self { confirmed, written: Written::default(), is_doubtful: false }
    }

    /// Begins a checkpoint. Returns its base, or `None` for a full checkpoint, and the entry that its task
    /// reports to.
    pub fn begin(&mut self, request: &SnapshotRequest) -> (Option<Arc<T>>, LedgerEntry<T>) {
        let written = request.savepoint().is_none().then(|| Arc::clone(&self.written));
        let entry = LedgerEntry { checkpoint_id: request.checkpoint_id(), written };
        let is_trusted = match request.last_completed() {
            Some(last) => {
                self.complete(last);
                self.confirmed.as_ref().is_some_and(|(id, _)| *id == last)
            }
            None => !self.is_doubtful && lock(&self.written).len() < UNCONFIRMED_MAX,
        };
        let base = self.confirmed.as_ref().filter(|_| is_trusted && !request.is_full());
        (base.map(|(_, checkpoint)| Arc::clone(checkpoint)), entry)
    }

    /// Confirms a checkpoint, so that the next one may build on it. Returns false, and confirms nothing, if
    /// it was not written or is not newer than the last confirmed one.
    pub fn complete(&mut self, checkpoint_id: u64) -> bool {
        if self.confirmed.as_ref().is_some_and(|(id, _)| *id >= checkpoint_id) {
            return false;
        }
        let mut written = lock(&self.written);
        let Some(checkpoint) = written.remove(&checkpoint_id) else { return false };
        // Later checkpoints never build on earlier ones.
        *written = written.split_off(&checkpoint_id);
        self.confirmed = Some((checkpoint_id, Arc::new(checkpoint)));
        self.is_doubtful = false;
        true
    }

    /// Removes a checkpoint that will never complete.
    pub fn abort(&mut self, checkpoint_id: u64) {
        let mut written = lock(&self.written);
        written.remove(&checkpoint_id);
        self.is_doubtful |= written.first_key_value().is_some_and(|(id, _)| *id < checkpoint_id);
    }
}

impl<T> LedgerEntry<T> {
    /// Reports that the checkpoint was written with these files. Savepoints are not recorded.
    pub fn written(self, checkpoint: T) {
        if let Some(written) = &self.written {
            lock(written).insert(self.checkpoint_id, checkpoint);
        }
    }
}

fn lock<T>(written: &Written<T>) -> MutexGuard<'_, BTreeMap<u64, T>> {
    // No code that can panic runs under the lock.
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SavepointFormat, SnapshotKind};

    fn base(ledger: &mut CheckpointLedger<u64>, request: SnapshotRequest) -> Option<u64> {
        let (base, entry) = ledger.begin(&request);
        entry.written(request.checkpoint_id());
        base.map(|base| *base)
    }

    fn next(ledger: &mut CheckpointLedger<u64>, id: u64) -> Option<u64> {
        base(ledger, SnapshotRequest::new(id))
    }

    #[test]
    fn an_increment_builds_on_the_last_confirmed_checkpoint() {
        let mut ledger = CheckpointLedger::new(None);
        assert_eq!(next(&mut ledger, 1), None);
        assert!(ledger.complete(1));
        assert_eq!(next(&mut ledger, 2), Some(1));
        assert_eq!(next(&mut ledger, 3), Some(1));
        assert!(ledger.complete(3));
        assert!(!ledger.complete(2), "older than the confirmed one");
        assert_eq!(next(&mut ledger, 4), Some(3));
        assert_eq!(base(&mut ledger, SnapshotRequest::new(5).full()), None);

        let mut restored = CheckpointLedger::new(Some((7, 7)));
        assert_eq!(next(&mut restored, 8), Some(7));
    }

    #[test]
    fn nothing_builds_on_a_savepoint() {
        let mut ledger = CheckpointLedger::new(Some((1, 1)));
        for (id, format) in [(2, SavepointFormat::Canonical), (3, SavepointFormat::Native)] {
            let request = SnapshotRequest::new(id).with_kind(SnapshotKind::Savepoint(format));
            assert_eq!(base(&mut ledger, request), None);
            assert!(!ledger.complete(id));
        }
        assert_eq!(next(&mut ledger, 4), Some(1));
    }

    #[test]
    fn an_unwritten_checkpoint_confirms_nothing() {
        let mut ledger = CheckpointLedger::new(Some((1, 1)));
        drop(ledger.begin(&SnapshotRequest::new(2)));
        assert!(!ledger.complete(2));
        assert_eq!(next(&mut ledger, 3), Some(1));
    }

    #[test]
    fn a_request_naming_the_last_completed_checkpoint_replaces_a_lost_notification() {
        let mut ledger = CheckpointLedger::new(Some((1, 1)));
        assert_eq!(next(&mut ledger, 2), Some(1));
        assert_eq!(base(&mut ledger, SnapshotRequest::new(3).after(2)), Some(2));
        // Checkpoint 9 is unknown, and earlier ones may be deleted.
        assert_eq!(base(&mut ledger, SnapshotRequest::new(10).after(9)), None);
        // A checkpoint that the coordinator does not know as completed is not built on either.
        assert_eq!(base(&mut ledger, SnapshotRequest::new(11).after(1)), None);
        // Notification and request may come in either order.
        assert!(!ledger.complete(2));
        assert_eq!(base(&mut ledger, SnapshotRequest::new(12).after(2)), Some(2));
    }

    #[test]
    fn after_a_lost_notification_a_subtask_continues() {
        let mut ledger = CheckpointLedger::new(Some((1, 1)));
        assert_eq!(next(&mut ledger, 2), Some(1));
        assert_eq!(next(&mut ledger, 3), Some(1));
        ledger.abort(3);
        assert_eq!(next(&mut ledger, 4), None, "2 may have replaced 1");
        assert!(ledger.complete(4));
        assert_eq!(next(&mut ledger, 5), Some(4));

        // The same without aborts.
        let bases: Vec<_> = (6..10).map(|id| next(&mut ledger, id)).collect();
        assert_eq!(bases, [Some(4), Some(4), None, None]);
        assert!(ledger.complete(9));
        // An abort alone changes nothing.
        assert_eq!(next(&mut ledger, 10), Some(9));
        ledger.abort(10);
        assert_eq!(next(&mut ledger, 11), Some(9));
    }
}
