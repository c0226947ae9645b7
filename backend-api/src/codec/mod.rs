//! How values become bytes.

mod cbor;
mod choice;
mod heap_size;
mod plain;
mod serde;

pub use self::cbor::CborCodec;
pub use self::choice::default_codec;
pub use self::plain::{Plain, PlainCodec};
pub use self::serde::SerdeCodec;

use crate::{Error, ErrorKind, Result};

/// How values of one state become bytes, and come back.
///
/// A heap backend keeps values as objects and asks the codec only when a snapshot is written or read; a backend
/// that keeps bytes asks it at each access. [`default_codec`] knows one for every type of serde's.
///
/// # Contract
///
/// `decode` inverts `encode`, and refuses what `encode` did not write with an error, never with a panic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no codec for `{T}`",
    label = "not a `Codec<{T}>`",
    note = "`default_codec()` encodes every type that derives `Serialize` and `Deserialize`, `CborCodec` also those whose attributes the default cannot carry"
)]
pub trait Codec<T>: Send + Sync + 'static {
    /// Identity and version of the format, written into every snapshot. Codecs with the same identity read each
    /// other's bytes.
    fn id(&self) -> String;

    /// Checks that the type can be written and read again, as far as the type alone tells. Called when a state is registered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with the reason, and what to do.
    fn check_type(&self) -> Result<()> {
        Ok(())
    }

    /// Appends the bytes of `value`; they need not tell where they end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] with the cause, if the value has no encoding; `out` is then as it was.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()>;

    /// Makes a value of exactly these bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if they are not the bytes of a value.
    fn decode(&self, input: &[u8]) -> Result<T>;

    /// Bytes that `value` owns on the heap, for accounting; an estimate will do.
    fn heap_size(&self, value: &T) -> usize;

    /// Bytes of an encoding, if every value has one and each has as many: that a value is not too long is then known without
    /// encoding it.
    fn fixed_len(&self) -> Option<usize> {
        None
    }
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
