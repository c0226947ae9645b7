//! The contract of the state backend family.

mod codec;
mod error;
mod key;

pub use codec::Codec;
pub use error::{BoxError, Error, ErrorKind, Result};
pub use key::{EncodedKey, KeyBuffer, StateKey, StoredKey, check_ordered, decode_ordered, encode_ordered};
