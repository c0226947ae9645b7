//! The forms of a key: stored in a heap table, and looked up.

use super::{KeyBuffer, StateKey};
use crate::Result;

/// Seals [`StoredKey`].
pub(super) mod sealed {
    pub trait Sealed {}
}

/// The form in which a heap table stores a key `K`: the key itself if it is plain data, and an
/// [`EncodedKey`](super::EncodedKey) otherwise.
///
/// The trait is sealed, and **the soundness of heap tables depends on it**. They copy slots byte by byte, and
/// let several threads read two copies of one key until one is forgotten or cloned. This is sound because no
/// stored form has interior mutability, a pointer into itself, or a unique pointer such as `Box`. New forms
/// must keep that.
pub trait StoredKey<K: StateKey>: sealed::Sealed + Clone + Send + Sync + 'static {
    /// The form in which a key is looked up: `str` for strings and `[u8]` for byte strings, so that a lookup
    /// need not allocate a key. The key itself for other types.
    type Borrowed: BorrowedKey + ?Sized;

    /// The lookup form of a key.
    fn borrow(key: &K) -> &Self::Borrowed;

    /// Makes the stored form of the key.
    fn store_borrowed(key: &Self::Borrowed) -> Self;

    /// True if this is the stored form of the key.
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
    /// Errors of [`StateKey::decode`]. They cannot occur if the laws of [`StateKey`] hold, since the form was
    /// made from a key.
    fn load(&self) -> Result<K>;

    /// Appends the key's encoding ([`StateKey::encode`]).
    ///
    /// # Errors
    ///
    /// Same as [`load`](Self::load).
    fn encode_key(&self, out: &mut Vec<u8>) -> Result<()>;

    /// Bytes that it owns on the heap.
    fn heap_size(&self) -> usize;
}

/// The form in which a key of type `K` is looked up.
pub type Borrowed<K> = <<K as StateKey>::Stored as StoredKey<K>>::Borrowed;

/// The form in which a key is looked up: the key itself, or a borrowed form such as `str`, so that a record
/// need not allocate a key. Encoding, hash and checks are those of the key.
///
/// Implemented for every [`StateKey`], and for `str` and `[u8]`.
pub trait BorrowedKey: Send + Sync {
    /// [`StateKey::encode`].
    fn encode_key<B: KeyBuffer>(&self, out: &mut B);

    /// [`StateKey::check`].
    ///
    /// # Errors
    ///
    /// Same as [`StateKey::check`].
    fn check_key(&self) -> Result<()>;

    /// [`StateKey::with_encoded`].
    fn with_encoded_key<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R;

    /// [`StateKey::stable_hash`].
    fn key_hash(&self) -> u64;
}

impl<K: StateKey> BorrowedKey for K {
    #[inline(always)]
    fn encode_key<B: KeyBuffer>(&self, out: &mut B) {
        self.encode(out);
    }

    #[inline(always)]
    fn check_key(&self) -> Result<()> {
        self.check()
    }

    #[inline(always)]
    fn with_encoded_key<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        self.with_encoded(read)
    }

    #[inline(always)]
    fn key_hash(&self) -> u64 {
        self.stable_hash()
    }
}

/// A value that can look up a key `K`: the key itself, or a `str` or bytes if the key is a string or bytes.
///
/// ```
/// use backend_api::KeySpace;
///
/// let keys = KeySpace::<String>::new(128)?;
/// assert_eq!(keys.key("page")?.group(), keys.key(&"page".to_owned())?.group());
/// # Ok::<(), backend_api::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a key of type `{K}` cannot be looked up by a `{Self}`",
    note = "pass a reference to the key, or to what it holds: a `str` for strings, a `[u8]` for byte strings"
)]
pub trait LookupKey<K: StateKey> {
    /// The form in which the key is looked up.
    fn lookup(&self) -> &Borrowed<K>;
}

impl<K: StateKey> LookupKey<K> for K {
    #[inline(always)]
    fn lookup(&self) -> &Borrowed<K> {
        K::Stored::borrow(self)
    }
}
