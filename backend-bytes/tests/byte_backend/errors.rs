//! Errors name the state and the key group, with and without a cache.

use std::sync::Arc;

use backend_api::{
    Aggregate, AggregatingDescriptor, AggregatingState, BoxError, Codec, Error, ErrorKind, ListDescriptor,
    ListState, MapDescriptor, MapState, PlainCodec, ReducingDescriptor, ReducingState, Result,
    SnapshotRequest, StateBackend, ValueDescriptor, ValueState, serde_key,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::support::{Backend, NoThirteen, context, in_memory, key, open};

/// A key that cannot be encoded if it is 13.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Picky(u8);

serde_key!(Picky);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("thirteen"));
        }
        serializer.serialize_newtype_struct("Picky", &self.0)
    }
}

/// Claims to encode everything, and refuses 13 when it encodes.
struct Late;

impl Codec<u64> for Late {
    fn id(&self) -> String {
        "late".to_owned()
    }

    fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<()> {
        NoThirteen.encode(value, out)
    }

    fn decode(&self, input: &[u8]) -> Result<u64> {
        if *input == 7_u64.to_le_bytes() {
            return Err(Error::new(ErrorKind::Corrupt, "seven"));
        }
        PlainCodec.decode(input)
    }

    fn heap_size(&self, _value: &u64) -> usize {
        0
    }

    fn fixed_len(&self) -> Option<usize> {
        Some(8)
    }
}

/// Fails for 13, and when merging.
struct Sum;

impl Aggregate for Sum {
    type Input = u64;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, sum: &mut u64, input: u64) -> Result<(), BoxError> {
        *sum = if input == 13 { return Err("thirteen".into()) } else { *sum + input };
        Ok(())
    }

    fn result(&self, sum: &u64) -> u64 {
        *sum
    }

    fn merge(&self, _sum: &mut u64, _other: &u64) -> Result<(), BoxError> {
        Err("no merges".into())
    }
}

/// A call that fails in the state `s` at the key `k`.
type Call = fn(&mut Backend, &String) -> Result<()>;

/// Each name describes the error.
const CALLS: [(&str, Call); 14] = [
    ("namespace", |b, k| {
        let token = b.register(ValueDescriptor::<u64>::new("s").namespaced::<Picky>())?;
        b.value(token, context(k), &Picky(13)).map(drop)
    }),
    ("namespace of a source", |b, k| {
        let token = b.register(ListDescriptor::<u64>::new("s").namespaced::<Picky>())?;
        b.list(token, context(k), &Picky(1))?.merge_from(&[Picky(13)])
    }),
    ("map key that is put", |b, k| {
        let token = b.register(MapDescriptor::<Picky, u64>::new("s"))?;
        b.map(token, context(k), &())?.put(Picky(13), 1)
    }),
    ("map key that is read", |b, k| {
        let token = b.register(MapDescriptor::<Picky, u64>::new("s"))?;
        b.map(token, context(k), &())?.get(&Picky(13)).map(drop)
    }),
    ("map key that is removed", |b, k| {
        let token = b.register(MapDescriptor::<Picky, u64>::new("s"))?;
        b.map(token, context(k), &())?.remove(&Picky(13))
    }),
    ("value", |b, k| {
        let token = b.register(ValueDescriptor::with_codec("s", Arc::new(NoThirteen)))?;
        b.value(token, context(k), &())?.set(13)
    }),
    ("updated value", |b, k| {
        let token = b.register(ValueDescriptor::with_codec("s", Arc::new(NoThirteen)))?;
        b.value(token, context(k), &())?.update(|value| *value = Some(13))
    }),
    ("element", |b, k| {
        let token = b.register(ListDescriptor::with_codec("s", Arc::new(NoThirteen)))?;
        b.list(token, context(k), &())?.add_all([1, 13])
    }),
    ("entry", |b, k| {
        let token = b.register(MapDescriptor::<u8, _>::with_codec("s", Arc::new(NoThirteen)))?;
        b.map(token, context(k), &())?.put_all([(1, 1), (2, 13)])
    }),
    ("reduce function", |b, k| {
        let descriptor = ReducingDescriptor::with_codec("s", |_, _| Err("no".into()), Arc::new(NoThirteen));
        let token = b.register(descriptor)?;
        b.reducing(token, context(k), &())?.add(1)?;
        b.reducing(token, context(k), &())?.add(1)
    }),
    ("aggregate function", |b, k| {
        let token = b.register(AggregatingDescriptor::new("s", Sum))?;
        b.aggregating(token, context(k), &())?.add(13)
    }),
    ("merge function", |b, k| {
        let token = b.register(AggregatingDescriptor::new("s", Sum).namespaced::<u8>())?;
        for namespace in 0..2 {
            b.aggregating(token, context(k), &namespace)?.add(1)?;
        }
        b.aggregating(token, context(k), &0)?.merge_from(&[1])
    }),
    ("codec when all is written out", |b, k| {
        let token = b.register(ValueDescriptor::with_codec("s", Arc::new(Late)))?;
        b.value(token, context(k), &())?.set(13)?;
        b.keys(token, &()).map(drop)
    }),
    ("codec in a snapshot", |b, k| {
        let token = b.register(ValueDescriptor::with_codec("s", Arc::new(Late)))?;
        b.value(token, context(k), &())?.set(13)?;
        b.snapshot(SnapshotRequest::new(1))?.run().map(drop)
    }),
];

#[test]
fn errors_name_state_and_key_group() {
    for cache in [0, 1 << 20] {
        for (what, call) in CALLS {
            let mut backend = open(&in_memory().with_cache_bytes(cache), &[]);
            let key = key("some key");
            let error = call(&mut backend, &key).expect_err(what);
            let place = (error.state(), error.key_group());
            assert_eq!(place, (Some("s"), Some(context(&key).group())), "{what}, cache {cache}: {error}");
        }
    }
}

/// Debug builds read back everything they write.
#[cfg(debug_assertions)]
#[test]
fn values_that_cannot_be_read_back_are_refused_with_state_and_key_group() {
    let mut backend = open(&in_memory(), &[]);
    let name = key("some key");
    let value = backend.register(ValueDescriptor::with_codec("value", Arc::new(Late))).unwrap();
    let list = backend.register(ListDescriptor::with_codec("list", Arc::new(Late))).unwrap();
    let map = backend.register(MapDescriptor::<u8, _>::with_codec("map", Arc::new(Late))).unwrap();
    let at = context(&name);
    let errors = [
        ("value", backend.value(value, at, &()).unwrap().set(7).unwrap_err()),
        ("list", backend.list(list, at, &()).unwrap().add(7).unwrap_err()),
        ("map", backend.map(map, at, &()).unwrap().put(1, 7).unwrap_err()),
    ];
    for (state, error) in errors {
        assert_eq!((error.state(), error.key_group()), (Some(state), Some(at.group())), "{error}");
    }
}
