use std::collections::BTreeSet;

use super::{EngineBackend, finish_flush};
use crate::access::{Origin, decoded};
use crate::timers::TimerCache;
use crate::{ByteEngine, ByteStore, EntryKey};
use backend_api::{Keys, Result, StateKey, StateKind, StateToken, TimerDescriptor, backend_closed, row};

impl<K: StateKey, E: ByteEngine> EngineBackend<K, E> {
    /// All pairs of key and namespace in a state, each once.
    pub(super) fn pairs<T: StateToken>(&mut self, token: T) -> Result<Keys<'_, (K, T::Namespace)>> {
        self.store.as_ref().ok_or_else(backend_closed)?;
        self.life.check_token(token)?;
        let number = token.index() as u16;
        if self.registry.meta(token.index()).is_some_and(|meta| meta.kind == StateKind::Timer) {
            return self.timer_pairs(number);
        }
        let meta = self.registry.meta(token.index()).ok_or_else(|| self.life.refused_token())?;
        if let (Some(cache), Some(store)) = (self.registry.cache(number), &mut self.store) {
            finish_flush::<E>(store);
            cache.flush(&mut |batch| store.write(batch)).map_err(|error| error.in_state(&meta.name))?;
        }
        let store = self.store.as_ref().ok_or_else(backend_closed)?;
        let origin = Origin { meta, group: None };
        let (from, to) = EntryKey::state_range(number);
        let cursor = store.scan(&from, &to).map_err(|error| origin.name(error))?;
        let mut last: Option<Vec<u8>> = None;
        let pairs = decoded(cursor, origin, move |key, _| {
            // Encodings are self-delimiting: a key that starts with the last pair is another entry of that
            // pair.
            if last.as_ref().is_some_and(|last| key.starts_with(last)) {
                return None;
            }
            let mut rest = EntryKey::without_head(key);
            let pair = row::decode_key::<K, T::Namespace>(&mut rest).inspect(|_| {
                let last = last.get_or_insert_default();
                last.clear();
                last.extend(key.iter().take(key.len() - rest.len()));
            });
            Some(pair.map_err(|error| match EntryKey::split(key) {
                Some(key) => error.in_group(key.group),
                None => error,
            }))
        });
        Ok(Box::new(pairs))
    }

    /// All pairs of key and namespace with timers, each once.
    fn timer_pairs<N: StateKey>(&mut self, number: u16) -> Result<Keys<'_, (K, N)>> {
        let store = self.store.as_mut().ok_or_else(backend_closed)?;
        let Some((meta, timers)) = self.registry.timers::<TimerDescriptor<N>>(number.into()) else {
            return Err(self.life.refused_token());
        };
        timers.flush(store).map_err(|error| error.in_state(&meta.name))?;
        let origin = Origin { meta, group: None };
        let (from, to) = EntryKey::state_range(number);
        let cursor = store.scan(&from, &to).map_err(|error| origin.name(error))?;
        // A key is in one group, so these are the pairs of the present one.
        let (mut group, mut seen) = (None, BTreeSet::<Vec<u8>>::new());
        let pairs = decoded(cursor, origin, move |key, _| {
            let EntryKey { group: of, own, .. } = EntryKey::split(key)?;
            if group.replace(of) != Some(of) {
                seen.clear();
            }
            let own = own.get(TimerCache::TIME_BYTES..).unwrap_or_default();
            if !seen.insert(own.to_vec()) {
                return None;
            }
            Some(row::decode_key::<K, N>(&mut { own }).map_err(|error| error.in_group(of)))
        });
        Ok(Box::new(pairs))
    }
}
