use std::iter::from_fn;
use std::ops::RangeBounds;

use super::{ElementCursor, Fetched, KeyBuffers, Origin};
use crate::{ByteCursor, ByteStore};
use backend_api::{Codec, Result, StateKey, StateValue};

/// Reads from the store for one access. Errors name state and key group.
pub(crate) struct Reader<'r> {
    pub(super) store: &'r dyn ByteStore,
    pub(super) keys: &'r mut KeyBuffers,
    pub(super) fetched: &'r Fetched,
    pub(super) origin: Origin<'r>,
}

impl<'r> Reader<'r> {
    /// The value here.
    #[inline]
    pub fn value<V: StateValue>(self, codec: &dyn Codec<V>) -> Result<Option<V>> {
        let key = self.keys.here();
        if !self.fetched.is_empty() {
            let mut value = None;
            if self.fetched.take(key, &mut |bytes| value = bytes.map(|bytes| codec.decode(bytes))) {
                return value.transpose().map_err(|error| self.origin.name(error));
            }
        }
        decode_at(self.store, key, codec).map_err(|error| self.origin.name(error))
    }

    /// The value in another namespace.
    pub fn value_in<N: StateKey, V: StateValue>(
        self,
        namespace: &N,
        codec: &dyn Codec<V>,
    ) -> Result<Option<V>> {
        let key = self.keys.in_namespace(namespace);
        key.and_then(|key| decode_at(self.store, key, codec)).map_err(|error| self.origin.name(error))
    }

    /// The value of a map entry here.
    #[inline]
    pub fn entry<MK: StateKey, V: StateValue>(self, key: &MK, codec: &dyn Codec<V>) -> Result<Option<V>> {
        let key = self.keys.entry(key);
        key.and_then(|key| decode_at(self.store, key, codec)).map_err(|error| self.origin.name(error))
    }

    /// True if there is a map entry here.
    pub fn has_entry<MK: StateKey>(self, key: &MK) -> Result<bool> {
        let mut found = false;
        let key = self.keys.entry(key);
        let read = key.and_then(|key| self.store.get(key, &mut |bytes| found = bytes.is_some()));
        read.map(|()| found).map_err(|error| self.origin.name(error))
    }

    /// True if there is any entry here.
    pub fn has_any(self) -> Result<bool> {
        let origin = self.origin;
        let mut cursor = self.all()?;
        cursor.next().map(|entry| entry.is_some()).map_err(|error| origin.name(error))
    }

    /// All entries here.
    pub fn all(self) -> Result<Box<dyn ByteCursor + 'r>> {
        let (from, to) = self.keys.all();
        self.store.scan(from, to).map_err(|error| self.origin.name(error))
    }

    /// The elements of the list here with sequence numbers below `end`.
    pub fn elements(self, end: Option<u64>) -> Result<ElementCursor<'r>> {
        let (from, to) = match end {
            Some(end) => self.keys.elements_below(end),
            None => self.keys.all(),
        };
        let runs = self.store.scan(from, to);
        runs.map(ElementCursor::new).map_err(|error| self.origin.name(error))
    }

    /// The elements of the list in another namespace.
    pub fn elements_in<N: StateKey>(self, namespace: &N) -> Result<ElementCursor<'r>> {
        let runs = self.keys.all_in(namespace).and_then(|[from, to, _]| self.store.scan(from, to));
        runs.map(ElementCursor::new).map_err(|error| self.origin.name(error))
    }

    /// The entries of the map here with keys in `range`.
    pub fn entries<MK: StateKey>(self, range: &impl RangeBounds<MK>) -> Result<Box<dyn ByteCursor + 'r>> {
        let (from, to) = self.keys.entries(range);
        self.store.scan(from, to).map_err(|error| self.origin.name(error))
    }
}

fn decode_at<V: StateValue>(store: &dyn ByteStore, key: &[u8], codec: &dyn Codec<V>) -> Result<Option<V>> {
    let mut value = None;
    store.get(key, &mut |bytes| value = bytes.map(|bytes| codec.decode(bytes)))?;
    value.transpose()
}

/// The results of `decode` for the entries of a cursor. Ends after an error.
pub(crate) fn decoded<'c, T>(
    mut cursor: Box<dyn ByteCursor + 'c>,
    origin: Origin<'c>,
    mut decode: impl FnMut(&[u8], &[u8]) -> Option<Result<T>>,
) -> impl Iterator<Item = Result<T>> {
    let mut ended = false;
    from_fn(move || {
        while !ended {
            let item = match cursor.next() {
                Ok(Some((key, value))) => decode(key, value),
                Ok(None) => {
                    ended = true;
                    None
                }
                Err(error) => Some(Err(error)),
            };
            if let Some(item) = item {
                ended |= item.is_err();
                return Some(item.map_err(|error| origin.name(error)));
            }
        }
        None
    })
}
