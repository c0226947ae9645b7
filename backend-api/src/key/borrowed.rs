//! Keys as they are looked up.

use std::sync::Arc;

use super::{KeyBuffer, StateKey, StoredKey, bytes};
use crate::Result;

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

macro_rules! byte_string {
    ($($type:ty),*) => {$(
        impl BorrowedKey for $type {
            #[inline]
            fn encode_key<B: KeyBuffer>(&self, out: &mut B) {
                bytes::escape(self.as_ref(), out);
            }

            #[inline]
            fn check_key(&self) -> Result<()> {
                Ok(())
            }

            #[inline]
            fn with_encoded_key<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
                read(self.as_ref())
            }

            #[inline]
            fn key_hash(&self) -> u64 {
                super::hash(self.as_ref())
            }
        }
    )*};
}

byte_string!(str, [u8]);

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

macro_rules! found_by {
    (@one $key:ty => $({const $n:ident: usize})? $form:ty) => {
        impl $(<const $n: usize>)? LookupKey<$key> for $form {
            #[inline(always)]
            fn lookup(&self) -> &Borrowed<$key> {
                self
            }
        }
    };
    ($($key:ty),* => $form:ty) => {$(
        found_by!(@one $key => $form);
    )*};
}

found_by!(String, Box<str>, Arc<str> => str);
found_by!(Vec<u8>, Box<[u8]>, Arc<[u8]> => [u8]);
found_by!(@one Vec<u8> => {const N: usize} [u8; N]);
found_by!(@one Box<[u8]> => {const N: usize} [u8; N]);
found_by!(@one Arc<[u8]> => {const N: usize} [u8; N]);
