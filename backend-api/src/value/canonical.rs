//! The canonical form of values: CBOR with names. Each value has exactly one form.

use ciborium::Value;
use ciborium_ll::{Decoder, Encoder, Header, simple};

use super::error::ReadError;
use super::reader::{Around, DEPTH_MAX, variant, widens};
use super::source::{Encoding, Input, Integer, Result, Source};
use crate::row::encode_varint;
use crate::shape::{Content, Leaf, Shape, short};

/// Appends the canonical form of the value in `input`.
pub(super) fn write(input: &mut Input<'_>, shape: &Shape, out: &mut Vec<u8>) -> Result<()> {
    write_at(input, shape, None, 0, out)
}

/// Appends the codec's bytes of a value in canonical form.
pub(super) fn read(encoding: Encoding, cbor: &[u8], shape: &Shape, out: &mut Vec<u8>) -> Result<()> {
    if let Shape::Leaf(leaf) = shape
        && let Some(integer) = small_integer(cbor)
        && (Bytes { encoding, out: &mut *out }).integer(*leaf, integer)
    {
        return Ok(());
    }
    let mut rest = cbor;
    let value: Value =
        ciborium::from_reader(&mut rest).map_err(|error| ReadError::corrupt(&error.to_string()))?;
    if !rest.is_empty() {
        return Err(super::left_over());
    }
    Bytes { encoding, out }.value(&value, shape, None, 0)
}

/// Appends a CBOR value with the keys of its maps sorted, and the shortest numbers.
pub(super) fn normalize(mut cbor: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut value: Value =
        ciborium::from_reader(&mut cbor).map_err(|error| ReadError::corrupt(&error.to_string()))?;
    if !cbor.is_empty() {
        return Err(super::left_over());
    }
    sort_maps(&mut value)?;
    ciborium::into_writer(&value, out).map_err(|error| ReadError::corrupt(&error.to_string()))
}

fn sort_maps(value: &mut Value) -> Result<()> {
    match value {
        Value::Array(elements) => elements.iter_mut().try_for_each(sort_maps),
        Value::Tag(_, inner) => sort_maps(inner),
        Value::Map(entries) => {
            let mut sorted = Vec::with_capacity(entries.len());
            for (mut key, mut value) in std::mem::take(entries) {
                sort_maps(&mut key)?;
                sort_maps(&mut value)?;
                let mut bytes = Vec::new();
                ciborium::into_writer(&key, &mut bytes)
                    .map_err(|error| ReadError::corrupt(&error.to_string()))?;
                sorted.push((bytes, key, value));
            }
            // Entries of equal keys keep their order.
            sorted.sort_by(|(a, ..), (b, ..)| a.cmp(b));
            entries.extend(sorted.into_iter().map(|(_, key, value)| (key, value)));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Reads a 64-bit integer that fills all of `cbor`.
fn small_integer(cbor: &[u8]) -> Option<Integer> {
    let mut rest = cbor;
    let integer = match Decoder::from(&mut rest).pull().ok()? {
        Header::Positive(number) => Integer::Unsigned(number.into()),
        Header::Negative(number) => Integer::Signed(!i128::from(number)),
        _ => return None,
    };
    rest.is_empty().then_some(integer)
}

/// True if a value of the shape may be `null`. Then `Some` of it is written as a list of one element.
fn may_be_null(shape: &Shape, outer: Option<&Around<'_>>) -> Result<bool> {
    Ok(matches!(Around::resolve(shape, outer)?.shape, Shape::Option(_) | Shape::Leaf(Leaf::Unit)))
}

/// Checks that the canonical form of each value of `old` is read as a value of `new`. Structs and enums, which plain types do
/// not have, stay as they are.
pub(super) fn check_becomes(old: &Shape, new: &Shape) -> Result<()> {
    let nullable = |shape: &Shape| matches!(shape, Shape::Option(_) | Shape::Leaf(Leaf::Unit));
    let zip =
        |old: &[Shape], new: &[Shape]| old.iter().zip(new).try_for_each(|(old, new)| check_becomes(old, new));
    match (old, new) {
        _ if old == new => Ok(()),
        (Shape::Leaf(old), Shape::Leaf(new)) if widens(*old, *new) => Ok(()),
        (Shape::Option(old), Shape::Option(new)) if nullable(old) == nullable(new) => check_becomes(old, new),
        (old, Shape::Option(new)) if !nullable(old) && !nullable(new) => check_becomes(old, new),
        (Shape::List(old) | Shape::Array(old, _), Shape::List(new)) => check_becomes(old, new),
        (Shape::Array(old, m), Shape::Array(new, n)) if m == n => check_becomes(old, new),
        (Shape::Tuple(old), Shape::Tuple(new)) if old.len() == new.len() => zip(old, new),
        (Shape::Array(old, len), Shape::Tuple(new)) if *len == new.len() => {
            new.iter().try_for_each(|new| check_becomes(old, new))
        }
        (Shape::Tuple(old), Shape::Array(new, len)) if *len == old.len() => {
            old.iter().try_for_each(|old| check_becomes(old, new))
        }
        (Shape::Map(old), Shape::Map(new)) => {
            check_becomes(&old.0, &new.0)?;
            check_becomes(&old.1, &new.1)
        }
        _ => Err(ReadError::unfit(format!("the type was {} and is {}", short(old), short(new)))),
    }
}

fn push(header: Header, out: &mut Vec<u8>) -> Result<()> {
    // A vector takes all bytes.
    Encoder::from(out).push(header).map_err(|_| ReadError::corrupt("no memory"))
}

fn text(text: &str, out: &mut Vec<u8>) -> Result<()> {
    push(Header::Text(Some(text.len())), out)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn integer(number: Integer, out: &mut Vec<u8>) -> Result<()> {
    let header = match number {
        Integer::Unsigned(number) => u64::try_from(number).ok().map(Header::Positive),
        Integer::Signed(number) if number < 0 => u64::try_from(!number).ok().map(Header::Negative),
        Integer::Signed(number) => u64::try_from(number).ok().map(Header::Positive),
    };
    match (header, number) {
        (Some(header), _) => push(header, out),
        (None, Integer::Unsigned(number)) => large(&number, out),
        (None, Integer::Signed(number)) => large(&number, out),
    }
}

fn large(number: &impl serde::Serialize, out: &mut Vec<u8>) -> Result<()> {
    ciborium::into_writer(number, out).map_err(|error| ReadError::corrupt(&error.to_string()))
}

fn is_bytes(shape: &Shape) -> bool {
    *shape == Shape::Leaf(Leaf::U8)
}

fn write_at(
    input: &mut Input<'_>,
    shape: &Shape,
    outer: Option<&Around<'_>>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    if depth >= DEPTH_MAX {
        return Err(ReadError::corrupt("a value is nested too deep"));
    }
    let around = Around::resolve(shape, outer)?;
    let part = |shape: &Shape, input: &mut Input<'_>, out: &mut Vec<u8>| {
        write_at(input, shape, Some(&around), depth + 1, out)
    };
    let fields = |fields: &[(String, Shape)], input: &mut Input<'_>, out: &mut Vec<u8>| {
        push(Header::Map(Some(fields.len())), out)?;
        fields.iter().try_for_each(|(name, shape)| {
            text(name, out)?;
            write_at(input, shape, Some(&around), depth + 1, out)
        })
    };
    match around.shape {
        Shape::Leaf(leaf) => match leaf {
            Leaf::Bool => {
                let value = if input.bool()? { simple::TRUE } else { simple::FALSE };
                push(Header::Simple(value), out)
            }
            Leaf::Char => text(input.char()?.encode_utf8(&mut [0; 4]), out),
            Leaf::String => text(input.text()?, out),
            Leaf::Bytes => {
                let bytes = input.bytes()?;
                push(Header::Bytes(Some(bytes.len())), out)?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            Leaf::Unit => push(Header::Simple(simple::NULL), out),
            Leaf::F32 | Leaf::F64 => push(Header::Float(input.float(*leaf)?), out),
            leaf => integer(input.integer(*leaf)?, out),
        },
        Shape::Option(some) => match input.is_some(around.shape)? {
            false => push(Header::Simple(simple::NULL), out),
            true => {
                if may_be_null(some, Some(&around))? {
                    push(Header::Array(Some(1)), out)?;
                }
                part(some, input, out)
            }
        },
        list @ (Shape::List(element) | Shape::Array(element, _)) => {
            let len = if let Shape::Array(_, len) = list { *len } else { input.len(list)? };
            if is_bytes(element) {
                push(Header::Bytes(Some(len)), out)?;
                out.extend_from_slice(input.raw(len)?);
                return Ok(());
            }
            push(Header::Array(Some(len)), out)?;
            for _ in 0..len {
                let before = input.left();
                part(element, input, out)?;
                if input.left() == before {
                    input.free()?;
                }
            }
            Ok(())
        }
        Shape::Tuple(parts) => {
            push(Header::Array(Some(parts.len())), out)?;
            parts.iter().try_for_each(|shape| part(shape, input, out))
        }
        Shape::Map(entry) => {
            let len = input.len(around.shape)?;
            push(Header::Map(Some(len)), out)?;
            let mut entries = Vec::new();
            for _ in 0..len {
                let (before, mut bytes) = (input.left(), Vec::new());
                part(&entry.0, input, &mut bytes)?;
                part(&entry.1, input, &mut bytes)?;
                if input.left() == before {
                    input.free()?;
                }
                entries.push(bytes);
            }
            // No key is a prefix of another, so the values after them do not affect the order.
            entries.sort_unstable();
            entries.iter().for_each(|entry| out.extend_from_slice(entry));
            Ok(())
        }
        Shape::Struct(named) => fields(named, input, out),
        Shape::Enum(variants) => {
            let (name, content) = variant(input, around.shape, variants)?;
            if *content == Content::Unit {
                return text(name, out);
            }
            push(Header::Map(Some(1)), out)?;
            text(name, out)?;
            match content {
                Content::Unit => Ok(()),
                Content::Newtype(shape) => part(shape, input, out),
                Content::Tuple(parts) => {
                    push(Header::Array(Some(parts.len())), out)?;
                    parts.iter().try_for_each(|shape| part(shape, input, out))
                }
                Content::Struct(named) => fields(named, input, out),
            }
        }
        Shape::Named(..) | Shape::Up(_) => Err(ReadError::corrupt("a shape refers to itself")),
    }
}

/// A number, which may be an integer that became wider.
fn float(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| i128::from(number) as f64))
}

/// Writes the bytes of a codec.
struct Bytes<'o> {
    encoding: Encoding,
    out: &'o mut Vec<u8>,
}

#[cold]
fn other() -> ReadError {
    ReadError::corrupt("a value is not of the shape that is written for it")
}

impl Bytes<'_> {
    fn len(&mut self, len: usize) {
        encode_varint(len as u64, self.out);
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    /// Writes an integer. Returns false if the leaf cannot hold it.
    fn integer(&mut self, leaf: Leaf, number: Integer) -> bool {
        macro_rules! put {
            ($type:ty) => {{
                let number = match number {
                    Integer::Signed(number) => <$type>::try_from(number).ok(),
                    Integer::Unsigned(number) => <$type>::try_from(number).ok(),
                };
                let Some(number) = number else { return false };
                number
            }};
        }
        macro_rules! unsigned {
            ($type:ty) => {{
                let number = put!($type);
                match self.encoding {
                    Encoding::Plain => self.out.extend_from_slice(&number.to_le_bytes()),
                    Encoding::Postcard => self.varint(number.into()),
                }
            }};
        }
        macro_rules! signed {
            ($type:ty) => {{
                let number = put!($type);
                match self.encoding {
                    Encoding::Plain => self.out.extend_from_slice(&number.to_le_bytes()),
                    Encoding::Postcard => {
                        let wide = i128::from(number);
                        self.varint(((wide << 1) ^ (wide >> 127)) as u128);
                    }
                }
            }};
        }
        match leaf {
            Leaf::U8 => self.out.push(put!(u8)),
            Leaf::U16 => unsigned!(u16),
            Leaf::U32 => unsigned!(u32),
            Leaf::U64 => unsigned!(u64),
            Leaf::U128 => unsigned!(u128),
            Leaf::I8 => {
                let number = put!(i8);
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            Leaf::I16 => signed!(i16),
            Leaf::I32 => signed!(i32),
            Leaf::I64 => signed!(i64),
            Leaf::I128 => signed!(i128),
            _ => return false,
        }
        true
    }

    fn leaf(&mut self, value: &Value, leaf: Leaf) -> Result<()> {
        match leaf {
            Leaf::Bool => self.out.push(value.as_bool().ok_or_else(other)?.into()),
            Leaf::Char => {
                let text = value.as_text().ok_or_else(other)?;
                let mut chars = text.chars();
                let (Some(char), None) = (chars.next(), chars.next()) else { return Err(other()) };
                match self.encoding {
                    Encoding::Plain => self.out.extend_from_slice(&u32::from(char).to_le_bytes()),
                    Encoding::Postcard => self.sized(text.as_bytes()),
                }
            }
            Leaf::String => self.sized(value.as_text().ok_or_else(other)?.as_bytes()),
            Leaf::Bytes => self.sized(value.as_bytes().ok_or_else(other)?),
            Leaf::Unit if value.is_null() => {}
            Leaf::Unit => return Err(other()),
            Leaf::F32 => {
                let number = float(value).ok_or_else(other)?;
                self.out.extend_from_slice(&(number as f32).to_le_bytes());
            }
            Leaf::F64 => {
                self.out.extend_from_slice(&float(value).ok_or_else(other)?.to_le_bytes());
            }
            leaf => {
                let number = match value.deserialized::<i128>() {
                    Ok(number) => Integer::Signed(number),
                    Err(_) => Integer::Unsigned(value.deserialized::<u128>().map_err(|_| other())?),
                };
                if !self.integer(leaf, number) {
                    return Err(other());
                }
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        value: &Value,
        shape: &Shape,
        outer: Option<&Around<'_>>,
        depth: usize,
    ) -> Result<()> {
        if depth >= DEPTH_MAX {
            return Err(ReadError::corrupt("a value is nested too deep"));
        }
        let around = Around::resolve(shape, outer)?;
        let (inside, depth) = (Some(&around), depth + 1);
        match around.shape {
            Shape::Leaf(leaf) => self.leaf(value, *leaf),
            Shape::Option(some) => {
                self.out.push(u8::from(!value.is_null()));
                match value {
                    Value::Null => Ok(()),
                    _ if may_be_null(some, inside)? => match value.as_array().map(Vec::as_slice) {
                        Some([value]) => self.value(value, some, inside, depth),
                        _ => Err(other()),
                    },
                    _ => self.value(value, some, inside, depth),
                }
            }
            list @ (Shape::List(element) | Shape::Array(element, _)) => {
                let check = |len: usize| match list {
                    Shape::Array(_, known) if *known != len => Err(other()),
                    _ => Ok(()),
                };
                let has_len = matches!(list, Shape::List(_));
                if is_bytes(element) {
                    let bytes = value.as_bytes().ok_or_else(other)?;
                    check(bytes.len())?;
                    if has_len {
                        self.len(bytes.len());
                    }
                    self.out.extend_from_slice(bytes);
                    return Ok(());
                }
                let wider: Vec<Value>;
                let elements = match value {
                    Value::Array(elements) => elements,
                    // Bytes that became wider.
                    Value::Bytes(bytes) => {
                        wider = bytes.iter().map(|byte| Value::from(*byte)).collect();
                        &wider
                    }
                    _ => return Err(other()),
                };
                check(elements.len())?;
                if has_len {
                    self.len(elements.len());
                }
                elements.iter().try_for_each(|value| self.value(value, element, inside, depth))
            }
            Shape::Tuple(parts) => self.parts(value, parts, inside, depth),
            Shape::Map(entry) => {
                let entries = value.as_map().ok_or_else(other)?;
                self.len(entries.len());
                entries.iter().try_for_each(|(key, value)| {
                    self.value(key, &entry.0, inside, depth)?;
                    self.value(value, &entry.1, inside, depth)
                })
            }
            Shape::Struct(fields) => self.fields(value, fields, inside, depth),
            Shape::Enum(variants) => {
                let (name, held) = match value {
                    Value::Text(name) => (name.as_str(), None),
                    Value::Map(entry) => match entry.as_slice() {
                        [(Value::Text(name), held)] => (name.as_str(), Some(held)),
                        _ => return Err(other()),
                    },
                    _ => return Err(other()),
                };
                let index = variants.iter().position(|(known, _)| known == name).ok_or_else(other)?;
                self.varint(index as u128);
                match (&variants[index].1, held) {
                    (Content::Unit, None) => Ok(()),
                    (Content::Newtype(shape), Some(held)) => self.value(held, shape, inside, depth),
                    (Content::Tuple(parts), Some(held)) => self.parts(held, parts, inside, depth),
                    (Content::Struct(fields), Some(held)) => self.fields(held, fields, inside, depth),
                    _ => Err(other()),
                }
            }
            Shape::Named(..) | Shape::Up(_) => Err(ReadError::corrupt("a shape refers to itself")),
        }
    }

    fn parts(
        &mut self,
        value: &Value,
        parts: &[Shape],
        around: Option<&Around<'_>>,
        depth: usize,
    ) -> Result<()> {
        let values = value.as_array().filter(|values| values.len() == parts.len()).ok_or_else(other)?;
        values.iter().zip(parts).try_for_each(|(value, shape)| self.value(value, shape, around, depth))
    }

    fn fields(
        &mut self,
        value: &Value,
        fields: &[(String, Shape)],
        around: Option<&Around<'_>>,
        depth: usize,
    ) -> Result<()> {
        let values = value.as_map().filter(|values| values.len() == fields.len()).ok_or_else(other)?;
        values.iter().zip(fields).try_for_each(|((key, value), (name, shape))| {
            if key.as_text() != Some(name) {
                return Err(other());
            }
            self.value(value, shape, around, depth)
        })
    }
}
