//! The laws of keys, as a check of two values at a time.

use std::fmt::Debug;

use backend_api::{ErrorKind, StateKey, StoredKey};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

pub fn encoded<K: StateKey>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

pub fn encoded_last<K: StateKey>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_last(&mut bytes);
    bytes
}

/// Checks all laws of [`StateKey`] and [`StoredKey`] on values of `keys`.
pub fn check_laws<K: StateKey + Debug>(keys: impl Strategy<Value = K> + Clone) {
    let pairs = (keys.clone(), keys);
    if let Err(error) = TestRunner::default().run(&pairs, |(a, b)| check_pair(&a, &b)) {
        panic!("{}: {error}", K::schema());
    }
    let hostile = proptest::collection::vec(prop_oneof![0..3_u8, Just(0xFF), any::<u8>()], 0..40);
    if let Err(error) = TestRunner::default().run(&hostile, |bytes| check_hostile::<K>(&bytes)) {
        panic!("{}: {error}", K::schema());
    }
}

pub fn check_pair<K: StateKey + Debug>(a: &K, b: &K) -> TestCaseResult {
    let (bytes_a, bytes_b) = (encoded(a), encoded(b));
    prop_assert_eq!(bytes_a.cmp(&bytes_b), a.cmp(b), "order of {:x?} and {:x?}", bytes_a, bytes_b);
    prop_assert_eq!(bytes_b.starts_with(&bytes_a), a == b || bytes_a.is_empty());
    let row = [&bytes_a[..], &bytes_b].concat();
    let mut rest = &row[..];
    prop_assert_eq!(&K::decode(&mut rest).unwrap(), a);
    prop_assert_eq!(&K::decode(&mut rest).unwrap(), b);
    prop_assert!(rest.is_empty());
    for len in 0..bytes_a.len() {
        prop_assert_eq!(K::decode(&mut &bytes_a[..len]).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    let (last_a, last_b) = (encoded_last(a), encoded_last(b));
    prop_assert_eq!(last_a.cmp(&last_b), a.cmp(b));
    prop_assert_eq!(&K::decode_last(&last_a).unwrap(), a);
    prop_assert_eq!(a.with_encoded(<[u8]>::to_vec), last_a.clone());
    prop_assert!(a.check().is_ok());

    let hash = if last_a.is_empty() && K::schema() == "()" { 0 } else { xxhash_rust::xxh3::xxh3_64(&last_a) };
    prop_assert_eq!(a.stable_hash(), hash);

    let stored = K::Stored::store(a);
    prop_assert_eq!(&stored.load().unwrap(), a);
    prop_assert!(stored.clone().matches(a));
    prop_assert_eq!(stored.matches(b), a == b);
    Ok(())
}

/// Bytes that decode are those that the value encodes to, and the others are refused.
fn check_hostile<K: StateKey + Debug>(bytes: &[u8]) -> TestCaseResult {
    let mut rest = bytes;
    match K::decode(&mut rest) {
        Ok(key) => prop_assert_eq!(&encoded(&key)[..], &bytes[..bytes.len() - rest.len()]),
        Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
    }
    match K::decode_last(bytes) {
        Ok(key) => prop_assert_eq!(&encoded_last(&key)[..], bytes),
        Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
    }
    Ok(())
}

/// Strings that are often alike, with the bytes that are special to the encoding.
pub fn texts() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => "[\\x00\\x01\\x02ab\u{7f}\u{ff}\u{7ff}\u{800}\u{ffff}\u{10000}]{0,4}",
        1 => ".{0,100}",
    ]
}

pub fn byte_strings() -> impl Strategy<Value = Vec<u8>> + Clone {
    prop_oneof![
        4 => proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xFE), Just(0xFF)], 0..5),
        1 => proptest::collection::vec(any::<u8>(), 0..100),
    ]
}
