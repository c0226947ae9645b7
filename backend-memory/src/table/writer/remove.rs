//! Taking entries out.

use std::mem::needs_drop;

use crate::table::{Placement, Table, TableKey, TableValue, bag::Garbage, slot::OwnedValue};

impl<S: TableKey, V: TableValue, P: Placement<V>> Table<S, V, P> {
    /// Takes an entry out. Returns its value, and whether a snapshot may still read that.
    pub(in crate::table) fn remove_at(
        &mut self,
        group: usize,
        tag: u32,
        index: usize,
    ) -> (OwnedValue<V>, bool) {
        let (mut segment, _) = self.groups[group].segment(tag);
        // SAFETY: the writer reads its own segments, and the index is that of an occupied slot.
        let epoch = unsafe { segment.slot(index).epoch() };
        // In the current epoch the slot is the writer's alone, and so are all if there are no snapshots: then the header
        // need not be waited for.
        if epoch != self.epoch && !self.live.is_empty() {
            segment = self.own(group, tag);
        }
        // SAFETY: as above.
        let slot = unsafe { segment.slot(index) };
        // SAFETY: as above.
        let logged = self.tracks_removals.then(|| unsafe { slot.key() }.clone());
        let shared = self.is_value_needed(epoch, group, tag);
        // A key may be older than the epoch of its slot.
        let key_shared = needs_drop::<S>() && self.is_needed(0, group, tag);
        // SAFETY: the slot is the writer's; what is taken does not count any more when the slot is vacated.
        let (key, value) = unsafe {
            let taken = (slot.take_key(), slot.take());
            segment.vacate(index);
            taken
        };
        self.len -= 1;
        let entries = &mut self.groups[group];
        entries.len -= 1;
        if let Some(key) = logged {
            entries.removals.log(key, self.epoch, entries.len);
        }
        if key_shared {
            self.retire(Garbage::Key(key));
        }
        (value, shared)
    }
}
