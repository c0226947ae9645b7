//! Restoring a state from the sections of a checkpoint.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use backend_api::format::{Section, SectionKind};
use backend_api::restore::{RestoredSection, RestoredState};
use backend_api::row::{RowChange, decode_key};
use backend_api::{Error, ErrorKind, KeySpace, LookupKey, Result, StateKey};

use super::budget::{Budget, Charge};
use super::content::{Content, Measure, measure, unfit};
use super::row_key::{Lookup, entry_hash, store};
use super::state::{AnyState, HeapState};
use crate::table::{TableKey, Walk};

impl<K: StateKey, N: StateKey, C: Content, X: Send + 'static> HeapState<K, N, C, X> {
    /// [`restore`](AnyState::restore), with key groups shared out among the threads.
    pub(super) fn load_all(
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
                // If a thread cannot be spawned, the others do its work.
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
        self.charge_budget();
        let (epoch, _) = self.freeze()?;
        if !restored.is_evolved() {
            self.confirm(epoch);
        }
        Ok(())
    }

    /// Returns an empty state for some of the key groups, outside of the budget. This state can
    /// [adopt](Self::adopt) its entries.
    fn part(&self) -> HeapState<K, N, C, ()> {
        HeapState {
            meta: self.meta.clone(),
            content: Arc::clone(&self.content),
            extra: (),
            read_back: self.read_back.clone(),
            first: self.first,
            table: self.table.sibling(),
            budget: Budget::new(None),
            expiry: None,
            walk: Walk::default(),
            unchecked: 0,
            mark: None,
            confirmed: None,
            held: Measure::default(),
            key_bytes: 0,
            charged: Charge::default(),
        }
    }

    /// Moves in the key groups of a [part](Self::part), which are empty here.
    fn adopt(&mut self, mut part: HeapState<K, N, C, ()>) {
        self.table.adopt(&mut part.table);
        self.count(Measure::default(), part.held, part.key_bytes, 0);
    }

    /// Loads key groups until all are taken.
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
                let lookup = Lookup { key: row.key.lookup(), namespace: &row.namespace, group: index, hash };
                self.change(&lookup, |content, cell, epoch| content.change(cell, row.change, epoch))
            })?;
        }
        Ok(())
    }

    /// Fills an empty key group from a section with one row per cell.
    fn fill(&mut self, section: &RestoredSection, keys: &KeySpace<K>, group: u16) -> Result<()> {
        let index = usize::from(group - self.first);
        let (content, epoch) = (&*self.content, self.table.epoch());
        let (mut held, mut key_bytes) = (Measure::default(), 0);
        let mut filling = self.table.fill(index, believed_rows(section));
        section.for_each_raw_row(|mut row| {
            let (key, namespace) = decode_key::<K, N>(&mut row)?;
            let hash = row_hash(&key, &namespace, keys, group)?;
            let lookup = Lookup { key: key.lookup(), namespace: &namespace, group: index, hash };
            let mut cell = None;
            content.change(&mut cell, RowChange::Value(row), epoch)?;
            let cell = cell.ok_or_else(unfit)?;
            held.bytes = held.bytes.saturating_add(measure(content, Some(&cell)).bytes);
            let store = || {
                let stored = lookup.store();
                key_bytes += stored.heap_size() as u64;
                stored
            };
            filling.put(&lookup, |stored| lookup.matches(stored), store, cell)
        })?;
        drop(filling);
        self.count(Measure::default(), held, key_bytes, 0);
        Ok(())
    }

    /// Applies a row of a checkpoint to a cell. Skips the budget check, since the state existed before. The
    /// caller charges it afterwards.
    fn change(
        &mut self,
        lookup: &Lookup<'_, K, N>,
        f: impl FnOnce(&C, &mut Option<C::Cell>, u32) -> Result<()>,
    ) -> Result<()> {
        let (added, removed) = (Cell::new(0), Cell::new(0));
        let mut sizes = (Measure::default(), Measure::default());
        let (content, epoch) = (&*self.content, self.table.epoch());
        self.table.try_update(
            lookup.group,
            lookup,
            |row| lookup.matches(row),
            || store(lookup, &added),
            |cell| {
                sizes.0 = measure(content, cell.as_ref());
                if cell.is_some() {
                    removed.set(lookup.store().heap_size() as u64);
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
}

/// Splits off the first section of a chain, if each of its rows is a cell.
fn fillable<C: Content>(chain: &[RestoredSection]) -> Option<(&RestoredSection, &[RestoredSection])> {
    let is_full = |first: &RestoredSection| first.section().kind == SectionKind::Full;
    chain.split_first().filter(|(first, _)| C::ROW_PER_CELL && is_full(first))
}

/// Number of rows in a section, limited by its bytes.
fn believed_rows(section: &RestoredSection) -> usize {
    let Section { rows, raw_bytes, .. } = *section.section();
    usize::try_from(rows.min(raw_bytes)).unwrap_or(0)
}

/// The hash of a row's key and namespace. The key must belong to the key group.
#[inline(always)]
fn row_hash<K: StateKey, N: StateKey>(key: &K, namespace: &N, keys: &KeySpace<K>, group: u16) -> Result<u64> {
    let key = keys.key(key)?;
    if key.group() == group { Ok(entry_hash(key.hash(), namespace)) } else { Err(astray(key.group())) }
}

#[cold]
pub(super) fn astray(group: u16) -> Error {
    let message = format!("a row of key group {group} lies in the section of another");
    Error::new(ErrorKind::Corrupt, message)
}
