//! Codecs: values to bytes and back.

mod canonical;
mod cbor;
mod choice;
mod heap_size;
mod plain;
mod serde;

pub use self::canonical::canonical_codec;
pub(crate) use self::canonical::with_scratch;
pub use self::cbor::CborCodec;
pub(crate) use self::cbor::read_cbor;
pub use self::choice::default_codec;
pub use self::plain::{Plain, PlainCodec};
pub use self::serde::SerdeCodec;

use crate::shape::migration;
use crate::{Error, ErrorKind, Result};

/// Reads values that another codec has written; see [`Codec::evolve`].
pub type ReadOld<T> = Box<dyn Fn(&[u8]) -> Result<T> + Send + Sync>;

/// Converts values of one state to bytes and back.
///
/// A heap backend keeps values as objects, and uses the codec only for snapshots and restores. A backend that
/// keeps bytes uses it at each access. [`default_codec`] returns one for every serde type.
///
/// # Contract
///
/// `decode` inverts `encode`. It refuses other bytes with an error, and never panics.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a codec for `{T}`",
    label = "not a `Codec<{T}>`",
    note = "`default_codec()` encodes every type that derives `Serialize` and `Deserialize`, `CborCodec` also those whose attributes the default cannot carry"
)]
pub trait Codec<T>: Send + Sync + 'static {
    /// Identity and version of the format, which is part of every snapshot. Codecs with equal ids read each
    /// other's bytes.
    fn id(&self) -> String;

    /// Checks that the type can be written and read. Called when a state is registered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with the reason and a remedy.
    fn check_type(&self) -> Result<()> {
        Ok(())
    }

    /// Appends the bytes of `value`. They need not be self-delimiting.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] with the cause, if the value cannot be encoded. Then `out` is unchanged.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()>;

    /// Decodes a value from exactly these bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if they are not the bytes of a value.
    fn decode(&self, input: &[u8]) -> Result<T>;

    /// Returns a reader of the values that another codec, with the id `old`, has written. Called when a restored
    /// state is registered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Migration`] with the difference, if this type cannot hold all of these values.
    fn evolve(&self, old: &str) -> Result<ReadOld<T>> {
        Err(Error::new(ErrorKind::Migration, migration("codec", old, &self.id())))
    }

    /// Estimated bytes that `value` owns on the heap, for accounting.
    fn heap_size(&self, value: &T) -> usize;

    /// The time of the last write, of values with a time to live.
    fn stamp(&self, value: &T) -> Option<i64> {
        let _ = value;
        None
    }

    /// The length of all encodings, if every value can be encoded and all lengths are equal. Values then need
    /// not be encoded to check their size.
    fn fixed_len(&self) -> Option<usize> {
        None
    }
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
