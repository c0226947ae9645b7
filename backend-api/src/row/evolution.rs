//! Converts rows of an older form of a type into rows of the present one.

use std::fmt;
use std::sync::Arc;

use super::{RowChange, RowParts, encode_sized, encode_varint};
use crate::codec::{ReadOld, with_scratch};
use crate::error::catch_panic;
use crate::format::SectionKind;
use crate::{Codec, ErrorKind, Result, StateKey, StateKind, ValueSchema};

/// Converts rows of another codec, or with canonical values, into rows of a state's present codec. See
/// [`RestoredState::evolve`](crate::restore::RestoredState::evolve).
#[derive(Clone)]
pub struct RowEvolution {
    parts: RowParts,
    value: Arc<ConvertValue>,
}

type ConvertValue = dyn Fn(&[u8], &mut Vec<u8>) -> Result<()> + Send + Sync;

impl RowEvolution {
    /// The conversion for a state of `kind` with keys `K`, namespaces `N` and map keys `MK`. `canonical` is the schema of
    /// values in canonical form. `read` decodes old values, and `codec` encodes them. `None` if the rows stay as they are.
    pub(crate) fn new<K: StateKey, N: StateKey, MK: StateKey, V: 'static>(
        kind: StateKind,
        canonical: Option<ValueSchema>,
        read: Option<ReadOld<V>>,
        codec: &Arc<dyn Codec<V>>,
    ) -> Option<Self> {
        let codec = Arc::clone(codec);
        let value: Arc<ConvertValue> = match (canonical, read) {
            (None, None) => return None,
            (Some(schema), None) => Arc::new(move |old, out| schema.decode_canonical(old, out)),
            (None, Some(read)) => Arc::new(move |old, out| encode(&*codec, &read(old)?, out)),
            (Some(schema), Some(read)) => Arc::new(move |old, out| {
                with_scratch(|bytes| {
                    schema.decode_canonical(old, bytes)?;
                    encode(&*codec, &read(bytes)?, out)
                })
            }),
        };
        Some(Self { parts: RowParts::typed::<K, N, MK>(kind), value })
    }

    /// The conversion of canonical values into those of their codec, for tools that do not know the types.
    pub(crate) fn of_canonical(parts: RowParts, schema: ValueSchema) -> Self {
        Self { parts, value: Arc::new(move |old, out| schema.decode_canonical(old, out)) }
    }

    /// Appends the present form of a row of a section of that kind.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is no such row. Errors of the codec.
    pub fn convert(&self, section: SectionKind, row: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let (head, change) = self.parts.split(section, row)?;
        match change {
            RowChange::Value(old) => {
                out.extend_from_slice(head);
                (self.value)(old, out)?;
            }
            RowChange::Elements(mut elements) => {
                out.extend_from_slice(head);
                encode_varint(elements.first(), out);
                while let Some(old) = elements.next_element()? {
                    encode_sized(out, |out| (self.value)(old, out))?;
                }
            }
            RowChange::Entries(entries) => {
                out.extend_from_slice(head);
                let mut rest = entries.bytes();
                while !rest.is_empty() {
                    out.extend_from_slice(self.parts.take_map_key(&mut rest)?);
                    let old = super::decode_sized(&mut rest)?;
                    encode_sized(out, |out| (self.value)(old, out))?;
                }
            }
            RowChange::RemoveEntries(_)
            | RowChange::Remove
            | RowChange::AddTimer(_)
            | RowChange::RemoveTimer(_) => out.extend_from_slice(row),
        }
        Ok(())
    }

    /// Appends the present form of a value, an element, or the value of an entry.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the bytes are no such value. Errors of the codec.
    pub fn convert_value(&self, old: &[u8], out: &mut Vec<u8>) -> Result<()> {
        (self.value)(old, out)
    }
}

fn encode<V: 'static>(codec: &dyn Codec<V>, value: &V, out: &mut Vec<u8>) -> Result<()> {
    catch_panic(ErrorKind::Codec, "a value was encoded", || codec.encode(value, out))
}

impl fmt::Debug for RowEvolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowEvolution")
    }
}
