use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{Codec, Plain, PlainCodec, SerdeCodec};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct All {
    a: (u8, u16, u32, u64, u128),
    b: (i8, i16, i32, i64, i128),
    c: (f32, f64, bool, char),
    d: String,
    e: Vec<u8>,
    f: [u8; 3],
    g: Option<Option<u32>>,
    h: Option<()>,
    i: HashMap<u16, String>,
    j: Vec<Shapes>,
    k: (),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shapes {
    Unit,
    Newtype(i64),
    Tuple(u8, String),
    Struct { left: Option<Box<Shapes>>, right: Vec<Shapes> },
}

fn shapes() -> impl Strategy<Value = Shapes> {
    let leaf = prop_oneof![
        Just(Shapes::Unit),
        any::<i64>().prop_map(Shapes::Newtype),
        any::<(u8, String)>().prop_map(|(a, b)| Shapes::Tuple(a, b)),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        (proptest::option::of(inner.clone()), proptest::collection::vec(inner, 0..3))
            .prop_map(|(left, right)| Shapes::Struct { left: left.map(Box::new), right })
    })
}

fn all() -> impl Strategy<Value = All> {
    let first = (any::<(u8, u16, u32, u64, u128)>(), any::<(i8, i16, i32, i64, i128)>());
    let second = any::<(f32, f64, bool, char)>();
    let third = any::<(String, Vec<u8>, [u8; 3], Option<Option<u32>>, Option<()>, HashMap<u16, String>)>();
    (first, second, third, proptest::collection::vec(shapes(), 0..4))
        .prop_map(|((a, b), c, (d, e, f, g, h, i), j)| All { a, b, c, d, e, f, g, h, i, j, k: () })
}

fn encoded<T: 'static>(codec: &dyn Codec<T>, value: &T) -> (ValueSchema, Vec<u8>) {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).unwrap();
    (ValueSchema::parse(&codec.id()).unwrap(), bytes)
}

fn canonical(schema: &ValueSchema, bytes: &[u8]) -> Vec<u8> {
    let mut cbor = Vec::new();
    schema.encode_canonical(bytes, &mut cbor).unwrap();
    cbor
}

#[track_caller]
fn check_canonical(schema: &ValueSchema, bytes: &[u8]) -> Vec<u8> {
    let cbor = canonical(schema, bytes);
    let mut back = Vec::new();
    schema.decode_canonical(&cbor, &mut back).unwrap();
    assert_eq!(canonical(schema, &back), cbor);
    back
}

proptest! {
    #[test]
    fn values_are_read_by_their_shape(value in all(), end in any::<prop::sample::Index>()) {
        let codec = SerdeCodec::<All>::new();
        let (schema, bytes) = encoded(&codec, &value);
        prop_assert_eq!(&schema.read::<All>(&bytes).unwrap(), &value);
        let back = check_canonical(&schema, &bytes);
        prop_assert_eq!(codec.decode(&back).unwrap(), value);
        let cut = &bytes[..end.index(bytes.len())];
        prop_assert!(schema.read::<Datum>(cut).is_err());
        prop_assert!(schema.encode_canonical(cut, &mut Vec::new()).is_err());
    }

    #[test]
    fn damaged_bytes_end_in_no_panic(
        value in all(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let (schema, mut bytes) = encoded(&SerdeCodec::new(), &value);
        let mut cbor = canonical(&schema, &bytes);
        *at.get_mut(&mut bytes) = byte;
        let _ = schema.read::<Datum>(&bytes);
        let _ = schema.encode_canonical(&bytes, &mut Vec::new());
        *at.get_mut(&mut cbor) = byte;
        let _ = schema.decode_canonical(&cbor, &mut Vec::new());
        let _ = Datum::from_cbor(&cbor);
    }

    #[test]
    fn plain_values_are_read_by_their_shape(
        value in any::<(BTreeMap<u16, String>, Vec<(i32, bool)>, Option<u128>, [char; 2], f64)>(),
    ) {
        let (schema, bytes) = encoded(&PlainCodec, &value);
        prop_assert_eq!(&schema.read::<(BTreeMap<u16, String>, Vec<(i32, bool)>, Option<u128>, [char; 2], f64)>(&bytes).unwrap(), &value);
        prop_assert_eq!(check_canonical(&schema, &bytes), bytes);
    }
}

#[test]
fn data_are_printed_with_names() {
    let print = |value: &Shapes| {
        let (schema, bytes) = encoded(&SerdeCodec::new(), value);
        let datum: Datum = schema.read(&bytes).unwrap();
        (datum.to_string(), serde_json::to_value(&datum).unwrap())
    };
    let inner = Shapes::Tuple(7, "x\"".to_owned());
    let value = Shapes::Struct { left: Some(Box::new(inner)), right: vec![Shapes::Unit] };
    let (text, json) = print(&value);
    assert_eq!(text, r#"{"Struct": {"left": {"Tuple": [7, "x\""]}, "right": ["Unit"]}}"#);
    assert_eq!(json, serde_json::json!({"Struct": {"left": {"Tuple": [7, "x\""]}, "right": ["Unit"]}}));

    let (schema, bytes) = encoded(&PlainCodec, &BTreeMap::from([(5_usize, (vec![1_u8, 255], u128::MAX))]));
    let datum: Datum = schema.read(&bytes).unwrap();
    assert_eq!(datum.to_string(), format!("{{5: [0x01ff, {}]}}", u128::MAX));
    let json = serde_json::json!({"5": ["0x01ff", u128::MAX.to_string()]});
    assert_eq!(serde_json::to_value(&datum).unwrap(), json);
}

#[test]
fn canonical_bytes_are_those_of_rfc_8949() {
    fn check<T: Plain>(value: T, expected: &str) {
        let (schema, bytes) = encoded(&PlainCodec, &value);
        let cbor: String = canonical(&schema, &bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(cbor, expected);
    }
    check(23_u64, "17");
    check(24_i64, "1818");
    check(-1_i8, "20");
    check(u64::MAX, "1bffffffffffffffff");
    check(1_u128 << 64, "c249010000000000000000");
    check(1.5_f64, "f93e00");
    check(1.1_f64, "fb3ff199999999999a");
    check(vec![1_u8, 2], "420102");
    check((true, 'a', "bc".to_owned()), "83f56161626263");
    check(None::<u8>, "f6");
    check(Some(None::<u8>), "81f6");
    check(Some(Some(1_u8)), "8101");
    check(HashMap::from([(10_u32, 1_u8), (9, 2), (100, 3)]), "a309020a01186403");
}

/// Reads what `Old` wrote into `New`.
fn evolve<Old, New>(old: &Old) -> Result<New>
where
    Old: Serialize + DeserializeOwned + Send + Sync + 'static,
    New: DeserializeOwned,
{
    let (schema, bytes) = encoded(&SerdeCodec::<Old>::new(), old);
    schema.read(&bytes)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
    count: u32,
}

fn old() -> Old {
    Old { name: "n".to_owned(), count: 5 }
}

#[test]
fn a_type_that_changed_reads_what_its_predecessor_wrote() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        #[serde(default)]
        added: u8,
        optional: Option<u8>,
        #[serde(alias = "count")]
        renamed: i64,
        name: Option<String>,
    }
    let new = New { added: 0, optional: None, renamed: 5, name: Some("n".to_owned()) };
    assert_eq!(evolve::<_, New>(&old()).unwrap(), new);
    assert_eq!(evolve::<_, VecDeque<u32>>(&vec![3_u16, 1]).unwrap(), [3, 1]);
    assert_eq!(evolve::<_, BTreeSet<u16>>(&vec![3_u16, 1]).unwrap(), [1, 3].into());
    assert_eq!(evolve::<_, f64>(&i32::MIN).unwrap(), f64::from(i32::MIN));
    assert_eq!(evolve::<_, f64>(&1.5_f32).unwrap(), 1.5);
    assert_eq!(evolve::<_, i128>(&u64::MAX).unwrap(), i128::from(u64::MAX));
}

#[test]
fn a_type_that_would_lose_something_is_refused_with_the_place() {
    #[track_caller]
    fn check<Old, New>(old: Old, expected: &str)
    where
        Old: Serialize + DeserializeOwned + Send + Sync + 'static,
        New: DeserializeOwned + std::fmt::Debug,
    {
        let error = evolve::<Old, New>(&old).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Migration, "{error}");
        assert!(error.message().contains(expected), "{error}");
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Added {
        name: String,
        count: u32,
        more: u8,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Narrow {
        name: String,
        count: u16,
    }
    check::<_, Added>(old(), r#"the field "more" was added without a default"#);
    check::<_, Narrow>(old(), "in count: the type was u32 and is u16");
    check::<_, u32>(7_i32, "the type was i32 and is u32");
    check::<_, i64>(7_u64, "the type was u64 and is i64");
    check::<_, f32>(7_u32, "the type was u32 and is f32");
    check::<_, f64>(7_u64, "the type was u64 and is f64");
    check::<_, String>(7_u64, "the type was u64 and is string");
    check::<_, (u8, u8)>((1_u8, 2_u8, 3_u8), "is a tuple of 2");
    check::<_, u8>(Some(1_u8), "the type was option<u8> and is u8");
    check::<_, BTreeMap<u8, u16>>(BTreeMap::from([(1_u8, 1_u32)]), "in value: the type was u32 and is u16");
}

#[test]
fn a_codec_compares_types_before_a_value_is_read() {
    #[derive(Serialize, Deserialize)]
    enum More {
        New,
        #[serde(alias = "Unit")]
        Renamed,
        Newtype(i128),
        Tuple(u8, Option<String>),
        Struct {
            right: Vec<More>,
            left: Option<Box<More>>,
        },
    }
    #[derive(Serialize, Deserialize)]
    enum Fewer {
        Unit,
        Newtype(i64),
        Struct { left: Option<Box<Fewer>>, right: Vec<Fewer> },
    }
    #[derive(Serialize, Deserialize)]
    struct Positive(std::num::NonZeroU32);
    #[track_caller]
    fn refused<T: 'static>(codec: &dyn Codec<T>, old: &str, expected: &str) {
        let error = codec.evolve(old).err().expect("it fits");
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert!(error.message().contains(expected), "{error}");
    }
    let old = SerdeCodec::<Shapes>::new().id();
    drop(SerdeCodec::<More>::new().evolve(&old).unwrap());
    refused(&SerdeCodec::<Fewer>::new(), &old, r#"the variant "Tuple" was removed"#);
    refused(
        &SerdeCodec::<Shapes>::new(),
        &SerdeCodec::<More>::new().id(),
        r#"the variant "New" was removed"#,
    );
    // It refuses 0, which is one of the samples.
    drop(SerdeCodec::<Positive>::new().evolve("plain:u16").unwrap());
    refused(&SerdeCodec::<Positive>::new(), "plain:u64", "the type was u64 and is u32");
    refused(&SerdeCodec::<u32>::new(), "cbor/1", "cbor/1");
    refused(&SerdeCodec::<u32>::new(), "mine/1", "mine/1");

    fn plain<Old: Plain, New: Plain + PartialEq + std::fmt::Debug>(old: Old, new: New) {
        let mut bytes = Vec::new();
        old.put(&mut bytes);
        let read = Codec::<New>::evolve(&PlainCodec, &Codec::<Old>::id(&PlainCodec)).unwrap();
        assert_eq!(read(&bytes).unwrap(), new);
    }
    plain(7_u32, 7_i64);
    plain(-7_i32, -7.0_f64);
    plain(vec![1_u8, 255], vec![1_u16, 255]);
    plain((1_u8, 2_u8), [1_u16, 2]);
    plain(5_u8, Some(5_u16));
    plain(Some(5_u8), Some(5_u16));
    plain(BTreeMap::from([(1_u8, "a".to_owned())]), HashMap::from([(1_u64, "a".to_owned())]));
    refused::<u32>(&PlainCodec, "plain:u64", "the type was u64 and is u32");
    refused::<Option<Option<u8>>>(&PlainCodec, "plain:option<u8>", "option<u8>");
    refused::<u32>(&PlainCodec, "cbor/1", "shape");
    refused::<u32>(&PlainCodec, "mine/1", "mine/1");
}

#[test]
fn hostile_schemas_and_values_are_refused() {
    for id in ["", "mine/1", "mine/1:u8", "plain:", "plain:point", "postcard/1", "postcard/1:[u8]", "cbor/2"]
    {
        assert_eq!(ValueSchema::parse(id).unwrap_err().kind(), ErrorKind::Unsupported, "{id}");
    }
    let refuse = |id: &str, bytes: &[u8]| {
        let schema = ValueSchema::parse(id).unwrap();
        let error = schema.read::<Datum>(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{id}: {error}");
        let error = schema.encode_canonical(bytes, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{id}: {error}");
    };
    let huge = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    refuse("postcard/1:list<()>", &huge);
    refuse("postcard/1:list<u8>", &huge);
    refuse("postcard/1:map<(),()>", &huge);
    refuse("plain:[u64]", &huge);
    refuse("postcard/1:[();9999999999999]", &[]);
    refuse("postcard/1:[[();65535];65535]", &[]);
    refuse("postcard/1:(^0,^0)", &[]);
    refuse("postcard/1:option<^0>", &[1; 100_000]);
    refuse("postcard/1:enum{}", &[0]);
    refuse("postcard/1:u8", &[1, 2]);
    refuse("postcard/1:u16", &[0xFF, 0xFF, 0x7F]);
    refuse("postcard/1:bool", &[2]);
}
