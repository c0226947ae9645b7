use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::*;

#[track_caller]
fn shape<T: DeserializeOwned>(expected: &str) {
    let text = trace::<T>().unwrap().shape.to_string();
    assert_eq!(text, expected);
    assert_eq!(Shape::parse(&text).unwrap().to_string(), text);
}

#[track_caller]
fn refused<T: DeserializeOwned>(reason: &str) {
    let error = trace::<T>().unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Plain {
    a: u32,
    b: Option<String>,
    #[serde(skip)]
    c: u8,
    #[serde(rename = "with space")]
    d: Vec<(u8, char)>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum Kinds {
    Unit,
    Newtype(f64),
    Tuple(i8, bool),
    Struct {
        x: i16,
        y: (),
    },
    #[serde(skip)]
    Hidden,
    Last,
}

#[derive(Deserialize)]
struct Meters(#[allow(dead_code)] f64);

#[derive(Deserialize)]
#[allow(dead_code)]
struct Pair<A, B> {
    left: A,
    right: B,
}

#[test]
fn types_have_the_shape_that_they_read() {
    shape::<u8>("u8");
    shape::<(i128, f32)>("(i128,f32)");
    shape::<Meters>("f64");
    shape::<Plain>(r#"struct{a:u32,b:option<string>,"with space":list<(u8,char)>}"#);
    shape::<Kinds>("enum{Unit,Newtype(f64),Tuple(i8,bool),Struct{x:i16,y:()},Last}");
    shape::<HashMap<String, BTreeSet<[u8; 4]>>>("map<string,list<[u8;4]>>");
    shape::<Pair<Pair<u8, u16>, Pair<u32, Pair<u8, u16>>>>(
        "struct{left:struct{left:u8,right:u16},right:struct{left:u32,right:struct{left:u8,right:u16}}}",
    );
    shape::<Box<[Result<String, ()>]>>("list<enum{Ok(string),Err(())}>");
    shape::<Duration>("struct{secs:u64,nanos:u32}");
    shape::<Option<Option<()>>>("option<option<()>>");
    shape::<std::marker::PhantomData<u8>>("()");
    shape::<[u16; 0]>("(,)");
    shape::<std::net::IpAddr>("enum{V4([u8;4]),V6([u8;16])}");
    shape::<std::ffi::OsString>("enum{Unix(list<u8>),Windows}");
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Chain {
    value: u8,
    next: Option<Box<Chain>>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum Expression {
    Add(Box<Expression>, Box<Expression>),
    Call { name: String, arguments: Vec<Expression> },
    Not(Box<Expression>),
    Number(i64),
    List(Box<Statement>),
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Statement {
    condition: Expression,
    then: BTreeMap<String, Statement>,
}

#[derive(Deserialize)]
struct Tree(#[allow(dead_code)] Vec<Tree>);

#[derive(Deserialize)]
struct Endless(#[allow(dead_code)] Box<Endless>);

#[derive(Deserialize)]
struct EndlessPair(#[allow(dead_code)] Box<EndlessPair>, #[allow(dead_code)] u8);

#[derive(Deserialize)]
enum Never {}

#[test]
fn recursion_ends() {
    shape::<Chain>("struct{value:u8,next:option<^1>}");
    shape::<Tree>("list<^0>");
    shape::<Expression>(
        "enum{Add(^0,^0),Call{name:string,arguments:list<^1>},Not(^0),Number(i64),\
         List(struct{condition:^1,then:map<string,^1>})}",
    );
    refused::<Endless>("contains itself");
    refused::<EndlessPair>("refuses all values");
    shape::<Vec<Never>>("list<enum{}>");
}

#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Untagged {
    A(u8),
    B(String),
}

#[derive(Deserialize)]
#[serde(tag = "t")]
#[allow(dead_code)]
enum Internal {
    A { x: u8 },
    B,
}

#[derive(Deserialize)]
#[serde(tag = "t", content = "c")]
#[allow(dead_code)]
enum Adjacent {
    A(u8),
    B(String),
    C,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    rest: Pair<u8, u8>,
}

/// Reads one thing or another.
#[derive(Debug)]
struct Versioned;

impl<'de> Deserialize<'de> for Versioned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Versioned;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a version and what it has")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Versioned, A::Error> {
                match seq.next_element::<u8>()? {
                    Some(12) => seq.next_element::<String>()?.map(drop),
                    _ => seq.next_element::<u64>()?.map(drop),
                };
                Ok(Versioned)
            }
        }
        deserializer.deserialize_tuple(2, Visitor)
    }
}

#[test]
fn types_that_the_bytes_cannot_carry_are_refused() {
    refused::<Untagged>("asks the bytes what they are");
    refused::<Internal>("asks the bytes what they are");
    refused::<Vec<Option<Flat>>>("asks the bytes what they are");
    refused::<Adjacent>("asks the bytes what they are");
    refused::<Versioned>("depending on values");
    refused::<serde_json::Value>("asks the bytes what they are");
}

#[derive(Deserialize)]
#[serde(try_from = "u8")]
struct Even(#[allow(dead_code)] u8);

impl TryFrom<u8> for Even {
    type Error = String;
    fn try_from(n: u8) -> Result<Self, String> {
        if n > 0 && n.is_multiple_of(2) { Ok(Self(n)) } else { Err("odd".to_owned()) }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Strange;

impl TryFrom<String> for Strange {
    type Error = String;
    fn try_from(_: String) -> Result<Self, String> {
        Err("no".to_owned())
    }
}

#[derive(Deserialize)]
struct Panics;

fn panics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let n = u8::deserialize(deserializer)?;
    assert!(n > 0, "a type may be careless");
    Ok(n)
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Careless {
    #[serde(deserialize_with = "panics")]
    a: u8,
    b: Panics,
}

#[test]
fn types_may_refuse_values() {
    shape::<(Even, NonZeroU32, Even)>("(u8,u32,u8)");
    shape::<HashMap<std::num::NonZeroI64, Even>>("map<i64,u8>");
    // The value of a list or option is not needed.
    shape::<Vec<Strange>>("list<string>");
    shape::<Strange>("string");
    shape::<Careless>("struct{a:u8,b:()}");
    refused::<(Strange, u8)>("refuses all values");
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Aliased {
    #[serde(alias = "a1", alias = "zz")]
    a: u8,
    b: String,
    #[serde(alias = "a2")]
    c: Vec<Aliased>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum AliasedVariants {
    #[serde(alias = "A1")]
    A {
        #[serde(alias = "y")]
        x: u8,
    },
    B,
    #[serde(other, alias = "D")]
    C,
}

#[test]
fn aliases_are_no_fields() {
    shape::<Aliased>("struct{a:u8,b:string,c:list<^1>}");
    shape::<AliasedVariants>(r#"enum{"A|A1"{x:u8},B,"C|D"}"#);
}

#[derive(Serialize, Deserialize)]
#[allow(dead_code)]
enum Skips {
    A,
    #[serde(skip)]
    B,
    C(u8),
}

#[test]
fn written_structs_and_variants_are_compared_with_read_ones() {
    let names = trace::<(Skips, Plain, Pair<u8, u8>, AliasedVariants)>().unwrap().names;
    assert_eq!(names.check_variant("Skips", 0, "A", 0), Ok(()));
    names.check_variant("Skips", 2, "C", 1).unwrap_err();
    names.check_variant("Skips", 1, "B", 0).unwrap_err();
    names.check_variant("Skips", 1, "C", 0).unwrap_err();
    assert_eq!(names.check_variant("Skips", 1, "C", 1), Ok(()));
    assert_eq!(names.check_variant("AliasedVariants", 2, "C", 0), Ok(()));
    assert_eq!(names.check_variant("AliasedVariants", 1, "B", 0), Ok(()));
    names.check_variant("AliasedVariants", 2, "B", 0).unwrap_err();
    assert_eq!(names.check_struct("Plain", 3), Ok(()));
    names.check_struct("Plain", 4).unwrap_err();
    assert_eq!(names.check_struct("Unknown", 4), Ok(()));
}
