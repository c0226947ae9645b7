//! One registered state of a heap backend: a table, its sizes and its kind.

use std::any::Any;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use backend_api::format::StateMeta;
use backend_api::restore::RestoredState;
use backend_api::row::ReadBack;
use backend_api::{
    BoxError, Error, Expiry, KeyGroupRange, KeySpace, Keys, Result, StateInfo, StateKey, StateKind, Subtask,
    function_failed, update_failed,
};

use super::budget::{Budget, Charge, check};
use super::content::{Content, Expired, Measure, Write, measure};
use super::row_key::{Lookup, RowKey, store};
use super::rows::{CanonicalSnapshot, RegisteredSnapshot};
use crate::containers::OrderedMap;
use crate::table::{Table, TableKey, Walk};

/// Accesses look for expired entries once there are this many to look at: neighbours in memory cost less.
const CHECKED_AT_ONCE: usize = 32;

/// A registered state without its types, which only the views know.
pub(super) trait AnyState<K: StateKey>: Any + Send {
    /// Its metadata for checkpoints.
    fn meta(&self) -> &StateMeta;

    fn info(&self) -> StateInfo;

    /// The keys in a namespace, given in encoded form.
    fn keys(&self, namespace: &[u8]) -> Result<Keys<'_, K>>;

    /// All keys, each with its encoded namespace.
    fn keys_and_namespaces(&self) -> Keys<'_, (K, Vec<u8>)>;

    /// Fills the empty state from a snapshot, and ends the epoch, so that nothing counts as changed. `keys` is
    /// that of the backend. At most `threads` threads work on it.
    fn restore(&mut self, restored: &RestoredState, keys: &KeySpace<K>, threads: usize) -> Result<()>;

    /// Takes a snapshot, and returns its epoch.
    fn freeze(&mut self) -> Result<(u32, Box<dyn CanonicalSnapshot>)>;

    /// Reports that the checkpoint of `epoch` is complete.
    fn confirm(&mut self, epoch: u32);

    /// Checks the next entries, and removes what has expired of them.
    fn remove_expired(&mut self, entries: usize, subtask: &Subtask<K>) -> Result<()> {
        let _ = (entries, subtask);
        Ok(())
    }

    /// Prefetches memory for an access.
    fn prefetch(&self, group: usize, hash: u64);

    /// Prefetches memory for several accesses, including what the values point to.
    fn prefetch_all(&self, places: &[(usize, u64)]);
}

/// A state: a table of [`Content`], and what its kind needs, such as a default or a function.
pub(super) struct HeapState<K: StateKey, N: StateKey, C: Content, X> {
    pub(super) meta: StateMeta,
    pub(super) content: Arc<C>,
    pub(super) extra: X,
    /// Checks that written rows can be read back.
    pub(super) read_back: ReadBack,
    /// The first of the backend's key groups.
    pub(super) first: u16,
    pub(super) table: Table<RowKey<K, N>, C::Cell, C::Placement>,
    pub(super) budget: Budget,
    /// Which contents have expired, if the state has a time to live.
    pub(super) expiry: Option<Expiry>,
    /// How far the search for expired entries has come.
    pub(super) walk: Walk,
    /// Entries that accesses are to look at, and have not yet.
    pub(super) unchecked: usize,
    /// Where it goes on in the next cell.
    pub(super) mark: Option<C::Mark>,
    /// Epoch of the last confirmed checkpoint.
    pub(super) confirmed: Option<u32>,
    /// Size of all cells together, if they are measured.
    pub(super) held: Measure,
    /// Bytes that keys own outside of the table.
    pub(super) key_bytes: u64,
    /// The size last reported to the budget.
    pub(super) charged: Charge,
}

/// Why an update with a user function failed.
pub(super) enum Failure {
    /// The function of the state failed.
    Function(BoxError),
    /// The function of an update failed.
    Update(BoxError),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// How maps treat removed entries.
#[derive(Clone, Copy)]
pub(super) struct Removals {
    /// Logs removals for increments.
    pub(super) log: bool,
    /// Forgets logged removals to free memory.
    pub(super) spill: bool,
    /// Removals up to this epoch may be forgotten.
    pub(super) confirmed: u32,
}

impl Removals {
    /// Lets a map that was changed in `epoch` forget what is not needed.
    pub(super) fn tidy<MK: StateKey, MV: Clone>(self, map: &mut OrderedMap<MK, MV>, epoch: u32) {
        map.forget_removals(self.confirmed);
        if self.spill {
            map.spill_removals(epoch);
        }
    }
}

/// Configuration shared by the states of one backend.
#[derive(Clone)]
pub(super) struct StateSetup {
    pub(super) range: KeyGroupRange,
    pub(super) seed: u64,
    pub(super) budget: Budget,
    pub(super) tracks_removals: bool,
}

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> HeapState<K, N, C, X> {
    pub(super) fn new(
        meta: StateMeta,
        content: C,
        extra: X,
        read_back: ReadBack,
        expiry: Option<Expiry>,
        setup: StateSetup,
    ) -> Self {
        Self {
            meta: StateMeta { table_seed: setup.seed, ..meta },
            content: Arc::new(content),
            extra,
            read_back,
            first: setup.range.start(),
            table: Table::new(setup.range.len(), setup.seed, setup.tracks_removals),
            budget: setup.budget,
            expiry,
            walk: Walk::default(),
            unchecked: 0,
            mark: None,
            confirmed: None,
            held: Measure::default(),
            key_bytes: 0,
            charged: Charge::default(),
        }
    }

    /// Gives the empty state's table another seed.
    fn reseed(&mut self, seed: u64) {
        self.meta.table_seed = seed;
        self.table = Table::new(self.table.groups(), seed, self.table.tracks_removals());
    }

    /// Adds the state, and the key group with this index, to an error.
    #[cold]
    pub(super) fn locate(&self, error: Error, group: usize) -> Error {
        error.in_state(&self.meta.name).in_group(self.first + group as u16)
    }

    /// Converts the error of a failed update, adding state and key group.
    #[cold]
    pub(super) fn explain(&self, failure: Failure, group: usize) -> Error {
        match failure {
            Failure::Function(cause) => self.locate(function_failed(cause), group),
            Failure::Update(cause) => self.locate(update_failed(cause), group),
            Failure::Other(error) => self.locate(error, group),
        }
    }

    /// True if there is a memory budget.
    pub(super) fn is_limited(&self) -> bool {
        self.budget.is_limited()
    }

    pub(super) fn content(&self) -> &C {
        &self.content
    }

    /// The epoch of present writes.
    pub(super) fn epoch(&self) -> u32 {
        self.table.epoch()
    }

    /// How maps treat removed entries now.
    pub(super) fn removals(&self) -> Removals {
        let log = self.table.tracks_removals();
        Removals { log, spill: log && self.budget.is_exceeded(), confirmed: self.confirmed.unwrap_or(0) }
    }

    /// The cell at a place.
    #[inline(always)]
    pub(super) fn get(&self, lookup: &Lookup<'_, K, N>) -> Option<&C::Cell> {
        self.table.get(lookup.group, lookup, |row| lookup.matches(row))
    }

    /// Sets the cell at a place.
    #[inline]
    pub(super) fn set(&mut self, lookup: &Lookup<'_, K, N>, cell: C::Cell) -> Result<()> {
        self.set_for(lookup, cell, 0)
    }

    /// Sets the merged cell at a place, and removes the cells that were merged.
    pub(super) fn merge(
        &mut self,
        lookup: &Lookup<'_, K, N>,
        merged: C::Cell,
        sources: &[Lookup<'_, K, N>],
    ) -> Result<()> {
        let moved = sources.iter().map(|source| measure(&*self.content, self.get(source)).bytes);
        let moved = moved.fold(0, u64::saturating_add);
        self.set_for(lookup, merged, moved)?;
        sources.iter().for_each(|source| self.remove(source));
        Ok(())
    }

    /// Sets a cell. `credit` of its bytes are exempt from the budget check.
    #[inline]
    fn set_for(&mut self, lookup: &Lookup<'_, K, N>, cell: C::Cell, credit: u64) -> Result<()> {
        let (before, after) = if C::MEASURED {
            (measure(&*self.content, self.get(lookup)), measure(&*self.content, Some(&cell)))
        } else {
            Default::default()
        };
        self.afford(lookup, after.bytes.saturating_sub(before.bytes.saturating_add(credit)))?;
        let key_bytes = Cell::new(0);
        let set = self.table.set(
            lookup.group,
            lookup,
            |row| lookup.matches(row),
            || store(lookup, &key_bytes),
            cell,
        );
        set.map_err(|error| self.locate(error, lookup.group))?;
        self.account(before, after, key_bytes.get(), 0);
        Ok(())
    }

    /// Lets `f` change a clone of the cell at a place, together with what the kind has in addition. Sets the
    /// result. `None` removes the cell. If `f` fails or panics, nothing changes.
    #[inline]
    pub(super) fn try_update<R, E: From<Error>>(
        &mut self,
        lookup: &Lookup<'_, K, N>,
        f: impl FnOnce(&X, &mut Option<C::Cell>) -> Result<R, E>,
    ) -> Result<R, E> {
        if self.budget.is_limited() {
            return self.try_update_within_budget(lookup, f);
        }
        self.try_update_if(lookup, f, |_, _, _| Ok(()))
    }

    /// Separate, so that an update without a budget does not pay for it.
    #[cold]
    #[inline(never)]
    fn try_update_within_budget<R, E: From<Error>>(
        &mut self,
        lookup: &Lookup<'_, K, N>,
        f: impl FnOnce(&X, &mut Option<C::Cell>) -> Result<R, E>,
    ) -> Result<R, E> {
        let growth = self.growth(lookup);
        let result = self.try_update_if(lookup, f, |budget, name, more| check(budget, name, growth, more));
        self.charge_budget();
        result
    }

    /// [`update`](Self::update) with a check: `admit` gets the state's name and the added bytes, and may
    /// refuse. It is not called for removals.
    #[inline(always)]
    fn try_update_if<R, E: From<Error>>(
        &mut self,
        lookup: &Lookup<'_, K, N>,
        f: impl FnOnce(&X, &mut Option<C::Cell>) -> Result<R, E>,
        admit: impl FnOnce(&Budget, &str, u64) -> Result<()>,
    ) -> Result<R, E> {
        let (added, removed) = (Cell::new(0), Cell::new(0));
        let mut sizes = (Measure::default(), Measure::default());
        let (content, extra, budget, name) = (&*self.content, &self.extra, &self.budget, &*self.meta.name);
        let result = self.table.try_update(
            lookup.group,
            lookup,
            |row| lookup.matches(row),
            || store(lookup, &added),
            |cell| {
                let was = cell.is_some();
                sizes.0 = measure(content, cell.as_ref());
                let result = f(extra, cell)?;
                sizes.1 = measure(content, cell.as_ref());
                if cell.is_some() {
                    admit(budget, name, sizes.1.bytes.saturating_sub(sizes.0.bytes))?;
                }
                if was && cell.is_none() && std::mem::needs_drop::<RowKey<K, N>>() {
                    removed.set(lookup.store().heap_size() as u64);
                }
                Ok::<R, E>(result)
            },
        )?;
        self.count(sizes.0, sizes.1, added.get(), removed.get());
        Ok(result)
    }

    /// Removes the cell at a place.
    #[inline]
    pub(super) fn remove(&mut self, lookup: &Lookup<'_, K, N>) {
        let before = if C::MEASURED { measure(&*self.content, self.get(lookup)) } else { Measure::default() };
        if self.table.remove(lookup.group, lookup, |row| lookup.matches(row)) {
            let key = if std::mem::needs_drop::<RowKey<K, N>>() { lookup.store().heap_size() } else { 0 };
            self.account(before, Measure::default(), 0, key as u64);
        }
    }
}

/// In-place changes of the copy-on-write containers.
impl<K: StateKey, N: StateKey, C, X> HeapState<K, N, C, X>
where
    C: Content<Placement = crate::table::Container>,
    C::Cell: crate::table::Handle,
    X: Send + 'static,
{
    /// The cell at a place and the epoch of a write, if no snapshot can see the cell. For changes that do not
    /// change its size.
    #[inline]
    pub(super) fn own(&mut self, lookup: &Lookup<'_, K, N>) -> Option<(&mut C::Cell, u32)> {
        let epoch = self.table.epoch();
        let cell = self.table.get_own(lookup.group, lookup, |row| lookup.matches(row))?;
        Some((cell, epoch))
    }

    /// Lets `f` change the cell at a place, or a new one if it is missing. If `f` panics, it must leave the
    /// container as it was.
    #[inline]
    pub(super) fn modify<R>(
        &mut self,
        lookup: &Lookup<'_, K, N>,
        new: impl FnOnce() -> C::Cell,
        f: impl FnOnce(&C, &mut C::Cell, u32) -> R,
    ) -> Result<R> {
        let added = Cell::new(0);
        let (content, epoch) = (&*self.content, self.table.epoch());
        let (result, before, after) = self.table.modify(
            lookup.group,
            lookup,
            |row| lookup.matches(row),
            || store(lookup, &added),
            new,
            |cell| {
                // A new cell is empty and measures 0.
                let before = content.measure(cell);
                let result = f(content, cell, epoch);
                (result, before, content.measure(cell))
            },
        )?;
        self.account(before, after, added.get(), 0);
        Ok(result)
    }
}

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> AnyState<K> for HeapState<K, N, C, X> {
    fn meta(&self) -> &StateMeta {
        &self.meta
    }

    fn info(&self) -> StateInfo {
        let kind = self.meta.kind;
        let entries = if kind == StateKind::Map { self.held.entries } else { self.table.len() as u64 };
        StateInfo {
            name: self.meta.name.clone(),
            kind,
            entries: Some(entries),
            bytes: self.bytes(),
            registered: true,
        }
    }

    fn keys(&self, mut namespace: &[u8]) -> Result<Keys<'_, K>> {
        let namespace = N::decode(&mut namespace)?;
        let rows = self.table.iter().map(|(row, _)| row);
        Ok(Box::new(rows.filter(move |row| row.is_in(&namespace)).map(RowKey::key)))
    }

    fn keys_and_namespaces(&self) -> Keys<'_, (K, Vec<u8>)> {
        Box::new(self.table.iter().map(|(row, _)| {
            let mut namespace = Vec::new();
            row.namespace()?.encode(&mut namespace);
            Ok((row.key()?, namespace))
        }))
    }

    fn restore(&mut self, restored: &RestoredState, keys: &KeySpace<K>, threads: usize) -> Result<()> {
        if let Some(written) = restored.metas().first().filter(|meta| !meta.is_canonical()) {
            // Rows come in the order of a table with the seed they were written with. With the same seed, they
            // fill this table in order.
            self.reseed(written.table_seed);
        }
        self.load_all(restored, keys, threads)
    }

    fn freeze(&mut self) -> Result<(u32, Box<dyn CanonicalSnapshot>)> {
        let snapshot = self.table.snapshot().map_err(|error| error.in_state(&self.meta.name))?;
        let epoch = snapshot.epoch();
        if self.budget.is_limited() {
            // The removal log may have become shorter.
            self.charge_budget();
        }
        let (content, first) = (Arc::clone(&self.content), self.first);
        let frozen = RegisteredSnapshot {
            snapshot,
            content,
            canonical: None,
            read_back: self.read_back.clone(),
            name: self.meta.name.clone(),
            base: self.confirmed,
            expiry: self.expiry.as_ref().map(Expiry::frozen),
            first,
        };
        Ok((epoch, Box::new(frozen)))
    }

    fn confirm(&mut self, epoch: u32) {
        self.confirmed = self.confirmed.max(Some(epoch));
        self.table.confirm(epoch);
    }

    fn remove_expired(&mut self, entries: usize, subtask: &Subtask<K>) -> Result<()> {
        self.unchecked += entries;
        if self.unchecked < CHECKED_AT_ONCE {
            return Ok(());
        }
        let Some(expiry) = &self.expiry else { return Ok(()) };
        let expiry = expiry.frozen();
        let write = Write { epoch: self.table.epoch(), logs_removals: self.table.tracks_removals() };
        let mut left = std::mem::take(&mut self.unchecked);
        while left > 0 {
            let (content, mark) = (&*self.content, &mut self.mark);
            let mut found = None;
            let visited = self.table.visit_next(&mut self.walk, left, |row, cell| {
                let expired = content.expire_part(cell, &expiry, mark, write);
                match expired {
                    Expired::Nothing if mark.is_none() => return ControlFlow::Continue(()),
                    Expired::Nothing => {}
                    Expired::All => found = Some((row.clone(), None)),
                    Expired::Part(rest) => found = Some((row.clone(), Some(rest))),
                }
                ControlFlow::Break(mark.is_none())
            });
            left = if visited == 0 { 0 } else { left - visited };
            let Some((row, rest)) = found else { continue };
            let (key, namespace) = (row.key()?, row.namespace()?);
            let key = subtask.key(&key)?;
            let lookup = Lookup::new(key, subtask.check(&key)?, &namespace);
            match rest {
                Some(rest) => self.set(&lookup, rest)?,
                None => self.remove(&lookup),
            }
        }
        Ok(())
    }

    fn prefetch(&self, group: usize, hash: u64) {
        self.table.prefetch(group, hash);
    }

    fn prefetch_all(&self, places: &[(usize, u64)]) {
        places.iter().for_each(|(group, hash)| self.table.prefetch(*group, *hash));
        places.iter().for_each(|(group, hash)| self.table.prefetch_value(*group, *hash));
    }
}
