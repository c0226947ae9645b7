//! Reads values with the id of their codec, without the program's types.

mod canonical;
mod datum;
mod error;
mod probe;
mod reader;
mod source;
mod stamped;
#[cfg(test)]
mod tests;

pub use self::datum::Datum;

use serde::de::DeserializeOwned;

use self::error::ReadError;
use self::reader::Reader;
use self::source::{Encoding, Input, Source};
use crate::codec::read_cbor;
use crate::shape::Shape;
use crate::ttl::unstamped;
use crate::{Error, ErrorKind, Result};

/// A parsed [`Codec::id`](crate::Codec::id): reads the values of [`SerdeCodec`](crate::SerdeCodec),
/// [`PlainCodec`](crate::PlainCodec) and [`CborCodec`](crate::CborCodec) without the types that wrote them.
///
/// A value goes through serde with the names of its fields and variants. It can be read into a [`Datum`], to be printed, or
/// into another type than the one that wrote it: fields are found by their names, and numbers may be wider.
///
/// ```
/// use backend_api::{Codec, Datum, SerdeCodec, ValueSchema};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Visit {
///     page: String,
///     at: u32,
/// }
///
/// #[derive(Debug, PartialEq, Deserialize)]
/// struct LaterVisit {
///     at: u64,
///     #[serde(default)]
///     referrer: String,
/// }
///
/// let codec = SerdeCodec::<Visit>::new();
/// let mut bytes = Vec::new();
/// codec.encode(&Visit { page: "/".to_owned(), at: 7 }, &mut bytes)?;
///
/// let schema = ValueSchema::parse(&codec.id())?;
/// assert_eq!(schema.read::<Datum>(&bytes)?.to_string(), r#"{"page": "/", "at": 7}"#);
/// assert_eq!(schema.read::<LaterVisit>(&bytes)?, LaterVisit { at: 7, referrer: String::new() });
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSchema(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Shaped(Encoding, Shape),
    /// The bytes describe themselves.
    Cbor,
    /// The time of the last write, and a value.
    Stamped(Box<ValueSchema>),
}

impl ValueSchema {
    /// Parses the id of a codec.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for the id of a user's codec, which does not describe values.
    pub fn parse(codec_id: &str) -> Result<Self> {
        if let Some(values) = unstamped(codec_id) {
            return Ok(Self(Form::Stamped(Box::new(Self::parse(values)?))));
        }
        let form = match codec_id.split_once(':') {
            None if codec_id == "cbor/1" => Some(Form::Cbor),
            Some(("plain", text)) => {
                Shape::parse_plain(text).map(|shape| Form::Shaped(Encoding::Plain, shape))
            }
            Some(("postcard/1", text)) => {
                Shape::parse(text).map(|shape| Form::Shaped(Encoding::Postcard, shape))
            }
            _ => None,
        };
        form.map(Self).ok_or_else(|| {
            let message = format!("the codec {codec_id:?} does not tell what a value consists of");
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// Reads a value of exactly these bytes into any type. Time and memory are proportional to the bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if the bytes are not a value, or the type refuses this value.
    /// [`ErrorKind::Migration`], with place and reason, if the type cannot hold all values of this schema: a
    /// field is missing, a number is narrower, or another type is expected.
    pub fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        match &self.0 {
            Form::Shaped(encoding, shape) => {
                let mut input = Input::new(*encoding, bytes);
                let value = T::deserialize(Reader::new(&mut input, shape))?;
                if input.left() == 0 { Ok(value) } else { Err(left_over().into()) }
            }
            Form::Cbor => read_cbor(bytes),
            Form::Stamped(values) => stamped::read(values, bytes),
        }
    }

    /// False for values that describe themselves.
    pub(crate) fn has_shape(&self) -> bool {
        matches!(self.0, Form::Shaped(..))
    }

    /// Checks that `T` can read all values of this schema.
    pub(crate) fn check<T: DeserializeOwned>(&self) -> Result<()> {
        match &self.0 {
            Form::Shaped(_, shape) => Ok(probe::check::<T>(shape)?),
            Form::Cbor | Form::Stamped(_) => Ok(()),
        }
    }

    /// Checks that each value of this schema can become one of `new`, as far as their shapes tell.
    pub(crate) fn check_becomes(&self, new: &Self) -> Result<()> {
        match (&self.0, &new.0) {
            (Form::Shaped(_, old), Form::Shaped(_, new)) => Ok(canonical::check_becomes(old, new)?),
            _ => Err(ReadError::unfit("only one of the codecs has a shape".to_owned()).into()),
        }
    }

    /// Appends the canonical form of a value of exactly these bytes. It is CBOR (RFC 8949) with the names of
    /// fields and variants, the shortest numbers, definite lengths, and the keys of maps sorted by their
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if the bytes are not a value.
    pub fn encode_canonical(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &self.0 {
            Form::Shaped(encoding, shape) => {
                let mut input = Input::new(*encoding, bytes);
                canonical::write(&mut input, shape, out)?;
                if input.left() == 0 { Ok(()) } else { Err(left_over().into()) }
            }
            Form::Cbor => Ok(canonical::normalize(bytes, out)?),
            Form::Stamped(values) => stamped::encode_canonical(values, bytes, out),
        }
    }

    /// Appends the codec's bytes of a value in its [canonical form](Self::encode_canonical).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if `cbor` is not the canonical form of a value.
    pub fn decode_canonical(&self, cbor: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &self.0 {
            Form::Shaped(encoding, shape) => Ok(canonical::read(*encoding, cbor, shape, out)?),
            Form::Cbor => {
                out.extend_from_slice(cbor);
                Ok(())
            }
            Form::Stamped(values) => stamped::decode_canonical(values, cbor, out),
        }
    }
}

#[cold]
fn left_over() -> ReadError {
    ReadError::corrupt("bytes left over after a value")
}
