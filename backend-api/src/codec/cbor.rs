//! A self-describing codec for serde types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::heap_size::heap_size;
use super::{Codec, corrupt};
use crate::{Error, ErrorKind, Result};

/// The codec of all types that serde can write and read, in CBOR (RFC 8949). Larger and slower than
/// [`SerdeCodec`](super::SerdeCodec), but with the names of fields and variants in each value.
///
/// It therefore supports all attributes of serde: `untagged`, `tag`, `flatten`, `skip_serializing_if` and so
/// on. Its [`id`](Codec::id) does not depend on the type. Fields can be reordered, removed, and added with
/// `#[serde(default)]` between a checkpoint and its restore. A type that does not fit is an
/// [`ErrorKind::Corrupt`] error at the first value.
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

    fn decode(&self, input: &[u8]) -> Result<T> {
        read_cbor(input)
    }

    fn heap_size(&self, value: &T) -> usize {
        heap_size(value)
    }
}

/// Decodes a value from exactly these bytes of CBOR.
pub(crate) fn read_cbor<T: DeserializeOwned>(mut input: &[u8]) -> Result<T> {
    match ciborium::from_reader(&mut input) {
        Ok(value) if input.is_empty() => Ok(value),
        Ok(_) => Err(corrupt("bytes left over after a value")),
        Err(error) => Err(Error::new(ErrorKind::Corrupt, format!("a value could not be decoded: {error}"))),
    }
}
