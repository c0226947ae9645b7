//! One registered state of a heap backend: a table and what is known of its content.

use std::any::Any;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use backend_api::format::{Section, SectionKind, StateMeta};
use backend_api::restore::{RestoredSection, RestoredState};
use backend_api::row::{RowChange, decode_key};
use backend_api::{Error, ErrorKind, KeyGroupRange, KeySpace, Keys, Result, StateInfo, StateKey, StateKind};

use super::budget::Budget;
use super::content::{Content, Measure, unfit};
use super::row_key::{Place, RowKey, place_hash};
use super::rows::{Frozen, FrozenState};
use crate::table::Table;

/// A state whose types only the views know.
pub(super) trait AnyState<K>: Any + Send {
    /// What a checkpoint says of it.
    fn meta(&self) -> &StateMeta;

    /// What it holds.
    fn info(&self) -> StateInfo;

    /// The keys in a namespace, which is given encoded.
    fn keys(&self, namespace: &[u8]) -> Result<Keys<'_, K>>;

    /// All keys, each with its namespace, encoded.
    fn places(&self) -> Keys<'_, (K, Vec<u8>)>;

    /// Freezes it, and answers the epoch of that.
    fn freeze(&mut self) -> Result<(u32, Box<dyn FrozenState>)>;

    /// The checkpoint taken at `epoch` is complete.
    fn confirm(&mut self, epoch: u32);

    /// Loads the memory that an access will need.
    fn prefetch(&self, group: usize, hash: u64);

    /// Loads the memory that accesses to several groups and hashes will need, and what that points to.
    fn prefetch_all(&self, places: &[(usize, u64)]);
}

/// A state with a table of [`Content`], and what else its kind needs to know: a default, a function.
pub(super) struct HeapState<K: StateKey, N: StateKey, C: Content, X> {
    meta: StateMeta,
    content: Arc<C>,
    pub(super) extra: X,
    /// The first of the backend's key groups.
    first: u16,
    table: Table<RowKey<K, N>, C::Cell, C::Placement>,
    budget: Budget,
    /// Whether removals are remembered for increments.
    tracks_removals: bool,
    /// Epoch of the last confirmed checkpoint.
    confirmed: Option<u32>,
    /// All cells together, if they are measured.
    held: Measure,
    /// Bytes that keys own outside of the table.
    key_bytes: u64,
    /// Bytes that the budget knows of.
    settled: u64,
}

/// Where and how the states of one backend are kept.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) range: KeyGroupRange,
    pub(super) seed: u64,
    pub(super) budget: Budget,
    pub(super) tracks_removals: bool,
}

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> HeapState<K, N, C, X> {
    pub(super) fn new(meta: StateMeta, content: C, extra: X, keeping: Keeping) -> Self {
        let mut state = Self {
            meta: StateMeta { table_seed: keeping.seed, ..meta },
            content: Arc::new(content),
            extra,
            first: keeping.range.start(),
            table: Table::new(keeping.range.len(), keeping.seed),
            budget: keeping.budget,
            tracks_removals: keeping.tracks_removals,
            confirmed: None,
            held: Measure::default(),
            key_bytes: 0,
            settled: 0,
        };
        state.table.track_removals(keeping.tracks_removals);
        state
    }

    /// Gives the empty state's table another seed.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.meta.table_seed = seed;
        self.table = Table::new(self.table.groups(), seed);
        self.table.track_removals(self.tracks_removals);
    }

    /// Fills the empty state with what a snapshot has, and ends the epoch, so that none of it counts as changed. As many
    /// `threads` share the work, key group by key group.
    pub(super) fn restore(
        &mut self,
        restored: &RestoredState,
        keys: &KeySpace<K>,
        threads: usize,
    ) -> Result<()> {
        let groups: Vec<u16> = restored.groups().collect();
        let rows = groups.iter().filter_map(|group| fillable::<C>(restored.chain(*group)));
        let _supply = self.table.supply(rows.map(|(first, _)| believed_rows(first)));
        let next = AtomicUsize::new(0);
        let parts: Vec<_> = (1..threads.min(groups.len())).map(|_| self.part()).collect();
        thread::scope(|scope| {
            let (groups, next) = (&*groups, &next);
            let helpers = parts.into_iter().map_while(|mut part| {
                let work = move || part.load_next(restored, keys, groups, next).map(|()| part);
                // Without a helper the others do its work.
                thread::Builder::new().name("restore".to_owned()).spawn_scoped(scope, work).ok()
            });
            let helpers: Vec<_> = helpers.collect();
            let mut result = self.load_next(restored, keys, groups, next);
            for helper in helpers {
                let part = helper.join().unwrap_or_else(|panic| resume_unwind(panic));
                result = result.and(part.map(|part| self.adopt(part)));
            }
            result
        })?;
        self.settle_budget();
        let (epoch, _) = self.freeze()?;
        self.confirm(epoch);
        Ok(())
    }

    /// An empty state for some of the key groups, whose entries this one can [adopt](Self::adopt). No budget knows of it.
    fn part(&self) -> HeapState<K, N, C, ()> {
        HeapState {
            meta: self.meta.clone(),
            content: Arc::clone(&self.content),
            extra: (),
            first: self.first,
            table: self.table.sibling(),
            budget: Budget::new(None),
            tracks_removals: self.tracks_removals,
            confirmed: None,
            held: Measure::default(),
            key_bytes: 0,
            settled: 0,
        }
    }

    /// Takes over the key groups of a [part](Self::part), which are empty here.
    fn adopt(&mut self, mut part: HeapState<K, N, C, ()>) {
        self.table.adopt(&mut part.table);
        self.count(Measure::default(), part.held, part.key_bytes, 0);
    }

    /// Loads key groups as long as there are any that nobody has begun with.
    fn load_next(
        &mut self,
        restored: &RestoredState,
        keys: &KeySpace<K>,
        groups: &[u16],
        next: &AtomicUsize,
    ) -> Result<()> {
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = self.load(restored, keys, *group) {
                next.store(groups.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Loads a key group.
    fn load(&mut self, restored: &RestoredState, keys: &KeySpace<K>, group: u16) -> Result<()> {
        let mut chain = restored.chain(group);
        if let Some((first, rest)) = fillable::<C>(chain) {
            self.fill(first, keys, group)?;
            chain = rest;
        }
        let index = usize::from(group - self.first);
        for section in chain {
            section.for_each_row::<K, N>(|row| {
                let hash = row_hash(&row.key, &row.namespace, keys, group)?;
                let place = Place { key: &row.key, namespace: &row.namespace, group: index, hash };
                self.change(&place, |content, cell, epoch| content.change(cell, row.change, epoch))
            })?;
        }
        Ok(())
    }

    /// Fills an empty key group with a section that has one row for each cell.
    fn fill(&mut self, section: &RestoredSection, keys: &KeySpace<K>, group: u16) -> Result<()> {
        let index = usize::from(group - self.first);
        let (content, epoch) = (&*self.content, self.table.epoch());
        let (mut held, mut key_bytes) = (Measure::default(), 0);
        let mut filling = self.table.fill(index, believed_rows(section));
        section.for_each_raw_row(|mut row| {
            let (key, namespace) = decode_key::<K, N>(&mut row)?;
            let hash = row_hash(&key, &namespace, keys, group)?;
            let mut cell = None;
            content.change(&mut cell, RowChange::Value(row), epoch)?;
            let cell = cell.ok_or_else(unfit)?;
            held.bytes = held.bytes.saturating_add(measure(content, Some(&cell)).bytes);
            let store = || {
                let stored = RowKey::store(&key, &namespace);
                key_bytes += stored.heap_size() as u64;
                stored
            };
            filling.put(hash, |stored| stored.matches(&key, &namespace), store, cell)
        })?;
        drop(filling);
        self.count(Measure::default(), held, key_bytes, 0);
        Ok(())
    }

    /// Whether there is a budget to check.
    pub(super) fn is_limited(&self) -> bool {
        self.budget.is_limited()
    }

    pub(super) fn content(&self) -> &C {
        &self.content
    }

    /// The epoch in which a write happens now.
    pub(super) fn epoch(&self) -> u32 {
        self.table.epoch()
    }

    /// Whether removals within cells are to be remembered, and up to which epoch they may be forgotten.
    pub(super) fn removals(&self) -> (bool, u32) {
        (self.tracks_removals, self.confirmed.unwrap_or(0))
    }

    /// The cell at a place.
    #[inline(always)]
    pub(super) fn get(&self, place: &Place<'_, K, N>) -> Option<&C::Cell> {
        self.table.get(place.group, place.hash, |row| place.matches(row))
    }

    /// Puts a cell.
    #[inline]
    pub(super) fn set(&mut self, place: &Place<'_, K, N>, cell: C::Cell) -> Result<()> {
        self.set_for(place, cell, 0)
    }

    /// Puts at a place what others were merged into, and removes these.
    pub(super) fn merge(
        &mut self,
        place: &Place<'_, K, N>,
        merged: C::Cell,
        sources: &[Place<'_, K, N>],
    ) -> Result<()> {
        let moved = sources.iter().map(|source| measure(&*self.content, self.get(source)).bytes);
        let moved = moved.fold(0, u64::saturating_add);
        self.set_for(place, merged, moved)?;
        sources.iter().for_each(|source| self.remove(source));
        Ok(())
    }

    /// Puts a cell of which `credit` bytes need not be paid for.
    #[inline]
    fn set_for(&mut self, place: &Place<'_, K, N>, cell: C::Cell, credit: u64) -> Result<()> {
        let (before, after) = if C::MEASURED {
            (measure(&*self.content, self.get(place)), measure(&*self.content, Some(&cell)))
        } else {
            Default::default()
        };
        self.afford(place, after.bytes.saturating_sub(before.bytes.saturating_add(credit)))?;
        let key_bytes = Cell::new(0);
        self.table.set(
            place.group,
            place.hash,
            |row| place.matches(row),
            || store(place, &key_bytes),
            cell,
        )?;
        self.settle(before, after, key_bytes.get(), 0);
        Ok(())
    }

    /// Lets `f` change a clone of the cell at a place, given what the kind has extra; what it leaves is put, `None`
    /// removes. Nothing is changed if `f` fails or panics.
    #[inline]
    pub(super) fn try_update<R, E: From<Error>>(
        &mut self,
        place: &Place<'_, K, N>,
        f: impl FnOnce(&X, &mut Option<C::Cell>) -> Result<R, E>,
    ) -> Result<R, E> {
        if self.budget.is_limited() {
            return self.try_update_within_budget(place, f);
        }
        self.try_update_if(place, f, |_, _, _| Ok(()))
    }

    /// Apart, so that an update without a budget has nothing of it in its way.
    #[cold]
    #[inline(never)]
    fn try_update_within_budget<R, E: From<Error>>(
        &mut self,
        place: &Place<'_, K, N>,
        f: impl FnOnce(&X, &mut Option<C::Cell>) -> Result<R, E>,
    ) -> Result<R, E> {
        let growth = self.growth(place);
        let result = self.try_update_if(place, f, |budget, name, more| check(budget, name, growth, more));
        self.settle_budget();
        result
    }

    /// Lets `admit` refuse an update by the budget, the state's name and the bytes that it adds, unless it removes.
    #[inline(always)]
    fn try_update_if<R, E: From<Error>>(
        &mut self,
        place: &Place<'_, K, N>,
        f: impl FnOnce(&X, &mut Option<C::Cell>) -> Result<R, E>,
        admit: impl FnOnce(&Budget, &str, u64) -> Result<()>,
    ) -> Result<R, E> {
        let (added, removed) = (Cell::new(0), Cell::new(0));
        let mut sizes = (Measure::default(), Measure::default());
        let (content, extra, budget, name) = (&*self.content, &self.extra, &self.budget, &*self.meta.name);
        let result = self.table.try_update(
            place.group,
            place.hash,
            |row| place.matches(row),
            || store(place, &added),
            |cell| {
                let was = cell.is_some();
                sizes.0 = measure(content, cell.as_ref());
                let result = f(extra, cell)?;
                sizes.1 = measure(content, cell.as_ref());
                if cell.is_some() {
                    admit(budget, name, sizes.1.bytes.saturating_sub(sizes.0.bytes))?;
                }
                if was && cell.is_none() && std::mem::needs_drop::<RowKey<K, N>>() {
                    removed.set(place.store().heap_size() as u64);
                }
                Ok::<R, E>(result)
            },
        )?;
        self.count(sizes.0, sizes.1, added.get(), removed.get());
        Ok(result)
    }

    /// Removes what is at a place.
    #[inline]
    pub(super) fn remove(&mut self, place: &Place<'_, K, N>) {
        let before = if C::MEASURED { measure(&*self.content, self.get(place)) } else { Measure::default() };
        if self.table.remove(place.group, place.hash, |row| place.matches(row)) {
            let key = if std::mem::needs_drop::<RowKey<K, N>>() { place.store().heap_size() } else { 0 };
            self.settle(before, Measure::default(), 0, key as u64);
        }
    }

    /// Does to a cell what a row of a checkpoint says. There is no budget to check: the state was there before. The caller
    /// settles it.
    fn change(
        &mut self,
        place: &Place<'_, K, N>,
        f: impl FnOnce(&C, &mut Option<C::Cell>, u32) -> Result<()>,
    ) -> Result<()> {
        let (added, removed) = (Cell::new(0), Cell::new(0));
        let mut sizes = (Measure::default(), Measure::default());
        let (content, epoch) = (&*self.content, self.table.epoch());
        self.table.try_update(
            place.group,
            place.hash,
            |row| place.matches(row),
            || store(place, &added),
            |cell| {
                sizes.0 = measure(content, cell.as_ref());
                if cell.is_some() {
                    removed.set(place.store().heap_size() as u64);
                }
                f(content, cell, epoch)?;
                sizes.1 = measure(content, cell.as_ref());
                if cell.is_some() {
                    removed.set(0);
                }
                Ok::<(), Error>(())
            },
        )?;
        self.count(sizes.0, sizes.1, added.get(), removed.get());
        Ok(())
    }

    /// Checks the budget for `more` bytes at a place.
    #[inline]
    pub(super) fn afford(&self, place: &Place<'_, K, N>, more: u64) -> Result<()> {
        if self.budget.is_limited() {
            check(&self.budget, &self.meta.name, self.growth(place), more)?;
        }
        Ok(())
    }

    /// Bytes that a new entry at a place costs beside its value.
    #[cold]
    #[inline(never)]
    fn growth(&self, place: &Place<'_, K, N>) -> usize {
        match self.get(place) {
            Some(_) => 0,
            None => self.table.growth(place.group) + place.store().heap_size(),
        }
    }

    /// Notes what a change did to the sizes.
    #[inline]
    fn settle(&mut self, before: Measure, after: Measure, keys_added: u64, keys_removed: u64) {
        self.count(before, after, keys_added, keys_removed);
        if self.budget.is_limited() {
            self.settle_budget();
        }
    }

    #[inline]
    fn count(&mut self, before: Measure, after: Measure, keys_added: u64, keys_removed: u64) {
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

    fn settle_budget(&mut self) {
        let now = self.bytes();
        self.budget.settle(self.settled, now);
        self.settled = now;
    }

    fn bytes(&self) -> u64 {
        (self.table.bytes() as u64).saturating_add(self.held.bytes).saturating_add(self.key_bytes)
    }
}

impl<K: StateKey, N: StateKey, C: Content, X> Drop for HeapState<K, N, C, X> {
    fn drop(&mut self) {
        // A registration that failed gives back what it had taken.
        self.budget.settle(self.settled, 0);
    }
}

/// Changes of the copy-on-write containers in place.
impl<K: StateKey, N: StateKey, C, X> HeapState<K, N, C, X>
where
    C: Content<Placement = crate::table::Container>,
    C::Cell: crate::table::Handle,
    X: Send + 'static,
{
    /// The cell at a place and the epoch of a write, if no snapshot can see it, for a change that leaves its size as it is.
    #[inline]
    pub(super) fn own(&mut self, place: &Place<'_, K, N>) -> Option<(&mut C::Cell, u32)> {
        let epoch = self.table.epoch();
        let cell = self.table.get_own(place.group, place.hash, |row| place.matches(row))?;
        Some((cell, epoch))
    }

    /// Lets `f` change the cell at a place, a new one if there is none. `f` must not panic half way, but leave the
    /// container as it was.
    #[inline]
    pub(super) fn modify<R>(
        &mut self,
        place: &Place<'_, K, N>,
        new: impl FnOnce() -> C::Cell,
        f: impl FnOnce(&C, &mut C::Cell, u32) -> R,
    ) -> Result<R> {
        let added = Cell::new(0);
        let (content, epoch) = (&*self.content, self.table.epoch());
        let (result, before, after) = self.table.modify(
            place.group,
            place.hash,
            |row| place.matches(row),
            || store(place, &added),
            new,
            |cell| {
                // A new one is empty, and an empty one has no size.
                let before = content.measure(cell);
                let result = f(content, cell, epoch);
                (result, before, content.measure(cell))
            },
        )?;
        self.settle(before, after, added.get(), 0);
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

    fn places(&self) -> Keys<'_, (K, Vec<u8>)> {
        Box::new(self.table.iter().map(|(row, _)| {
            let mut namespace = Vec::new();
            row.namespace()?.encode(&mut namespace);
            Ok((row.key()?, namespace))
        }))
    }

    fn freeze(&mut self) -> Result<(u32, Box<dyn FrozenState>)> {
        let snapshot = self.table.snapshot().map_err(|error| error.in_state(&self.meta.name))?;
        let epoch = snapshot.epoch();
        let (content, first) = (Arc::clone(&self.content), self.first);
        let frozen = Frozen { snapshot, content, base: self.confirmed, first };
        Ok((epoch, Box::new(frozen)))
    }

    fn confirm(&mut self, epoch: u32) {
        self.confirmed = self.confirmed.max(Some(epoch));
        self.table.confirm(epoch);
    }

    fn prefetch(&self, group: usize, hash: u64) {
        self.table.prefetch(group, hash);
    }

    fn prefetch_all(&self, places: &[(usize, u64)]) {
        places.iter().for_each(|(group, hash)| self.table.prefetch(*group, *hash));
        places.iter().for_each(|(group, hash)| self.table.prefetch_value(*group, *hash));
    }
}

/// The first section of a chain, if each of its rows makes a cell, and the rest.
fn fillable<C: Content>(chain: &[RestoredSection]) -> Option<(&RestoredSection, &[RestoredSection])> {
    let is_full = |first: &RestoredSection| first.section().kind == SectionKind::Full;
    chain.split_first().filter(|(first, _)| C::ROW_PER_CELL && is_full(first))
}

/// Number of rows in a section: as far as there are bytes for them.
fn believed_rows(section: &RestoredSection) -> usize {
    let Section { rows, raw_bytes, .. } = *section.section();
    usize::try_from(rows.min(raw_bytes)).unwrap_or(0)
}

/// The hash of a row's place, which must be in the key group.
#[inline(always)]
fn row_hash<K: StateKey, N: StateKey>(key: &K, namespace: &N, keys: &KeySpace<K>, group: u16) -> Result<u64> {
    let key = keys.key(key)?;
    if key.group() == group { Ok(place_hash(key.hash(), namespace)) } else { Err(astray(key.group())) }
}

#[cold]
fn astray(group: u16) -> Error {
    let message = format!("a row of key group {group} lies in the section of another");
    Error::new(ErrorKind::Corrupt, message)
}

/// Size of a cell, if its kind has any.
#[inline]
fn measure<C: Content>(content: &C, cell: Option<&C::Cell>) -> Measure {
    match cell {
        Some(cell) if C::MEASURED => content.measure(cell),
        _ => Measure::default(),
    }
}

/// The stored form of a new key, the bytes that it owns noted.
#[inline]
fn store<K: StateKey, N: StateKey>(place: &Place<'_, K, N>, bytes: &Cell<u64>) -> RowKey<K, N> {
    let row = place.store();
    bytes.set(row.heap_size() as u64);
    row
}

#[inline(never)]
fn check(budget: &Budget, name: &str, growth: usize, more: u64) -> Result<()> {
    budget.check((growth as u64).saturating_add(more)).map_err(|error| error.in_state(name))
}
