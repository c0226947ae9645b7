//! The forms in which heap tables keep keys.

use std::fmt;

use compact_bytes::CompactBytes;
use compact_str::CompactString;

use super::{BorrowedKey, StateKey};
use crate::Result;

// compact_bytes tells its two forms apart by the topmost bit of a capacity, looked for in the last byte.
const _: () = assert!(cfg!(target_endian = "little"), "the inline keys need a little-endian machine");

/// Keeps [`StoredKey`](super::StoredKey) to the types of this crate.
pub(super) mod sealed {
    pub trait Sealed {}
}

/// The form in which a heap table keeps a key `K`: the key itself if it is plain data, an [`EncodedKey`] if not.
///
/// The trait is sealed, and **the soundness of heap tables rests on it**: they copy slots byte by byte, and let
/// two copies of one key be read, by different threads too, until one of them is forgotten or cloned. This is
/// sound because no form has interior mutability, a pointer into itself, or a pointer that claims to be the
/// only one (such as `Box`). A new form must keep that.
pub trait StoredKey<K: StateKey>: sealed::Sealed + Clone + Send + Sync + 'static {
    /// What a key is looked up by: `str` for strings and `[u8]` for byte strings, so that a record that has one of these
    /// makes no key of it; the key itself for other types.
    type Borrowed: BorrowedKey + ?Sized;

    /// A key, to be looked up.
    fn borrow(key: &K) -> &Self::Borrowed;

    /// Makes the stored form of the key that is looked up by `key`.
    fn store_borrowed(key: &Self::Borrowed) -> Self;

    /// True if this is the stored form of the key that is looked up by `key`.
    fn matches_borrowed(&self, key: &Self::Borrowed) -> bool;

    /// Makes the stored form.
    #[inline]
    fn store(key: &K) -> Self {
        Self::store_borrowed(Self::borrow(key))
    }

    /// True if this is the stored form of `key`.
    #[inline]
    fn matches(&self, key: &K) -> bool {
        self.matches_borrowed(Self::borrow(key))
    }

    /// The key.
    ///
    /// # Errors
    ///
    /// Those of [`StateKey::decode`], which come up only if its law is broken: the form was made of a key.
    fn load(&self) -> Result<K>;

    /// Appends the key's encoding ([`StateKey::encode`]).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    fn encode_key(&self, out: &mut Vec<u8>) -> Result<()>;

    /// Bytes that it owns outside of itself.
    fn heap_size(&self) -> usize;
}

/// The encoding of a key for the last position (see [`StateKey::encode_last`]), of which up to 23 bytes are
/// inline: the bytes themselves for strings and byte strings.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedKey(CompactBytes);

impl EncodedKey {
    /// The encoding.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EncodedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedKey({})", self.0.escape_ascii())
    }
}

impl sealed::Sealed for EncodedKey {}

impl<K: StateKey> StoredKey<K> for EncodedKey {
    type Borrowed = K;

    #[inline(always)]
    fn borrow(key: &K) -> &K {
        key
    }

    #[inline]
    fn store_borrowed(key: &K) -> Self {
        Self(key.with_encoded(CompactBytes::new))
    }

    #[inline]
    fn matches_borrowed(&self, key: &K) -> bool {
        key.with_encoded(|bytes| *bytes == *self.0)
    }

    #[inline]
    fn load(&self) -> Result<K> {
        K::decode_last(&self.0)
    }

    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) -> Result<()> {
        K::complete(&self.0, out)
    }

    #[inline]
    fn heap_size(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
    }
}

/// A byte string, of which up to 23 bytes are inline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBytes(EncodedKey);

impl sealed::Sealed for StoredBytes {}

impl<K: StateKey + AsRef<[u8]>> StoredKey<K> for StoredBytes {
    type Borrowed = [u8];

    #[inline(always)]
    fn borrow(key: &K) -> &[u8] {
        key.as_ref()
    }

    #[inline]
    fn store_borrowed(key: &[u8]) -> Self {
        Self(EncodedKey(CompactBytes::new(key)))
    }

    #[inline]
    fn matches_borrowed(&self, key: &[u8]) -> bool {
        *self.0.0 == *key
    }

    #[inline]
    fn load(&self) -> Result<K> {
        StoredKey::load(&self.0)
    }

    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) -> Result<()> {
        StoredKey::<K>::encode_key(&self.0, out)
    }

    #[inline]
    fn heap_size(&self) -> usize {
        StoredKey::<K>::heap_size(&self.0)
    }
}

/// A text, of which up to 24 bytes are inline: a string's last byte is never above BF, so the bytes above tell how
/// long a shorter one is.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredText(CompactString);

impl fmt::Debug for StoredText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl sealed::Sealed for StoredText {}

impl<K: StateKey + AsRef<str> + From<String>> StoredKey<K> for StoredText {
    type Borrowed = str;

    #[inline(always)]
    fn borrow(key: &K) -> &str {
        key.as_ref()
    }

    #[inline]
    fn store_borrowed(key: &str) -> Self {
        Self(CompactString::new(key))
    }

    #[inline]
    fn matches_borrowed(&self, key: &str) -> bool {
        self.0 == key
    }

    #[inline]
    fn load(&self) -> Result<K> {
        Ok(K::from(String::from(self.0.as_str())))
    }

    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) -> Result<()> {
        K::complete(self.0.as_bytes(), out)
    }

    #[inline]
    fn heap_size(&self) -> usize {
        if self.0.is_heap_allocated() { self.0.capacity() } else { 0 }
    }
}

/// For plain data, which is its own stored form.
macro_rules! stored_as_itself {
    ($({const $n:ident: usize})? $type:ty) => {
        impl $(<const $n: usize>)? $crate::key::stored::sealed::Sealed for $type {}

        impl $(<const $n: usize>)? StoredKey<$type> for $type {
            type Borrowed = Self;

            #[inline(always)]
            fn borrow(key: &Self) -> &Self {
                key
            }

            #[inline]
            fn store_borrowed(key: &$type) -> Self {
                *key
            }

            #[inline]
            fn matches_borrowed(&self, key: &$type) -> bool {
                self == key
            }

            #[inline]
            fn load(&self) -> Result<$type> {
                Ok(*self)
            }

            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) -> Result<()> {
                $crate::StateKey::encode(self, out);
                Ok(())
            }

            #[inline]
            fn heap_size(&self) -> usize {
                0
            }
        }
    };
}
pub(super) use stored_as_itself;
