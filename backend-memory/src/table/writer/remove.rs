//! Removing entries.

use std::mem::needs_drop;

use crate::table::{
    EPOCH, Placement, Table, TableKey, TableValue, bag::Garbage, removal_log::RemovalLog, slot::OwnedValue,
};

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Removes an entry. Returns its value, and true if a snapshot may still read it.
    pub(in crate::table) fn remove_at(
        &mut self,
        group: usize,
        tag: u32,
        index: usize,
    ) -> (OwnedValue<V>, bool) {
        self.touch(group);
        let (mut segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments, and the index is of an occupied slot.
        let epoch = unsafe { segment.slot(index).epoch() };
        // Without snapshots, or in the current epoch, the slot is already the writer's alone. Then there is
        // no need to wait for the header.
        if epoch < self.epoch && !self.live.is_empty() {
            segment = self.own(group, tag);
        }
        // SAFETY: as above.
        let slot = unsafe { segment.slot(index) };
        // No snapshot has entries that were added in this epoch.
        let is_logged = self.tracks_removals && epoch <= self.epoch;
        // SAFETY: as above.
        let logged = is_logged.then(|| unsafe { slot.key() }.clone());
        let shared = self.is_value_needed(epoch, group, tag);
        // A key may be older than the epoch of its slot.
        let key_shared = needs_drop::<S>() && self.is_needed(0, group, tag);
        // SAFETY: the slot belongs to the writer, and is vacated before its old contents can be read again.
        let (key, value) = unsafe {
            let taken = (slot.take_key(), slot.take());
            segment.vacate(index);
            taken
        };
        self.len -= 1;
        self.groups[group].len -= 1;
        if let Some(key) = logged {
            self.log_removal(group, key, epoch);
        }
        if key_shared {
            self.retire(Garbage::Key(key));
        }
        self.reclaim(group);
        (value, shared)
    }

    /// Logs the removal of a key whose entry has this `epoch`.
    fn log_removal(&mut self, group: usize, key: S, epoch: u32) {
        let Self { groups, logged, log_bytes, .. } = self;
        let entries = &mut groups[group];
        let log = entries.log.get_or_insert_with(|| {
            logged.push(group as u32);
            Box::new(RemovalLog::new())
        });
        let born = if epoch.is_multiple_of(EPOCH) { 0 } else { epoch };
        *log_bytes -= log.bytes();
        log.push(key, born, self.epoch, entries.len);
        *log_bytes += log.bytes();
    }
}
