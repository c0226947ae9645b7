//! Counts the bytes of a state, and checks them against the budget.

use backend_api::{Result, StateKey};

use super::budget::{Charge, check};
use super::content::{Content, Measure};
use super::row_key::{Lookup, RowKey};
use super::state::HeapState;
use crate::table::TableKey;

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> HeapState<K, N, C, X> {
    /// Checks that the budget allows `more` bytes.
    #[inline]
    pub(super) fn afford(&self, lookup: &Lookup<'_, K, N>, more: u64) -> Result<()> {
        if self.budget.is_limited() {
            check(&self.budget, &self.meta.name, self.growth(lookup), more)?;
        }
        Ok(())
    }

    /// Bytes that a new entry costs in addition to its value.
    #[cold]
    #[inline(never)]
    pub(super) fn growth(&self, lookup: &Lookup<'_, K, N>) -> usize {
        match self.get(lookup) {
            Some(_) => 0,
            None => self.table.growth(lookup.group) + lookup.store().heap_size(),
        }
    }

    /// Updates the sizes after a change.
    #[inline]
    pub(super) fn account(&mut self, before: Measure, after: Measure, keys_added: u64, keys_removed: u64) {
        self.count(before, after, keys_added, keys_removed);
        if self.budget.is_limited() {
            self.charge_budget();
        }
    }

    #[inline]
    pub(super) fn count(&mut self, before: Measure, after: Measure, keys_added: u64, keys_removed: u64) {
        // Saturating, since a user's drop that panics during a write leaves a wrong count.
        let change = |held: u64, added: u64, removed: u64| held.saturating_add(added).saturating_sub(removed);
        if C::MEASURED {
            self.held.bytes = change(self.held.bytes, after.bytes, before.bytes);
            self.held.entries = change(self.held.entries, after.entries, before.entries);
        }
        if std::mem::needs_drop::<RowKey<K, N>>() {
            self.key_bytes = change(self.key_bytes, keys_added, keys_removed);
        }
    }

    /// Reports the state's size to the budget. Spills the removal log if the budget is exceeded.
    pub(super) fn charge_budget(&mut self) {
        self.charge();
        if self.budget.is_exceeded() && self.table.log_bytes() > 0 {
            self.table.spill_removals();
            self.charge();
        }
    }

    fn charge(&mut self) {
        let now = Charge { bytes: self.bytes(), log_bytes: self.table.log_bytes() as u64 };
        self.budget.charge(self.charged, now);
        self.charged = now;
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.table.bytes() as u64).saturating_add(self.held.bytes).saturating_add(self.key_bytes)
    }
}

impl<K: StateKey, N: StateKey, C: Content, X> Drop for HeapState<K, N, C, X> {
    fn drop(&mut self) {
        // A failed registration returns what it had charged.
        self.budget.charge(self.charged, Charge::default());
    }
}
