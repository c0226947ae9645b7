//! Serializing.

use serde::{Serialize, ser};

use super::{DEPTH_MAX, WIDE_VARIANT};
use crate::key::{KeyBuffer, StateKey, bytes};
use crate::shape::{Known, skipped};
use crate::{Error, ErrorKind, Result};

pub(super) struct Serializer<'a, B> {
    out: &'a mut B,
    depth: u8,
    /// The shape that the key must match, if it is checked.
    known: Option<&'static Known>,
}

impl<'a, B: KeyBuffer> Serializer<'a, B> {
    pub(super) fn new(out: &'a mut B, known: Option<&'static Known>) -> Self {
        Self { out, depth: 0, known }
    }

    fn check_struct(&self, name: &'static str, len: usize) -> Result<()> {
        self.known.map_or(Ok(()), |known| known.check_struct(name, len))
    }

    fn enter(&mut self) -> Result<&mut Self> {
        if self.depth == DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::Codec,
                format!("a key is nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        self.depth += 1;
        Ok(self)
    }

    fn leave(&mut self) -> Result<()> {
        self.depth -= 1;
        Ok(())
    }

    fn nested<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(self.enter()?)?;
        self.leave()
    }

    fn variant(&mut self, name: &'static str, index: u32, variant: &'static str, len: usize) -> Result<()> {
        if let Some(known) = self.known {
            known.check_variant(name, index, variant, len)?;
        }
        match u8::try_from(index) {
            Ok(index) if index < WIDE_VARIANT => self.out.push(index),
            _ => {
                self.out.push(WIDE_VARIANT);
                index.encode(self.out);
            }
        }
        Ok(())
    }
}

macro_rules! fixed_width {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Result<()> {
            value.encode(self.out);
            Ok(())
        }
    )*};
}

impl<B: KeyBuffer> ser::Serializer for &mut Serializer<'_, B> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    fixed_width!(
        serialize_bool: bool, serialize_char: char,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128
    );

    fn serialize_f32(self, value: f32) -> Result<()> {
        let bits = value.to_bits();
        let flip = if value.is_sign_negative() { u32::MAX } else { 1 << 31 };
        self.serialize_u32(bits ^ flip)
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        let bits = value.to_bits();
        let flip = if value.is_sign_negative() { u64::MAX } else { 1 << 63 };
        self.serialize_u64(bits ^ flip)
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        bytes::escape(value, self.out);
        Ok(())
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_bool(false)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.out.push(1);
        self.nested(value)
    }

    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        Ok(())
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<()> {
        self.variant(name, index, variant, 0)?;
        self.enter()?.leave()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.variant(name, index, variant, 1)?;
        self.nested(value)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self> {
        self.enter()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self> {
        self.check_struct(name, len)?;
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self> {
        self.variant(name, index, variant, len)?;
        self.enter()
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self> {
        self.enter()
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self> {
        self.check_struct(name, len)?;
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self> {
        self.variant(name, index, variant, len)?;
        self.enter()
    }
}

impl<B: KeyBuffer> ser::SerializeSeq for &mut Serializer<'_, B> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(1);
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<()> {
        self.out.push(0);
        self.leave()
    }
}

impl<B: KeyBuffer> ser::SerializeMap for &mut Serializer<'_, B> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.out.push(1);
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<()> {
        self.out.push(0);
        self.leave()
    }
}

/// Serializes the parts in order. A variant's index was written before.
macro_rules! parts {
    ($($trait:ident::$method:ident $(($key:ty) $skip:ident)?: $end:expr),*) => {$(
        impl<B: KeyBuffer> ser::$trait for &mut Serializer<'_, B> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_name: $key,)? value: &T) -> Result<()> {
                value.serialize(&mut **self)
            }

            $(fn $skip(&mut self, field: $key) -> Result<()> {
                Err(skipped(field))
            })?

            fn end(self) -> Result<()> {
                $end(self)
            }
        }
    )*};
}

parts!(
    SerializeTuple::serialize_element: |_| Ok(()),
    SerializeTupleStruct::serialize_field: |_| Ok(()),
    SerializeTupleVariant::serialize_field: Serializer::leave,
    SerializeStruct::serialize_field(&'static str) skip_field: |_| Ok(()),
    SerializeStructVariant::serialize_field(&'static str) skip_field: Serializer::leave
);
