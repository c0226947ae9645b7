//! For authors of backends: the walks of [`StateBackend`] over keys and entries.

use std::ops::{Bound, RangeBounds};

use crate::{KeyContext, MapState, MapToken, Result, StateBackend, StateKey, StateToken, StateValue};

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
