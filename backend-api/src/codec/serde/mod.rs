//! The postcard format for serde types.

mod serializer;

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::serializer::Serializer;
use super::heap_size::heap_size;
use super::{Codec, ReadOld, corrupt};
use crate::shape::{Known, migration};
use crate::{Error, ErrorKind, Result, ValueSchema};

/// The codec of types that serde can write and read, in the format of
/// [postcard](https://postcard.jamesmunns.com) 1: compact, and without names.
///
/// Since the bytes have no names, the [`id`](Codec::id) contains the **shape** of the type: names, order and
/// types of its fields and variants. Names of types do not count. A changed type restores if it can read all old
/// values, with fields found by their names. Otherwise the [`ErrorKind::Migration`] error of the registration names
/// the change.
///
/// Types and values that such bytes cannot carry are refused. [`CborCodec`](super::CborCodec) takes them:
///
/// - when a state is registered ([`check_type`](Codec::check_type)): a type that must ask the bytes for their
///   type (serde's `untagged`, `tag` and `flatten`, `serde_json::Value`), and a type that refuses all
///   samples, if the shape of what follows cannot be found without a value of it;
/// - when a value is [encoded](Codec::encode): a value with an omitted field (`skip_serializing_if`), a
///   struct that is written with more or fewer fields than it is read with, and a variant whose index has
///   another meaning to the reader (after a skipped one).
///
/// Bytes that do not encode a value are refused, also if they only continue after one. For any lengths in
/// them, at most about 2 MiB are allocated for a map or sequence before its entries are read. Two cases are
/// not guarded, which require malicious bytes: the depth of a recursive type, and the length of a sequence
/// whose elements have no bytes (`Vec<()>`).
///
/// [`heap_size`](Codec::heap_size) is an estimate. It counts strings, bytes, and the elements of sequences
/// and maps. It does not count what serde does not show: spare capacity, a `Box`, skipped fields.
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
    /// The codec of `T`. Finds the shape of `T` at the first use.
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

    fn evolve(&self, old: &str) -> Result<ReadOld<T>> {
        let schema = ValueSchema::parse(old).ok().filter(ValueSchema::has_shape).ok_or_else(|| {
            Error::new(ErrorKind::Migration, migration("codec", old, &Codec::<T>::id(self)))
        })?;
        schema.check::<T>()?;
        Ok(Box::new(move |bytes| schema.read(bytes)))
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
