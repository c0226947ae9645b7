//! Values without their types.

use backend_api::{Datum, Result, ValueSchema};
use serde::de::IgnoredAny;

/// Reads the values of a codec, as far as its id tells what they consist of.
#[derive(Debug)]
pub struct ValueReader(Option<ValueSchema>);

impl ValueReader {
    /// Reads what the codec with this id writes.
    pub fn of(codec: &str) -> Self {
        Self(ValueSchema::parse(codec).ok())
    }

    /// False for a codec of the user's own, whose values are bytes.
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Checks that the bytes are a value.
    ///
    /// # Errors
    /// [`Corrupt`](backend_api::ErrorKind::Corrupt) if they are not.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |schema| schema.read::<IgnoredAny>(bytes).map(drop))
    }

    /// The value; bytes if the codec is not known.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn read(&self, bytes: &[u8]) -> Result<Datum> {
        match &self.0 {
            Some(schema) => schema.read(bytes),
            None => Ok(Datum::Bytes(bytes.to_vec())),
        }
    }
}
