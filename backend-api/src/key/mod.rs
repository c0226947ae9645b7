//! Keys, namespaces and the keys of maps: types with an order-keeping encoding.

mod buffer;
mod bytes;
mod compound;
mod forms;
mod order;
mod ordered;
mod scalar;
mod schema;
mod stored;

pub use buffer::KeyBuffer;
pub use forms::{Borrowed, BorrowedKey, LookupKey, StoredKey};
pub use order::{check_ascending, check_equal_keys, check_found};
pub use ordered::{OrderedType, decode_ordered, encode_ordered};
pub use schema::KeySchema;
pub use stored::{EncodedKey, StoredBytes, StoredText};

use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, ErrorKind, Result};
use buffer::InlineBuffer;

/// A type that can be a key, a namespace or the key of a map state.
///
/// - The **key** of a record decides to which subtask the record goes and which of the states it sees.
/// - A **namespace** parts the state of one key further: a window, say. `()` where there is nothing to part.
/// - A **map key** names one entry of a map state, which lists its entries in the order of these keys.
///
/// Implemented for the integers of fixed width, `bool`, `char`, `()`, `[u8; N]`, strings (`String`, `Box<str>`,
/// `Arc<str>`), byte strings (`Vec<u8>`, `Box<[u8]>`, `Arc<[u8]>`), and `Option` and tuples of two to four of
/// them. A type of one's own becomes a key by [`serde_key!`](crate::serde_key). `usize` and `isize` are left
/// out because their width differs between machines, floats because they have no `Ord`.
///
/// # Contract
///
/// Checkpoints are written and maps are sorted by the encoding, so an implementation must keep these laws for
/// all `a` and `b`:
///
/// - `decode` inverts `encode`;
/// - `a.cmp(&b)` is the order of the bytes of `a` and `b` (as by `memcmp`), so equal by `Ord` is equal in bytes;
/// - no encoding is a proper prefix of another, so that encodings can be put one after the other and a prefix
///   of such a row is exact;
/// - bytes, [`schema`](Self::schema) and [`stable_hash`](Self::stable_hash) never change: they are in files.
///
/// The **last position** of a row needs no terminator. [`encode_last`](Self::encode_last) leaves it out (for
/// strings and byte strings; of an `Option` or tuple, for the part that comes last); it keeps the first two
/// laws, not the third.
///
/// ```
/// use backend_api::StateKey;
///
/// let mut row = Vec::new();
/// (-1_i16, "page".to_owned()).encode(&mut row);
/// assert_eq!(row, *b"\x7f\xffpage\x00\x01");
/// assert_eq!(<(i16, String)>::decode(&mut &row[..])?, (-1, "page".to_owned()));
/// assert_eq!(<(i16, String)>::schema(), "(i16,string)");
/// # Ok::<(), backend_api::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key, a namespace or a map key",
    label = "not a `StateKey`",
    note = "for a type of your own: derive `Clone`, `PartialEq`, `Eq`, `PartialOrd`, `Ord`, `Serialize` and `Deserialize`, and call `serde_key!({Self})`",
    note = "`usize`, `isize` and floats cannot be keys: use an integer of fixed width"
)]
pub trait StateKey: Clone + Ord + Send + Sync + 'static {
    /// The form in which a heap table stores the key. [`EncodedKey`] for your own types.
    type Stored: StoredKey<Self>;

    /// Identifies the type and its encoding, such as `u64`, `string` or `(u32,string)`. Snapshots contain it,
    /// so that a restore with another key type is detected. Types with the same encoding (`String` and
    /// `Arc<str>`) have the same schema.
    fn schema() -> String;

    /// Appends the order-keeping, self-delimiting encoding.
    fn encode<B: KeyBuffer>(&self, out: &mut B);

    /// Takes one key off the front of `input`. Its allocations are proportional to the bytes it takes, for
    /// any input.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if no encoding starts there. The position of `input` is unspecified then.
    fn decode(input: &mut &[u8]) -> Result<Self>;

    /// Checks that the type can be a key. Called when a [`KeySpace`](crate::KeySpace) is made, and when a
    /// state with such namespaces or map keys is registered. The types of this crate always can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] with the reason.
    fn check_type() -> Result<()> {
        Ok(())
    }

    /// Checks that this value can be encoded. Call it before the first use of a value from outside. Values of
    /// this crate's types always can. The `Serialize` of your own type may refuse a value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Codec`] with the reason.
    #[inline]
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Appends the encoding for the last position of a row.
    #[inline]
    fn encode_last<B: KeyBuffer>(&self, out: &mut B) {
        self.encode(out);
    }

    /// Decodes the bytes of [`encode_last`](Self::encode_last).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if they are not exactly such an encoding.
    #[inline]
    fn decode_last(mut input: &[u8]) -> Result<Self> {
        let key = Self::decode(&mut input)?;
        if input.is_empty() { Ok(key) } else { Err(corrupt("bytes left over after a key")) }
    }

    /// Appends the self-delimiting encoding of the key whose last-position encoding is `last`.
    ///
    /// # Errors
    ///
    /// Same as [`decode_last`](Self::decode_last).
    #[inline]
    fn complete(last: &[u8], out: &mut Vec<u8>) -> Result<()> {
        Self::decode_last(last)?.encode(out);
        Ok(())
    }

    /// Calls `read` with the last-position encoding. Does not allocate for a short key.
    #[inline]
    fn with_encoded<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        let mut buffer = InlineBuffer::new();
        self.encode_last(&mut buffer);
        read(buffer.as_slice())
    }

    /// A 64-bit hash that is the same in every process and version: XXH3-64 with seed 0 of the last-position
    /// encoding. The hash of `()` is 0.
    ///
    /// It is not seeded, so keys can be chosen to collide. A hash table must mix in its own seed.
    #[inline]
    fn stable_hash(&self) -> u64 {
        self.with_encoded(hash)
    }
}

#[inline]
fn hash(encoded: &[u8]) -> u64 {
    xxh3_64(encoded)
}

#[cold]
fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// Takes `N` bytes off the front of `input`.
#[inline]
fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk().ok_or_else(|| corrupt("a key ends too early"))?;
    *input = rest;
    Ok(*bytes)
}
