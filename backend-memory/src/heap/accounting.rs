//! How many bytes a state holds, and what the budget says to more.

use std::cell::Cell;

use backend_api::{Result, StateKey};

use super::budget::{Budget, Charge};
use super::content::{Content, Measure};
use super::row_key::{Lookup, RowKey};
use super::state::HeapState;
use crate::table::TableKey;

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> HeapState<K, N, C, X> {
    /// Checks the budget for `more` bytes at a place.
    #[inline]
    pub(super) fn afford(&self, lookup: &Lookup<'_, K, N>, more: u64) -> Result<()> {
        if self.budget.is_limited() {
            check(&self.budget, &self.meta.name, self.growth(lookup), more)?;
        }
        Ok(())
    }

    /// Bytes that a new entry at a place costs beside its value.
    #[cold]
    #[inline(never)]
    pub(super) fn growth(&self, lookup: &Lookup<'_, K, N>) -> usize {
        match self.get(lookup) {
            Some(_) => 0,
            None => self.table.growth(lookup.group) + lookup.store().heap_size(),
        }
    }

    /// Notes what a change did to the sizes.
    #[inline]
    pub(super) fn account(&mut self, before: Measure, after: Measure, keys_added: u64, keys_removed: u64) {
        self.count(before, after, keys_added, keys_removed);
        if self.budget.is_limited() {
            self.charge_budget();
        }
    }

    #[inline]
    pub(super) fn count(&mut self, before: Measure, after: Measure, keys_added: u64, keys_removed: u64) {
        // Saturating: a user's drop that panics half way through a write leaves its bytes counted wrong.
        let change = |held: u64, added: u64, removed: u64| held.saturating_add(added).saturating_sub(removed);
        if C::MEASURED {
            self.held.bytes = change(self.held.bytes, after.bytes, before.bytes);
            self.held.entries = change(self.held.entries, after.entries, before.entries);
        }
        if std::mem::needs_drop::<RowKey<K, N>>() {
            self.key_bytes = change(self.key_bytes, keys_added, keys_removed);
        }
    }

    /// Tells the budget what the state holds. If that is too much, the log of removals is let go of.
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
        // A registration that failed gives back what it had taken.
        self.budget.charge(self.charged, Charge::default());
    }
}

/// Size of a cell, if its kind has any.
#[inline]
pub(super) fn measure<C: Content>(content: &C, cell: Option<&C::Cell>) -> Measure {
    match cell {
        Some(cell) if C::MEASURED => content.measure(cell),
        _ => Measure::default(),
    }
}

/// The stored form of a new key, the bytes that it owns noted.
#[inline]
pub(super) fn store<K: StateKey, N: StateKey>(lookup: &Lookup<'_, K, N>, bytes: &Cell<u64>) -> RowKey<K, N> {
    let row = lookup.store();
    bytes.set(row.heap_size() as u64);
    row
}

#[inline(never)]
pub(super) fn check(budget: &Budget, name: &str, growth: usize, more: u64) -> Result<()> {
    budget.check((growth as u64).saturating_add(more)).map_err(|error| error.in_state(name))
}
