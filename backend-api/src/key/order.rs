//! Checks of the laws of [`StateKey`] for two keys: `Ord` must agree with the order of the encodings.

use std::any::type_name;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::StateKey;
use crate::{Error, ErrorKind, Result};

/// Checks that of two keys that are consecutive in byte order the second is greater. Call it when keys in
/// byte order are put where `Ord` finds them.
///
/// # Errors
///
/// [`ErrorKind::IllegalState`] if the type's `Ord` differs from the order of its encodings.
/// [`ErrorKind::Corrupt`] if the keys are not in byte order.
#[inline]
pub fn check_ascending<K: StateKey>(before: &K, key: &K) -> Result<()> {
    if before < key { Ok(()) } else { Err(not_ascending(before, key)) }
}

/// In debug builds, checks that a key found by `Ord` has the encoding of the requested one.
///
/// # Errors
///
/// [`ErrorKind::IllegalState`] if the type's `Ord` equates different encodings.
#[inline]
pub fn check_found<K: StateKey>(found: &K, key: &K) -> Result<()> {
    if cfg!(debug_assertions) && !is_same(found, key) { Err(not_same::<K>()) } else { Ok(()) }
}

/// In debug builds, [checks](check_found) all pairs of equal keys.
///
/// # Errors
///
/// Same as [`check_found`].
pub fn check_equal_keys<'k, K: StateKey>(keys: impl IntoIterator<Item = &'k K>) -> Result<()> {
    if cfg!(debug_assertions) {
        let mut seen = BTreeSet::new();
        for key in keys {
            seen.get(key).map_or(Ok(()), |found| check_found(*found, key))?;
            seen.insert(key);
        }
    }
    Ok(())
}

fn is_same<K: StateKey>(a: &K, b: &K) -> bool {
    a.with_encoded(|a| b.with_encoded(|b| a == b))
}

#[cold]
fn not_ascending<K: StateKey>(before: &K, key: &K) -> Error {
    match before.with_encoded(|before| key.with_encoded(|key| before.cmp(key))) {
        Ordering::Equal => Error::new(ErrorKind::Corrupt, "a key occurs twice"),
        Ordering::Greater => Error::new(ErrorKind::Corrupt, "keys are not in the order of their bytes"),
        Ordering::Less => {
            let message = format!("the order of {} is not that of its encoding", type_name::<K>());
            Error::new(ErrorKind::IllegalState, message)
        }
    }
}

#[cold]
fn not_same<K: StateKey>() -> Error {
    let message = format!("two keys of {} are equal and have different encodings", type_name::<K>());
    Error::new(ErrorKind::IllegalState, message)
}
