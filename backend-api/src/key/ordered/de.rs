//! Deserializing.

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::{DEPTH_MAX, WIDE_VARIANT};
use crate::key::{StateKey, bytes, corrupt, take};
use crate::{Error, ErrorKind, Result};

pub(crate) fn decode_f32(input: &mut &[u8]) -> Result<f32> {
    let bits = u32::decode(input)?;
    let flip = if bits >> 31 == 0 { u32::MAX } else { 1 << 31 };
    Ok(f32::from_bits(bits ^ flip))
}

pub(crate) fn decode_f64(input: &mut &[u8]) -> Result<f64> {
    let bits = u64::decode(input)?;
    let flip = if bits >> 63 == 0 { u64::MAX } else { 1 << 63 };
    Ok(f64::from_bits(bits ^ flip))
}

/// The index of a variant.
pub(crate) fn decode_variant(input: &mut &[u8]) -> Result<u32> {
    match take(input)? {
        [WIDE_VARIANT] => match u32::decode(input)? {
            index if index >= u32::from(WIDE_VARIANT) => Ok(index),
            _ => Err(corrupt("a variant is written wider than need be")),
        },
        [index] => Ok(u32::from(index)),
    }
}

pub(super) struct Deserializer<'a, 'i> {
    input: &'a mut &'i [u8],
    depth: u8,
}

impl<'a, 'i> Deserializer<'a, 'i> {
    pub(super) fn new(input: &'a mut &'i [u8]) -> Self {
        Self { input, depth: 0 }
    }

    /// Reads something that can be nested.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH_MAX {
            return Err(corrupt("a key is nested too deep"));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Reads the byte before each element and at the end of a sequence.
    fn more(&mut self) -> Result<bool> {
        bool::decode(self.input)
    }
}

#[cold]
fn not_self_describing<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "a key's type asks for a format that describes itself"))
}

macro_rules! fixed_width {
    ($($method:ident $visit:ident: $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(<$type>::decode(self.input)?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'_, '_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    fixed_width!(
        deserialize_bool visit_bool: bool, deserialize_char visit_char: char,
        deserialize_i8 visit_i8: i8, deserialize_i16 visit_i16: i16, deserialize_i32 visit_i32: i32,
        deserialize_i64 visit_i64: i64, deserialize_i128 visit_i128: i128,
        deserialize_u8 visit_u8: u8, deserialize_u16 visit_u16: u16, deserialize_u32 visit_u32: u32,
        deserialize_u64 visit_u64: u64, deserialize_u128 visit_u128: u128
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f32(decode_f32(self.input)?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f64(decode_f64(self.input)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_string(bytes::text(bytes::unescape(self.input)?)?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_byte_buf(bytes::unescape(self.input)?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.more()? { self.nested(|this| visitor.visit_some(this)) } else { visitor.visit_none() }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nested(|this| {
            let mut elements = Elements { of: this, ended: false };
            let value = visitor.visit_seq(&mut elements)?;
            elements.finish()?;
            Ok(value)
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nested(|this| {
            let mut entries = Elements { of: this, ended: false };
            let value = visitor.visit_map(&mut entries)?;
            entries.finish()?;
            Ok(value)
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Fields { of: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.nested(|this| visitor.visit_enum(this))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        not_self_describing()
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        not_self_describing()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        not_self_describing()
    }
}

/// The fields of a struct or a tuple.
struct Fields<'a, 'b, 'i> {
    of: &'a mut Deserializer<'b, 'i>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Fields<'_, '_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.of).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The elements of a sequence, or the entries of a map, until the byte that ends them.
struct Elements<'a, 'b, 'i> {
    of: &'a mut Deserializer<'b, 'i>,
    ended: bool,
}

impl Elements<'_, '_, '_> {
    fn next<'de, T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.ended || !self.of.more()? {
            self.ended = true;
            return Ok(None);
        }
        seed.deserialize(&mut *self.of).map(Some)
    }

    /// A visitor of a fixed number of elements does not ask for the end.
    fn finish(&mut self) -> Result<()> {
        if self.ended || !self.of.more()? { Ok(()) } else { Err(corrupt("a sequence is too long")) }
    }
}

impl<'de> de::SeqAccess<'de> for &mut Elements<'_, '_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next(seed)
    }
}

impl<'de> de::MapAccess<'de> for &mut Elements<'_, '_, '_> {
    type Error = Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        seed.deserialize(&mut *self.of)
    }
}

impl<'de> de::EnumAccess<'de> for &mut Deserializer<'_, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self)> {
        let index: de::value::U32Deserializer<Error> = decode_variant(self.input)?.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Deserializer<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_tuple(self, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        de::Deserializer::deserialize_tuple(self, fields.len(), visitor)
    }
}
