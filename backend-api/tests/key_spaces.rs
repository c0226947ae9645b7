//! From keys to groups and subtasks.

use std::sync::Arc;

use backend_api::{ErrorKind, KeyGroupMapping, KeyGroupRange, KeySpace, StateKey, serde_key};
use serde::{Deserialize, Serialize, Serializer};

#[test]
fn the_native_group_comes_from_the_high_half_of_the_hash() {
    let keys = KeySpace::<u64>::new(1000).unwrap();
    for key in 0..1000 {
        let context = keys.key(&key).unwrap();
        assert_eq!(context.key(), &key);
        assert_eq!(context.hash(), key.stable_hash());
        assert_eq!(u64::from(context.group()), (key.stable_hash() >> 32) % 1000);
        assert_eq!(context.max_parallelism(), 1000);
    }
    assert_eq!(keys.mapping_id(), "xxh3-64-high32");
}

#[test]
fn every_group_gets_a_fair_share() {
    let keys = KeySpace::<u64>::new(128).unwrap();
    let mut counts = [0; 128];
    (0..128_000).for_each(|key| counts[usize::from(keys.key(&key).unwrap().group())] += 1);
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn a_key_goes_to_the_subtask_that_owns_its_group() {
    let keys = KeySpace::<String>::new(128).unwrap();
    for number in 0..100 {
        let key = format!("key-{number}");
        let subtask = keys.subtask(5, &key).unwrap();
        let range = KeyGroupRange::of_subtask(128, 5, subtask).unwrap();
        assert!(range.contains(keys.key(&key).unwrap().group()));
    }
    for parallelism in [0, 129] {
        let error = keys.subtask(parallelism, &String::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn max_parallelism_has_bounds() {
    for max in [0, 32769] {
        let kinds = [
            KeySpace::<i32>::new(max).unwrap_err().kind(),
            KeySpace::<i32>::flink(max).unwrap_err().kind(),
            KeySpace::<i32>::with_mapping(max, Arc::new(Last)).unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::InvalidArgument; 3]);
    }
    assert_eq!(KeySpace::<i32>::new(32768).unwrap().max_parallelism(), 32768);
}

/// Answers with a group that exists for even keys only.
struct Last;

impl KeyGroupMapping<i32> for Last {
    fn id(&self) -> &str {
        "last"
    }

    fn key_group(&self, key: &i32, hash: u64, max_parallelism: u16) -> u16 {
        assert_eq!(hash, key.stable_hash());
        max_parallelism - 1 + (*key % 2) as u16
    }
}

#[test]
fn a_missing_group_is_refused() {
    let keys = KeySpace::with_mapping(10, Arc::new(Last)).unwrap();
    assert_eq!(keys.mapping_id(), "last");
    assert_eq!(keys.clone().key(&2).unwrap().group(), 9);
    let error = keys.key(&3).unwrap_err();
    assert_eq!((error.kind(), error.key_group()), (ErrorKind::IllegalState, Some(10)));
    assert!(error.message().contains("last"), "{error}");
    assert_eq!(keys.subtask(2, &3).unwrap_err().kind(), ErrorKind::IllegalState);
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            0 => serializer.serialize_newtype_struct("Even", &self.0),
            _ => Err(serde::ser::Error::custom("it is odd")),
        }
    }
}

serde_key!(Even);

#[test]
fn a_key_that_does_not_serialize_is_refused() {
    let keys = KeySpace::<Even>::new(10).unwrap();
    assert!(keys.key(&Even(2)).is_ok());
    let error = keys.key(&Even(3)).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Codec, "it is odd"));

    let parts = KeySpace::<(bool, Option<Even>)>::new(10).unwrap();
    assert!(parts.key(&(true, Some(Even(2)))).is_ok());
    assert_eq!(parts.key(&(true, Some(Even(3)))).unwrap_err().kind(), ErrorKind::Codec);
}
