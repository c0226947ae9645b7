//! Reads a value by its shape.

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::error::ReadError;
use super::source::{Integer, Result, Source};
use crate::shape::{Content, Leaf, Shape};

/// Maximum depth of a value.
pub(super) const DEPTH_MAX: usize = 128;

/// A composite shape, and the shapes around it.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub shape: &'a Shape,
    outer: Option<&'a Around<'a>>,
    depth: usize,
}

impl<'a> Around<'a> {
    /// The shape at a place: a leaf, or a composite shape with the shapes around it.
    pub fn resolve(mut shape: &'a Shape, mut outer: Option<&'a Self>) -> Result<Self> {
        loop {
            match shape {
                Shape::Named(_, named) => shape = named,
                Shape::Up(levels) => {
                    for _ in 0..*levels {
                        outer = outer.and_then(|around| around.outer);
                    }
                    let target = outer.ok_or_else(|| ReadError::corrupt("a shape refers to nothing"))?;
                    (shape, outer) = (target.shape, target.outer);
                }
                _ => break,
            }
        }
        Ok(Self { shape, outer, depth: 0 })
    }
}

/// A place in a value.
pub(super) struct Reader<'r, S> {
    pub source: &'r mut S,
    pub shape: &'r Shape,
    pub outer: Option<&'r Around<'r>>,
    pub depth: usize,
}

impl<'r, S: Source> Reader<'r, S> {
    pub fn new(source: &'r mut S, shape: &'r Shape) -> Self {
        Self { source, shape, outer: None, depth: 0 }
    }

    /// Opens the place. Returns its shape and depth.
    fn open(&self) -> Result<Around<'r>> {
        let around = Around::resolve(self.shape, self.outer)?;
        if self.depth >= DEPTH_MAX {
            return Err(ReadError::corrupt("a value is nested too deep"));
        }
        Ok(Around { depth: self.depth + 1, ..around })
    }

    fn leaf(&self) -> Result<Option<Leaf>> {
        Ok(match Around::resolve(self.shape, self.outer)?.shape {
            Shape::Leaf(leaf) => Some(*leaf),
            _ => None,
        })
    }

    /// The error of a type that expects another shape.
    #[cold]
    fn unfit(&self, asked: &str) -> ReadError {
        let shape = Around::resolve(self.shape, self.outer).map_or(self.shape, |around| around.shape);
        ReadError::unfit(format!("the type was {} and is {asked}", crate::shape::short(shape)))
    }

    /// Reads an integer that the type `asked` can hold.
    #[inline]
    fn integer(&mut self, asked: Leaf) -> Result<Integer> {
        match self.leaf()? {
            Some(leaf) if leaf == asked || widens(leaf, asked) => self.source.integer(leaf),
            _ => Err(self.unfit(asked.text())),
        }
    }

    fn float(&mut self, asked: Leaf) -> Result<f64> {
        let leaf = self.leaf()?;
        match leaf {
            Some(leaf @ (Leaf::F32 | Leaf::F64)) if leaf == asked || widens(leaf, asked) => {
                self.source.float(leaf)
            }
            Some(leaf) if widens(leaf, asked) => Ok(match self.source.integer(leaf)? {
                Integer::Signed(number) => number as f64,
                Integer::Unsigned(number) => number as f64,
            }),
            _ => Err(self.unfit(asked.text())),
        }
    }
}

/// True if every number of type `from` is one of type `to`.
pub(super) fn widens(from: Leaf, to: Leaf) -> bool {
    /// Bits of the magnitude, and true for a signed type.
    fn bits(leaf: Leaf) -> Option<(u32, bool)> {
        Some(match leaf {
            Leaf::U8 => (8, false),
            Leaf::U16 => (16, false),
            Leaf::U32 => (32, false),
            Leaf::U64 => (64, false),
            Leaf::U128 => (128, false),
            Leaf::I8 => (7, true),
            Leaf::I16 => (15, true),
            Leaf::I32 => (31, true),
            Leaf::I64 => (63, true),
            Leaf::I128 => (127, true),
            Leaf::F32 => (24, true),
            Leaf::F64 => (53, true),
            _ => return None,
        })
    }
    let is_float = |leaf| matches!(leaf, Leaf::F32 | Leaf::F64);
    match (bits(from), bits(to)) {
        (Some((from_bits, from_sign)), Some((to_bits, to_sign))) => {
            from_bits <= to_bits && (to_sign || !from_sign) && (is_float(to) || !is_float(from))
        }
        _ => false,
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $leaf:ident $type:ty),* $(,)?) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
            let number = match self.integer(Leaf::$leaf)? {
                Integer::Signed(number) => <$type>::try_from(number).ok(),
                Integer::Unsigned(number) => <$type>::try_from(number).ok(),
            };
            visitor.$visit(number.ok_or_else(|| ReadError::corrupt("a number is out of range"))?)
        }
    )*};
}

impl<'de, S: Source> Deserializer<'de> for Reader<'_, S> {
    type Error = ReadError;

    fn is_human_readable(&self) -> bool {
        false
    }

    integers!(
        deserialize_u8 visit_u8 U8 u8, deserialize_u16 visit_u16 U16 u16, deserialize_u32 visit_u32 U32 u32,
        deserialize_u64 visit_u64 U64 u64, deserialize_u128 visit_u128 U128 u128,
        deserialize_i8 visit_i8 I8 i8, deserialize_i16 visit_i16 I16 i16, deserialize_i32 visit_i32 I32 i32,
        deserialize_i64 visit_i64 I64 i64, deserialize_i128 visit_i128 I128 i128,
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let around = self.open()?;
        match around.shape {
            Shape::Leaf(leaf) => match leaf {
                Leaf::Bool => self.deserialize_bool(visitor),
                Leaf::Char => self.deserialize_char(visitor),
                Leaf::String => self.deserialize_str(visitor),
                Leaf::Bytes => self.deserialize_bytes(visitor),
                Leaf::Unit => visitor.visit_unit(),
                Leaf::U8 => self.deserialize_u8(visitor),
                Leaf::U16 => self.deserialize_u16(visitor),
                Leaf::U32 => self.deserialize_u32(visitor),
                Leaf::U64 => self.deserialize_u64(visitor),
                Leaf::U128 => self.deserialize_u128(visitor),
                Leaf::I8 => self.deserialize_i8(visitor),
                Leaf::I16 => self.deserialize_i16(visitor),
                Leaf::I32 => self.deserialize_i32(visitor),
                Leaf::I64 => self.deserialize_i64(visitor),
                Leaf::I128 => self.deserialize_i128(visitor),
                Leaf::F32 => self.deserialize_f32(visitor),
                Leaf::F64 => self.deserialize_f64(visitor),
            },
            Shape::Option(_) => self.deserialize_option(visitor),
            Shape::List(element) | Shape::Array(element, _) if **element == Shape::Leaf(Leaf::U8) => {
                self.deserialize_bytes(visitor)
            }
            Shape::List(_) | Shape::Array(..) | Shape::Tuple(_) => self.deserialize_seq(visitor),
            Shape::Map(_) => self.deserialize_map(visitor),
            Shape::Struct(_) => self.deserialize_struct("", &[], visitor),
            Shape::Enum(variants) => {
                let (name, content) = variant(self.source, around.shape, variants)?;
                if *content == Content::Unit {
                    return visitor.visit_str(name);
                }
                visitor.visit_map(Tagged(Some((name, Variant { source: self.source, around, content }))))
            }
            Shape::Named(..) | Shape::Up(_) => Err(ReadError::corrupt("a shape refers to itself")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.leaf()? {
            Some(Leaf::Bool) => visitor.visit_bool(self.source.bool()?),
            _ => Err(self.unfit("bool")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.leaf()? {
            Some(Leaf::Char) => visitor.visit_char(self.source.char()?),
            _ => Err(self.unfit("char")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        visitor.visit_f32(self.float(Leaf::F32)? as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        visitor.visit_f64(self.float(Leaf::F64)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.leaf()? {
            Some(Leaf::String) => visitor.visit_str(self.source.text()?),
            _ => Err(self.unfit("string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let around = self.open()?;
        let len = match around.shape {
            Shape::Leaf(Leaf::Bytes) => return visitor.visit_bytes(self.source.bytes()?),
            Shape::List(element) if **element == Shape::Leaf(Leaf::U8) => self.source.len(around.shape)?,
            Shape::Array(element, len) if **element == Shape::Leaf(Leaf::U8) => *len,
            _ => return Err(self.unfit("bytes")),
        };
        let mut bytes = Vec::with_capacity(len.min(self.source.left()));
        for _ in 0..len {
            match self.source.integer(Leaf::U8)? {
                Integer::Unsigned(byte) => bytes.push(byte as u8),
                Integer::Signed(_) => return Err(ReadError::corrupt("no byte")),
            }
        }
        visitor.visit_byte_buf(bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let around = self.open()?;
        let Shape::Option(some) = around.shape else { return visitor.visit_some(self) };
        if !self.source.is_some(around.shape)? {
            return visitor.visit_none();
        }
        visitor.visit_some(around.part(self.source, some)).map_err(|error| error.within("Some"))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.leaf()? {
            Some(Leaf::Unit) => visitor.visit_unit(),
            _ => Err(self.unfit("()")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let around = self.open()?;
        match around.shape {
            Shape::Leaf(Leaf::Bytes) => {
                let bytes = self.source.bytes()?.to_vec();
                visitor.visit_seq(SeqDeserializer::new(bytes.into_iter()))
            }
            Shape::List(element) => {
                let len = self.source.len(around.shape)?;
                around.sequence(self.source, Parts::Same(element, len), visitor)
            }
            Shape::Array(element, len) => around.sequence(self.source, Parts::Same(element, *len), visitor),
            Shape::Tuple(parts) => around.sequence(self.source, Parts::Each(parts), visitor),
            _ => Err(self.unfit("a sequence")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        let around = self.open()?;
        let is_len = match around.shape {
            Shape::Array(_, known) => *known == len,
            Shape::Tuple(parts) => parts.len() == len,
            _ => false,
        };
        if is_len { self.deserialize_seq(visitor) } else { Err(self.unfit(&format!("a tuple of {len}"))) }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let around = self.open()?;
        let Shape::Map(entry) = around.shape else { return Err(self.unfit("a map")) };
        let left = self.source.len(around.shape)?;
        let mut entries = Entries { source: self.source, around: &around, entry, left };
        let value = visitor.visit_map(&mut entries)?;
        ended(entries.left)?;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let around = self.open()?;
        match around.shape {
            Shape::Struct(fields) => around.fields(self.source, fields, visitor),
            _ => Err(self.unfit("a struct")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let around = self.open()?;
        let Shape::Enum(variants) = around.shape else { return Err(self.unfit("an enum")) };
        let (name, content) = variant(self.source, around.shape, variants)?;
        visitor.visit_enum(Named { name, variant: Variant { source: self.source, around, content } })
    }
}

/// The variant of the value at an enum.
pub(super) fn variant<'s>(
    source: &mut impl Source,
    shape: &Shape,
    variants: &'s [(String, Content)],
) -> Result<(&'s str, &'s Content)> {
    let found = variants.get(source.variant(shape)?);
    let (name, content) =
        found.ok_or_else(|| ReadError::corrupt("a value has a variant that its shape lacks"))?;
    Ok((name, content))
}

/// A visitor that leaves parts unread would read them as the next value.
fn ended(left: usize) -> Result<()> {
    if left == 0 { Ok(()) } else { Err(ReadError::unfit(format!("{left} parts are not read"))) }
}

impl<'a> Around<'a> {
    fn part<'r, S>(&'r self, source: &'r mut S, shape: &'r Shape) -> Reader<'r, S> {
        Reader { source, shape, outer: Some(self), depth: self.depth }
    }

    fn sequence<'de, V: Visitor<'de>>(
        &self,
        source: &mut impl Source,
        parts: Parts<'_>,
        visitor: V,
    ) -> Result<V::Value> {
        let mut sequence = Sequence { source, around: self, parts, index: 0 };
        let value = visitor.visit_seq(&mut sequence)?;
        ended(sequence.left())?;
        Ok(value)
    }

    fn fields<'de, V: Visitor<'de>>(
        &self,
        source: &mut impl Source,
        fields: &[(String, Shape)],
        visitor: V,
    ) -> Result<V::Value> {
        let mut fields = Fields { source, around: self, fields };
        let value = visitor.visit_map(&mut fields)?;
        ended(fields.fields.len())?;
        Ok(value)
    }
}

#[derive(Clone, Copy)]
enum Parts<'s> {
    Same(&'s Shape, usize),
    Each(&'s [Shape]),
}

struct Sequence<'r, S> {
    source: &'r mut S,
    around: &'r Around<'r>,
    parts: Parts<'r>,
    index: usize,
}

impl<S> Sequence<'_, S> {
    fn left(&self) -> usize {
        let len = match self.parts {
            Parts::Same(_, len) => len,
            Parts::Each(parts) => parts.len(),
        };
        len - self.index
    }
}

impl<'de, S: Source> de::SeqAccess<'de> for &mut Sequence<'_, S> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let part = match self.parts {
            Parts::Same(element, len) => (self.index < len).then_some(element),
            Parts::Each(parts) => parts.get(self.index),
        };
        let Some(part) = part else { return Ok(None) };
        let before = self.source.left();
        let index = self.index;
        self.index += 1;
        let value = seed.deserialize(self.around.part(self.source, part));
        let value = value.map_err(|error| match self.parts {
            Parts::Same(..) => error.within("element"),
            Parts::Each(_) => error.within(index.to_string()),
        })?;
        if self.source.left() == before {
            self.source.free()?;
        }
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        // At most the remaining bytes. A damaged length may be larger.
        Some(self.left().min(self.source.left()))
    }
}

struct Entries<'r, S> {
    source: &'r mut S,
    around: &'r Around<'r>,
    entry: &'r (Shape, Shape),
    left: usize,
}

impl<'de, S: Source> de::MapAccess<'de> for &mut Entries<'_, S> {
    type Error = ReadError;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let before = self.source.left();
        let key = seed.deserialize(self.around.part(self.source, &self.entry.0));
        let key = key.map_err(|error| error.within("key"))?;
        if self.source.left() == before {
            self.source.free()?;
        }
        Ok(Some(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let value = seed.deserialize(self.around.part(self.source, &self.entry.1));
        value.map_err(|error| error.within("value"))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.source.left()))
    }
}

struct Fields<'r, S> {
    source: &'r mut S,
    around: &'r Around<'r>,
    fields: &'r [(String, Shape)],
}

impl<'de, S: Source> de::MapAccess<'de> for &mut Fields<'_, S> {
    type Error = ReadError;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((name, _)) = self.fields.first() else { return Ok(None) };
        let name: StrDeserializer<'_, ReadError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let Some(((name, shape), rest)) = self.fields.split_first() else {
            return Err(ReadError::corrupt("a field was read twice"));
        };
        self.fields = rest;
        seed.deserialize(self.around.part(self.source, shape)).map_err(|error| error.within(name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
    }
}

/// The selected variant, and its content.
struct Variant<'r, S> {
    source: &'r mut S,
    around: Around<'r>,
    content: &'r Content,
}

struct Named<'r, S> {
    name: &'r str,
    variant: Variant<'r, S>,
}

impl<'de, 'r, S: Source> de::EnumAccess<'de> for Named<'r, S> {
    type Error = ReadError;
    type Variant = Variant<'r, S>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Variant<'r, S>)> {
        let name: StrDeserializer<'_, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.variant))
    }
}

#[cold]
fn holds_something_else() -> ReadError {
    ReadError::unfit("the variant holds something else".to_owned())
}

impl<'de, S: Source> de::VariantAccess<'de> for Variant<'_, S> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<()> {
        if *self.content == Content::Unit { Ok(()) } else { Err(holds_something_else()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        match self.content {
            Content::Newtype(shape) => seed.deserialize(self.around.part(self.source, shape)),
            _ => Err(holds_something_else()),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        match self.content {
            Content::Tuple(parts) if parts.len() == len => {
                self.around.sequence(self.source, Parts::Each(parts), visitor)
            }
            _ => Err(holds_something_else()),
        }
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value> {
        match self.content {
            Content::Struct(fields) => self.around.fields(self.source, fields, visitor),
            _ => Err(holds_something_else()),
        }
    }
}

/// A variant as a map of one entry, for a visitor of any type.
struct Tagged<'r, S>(Option<(&'r str, Variant<'r, S>)>);

impl<'de, S: Source> de::MapAccess<'de> for Tagged<'_, S> {
    type Error = ReadError;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((name, _)) = &self.0 else { return Ok(None) };
        let name: StrDeserializer<'_, ReadError> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let Some((_, variant)) = self.0.take() else {
            return Err(ReadError::corrupt("a variant was read twice"));
        };
        seed.deserialize(Held(variant))
    }
}

/// The content of a variant.
struct Held<'r, S>(Variant<'r, S>);

impl<'de, S: Source> Deserializer<'de> for Held<'_, S> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let Variant { source, around, content } = self.0;
        match content {
            Content::Unit => visitor.visit_unit(),
            Content::Newtype(shape) => around.part(source, shape).deserialize_any(visitor),
            Content::Tuple(parts) => around.sequence(source, Parts::Each(parts), visitor),
            Content::Struct(fields) => around.fields(source, fields, visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
