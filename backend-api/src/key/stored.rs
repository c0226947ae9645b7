//! The forms in which heap tables store keys.

use std::fmt;

use compact_bytes::CompactBytes;
use compact_str::CompactString;

use super::forms::sealed;
use super::{StateKey, StoredKey};
use crate::Result;

// compact_bytes distinguishes its two forms by the top bit of a capacity, which it expects in the last byte.
const _: () = assert!(cfg!(target_endian = "little"), "the inline keys need a little-endian machine");

/// The last-position encoding of a key (see [`StateKey::encode_last`]). For strings and byte strings these
/// are the bytes themselves. Up to 23 bytes are inline.
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

/// A byte string with up to 23 bytes inline.
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

/// A string with up to 24 bytes inline. The last byte of UTF-8 is never above BF, so higher values encode the
/// length of shorter strings.
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

/// For plain data, which is stored unchanged.
macro_rules! stored_as_itself {
    ($({const $n:ident: usize})? $type:ty) => {
        impl $(<const $n: usize>)? $crate::key::forms::sealed::Sealed for $type {}

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
