use std::borrow::Cow;
use std::ops::{Bound, RangeBounds};

use super::access::{Access, decoded};
use crate::{Error, MapDescriptor, MapState, Result, StateKey, StateValue};

/// A map state of a [`ByteBackend`](super::ByteBackend). Each entry is read and written alone; iteration streams.
pub struct ByteMap<'a, MK, MV, N> {
    pub(super) access: Access<'a>,
    pub(super) descriptor: &'a MapDescriptor<MK, MV, N>,
}

impl<MK: StateKey, MV: StateValue, N: StateKey> MapState<MK, MV> for ByteMap<'_, MK, MV, N> {
    fn with<R>(&mut self, key: &MK, f: impl FnOnce(Option<&MV>) -> R) -> Result<R> {
        Ok(f(self.get(key)?.as_ref()))
    }

    fn put(&mut self, key: MK, value: MV) -> Result<()> {
        self.access.write(|access| access.put_entry(&key, &value, &**self.descriptor.codec()))
    }

    fn put_all(&mut self, entries: impl IntoIterator<Item = (MK, MV)>) -> Result<()> {
        let codec = &**self.descriptor.codec();
        self.access.write(|access| {
            entries.into_iter().try_for_each(|(key, value)| access.put_entry(&key, &value, codec))
        })
    }

    fn remove(&mut self, key: &MK) -> Result<()> {
        self.access.write(|access| access.delete_entry(key))
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
        let (place, codec) = (self.access.place, &**self.descriptor.codec());
        let prefix_len = self.access.prefix_len();
        let from = match range.start_bound() {
            Bound::Included(key) => Some((key, false)),
            Bound::Excluded(key) => Some((key, true)),
            Bound::Unbounded => None,
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some((key, true)),
            Bound::Excluded(key) => Some((key, false)),
            Bound::Unbounded => None,
        };
        let cursor = self.access.scan_entries(from, to)?;
        Ok(decoded(cursor, place, move |key, value| {
            let mut key = key.get(prefix_len..).unwrap_or_default();
            let entry =
                MK::decode(&mut key).and_then(|key| Ok((Cow::Owned(key), Cow::Owned(codec.decode(value)?))));
            Some(entry)
        }))
    }

    fn clear(&mut self) -> Result<()> {
        self.access.write(|access| {
            access.delete_all();
            Ok(())
        })
    }

    fn get(&mut self, key: &MK) -> Result<Option<MV>> {
        self.access.read_entry(key, &**self.descriptor.codec())
    }

    fn contains(&mut self, key: &MK) -> Result<bool> {
        self.access.has_entry(key)
    }

    fn is_empty(&mut self) -> Result<bool> {
        Ok(!self.access.has_any()?)
    }
}
