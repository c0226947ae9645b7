//! Keys, namespaces and the keys of maps: types with an order-keeping encoding.

use crate::Result;

/// A type that can be a key, a namespace or the key of a map state.
pub trait StateKey: Clone + Ord + Send + Sync + 'static {
    /// The form in which a heap table keeps the key.
    type Stored: StoredKey<Self>;

    /// Appends the order-keeping, self-delimiting encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes one key off the front of `input`.
    fn decode(input: &mut &[u8]) -> Result<Self>;

    /// 64-bit hash, part of the format.
    fn stable_hash(&self) -> u64;
}

/// The form in which a heap table keeps a key `K`.
pub trait StoredKey<K>: Send + Sync + 'static {
    /// Makes the stored form.
    fn store(key: &K) -> Self;
    /// Whether this is the stored form of `key`.
    fn matches(&self, key: &K) -> bool;
    /// The key.
    fn load(&self) -> Result<K>;
    /// Bytes that it owns outside of itself.
    fn heap_size(&self) -> usize;
}
