use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use crate::{BoxError, Result, StateKey, StateValue};

/// An ordered map under one key and namespace. Each entry is accessed on its own. A missing map reads as
/// empty.
///
/// Entries are in key order on every backend, because `Ord` and the order of the encoded bytes agree (a law
/// of [`StateKey`]). Errors are those of [`ValueState`](crate::ValueState).
pub trait MapState<MK: StateKey, MV: StateValue> {
    /// Calls `f` with the value of an entry, without cloning it if the backend keeps objects.
    fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R>;

    /// Adds or replaces an entry.
    fn put(&mut self, key: MK, value: MV) -> Result<()>;

    /// Adds or replaces all entries, or none. An empty iterator creates nothing.
    fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> Result<()>;

    /// Removes an entry, if present. Removing the last entry removes the map.
    fn remove(&mut self, key: &MK) -> Result<()>;

    /// Reads, changes and writes one entry in one access; see [`ValueState::try_update`](crate::ValueState::try_update).
    ///
    /// # Errors
    /// Same as [`ValueState::try_update`](crate::ValueState::try_update).
    fn try_update<R>(&mut self, key: MK, f: impl FnOnce(&mut Option<MV>) -> Result<R, BoxError>)
    -> Result<R>;

    /// The entries whose keys lie in `range`, in order, one by one.
    fn range(
        &mut self,
        range: impl RangeBounds<MK>,
    ) -> Result<impl Iterator<Item = Result<(Cow<'_, MK>, Cow<'_, MV>)>>>;

    /// Removes all entries.
    fn clear(&mut self) -> Result<()>;

    /// The value of an entry, cloned.
    #[inline(always)]
    fn get(&mut self, key: &MK) -> Result<Option<MV>> {
        self.with(key, |value| value.cloned())
    }

    /// True if there is an entry.
    #[inline(always)]
    fn contains(&mut self, key: &MK) -> Result<bool> {
        self.with(key, |value| value.is_some())
    }

    /// [`try_update`](Self::try_update) with a function that cannot fail.
    #[inline]
    fn update<R>(&mut self, key: MK, f: impl FnOnce(&mut Option<MV>) -> R) -> Result<R> {
        self.try_update(key, |value| Ok(f(value)))
    }

    /// All entries, in order, one by one.
    #[inline(always)]
    fn iter(&mut self) -> Result<impl Iterator<Item = Result<(Cow<'_, MK>, Cow<'_, MV>)>>> {
        self.range(..)
    }

    /// The keys of all entries, in order.
    fn keys(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, MK>>>> {
        Ok(self.range(..)?.map(|entry| entry.map(|(key, _)| key)))
    }

    /// The values of all entries, in the order of their keys.
    fn values(&mut self) -> Result<impl Iterator<Item = Result<Cow<'_, MV>>>> {
        Ok(self.range(..)?.map(|entry| entry.map(|(_, value)| value)))
    }

    /// Appends the first entries with keys in `range`, at most `max`, to `into`. The entries do not borrow from the view,
    /// so other states can be accessed for each of them. [`StateBackend::for_each_entry`](crate::StateBackend::for_each_entry)
    /// walks over a whole map in this way.
    ///
    /// # Errors
    /// Same as [`range`](Self::range). Then `into` may have some of the entries.
    fn range_into(
        &mut self,
        range: impl RangeBounds<MK>,
        max: usize,
        into: &mut Vec<(MK, MV)>,
    ) -> Result<()> {
        for entry in self.range(range)?.take(max) {
            let (key, value) = entry?;
            into.push((key.into_owned(), value.into_owned()));
        }
        Ok(())
    }

    /// Number of entries. Where the backend keeps bytes it reads them all.
    fn len(&mut self) -> Result<u64> {
        self.range(..)?.try_fold(0, |count, entry| entry.map(|_| count + 1))
    }

    /// True if there are no entries.
    fn is_empty(&mut self) -> Result<bool> {
        Ok(self.range(..)?.next().transpose()?.is_none())
    }

    /// A cursor before the first entry, which can replace and remove entries as it advances.
    fn cursor(&mut self) -> MapCursor<'_, Self, MK, MV>
    where
        Self: Sized,
    {
        MapCursor::new(self)
    }
}

/// Iterates over a map in order and changes it. See [`MapState::cursor`].
///
/// It remembers a key, not a position, so its changes are visible at once, and each remaining entry is
/// visited exactly once.
pub struct MapCursor<'m, S, MK, MV> {
    map: &'m mut S,
    /// Start of the next step: after the last key.
    at: Bound<MK>,
    types: PhantomData<fn() -> MV>,
}

impl<'m, S: MapState<MK, MV>, MK: StateKey, MV: StateValue> MapCursor<'m, S, MK, MV> {
    /// A cursor before the first entry of `map`, as [`MapState::cursor`] returns.
    pub fn new(map: &'m mut S) -> Self {
        Self { map, at: Bound::Unbounded, types: PhantomData }
    }

    /// Moves to the next entry. `None` past the last one.
    ///
    /// # Errors
    /// Errors of [`MapState::range`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an entry borrows the cursor, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<MapEntry<'_, S, MK, MV>>> {
        let found = match self.map.range((self.at.clone(), Bound::Unbounded))?.next().transpose()? {
            Some((key, value)) => (key.into_owned(), value.into_owned()),
            None => return Ok(None),
        };
        self.at = Bound::Excluded(found.0.clone());
        Ok(Some(MapEntry { map: self.map, key: found.0, value: found.1 }))
    }
}

/// The current entry of a [`MapCursor`].
///
/// Removal consumes it, so removing twice, or replacing the value of a removed entry, does not compile. (In
/// Flink both are an `IllegalStateException`.)
pub struct MapEntry<'c, S, MK, MV> {
    map: &'c mut S,
    key: MK,
    value: MV,
}

impl<S: MapState<MK, MV>, MK: StateKey, MV: StateValue> MapEntry<'_, S, MK, MV> {
    /// The entry's key.
    pub fn key(&self) -> &MK {
        &self.key
    }

    /// The entry's value.
    pub fn value(&self) -> &MV {
        &self.value
    }

    /// Replaces the value in the state at once.
    ///
    /// # Errors
    /// Errors of [`MapState::put`].
    pub fn set(&mut self, value: MV) -> Result<()> {
        self.map.put(self.key.clone(), value.clone())?;
        self.value = value;
        Ok(())
    }

    /// Removes the entry from the state at once.
    ///
    /// # Errors
    /// Errors of [`MapState::remove`].
    pub fn remove(self) -> Result<()> {
        self.map.remove(&self.key)
    }
}
