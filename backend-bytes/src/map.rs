use std::borrow::Cow;
use std::ops::RangeBounds;

use super::access::Access;
use super::maps::Maps;
use backend_api::{Error, MapState, Result, StateKey, StateValue};

/// A map state of a [`ByteBackend`](super::ByteBackend). Each entry is read and written alone; iteration streams where the
/// map is not in the cache.
pub struct ByteMap<'a, MK: StateKey, MV: StateValue> {
    pub(super) access: Access<'a>,
    pub(super) maps: Maps<'a, MK, MV>,
}

impl<MK: StateKey, MV: StateValue> MapState<MK, MV> for ByteMap<'_, MK, MV> {
    fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        self.maps.with(&mut self.access, key, f)
    }

    fn put(&mut self, key: MK, value: MV) -> Result<()> {
        self.maps.put(&mut self.access, key, value)
    }

    fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> Result<()> {
        self.maps.put_all(&mut self.access, entries)
    }

    fn remove(&mut self, key: &MK) -> Result<()> {
        self.maps.remove(&mut self.access, key)
    }

    fn try_update<R, E: From<Error>>(
        &mut self,
        key: MK,
        f: impl FnOnce(&mut Option<MV>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut value = self.get(&key)?;
        let stored = value.is_some();
        let result = f(&mut value)?;
        match value {
            Some(value) => self.put(key, value)?,
            None if stored => self.remove(&key)?,
            None => (),
        }
        Ok(result)
    }

    fn range(
        &mut self,
        range: impl RangeBounds<MK>,
    ) -> Result<impl Iterator<Item = Result<(Cow<'_, MK>, Cow<'_, MV>)>>> {
        self.maps.range(&mut self.access, range)
    }

    fn clear(&mut self) -> Result<()> {
        self.maps.clear(&mut self.access)
    }

    fn contains(&mut self, key: &MK) -> Result<bool> {
        self.maps.contains(&mut self.access, key)
    }

    fn is_empty(&mut self) -> Result<bool> {
        self.maps.is_empty(&mut self.access)
    }
}
