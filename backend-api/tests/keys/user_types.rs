//! User types as keys: the order-keeping format of serde.

use std::collections::{BTreeMap, BTreeSet};

use backend_api::{
    ErrorKind, KeySchema, KeySpace, OrderedType, StateKey, StoredKey, decode_ordered, encode_ordered,
    serde_key,
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::laws::{check_pair, encoded, texts};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id(i32);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Visit {
    page: String,
    at: i64,
    user: Option<Id>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Event {
    Nothing,
    Number(i16),
    Pair(bool, String),
    Visit { visit: Visit, unit: Unit },
    Many(Vec<Event>),
    Sorted(BTreeMap<u8, BTreeSet<char>>),
}

serde_key!(Visit);
serde_key!(Event = "shop.event");

fn visits() -> impl Strategy<Value = Visit> + Clone {
    let user = proptest::option::of((-1..2_i32).prop_map(Id));
    (texts(), -1..2_i64, user).prop_map(|(page, at, user)| Visit { page, at, user })
}

fn events() -> impl Strategy<Value = Event> + Clone {
    let chars = proptest::collection::btree_set(prop_oneof![Just('a'), any::<char>()], 0..3);
    let leaf = prop_oneof![
        Just(Event::Nothing),
        (-2..2_i16).prop_map(Event::Number),
        (any::<bool>(), texts()).prop_map(|(flag, text)| Event::Pair(flag, text)),
        visits().prop_map(|visit| Event::Visit { visit, unit: Unit }),
        proptest::collection::btree_map(0..3_u8, chars, 0..3).prop_map(Event::Sorted),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| proptest::collection::vec(inner, 0..4).prop_map(Event::Many))
        .boxed()
}

proptest! {
    #[test]
    fn structs_keep_the_laws(a in visits(), b in visits()) {
        check_pair(&a, &b)?;
    }

    #[test]
    fn enums_keep_the_laws(a in events(), b in events()) {
        check_pair(&a, &b)?;
        check_pair(&(a.clone(), Some(b.clone())), &(a.clone(), None))?;
        check_pair(&(a.clone(), b.clone()), &(b, a))?;
    }

    /// Rows of these keys are split without the types.
    #[test]
    fn schemas_parse_keys(a in events(), b in visits(), rest in any::<Vec<u8>>()) {
        let key = (a, Some(b));
        let schema = KeySchema::parse(&<(Event, Option<Visit>)>::schema()).unwrap();
        let mut row = Vec::new();
        key.encode(&mut row);
        let len = row.len();
        row.extend(rest);
        prop_assert_eq!(schema.prefix_len(&row).unwrap(), len);
        prop_assert_eq!(schema.stable_hash(&row[..len]).unwrap(), key.stable_hash());
        prop_assert!(schema.print(&row[..len]).is_ok());
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in proptest::collection::vec(prop_oneof![0..7_u8, any::<u8>()], 0..60)) {
        if let Err(error) = Event::decode(&mut &bytes[..]) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        if let Err(error) = Visit::decode_last(&bytes) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn floats_are_in_total_order(a in any::<f64>(), b in any::<f64>(), c in any::<f32>(), d in any::<f32>()) {
        prop_assert_eq!(ordered(&a).cmp(&ordered(&b)), a.total_cmp(&b));
        prop_assert_eq!(ordered(&c).cmp(&ordered(&d)), c.total_cmp(&d));
        prop_assert_eq!(read::<f64>(&ordered(&a)).unwrap().to_bits(), a.to_bits());
        prop_assert_eq!(read::<f32>(&ordered(&c)).unwrap().to_bits(), c.to_bits());
    }
}

fn ordered<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_ordered(value, &mut bytes).unwrap();
    bytes
}

fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, ErrorKind> {
    let mut rest = bytes;
    let value = decode_ordered(&mut rest).map_err(|error| error.kind())?;
    assert!(rest.is_empty());
    Ok(value)
}

#[test]
fn the_special_floats_are_in_order() {
    let ascending = [
        -f64::NAN,
        f64::NEG_INFINITY,
        -1.5,
        -f64::MIN_POSITIVE,
        -0.0,
        0.0,
        1e-300,
        2.0,
        f64::INFINITY,
        f64::NAN,
    ];
    assert!(ascending.map(|float| ordered(&float)).is_sorted_by(|a, b| a < b));
}

#[test]
fn bytes_that_encode_no_key_are_refused() {
    let set = |elements: [u8; 2]| read::<BTreeSet<u8>>(&[1, elements[0], 1, elements[1], 0]);
    assert_eq!(set([3, 4]), Ok(BTreeSet::from([3, 4])));
    assert_eq!(set([4, 3]), Err(ErrorKind::Corrupt));
    assert_eq!(set([3, 3]), Err(ErrorKind::Corrupt));
    assert_eq!(read::<BTreeMap<u8, u8>>(&[1, 3, 0, 1, 2, 0, 0]), Err(ErrorKind::Corrupt));
}

#[test]
fn the_bytes_are_frozen() {
    let visit = Visit { page: "a".into(), at: -1, user: Some(Id(1)) };
    let bytes = *b"a\x00\x01\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x80\x00\x00\x01";
    assert_eq!(encoded(&visit), bytes);
    assert_eq!(visit.stable_hash(), xxhash_rust::xxh3::xxh3_64(&bytes));
    assert_eq!(encoded(&Event::Nothing), [0]);
    assert_eq!(encoded(&Event::Many(vec![Event::Nothing, Event::Number(1)])), [4, 1, 0, 1, 1, 0x80, 1, 0]);
    let sorted = Event::Sorted(BTreeMap::from([(7, BTreeSet::from(['a']))]));
    assert_eq!(encoded(&sorted), [5, 1, 7, 1, 0, 0, 0, b'a', 0, 0]);
}

#[test]
fn schemas_are_names_and_shapes() {
    let visit = "Visit:struct{page:string,at:i64,user:option<i32>}";
    assert_eq!(Visit::schema(), visit);
    assert_eq!(<(u8, Visit)>::schema(), format!("(u8,{visit})"));
    let event = "shop.event:enum{Nothing,Number(i16),Pair(bool,string),\
                 Visit{visit:struct{page:string,at:i64,user:option<i32>},unit:()},\
                 Many(list<^1>),Sorted(map<u8,list<char>>)}";
    assert_eq!(Event::schema(), event);
}

/// Numbers variants like serde's derive for an enum with very many of them.
#[test]
fn many_variants_take_five_bytes() {
    struct Variant(u32);
    impl Serialize for Variant {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit_variant("Variant", self.0, "some")
        }
    }
    let variants = [0, 1, 254, 255, 256, 70_000, u32::MAX].map(|index| ordered(&Variant(index)));
    assert!(variants.is_sorted_by(|a, b| a < b));
    assert_eq!(variants.map(|bytes| bytes.len()), [1, 1, 1, 5, 5, 5, 5]);
    assert_eq!(ordered(&Variant(255)), [0xFF, 0, 0, 0, 0xFF]);
    // An index that fits into one byte, written as five.
    assert_eq!(read::<Event>(&[0xFF, 0, 0, 0, 0]), Err(ErrorKind::Corrupt));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nest(Vec<Nest>);

fn nest(depth: usize) -> Nest {
    (1..depth).fold(Nest(Vec::new()), |inner, _| Nest(vec![inner]))
}

#[test]
fn depth_is_limited() {
    let deepest = nest(128);
    assert_eq!(read::<Nest>(&ordered(&deepest)), Ok(deepest));
    let too_deep = encode_ordered(&nest(129), &mut Vec::new()).unwrap_err();
    assert_eq!(too_deep.kind(), ErrorKind::Codec);
    assert_eq!(read::<Nest>(&[1; 1_000_000]), Err(ErrorKind::Corrupt));
}

#[test]
fn wide_values_are_not_deep() {
    let wide = vec![(Some(1_u8), vec!["x"; 2]); 1000];
    assert_eq!(read::<Vec<(Option<u8>, Vec<String>)>>(&ordered(&wide)).unwrap().len(), 1000);
    let events = Event::Many(vec![Event::Pair(true, String::new()); 1000]);
    assert_eq!(Event::decode_last(&encoded(&events)).unwrap(), events);
}

#[test]
fn types_that_need_self_description_are_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    assert_eq!(read::<Untagged>(&ordered(&Untagged::Number(1))), Err(ErrorKind::Unsupported));
}

#[test]
fn a_sequence_for_a_fixed_number_of_elements_must_end_there() {
    #[derive(Debug, PartialEq)]
    struct Two(u8, u8);
    impl Serialize for Two {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq([self.0, self.1])
        }
    }
    impl<'de> Deserialize<'de> for Two {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Two;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("two")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Two, A::Error> {
                    Ok(Two(seq.next_element()?.unwrap_or(0), seq.next_element()?.unwrap_or(0)))
                }
            }
            deserializer.deserialize_seq(Visitor)
        }
    }
    assert_eq!(read::<(Two, u8)>(&[1, 7, 1, 8, 0, 9]), Ok((Two(7, 8), 9)));
    assert_eq!(read::<(Two, u8)>(&[1, 7, 0, 9]), Err(ErrorKind::Corrupt));
    assert_eq!(read::<Two>(&[1, 7, 1, 8, 1, 9, 0]), Err(ErrorKind::Corrupt));
}

#[test]
fn stored_forms_hold_the_encoding() {
    let visit = Visit { page: "p".into(), at: 5, user: None };
    let stored = <Visit as StateKey>::Stored::store(&visit);
    assert_eq!(stored.as_bytes(), encoded(&visit));
    let loaded: Visit = stored.load().unwrap();
    assert_eq!(loaded, visit);
}

mod that_cannot_be_keys {
    use super::*;

    macro_rules! key {
        ($name:ident: $($item:tt)*) => {
            #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
            $($item)*
            serde_key!($name);
        };
    }

    key!(Untagged: #[serde(untagged)] enum Untagged { A(u8), B(String) });
    key!(Internal: #[serde(tag = "t")] enum Internal { A { x: u8 }, B });
    key!(Adjacent: #[serde(tag = "t", content = "c")] enum Adjacent { A(u8), B(String) });
    key!(Flat: struct Flat { a: u8, #[serde(flatten)] b: BTreeMap<String, u8> });
    key!(SkipsSome: struct SkipsSome {
        #[serde(default, skip_serializing_if = "Option::is_none")] a: Option<u8>,
        b: u8,
    });
    key!(Hides: enum Hides { A, #[serde(skip)] #[allow(dead_code)] B, C, D });
    key!(Forgets: struct Forgets { a: u8, #[serde(skip)] b: u8 });
    key!(WritesLess: struct WritesLess { a: u8, #[serde(skip_serializing, default)] b: u8 });

    fn refused_type<K: StateKey>() {
        assert_eq!(K::check_type().unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(KeySpace::<K>::new(8).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(<(u8, Option<K>)>::check_type().unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[track_caller]
    fn refused<K: StateKey + std::fmt::Debug>(key: K) {
        let keys = KeySpace::<K>::new(8).unwrap();
        for _ in 0..2 {
            assert_eq!(keys.key(&key).unwrap_err().kind(), ErrorKind::Codec);
        }
        assert_eq!((1_u8, Some(key)).check().unwrap_err().kind(), ErrorKind::Codec);
    }

    #[test]
    fn are_refused_at_once() {
        refused_type::<Untagged>();
        refused_type::<Internal>();
        refused_type::<Adjacent>();
        refused_type::<Flat>();
        refused(SkipsSome { a: None, b: 1 });
        refused(Hides::C);
        refused(Hides::D);
        refused(Forgets { a: 1, b: 1 });
        refused(WritesLess { a: 1, b: 0 });
        SkipsSome { a: Some(1), b: 1 }.check().unwrap();
        Hides::A.check().unwrap();
        Forgets { a: 1, b: 0 }.check().unwrap();
    }

    #[test]
    fn generic_types_can_use_the_same_checks() {
        let floats = OrderedType::<Vec<(u8, String)>>::new();
        assert_eq!(floats.schema("mine"), "mine:list<(u8,string)>");
        floats.check_type().unwrap();
        floats.check(&vec![(1, "a".to_owned())]).unwrap();
    }
}
