//! Postcard's serializer, with checks that the result can be read.

use std::fmt::Display;

use postcard::ser_flavors::Flavor;
use serde::ser::{self, Serialize, Serializer as _};

use crate::shape::{Known, skipped};
use crate::{Error, ErrorKind, Result};

/// Writes to a vector. Postcard writes the bytes. Structs and variants are compared with the shape that the
/// type reads.
pub(super) struct Serializer<'a> {
    postcard: postcard::Serializer<Appender<'a>>,
    known: &'static Known,
}

impl<'a> Serializer<'a> {
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, known: &'static Known) -> Self {
        Self { postcard: postcard::Serializer { output: Appender(out) }, known }
    }

    #[inline]
    fn variant(&mut self, name: &'static str, index: u32, variant: &'static str, len: usize) -> Result<()> {
        self.known.check_variant(name, index, variant, len)?;
        self.serialize_u32(index)
    }
}

/// Postcard's own `ExtendFlavor` pushes single bytes into any collection. This one appends slices to a
/// vector.
struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cold]
fn failed(error: postcard::Error) -> Error {
    Error::new(ErrorKind::Codec, error.to_string())
}

macro_rules! by_postcard {
    ($($method:ident: $type:ty),*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<()> {
            self.postcard.$method(value).map_err(failed)
        }
    )*};
}

impl ser::Serializer for &mut Serializer<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    by_postcard!(
        serialize_bool: bool, serialize_char: char, serialize_f32: f32, serialize_f64: f64,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_str: &str, serialize_bytes: &[u8]
    );

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.serialize_u8(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<()> {
        self.variant(name, index, variant, 0)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.variant(name, index, variant, 1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self> {
        self.postcard.serialize_seq(len).map_err(failed)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self> {
        self.known.check_struct(name, len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self> {
        self.variant(name, index, variant, len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self> {
        self.postcard.serialize_map(len).map_err(failed)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self> {
        self.known.check_struct(name, len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self> {
        self.variant(name, index, variant, len)?;
        Ok(self)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        self.postcard.collect_str(value).map_err(failed)
    }
}

macro_rules! compound {
    ($($trait:ident: $($method:ident $(($name:ty))?),+ $(=> $skip:ident)?;)*) => {$(
        impl ser::$trait for &mut Serializer<'_> {
            type Ok = ();
            type Error = Error;

            $(
                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<()> {
                    value.serialize(&mut **self)
                }
            )+

            $(
                fn $skip(&mut self, field: &'static str) -> Result<()> {
                    Err(skipped(field))
                }
            )?

            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        }
    )*};
}

compound! {
    SerializeSeq: serialize_element;
    SerializeMap: serialize_key, serialize_value;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeStruct: serialize_field(&'static str) => skip_field;
    SerializeStructVariant: serialize_field(&'static str) => skip_field;
}
