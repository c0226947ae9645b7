//! Bytes of any type of serde's, in postcard's format.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::heap_size::heap_size;
use super::{Codec, corrupt};
use crate::{Error, ErrorKind, Result};

/// The codec of all types that serde can write and read, in the format of [postcard](https://postcard.jamesmunns.com)
/// 1: compact, and without names, so a type that gains or loses a field has other bytes. It does not describe
/// itself, so serde's `untagged`, `tag = ".."` and `flatten` do not work.
///
/// Bytes that are not those of a value are refused, those too that go on after one. Whatever lengths they
/// claim, no more than about 2 MiB are allocated for a map or sequence before its entries are read. Two things are not
/// guarded, for which the bytes would have to be made by an enemy, not by accident: the depth of a type that
/// contains itself, and the length of a sequence whose elements take no bytes (`Vec<()>`).
///
/// [`heap_size`](Codec::heap_size) is an estimate: strings, bytes and the elements of sequences and maps are
/// counted; what serde does not show (spare capacity, a `Box`, fields that are skipped) is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct SerdeCodec;

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Codec<T> for SerdeCodec {
    fn id(&self) -> String {
        "postcard/1".to_owned()
    }

    #[inline]
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let mut serializer = postcard::Serializer { output: Appender(&mut *out) };
        value.serialize(&mut serializer).map_err(|error| {
            out.truncate(start);
            Error::new(ErrorKind::Codec, "a value could not be encoded").with_source(error)
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

/// Postcard's own `ExtendFlavor` takes any collection and pushes bytes one at a time; this one knows a vector.
struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
