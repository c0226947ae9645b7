//! Mappings from keys to key groups.

use crate::{Borrowed, StateKey};

/// The id of the native mapping.
pub const NATIVE_MAPPING: &str = "xxh3-64-high32";

/// The key group of a key with this [stable hash](StateKey::stable_hash) in the native mapping; 0 for a max parallelism of 0.
#[inline]
pub fn native_group(hash: u64, max_parallelism: u16) -> u16 {
    ((hash >> 32) as u32).checked_rem(u32::from(max_parallelism)).map_or(0, |group| group as u16)
}

/// A custom rule from keys to key groups, for jobs whose records are routed by another system.
///
/// # Contract
///
/// A key has the same group in every process and version, because the group decides where its state is. A
/// changed rule needs another [`id`](Self::id).
pub trait KeyGroupMapping<K: StateKey>: Send + Sync {
    /// The id of the rule. Snapshots contain it, and a restore compares it.
    fn id(&self) -> &str;

    /// The group of `key`, less than `max_parallelism`. `hash` is its [stable hash](StateKey::stable_hash).
    fn key_group(&self, key: &Borrowed<K>, hash: u64, max_parallelism: u16) -> u16;
}
