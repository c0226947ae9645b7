use crate::access::{Origin, decoded};
use crate::limits::EntryLimit;
use crate::timers::TimerCache;
use crate::{ByteStore, EntryKey};
use backend_api::format::StateMeta;
use backend_api::{
    BorrowedKey, Error, KeyContext, Lifecycle, Result, StateKey, StoredKey, Timer, TimerState, TimerToken,
};

/// The timers of a state of a [`ByteBackend`](crate::ByteBackend).
pub struct ByteTimers<'a, K: StateKey, N: StateKey> {
    pub(crate) life: &'a Lifecycle<K>,
    pub(crate) token: TimerToken<N>,
    pub(crate) store: &'a mut dyn ByteStore,
    pub(crate) meta: &'a StateMeta,
    pub(crate) cache: &'a mut TimerCache,
    pub(crate) limit: EntryLimit,
    /// A buffer for a timer.
    pub(crate) key: &'a mut Vec<u8>,
}

impl<K: StateKey, N: StateKey> ByteTimers<'_, K, N> {
    /// Encodes a timer into the buffer. Returns the index of its group.
    #[inline]
    fn encode(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<usize> {
        let place = self.life.place(self.token, key, namespace)?;
        self.key.clear();
        at.encode(self.key);
        key.key().encode_key(self.key);
        namespace.encode(self.key);
        Ok(place.group())
    }

    /// Adds state and key group to an error.
    #[cold]
    fn name(&self, error: Error, group: Option<usize>) -> Error {
        Origin { meta: self.meta, group: group.map(|group| self.cache.number(group)) }.name(error)
    }

    /// The timers of the groups with these indexes, group by group.
    fn scan(
        &mut self,
        groups: impl Iterator<Item = usize>,
    ) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        let flushed = self.cache.prepare(self.store).and_then(|()| self.cache.flush(self.store));
        flushed.map_err(|error| self.name(error, None))?;
        let Self { store, meta, cache, .. } = self;
        let (store, meta, cache) = (&**store, *meta, &**cache);
        let mut ended = false;
        Ok(groups.flat_map(move |group| -> Box<dyn Iterator<Item = Result<Timer<K, N>>>> {
            let Some((from, to)) = cache.range(group).filter(|_| !ended) else {
                return Box::new(std::iter::empty());
            };
            let origin = Origin { meta, group: Some(cache.number(group)) };
            match store.scan(&from, &to) {
                Ok(cursor) => Box::new(decoded(cursor, origin, |key, _| {
                    Some(Timer::decode(&mut EntryKey::without_head(key)))
                })),
                Err(error) => {
                    ended = true;
                    Box::new(std::iter::once(Err(origin.name(error))))
                }
            }
        }))
    }
}

impl<K: StateKey, N: StateKey> TimerState<K, N> for ByteTimers<'_, K, N> {
    #[inline]
    fn add(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<bool> {
        let group = self.encode(key, namespace, at)?;
        let size = EntryKey::HEAD_BYTES + self.key.len();
        let added = self.limit.check(size).and_then(|()| self.cache.add(self.store, group, self.key));
        added.map_err(|error| self.name(error, Some(group)))
    }

    #[inline]
    fn remove(&mut self, key: KeyContext<'_, K>, namespace: &N, at: i64) -> Result<bool> {
        let group = self.encode(key, namespace, at)?;
        let removed = self.cache.remove(self.store, group, self.key);
        removed.map_err(|error| self.name(error, Some(group)))
    }

    fn peek(&mut self) -> Result<Option<Timer<K, N>>> {
        let Self { store, meta, cache, .. } = self;
        let head = cache.peek(*store).map_err(|error| Origin { meta, group: None }.name(error))?;
        let Some((group, mut timer)) = head else { return Ok(None) };
        Timer::decode(&mut timer).map(Some).map_err(|error| self.name(error, Some(group)))
    }

    #[inline]
    fn next_due(&mut self, to: i64) -> Result<Option<Timer<K, N>>> {
        let mut head = None;
        let due = self.cache.next_due(self.store, to, |group, mut timer| {
            head = Some(group);
            Timer::decode(&mut timer)
        });
        due.map_err(|error| self.name(error, head))
    }

    fn iter(&mut self) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        self.scan(0..self.life.subtask().range().len())
    }

    fn in_key_group(&mut self, group: u16) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        let group = self.life.group_index(self.token, group)?;
        self.scan(group..group + 1)
    }

    fn of_key(&mut self, key: KeyContext<'_, K>) -> Result<impl Iterator<Item = Result<Timer<K, N>>>> {
        let group = self.life.group_of(self.token, key)?;
        let of = K::Stored::store_borrowed(key.key());
        let timers = self.scan(group..group + 1)?;
        Ok(timers.filter(move |timer| timer.as_ref().map_or(true, |timer| of.matches(&timer.key))))
    }

    fn len(&mut self) -> Result<u64> {
        self.iter()?.try_fold(0, |sum, timer| timer.map(|_| sum + 1))
    }
}
