//! Bytes of any type of serde's that describe themselves.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::heap_size::heap_size;
use super::{Codec, corrupt};
use crate::{Error, ErrorKind, Result};

/// The codec of all types that serde can write and read, in CBOR (RFC 8949): larger and slower than
/// [`SerdeCodec`](super::SerdeCodec), but with the names of fields and variants in each value.
///
/// So it carries what serde's attributes do: `untagged`, `tag`, `flatten`, `skip_serializing_if` and the rest. Its
/// [`id`](Codec::id) says nothing of the type: whether a value can be read is up to the type that reads it. Fields may be
/// reordered, removed, and added with `#[serde(default)]`, also between a checkpoint and its restore; a type that does not
/// fit is an [`ErrorKind::Corrupt`] error at its first value.
///
/// ```
/// use std::sync::Arc;
///
/// use backend_api::{CborCodec, ValueDescriptor};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// #[serde(tag = "type")]
/// enum Event {
///     Click { x: u32, y: u32 },
///     Close,
/// }
/// let last = ValueDescriptor::<Event>::with_codec("last event", Arc::new(CborCodec));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CborCodec;

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Codec<T> for CborCodec {
    fn id(&self) -> String {
        "cbor/1".to_owned()
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        ciborium::into_writer(value, &mut *out).map_err(|error| {
            out.truncate(start);
            Error::new(ErrorKind::Codec, format!("a value could not be encoded: {error}"))
        })
    }

    fn decode(&self, mut input: &[u8]) -> Result<T> {
        match ciborium::from_reader(&mut input) {
            Ok(value) if input.is_empty() => Ok(value),
            Ok(_) => Err(corrupt("bytes left over after a value")),
            Err(error) => {
                Err(Error::new(ErrorKind::Corrupt, format!("a value could not be decoded: {error}")))
            }
        }
    }

    fn heap_size(&self, value: &T) -> usize {
        heap_size(value)
    }
}
