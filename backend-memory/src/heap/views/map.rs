use std::borrow::Cow;
use std::mem::needs_drop;
use std::ops::RangeBounds;

use backend_api::{BoxError, Error, MapState, Result, StateKey, StateValue, check_equal_keys, check_found};

use super::{Lookup, Seat};
use crate::containers::Range;
use crate::heap::content::{Entries, MapCell};
use crate::heap::state::{Failure, HeapState};

/// A map state.
pub(in crate::heap) type MapTable<K, N, MK, MV> = HeapState<K, N, Entries<MK, MV>, ()>;

/// View of a map state on the heap.
pub struct HeapMap<'a, K: StateKey, N: StateKey, MK: StateKey, MV: StateValue> {
    pub(in crate::heap) state: &'a mut MapTable<K, N, MK, MV>,
    pub(in crate::heap) seat: Seat<'a, K, N>,
}

impl<K: StateKey, N: StateKey, MK: StateKey, MV: StateValue> HeapMap<'_, K, N, MK, MV> {
    /// Checks that a key can be encoded.
    #[inline(always)]
    fn check(&self, key: &MK) -> Result<()> {
        self.check_found(key)?;
        key.check().map_err(|error| self.state.locate(error, self.seat.lookup.group))
    }

    /// In debug builds, checks that the map does not confuse the key with another one.
    #[inline(always)]
    fn check_found(&self, key: &MK) -> Result<()> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        let cell = self.state.get(&self.seat.lookup);
        let found = cell.and_then(|cell| cell.map.range(key..=key).next());
        let checked = found.map_or(Ok(()), |(found, _)| check_found(found, key));
        checked.map_err(|error| self.state.locate(error, self.seat.lookup.group))
    }

    /// The error of the function of an update.
    #[cold]
    fn failed(&self, cause: BoxError) -> Error {
        self.state.explain(Failure::Update(cause), self.seat.lookup.group)
    }

    /// Adds an entry that may need more memory.
    #[inline(never)]
    fn grow(state: &mut MapTable<K, N, MK, MV>, lookup: Lookup<'_, K, N>, key: MK, value: MV) -> Result<()> {
        if state.is_limited() {
            Self::afford(state, &lookup, &key, &value)?;
        }
        let removals = state.removals();
        state.modify(&lookup, MapCell::new, |content, cell, epoch| {
            content.put(cell, key, value, epoch);
            removals.tidy(&mut cell.map, epoch);
        })
    }

    /// Checks the budget for an entry that may replace another.
    #[inline(never)]
    fn afford(state: &MapTable<K, N, MK, MV>, lookup: &Lookup<'_, K, N>, key: &MK, value: &MV) -> Result<()> {
        let old = state.get(lookup).and_then(|cell| cell.map.get(key));
        let key_bytes = Entries::<MK, MV>::key_bytes(key);
        let slot = if old.is_none() { size_of::<(MK, MV)>() as u64 } else { 0 };
        let before = state.content().owned(key_bytes, old);
        let after = state.content().owned(key_bytes, Some(value));
        state.afford(lookup, (slot + after).saturating_sub(before))
    }
}

// The common accesses are inlined, so the view needs no memory of its own. With fewer instructions per
// access, more accesses wait for memory at the same time.
impl<K: StateKey, N: StateKey, MK: StateKey, MV: StateValue> MapState<MK, MV> for HeapMap<'_, K, N, MK, MV> {
    #[inline(always)]
    fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        self.check_found(key)?;
        Ok(f(self.state.get(&self.seat.lookup).and_then(|cell| cell.map.get(key))))
    }

    #[inline(always)]
    fn put(&mut self, key: MK, value: MV) -> Result<()> {
        self.check(&key)?;
        if needs_drop::<(MK, MV)>() || self.state.is_limited() {
            return Self::grow(self.state, self.seat.lookup.aside(), key, value);
        }
        // If the key is present, no size changes, and no other check is needed.
        let rest = match self.state.own(&self.seat.lookup) {
            Some((cell, epoch)) => cell.map.replace(&key, value, epoch),
            None => Err(value),
        };
        rest.or_else(|value| Self::grow(self.state, self.seat.lookup.aside(), key, value))
    }

    fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> Result<()> {
        let entries = Vec::from_iter(entries);
        if entries.is_empty() {
            return Ok(());
        }
        entries.iter().try_for_each(|(key, _)| self.check(key))?;
        check_equal_keys(entries.iter().map(|(key, _)| key))
            .map_err(|error| self.state.locate(error, self.seat.lookup.group))?;
        // On a clone, which shares its nodes, so that a key whose comparison panics leaves the map as it was.
        let mut changed = self.state.get(&self.seat.lookup).cloned().unwrap_or_else(MapCell::new);
        let epoch = self.state.epoch();
        entries
            .into_iter()
            .for_each(|(key, value)| self.state.content().put(&mut changed, key, value, epoch));
        self.state.set(&self.seat.lookup, changed)
    }

    fn remove(&mut self, key: &MK) -> Result<()> {
        self.check_found(key)?;
        match self.state.get(&self.seat.lookup) {
            Some(cell) if cell.map.contains(key) => {
                if cell.map.len() == 1 {
                    return self.clear();
                }
            }
            _ => return Ok(()),
        }
        let removals = self.state.removals();
        self.state.modify(&self.seat.lookup, MapCell::new, |content, cell, epoch| {
            let old = cell.map.remove(key, epoch, removals.log);
            let removed = content.owned(Entries::<MK, MV>::key_bytes(key), old.as_ref());
            cell.owned = cell.owned.saturating_sub(removed);
            removals.tidy(&mut cell.map, epoch);
        })
    }

    fn try_update<R>(
        &mut self,
        key: MK,
        f: impl FnOnce(&mut Option<MV>) -> Result<R, BoxError>,
    ) -> Result<R> {
        self.check(&key)?;
        if self.state.is_limited() || self.state.get(&self.seat.lookup).is_none() {
            // The budget is checked, and the map created, only if `f` returns something to put.
            let mut value = self.get(&key)?;
            let result = f(&mut value).map_err(|cause| self.failed(cause))?;
            match value {
                Some(value) => self.put(key, value)?,
                None => self.remove(&key)?,
            }
            return Ok(result);
        }
        let removals = self.state.removals();
        let (result, is_empty) =
            self.state.modify(&self.seat.lookup, MapCell::new, |content, cell, epoch| {
                let (mut before, mut after, key_bytes) = (0, 0, Entries::<MK, MV>::key_bytes(&key));
                let result = cell.map.update(key, epoch, removals.log, |value| {
                    before = content.owned(key_bytes, value.as_ref());
                    let result = f(value).map_err(Failure::Update)?;
                    after = content.owned(key_bytes, value.as_ref());
                    Ok(result)
                });
                if result.is_ok() {
                    cell.owned = (cell.owned + after).saturating_sub(before);
                }
                removals.tidy(&mut cell.map, epoch);
                (result, cell.map.is_empty())
            })?;
        if is_empty {
            self.clear()?;
        }
        result.map_err(|failure| self.state.explain(failure, self.seat.lookup.group))
    }

    #[inline(always)]
    fn range(
        &mut self,
        range: impl RangeBounds<MK>,
    ) -> Result<impl Iterator<Item = Result<(Cow<'_, MK>, Cow<'_, MV>)>>> {
        let cell = self.state.get(&self.seat.lookup);
        let entries = cell.map_or_else(Range::none, |cell| cell.map.range(range));
        Ok(entries.map(|(key, value)| Ok((Cow::Borrowed(key), Cow::Borrowed(value)))))
    }

    #[inline]
    fn clear(&mut self) -> Result<()> {
        self.state.remove(&self.seat.lookup);
        Ok(())
    }

    #[inline]
    fn len(&mut self) -> Result<u64> {
        Ok(self.state.get(&self.seat.lookup).map_or(0, |cell| cell.map.len() as u64))
    }

    #[inline]
    fn is_empty(&mut self) -> Result<bool> {
        Ok(self.state.get(&self.seat.lookup).is_none())
    }
}
