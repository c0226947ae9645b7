//! For authors of backends: the walks of [`StateBackend`] over keys and entries, and its batches.

use std::ops::{Bound, RangeBounds};

use crate::{
    KeyContext, MapState, MapToken, Result, StateBackend, StateKey, StateToken, StateValue, ValueState,
    ValueToken,
};

/// Entries that are read at once.
const AT_ONCE: usize = 128;

/// The default of [`StateBackend::for_each_key`].
///
/// # Errors
/// Same as [`StateBackend::for_each_key`].
pub fn each_key<B: StateBackend, T: StateToken>(
    backend: &mut B,
    token: T,
    namespace: &T::Namespace,
    mut f: impl FnMut(&mut B, KeyContext<'_, B::Key>) -> Result<()>,
) -> Result<()> {
    let keys = backend.keys(token, namespace)?.collect::<Result<Vec<_>>>()?;
    keys.iter().try_for_each(|key| {
        let key = backend.key(key)?;
        f(backend, key)
    })
}

/// The default of [`StateBackend::for_each_entry`].
///
/// # Errors
/// Same as [`StateBackend::for_each_entry`].
pub fn each_entry<B: StateBackend, MK: StateKey, MV: StateValue, N: StateKey>(
    backend: &mut B,
    token: MapToken<MK, MV, N>,
    key: KeyContext<'_, B::Key>,
    namespace: &N,
    range: impl RangeBounds<MK>,
    mut f: impl FnMut(&mut B, MK, MV) -> Result<()>,
) -> Result<()> {
    let (mut from, to) = (range.start_bound().cloned(), range.end_bound().cloned());
    let mut entries = Vec::new();
    loop {
        backend.map(token, key, namespace)?.range_into((from, to.clone()), AT_ONCE, &mut entries)?;
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let is_last = entries.len() < AT_ONCE;
        from = Bound::Excluded(last.clone());
        entries.drain(..).try_for_each(|(key, value)| f(backend, key, value))?;
        if is_last {
            return Ok(());
        }
    }
}

/// The default of [`StateBackend::get_values`].
///
/// # Errors
/// Same as [`StateBackend::get_batch`].
pub fn get_each<B: StateBackend, V: StateValue, N: StateKey>(
    backend: &mut B,
    token: ValueToken<V, N>,
    keys: &[KeyContext<'_, B::Key>],
    namespace: &N,
    mut f: impl FnMut(usize, Option<&V>),
) -> Result<()> {
    backend.prefetch_batch(token, keys, namespace);
    let mut keys = keys.iter().enumerate();
    keys.try_for_each(|(i, &key)| backend.value(token, key, namespace)?.with(|value| f(i, value)))
}

/// The default of [`StateBackend::update_values`].
///
/// # Errors
/// Same as [`StateBackend::update_batch`].
pub fn update_each<B: StateBackend, V: StateValue, N: StateKey>(
    backend: &mut B,
    token: ValueToken<V, N>,
    keys: &[KeyContext<'_, B::Key>],
    namespace: &N,
    mut f: impl FnMut(usize, &mut Option<V>),
) -> Result<()> {
    backend.prefetch_batch(token, keys, namespace);
    let mut keys = keys.iter().enumerate();
    keys.try_for_each(|(i, &key)| backend.value(token, key, namespace)?.update(|value| f(i, value)))
}
