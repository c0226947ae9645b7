//! An order-keeping format for serde, by which user types become keys.
//!
//! | of serde | bytes |
//! | --- | --- |
//! | integers | fixed width, big endian, sign bit flipped |
//! | floats | as integers of that width: the bits inverted if negative, else the sign bit flipped (`total_cmp`) |
//! | bool, char | 1 byte, 4 bytes big endian |
//! | strings, bytes | 00 escaped as 00 FF, ended by 00 01 |
//! | option | 00, or 01 and the value |
//! | sequences, maps | 01 before each element or entry, 00 at the end |
//! | variants | the index in 1 byte, from 255 on FF and 4 bytes big endian; then the content |
//! | structs, tuples, newtypes | the fields one after the other |

mod de;
mod key_type;
mod ser;

pub(super) use de::{decode_f32, decode_f64, decode_variant};
pub use key_type::OrderedType;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::KeyBuffer;
use crate::{Error, ErrorKind, Result};

/// Deepest nesting of sequences, maps, options and variants, so that hostile bytes cannot exhaust the stack.
const DEPTH_MAX: u8 = 128;

/// Smaller variant indexes take one byte.
const WIDE_VARIANT: u8 = 255;

/// Makes types that serde can write and read into [`StateKey`](crate::StateKey)s.
///
/// Each needs `Serialize + DeserializeOwned + Clone + Ord + Send + Sync + 'static`. The name, by default the one
/// that is written here, and the shape of the type (names, order and types of its fields and variants) become the
/// [schema](crate::StateKey::schema): it is in snapshots, so neither may change afterwards.
///
/// **The order of the bytes is that of a derived `Ord`.** It is not for a type with an `Ord` of another kind
/// (`std::cmp::Reverse`, `PathBuf`, fields that are left out or renamed in order, explicit discriminants that
/// do not ascend): such a type must implement `StateKey` itself. A backend that detects the difference returns
/// [`ErrorKind::IllegalState`].
///
/// The format does not describe itself. A type that needs that (serde's `untagged`, `tag` and `flatten`) is refused when a
/// [`KeySpace`](crate::KeySpace) is made or a state registered. A key that leaves out a field
/// (`skip_serializing_if`), that has a variant behind a skipped one, or that is another key once it is decoded (a field with
/// `skip` counts for `Ord`) is refused when it is used, by [`check`](crate::StateKey::check).
///
/// ```
/// use backend_api::{StateKey, serde_key};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
/// enum Customer {
///     Guest { session: i64 },
///     Registered(String),
/// }
/// serde_key!(Customer = "shop.customer");
///
/// let mut bytes = Vec::new();
/// Customer::Registered("ada".to_owned()).encode(&mut bytes);
/// assert_eq!(bytes, *b"\x01ada\x00\x01");
/// assert_eq!(Customer::decode(&mut &bytes[..])?, Customer::Registered("ada".to_owned()));
/// assert_eq!(Customer::schema(), "shop.customer:enum{Guest{session:i64},Registered(string)}");
/// # Ok::<(), backend_api::Error>(())
/// ```
#[macro_export]
macro_rules! serde_key {
    ($type:ty) => {
        $crate::serde_key!($type = ::core::stringify!($type));
    };
    ($type:ty = $name:expr) => {
        impl $crate::StateKey for $type {
            type Stored = $crate::EncodedKey;

            fn schema() -> ::std::string::String {
                $crate::OrderedType::<Self>::new().schema($name)
            }

            fn check_type() -> $crate::Result<()> {
                $crate::OrderedType::<Self>::new().check_type()
            }

            fn encode<B: $crate::KeyBuffer>(&self, out: &mut B) {
                // `check` has refused values that cannot be encoded.
                let _ = $crate::encode_ordered(self, out);
            }

            fn decode(input: &mut &[u8]) -> $crate::Result<Self> {
                $crate::decode_ordered(input)
            }

            fn check(&self) -> $crate::Result<()> {
                static TYPE: $crate::OrderedType<$type> = $crate::OrderedType::new();
                TYPE.check(self)
            }
        }
    };
}

/// Appends `value` in the order-keeping format of [`serde_key!`](crate::serde_key). For a
/// [`StateKey`](crate::StateKey) implementation by hand, such as of a generic type.
///
/// # Errors
///
/// [`ErrorKind::Codec`] if its `Serialize` fails, or if it is nested deeper than 128 levels of sequences,
/// maps, options and variants. `out` then contains part of the bytes.
pub fn encode_ordered<T: Serialize + ?Sized, B: KeyBuffer>(value: &T, out: &mut B) -> Result<()> {
    value.serialize(&mut ser::Serializer::new(out, None))
}

/// Takes a value written by [`encode_ordered`] off the front of `input`.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] if there is none, or if the bytes are not the encoding of any value, such as a set
/// with unsorted elements. [`ErrorKind::Unsupported`] if the type must ask the bytes for their type, like
/// serde's untagged enums.
pub fn decode_ordered<T: Serialize + DeserializeOwned>(input: &mut &[u8]) -> Result<T> {
    let before = *input;
    let value = T::deserialize(&mut de::Deserializer::new(input))?;
    // A key must have one encoding. Only the type knows which one it writes, so the value is encoded again
    // and compared.
    let mut expected = Expected(before.get(..before.len() - input.len()));
    encode_ordered(&value, &mut expected)?;
    if expected.0.is_some_and(<[u8]>::is_empty) {
        return Ok(value);
    }
    Err(Error::new(ErrorKind::Corrupt, "the bytes of a key are not those that it is encoded to"))
}

/// The bytes still expected. `None` once other bytes were appended.
struct Expected<'a>(Option<&'a [u8]>);

impl KeyBuffer for Expected<'_> {
    fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(bytes));
    }
}

impl serde::ser::Error for Error {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        Self::new(ErrorKind::Codec, message.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        Self::new(ErrorKind::Corrupt, message.to_string())
    }
}
