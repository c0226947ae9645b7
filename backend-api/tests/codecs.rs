//! The codecs: what they write is frozen, comes back, and is refused when it is anything else.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail as the tests do")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use backend_api::{CborCodec, Codec, ErrorKind, Plain, PlainCodec, SerdeCodec, default_codec};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

fn encoded<T>(codec: &impl Codec<T>, value: &T) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    codec.encode(value, &mut bytes).unwrap();
    bytes.split_off(6)
}

/// The bytes come back as the value; less or more of them are refused, and so is any rubbish.
fn check_laws<T: PartialEq + Debug>(codec: &impl Codec<T>, values: impl Strategy<Value = T>) {
    let whole = |value: T| -> TestCaseResult {
        let mut bytes = encoded(codec, &value);
        prop_assert_eq!(codec.fixed_len().unwrap_or(bytes.len()), bytes.len());
        prop_assert_eq!(&codec.decode(&bytes).unwrap(), &value);
        for len in (0..bytes.len()).step_by(1 + bytes.len() / 32) {
            prop_assert_eq!(codec.decode(&bytes[..len]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        bytes.push(0);
        prop_assert_eq!(codec.decode(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        Ok(())
    };
    if let Err(error) = TestRunner::new(ProptestConfig::with_cases(64)).run(&values, whole) {
        panic!("{}: {error}", codec.id());
    }
    let rubbish = proptest::collection::vec(prop_oneof![0..4_u8, Just(0xFF), any::<u8>()], 0..60);
    let refused = |bytes: Vec<u8>| -> TestCaseResult {
        if let Err(error) = codec.decode(&bytes) {
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
        Ok(())
    };
    if let Err(error) = TestRunner::default().run(&rubbish, refused) {
        panic!("{}: {error}", codec.id());
    }
}

fn check_plain<T: Plain + PartialEq + Debug + Arbitrary>() {
    check_laws(&PlainCodec, any::<T>());
    check_laws(&PlainCodec, proptest::collection::vec(any::<T>(), 0..4));
}

#[test]
fn numbers() {
    check_plain::<u8>();
    check_plain::<u16>();
    check_plain::<u32>();
    check_plain::<u64>();
    check_plain::<u128>();
    check_plain::<usize>();
    check_plain::<i8>();
    check_plain::<i16>();
    check_plain::<i32>();
    check_plain::<i64>();
    check_plain::<i128>();
    check_plain::<isize>();
    check_plain::<f32>();
    check_plain::<f64>();
    check_plain::<bool>();
    check_plain::<char>();
    check_laws(&PlainCodec, Just(()));
}

#[test]
fn types_with_a_fixed_length_report_it() {
    fn len<T: Plain>() -> Option<usize> {
        Codec::<T>::fixed_len(&PlainCodec)
    }
    assert_eq!([len::<u64>(), len::<char>(), len::<()>(), len::<(i64, bool)>()], [8, 4, 0, 9].map(Some));
    assert_eq!([len::<[u16; 3]>(), len::<Box<u8>>()], [6, 1].map(Some));
    assert_eq!([len::<String>(), len::<Vec<u8>>(), len::<Option<u8>>(), len::<(u8, String)>()], [None; 4]);
    assert_eq!(SerdeCodec::<u64>::new().fixed_len(), None);
}

#[test]
fn containers() {
    let strings = || proptest::collection::vec("[a\u{e9}\u{10000}]{0,3}", 0..4);
    let by_number = |keys: u8| proptest::collection::vec((0..keys, "[ab]{0,3}"), 0..4);
    check_laws(&PlainCodec, strings());
    check_laws(&PlainCodec, any::<String>());
    check_laws(&PlainCodec, any::<Option<u32>>());
    check_laws(&PlainCodec, any::<Box<(u8, bool)>>());
    check_laws(&PlainCodec, any::<[u16; 3]>());
    check_laws(&PlainCodec, any::<[u8; 0]>());
    check_laws(&PlainCodec, by_number(9).prop_map(BTreeMap::from_iter));
    check_laws(&PlainCodec, by_number(9).prop_map(HashMap::<_, _>::from_iter));
    check_laws(&PlainCodec, any::<(u8, bool)>());
    check_laws(&PlainCodec, (any::<u64>(), strings(), any::<f64>()));
    check_laws(&PlainCodec, any::<(u8, u16, u32, u64)>());
    check_laws(&PlainCodec, any::<(i8, i16, i32, i64, char)>());
    check_laws(
        &PlainCodec,
        (any::<u8>(), strings(), any::<Option<u8>>(), strings(), any::<bool>(), Just(())),
    );
}

#[test]
fn plain_bytes_are_frozen() {
    assert_eq!(encoded(&PlainCodec, &0x0102_u32), [2, 1, 0, 0]);
    assert_eq!(encoded(&PlainCodec, &-2_i16), [0xFE, 0xFF]);
    assert_eq!(encoded(&PlainCodec, &1.5_f64), [0, 0, 0, 0, 0, 0, 0xF8, 0x3F]);
    assert_eq!(encoded(&PlainCodec, &3_usize), [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(encoded(&PlainCodec, &'\u{e9}'), [0xE9, 0, 0, 0]);
    assert_eq!(encoded(&PlainCodec, &vec![1_u16, 2]), [2, 1, 0, 2, 0]);
    assert_eq!(encoded(&PlainCodec, &vec![7_u8; 300])[..3], [0xAC, 0x02, 7]);
    assert_eq!(encoded(&PlainCodec, &(Some("ab".to_owned()), None::<u8>)), [1, 2, b'a', b'b', 0]);
    assert_eq!(encoded(&PlainCodec, &Box::new([1_u8, 2])), [1, 2]);
    assert_eq!(encoded(&PlainCodec, &BTreeMap::from([(2_u8, 3_u8), (1, 4)])), [2, 1, 4, 2, 3]);
}

#[test]
fn plain_identities_name_the_type() {
    fn id<T: Plain>() -> String {
        Codec::<T>::id(&PlainCodec)
    }
    assert_eq!(id::<u64>(), "plain:u64");
    assert_eq!(id::<(i64, f64)>(), "plain:(i64,f64)");
    assert_eq!(id::<Vec<Option<Box<String>>>>(), "plain:[option<string>]");
    assert_eq!(id::<HashMap<(), [char; 2]>>(), "plain:map<(),[char;2]>");
    assert_eq!(id::<BTreeMap<(), [char; 2]>>(), "plain:map<(),[char;2]>");
}

/// To allocate for one of these lengths would end the process.
#[test]
fn lengths_beyond_the_data_are_refused_before_allocating() {
    let lengths: [&[u8]; 4] = [
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02],
    ];
    fn refused<T: Debug>(codec: &impl Codec<T>, bytes: &[u8]) {
        assert_eq!(codec.decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    for length in lengths {
        refused::<Vec<u8>>(&PlainCodec, length);
        let bytes = [length, &[1; 100]].concat();
        refused::<Vec<u8>>(&PlainCodec, &bytes);
        refused::<Vec<u64>>(&PlainCodec, &bytes);
        refused::<Vec<[u64; 4]>>(&PlainCodec, &bytes);
        refused::<Vec<Vec<String>>>(&PlainCodec, &bytes);
        refused::<String>(&PlainCodec, &bytes);
        refused::<HashMap<u8, u8>>(&PlainCodec, &bytes);
        refused::<BTreeMap<u8, u8>>(&PlainCodec, &bytes);
        refused::<Vec<u8>>(&SerdeCodec::new(), &bytes);
        refused::<Vec<[u64; 4]>>(&SerdeCodec::new(), &bytes);
        refused::<String>(&SerdeCodec::new(), &bytes);
        refused::<HashMap<u64, u64>>(&SerdeCodec::new(), &bytes);
    }
}

#[test]
fn a_map_with_a_duplicate_key_is_refused() {
    let codec: &dyn Codec<BTreeMap<u8, u8>> = &PlainCodec;
    assert_eq!(codec.decode(&[2, 1, 1, 1, 2]).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn plain_values_know_their_heap_size() {
    assert_eq!(Codec::<u64>::heap_size(&PlainCodec, &1), 0);
    // What a value holds, not what it has room for: a clone must count as much as the original.
    let mut spacious = String::with_capacity(40);
    spacious.push_str("seven");
    assert_eq!(PlainCodec.heap_size(&spacious), 5);
    assert_eq!(PlainCodec.heap_size(&spacious.clone()), 5);
    assert_eq!(PlainCodec.heap_size(&vec![0_u64; 5]), 40);
    assert_eq!(PlainCodec.heap_size(&Box::new(7_u32)), 4);
    let strings = ["nine long".to_owned(), "do".to_owned()];
    assert_eq!(PlainCodec.heap_size(&(Some(strings), 1_u8)), 11);
    assert_eq!(PlainCodec.heap_size(&vec!["ab".to_owned(), String::new()]), 2 * size_of::<String>() + 2);
    let map = HashMap::from([(1_u8, "abc".to_owned())]);
    assert_eq!(PlainCodec.heap_size(&map), size_of::<(u8, String)>() + 3);
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Session {
    user: String,
    pages: Vec<(u32, String)>,
    state: State,
    seen: BTreeMap<u16, Option<f64>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    Open,
    Closed {
        at: i64,
    },
}

fn sessions() -> impl Strategy<Value = Session> {
    let state = prop_oneof![Just(State::Open), any::<i64>().prop_map(|at| State::Closed { at })];
    let pages = proptest::collection::vec((any::<u32>(), "[ab]{0,3}"), 0..4);
    let seen = proptest::collection::btree_map(any::<u16>(), any::<Option<f64>>(), 0..4);
    ("[a\u{e9}]{0,3}", pages, state, seen).prop_map(|(user, pages, state, seen)| Session {
        user,
        pages,
        state,
        seen,
    })
}

#[test]
fn serde_types() {
    check_laws(&SerdeCodec::new(), sessions());
    check_laws(&SerdeCodec::new(), any::<HashMap<u16, i128>>());
    check_laws(&SerdeCodec::new(), any::<Option<Box<(u8, char)>>>());
    assert!(SerdeCodec::<Session>::new().id().starts_with("postcard/1:struct{user:string,"));
}

#[test]
fn serde_bytes_are_those_of_postcard() {
    let session = Session { user: "ada".into(), pages: vec![(300, "p".into())], ..Session::default() };
    assert_eq!(encoded(&SerdeCodec::new(), &session), [3, b'a', b'd', b'a', 1, 0xAC, 2, 1, b'p', 0, 0]);
    assert_eq!(encoded(&SerdeCodec::new(), &session), postcard::to_allocvec(&session).unwrap());
}

#[test]
fn a_value_that_does_not_serialize_leaves_the_buffer_unchanged() {
    #[derive(Debug, Deserialize)]
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken"))
        }
    }
    let mut bytes = b"before".to_vec();
    let error = SerdeCodec::new().encode(&(5_u8, Broken), &mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.message().contains("broken") && error.message().contains("CborCodec"), "{error}");
    assert_eq!(bytes, b"before");
    assert_eq!(SerdeCodec::new().heap_size(&("abc".to_owned(), Broken)), 3);
}

#[test]
fn serde_values_estimate_their_heap_size() {
    let session = Session {
        user: "ada".into(),
        pages: vec![(1, "ab".into()), (2, "c".into())],
        state: State::Open,
        seen: BTreeMap::from([(1, None), (2, Some(0.5))]),
    };
    let pages = 2 * (size_of::<u32>() + size_of::<String>()) + 3;
    let seen = 2 * size_of::<u16>() + size_of::<f64>();
    assert_eq!(SerdeCodec::new().heap_size(&session), 3 + pages + seen);
    assert_eq!(SerdeCodec::new().heap_size(&vec![vec!["ab".to_owned()]; 10]), 10 * (24 + 24 + 2));
    assert_eq!(SerdeCodec::new().heap_size(&(vec![State::Closed { at: 1 }, State::Open], 7_u8)), 4 + 8 + 4);
    assert_eq!(SerdeCodec::new().heap_size(&State::Closed { at: 1 }), 0);
    assert_eq!(SerdeCodec::new().heap_size(&[Some("xyz".to_owned()), None]), 3);
}

/// Which codec a type has decides what the bytes in files mean.
#[test]
fn the_choice_of_codecs_is_frozen() {
    macro_rules! check {
        ($($type:ty => $id:literal),* $(,)?) => {$( assert_eq!(default_codec::<$type>().id(), $id); )*};
    }
    check!(
        u8 => "plain:u8", u16 => "plain:u16", u32 => "plain:u32", u64 => "plain:u64", u128 => "plain:u128",
        i8 => "plain:i8", i16 => "plain:i16", i32 => "plain:i32", i64 => "plain:i64", i128 => "plain:i128",
        usize => "plain:usize", isize => "plain:isize", f32 => "plain:f32", f64 => "plain:f64",
        bool => "plain:bool", char => "plain:char", () => "plain:()", String => "plain:string",
        Vec<u8> => "plain:[u8]", Vec<i64> => "plain:[i64]", Vec<f32> => "plain:[f32]",
        Vec<String> => "plain:[string]", Vec<Vec<u8>> => "plain:[[u8]]",
        Option<u64> => "plain:option<u64>", Option<String> => "plain:option<string>",
        (u64, u64) => "plain:(u64,u64)", (i64, i64) => "plain:(i64,i64)", (f64, u64) => "plain:(f64,u64)",
        (u64, f64) => "plain:(u64,f64)", (i64, u64) => "plain:(i64,u64)", (String, u64) => "plain:(string,u64)",
        (u64, u64, u64) => "plain:(u64,u64,u64)", (i64, i64, i64) => "plain:(i64,i64,i64)",
        (u8, u8) => "postcard/1:[u8;2]",
        Option<Option<u8>> => "postcard/1:option<option<u8>>", HashMap<u8, u8> => "postcard/1:map<u8,u8>",
    );
}

#[test]
fn the_chosen_codec_reads_what_it_wrote() {
    let codec = default_codec::<(String, u64)>();
    let mut bytes = Vec::new();
    codec.encode(&("ab".to_owned(), 1), &mut bytes).unwrap();
    assert_eq!(bytes, *b"\x02ab\x01\0\0\0\0\0\0\0");
    assert_eq!(codec.decode(&bytes).unwrap(), ("ab".to_owned(), 1));
}

/// Serde's attributes, on one type each: what the compact codec refuses, when and how, CBOR carries.
mod attributes {
    use super::*;

    #[track_caller]
    fn refused_type<T: Serialize + DeserializeOwned + Send + Sync + 'static>() {
        let error = SerdeCodec::<T>::new().check_type().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(std::any::type_name::<T>()), "{error}");
        assert!(error.message().contains("CborCodec"), "{error}");
    }

    #[track_caller]
    fn refused_value<T: Serialize + DeserializeOwned + Send + Sync + 'static>(value: T, what: &str) {
        let codec = SerdeCodec::<T>::new();
        codec.check_type().unwrap();
        let mut bytes = b"before".to_vec();
        // Once more: what was refused is not taken for seen.
        for _ in 0..2 {
            let error = codec.encode(&value, &mut bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Codec);
            assert!(error.message().contains(what) && error.message().contains("CborCodec"), "{error}");
            assert_eq!(bytes, b"before");
        }
    }

    #[track_caller]
    fn carried<T: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static>(value: T) {
        Codec::<T>::check_type(&CborCodec).unwrap();
        let bytes = encoded(&CborCodec, &value);
        assert_eq!(Codec::<T>::decode(&CborCodec, &bytes).unwrap(), value);
        let error = Codec::<T>::decode(&CborCodec, &[&bytes[..], &[0]].concat()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        A(u8),
        B(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "t")]
    enum Internal {
        A { x: u8 },
        B,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        A(u8),
        B(String),
        C,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }

    #[test]
    fn that_need_a_format_which_describes_itself() {
        refused_type::<Untagged>();
        refused_type::<Internal>();
        refused_type::<Adjacent>();
        refused_type::<Flat>();
        refused_type::<HashMap<String, Vec<Option<Flat>>>>();
        carried(vec![Untagged::A(1), Untagged::B("b".to_owned())]);
        carried(vec![Internal::A { x: 1 }, Internal::B]);
        carried(vec![Adjacent::A(1), Adjacent::B("b".to_owned()), Adjacent::C]);
        carried(Flat { a: 1, rest: BTreeMap::from([("b".to_owned(), 2)]) });
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Skips {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        b: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum SkipsInside {
        A,
        V {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            a: Option<u8>,
            b: u8,
        },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct WritesLess {
        a: u8,
        #[serde(skip_serializing, default)]
        b: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct ReadsLess(u8, u16, #[serde(skip_deserializing)] u8);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Hides {
        A,
        #[serde(skip)]
        #[allow(dead_code)]
        B,
        C,
        D(u8),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum HidesOneSided {
        #[serde(skip_deserializing)]
        A(u8),
        B(u8),
        C(u8),
    }

    #[test]
    fn that_the_reader_cannot_see() {
        let whole = encoded(&SerdeCodec::new(), &Skips { a: Some(1), b: 2 });
        assert_eq!(whole, [1, 1, 2]);
        refused_value(Skips { a: None, b: 0 }, "a");
        refused_value(vec![Some(SkipsInside::V { a: None, b: 0 })], "a");
        refused_value(WritesLess { a: 1, b: 0 }, "WritesLess writes 1 fields and reads 2");
        refused_value(("before", ReadsLess(1, 2, 3)).1, "ReadsLess writes 3 fields and reads 2");
        refused_value(Hides::C, "the variant C as number 2");
        refused_value((1_u8, Hides::D(1)), "the variant D as number 3");
        refused_value(HidesOneSided::A(5), "the variant A as number 0");
        refused_value(HidesOneSided::B(5), "the variant B as number 1");
        assert_eq!(encoded(&SerdeCodec::new(), &Hides::A), [0]);
        carried(Skips { a: None, b: 0 });
        carried(vec![Some(SkipsInside::V { a: None, b: 0 }), Some(SkipsInside::A)]);
        carried(Hides::C);
        carried(HidesOneSided::B(5));
    }
}

/// The example of `docs/formats.md`.
#[test]
fn the_documented_id_is_the_codecs() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Visit {
        page: String,
        at: u64,
        from: Option<String>,
    }
    let id = SerdeCodec::<Visit>::new().id();
    assert_eq!(id, "postcard/1:struct{page:string,at:u64,from:option<string>}");
    assert!(include_str!("../../docs/formats.md").contains(&format!("`{id}`")), "{id}");
}
