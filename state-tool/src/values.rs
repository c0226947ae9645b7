//! Values without their types.

use backend_api::{Datum, Result, ValueSchema};
use serde::de::{DeserializeOwned, IgnoredAny};

/// Reads the values of a codec, as far as its id tells what they consist of.
#[derive(Debug)]
pub struct ValueReader {
    schema: Option<ValueSchema>,
    /// True for values in their canonical form.
    is_canonical: bool,
}

impl ValueReader {
    /// Reads what the codec with this id writes, or the canonical form of it.
    pub fn of(codec: &str, is_canonical: bool) -> Self {
        Self { schema: ValueSchema::parse(codec).ok(), is_canonical }
    }

    /// What values consist of; `None` for a codec of the user's own, whose values are bytes.
    pub fn schema(&self) -> Option<&ValueSchema> {
        self.schema.as_ref()
    }

    /// False for a codec of the user's own, whose values are bytes.
    pub fn is_known(&self) -> bool {
        self.schema.is_some()
    }

    /// Checks that the bytes are a value.
    ///
    /// # Errors
    /// [`Corrupt`](backend_api::ErrorKind::Corrupt) if they are not.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        self.schema.as_ref().map_or(Ok(()), |schema| self.of_schema::<IgnoredAny>(schema, bytes).map(drop))
    }

    /// The value; bytes if the codec is not known.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn read(&self, bytes: &[u8]) -> Result<Datum> {
        match &self.schema {
            Some(schema) => self.of_schema(schema, bytes),
            None => Ok(Datum::Bytes(bytes.to_vec())),
        }
    }

    fn of_schema<T: DeserializeOwned>(&self, schema: &ValueSchema, bytes: &[u8]) -> Result<T> {
        if !self.is_canonical {
            return schema.read(bytes);
        }
        let mut of_codec = Vec::new();
        schema.decode_canonical(bytes, &mut of_codec)?;
        schema.read(&of_codec)
    }
}
