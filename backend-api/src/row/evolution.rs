//! Converts rows of an older form of a type into rows of the present one.

use std::fmt;
use std::sync::Arc;

use super::{RowChange, RowHead, decode_key, encode_sized, encode_varint};
use crate::codec::ReadOld;
use crate::error::catch_panic;
use crate::format::SectionKind;
use crate::{Codec, ErrorKind, Result, StateKey, StateKind};

/// Converts rows of another codec into rows of a state's present codec. See
/// [`RestoredState::evolve`](crate::restore::RestoredState::evolve).
#[derive(Clone)]
pub struct RowEvolution {
    row: Arc<Convert>,
    value: Arc<ConvertValue>,
}

type ConvertValue = dyn Fn(&[u8], &mut Vec<u8>) -> Result<()> + Send + Sync;
type Convert = dyn Fn(SectionKind, &[u8], &mut Vec<u8>) -> Result<()> + Send + Sync;

impl RowEvolution {
    /// The conversion for a state of `kind` with keys `K`, namespaces `N` and map keys `MK`. `read` decodes old values, and
    /// `codec` encodes them.
    pub(crate) fn new<K: StateKey, N: StateKey, MK: StateKey, V: 'static>(
        kind: StateKind,
        read: ReadOld<V>,
        codec: Arc<dyn Codec<V>>,
    ) -> Self {
        let convert: Arc<ConvertValue> = Arc::new(move |old, out| {
            let value = read(old)?;
            catch_panic(ErrorKind::Codec, "a value was encoded", || codec.encode(&value, out))
        });
        let value = Arc::clone(&convert);
        let row: Arc<Convert> = Arc::new(move |section, row, out| {
            let mut rest = row;
            let start = RowHead::decode(kind.shape(), section, &mut rest)?;
            decode_key::<K, N>(&mut rest)?;
            let head = row.get(..row.len() - rest.len()).unwrap_or_default();
            match RowChange::decode(start, rest)? {
                RowChange::Value(old) => {
                    out.extend_from_slice(head);
                    value(old, out)?;
                }
                RowChange::Elements(mut elements) => {
                    out.extend_from_slice(head);
                    encode_varint(elements.first(), out);
                    while let Some(old) = elements.next_element()? {
                        encode_sized(out, |out| value(old, out))?;
                    }
                }
                RowChange::Entries(mut entries) => {
                    out.extend_from_slice(head);
                    while let Some((key, old)) = entries.next_entry::<MK>()? {
                        key.encode(out);
                        encode_sized(out, |out| value(old, out))?;
                    }
                }
                RowChange::RemoveEntries(_)
                | RowChange::Remove
                | RowChange::AddTimer(_)
                | RowChange::RemoveTimer(_) => out.extend_from_slice(row),
            }
            Ok(())
        });
        Self { row, value: convert }
    }

    /// Appends the present form of a row of a section of that kind.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is no such row. Errors of the codec.
    pub fn convert(&self, section: SectionKind, row: &[u8], out: &mut Vec<u8>) -> Result<()> {
        (self.row)(section, row, out)
    }

    /// Appends the present form of a value, an element, or the value of an entry.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the bytes are no such value. Errors of the codec.
    pub fn convert_value(&self, old: &[u8], out: &mut Vec<u8>) -> Result<()> {
        (self.value)(old, out)
    }
}

impl fmt::Debug for RowEvolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowEvolution")
    }
}
