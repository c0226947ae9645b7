//! Bytes of any type of serde's, in postcard's format.

mod serializer;

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::serializer::Serializer;
use super::heap_size::heap_size;
use super::{Codec, corrupt};
use crate::shape::Known;
use crate::{Error, ErrorKind, Result};

/// The codec of the types that serde can write and read, in the format of
/// [postcard](https://postcard.jamesmunns.com) 1: compact, and without names.
///
/// Since the bytes have no names, the [`id`](Codec::id) carries the **shape** of the type: names, order and types of its
/// fields and variants. A type that has changed does not restore: that is an [`ErrorKind::Migration`] error, which says
/// what changed. Names of types do not count.
///
/// A type that such bytes cannot carry is refused, and [`CborCodec`](super::CborCodec) takes it:
///
/// - one that asks the bytes what they are (serde's `untagged`, `tag` and `flatten`, `serde_json::Value`), when a state is
///   registered ([`check_type`](Codec::check_type)); one that refuses all samples, too, if what follows it cannot be found
///   without a value of it;
/// - a value of which a field is left out (`skip_serializing_if`), a struct that is written with more or fewer fields
///   than it is read with, and a variant whose index means another one to the reader (behind a skipped one), when the value
///   is [encoded](Codec::encode).
///
/// Bytes that are not those of a value are refused, those too that go on after one. Whatever lengths they
/// claim, no more than about 2 MiB are allocated for a map or sequence before its entries are read. Two things are not
/// guarded, for which the bytes would have to be made by an enemy, not by accident: the depth of a type that
/// contains itself, and the length of a sequence whose elements take no bytes (`Vec<()>`).
///
/// [`heap_size`](Codec::heap_size) is an estimate: strings, bytes and the elements of sequences and maps are
/// counted; what serde does not show (spare capacity, a `Box`, fields that are skipped) is not.
///
/// ```
/// use backend_api::{Codec, SerdeCodec};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Visit {
///     page: String,
///     at: u64,
/// }
/// assert_eq!(SerdeCodec::<Visit>::new().id(), "postcard/1:struct{page:string,at:u64}");
/// ```
pub struct SerdeCodec<T> {
    known: &'static Known,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + 'static> SerdeCodec<T> {
    /// The codec of `T`, whose shape is found the first time.
    pub fn new() -> Self {
        Self { known: Known::of::<T>(), values: PhantomData }
    }
}

impl<T: DeserializeOwned + 'static> Default for SerdeCodec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for SerdeCodec<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SerdeCodec<{}>", std::any::type_name::<T>())
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Codec<T> for SerdeCodec<T> {
    fn id(&self) -> String {
        match self.known.shape() {
            Ok(shape) => format!("postcard/1:{shape}"),
            Err(_) => "postcard/1".to_owned(),
        }
    }

    fn check_type(&self) -> Result<()> {
        match self.known.shape() {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(Error::new(error.kind(), format!("{}; CborCodec can carry it", error.message())))
            }
        }
    }

    #[inline]
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        value.serialize(&mut Serializer::new(out, self.known)).map_err(|error| {
            out.truncate(start);
            cannot_encode(&error)
        })
    }

    #[inline]
    fn decode(&self, input: &[u8]) -> Result<T> {
        match postcard::take_from_bytes(input) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(corrupt("bytes left over after a value")),
            Err(error) => Err(corrupt("a value could not be decoded").with_source(error)),
        }
    }

    #[inline]
    fn heap_size(&self, value: &T) -> usize {
        heap_size(value)
    }
}

#[cold]
fn cannot_encode(error: &Error) -> Error {
    let message = format!("a value could not be encoded: {} (CborCodec may carry it)", error.message());
    Error::new(ErrorKind::Codec, message)
}
