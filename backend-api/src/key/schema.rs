//! Encoded keys without their types.

use std::fmt::{self, Display, Formatter, Write};

use xxhash_rust::xxh3::xxh3_64;

use super::ordered::{decode_f32, decode_f64, decode_variant};
use super::{StateKey, bytes, corrupt, take};
use crate::shape::{Content, Leaf, Shape};
use crate::{Error, ErrorKind, Result};

/// A parsed [`schema`](StateKey::schema). It parses encoded keys without the program's types.
///
/// The bytes are those of [`StateKey::encode`]. Rows of checkpoints and of byte stores start with such keys.
///
/// ```
/// use backend_api::{KeySchema, StateKey};
///
/// let mut row = Vec::new();
/// (7_u32, "page".to_owned()).encode(&mut row);
/// row.extend_from_slice(b"the rest");
///
/// let schema = KeySchema::parse("(u32,string)")?;
/// let (key, rest) = schema.split(&row)?;
/// assert_eq!(rest, b"the rest");
/// assert_eq!(schema.print(key)?, r#"(7, "page")"#);
/// assert_eq!(schema.stable_hash(key)?, (7_u32, "page".to_owned()).stable_hash());
/// # Ok::<(), backend_api::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchema(Shape);

impl KeySchema {
    /// Parses the text of a schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for the schema of a [`StateKey`] implemented by hand that does not describe
    /// its encoding.
    pub fn parse(text: &str) -> Result<Self> {
        Shape::parse(text).map(Self).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the key schema {text:?} does not tell what a key consists of"),
            )
        })
    }

    /// The length of the key at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if they do not start with a key of this schema.
    pub fn prefix_len(&self, bytes: &[u8]) -> Result<usize> {
        let mut walk = Walk::new(bytes);
        walk.shape(&self.0, None, &mut Nothing)?;
        Ok(bytes.len() - walk.input.len())
    }

    /// The key at the start of `bytes`, and the rest.
    ///
    /// # Errors
    ///
    /// Same as [`prefix_len`](Self::prefix_len).
    pub fn split<'b>(&self, bytes: &'b [u8]) -> Result<(&'b [u8], &'b [u8])> {
        Ok(bytes.split_at(self.prefix_len(bytes)?))
    }

    /// A key as text for people, similar to its `Debug`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if `key` is not exactly one key.
    pub fn print(&self, key: &[u8]) -> Result<String> {
        let mut text = Text(String::new());
        self.whole(key, &mut text)?;
        Ok(text.0)
    }

    /// The key's [stable hash](StateKey::stable_hash), which decides its key group.
    ///
    /// # Errors
    ///
    /// Same as [`print`](Self::print).
    pub fn stable_hash(&self, key: &[u8]) -> Result<u64> {
        self.whole(key, &mut Nothing)?;
        if self.0 == Shape::Leaf(Leaf::Unit) {
            return Ok(().stable_hash());
        }
        let mut last = Vec::with_capacity(key.len());
        encode_last(&self.0, key, &mut last)?;
        Ok(xxh3_64(&last))
    }

    fn whole(&self, key: &[u8], out: &mut impl Output) -> Result<()> {
        let mut walk = Walk::new(key);
        walk.shape(&self.0, None, out)?;
        if walk.input.is_empty() { Ok(()) } else { Err(corrupt("bytes left over after a key")) }
    }
}

/// The text that [`KeySchema::parse`] reads.
impl Display for KeySchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Converts an encoding into the last-position encoding. See [`StateKey::encode_last`].
fn encode_last(shape: &Shape, mut key: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match shape {
        Shape::Leaf(Leaf::String | Leaf::Bytes) => out.extend(bytes::unescape(&mut key)?),
        Shape::Option(some) => {
            let [tag] = take(&mut key)?;
            out.push(tag);
            if tag == 1 {
                encode_last(some, key, out)?;
            }
        }
        Shape::Tuple(parts) => {
            let Some((last, parts)) = parts.split_last() else { return Ok(()) };
            let mut walk = Walk::new(key);
            parts.iter().try_for_each(|part| walk.shape(part, None, &mut Nothing))?;
            out.extend_from_slice(&key[..key.len() - walk.input.len()]);
            encode_last(last, walk.input, out)?;
        }
        // Serde types have the same encoding in every position.
        _ => out.extend_from_slice(key),
    }
    Ok(())
}

/// The result of a walk over a key.
trait Output {
    fn text(&mut self, text: &str) -> Result<()>;
    fn debug(&mut self, value: &dyn fmt::Debug) -> Result<()>;
}

struct Nothing;

impl Output for Nothing {
    fn text(&mut self, _text: &str) -> Result<()> {
        Ok(())
    }

    fn debug(&mut self, _value: &dyn fmt::Debug) -> Result<()> {
        Ok(())
    }
}

struct Text(String);

impl Output for Text {
    fn text(&mut self, text: &str) -> Result<()> {
        self.0.push_str(text);
        Ok(())
    }

    fn debug(&mut self, value: &dyn fmt::Debug) -> Result<()> {
        write!(self.0, "{value:?}").map_err(|_| corrupt("a key cannot be printed"))
    }
}

/// Deepest nesting of a key.
const DEPTH_MAX: usize = 256;

/// A composite shape, and those around it.
struct Around<'a> {
    shape: &'a Shape,
    outer: Option<&'a Around<'a>>,
}

/// Takes a key off the front of its input.
struct Walk<'i> {
    input: &'i [u8],
    depth: usize,
}

impl<'i> Walk<'i> {
    fn new(input: &'i [u8]) -> Self {
        Self { input, depth: 0 }
    }

    fn shape(&mut self, shape: &Shape, around: Option<&Around<'_>>, out: &mut impl Output) -> Result<()> {
        match shape {
            Shape::Leaf(leaf) => self.leaf(*leaf, out),
            Shape::Named(_, shape) => self.shape(shape, around, out),
            Shape::Up(levels) => {
                let mut target = around;
                for _ in 0..*levels {
                    target = target.and_then(|around| around.outer);
                }
                self.inside(target.ok_or_else(|| corrupt("a key schema refers to nothing"))?, out)
            }
            composite => self.inside(&Around { shape: composite, outer: around }, out),
        }
    }

    fn inside(&mut self, around: &Around<'_>, out: &mut impl Output) -> Result<()> {
        if self.depth == DEPTH_MAX {
            return Err(corrupt("a key is nested too deep"));
        }
        self.depth += 1;
        self.composite(around, out)?;
        self.depth -= 1;
        Ok(())
    }

    fn composite(&mut self, around: &Around<'_>, out: &mut impl Output) -> Result<()> {
        match around.shape {
            Shape::Leaf(_) | Shape::Named(..) | Shape::Up(_) => self.shape(around.shape, around.outer, out),
            Shape::Option(some) => match self.flag()? {
                false => out.text("None"),
                true => self.enclosed("Some(", [&**some], ")", around, out),
            },
            Shape::List(element) => {
                out.text("[")?;
                self.repeated(out, |this, out| this.shape(element, Some(around), out))?;
                out.text("]")
            }
            Shape::Map(entry) => {
                out.text("{")?;
                self.repeated(out, |this, out| {
                    this.shape(&entry.0, Some(around), out)?;
                    out.text(": ")?;
                    this.shape(&entry.1, Some(around), out)
                })?;
                out.text("}")
            }
            Shape::Tuple(parts) => self.enclosed("(", parts, ")", around, out),
            Shape::Array(element, len) => {
                out.text("[")?;
                for i in 0..*len {
                    let before = self.input.len();
                    out.text(if i == 0 { "" } else { ", " })?;
                    self.shape(element, Some(around), out)?;
                    if self.input.len() == before {
                        // The others take no bytes either, and the schema can claim any number of them.
                        break;
                    }
                }
                out.text("]")
            }
            Shape::Struct(fields) => self.fields(fields, around, out),
            Shape::Enum(variants) => {
                let index = self.variant()?;
                let variant = usize::try_from(index).ok().and_then(|index| variants.get(index));
                let (name, content) =
                    variant.ok_or_else(|| corrupt("a key has a variant that its schema lacks"))?;
                out.text(name)?;
                match content {
                    Content::Unit => Ok(()),
                    Content::Newtype(shape) => self.enclosed("(", [shape], ")", around, out),
                    Content::Tuple(parts) => self.enclosed("(", parts, ")", around, out),
                    Content::Struct(fields) => {
                        out.text(" ")?;
                        self.fields(fields, around, out)
                    }
                }
            }
        }
    }

    /// The elements of a list or map: a 1 before each of them, a 0 at the end.
    fn repeated<O: Output>(
        &mut self,
        out: &mut O,
        mut one: impl FnMut(&mut Self, &mut O) -> Result<()>,
    ) -> Result<()> {
        let mut separator = "";
        while self.flag()? {
            out.text(separator)?;
            one(self, out)?;
            separator = ", ";
        }
        Ok(())
    }

    fn enclosed<'s>(
        &mut self,
        open: &str,
        parts: impl IntoIterator<Item = &'s Shape>,
        close: &str,
        around: &Around<'_>,
        out: &mut impl Output,
    ) -> Result<()> {
        out.text(open)?;
        for (i, part) in parts.into_iter().enumerate() {
            out.text(if i == 0 { "" } else { ", " })?;
            self.shape(part, Some(around), out)?;
        }
        out.text(close)
    }

    fn fields(
        &mut self,
        fields: &[(String, Shape)],
        around: &Around<'_>,
        out: &mut impl Output,
    ) -> Result<()> {
        out.text("{")?;
        for (i, (name, shape)) in fields.iter().enumerate() {
            out.text(if i == 0 { "" } else { ", " })?;
            out.text(name)?;
            out.text(": ")?;
            self.shape(shape, Some(around), out)?;
        }
        out.text("}")
    }

    fn flag(&mut self) -> Result<bool> {
        bool::decode(&mut self.input)
    }

    fn variant(&mut self) -> Result<u32> {
        decode_variant(&mut self.input)
    }

    fn leaf(&mut self, leaf: Leaf, out: &mut impl Output) -> Result<()> {
        macro_rules! key {
            ($type:ty) => {
                out.debug(&<$type>::decode(&mut self.input)?)
            };
        }
        match leaf {
            Leaf::Unit => out.text("()"),
            Leaf::Bool => key!(bool),
            Leaf::Char => key!(char),
            Leaf::String => key!(String),
            Leaf::Bytes => {
                let bytes = bytes::unescape(&mut self.input)?;
                out.debug(&format_args!("b\"{}\"", bytes.escape_ascii()))
            }
            Leaf::U8 => key!(u8),
            Leaf::U16 => key!(u16),
            Leaf::U32 => key!(u32),
            Leaf::U64 => key!(u64),
            Leaf::U128 => key!(u128),
            Leaf::I8 => key!(i8),
            Leaf::I16 => key!(i16),
            Leaf::I32 => key!(i32),
            Leaf::I64 => key!(i64),
            Leaf::I128 => key!(i128),
            Leaf::F32 => out.debug(&decode_f32(&mut self.input)?),
            Leaf::F64 => out.debug(&decode_f64(&mut self.input)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<K: StateKey>(key: K, printed: &str) {
        let schema = KeySchema::parse(&K::schema()).unwrap();
        assert_eq!(schema.to_string(), K::schema());
        let mut row = Vec::new();
        key.encode(&mut row);
        assert_eq!(schema.prefix_len(&row).unwrap(), row.len());
        assert_eq!(schema.print(&row).unwrap(), printed);
        assert_eq!(schema.stable_hash(&row).unwrap(), key.stable_hash());
        row.push(7);
        let (key, rest) = schema.split(&row).unwrap();
        assert_eq!(rest, [7]);
        for len in 0..key.len() {
            assert_eq!(schema.prefix_len(&key[..len]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn every_kind_of_key_is_parsed() {
        check((), "()");
        check((), "()");
        check(-7_i8, "-7");
        check((u128::MAX, 'x'), &format!("({}, 'x')", u128::MAX));
        check(true, "true");
        check("a\0b".to_owned(), r#""a\0b""#);
        check(vec![0_u8, 1, 255], r#"b"\x00\x01\xff""#);
        check([1_u8, 2, 3], "[1, 2, 3]");
        check([0_u8; 0], "[]");
        check(Some("a".to_owned()), r#"Some("a")"#);
        check(None::<(u8, String)>, "None");
        check(
            (Some(vec![0_u8]), "b".to_owned(), 5_u16, Some(-1_i64)),
            r#"(Some(b"\x00"), "b", 5, Some(-1))"#,
        );
    }

    #[test]
    fn serde_keys_are_parsed_by_their_shapes() {
        let schema =
            KeySchema::parse("tree:enum{Leaf,Node{left:^0,right:^0,tags:map<string,list<f64>>}}").unwrap();
        // Node { left: Leaf, right: Leaf, tags: {"a": [1.5]} }
        let mut key = vec![1, 0, 0, 1, b'a', 0, 1, 1];
        key.extend((1.5_f64.to_bits() ^ (1 << 63)).to_be_bytes());
        key.extend([0, 0]);
        let printed = r#"Node {left: Leaf, right: Leaf, tags: {"a": [1.5]}}"#;
        assert_eq!(schema.print(&key).unwrap(), printed);
        // A named type has the same encoding in every position.
        assert_eq!(schema.stable_hash(&key).unwrap(), xxh3_64(&key));
        key[0] = 2;
        assert_eq!(schema.print(&key).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn hostile_schemas_and_keys_are_refused() {
        for text in ["", "my-key/1", "(u8", "^0", "option<u8>>", "struct{a}", "\"u8\"", "[u8;]"] {
            assert_eq!(KeySchema::parse(text).unwrap_err().kind(), ErrorKind::Unsupported, "{text}");
        }
        let deep = |open: &str, close: &str| format!("{}u8{}", open.repeat(100_000), close.repeat(100_000));
        KeySchema::parse(&deep("(", ",)")).unwrap_err();
        let endless = KeySchema::parse("(^0,^0)").unwrap();
        assert_eq!(endless.prefix_len(&[]).unwrap_err().kind(), ErrorKind::Corrupt);
        let chain = KeySchema::parse("option<^0>").unwrap();
        assert_eq!(chain.prefix_len(&[1; 1_000_000]).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(KeySchema::parse("[();9999999999]").unwrap().prefix_len(&[]).unwrap(), 0);
    }
}
