//! A value of any type.

use std::fmt::{self, Display, Formatter, Write};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::Result;

/// A value as its bytes describe it. [`ValueSchema`](super::ValueSchema) reads it.
///
/// A struct is a map with its field names as keys. A variant is its name, or a map from its name to its
/// content.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// `()` and `None`.
    Null,
    /// A bool.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// An integer above `i128::MAX`.
    Large(u128),
    /// A floating-point number.
    Float(f64),
    /// A string or a character.
    Text(String),
    /// A byte string, or a list of bytes.
    Bytes(Vec<u8>),
    /// A list, tuple or array.
    List(Vec<Datum>),
    /// A map or a struct, in its order.
    Map(Vec<(Datum, Datum)>),
}

impl Datum {
    /// Reads a value from CBOR, such as that of canonical savepoints.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the bytes are not CBOR, or have bytes after it.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self> {
        crate::codec::read_cbor(bytes)
    }
}

/// The same as in JSON, except that byte strings are hexadecimal (`0x00ff`) and the keys of maps have any
/// type.
impl Display for Datum {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Large(value) => value.fmt(f),
            Self::Float(value) => fmt::Debug::fmt(value, f),
            Self::Text(text) => quote(text, f),
            Self::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::List(elements) => {
                f.write_char('[')?;
                for (i, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if i == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            Self::Map(entries) => {
                f.write_char('{')?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_char('}')
            }
        }
    }
}

fn quote(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// In human-readable formats, byte strings are hexadecimal strings, and all keys of maps are strings.
impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                // Most readers of JSON support numbers up to 64 bits.
                _ if serializer.is_human_readable() => serializer.collect_str(value),
                _ => serializer.serialize_i128(*value),
            },
            Self::Large(value) if serializer.is_human_readable() => serializer.collect_str(value),
            Self::Large(value) => serializer.serialize_u128(*value),
            // JSON has no such numbers.
            Self::Float(value) if !value.is_finite() && serializer.is_human_readable() => {
                serializer.collect_str(value)
            }
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(_) if serializer.is_human_readable() => serializer.collect_str(self),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(elements) => serializer.collect_seq(elements),
            Self::Map(entries) => {
                let readable = serializer.is_human_readable();
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    match key {
                        Self::Text(_) => map.serialize_entry(key, value)?,
                        _ if readable => map.serialize_entry(&key.to_string(), value)?,
                        _ => map.serialize_entry(key, value)?,
                    }
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Datum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Datum;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Datum, E> {
        Ok(Datum::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Datum, E> {
        Ok(Datum::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Datum, E> {
        Ok(Datum::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Datum, E> {
        Ok(Datum::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Datum, E> {
        Ok(i128::try_from(value).map_or(Datum::Large(value), Datum::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Datum, E> {
        Ok(Datum::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Datum, E> {
        Ok(Datum::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Datum, E> {
        Ok(Datum::Bytes(value.to_vec()))
    }

    fn visit_unit<E>(self) -> Result<Datum, E> {
        Ok(Datum::Null)
    }

    fn visit_none<E>(self) -> Result<Datum, E> {
        Ok(Datum::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Datum, D::Error> {
        Datum::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Datum, D::Error> {
        Datum::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Datum, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Datum::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Datum, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Datum::Map(map))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, tagged: A) -> Result<Datum, A::Error> {
        // The form of a CBOR tag. Only its value is used.
        use serde::de::VariantAccess;
        let (_, content) = tagged.variant::<de::IgnoredAny>()?;
        content.newtype_variant::<Datum>()
    }
}
