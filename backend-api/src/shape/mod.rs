//! The shape of a type: the parts of its encoding, in an order that never changes.
//!
//! A shape has a text, which is part of checkpoints and can be parsed:
//!
//! | text | meaning |
//! | --- | --- |
//! | `u8` .. `i128`, `f32`, `f64`, `bool`, `char`, `string`, `bytes`, `()` | one of these |
//! | `option<A>`, `list<A>`, `map<A,B>` | an optional value, a sequence, a map |
//! | `(A,B)`, `(A,)`, `[A;3]` | a tuple; an array, which is a tuple of one type |
//! | `struct{a:A,b:B}` | a struct |
//! | `enum{A,B(A),C(A,B),D{a:A}}` | an enum |
//! | `^0` | the option, list, map, tuple, struct or enum that contains this place; `^1` the one that contains that |
//! | `name:A` | a key type with a name |
//!
//! A name with characters other than letters, digits, `_`, `-` and `.` is quoted. Names of types are not part of
//! a shape, and a newtype has the shape of its content.

mod difference;
mod key_change;
mod known;
mod parse;
pub(crate) mod samples;
mod trace;

pub(crate) use difference::{migration, short};
pub use key_change::{KeyRole, check_key_type};
pub(crate) use known::{Known, skipped};

use std::fmt::{self, Display, Formatter};

/// Deepest nesting of a shape.
const DEPTH_MAX: usize = 128;

/// The parts of an encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Leaf(Leaf),
    Option(Box<Shape>),
    List(Box<Shape>),
    Map(Box<(Shape, Shape)>),
    Tuple(Vec<Shape>),
    Array(Box<Shape>, usize),
    Struct(Vec<(String, Shape)>),
    Enum(Vec<(String, Content)>),
    /// The composite shape this many levels above the innermost one around this place.
    Up(usize),
    Named(String, Box<Shape>),
}

/// The content of an enum's variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Unit,
    Newtype(Shape),
    Tuple(Vec<Shape>),
    Struct(Vec<(String, Shape)>),
}

impl Shape {
    /// The shape of a key type with that name.
    pub fn named(&self, name: &str) -> Self {
        Self::Named(name.to_owned(), Box::new(self.clone()))
    }
}

macro_rules! leaves {
    ($($variant:ident $text:literal),* $(,)?) => {
        /// A shape without parts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Leaf {
            $($variant),*
        }

        impl Leaf {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

leaves! {
    Bool "bool", Char "char", String "string", Bytes "bytes", Unit "()",
    U8 "u8", U16 "u16", U32 "u32", U64 "u64", U128 "u128",
    I8 "i8", I16 "i16", I32 "i32", I64 "i64", I128 "i128",
    F32 "f32", F64 "f64",
}

impl Leaf {
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Bool | Self::Char | Self::String | Self::Bytes | Self::Unit)
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(leaf) => f.write_str(leaf.text()),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Map(entry) => write!(f, "map<{},{}>", entry.0, entry.1),
            Self::Tuple(parts) => tuple(parts, f),
            Self::Array(element, len) => write!(f, "[{element};{len}]"),
            Self::Struct(fields) => {
                f.write_str("struct")?;
                braces(fields, f)
            }
            Self::Enum(variants) => {
                f.write_str("enum{")?;
                for (i, (name, content)) in variants.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    write_name(name, f)?;
                    match content {
                        Content::Unit => {}
                        Content::Newtype(shape) => write!(f, "({shape})")?,
                        // With its comma, a tuple of one part differs from a newtype.
                        Content::Tuple(parts) => tuple(parts, f)?,
                        Content::Struct(fields) => braces(fields, f)?,
                    }
                }
                f.write_str("}")
            }
            Self::Up(levels) => write!(f, "^{levels}"),
            Self::Named(name, shape) => {
                write_name(name, f)?;
                write!(f, ":{shape}")
            }
        }
    }
}

fn tuple(parts: &[Shape], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("(")?;
    for (i, part) in parts.iter().enumerate() {
        write!(f, "{}{part}", if i == 0 { "" } else { "," })?;
    }
    f.write_str(match parts.len() {
        // `()` is the unit.
        0 => ",)",
        1 => ",)",
        _ => ")",
    })
}

fn braces(fields: &[(String, Shape)], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    for (i, (name, shape)) in fields.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { "," })?;
        write_name(name, f)?;
        write!(f, ":{shape}")?;
    }
    f.write_str("}")
}

fn is_plain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(inner)
}

fn write_name(name: &str, f: &mut Formatter<'_>) -> fmt::Result {
    if is_plain(name) {
        return f.write_str(name);
    }
    f.write_str("\"")?;
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn fields(shape: impl Strategy<Value = Shape>) -> impl Strategy<Value = Vec<(String, Shape)>> {
        vec((any::<String>(), shape), 0..4)
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        let leaf = prop_oneof![
            (0..Leaf::ALL.len()).prop_map(|i| Shape::Leaf(Leaf::ALL[i])),
            (0..3_usize).prop_map(Shape::Up),
        ];
        leaf.prop_recursive(4, 32, 4, |shape| {
            let content = prop_oneof![
                Just(Content::Unit),
                shape.clone().prop_map(Content::Newtype),
                vec(shape.clone(), 0..4).prop_map(Content::Tuple),
                fields(shape.clone()).prop_map(Content::Struct),
            ];
            prop_oneof![
                shape.clone().prop_map(|shape| Shape::Option(Box::new(shape))),
                shape.clone().prop_map(|shape| Shape::List(Box::new(shape))),
                (shape.clone(), shape.clone()).prop_map(|entry| Shape::Map(Box::new(entry))),
                vec(shape.clone(), 0..4).prop_map(Shape::Tuple),
                (shape.clone(), 0..40_usize).prop_map(|(shape, len)| Shape::Array(Box::new(shape), len)),
                fields(shape.clone()).prop_map(Shape::Struct),
                vec((any::<String>(), content), 0..4).prop_map(Shape::Enum),
                (any::<String>(), shape).prop_map(|(name, shape)| Shape::Named(name, Box::new(shape))),
            ]
        })
    }

    proptest! {
        /// References may be dangling in these shapes, since only the text is tested.
        #[test]
        fn texts_of_shapes_round_trip(shape in shapes()) {
            let text = shape.to_string();
            prop_assert_eq!(parse::text(&text), Some(shape), "{}", text);
        }

        #[test]
        fn no_text_causes_a_panic(text in "[a-z0-9<>(){}\\[\\];:,^\"\\\\]{0,24}") {
            let _ = Shape::parse(&text);
        }
    }
}
