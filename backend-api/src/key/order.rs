//! What the laws of [`StateKey`] say of two keys: their order is that of their encodings.

use std::any::type_name;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::StateKey;
use crate::{Error, ErrorKind, Result};

/// Checks that of two keys that follow each other in the order of their bytes the second is the greater one, for whoever puts
/// keys that come in that order where they are found by `Ord`.
///
/// # Errors
///
/// [`ErrorKind::IllegalState`] if the type's `Ord` has another order than its encoding; [`ErrorKind::Corrupt`] if the
/// keys do not come in the order of their bytes.
#[inline]
pub fn check_ascending<K: StateKey>(before: &K, key: &K) -> Result<()> {
    if before < key { Ok(()) } else { Err(not_ascending(before, key)) }
}

/// Checks, in debug builds, that a key that was found by `Ord` has the encoding of the one that was looked for.
///
/// # Errors
///
/// [`ErrorKind::IllegalState`] if the type's `Ord` takes different encodings for equal.
#[inline]
pub fn check_found<K: StateKey>(found: &K, key: &K) -> Result<()> {
    if cfg!(debug_assertions) && !is_same(found, key) { Err(not_same::<K>()) } else { Ok(()) }
}

/// [Checks](check_found) all pairs of keys that are equal, in debug builds.
///
/// # Errors
///
/// As [`check_found`].
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
        Ordering::Equal => Error::new(ErrorKind::Corrupt, "a key is there twice"),
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
