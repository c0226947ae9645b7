//! Flink's mapping of keys to key groups, so that records are routed as in Flink.

use crate::{Borrowed, KeyGroupMapping, StateKey};

/// Java's `hashCode` of the key types that both sides have: `Integer`, `Long` and `String` (here its
/// [borrowed form](Borrowed), `str`).
pub trait JavaHash {
    /// `hashCode`.
    fn java_hash(&self) -> i32;
}

impl JavaHash for i32 {
    #[inline]
    fn java_hash(&self) -> i32 {
        *self
    }
}

impl JavaHash for i64 {
    #[inline]
    fn java_hash(&self) -> i32 {
        (*self ^ (*self >> 32)) as i32
    }
}

/// Computed over UTF-16 units, as in Java.
impl JavaHash for str {
    fn java_hash(&self) -> i32 {
        self.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
    }
}

/// The key group that Flink gives a key with this `hashCode`: the hash mixed as by MurmurHash3, made
/// non-negative, modulo `max_parallelism` (0 if that is 0).
///
/// ```
/// use backend_api::{JavaHash, flink_group};
///
/// assert_eq!(flink_group("hello".java_hash(), 128), 35);
/// ```
#[inline]
pub fn flink_group(hash: i32, max_parallelism: u16) -> u16 {
    let mut mixed = (hash as u32).wrapping_mul(0xCC9E_2D51);
    mixed = mixed.rotate_left(15).wrapping_mul(0x1B87_3593);
    mixed = mixed.rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64);
    mixed ^= 4;
    mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x85EB_CA6B);
    mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xC2B2_AE35);
    mixed ^= mixed >> 16;
    // Java's Math.abs, except that the one number without an absolute value becomes 0.
    let positive = (mixed as i32).checked_abs().unwrap_or(0) as u32;
    positive.checked_rem(max_parallelism.into()).unwrap_or(0) as u16
}

/// Flink's mapping, by Java's `hashCode` of the key.
#[derive(Clone, Copy, Debug)]
pub struct FlinkMapping;

impl<K: StateKey> KeyGroupMapping<K> for FlinkMapping
where
    Borrowed<K>: JavaHash,
{
    fn id(&self) -> &str {
        "flink-murmur3"
    }

    fn key_group(&self, key: &Borrowed<K>, _hash: u64, max_parallelism: u16) -> u16 {
        flink_group(key.java_hash(), max_parallelism)
    }
}
