//! The keys of heap tables: key and namespace in stored form.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use backend_api::{Borrowed, BorrowedKey, KeyContext, Result, StateKey, StoredKey};

use crate::table::{KeyHash, TableKey};

/// A stored key and namespace.
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

    /// Appends key and namespace, which start a row.
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

// SAFETY: stored forms are sealed by backend-api, which guarantees these conditions: no interior mutability,
// no self-references or unique pointers, and clones and drops that do not panic.
#[expect(unsafe_code, reason = "the sealed stored forms fulfil the table's conditions")]
unsafe impl<K: StateKey, N: StateKey> TableKey for RowKey<K, N> {
    fn heap_size(&self) -> usize {
        self.key.heap_size() + self.namespace.heap_size()
    }
}

/// The key and namespace of an access, with everything that is computed from them.
///
/// Passed by reference on purpose. A copy would load words that were stored separately just before with wider
/// loads. Such loads cannot be forwarded from the store buffer and stall the processor, so accesses would not
/// overlap.
pub(super) struct Lookup<'a, K: StateKey, N> {
    pub(super) key: &'a Borrowed<K>,
    pub(super) namespace: &'a N,
    /// Index among the backend's own groups.
    pub(super) group: usize,
    /// Hash of key and namespace.
    pub(super) hash: u64,
}

impl<'a, K: StateKey, N: StateKey> Lookup<'a, K, N> {
    #[inline]
    pub(super) fn new(key: KeyContext<'a, K>, group: usize, namespace: &'a N) -> Self {
        Self { key: key.key(), namespace, group, hash: entry_hash(key.hash(), namespace) }
    }

    /// A copy for cold calls, so that the hot path need not keep its place in memory.
    #[inline]
    pub(super) fn aside(&self) -> Self {
        Self { ..*self }
    }

    /// True if a row has this key and namespace.
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

/// Returns the stored form of a new key, and counts the bytes that it owns.
#[inline]
pub(super) fn store<K: StateKey, N: StateKey>(lookup: &Lookup<'_, K, N>, bytes: &Cell<u64>) -> RowKey<K, N> {
    let row = lookup.store();
    bytes.set(row.heap_size() as u64);
    row
}

/// The hash of a key and a namespace. For `()` it is the key's own.
#[inline]
pub(super) fn entry_hash<N: StateKey>(key_hash: u64, namespace: &N) -> u64 {
    if size_of::<N>() == 0 {
        return key_hash;
    }
    // The odd multiplier makes the order count: (a, b) and (b, a) get different hashes.
    (key_hash.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ namespace.stable_hash()
}
