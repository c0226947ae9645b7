//! The contract of the state backend family.

mod codec;
mod error;
mod flink;
mod key;
mod key_group;
mod key_space;

pub use codec::{Codec, Plain, PlainCodec, SerdeCodec, default_codec};
pub use error::{BoxError, Error, ErrorKind, Result};
pub use flink::{FlinkMapping, JavaHash, flink_group};
pub use key::{EncodedKey, KeyBuffer, StateKey, StoredKey, check_ordered, decode_ordered, encode_ordered};
pub use key_group::{
    KeyGroupRange, MAX_PARALLELISM_LIMIT, default_max_parallelism, resolve_max_parallelism, subtask_of_group,
};
pub use key_space::{KeyContext, KeyGroupMapping, KeySpace};
