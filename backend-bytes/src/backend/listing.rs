use super::{EngineBackend, finish_flush};
use crate::access::{Origin, decoded};
use crate::{ByteEngine, ByteStore, EntryKey};
use backend_api::{Keys, Result, StateKey, StateToken, backend_closed, row};

impl<K: StateKey, E: ByteEngine> EngineBackend<K, E> {
    /// All pairs of key and namespace in a state, each once.
    pub(super) fn pairs<T: StateToken>(&mut self, token: T) -> Result<Keys<'_, (K, T::Namespace)>> {
        self.store.as_ref().ok_or_else(backend_closed)?;
        let meta = self.registry.meta(token.index()).filter(|_| token.backend() == self.life.id());
        let meta = meta.ok_or_else(|| self.life.refused_token())?;
        let number = token.index() as u16;
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
}
