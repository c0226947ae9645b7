//! Rewrites the entries of a state whose type has changed.

use super::access::Buffers;
use super::limits::Totals;
use super::{ByteStore, EntryKey, runs};
use backend_api::row::{RowEvolution, decode_key, encode_sized};
use backend_api::{Error, ErrorKind, Result, StateKey, StateKind, StateShape};

/// Bytes that are read and written at once.
const BATCH_BYTES: usize = 1 << 20;

/// Writes the entries of state `old` as state `new`, in the present form if that is another, in batches. Adds up the bytes of
/// its lists or maps. The old entries stay until all are written, so a failure loses nothing.
///
/// # Errors
/// Errors of the codec, with the key group, and errors of the store. Some entries of `new` may exist then.
pub(super) fn rewrite<K: StateKey, N: StateKey>(
    (store, buffers, totals): (&mut dyn ByteStore, &mut Buffers, &mut Totals),
    (old, new, kind): (u16, u16, StateKind),
    evolution: Option<&RowEvolution>,
) -> Result<()> {
    let (from, to) = EntryKey::state_range(old);
    let mut from = from.to_vec();
    let (mut key, mut present) = (Vec::new(), Vec::new());
    let batch = &mut buffers.batch;
    loop {
        batch.clear();
        let mut cursor = store.scan(&from, &to)?;
        let mut ended = true;
        while let Some((entry, value)) = cursor.next()? {
            if batch.size() >= BATCH_BYTES {
                from.clear();
                from.extend_from_slice(entry);
                ended = false;
                break;
            }
            let foreign = || Error::new(ErrorKind::Corrupt, "the store returned a key that was never put");
            let EntryKey { group, own, .. } = EntryKey::split(entry).ok_or_else(foreign)?;
            present.clear();
            let converted = match (evolution, kind.shape()) {
                (None, _) | (_, StateShape::Timer) => {
                    present.extend_from_slice(value);
                    Ok(())
                }
                (Some(evolution), StateShape::List) => runs::elements(value).try_for_each(|element| {
                    encode_sized(&mut present, |out| evolution.convert_value(element?, out))
                }),
                (Some(evolution), StateShape::Single | StateShape::Map) => {
                    evolution.convert_value(value, &mut present)
                }
            };
            converted.map_err(|error| error.in_group(group))?;
            key.clear();
            key.extend_from_slice(&EntryKey::head_of(new, group));
            key.extend_from_slice(own);
            batch.put(&key, &present);
            let mut rest = own;
            decode_key::<K, N>(&mut rest)?;
            let prefix = key.len() - rest.len();
            let added = match kind.shape() {
                StateShape::Single | StateShape::Timer => 0,
                StateShape::List => present.len(),
                StateShape::Map => rest.len() + present.len(),
            };
            if added > 0 {
                totals.add(key.get(..prefix).unwrap_or_default(), added as u64);
            }
        }
        drop(cursor);
        store.write(batch)?;
        batch.clear();
        if ended {
            return Ok(());
        }
    }
}

/// Removes all entries of some states, or none.
pub(super) fn remove(store: &mut dyn ByteStore, buffers: &mut Buffers, states: &[u16]) -> Result<()> {
    let batch = &mut buffers.batch;
    batch.clear();
    for state in states {
        let (from, to) = EntryKey::state_range(*state);
        batch.delete_range(&from, &to);
    }
    let written = store.write(batch);
    batch.clear();
    written
}
