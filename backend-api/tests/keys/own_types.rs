//! The laws of every key type of the crate, and its frozen bytes and hashes.

use std::sync::Arc;

use backend_api::{ErrorKind, StateKey, StoredKey, StoredText};
use proptest::prelude::*;

use crate::laws::{byte_strings, check_laws, encoded, encoded_last, texts};

macro_rules! integers {
    ($($type:ident),*) => {$(
        #[test]
        fn $type() {
            check_laws(prop_oneof![any::<$type>(), Just($type::MIN), Just($type::MAX), 0..3 as $type]);
            assert_eq!($type::schema(), stringify!($type));
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

#[test]
fn scalars() {
    check_laws(any::<bool>());
    check_laws(any::<char>());
    check_laws(Just(()));
    check_laws(any::<[u8; 3]>());
    check_laws(any::<[u8; 0]>());
}

#[test]
fn strings() {
    check_laws(texts());
    check_laws(texts().prop_map(Box::<str>::from));
    check_laws(texts().prop_map(Arc::<str>::from));
}

#[test]
fn byte_strings_of_all_owners() {
    check_laws(byte_strings());
    check_laws(byte_strings().prop_map(Box::<[u8]>::from));
    check_laws(byte_strings().prop_map(Arc::<[u8]>::from));
}

#[test]
fn options() {
    check_laws(any::<Option<i16>>());
    check_laws(proptest::option::of(texts()));
    check_laws(proptest::option::of(proptest::option::of(texts())));
    check_laws(any::<Option<()>>());
}

#[test]
fn tuples() {
    check_laws((-2..2_i32, texts()));
    check_laws((texts(), -2..2_i64));
    check_laws((texts(), texts()));
    check_laws((any::<()>(), 0..2_u8));
    check_laws((byte_strings(), 0..2_u8, texts()));
    check_laws((0..2_u8, byte_strings(), any::<Option<bool>>(), byte_strings()));
    check_laws(((texts(), 0..2_u8), (texts(), texts())));
}

#[test]
fn the_bytes_are_frozen() {
    assert_eq!(encoded(&0x0102_u16), [1, 2]);
    assert_eq!(encoded(&-1_i32), [0x7F, 0xFF, 0xFF, 0xFF]);
    assert_eq!(encoded(&true), [1]);
    assert_eq!(encoded(&'\u{e9}'), [0, 0, 0, 0xE9]);
    assert_eq!(encoded(&()), []);
    assert_eq!(encoded(&[7_u8, 0]), [7, 0]);
    assert_eq!(encoded(&"a\0b".to_owned()), *b"a\x00\xFFb\x00\x01");
    assert_eq!(encoded(&vec![0_u8]), *b"\x00\xFF\x00\x01");
    assert_eq!(encoded(&None::<u8>), [0]);
    assert_eq!(encoded(&Some(5_u8)), [1, 5]);
    let row = ("a".to_owned(), Some("b".to_owned()));
    assert_eq!(encoded(&row), *b"a\x00\x01\x01b\x00\x01");
    assert_eq!(encoded_last(&row), *b"a\x00\x01\x01b");
}

#[test]
fn the_hashes_are_frozen() {
    // The first three are vectors of XXH3 itself, and the others what its Python binding makes of the bytes.
    assert_eq!(String::new().stable_hash(), 0x2D06_8005_38D3_94C2);
    assert_eq!("a".to_owned().stable_hash(), 0xE6C6_32B6_1E96_4E1F);
    assert_eq!(b"abc".to_vec().stable_hash(), 0x78AF_5F94_892F_3950);
    assert_eq!(1_u64.stable_hash(), 0xF36B_4A1A_44F7_8BF3);
    assert_eq!((-1_i32).stable_hash(), 0xA813_7115_C71A_DA49);
    assert_eq!([7_u8].stable_hash(), 0x4C5C_CA45_D0F4_811F);
    assert_eq!((7_u64, "/index.html".to_owned()).stable_hash(), 0xEF37_3376_CF46_40B9);
    assert_eq!((1_u64, 2_u64).stable_hash(), 0xC484_6C74_C4B3_20AD);
    assert_eq!((0..500).map(|i| (i % 250) as u8).collect::<Vec<_>>().stable_hash(), 0xACBD_8703_44D9_FE73);
    assert_eq!(Some("a".to_owned()).stable_hash(), 0x21C8_3245_4304_9A44);
    assert_eq!(().stable_hash(), 0);
}

#[test]
fn schemas_distinguish_types() {
    assert_eq!(String::schema(), "string");
    assert_eq!(Arc::<str>::schema(), "string");
    assert_eq!(Vec::<u8>::schema(), "bytes");
    assert_eq!(<[u8; 16]>::schema(), "[u8;16]");
    assert_eq!(<()>::schema(), "()");
    assert_eq!(<(bool, char, Option<(i8, u128)>)>::schema(), "(bool,char,option<(i8,u128)>)");
    assert_eq!(<(u8, u8, u8, u8)>::schema(), "(u8,u8,u8,u8)");
}

/// Behaviour 95.
#[test]
fn equal_keys_built_differently_are_equal() {
    let mut roomy = String::with_capacity(100);
    roomy.push_str("key");
    assert!(<String as StateKey>::Stored::store(&roomy).matches(&"key".to_owned()));
    assert_eq!(roomy.stable_hash(), "key".to_owned().stable_hash());
}

#[test]
fn short_keys_own_no_heap() {
    let size = |len: usize| StoredKey::<String>::heap_size(&StoredText::store(&"x".repeat(len)));
    assert_eq!((size(0), size(24), size(25), size(1000)), (0, 0, 32, 1000));
    let pair: (StoredText, StoredText) = StoredKey::store(&("x".repeat(50), "y".repeat(7)));
    assert_eq!(StoredKey::<(String, String)>::heap_size(&pair), 50);
}

#[test]
fn long_tuples_leave_the_stack() {
    for len in 50..80 {
        let key = (7_u64, "x".repeat(len), "tail".to_owned());
        let expected = [&7_u64.to_be_bytes()[..], "x".repeat(len).as_bytes(), b"\x00\x01tail"].concat();
        assert_eq!(key.with_encoded(<[u8]>::to_vec), expected);
    }
}

#[test]
fn extra_bytes_are_refused() {
    assert_eq!(u8::decode_last(&[1, 2]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(Option::<u8>::decode_last(&[0, 2]).unwrap_err().kind(), ErrorKind::Corrupt);
}
