use super::{KeyBuffers, Origin};
use crate::EntryKey;
use crate::limits::EntryLimit;
use crate::runs::{RUN_BYTES, taken};
use backend_api::row::{encode_value, varint_len};
use backend_api::{Codec, Result, StateKey, StateValue};

/// Determines the sizes of entries of one access. Encodes values even if only the cache stores them, so that
/// values that cannot be encoded or are too long are refused at once. Errors name state and key group.
pub(crate) struct EntrySizes<'s> {
    keys: &'s mut KeyBuffers,
    origin: Origin<'s>,
    limit: EntryLimit,
}

impl<'s> EntrySizes<'s> {
    #[inline]
    pub fn new(keys: &'s mut KeyBuffers, origin: Origin<'s>, limit: EntryLimit) -> Self {
        Self { keys, origin, limit }
    }

    /// Bytes of the value's entry.
    ///
    /// # Errors
    /// If the value cannot be encoded, or the entry is too long.
    #[inline]
    pub fn value<V: StateValue>(self, value: &V, codec: &dyn Codec<V>) -> Result<usize> {
        let (key, out) = self.keys.with_scratch();
        let size = match codec.fixed_len() {
            Some(len) => key.len() + len,
            None => {
                out.clear();
                out.extend_from_slice(key);
                encoded_size(out, value, codec).map_err(|error| self.origin.name(error))?
            }
        };
        self.check(size)
    }

    /// Bytes of a map entry, and of its map key alone.
    ///
    /// # Errors
    /// Same as [`value`](Self::value), and if the map key cannot be encoded.
    #[inline]
    pub fn entry<MK: StateKey, V: StateValue>(
        self,
        key: &MK,
        value: &V,
        codec: &dyn Codec<V>,
    ) -> Result<(usize, usize)> {
        self.keys.entry(key).map_err(|error| self.origin.name(error))?;
        let (here, out) = self.keys.with_scratch();
        let key_len = out.len() - here.len();
        let size = match codec.fixed_len() {
            Some(len) => out.len() + len,
            None => encoded_size(out, value, codec).map_err(|error| self.origin.name(error))?,
        };
        Ok((self.check(size)?, key_len))
    }

    /// Bytes of a map key.
    ///
    /// # Errors
    /// If it cannot be encoded.
    #[inline]
    pub fn map_key<MK: StateKey>(self, key: &MK) -> Result<usize> {
        let here = self.keys.here().len();
        let key = self.keys.entry(key).map_err(|error| self.origin.name(error))?;
        Ok(key.len() - here)
    }

    /// Passes each element that fits to `keep`. Returns the bytes of all elements, and those of the longest
    /// entry.
    ///
    /// # Errors
    /// Same as [`value`](Self::value). Some elements were passed before.
    #[inline]
    pub fn elements<V: StateValue>(
        self,
        elements: impl IntoIterator<Item = V>,
        codec: &dyn Codec<V>,
        mut keep: impl FnMut(V),
    ) -> Result<(u64, usize)> {
        let (key, out) = self.keys.with_scratch();
        let head = key.len() + EntryKey::SEQUENCE_BYTES;
        let (mut bytes, mut longest) = (0, 0);
        out.clear();
        for element in elements {
            if out.len() > RUN_BYTES {
                out.clear();
            }
            let before = out.len();
            let length = encoded_size(out, &element, codec).map(|size| size - before);
            let length = length.map_err(|error| self.origin.name(error))?;
            let size = length + varint_len(length as u64);
            self.limit.check(head + size).map_err(|error| self.origin.name(error))?;
            bytes += size as u64;
            longest = longest.max(head + size);
            keep(element);
        }
        Ok((bytes, longest))
    }

    #[inline]
    fn check(&self, size: usize) -> Result<usize> {
        self.limit.check(size).map(|()| size).map_err(|error| self.origin.name(error))
    }
}

/// Appends the encoding of a value. Returns the length of the buffer afterwards.
#[inline]
fn encoded_size<V: StateValue>(out: &mut Vec<u8>, value: &V, codec: &dyn Codec<V>) -> Result<usize> {
    let before = out.len();
    encode_value(value, codec, out)?;
    if out.len() < before { Err(taken()) } else { Ok(out.len()) }
}
