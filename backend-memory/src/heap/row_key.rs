//! What a heap table finds an entry by: key and namespace in their stored forms.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use backend_api::{Borrowed, BorrowedKey, KeyContext, Result, StateKey, StoredKey};

use crate::table::{KeyHash, TableKey};

/// A key and a namespace, stored.
pub(super) struct RowKey<K: StateKey, N: StateKey> {
    key: K::Stored,
    namespace: N::Stored,
}

impl<K: StateKey, N: StateKey> RowKey<K, N> {
    #[inline]
    pub(super) fn store(key: &Borrowed<K>, namespace: &N) -> Self {
        Self { key: K::Stored::store_borrowed(key), namespace: N::Stored::store(namespace) }
    }

    #[inline]
    pub(super) fn matches(&self, key: &Borrowed<K>, namespace: &N) -> bool {
        self.key.matches_borrowed(key) && self.is_in(namespace)
    }

    #[inline]
    pub(super) fn is_in(&self, namespace: &N) -> bool {
        self.namespace.matches(namespace)
    }

    pub(super) fn key(&self) -> Result<K> {
        self.key.load()
    }

    pub(super) fn namespace(&self) -> Result<N> {
        self.namespace.load()
    }

    /// Appends both as the beginning of a row.
    #[inline]
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        self.key.encode_key(out)?;
        self.namespace.encode_key(out)
    }
}

impl<K: StateKey, N: StateKey> Clone for RowKey<K, N> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), namespace: self.namespace.clone() }
    }
}

// SAFETY: the stored forms are sealed by backend-api, which promises what is asked here: no interior mutability, no
// pointer into themselves or claimed to be the only one, and clones and drops that do not panic.
#[expect(unsafe_code, reason = "the promise of one crate is passed on to the table of another")]
unsafe impl<K: StateKey, N: StateKey> TableKey for RowKey<K, N> {
    fn heap_size(&self) -> usize {
        self.key.heap_size() + self.namespace.heap_size()
    }
}

/// What an access looks for in a state: key and namespace with all that is computed of them.
///
/// It is passed by reference on purpose. A copy is made of words that were stored one by one an instant before, which
/// the processor cannot forward into wider loads: it waits until all earlier accesses to memory are done, and no two
/// accesses to the state overlap.
pub(super) struct Lookup<'a, K: StateKey, N> {
    pub(super) key: &'a Borrowed<K>,
    pub(super) namespace: &'a N,
    /// Index among the backend's own groups.
    pub(super) group: usize,
    /// Of key and namespace.
    pub(super) hash: u64,
}

impl<'a, K: StateKey, N: StateKey> Lookup<'a, K, N> {
    #[inline]
    pub(super) fn new(key: KeyContext<'a, K>, group: usize, namespace: &'a N) -> Self {
        Self { key: key.key(), namespace, group, hash: entry_hash(key.hash(), namespace) }
    }

    /// A copy for a call out of the way of most accesses, which then need not put their place into memory for it.
    #[inline]
    pub(super) fn aside(&self) -> Self {
        Self { ..*self }
    }

    /// True if a row is of this place.
    #[inline]
    pub(super) fn matches(&self, row: &RowKey<K, N>) -> bool {
        row.matches(self.key, self.namespace)
    }

    #[inline]
    pub(super) fn store(&self) -> RowKey<K, N> {
        RowKey::store(self.key, self.namespace)
    }
}

impl<K: StateKey, N: StateKey> KeyHash for &Lookup<'_, K, N> {
    #[inline(always)]
    fn hash(self) -> u64 {
        self.hash
    }

    fn rehash(self, secret: &RandomState, attempt: u8) -> u64 {
        let mut hasher = secret.build_hasher();
        hasher.write_u8(attempt);
        self.key.with_encoded_key(|bytes| bytes.hash(&mut hasher));
        self.namespace.with_encoded(|bytes| bytes.hash(&mut hasher));
        hasher.finish()
    }
}

/// The hash of a key and a namespace; for `()` it is the key's own.
#[inline]
pub(super) fn entry_hash<N: StateKey>(key_hash: u64, namespace: &N) -> u64 {
    if size_of::<N>() == 0 {
        return key_hash;
    }
    // An odd multiplier keeps the two apart: (a, b) and (b, a) fall on different places.
    (key_hash.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ namespace.stable_hash()
}
