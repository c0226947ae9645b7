//! Shared by lists and maps.

use crate::access::{Access, Writer};
use crate::cache::{Cache, Changes, Collection, Object};
use backend_api::{Codec, Result, StateKey};

/// Adds the changes of the cache here that the store lacks.
fn add_cached<O: Object>(writer: &mut Writer<'_>, cache: &Cache<O>) -> Result<()> {
    let (batch, keys) = writer.parts();
    let mut changes = Changes::default();
    cache.lock().encode(keys.here(), &mut changes)?;
    changes.move_to(batch);
    Ok(())
}

/// Writes the changes of the cache here and in other namespaces that the store lacks, and drops them from the
/// cache.
pub(super) fn write_out<O: Object, N: StateKey>(
    access: &mut Access<'_>,
    cache: &Cache<O>,
    others: &[&N],
) -> Result<()> {
    access.write(|writer| {
        add_cached(writer, cache)?;
        others.iter().try_for_each(|other| {
            let (batch, keys) = writer.parts();
            let mut changes = Changes::default();
            cache.lock().encode(keys.in_namespace(*other)?, &mut changes)?;
            changes.move_to(batch);
            Ok(())
        })
    })?;
    cache.forget(access.key());
    others.iter().try_for_each(|other| {
        cache.forget(access.key_in(*other)?);
        Ok(())
    })
}

/// Writes the changes of the cache here that the store lacks, then what `add` adds. Drops the entry from the
/// cache.
pub(super) fn write_past<O: Object>(
    access: &mut Access<'_>,
    cache: &Cache<O>,
    add: impl FnOnce(&mut Writer<'_>) -> Result<()>,
) -> Result<()> {
    access.write(|writer| {
        add_cached(writer, cache)?;
        add(writer)
    })?;
    cache.forget(access.key());
    Ok(())
}

/// Writes the cached part of the list or map here, which is too long. The cache keeps only the fact that it
/// is too long.
#[cold]
pub(super) fn spill<O: Collection>(access: &mut Access<'_>, cache: &Cache<O>) -> Result<()> {
    write_past(access, cache, |_| Ok(()))?;
    let known = cache.entry(access.key()).or_default(access.key());
    let known = known.map(|mut known| known.fill(|collection, _| *collection = O::long()));
    known.map_err(|error| access.origin.name(error))
}

/// Changes the cached part of the list or map here. Spills it first if it is too long.
#[inline]
pub(super) fn change<O: Collection>(
    access: &mut Access<'_>,
    cache: &Cache<O>,
    change: impl FnOnce(&mut O, &dyn Codec<O::Value>),
) -> Result<()> {
    let mut entry = cache.entry(access.key());
    if entry.get().is_some_and(O::is_too_long) {
        drop(entry);
        spill(access, cache)?;
        entry = cache.entry(access.key());
    }
    let known = entry.or_default(access.key());
    known.map(|mut known| known.change(change)).map_err(|error| access.origin.name(error))
}

/// Clears the list or map here.
pub(super) fn clear<O: Collection>(access: &mut Access<'_>, cache: Option<&Cache<O>>) -> Result<()> {
    let bytes = lower_bound_bytes(access, cache)?;
    match cache {
        Some(cache) => {
            let entry = cache.entry(access.key());
            if !entry.get().is_some_and(O::is_clear) {
                let known = entry.or_default(access.key());
                let cleared = known.map(|mut known| known.change(|collection, _| collection.clear()));
                cleared.map_err(|error| access.origin.name(error))?;
            }
        }
        None => access.write(|writer| {
            writer.delete_all();
            Ok(())
        })?,
    }
    access.totals.clear(access.buffers.keys.here(), bytes);
    Ok(())
}

/// A lower bound of the bytes of the list or map here, to be credited when they are removed. 0 if the exact
/// number does not matter.
pub(super) fn lower_bound_bytes<O: Collection>(
    access: &mut Access<'_>,
    cache: Option<&Cache<O>>,
) -> Result<u64> {
    access.charging().lower_bound_bytes(|key| {
        let mut known = cache?.entry(key).known()?;
        // If a part is cached and clean, the store has more. Entries removed from it were credited before.
        let is_enough = known.is_dirty() || known.get().is_some_and(O::is_whole);
        is_enough.then(|| known.fill(|collection, codec| collection.lower_bound_bytes(codec)))
    })
}
